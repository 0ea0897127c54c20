r"""The Fréchet distance of two sets of features, and what it would be with infinitely many images.

Chapter: metrics

Between Gaussians with means ``m_a, m_b`` and covariances ``A, B`` the squared Fréchet (2-Wasserstein)
distance is

    |m_a - m_b|^2 + tr A + tr B - 2 tr (A B)^(1/2)

and what the field calls FID is this square, not its root, with the features of the Inception network.

How the last term is computed. Most code calls ``scipy.linalg.sqrtm(A @ B)``: a square root of a matrix that
is not symmetric, through its complex Schur form, of which only the trace is wanted; rounding makes parts of
it imaginary, and singular covariances are helped by a small multiple of the identity, which changes the
answer. Here each covariance is written as ``F^T F``. Then ``tr (A B)^(1/2)`` is the sum of the singular
values of ``F_a F_b^T``, always real and never negative, whatever the ranks. These are the roots of the
eigenvalues of a symmetric matrix, which are cheap; where squaring would cost digits (some singular values are
tiny), they are computed without it. ``F`` is the Cholesky factor; or eigenvectors, without those of
eigenvalue zero, where the covariance is singular; or the centred features themselves where these are fewer
than they are wide. ``make bench-metrics`` measures how much faster this is.

Papers:

- Dowson and Landau, *The Fréchet distance between multivariate normal distributions*, 1982
- Heusel et al., *GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium*, 2017,
  arXiv:1706.08500 (equation 6)
- Chong and Forsyth, *Effectively Unbiased FID and Inception Score and where to find them*, 2020,
  arXiv:1911.07023
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from genimg_ref.metrics.checks import (
    LARGEST,
    as_double,
    require_features,
    require_same_width,
    require_varied,
)
from genimg_ref.metrics.statistics import Moments, moments

__all__ = [
    "Extrapolation",
    "fid_infinity",
    "frechet_distance",
    "frechet_distance_of",
    "frechet_gaussians",
]

EPS = torch.finfo(torch.float64).eps


class _Gaussian(NamedTuple):
    """A mean and rows ``F`` with ``F^T F`` the covariance."""

    mean: Float64[Tensor, " dim"]
    rows: Float64[Tensor, "rank dim"]


def frechet_distance(a: Moments, b: Moments) -> float:
    """The squared Fréchet distance of the Gaussians with these moments (Heusel et al. 2017, equation 6).

    In squared units of the features, 0 or more, symmetric. Covariances are the unbiased ones; counts may
    differ. Everything is float64. Absolute error: ``1e-10 (tr A + tr B)``, far less as a rule; up to some
    ``1e-8`` of it where one covariance is singular or nearly so, because a covariance is rounded, and a zero
    moved by ``1e-16`` has a root of ``1e-8``.
    The distance of samples is biased upwards, more so the fewer they are: compare equal counts, or use
    `fid_infinity`.

    Raises ``ValueError`` for fewer than two rows, for rows that are all the same, when widths differ, and
    when a scatter is not finite, symmetric and positive semi-definite.
    """
    return _distance(_of_moments("a", a), _of_moments("b", b))


def frechet_distance_of(
    features_a: Float[Tensor, "count_a dim"], features_b: Float[Tensor, "count_b dim"]
) -> float:
    """`frechet_distance` of two sets of features that fit into memory.

    Faster than going through `Moments` where images are fewer than features are wide, and then exact to
    rounding, for no covariance is ever formed.

    Raises ``ValueError`` for fewer than two rows, numbers that are not finite, rows that are all the same,
    and when widths differ.
    """
    require_features("features_a", features_a, at_least=2)
    require_features("features_b", features_b, at_least=2)
    require_same_width("features_b", features_b, "features_a", features_a)
    require_varied("features_a", features_a)
    require_varied("features_b", features_b)
    return _distance(_of_features(features_a), _of_features(features_b))


def frechet_gaussians(
    mean_a: Float[Tensor, " dim"],
    covariance_a: Float[Tensor, "dim dim"],
    mean_b: Float[Tensor, " dim"],
    covariance_b: Float[Tensor, "dim dim"],
) -> float:
    """The squared Fréchet distance of ``N(mean_a, covariance_a)`` and ``N(mean_b, covariance_b)``.

    The formula of Dowson and Landau (1982) itself, for parameters that are known rather than estimated. Any
    covariance may be singular, even zero.

    Raises ``ValueError`` when shapes do not fit or a covariance is none.
    """
    if len(mean_a) != len(mean_b):
        raise ValueError(f"mean_b must have {len(mean_a)} entries, as mean_a has; got {len(mean_b)}")
    return _distance(_of_covariance("a", mean_a, covariance_a), _of_covariance("b", mean_b, covariance_b))


def _of_moments(name: str, moments: Moments) -> _Gaussian:
    if moments.count < 2:
        raise ValueError(f"{name} must have seen at least 2 images; got {moments.count}")
    if bool((moments.scatter == 0).all()):
        raise ValueError(f"{name} must differ between images; got the same row {moments.count} times")
    return _of_covariance(name, moments.mean, moments.covariance())


def _of_features(features: Tensor) -> _Gaussian:
    count, dim = features.shape
    if count > dim:
        return _of_moments("features", moments(features))
    features = as_double(features.detach())
    mean = features.mean(dim=0)
    centred = features - mean
    # Centred rows add up to zero. A reflection that turns (1, ..., 1) into the first axis makes the first row
    # zero, keeps F^T F, and leaves the others as follows.
    rows = centred[1:] + centred[0] / (math.sqrt(count) - 1)
    return _Gaussian(mean, rows / math.sqrt(count - 1))


def _of_covariance(name: str, mean: Tensor, covariance: Tensor) -> _Gaussian:
    mean, covariance = as_double(mean), as_double(covariance)
    if mean.ndim != 1 or len(mean) == 0:
        raise ValueError(f"mean of {name} must have shape (dim,); got {tuple(mean.shape)}")
    if covariance.shape != (len(mean), len(mean)):
        raise ValueError(
            f"covariance of {name} must have shape (dim, dim), with dim the length of the mean; "
            f"got {tuple(covariance.shape)} and {len(mean)}"
        )
    for what, largest in (("mean", mean.abs().max()), ("covariance", covariance.abs().max().sqrt())):
        if not bool(largest <= LARGEST):
            raise ValueError(f"{what} of {name} must be finite; got a size of {largest.item():g}")
    return _Gaussian(mean, _factor(name, covariance))


def _factor(name: str, covariance: Tensor) -> Tensor:
    """Rows ``F`` with ``F^T F = covariance``: upper triangular, or scaled eigenvectors if it is singular."""
    size = covariance.abs().max()
    if not bool(((covariance - covariance.T).abs() <= 1e-6 * size).all()):
        raise ValueError(f"covariance of {name} must be symmetric; got one that is not")
    upper, failure = torch.linalg.cholesky_ex(covariance, upper=True)
    if not failure and bool(upper.diagonal().square().min() > len(covariance) * EPS * size):
        return upper
    values, vectors = torch.linalg.eigh(covariance)
    if bool(values[0] < -1e-5 * values[-1].abs()):
        raise ValueError(
            f"covariance of {name} must be positive semi-definite; got an eigenvalue {values[0].item():g}"
        )
    real = values > len(values) * EPS * values[-1]  # the others are zeros that rounding has moved
    return values[real].sqrt()[:, None] * vectors[:, real].T


def _distance(a: _Gaussian, b: _Gaussian) -> float:
    if len(a.mean) != len(b.mean):
        raise ValueError(f"b must be {len(a.mean)} wide, as a is; got {len(b.mean)}")
    traces = a.rows.square().sum() + b.rows.square().sum()
    means = (a.mean - b.mean).square().sum()
    return max(0.0, (means + traces - 2 * _trace_of_root(a.rows, b.rows, traces)).item())


def _trace_of_root(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    """The sum of the singular values of ``a b^T``, to about 1e-10 of ``scale``.

    A root of an eigenvalue that rounding moves by ``EPS`` times the largest moves by ``errors``. They have
    either sign; what they add up to was found to be 50 times smaller than their norm, and less.
    """
    product = a @ b.T if len(a) >= len(b) else b @ a.T
    if product.numel() == 0:
        return torch.zeros_like(scale)
    squares = torch.linalg.eigvalsh(product.T @ product)
    roots = squares.clamp(min=0).sqrt()
    errors = EPS * squares[-1] / (2 * roots)
    if not bool(errors.norm() <= 1e-9 * scale):
        roots = torch.linalg.svdvals(product)
    return roots.sum()


class Extrapolation(NamedTuple):
    """``value``: the distance at infinitely many images. ``slope``: of the line in 1 / size. ``sizes`` and
    ``distances``: the points through which the line was laid."""

    value: float
    slope: float
    sizes: Int[Tensor, " points"]
    distances: Float64[Tensor, " points"]


def fid_infinity(
    reference: Moments,
    features: Float[Tensor, "count dim"],
    generator: torch.Generator,
    points: int = 15,
    smallest: int | None = None,
) -> Extrapolation:
    """The distance of ``features`` to ``reference`` as if there were infinitely many of them.

    The bias of the distance falls like ``1 / size``; so ``points`` random subsets of ``features``, of sizes
    evenly spaced from ``smallest`` (by default a tenth, but no less than twice the width) to all, are
    measured against all of ``reference``, and the line through them is followed to ``1 / size = 0`` (Chong
    and Forsyth 2020, section 3, where sizes go from 5,000 to 50,000 at 2,048 features). What bias the
    reference's own count causes stays in. The value may come out a little below zero.

    Raises ``ValueError`` when the sizes leave the range where the line holds, for fewer than three points,
    and as `frechet_distance` does.
    """
    require_features("features", features, at_least=2)
    count, dim = features.shape
    if smallest is None:
        smallest = max(count // 10, 2 * dim)
    if not dim < smallest <= count // 2:
        raise ValueError(
            f"smallest must be above the width of features {dim} and at most half their count {count}; "
            f"got {smallest}"
        )
    if points < 3:
        raise ValueError(f"points must be at least 3; got {points}")
    if len(reference.mean) != dim:
        raise ValueError(f"features must have {len(reference.mean)} columns, as reference has; got {dim}")
    target = _of_moments("reference", reference)
    sizes = torch.linspace(smallest, count, points, dtype=torch.float64).round().long()
    features, distances = features.detach(), []
    for size in sizes.tolist():
        chosen = torch.randperm(count, generator=generator, device=generator.device)[:size]
        subset = moments(features[chosen.to(features.device)])
        distances.append(_distance(_of_moments("features", subset), target))
    at = 1 / sizes.double()
    measured = torch.tensor(distances, dtype=torch.float64)
    slope = ((at - at.mean()) * measured).sum() / (at - at.mean()).square().sum()
    value = measured.mean() - slope * at.mean()
    return Extrapolation(value.item(), slope.item(), sizes, measured)
