"""What the samplers are tried on: an arbitrary smooth function as a network, and the perfect one."""

import pytest
import torch

from genimg_ref.diffusion.ode import midpoint
from genimg_ref.diffusion.oracle import GaussianMixture
from genimg_ref.diffusion.sample import last
from genimg_ref.diffusion.schedule import vp_cosine


def network(x, t):
    """Nobody trained it, but it depends on every part of its input."""
    column = t.reshape(-1, *[1] * (x.ndim - 1))
    return 0.6 * x + 0.5 * torch.sin(2 * x + column) - 0.1 * x.roll(1, dims=-1)


@pytest.fixture(name="network")
def _network():
    return network


@pytest.fixture(scope="package")
def mixture():
    """Four modes in the plane, of different widths and weights."""
    return GaussianMixture(
        torch.tensor([[-1.0, 0.2], [0.8, 0.9], [0.3, -1.1], [1.2, -0.3]], dtype=torch.float64),
        torch.tensor([0.3, 0.25, 0.4, 0.35], dtype=torch.float64),
        torch.tensor([1.0, 2.0, 1.5, 0.5], dtype=torch.float64),
        torch.tensor([0, 1, 1, 0]),
    )


@pytest.fixture(scope="package")
def flowed(mixture):
    """Points and where the flow of the mixture takes them from ``t = 0.9`` to 0.3 on ``vp_cosine``.

    Many steps, and half as many, from which the error that falls squared is removed.
    """
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fine, coarse = (
        last(midpoint(mixture.model(vp_cosine), x, torch.linspace(0.9, 0.3, n + 1), vp_cosine, kind="eps"))
        for n in (160, 80)
    )
    return x, (4 * fine - coarse) / 3
