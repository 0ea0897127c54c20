"""Modes covered and share of good samples."""

import math
from inspect import unwrap

import pytest
import torch

from genimg_ref.data import toy2d
from genimg_ref.metrics.modes import mode_coverage


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_data_cover_everything():
    ring = toy2d.ring()
    modes = mode_coverage(ring.sample(20_000, rng()), ring.means, ring.std)
    assert modes.covered == 8
    assert modes.good == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    assert modes.counts.sum().item() == round(modes.good * 20_000)


@pytest.mark.parametrize("within", [1.0, 2.0])
def test_share_within_a_radius_has_its_closed_form(within):
    grid = toy2d.grid()
    modes = mode_coverage(grid.sample(20_000, rng(1)), grid.means, grid.std, within)
    assert modes.good == pytest.approx(1 - math.exp(-(within**2) / 2), abs=0.012)


def test_by_hand():
    means = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    samples = torch.tensor([[0.0, 0.29], [0.31, 0.0], [10.0, 0.2], [9.9, -0.1], [5.0, 5.0]])
    modes = mode_coverage(samples, means, 0.1)
    assert modes.counts.tolist() == [1, 2, 0]
    assert modes.covered == 2
    assert modes.good == pytest.approx(3 / 5)
    assert mode_coverage(samples, means, 0.1, at_least=2).covered == 1


def test_a_sample_counts_once_even_between_wide_modes():
    means = torch.tensor([[0.0], [1.0]])
    modes = mode_coverage(torch.tensor([[0.4], [0.6]]), means, 1.0)
    assert modes.counts.tolist() == [1, 1]


def test_modes_far_from_the_origin():
    """More than 25 samples in float32: squares of the norms would hide distances as small as these."""
    means = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    samples = means.repeat(500, 1) + 0.01 * torch.randn(1000, 2, generator=rng())
    expected = mode_coverage(samples.double() + 1000, means.double() + 1000, 0.01).good
    assert mode_coverage(samples + 1000, means + 1000, 0.01).good == pytest.approx(expected, abs=0.002)


def test_nothing_good():
    modes = mode_coverage(torch.full((4, 2), 99.0), torch.zeros(3, 2), 0.1)
    assert modes.covered == 0 and modes.good == 0.0


def test_bad_input_is_named():
    points = torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"samples must have shape \(number, dim\).*; got \(0, 2\)"):
        mode_coverage(torch.zeros(0, 2), points, 0.1)
    with pytest.raises(ValueError, match="samples must be finite; got nan"):
        mode_coverage(torch.tensor([[0.0, math.nan]]), points, 0.1)
    with pytest.raises(ValueError, match="means must be finite; got -inf"):
        mode_coverage(points, torch.tensor([[0.0, -math.inf]]), 0.1)
    with pytest.raises(ValueError, match="means must have 2 columns, as samples do; got 3"):
        unwrap(mode_coverage)(points, torch.zeros(2, 3), 0.1)
    with pytest.raises(ValueError, match="std must be a positive number; got 0"):
        mode_coverage(points, points, 0.0)
    with pytest.raises(ValueError, match="within must be a positive number; got -1"):
        mode_coverage(points, points, 0.1, within=-1.0)
