"""The kernel distance against loops, torchmetrics, torch-fidelity, closed forms, and its unbiasedness."""

import itertools
import math
from fractions import Fraction
from inspect import unwrap

import pytest
import torch
from torch_fidelity.metric_kid import kernel_poly, kid_features_to_metric, mmd2
from torchmetrics.image.kid import poly_mmd

from genimg_ref.metrics import pairs
from genimg_ref.metrics.checks import LARGEST
from genimg_ref.metrics.kid import kernel, kernel_distance, kernel_distance_subsets

CUBIC = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(count, dim, seed, shift=0.0):
    return torch.randn(count, dim, generator=rng(seed), dtype=torch.float64) + shift


def by_loops(a, b):
    """The definition: means over pairs of different images within a set, and over all pairs across."""

    def k(x, y):
        return ((x @ y).item() / len(x) + 1) ** 3

    def within(s):
        pairs = list(itertools.permutations(s, 2))
        return math.fsum(k(x, y) for x, y in pairs) / len(pairs)

    across = math.fsum(k(x, y) for x in a for y in b) / (len(a) * len(b))
    return within(a) + within(b) - 2 * across


@pytest.mark.parametrize(("m", "n"), [(3, 3), (7, 5), (12, 20)])
def test_against_loops(m, n):
    a, b = draw(m, 4, 0), draw(n, 4, 1, shift=0.5)
    assert kernel_distance(a, b).value == pytest.approx(by_loops(a, b), rel=1e-12)


def test_against_torch_fidelity_and_torchmetrics():
    a, b = draw(300, 16, 0), draw(300, 16, 1, shift=0.1)
    ours = kernel_distance(a, b).value
    matrices = [kernel_poly(x.numpy(), y.numpy(), **CUBIC) for x, y in ((a, a), (a, b), (b, b))]
    assert ours == pytest.approx(mmd2(*matrices), rel=1e-9)
    assert ours == pytest.approx(poly_mmd(a, b).item(), rel=1e-9)


def test_all_of_both_sets_is_a_subset():
    a, b = draw(80, 6, 0), draw(80, 6, 1, shift=0.2)
    found = kernel_distance_subsets(a, b, rng(), subsets=3, size=80)
    value = kernel_distance(a, b).value
    torch.testing.assert_close(found.distances, torch.full((3,), value, dtype=torch.float64))
    assert found.std == pytest.approx(0, abs=1e-12)


def test_subsets_against_torch_fidelity():
    """Different random subsets: equal means within their errors, equal spread."""
    a, b = draw(900, 8, 0), draw(700, 8, 1, shift=0.2)
    ours = kernel_distance_subsets(a, b, rng(), subsets=400, size=50)
    arguments = dict(CUBIC, kid_kernel="poly", kid_subsets=400, kid_subset_size=50, rng_seed=0, verbose=False)
    peer = kid_features_to_metric(a, b, **arguments)
    mean, std = peer["kernel_inception_distance_mean"], peer["kernel_inception_distance_std"]
    assert ours.mean == pytest.approx(mean, abs=4 * math.sqrt(2) * ours.error)
    assert ours.std == pytest.approx(std, rel=0.2)
    assert ours.error == pytest.approx(ours.distances.std().item() / 20)


def test_the_mean_over_all_subsets_is_the_full_statistic():
    a, b = draw(5, 3, 0), draw(6, 3, 1, shift=1.0)
    chosen = [
        by_loops(a[list(i)], b[list(j)])
        for i in itertools.combinations(range(5), 3)
        for j in itertools.combinations(range(6), 3)
    ]
    assert kernel_distance(a, b).value == pytest.approx(math.fsum(chosen) / len(chosen), rel=1e-11)


@pytest.mark.parametrize(("m", "n"), [(5, 5), (4, 40), (200, 200)])
def test_unbiased_on_equal_distributions(m, n):
    """However few images there are; a biased estimate is positive every time."""
    values = torch.tensor([kernel_distance(draw(m, 6, s), draw(n, 6, s + 5000)).value for s in range(600)])
    error = values.std().item() / math.sqrt(600)
    assert abs(values.mean().item()) < 4 * error
    assert 0.2 < (values < 0).float().mean() < 0.9


@pytest.mark.parametrize(("m", "n"), [(10, 30), (100, 100)])
def test_unbiased_on_different_gaussians(m, n):
    """On a line ``MMD^2 = 3 d_1^2 + 3 d_2^2 + d_3^2``, with ``d_r`` the difference of the r-th moments: for
    N(0, 1) and N(1, 1) these are 1, 1 and 4."""
    values = torch.tensor(
        [kernel_distance(draw(m, 1, s), draw(n, 1, s + 5000, 1.0)).value for s in range(1500)]
    )
    assert abs(values.mean().item() - 22) < 4 * values.std().item() / math.sqrt(1500)


def test_the_error_is_the_spread_over_fresh_images():
    found = [kernel_distance(draw(200, 5, s), draw(300, 5, s + 5000, 0.5)) for s in range(400)]
    values, errors = torch.tensor(found, dtype=torch.float64).unbind(dim=1)
    assert errors.mean().item() == pytest.approx(values.std().item(), rel=0.12)


def test_the_error_on_equal_distributions_is_not_too_small():
    found = [kernel_distance(draw(200, 5, s), draw(200, 5, s + 5000)) for s in range(400)]
    values, errors = torch.tensor(found, dtype=torch.float64).unbind(dim=1)
    assert 0.95 < errors.square().mean().sqrt().item() / values.std().item() < 1.6


def test_the_error_is_the_jackknife():
    a, b = draw(9, 3, 0), draw(7, 3, 1, shift=1.0)
    without_a = torch.tensor([by_loops(torch.cat([a[:i], a[i + 1 :]]), b) for i in range(9)])
    without_b = torch.tensor([by_loops(a, torch.cat([b[:i], b[i + 1 :]])) for i in range(7)])
    variance = 8 * without_a.double().var(correction=0) + 6 * without_b.double().var(correction=0)
    assert kernel_distance(a, b).error == pytest.approx(variance.sqrt().item(), rel=1e-5)


def test_blocks_do_not_matter(monkeypatch):
    a, b = draw(50, 6, 0), draw(43, 6, 1)
    whole = kernel_distance(a, b)
    for block in (1, 300):
        monkeypatch.setattr(pairs, "BLOCK", block)
        assert kernel_distance(a, b) == pytest.approx(whole, rel=1e-11)


@pytest.mark.parametrize("far", [1e3, 1e5, 1e8])
def test_an_outlier_costs_no_digits(far):
    """Its kernel with itself, the sixth power, is nothing that may be added and taken away again."""
    a, b = draw(8, 3, 0), draw(7, 3, 1)
    a[2, 0] = far

    def k(x, y):
        return (sum(Fraction(p) * Fraction(q) for p, q in zip(x, y, strict=True)) / 3 + 1) ** 3

    def within(s):
        return sum(k(x, y) for x, y in itertools.permutations(s, 2)) / (len(s) * (len(s) - 1))

    p, q = a.tolist(), b.tolist()
    exact = within(p) + within(q) - 2 * sum(k(x, y) for x in p for y in q) / 56
    assert kernel_distance(a, b).value == pytest.approx(float(exact), rel=1e-12)


def test_the_largest_features_still_have_an_error():
    a, b = (x / x.abs().max() for x in (draw(20, 3, 0), draw(20, 3, 1)))
    found, small = kernel_distance(LARGEST * a, LARGEST * b), kernel_distance(1e12 * a, 1e12 * b)
    assert found.error == pytest.approx(LARGEST**6 * (small.error / 1e72), rel=1e-9)


def test_symmetry_and_rotation():
    a, b = draw(60, 6, 0), draw(43, 6, 1, shift=0.3)
    turn = torch.linalg.qr(draw(6, 6, 2)).Q
    base = kernel_distance(a, b)
    assert kernel_distance(b, a) == pytest.approx(base, rel=1e-10)
    assert kernel_distance(a @ turn, b @ turn) == pytest.approx(base, rel=1e-10)


def test_float32_features_lose_nothing():
    a, b = draw(100, 6, 0).float() + 9, draw(100, 6, 1).float() + 9
    assert kernel_distance(a, b) == pytest.approx(kernel_distance(a.double(), b.double()), rel=1e-12)


def test_the_same_generator_draws_the_same_subsets():
    a, b = draw(90, 3, 0), draw(70, 3, 1)
    one, two, other = (kernel_distance_subsets(a, b, rng(s), subsets=5, size=20).distances for s in (0, 0, 1))
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert not torch.equal(one, other)


def test_kernel_by_hand():
    x, y = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[3.0, -1.0]])
    assert kernel(x, y).tolist() == [[1.5**3], [1.0]]


@pytest.mark.parametrize(
    "function", [kernel_distance, lambda a, b: kernel_distance_subsets(a, b, rng(), 5, 9)]
)
def test_bad_features_are_named(function):
    x, broken, same = draw(20, 3, 0), draw(20, 3, 1), draw(1, 3, 2).expand(20, 3)
    broken[3, 2] = math.nan
    with pytest.raises(ValueError, match=r"features_b must be finite and below 1e\+24 in size; got nan"):
        function(x, broken)
    broken[3, 2] = -math.inf
    with pytest.raises(ValueError, match="features_a must be finite"):
        function(broken, x)
    with pytest.raises(ValueError, match="features_b must differ between images; got the same row 20 times"):
        function(x, same)
    with pytest.raises(ValueError, match=r"features_a must hold at least [23] rows; got 1"):
        function(x[:1], x)


def test_sizes_widths_and_types_are_named():
    x = draw(20, 3, 0)
    with pytest.raises(ValueError, match="features_b must hold at least 3 rows; got 2"):
        kernel_distance(x, x[:2])
    with pytest.raises(ValueError, match="features_b must have 3 columns, as features_a has; got 4"):
        unwrap(kernel_distance)(x, draw(20, 4, 0))
    with pytest.raises(ValueError, match=r"features_a must have a floating dtype; got torch\.int64"):
        unwrap(kernel_distance)(x.long(), x)
    for size in (13, 1, 0, -4):
        with pytest.raises(ValueError, match=f"size must be from 2 to the smaller count 12; got {size}"):
            kernel_distance_subsets(x, x[:12], rng(), size=size)
    with pytest.raises(ValueError, match="size must be from 2 to the smaller count 20; got 1000"):
        kernel_distance_subsets(x, x, rng())
    with pytest.raises(ValueError, match="subsets must be at least 2; got 1"):
        kernel_distance_subsets(x, x, rng(), subsets=1, size=5)
