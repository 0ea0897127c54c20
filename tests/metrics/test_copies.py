"""The copy test against scipy's ranks and neighbours, and on generators whose copying is known."""

import math
from inspect import unwrap

import pytest
import torch
from scipy.spatial import cKDTree
from scipy.stats import mannwhitneyu

from genimg_ref.metrics import pairs
from genimg_ref.metrics.copies import copy_test, nearest_neighbours


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("block", [1, 100, 2**22])
def test_neighbours_are_scipys(block, monkeypatch):
    monkeypatch.setattr(pairs, "BLOCK", block)
    queries, references = normal(37, 3, 2) + 10, normal(50, 3, 2, seed=1) + 10
    distances, indices = cKDTree(references.flatten(1).numpy()).query(queries.flatten(1).numpy())
    found = nearest_neighbours(queries, references)
    torch.testing.assert_close(found.distances, torch.from_numpy(distances))
    assert found.indices.tolist() == indices.tolist()


def test_a_copy_is_at_distance_zero_exactly():
    """In float32, far from the origin: differences of squares would leave a remainder."""
    references = (1e3 + normal(500, 1, 4, 6)).float()
    found = nearest_neighbours(references[[3, 400, 77]], references)
    assert found.indices.tolist() == [3, 400, 77]
    assert found.distances.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("count", [20, 200])
def test_a_copy_is_told_from_what_is_nearly_one(count):
    """Rough distances cannot tell the original from an image that differs in the last bit of one pixel."""
    originals = normal(count, 5, 12).float()
    others = originals.clone()
    others[:, 2, 3] = torch.nextafter(others[:, 2, 3], torch.tensor(torch.inf))
    found = nearest_neighbours(originals, torch.cat([others, originals]))
    assert found.indices.tolist() == list(range(count, 2 * count))
    assert found.distances.tolist() == [0.0] * count


@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6])
def test_neighbours_within_tight_clusters_far_apart(spread):
    places = 1e4 * normal(6, 8, seed=9)
    references = places.repeat(30, 1) + spread * normal(180, 8)
    queries = places.repeat(25, 1) + spread * normal(150, 8, seed=1)
    distances, indices = cKDTree(references.numpy()).query(queries.numpy())
    found = nearest_neighbours(queries, references)
    torch.testing.assert_close(found.distances, torch.from_numpy(distances), rtol=1e-5, atol=0)
    assert found.indices.tolist() == indices.tolist()


def test_an_outlier_does_not_blur_the_others():
    references = torch.cat([torch.full((1, 8), 1e10, dtype=torch.float64), normal(200, 8)])
    distances, indices = cKDTree(references.numpy()).query(normal(100, 8, seed=1).numpy())
    found = nearest_neighbours(normal(100, 8, seed=1), references)
    torch.testing.assert_close(found.distances, torch.from_numpy(distances), rtol=1e-6, atol=0)
    assert found.indices.tolist() == indices.tolist()


@pytest.mark.parametrize("decimals", [9, 1, 0])
def test_the_statistic_is_scipys_with_ties_too(decimals):
    training = normal(40, 2)
    generated, heldout = 0.8 * normal(60, 2, seed=1), normal(90, 2, seed=2)
    sets = [torch.round(x, decimals=decimals) for x in (generated, heldout, training)]
    ours = copy_test(*sets)
    theirs, held = (nearest_neighbours(x, sets[2]).distances.numpy() for x in sets[:2])
    expected = mannwhitneyu(theirs, held, alternative="less", use_continuity=False, method="asymptotic")
    assert ours.closer == pytest.approx(1 - expected.statistic / (60 * 90), rel=1e-12)
    assert ours.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_copied_by_hand():
    training = torch.tensor([[0.0], [10.0]])
    heldout = torch.tensor([[1.0], [12.0], [7.0], [6.0]])  # 1, 2, 3, 4 away
    generated = torch.tensor([[0.0], [10.5], [8.0], [5.0], [-9.0]])  # 0, 0.5, 2, 5, 9 away
    result = copy_test(generated, heldout, training, at=1 / 3)
    assert result.radius == pytest.approx(2.0)
    assert result.copied == pytest.approx(3 / 5)
    assert result.closer == pytest.approx((4 + 4 + 2.5) / 20)


def test_new_data_pass_and_the_p_value_is_uniform():
    """Kolmogorov's distance of 200 uniform values from the diagonal exceeds 0.115 once in a hundred times."""
    training = normal(200, 3)
    p_values = torch.tensor(
        [
            copy_test(normal(60, 3, seed=2 * k + 1), normal(60, 3, seed=2 * k + 2), training).p_value
            for k in range(200)
        ]
    )
    steps = torch.arange(1, 201) / 200
    assert (p_values.sort().values - steps).abs().max() < 0.115


def test_what_gives_a_copier_away():
    training, heldout, fresh = normal(300, 8), normal(300, 8, seed=1), normal(300, 8, seed=2)
    copier = copy_test(training[:250] + 0.1 * normal(250, 8, seed=3), heldout, training)
    assert copier.z < -15 and copier.p_value < 1e-50
    assert copier.closer > 0.95 and copier.copied > 0.9
    wide = copy_test(3 * fresh, heldout, training)
    assert wide.z > 10 and wide.p_value > 0.999 and wide.copied < 0.01


def test_a_copier_that_hides_is_seen_by_the_share_of_copies():
    """Half copies, half far out: the average passes, as Meehan et al. warn."""
    training, heldout = normal(300, 8), normal(300, 8, seed=1)
    hiding = torch.cat([training[:100], 3 * normal(100, 8, seed=2)])
    result = copy_test(hiding, heldout, training)
    assert abs(result.z) < 2
    assert result.copied == pytest.approx(0.5, abs=0.02)


def test_order_and_units_do_not_matter():
    training, heldout, generated = normal(50, 4), normal(40, 4, seed=1), normal(30, 4, seed=2)
    expected = copy_test(generated, heldout, training)
    other = copy_test(7 * generated.flip(0) + 5, 7 * heldout.flip(0) + 5, 7 * training.flip(0) + 5)
    assert other[:4] == pytest.approx(expected[:4])
    assert other.radius == pytest.approx(7 * expected.radius)


def test_bad_input_is_named():
    points = normal(5, 2)
    with pytest.raises(ValueError, match=r"generated must hold 2 or more images; got shape \(1, 2\)"):
        copy_test(points[:1], points, points)
    with pytest.raises(ValueError, match=r"heldout must hold 2 or more images; got shape \(0, 2\)"):
        copy_test(points, points[:0], points)
    with pytest.raises(ValueError, match=r"training must hold 1 or more images; got shape \(0, 2\)"):
        copy_test(points, points, points[:0])
    with pytest.raises(
        ValueError, match=r"queries must have images of shape \(3,\), as references .* \(2,\)"
    ):
        unwrap(nearest_neighbours)(points, normal(5, 3))
    with pytest.raises(ValueError, match="queries must be finite"):
        nearest_neighbours(points * math.nan, points)
    with pytest.raises(ValueError, match=r"at must lie between 0 and 1; got 1.0"):
        copy_test(points, points, points, at=1.0)
    with pytest.raises(ValueError, match="must differ in their distances to training; got the same for all"):
        copy_test(points, points, points)
