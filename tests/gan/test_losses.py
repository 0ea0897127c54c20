"""The adversarial losses against PyTorch's own, closed forms, finite differences and extreme logits."""

from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from genimg_ref.gan import losses
from genimg_ref.gan.losses import LOSSES


@pytest.fixture
def logits():
    rng = torch.Generator().manual_seed(0)
    real = 1.5 + 2 * torch.randn(5, 3, generator=rng, dtype=torch.float64)
    fake = -0.5 + 3 * torch.randn(7, 3, generator=rng, dtype=torch.float64)
    return real, fake


def test_the_family_is_complete():
    assert list(LOSSES) == ["minimax", "non_saturating", "least_squares", "hinge", "wasserstein"]
    for name, pair in LOSSES.items():
        assert pair.discriminator is getattr(losses, f"discriminator_{name}")
        assert pair.generator is getattr(losses, f"generator_{name}")


@pytest.mark.parametrize("name", ["minimax", "non_saturating"])
def test_discriminator_is_binary_cross_entropy_with_logits(name, logits):
    real, fake = logits
    expected = F.binary_cross_entropy_with_logits(
        real, torch.ones_like(real)
    ) + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    torch.testing.assert_close(LOSSES[name].discriminator(real, fake), expected)


def test_generator_cross_entropies(logits):
    _, fake = logits
    as_real = F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
    as_fake = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    torch.testing.assert_close(LOSSES["non_saturating"].generator(fake), as_real)
    torch.testing.assert_close(LOSSES["minimax"].generator(fake), -as_fake)


def test_least_squares_is_half_the_mean_squared_error(logits):
    real, fake = logits
    expected = (F.mse_loss(real, torch.ones_like(real)) + F.mse_loss(fake, torch.zeros_like(fake))) / 2
    torch.testing.assert_close(LOSSES["least_squares"].discriminator(real, fake), expected)
    torch.testing.assert_close(
        LOSSES["least_squares"].generator(fake), F.mse_loss(fake, torch.ones_like(fake)) / 2
    )


def test_hinge_is_the_margin_loss_of_a_classifier(logits):
    """torch's hinge embedding loss: the input itself for label 1, max(0, 1 - input) for label -1."""
    real, fake = logits
    expected = F.hinge_embedding_loss(real, -torch.ones_like(real)) + F.hinge_embedding_loss(
        -fake, -torch.ones_like(fake)
    )
    torch.testing.assert_close(LOSSES["hinge"].discriminator(real, fake), expected)
    torch.testing.assert_close(LOSSES["hinge"].generator(fake), -fake.mean())


def test_wasserstein_is_antisymmetric_and_knows_its_order(logits):
    real, fake = logits
    loss = LOSSES["wasserstein"].discriminator
    torch.testing.assert_close(loss(real, fake), -loss(fake, real))
    assert loss(torch.tensor([3.0]), torch.tensor([1.0])).item() == -2.0
    assert LOSSES["wasserstein"].generator(torch.tensor([1.0, 2.0])).item() == -1.5


@pytest.mark.parametrize("name", LOSSES)
def test_discriminators_prefer_high_logits_for_real_and_low_for_fake(name):
    real = torch.tensor([0.2, -0.3], requires_grad=True)
    fake = torch.tensor([0.1, 0.4, -0.2], requires_grad=True)
    LOSSES[name].discriminator(real, fake).backward()
    assert real.grad is not None and bool((real.grad < 0).all())
    if name != "least_squares":  # its target for a fake is 0, not minus infinity
        assert fake.grad is not None and bool((fake.grad > 0).all())


@pytest.mark.parametrize("name", LOSSES)
def test_generators_prefer_high_logits(name):
    fake = torch.tensor([0.1, 0.4, -0.2], requires_grad=True)
    LOSSES[name].generator(fake).backward()
    assert fake.grad is not None and bool((fake.grad < 0).all())


def test_saturating_and_non_saturating_gradients_have_their_closed_form():
    a = torch.linspace(-12, 12, 49, dtype=torch.float64, requires_grad=True)
    (saturating,) = torch.autograd.grad(LOSSES["minimax"].generator(a), a)
    (flowing,) = torch.autograd.grad(LOSSES["non_saturating"].generator(a), a)
    torch.testing.assert_close(saturating, -a.sigmoid() / 49)
    torch.testing.assert_close(flowing, -(1 - a.sigmoid()) / 49)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_by_finite_differences(name, logits):
    real, fake = (x.clone().requires_grad_() for x in logits)
    assert gradcheck(LOSSES[name].discriminator, (real, fake))
    assert gradcheck(LOSSES[name].generator, (fake,))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_logits_stay_finite(name, dtype, size):
    real = torch.full((3,), size, dtype=dtype, requires_grad=True)
    fake = torch.full((4,), size, dtype=dtype, requires_grad=True)
    d, g = LOSSES[name].discriminator(real, fake), LOSSES[name].generator(fake)
    (d + g).backward()
    for value in (d, g, real.grad, fake.grad):
        assert value is not None and bool(value.isfinite().all())
    assert d.dtype == g.dtype == dtype


def test_extreme_logits_have_the_right_value():
    wrong = LOSSES["minimax"].discriminator(torch.tensor([-1e4]), torch.tensor([1e4]))
    assert wrong.item() == 2e4
    assert LOSSES["minimax"].generator(torch.tensor([1e4])).item() == -1e4
    assert LOSSES["non_saturating"].generator(torch.tensor([-1e4])).item() == 1e4


def test_batches_of_two_sizes_are_averaged_apart():
    """Nine fakes must not outvote one real image."""
    value = LOSSES["hinge"].discriminator(torch.tensor([0.0]), torch.zeros(9))
    assert value.item() == 2.0


@pytest.mark.parametrize("name", LOSSES)
def test_bad_input_is_named(name):
    d, g = (unwrap(f) for f in LOSSES[name])
    good = torch.zeros(2)
    with pytest.raises(ValueError, match=r"real_logits must hold at least one logit; got shape \(0, 3\)"):
        d(torch.zeros(0, 3), good)
    with pytest.raises(ValueError, match=r"fake_logits must hold at least one logit; got shape \(0,\)"):
        d(good, torch.zeros(0))
    with pytest.raises(ValueError, match="fake_logits"):
        g(torch.zeros(0))
    discriminator = unwrap(losses.discriminator_minimax) if name == "non_saturating" else d
    with pytest.raises(TypeError, match="fake_logits"):
        discriminator(good, torch.zeros(2, dtype=torch.int64))
    with pytest.raises(TypeError, match="fake_logits must be a floating-point tensor; got list"):
        g([0.0])
