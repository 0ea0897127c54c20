"""The scales make unit variance of what goes in and what is asked for; the loss by hand."""

import pytest
import torch
from diffusers import EDMEulerScheduler
from torch import nn
from torch.testing import assert_close

from genimg_ref.diffusion.edm import Preconditioned, edm_loss, edm_weight, log_normal_sigmas, scales
from genimg_ref.diffusion.loss import squared_error

D = torch.float64
SIGMA = torch.tensor([0.002, 0.1, 0.5, 3.0, 80.0], dtype=D)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=D)


class Network(nn.Module):
    """Remembers what it was asked."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.seen = answer, None

    def forward(self, *arguments):
        self.seen = arguments
        return self.answer(*arguments)


@pytest.mark.parametrize("sigma_data", [0.5, 2.0])
def test_unit_variance_in_and_out(sigma_data):
    """The target ``(x_0 - skip x) / out`` has variance 1 and the scale ``skip`` makes ``out`` least."""
    skip, out, in_, noise = scales(SIGMA, sigma_data)
    assert_close(in_.square() * (sigma_data**2 + SIGMA**2), torch.ones(5, dtype=D))

    def variance(skip):
        return (1 - skip).square() * sigma_data**2 + skip.square() * SIGMA**2

    assert_close(variance(skip), out.square())
    for other in (skip + 0.01, skip - 0.01):
        assert (variance(other) > out.square()).all()
    assert_close(noise, SIGMA.log() / 4)


def test_scales_against_diffusers():
    other = EDMEulerScheduler(sigma_data=0.5)
    x, output = normal(3, 2, 4, 5), normal(3, 2, 4, 5, seed=1)
    for sigma in SIGMA[1:]:
        model = Preconditioned(Network(lambda x, t: output))
        ours = model(x, sigma.expand(3))
        seen, t = model.network.seen
        assert_close(seen, other.precondition_inputs(x, sigma))
        assert_close(t, other.precondition_noise(sigma).expand(3))
        assert_close(ours, other.precondition_outputs(x, output, sigma))


def test_conditions_go_through():
    labels = torch.tensor([1, 0])
    model = Preconditioned(Network(lambda x, t, y: x + y[:, None]))
    model(normal(2, 3), SIGMA[:2], labels)
    assert model.network.seen[2] is labels


def test_the_weighted_loss_is_the_network_s_own():
    """``mean |F - (x_0 - skip x) / out|^2``: what the preconditioning is for."""
    x0, eps = normal(5, 2, 3, 4), normal(5, 2, 3, 4, seed=1)
    answer = normal(5, 2, 3, 4, seed=2)
    loss = edm_loss(Preconditioned(Network(lambda x, t: answer)), x0, SIGMA, eps)
    skip, out, _, _ = (part.view(-1, 1, 1, 1) for part in scales(SIGMA))
    x = x0 + SIGMA.view(-1, 1, 1, 1) * eps
    assert_close(loss, squared_error(answer, (x0 - skip * x) / out))


def test_weight():
    assert_close(edm_weight(SIGMA), (SIGMA**2 + 0.25) / (SIGMA * 0.5) ** 2)


def test_sigmas_are_log_normal():
    logs = log_normal_sigmas(20_000, seeded()).log()
    assert_close(logs.mean().item(), -1.2, rtol=0, atol=0.04)
    assert_close(logs.std().item(), 1.2, rtol=0, atol=0.04)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="sigma_data must be above zero; got 0"):
        Preconditioned(nn.Identity(), sigma_data=0.0)
