"""Toy distributions: densities against scipy, shapes against scikit-learn, samples against densities."""

from inspect import unwrap

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.stats import multivariate_normal
from sklearn.datasets import make_moons, make_swiss_roll

from genimg_ref.data import toy2d

ALL = {"ring": toy2d.ring(), "grid": toy2d.grid(), "moons": toy2d.moons(), "swiss_roll": toy2d.swiss_roll()}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("mixture", [toy2d.ring(5, 1.5, 0.3), toy2d.grid(3, 0.7, 0.2)])
def test_mixture_density_is_scipys(mixture):
    x = torch.randn(40, 2, generator=rng(), dtype=torch.float64)
    means = mixture.means.double().numpy()
    density = np.mean([multivariate_normal(m, mixture.std**2).pdf(x.numpy()) for m in means], axis=0)
    torch.testing.assert_close(mixture.log_prob(x), torch.from_numpy(np.log(density)))


@pytest.mark.parametrize("name", ALL)
def test_density_integrates_to_one(name):
    line = torch.linspace(-3, 3, 151, dtype=torch.float64)
    total = ALL[name].log_prob(torch.cartesian_prod(line, line)).exp().sum() * 0.04**2
    torch.testing.assert_close(total.item(), 1.0, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_samples_follow_the_density(name):
    """Chi-squared over 36 squares, against the integral of the density over each."""
    samples = ALL[name].sample(20_000, rng(1))
    assert samples.shape == (20_000, 2) and samples.dtype == torch.float32
    fine = (torch.arange(180) + 0.5) / 30 - 3
    density = ALL[name].log_prob(torch.cartesian_prod(fine, fine)).exp().reshape(6, 30, 6, 30) / 900
    expected = 20_000 * density.sum(dim=(1, 3)).flatten()
    square = (samples + 3).floor().clamp(0, 5).long()
    observed = torch.bincount(square[:, 0] * 6 + square[:, 1], minlength=36)
    likely = expected > 20
    chi2 = ((observed - expected)[likely].square() / expected[likely]).sum().item()
    assert likely.sum() >= 12
    assert chi2 < 2 * int(likely.sum())


@pytest.mark.parametrize("name", ALL)
def test_the_generator_alone_decides(name):
    state = torch.get_rng_state()
    first, again, other = (ALL[name].sample(9, rng(s)) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_ring_lies_on_its_circle_in_order():
    ring = toy2d.ring(6, 1.5)
    torch.testing.assert_close(ring.means.norm(dim=1), torch.full((6,), 1.5))
    torch.testing.assert_close(ring.means[0], torch.tensor([1.5, 0.0]))
    steps = torch.linalg.vector_norm(ring.means - ring.means.roll(1, 0), dim=1)
    torch.testing.assert_close(steps, torch.full((6,), 1.5))  # a hexagon's side is its radius


def test_grid_is_centred():
    grid = toy2d.grid(4, 0.5)
    assert grid.means.shape == (16, 2)
    torch.testing.assert_close(grid.means.mean(dim=0), torch.zeros(2))
    assert grid.means.max().item() == 0.75
    assert toy2d.grid(1).means.shape == (1, 2)


def test_moons_are_scikit_learns_moons():
    """Without noise the two sets of points lie on each other, up to the shift and the scale stated."""
    theirs = 1.5 * (make_moons(4000, noise=None)[0] - [0.5, 0.25])
    ours = toy2d.moons().path(torch.linspace(0, 0.9999, 4000)).numpy()
    assert cKDTree(theirs).query(ours)[0].max() < 0.01
    assert cKDTree(ours).query(theirs)[0].max() < 0.01


def test_swiss_roll_is_scikit_learns_swiss_roll():
    theirs = make_swiss_roll(20_000, noise=0.0, random_state=0)[0][:, [0, 2]] * (2 / (4.5 * np.pi))
    ours = toy2d.swiss_roll().path(torch.linspace(0, 1, 20_000)).numpy()
    assert cKDTree(theirs).query(ours)[0].max() < 0.01
    assert cKDTree(ours).query(theirs)[0].max() < 0.01


def test_log_prob_has_a_gradient_which_points_home():
    ring = toy2d.ring(1, 2.0, 0.5)
    x = torch.tensor([[1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    (score,) = torch.autograd.grad(ring.log_prob(x).sum(), x)
    torch.testing.assert_close(score, (torch.tensor([[2.0, 0.0]], dtype=torch.float64) - x.detach()) / 0.25)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="std must be a positive number; got -1"):
        toy2d.ring(std=-1.0)
    with pytest.raises(ValueError, match="std must be a positive number; got 0"):
        toy2d.moons(std=0.0)
    with pytest.raises(ValueError, match="modes must be 1 or more; got 0"):
        toy2d.ring(modes=0)
    with pytest.raises(ValueError, match="side must be 1 or more; got 0"):
        toy2d.grid(side=0)
    with pytest.raises(ValueError, match=r"n must be a number of samples, 0 or more; got -1"):
        toy2d.ring().sample(-1, rng())
    with pytest.raises(ValueError, match=r"means must have shape \(modes, 2\).*got \(3, 1\)"):
        unwrap(toy2d.Mixture.__post_init__)(FakeMixture(torch.zeros(3, 1)))


class FakeMixture:
    def __init__(self, means):
        self.means, self.std = means, 1.0
