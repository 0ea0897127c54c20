"""The Fréchet distance against closed forms, scipy, torchmetrics, torch-fidelity and 60 digits of mpmath."""

import math
from inspect import unwrap

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchmetrics.image.fid import _compute_fid

from genimg_ref.metrics.fid import fid_infinity, frechet_distance, frechet_distance_of, frechet_gaussians
from genimg_ref.metrics.statistics import Moments, gather, moments


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(count, dim, seed, rank=None):
    """Features whose covariances do not commute from seed to seed, with means that are not zero."""
    generator = rng(seed)
    rank = rank or dim
    mixing = torch.randn(rank, dim, generator=generator, dtype=torch.float64) / math.sqrt(rank)
    mean = torch.randn(dim, generator=generator, dtype=torch.float64)
    return torch.randn(count, rank, generator=generator, dtype=torch.float64) @ mixing + mean


def rotation(dim, seed=0):
    return torch.linalg.qr(torch.randn(dim, dim, generator=rng(seed), dtype=torch.float64)).Q


def by_scipy(a, b):
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (a.numpy(), b.numpy()))
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a + cov_b) - 2 * np.trace(root.real))


def by_mpmath(a, b):
    """The formula as it stands, with 60 digits; the matrix is not symmetric and may be singular."""
    with mpmath.workdps(60):
        total = mpmath.mpf(0)
        means, covariances = [], []
        for x in (a, b):
            x = mpmath.matrix(x.tolist())
            mean = [mpmath.fsum(x[:, j]) / x.rows for j in range(x.cols)]
            centred = mpmath.matrix(x.rows, x.cols)
            for i in range(x.rows):
                for j in range(x.cols):
                    centred[i, j] = x[i, j] - mean[j]
            means.append(mean)
            covariances.append(centred.T * centred / (x.rows - 1))
        total += mpmath.fsum((p - q) ** 2 for p, q in zip(*means, strict=True))
        values = mpmath.eig(covariances[0] * covariances[1], left=False, right=False)
        for c in covariances:
            total += mpmath.fsum(c[j, j] for j in range(c.rows))
        return float(total - 2 * mpmath.fsum(mpmath.sqrt(max(mpmath.re(v), 0)) for v in values))


@pytest.mark.parametrize(("count_a", "count_b", "dim"), [(400, 300, 5), (900, 1200, 64), (70, 4000, 64)])
def test_against_three_libraries(count_a, count_b, dim):
    a, b = draw(count_a, dim, 0), draw(count_b, dim, 1)
    ours = frechet_distance_of(a, b)
    peer = fid_statistics_to_metric(fid_features_to_statistics(a), fid_features_to_statistics(b), False)
    assert ours == pytest.approx(by_scipy(a, b), rel=1e-9)
    assert ours == pytest.approx(peer["frechet_inception_distance"], rel=1e-9)
    metric = _compute_fid(a.mean(0), a.T.cov(), b.mean(0), b.T.cov())
    assert ours == pytest.approx(metric.item(), rel=1e-9)
    assert frechet_distance(gather(a.split(64)), gather(b.split(33))) == pytest.approx(ours, rel=1e-9)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (draw(6, 9, 0), draw(5, 9, 1)),  # fewer images than features on both sides
        (draw(6, 9, 0), draw(40, 9, 1)),  # on one side
        (draw(40, 9, 0, rank=3), draw(50, 9, 1, rank=4)),  # singular for another reason
        (draw(40, 9, 0, rank=3), draw(50, 9, 1)),
        (draw(2, 3, 0), draw(2, 3, 1)),
    ],
    ids=["both few", "one few", "both flat", "one flat", "two images"],
)
def test_singular_covariances_are_exact(a, b):
    """`sqrtm` and eigenvalues of the product lose half the digits here."""
    exact = by_mpmath(a, b)
    assert frechet_distance_of(a, b) == pytest.approx(exact, rel=1e-11)
    assert frechet_distance(moments(a), moments(b)) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("rank", "dim"), [(1, 3), (2, 3), (63, 64)])
def test_covariances_singular_for_many_images_lose_half_the_digits_at_most(rank, dim):
    """Moments are rounded before anything is made of them; the factors come from the features here."""
    a, b = draw(2000, dim, 0, rank=rank) + 20, draw(300, dim, 1)
    one, two = (torch.linalg.qr(x - x.mean(0)).R / math.sqrt(len(x) - 1) for x in (a, b))
    scale = (one.square().sum() + two.square().sum()).item()
    step = (a.mean(0) - b.mean(0)).square().sum().item()
    exact = step + scale - 2 * torch.linalg.svdvals(one @ two.T).sum().item()
    assert frechet_distance_of(a, b) == pytest.approx(exact, abs=1e-7 * scale)
    assert frechet_distance(gather(a.split(1)), moments(b)) == pytest.approx(exact, abs=1e-7 * scale)


def test_covariances_of_very_different_sizes_are_exact():
    scales = torch.logspace(0, -5, 12, dtype=torch.float64)
    a = draw(60, 12, 0) * scales
    b = (draw(60, 12, 1) * scales) @ rotation(12)
    assert frechet_distance_of(a, b) == pytest.approx(by_mpmath(a, b), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_commuting_covariances_have_their_closed_form(seed):
    std_a, std_b = torch.rand(2, 6, generator=rng(seed), dtype=torch.float64)
    mean_a, mean_b = torch.randn(2, 6, generator=rng(seed + 9), dtype=torch.float64)
    turn = rotation(6, seed)
    covariances = [turn @ (std**2).diag() @ turn.T for std in (std_a, std_b)]
    expected = ((mean_a - mean_b) ** 2).sum() + ((std_a - std_b) ** 2).sum()
    ours = frechet_gaussians(mean_a, covariances[0], mean_b, covariances[1])
    assert ours == pytest.approx(expected.item(), rel=1e-11)


def test_covariances_that_do_not_commute_in_two_dimensions():
    """``tr M^(1/2) = sqrt(tr M + 2 sqrt(det M))`` for two by two, which needs no eigenvalues."""
    a = torch.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    b = torch.tensor([[1.0, -0.9], [-0.9, 3.0]], dtype=torch.float64)
    product = a @ b
    root = math.sqrt(product.trace() + 2 * math.sqrt(torch.linalg.det(product)))
    expected = 1 + 4 + (a.trace() + b.trace()).item() - 2 * root
    mean = torch.tensor([1.0, -2.0], dtype=torch.float64)
    assert frechet_gaussians(mean, a, torch.zeros_like(mean), b) == pytest.approx(expected, rel=1e-12)


def test_points_and_lines():
    """Two points are as far apart as they are; for two lines ``tr (A B)^(1/2) = |u v|``."""
    zero = torch.zeros(3, 3, dtype=torch.float64)
    mean = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64)
    assert frechet_gaussians(mean, zero, 0 * mean, zero) == 9.0
    u, v = torch.randn(2, 3, generator=rng(), dtype=torch.float64)
    expected = u @ u + v @ v - 2 * (u @ v).abs()
    ours = frechet_gaussians(mean, torch.outer(u, u), mean, torch.outer(v, v))
    assert ours == pytest.approx(expected.item(), rel=1e-12)
    assert frechet_gaussians(mean, torch.outer(u, u), mean, zero) == pytest.approx((u @ u).item(), rel=1e-12)


@pytest.mark.parametrize("x", [draw(500, 40, 0), draw(30, 40, 0), draw(200, 40, 0, rank=7)])
def test_of_itself_it_is_zero(x):
    scale = x.T.cov().trace().item()
    assert frechet_distance_of(x, x) == pytest.approx(0, abs=1e-10 * scale)
    assert frechet_distance(moments(x), gather(x.flip(0).split(17))) == pytest.approx(0, abs=1e-10 * scale)


@pytest.mark.parametrize("counts", [(500, 300), (20, 10), (20, 300)])
def test_symmetry_rotation_shift_and_scale(counts):
    a, b = draw(counts[0], 24, 0), draw(counts[1], 24, 1)
    base = frechet_distance_of(a, b)
    turn, shift = rotation(24), torch.linspace(-4, 9, 24, dtype=torch.float64)
    assert frechet_distance_of(b, a) == pytest.approx(base, rel=1e-10)
    assert frechet_distance_of(a @ turn + shift, b @ turn + shift) == pytest.approx(base, rel=1e-10)
    assert frechet_distance_of(3 * a, 3 * b) == pytest.approx(9 * base, rel=1e-10)


def test_a_shift_adds_its_square():
    x = draw(200, 5, 0)
    shift = torch.tensor([1.0, 0.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    assert frechet_distance_of(x, x + shift) == pytest.approx(14.25, rel=1e-10)


def test_dead_features_change_nothing():
    a, b = draw(50, 4, 0), draw(60, 4, 1)
    wide = [torch.cat([x, x.new_full((len(x), 2), 0.3)], dim=1) for x in (a, b)]
    assert frechet_distance_of(*wide) == pytest.approx(frechet_distance_of(a, b), rel=1e-11)


def test_float32_features_lose_nothing():
    a, b = draw(300, 8, 0).float() + 50, draw(200, 8, 1).float() + 50
    assert frechet_distance_of(a, b) == pytest.approx(by_scipy(a.double(), b.double()), rel=1e-9)


def known(mean, covariance):
    """Moments as of a billion images."""
    return Moments(10**9, mean, covariance * (10**9 - 1))


def test_extrapolation_removes_the_bias():
    """Against the true moments of its own Gaussian a sample's distance is all bias: about 1 / size."""
    reference = known(torch.zeros(8, dtype=torch.float64), torch.eye(8, dtype=torch.float64))
    found = [
        fid_infinity(reference, torch.randn(2000, 8, generator=rng(s), dtype=torch.float64), rng(s))
        for s in range(20)
    ]
    values = torch.tensor([f.value for f in found])
    biased = torch.tensor([f.distances[-1] for f in found])
    assert abs(values.mean()) < biased.mean() / 4
    # dim / N for the mean, and dim (dim + 1) / (4 N) for the covariance: its roots have half the variance
    assert torch.tensor([f.slope for f in found]).mean().item() == pytest.approx(8 + 8 * 9 / 4, rel=0.35)


def test_extrapolation_is_the_line_through_its_points():
    x = draw(600, 3, 0)
    found = fid_infinity(moments(draw(500, 3, 1)), x, rng(), points=7, smallest=50)
    slope, value = np.polyfit(1 / found.sizes.numpy(), found.distances.numpy(), 1)
    assert found.sizes.tolist() == [50, 142, 233, 325, 417, 508, 600]
    assert found.distances[-1].item() == pytest.approx(frechet_distance_of(draw(500, 3, 1), x), rel=1e-10)
    assert (found.value, found.slope) == pytest.approx((value, slope), rel=1e-9)
    again = fid_infinity(moments(draw(500, 3, 1)), x, rng(), points=7, smallest=50)
    torch.testing.assert_close(again.distances, found.distances, rtol=0, atol=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_named(bad):
    x, broken = draw(10, 3, 0), draw(10, 3, 1)
    broken[3, 2] = bad
    with pytest.raises(ValueError, match="features_b must be finite"):
        frechet_distance_of(x, broken)
    with pytest.raises(ValueError, match="mean of a must be finite"):
        frechet_gaussians(broken[3], torch.eye(3), x[0], torch.eye(3))
    with pytest.raises(ValueError, match="covariance of b must be finite"):
        frechet_distance(moments(x), Moments(10, x[0], torch.full((3, 3), bad).double()))


def test_too_few_images_are_named():
    x = draw(10, 3, 0)
    with pytest.raises(ValueError, match="features_a must hold at least 2 rows; got 1"):
        frechet_distance_of(x[:1], x)
    with pytest.raises(ValueError, match="b must have seen at least 2 images; got 1"):
        frechet_distance(moments(x), moments(x[:1]))


def test_constant_features_are_named():
    x, same = draw(10, 3, 0), draw(1, 3, 1).expand(40, 3)
    with pytest.raises(ValueError, match="features_b must differ between images; got the same row 40 times"):
        frechet_distance_of(x, same)
    with pytest.raises(ValueError, match="a must differ between images; got the same row 40 times"):
        frechet_distance(gather(same.split(1)), moments(x))


def test_widths_and_types_are_named():
    x, wide = draw(10, 3, 0), draw(10, 4, 0)
    with pytest.raises(ValueError, match="features_b must have 3 columns, as features_a has; got 4"):
        unwrap(frechet_distance_of)(x, wide)
    with pytest.raises(ValueError, match="b must be 3 wide, as a is; got 4"):
        frechet_distance(moments(x), moments(wide))
    with pytest.raises(ValueError, match=r"features_a must have a floating dtype; got torch.int32"):
        unwrap(frechet_distance_of)(x.int(), x)
    with pytest.raises(ValueError, match="mean_b must have 3 entries, as mean_a has; got 4"):
        unwrap(frechet_gaussians)(x[0], torch.eye(3), wide[0], torch.eye(4))
    with pytest.raises(ValueError, match=r"mean of a must have shape \(dim,\); got \(3, 1\)"):
        unwrap(frechet_gaussians)(x[0, :, None], torch.eye(3), x[1], torch.eye(3))
    with pytest.raises(
        ValueError, match=r"covariance of b must have shape \(dim, dim\).* got \(2, 2\) and 3"
    ):
        unwrap(frechet_gaussians)(x[0], torch.eye(3), x[1], torch.eye(2))


def test_matrices_that_are_no_covariance_are_named():
    mean, eye = torch.zeros(2), torch.eye(2)
    with pytest.raises(ValueError, match="covariance of a must be symmetric"):
        frechet_gaussians(mean, torch.tensor([[1.0, 0.5], [0.0, 1.0]]), mean, eye)
    with pytest.raises(
        ValueError, match="covariance of b must be positive semi-definite; got an eigenvalue -1"
    ):
        frechet_gaussians(mean, eye, mean, torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(
        ValueError, match="covariance of b must be positive semi-definite; got an eigenvalue -3"
    ):
        frechet_gaussians(mean, eye, mean, -3 * eye)


def test_bad_extrapolations_are_named():
    x = draw(100, 8, 0)
    with pytest.raises(ValueError, match=r"smallest must be above the width of features 8 .* got 8"):
        fid_infinity(moments(x), x, rng(), smallest=8)
    with pytest.raises(ValueError, match="at most half their count 20; got 16"):
        fid_infinity(moments(x), x[:20], rng())
    with pytest.raises(ValueError, match="features must have 3 columns, as reference has; got 8"):
        fid_infinity(moments(x[:, :3]), x, rng())
    with pytest.raises(ValueError, match="reference must differ between images"):
        fid_infinity(moments(x[:1].expand(9, 8)), x, rng())
    with pytest.raises(ValueError, match="points must be at least 3; got 2"):
        fid_infinity(moments(x), x, rng(), points=2)
