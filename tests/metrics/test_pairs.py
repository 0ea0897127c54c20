"""Blocks that hold every row once, and distances to the last digit."""

import pytest
import torch
from scipy.spatial.distance import cdist

from genimg_ref.metrics import pairs
from genimg_ref.metrics.pairs import blocks, distances


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("count", "width", "block"), [(10, 3, 12), (10, 3, 1), (7, 1, 7), (1, 5, 100)])
def test_blocks_hold_every_row_once_and_no_more_numbers_than_allowed(monkeypatch, count, width, block):
    monkeypatch.setattr(pairs, "BLOCK", block)
    parts = list(blocks(count, width))
    assert [row for part in parts for row in range(count)[part]] == list(range(count))
    assert all(part.stop - part.start <= max(1, block // width) for part in parts)
    assert len(parts) == -(-count // max(1, block // width))
    assert parts[-1].stop == count


def test_distances_far_from_the_origin_are_scipys():
    """Of more than 25 points, where `torch.cdist` would take the short way."""
    x, y = normal(60, 7) + 1e6, normal(50, 7, seed=1) + 1e6
    expected = torch.from_numpy(cdist(x.numpy(), y.numpy()))
    torch.testing.assert_close(distances(x, y), expected, rtol=1e-12, atol=0)
    assert distances(x, x).diagonal().tolist() == [0.0] * 60
