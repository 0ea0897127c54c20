"""Diversity within a class against scipy's distances and closed forms."""

import math
from inspect import unwrap

import pytest
import torch
from scipy.spatial.distance import pdist

from genimg_ref.metrics import pairs
from genimg_ref.metrics.diversity import class_diversity, mean_pairwise_distance


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("block", [1, 70, 2**22])
def test_the_mean_distance_is_scipys(block, monkeypatch):
    monkeypatch.setattr(pairs, "BLOCK", block)
    rows = normal(23, 5) + 100
    assert mean_pairwise_distance(rows).item() == pytest.approx(pdist(rows.numpy()).mean(), rel=1e-12)


def test_normal_samples_have_their_closed_form():
    """The difference of two standard normal vectors has length sqrt(2) chi(dim)."""
    dim = 8
    expected = math.sqrt(2) * math.sqrt(2) * math.gamma((dim + 1) / 2) / math.gamma(dim / 2)
    assert mean_pairwise_distance(normal(3000, dim)).item() == pytest.approx(expected, rel=0.01)


def test_by_hand():
    """Sides of 3-4-5 in class 7, a pair 2 apart in class 2, and labels in no order."""
    features = torch.tensor([[0.0, 0.0], [5.0, 5.0], [3.0, 0.0], [3.0, 4.0], [5.0, 7.0]])
    result = class_diversity(features, torch.tensor([7, 2, 7, 7, 2]))
    assert result.classes.tolist() == [2, 7]
    assert result.by_class.tolist() == [2.0, 4.0]
    assert result.mean == 3.0


def test_classes_weigh_the_same_whatever_their_size():
    labels = torch.tensor([0] * 50 + [1] * 10)
    features = normal(60, 3) * torch.where(labels == 0, 1.0, 10.0)[:, None]
    result = class_diversity(features, labels)
    assert result.mean == pytest.approx(result.by_class.mean().item())
    assert result.by_class[1] > 5 * result.by_class[0]


def test_one_image_over_and_over_has_no_diversity_at_all():
    """Far from the origin, where differences of squares would leave a remainder."""
    features = (1e4 + normal(1, 64)).float().expand(30, 64)
    assert class_diversity(features, torch.arange(30) % 3).by_class.tolist() == [0.0, 0.0, 0.0]


def test_scaling_scales_and_rotation_does_not_matter():
    rows = normal(40, 6)
    rotation = torch.linalg.qr(normal(6, 6, seed=1)).Q
    expected = mean_pairwise_distance(rows)
    torch.testing.assert_close(mean_pairwise_distance(rows @ rotation), expected)
    torch.testing.assert_close(mean_pairwise_distance(3 * rows), 3 * expected)


def test_float32_features_are_measured_in_float64():
    rows = normal(40, 6).float()
    assert mean_pairwise_distance(rows).item() == mean_pairwise_distance(rows.double()).item()


def test_bad_input_is_named():
    labels = torch.tensor([0, 0, 1])
    with pytest.raises(ValueError, match="labels must hold every class at least twice; got class 1 once"):
        class_diversity(torch.zeros(3, 2), labels)
    with pytest.raises(ValueError, match=r"labels must have shape \(4,\), .*; got \(3,\)"):
        unwrap(class_diversity)(torch.zeros(4, 2), labels)
    with pytest.raises(ValueError, match="features must hold at least 2 rows; got 0"):
        class_diversity(torch.zeros(0, 2), labels[:0])
    with pytest.raises(ValueError, match="features must be finite"):
        class_diversity(torch.full((2, 2), math.nan), labels[:2])
    with pytest.raises(ValueError, match="features must hold at least 2 rows; got 1"):
        mean_pairwise_distance(torch.zeros(1, 2))
