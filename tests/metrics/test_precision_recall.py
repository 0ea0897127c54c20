"""Precision and recall, density and coverage against torch-fidelity, scikit-learn, hands and closed forms."""

import math
from inspect import unwrap

import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch_fidelity.metric_prc import calculate_precision_recall_full

from genimg_ref.metrics import pairs
from genimg_ref.metrics import precision_recall as module
from genimg_ref.metrics.precision_recall import density_coverage, precision_recall

BOTH = pytest.mark.parametrize("function", [precision_recall, density_coverage])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(count, dim, seed, shift=0.0, scale=1.0):
    return scale * torch.randn(count, dim, generator=rng(seed), dtype=torch.float64) + shift


def radii(x, k):
    """By scikit-learn, from differences of coordinates; the first neighbour is the point itself."""
    trees = NearestNeighbors(n_neighbors=k + 1, algorithm="brute", metric="euclidean").fit(x)
    return torch.from_numpy(trees.kneighbors(x)[0][:, k])


def by_definition(real, fake, k):
    across = torch.cdist(real, fake, compute_mode="donot_use_mm_for_euclid_dist")
    in_real, in_fake = across <= radii(real, k)[:, None], across <= radii(fake, k)
    pair = in_real.any(dim=0).double().mean().item(), in_fake.any(dim=1).double().mean().item()
    other = in_real.sum().item() / (k * len(fake)), in_real.any(dim=1).double().mean().item()
    return pair, other


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("reals", "fakes", "dim"), [(300, 200, 2), (90, 400, 16), (250, 250, 128)])
def test_against_scikit_learn_and_torch_fidelity(reals, fakes, dim, k):
    real, fake = draw(reals, dim, 0), draw(fakes, dim, 1, shift=0.3, scale=0.9)
    pair, other = by_definition(real, fake, k)
    assert 0.05 < pair[0] < 1 or 0.05 < pair[1] < 1
    assert precision_recall(real, fake, k) == pair
    assert density_coverage(real, fake, k) == other
    assert precision_recall(real, fake, k) == pytest.approx(
        calculate_precision_recall_full(fake, real, k), abs=1e-6
    )


@pytest.mark.parametrize("block", [1, 300, 2000])
def test_blocks_do_not_matter(monkeypatch, block):
    real, fake = draw(64, 3, 0), draw(45, 3, 1, shift=0.5)
    expected = by_definition(real, fake, 3)
    monkeypatch.setattr(pairs, "BLOCK", block)
    assert (precision_recall(real, fake, 3), density_coverage(real, fake, 3)) == expected


def test_by_hand():
    """Intervals on a line, for one neighbour."""
    real = torch.tensor([[0.0], [1.0], [4.0]])  # balls [-1, 1], [0, 2], [1, 7]
    fake = torch.tensor([[2.0], [2.5], [50.0]])  # balls [1.5, 2.5], [2, 3], [2.5, 97.5]
    found = precision_recall(real, fake, k=1)
    assert found == (2 / 3, 1 / 3)  # 2 and 2.5 are realistic; only 4 is in a generated ball
    # 2 lies in [0, 2] and [1, 7], 2.5 in [1, 7], 50 in none; [-1, 1] holds no generated image
    assert density_coverage(real, fake, k=1) == (3 / 3, 2 / 3)


def test_a_point_at_the_radius_lies_in_the_ball():
    """On a grid all neighbours are equally far away and every comparison is a tie."""
    side = torch.arange(8, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side) * 0.125 + 1000
    moved = grid + torch.tensor([0.125, 0.0])
    assert precision_recall(grid, moved, k=2) == (1.0, 1.0)
    assert density_coverage(grid, moved, k=2).coverage == 1.0


@pytest.mark.parametrize("dim", [1, 3, 512])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_copied_images_are_in_the_balls_that_they_define(dim, dtype):
    """Each generated image is a copy of some real one's k-th neighbour, and far from the origin."""
    real = (draw(120, dim, 0) + 300).to(dtype)
    neighbours = NearestNeighbors(n_neighbors=4, algorithm="brute").fit(real.double())
    for k in (1, 3):
        fake = real[torch.from_numpy(neighbours.kneighbors(real.double())[1][:, k])]
        fake = fake[torch.randperm(len(fake), generator=rng())]
        found = density_coverage(real, fake, k)
        assert found.coverage == 1.0
        assert precision_recall(real, fake, k).precision == 1.0


def test_copies_of_one_set_have_no_radius():
    """Three copies of each point: with k = 2 every ball is a point, and only a copy lies in it."""
    real = draw(40, 5, 0).repeat(3, 1) + 77
    near = real + 1e-4
    assert precision_recall(real, real.flip(0), k=2) == (1.0, 1.0)
    assert precision_recall(real, near, k=2) == (0.0, 0.0)
    assert precision_recall(real, near, k=3) == (1.0, 1.0)


@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6])
def test_tight_clusters_far_apart(spread):
    """float32 cannot tell the distances within a cluster from each other, or from zero."""
    places = draw(6, 8, 9)
    real = places.repeat(30, 1) + draw(180, 8, 0, scale=spread)
    fake = places.repeat(25, 1) + draw(150, 8, 1, scale=spread)
    pair, other = by_definition(real, fake, 3)
    assert 0.3 < pair[0] < 1
    assert (precision_recall(real, fake, 3), density_coverage(real, fake, 3)) == (pair, other)


def test_products_of_few_digits_are_noticed(monkeypatch):
    """As with TF32 or bfloat16, which PyTorch may be told to use for float32."""
    real, fake = draw(200, 16, 0), draw(150, 16, 1, shift=0.2)
    addmm = torch.addmm

    def coarse(squares, a, b, alpha):
        return addmm(squares, a.bfloat16().float(), b.bfloat16().float(), alpha=alpha)

    monkeypatch.setattr(torch, "addmm", coarse)
    expected = by_definition(real, fake, 3)
    assert (precision_recall(real, fake, 3), density_coverage(real, fake, 3)) == expected


@pytest.mark.parametrize("seed", range(5))
def test_whatever_rounding_decides_is_measured_again(monkeypatch, seed):
    """Much wider doubts change nothing."""
    real, fake = draw(150, 5, seed), draw(130, 5, seed + 50, shift=0.3)
    expected = by_definition(real, fake, 3)
    for rounding in (1e-4, 1e-3, 1e-2, 1.0):
        monkeypatch.setattr(module, "_rounding", lambda dim, rounding=rounding: rounding)
        assert (precision_recall(real, fake, 3), density_coverage(real, fake, 3)) == expected


def test_units_do_not_matter():
    real, fake = draw(100, 6, 0), draw(80, 6, 1, shift=0.3)
    expected = precision_recall(real, fake)
    for unit in (1e-40, 1e-20, 1e20, 1e23):
        assert precision_recall(real * unit, fake * unit) == expected


def test_an_outlier_does_not_blur_the_others():
    real, fake = draw(100, 2, 0), draw(100, 2, 1)
    expected = by_definition(real, fake, 3)[0]
    for far in (3e5, 1e12, 1e23):
        more = torch.cat([fake, torch.tensor([[far, 0.0]], dtype=torch.float64)])
        found = precision_recall(real, more, k=3)
        assert found.precision == expected[0] * 100 / 101
        assert found.recall == by_definition(real, more, 3)[0][1] >= expected[1]  # its ball is large


def test_of_itself_everything_is_in_place():
    x = draw(200, 6, 0)
    assert precision_recall(x, x) == (1.0, 1.0)
    assert density_coverage(x, x).coverage == 1.0


def test_sets_far_apart_share_nothing():
    real, fake = draw(100, 4, 0), draw(80, 4, 1, shift=100.0)
    assert precision_recall(real, fake) == (0.0, 0.0)
    assert density_coverage(real, fake) == (0.0, 0.0)


def test_swapping_the_sets_swaps_the_shares():
    real, fake = draw(100, 4, 0), draw(80, 4, 1, shift=0.5)
    assert precision_recall(fake, real) == precision_recall(real, fake)[::-1]


def test_a_dropped_mode_costs_recall_and_coverage_only():
    real = torch.cat([draw(200, 3, 0), draw(200, 3, 1, shift=20.0)])
    fake = draw(400, 3, 2)
    found, other = precision_recall(real, fake), density_coverage(real, fake)
    assert found.precision > 0.9 and found.recall < 0.5
    assert other.density > 0.8 and other.coverage <= 0.5


def test_density_is_one_and_coverage_known_on_equal_distributions():
    """``k`` real neighbours come before the first generated one with chance ``2^-k``."""
    found = torch.tensor([density_coverage(draw(800, 3, s), draw(800, 3, s + 100), k=2) for s in range(10)])
    assert found[:, 0].mean().item() == pytest.approx(1.0, abs=0.03)
    assert found[:, 1].mean().item() == pytest.approx(0.75, abs=0.02)


def test_rotation_shift_and_scale_change_nothing():
    real, fake = draw(100, 6, 0), draw(80, 6, 1, shift=0.3)
    turn = torch.linalg.qr(draw(6, 6, 2)).Q
    moved = [5 * x @ turn + 40 for x in (real, fake)]
    assert precision_recall(*moved) == precision_recall(real, fake)
    assert density_coverage(*moved) == density_coverage(real, fake)


@BOTH
def test_bad_features_are_named(function):
    x, broken, same = draw(20, 3, 0), draw(20, 3, 1), draw(1, 3, 2).expand(30, 3)
    for bad in (math.nan, math.inf):
        broken[3, 2] = bad
        with pytest.raises(
            ValueError, match=rf"generated must be finite and below 1e\+24 in size; got {bad}"
        ):
            function(x, broken)
        with pytest.raises(ValueError, match="real must be finite"):
            function(broken, x)
    with pytest.raises(ValueError, match="generated must differ between images; got the same row 30 times"):
        function(x, same)
    with pytest.raises(ValueError, match="real must differ between images; got the same row 30 times"):
        function(same, x)


@BOTH
def test_sizes_widths_and_types_are_named(function):
    x = draw(20, 3, 0)
    with pytest.raises(ValueError, match="k must be at least 1 and below the count of real 20; got 20"):
        function(x, draw(40, 3, 1), k=20)
    with pytest.raises(ValueError, match="k must be at least 1 and below the count of real 20; got 0"):
        function(x, x, k=0)
    with pytest.raises(ValueError, match="generated must hold at least 2 rows; got 1"):
        function(x, x[:1])
    with pytest.raises(ValueError, match="generated must have 3 columns, as real has; got 4"):
        unwrap(function)(x, draw(20, 4, 1))
    with pytest.raises(ValueError, match=r"real must have a floating dtype; got torch\.int64"):
        unwrap(function)(x.long(), x)


def test_generated_images_without_enough_neighbours_are_named():
    x, few = draw(20, 3, 0), draw(4, 3, 1)
    with pytest.raises(ValueError, match="k must be at least 1 and below the count of generated 4; got 4"):
        precision_recall(x, few, k=4)
    assert density_coverage(x, few, k=4).density >= 0  # they have no balls there
