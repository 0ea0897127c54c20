"""Divergences on a grid against scipy, closed forms and the identities of the chapter."""

import math
from inspect import unwrap

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, wasserstein_distance
from torch.autograd import gradcheck

from genimg_ref.gan.divergences import (
    game_value,
    gaussian_kl,
    js_divergence,
    kl_divergence,
    optimal_discriminator,
    wasserstein_1d,
)

DX = 0.01
X = torch.arange(-20, 20, DX, dtype=torch.float64)


def normal(mean, std):
    return torch.exp(-0.5 * ((X - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))


def random_densities(seed, shape=(6, 7), zeros=True):
    rng = torch.Generator().manual_seed(seed)
    p, q = torch.rand(2, *shape, generator=rng, dtype=torch.float64)
    if zeros:
        p, q = p * (p > 0.3), q * (q > 0.3)
    return p / (p.sum() * 0.25), q / (q.sum() * 0.25)


@pytest.mark.parametrize("seed", range(3))
def test_jensen_shannon_is_scipys(seed):
    p, q = random_densities(seed)
    expected = jensenshannon(p.flatten().numpy(), q.flatten().numpy()) ** 2  # scipy's is the root, in nats
    assert js_divergence(p, q, 0.25).item() == pytest.approx(expected, rel=1e-12)


def test_kl_is_scipys():
    p, q = random_densities(0, zeros=False)
    assert kl_divergence(p, q, 0.25).item() == pytest.approx(entropy(p.flatten(), q.flatten()), rel=1e-12)


@pytest.mark.parametrize("args", [(0.0, 1.0, 1.0, 1.0), (0.5, 0.7, -1.0, 2.0), (2.0, 1.5, 0.0, 0.8)])
def test_kl_of_gaussians_has_its_closed_form(args):
    mean_p, std_p, mean_q, std_q = args
    on_grid = kl_divergence(normal(mean_p, std_p), normal(mean_q, std_q), DX).item()
    assert on_grid == pytest.approx(gaussian_kl(*args), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_value_at_the_optimum_is_twice_js_minus_log_4(seed):
    p, q = random_densities(seed)
    value = game_value(optimal_discriminator(p, q), p, q, 0.25)
    torch.testing.assert_close(value, 2 * js_divergence(p, q, 0.25) - math.log(4))


@pytest.mark.parametrize("seed", range(3))
def test_no_other_discriminator_does_better(seed):
    p, q = random_densities(seed)
    best = optimal_discriminator(p, q)
    rng = torch.Generator().manual_seed(seed)
    value = game_value(best, p, q, 0.25)
    for size in (1e-3, 1e-1, 1.0):
        noise = torch.randn(best.shape, generator=rng, dtype=torch.float64)
        other = (best + size * noise).clamp(1e-6, 1 - 1e-6)
        assert game_value(other, p, q, 0.25) < value


def test_optimal_discriminator_where_a_density_vanishes():
    p = torch.tensor([0.0, 0.0, 2.0, 1.0])
    q = torch.tensor([0.0, 3.0, 0.0, 3.0])
    assert optimal_discriminator(p, q).tolist() == [0.5, 0.0, 1.0, 0.25]


def test_game_value_of_the_coin_is_minus_log_4():
    p, q = random_densities(0)
    half = torch.full_like(p, 0.5)
    assert game_value(half, p, q, 0.25).item() == pytest.approx(-math.log(4))


def test_a_certain_and_wrong_discriminator_loses_everything():
    p, q = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert game_value(torch.tensor([0.0, 0.5]), p, q, 1.0).item() == -math.inf
    assert game_value(torch.tensor([1.0, 0.0]), p, q, 1.0).item() == 0.0


def test_divergences_of_a_density_from_itself_vanish():
    p, _ = random_densities(0)
    assert kl_divergence(p, p, 0.25).item() == 0.0
    assert js_divergence(p, p, 0.25).item() == pytest.approx(0.0, abs=1e-15)


def test_disjoint_densities():
    p, q = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 1.0])
    assert kl_divergence(p, q, 0.5).item() == math.inf
    assert js_divergence(p, q, 0.5).item() == pytest.approx(math.log(2))


def test_js_is_symmetric_and_kl_is_not():
    p, q = random_densities(1, zeros=False)
    torch.testing.assert_close(js_divergence(p, q, 0.25), js_divergence(q, p, 0.25))
    assert abs(kl_divergence(p, q, 0.25) - kl_divergence(q, p, 0.25)) > 1e-3


def test_wasserstein_is_scipys_and_sees_the_distance():
    p, q = normal(-1.0, 0.5), normal(2.0, 1.5)
    expected = wasserstein_distance(X.numpy(), X.numpy(), p.numpy(), q.numpy())
    assert wasserstein_1d(p, q, DX).item() == pytest.approx(expected, rel=1e-6)
    assert wasserstein_1d(normal(0.0, 1.0), normal(5.0, 1.0), DX).item() == pytest.approx(5.0, rel=1e-6)


def test_gradients_by_finite_differences():
    p, q = (x.requires_grad_() for x in random_densities(2, (5,), zeros=False))
    assert gradcheck(lambda p, q: optimal_discriminator(p, q), (p, q))
    assert gradcheck(lambda p, q: js_divergence(p, q, 0.1), (p, q))
    assert gradcheck(lambda p, q: kl_divergence(p, q, 0.1), (p, q))


def test_dtype_follows_the_input():
    p, q = (x.float() for x in random_densities(0))
    assert js_divergence(p, q, 0.25).dtype == torch.float32
    assert optimal_discriminator(p, q).dtype == torch.float32


@pytest.mark.parametrize("function", [kl_divergence, js_divergence, wasserstein_1d])
def test_bad_input_is_named(function):
    p = torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match=r"p_data must hold densities, 0 or more; got a smallest value -0.5"):
        function(-p, p, 1.0)
    with pytest.raises(ValueError, match=r"p_model must hold densities"):
        function(p, torch.tensor([0.5, math.nan]), 1.0)
    with pytest.raises(ValueError, match=r"p_model must have the shape of p_data \(2,\); got \(3,\)"):
        unwrap(function)(p, torch.ones(3), 1.0)
    with pytest.raises(ValueError, match=r"dx must be the positive size of a grid cell; got 0"):
        function(p, p, 0.0)


def test_bad_probabilities_are_named():
    p = torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match=r"discriminator must hold probabilities in \[0, 1\]; .* 0.5 to 3"):
        game_value(torch.tensor([0.5, 3.0]), p, p, 1.0)
    with pytest.raises(ValueError, match="std_q must be a positive number; got 0"):
        gaussian_kl(0.0, 1.0, 0.0, 0.0)


def test_the_numbers_of_the_grid_do_not_matter():
    """Half the cell, twice the points: the same divergence."""
    coarse = js_divergence(normal(0, 1)[::10], normal(2, 1)[::10], 10 * DX)
    assert js_divergence(normal(0, 1), normal(2, 1), DX).item() == pytest.approx(coarse.item(), rel=1e-6)
    assert np.isclose((normal(0, 1) * DX).sum().item(), 1.0)
