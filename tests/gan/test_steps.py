"""The two updates: what moves, what does not, where gradients flow, and that the move is the one by hand."""

import pytest
import torch
from torch import nn

from genimg_ref.gan.losses import LOSSES
from genimg_ref.gan.steps import gradient_norm, update_d, update_g


class Linear1d(nn.Module):
    """``x -> weight * x + bias`` on (batch, 1), set by hand, so that every gradient is known."""

    def __init__(self, weight, bias, flat):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor(bias, dtype=torch.float64))
        self.flat = flat

    def forward(self, x):
        y = self.weight * x + self.bias
        return y.flatten() if self.flat else y


@pytest.fixture
def players():
    generator, discriminator = Linear1d(0.7, 0.4, False), Linear1d(-1.3, 0.2, True)
    z = torch.tensor([[-1.0], [0.5], [2.0]], dtype=torch.float64)
    real = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    return generator, discriminator, real, z


def test_update_d_is_the_step_by_hand(players):
    generator, discriminator, real, z = players
    optimiser = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    fake = 0.7 * z + 0.4
    a_real, a_fake = (-1.3 * real + 0.2).sigmoid(), (-1.3 * fake + 0.2).sigmoid()
    # d/da of softplus(-a) is -(1 - sigmoid(a)), of softplus(a) it is sigmoid(a)
    grad_weight = (-(1 - a_real) * real).mean() + (a_fake * fake).mean()
    grad_bias = (-(1 - a_real)).mean() + a_fake.mean()

    step = update_d(generator, discriminator, optimiser, real, z, LOSSES["minimax"])

    torch.testing.assert_close(discriminator.weight.detach(), -1.3 - 0.1 * grad_weight)
    torch.testing.assert_close(discriminator.bias.detach(), 0.2 - 0.1 * grad_bias)
    assert step.loss == pytest.approx(-(a_real.log().mean() + (1 - a_fake).log().mean()).item())
    assert step.real_probability == pytest.approx(a_real.mean().item())
    assert step.fake_probability == pytest.approx(a_fake.mean().item())
    assert step.real_logit == pytest.approx((-1.3 * real + 0.2).mean().item())
    assert step.fake_logit == pytest.approx((-1.3 * fake + 0.2).mean().item())
    assert step.gradient_norm == pytest.approx(torch.hypot(grad_weight, grad_bias).item())


@pytest.mark.parametrize(
    ("name", "pull"),
    [
        ("minimax", lambda p: -p),
        ("non_saturating", lambda p: -(1 - p)),
        ("wasserstein", lambda p: -torch.ones_like(p)),
    ],
)
def test_update_g_is_the_step_by_hand(players, name, pull):
    generator, discriminator, _, z = players
    optimiser = torch.optim.SGD(generator.parameters(), lr=0.1)
    probability = (-1.3 * (0.7 * z + 0.4) + 0.2).sigmoid()
    # chain rule: loss -> logit -> sample (times the discriminator's weight) -> generator's weight and bias
    grad_weight, grad_bias = (pull(probability) * -1.3 * z).mean(), (pull(probability) * -1.3).mean()

    step = update_g(generator, discriminator, optimiser, z, LOSSES[name])

    torch.testing.assert_close(generator.weight.detach(), 0.7 - 0.1 * grad_weight)
    torch.testing.assert_close(generator.bias.detach(), 0.4 - 0.1 * grad_bias)
    assert step.fake_probability == pytest.approx(probability.mean().item())
    assert step.gradient_norm == pytest.approx(torch.hypot(grad_weight, grad_bias).item())


def test_update_d_leaves_the_generator_alone(players):
    generator, discriminator, real, z = players
    before = [p.detach().clone() for p in generator.parameters()]
    optimiser = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    update_d(generator, discriminator, optimiser, real, z, LOSSES["hinge"])
    assert all(p.grad is None for p in generator.parameters())
    assert all(torch.equal(p, q) for p, q in zip(generator.parameters(), before, strict=True))


def test_update_g_leaves_the_discriminator_alone(players):
    generator, discriminator, _, z = players
    before = [p.detach().clone() for p in discriminator.parameters()]
    optimiser = torch.optim.SGD(generator.parameters(), lr=0.1)
    update_g(generator, discriminator, optimiser, z, LOSSES["hinge"])
    assert all(p.grad is None for p in discriminator.parameters())
    assert all(torch.equal(p, q) for p, q in zip(discriminator.parameters(), before, strict=True))
    assert all(p.requires_grad for p in discriminator.parameters())


def test_leftover_gradients_do_not_add_up(players):
    """Gradients from before must not change the step."""
    generator, discriminator, real, z = players
    of_d = torch.optim.SGD(discriminator.parameters(), lr=0.0)
    of_g = torch.optim.SGD(generator.parameters(), lr=0.0)
    fresh = (
        update_d(generator, discriminator, of_d, real, z, LOSSES["minimax"]),
        update_g(generator, discriminator, of_g, z, LOSSES["minimax"]),
    )
    for p in [*generator.parameters(), *discriminator.parameters()]:
        p.grad = torch.full_like(p, 5.0)
    again = (
        update_d(generator, discriminator, of_d, real, z, LOSSES["minimax"]),
        update_g(generator, discriminator, of_g, z, LOSSES["minimax"]),
    )
    assert fresh == again
    assert fresh[0].gradient_norm > 0 and fresh[1].gradient_norm > 0


def test_frozen_generator_parameters_stay(players):
    generator, discriminator, _, z = players
    generator.bias.requires_grad_(False)
    optimiser = torch.optim.SGD(generator.parameters(), lr=0.1)
    update_g(generator, discriminator, optimiser, z, LOSSES["non_saturating"])
    assert generator.bias.item() == 0.4
    assert generator.weight.item() != 0.7


def test_gradient_norm_of_no_gradients_is_zero(players):
    assert gradient_norm(players[0]) == 0.0


def test_swapped_optimisers_are_named(players):
    generator, discriminator, real, z = players
    of_g = torch.optim.SGD(generator.parameters(), lr=0.1)
    of_d = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="optimiser must hold parameters of the discriminator"):
        update_d(generator, discriminator, of_g, real, z, LOSSES["hinge"])
    with pytest.raises(ValueError, match="optimiser must hold parameters of the generator"):
        update_g(generator, discriminator, of_d, z, LOSSES["hinge"])


def test_real_samples_of_another_shape_are_named(players):
    generator, discriminator, _, z = players
    optimiser = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"real must hold samples .* shape \(1,\); got \(4,\)"):
        update_d(
            generator, discriminator, optimiser, torch.zeros(2, 4, dtype=torch.float64), z, LOSSES["hinge"]
        )
