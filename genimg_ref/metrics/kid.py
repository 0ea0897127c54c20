"""The kernel distance (KID): do all moments of the features up to the third agree?

Chapter: metrics

With the kernel ``k(x, y) = (x . y / dim + 1)^3`` the squared maximum mean discrepancy

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)

has an unbiased estimate from any number of images, which may therefore be negative. Everything is float64:
three numbers of the size of the kernel are added whose sum is often ten thousand times smaller.

Papers:

- Binkowski, Sutherland, Arbel and Gretton, *Demystifying MMD GANs*, 2018, arXiv:1801.01401 (section 4)
- Gretton et al., *A Kernel Two-Sample Test*, JMLR 13, 2012 (equation 3, the unbiased estimate)
- Arvesen, *Jackknifing U-statistics*, Annals of Mathematical Statistics 40, 1969
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from genimg_ref.metrics.checks import as_double, require_features, require_same_width, require_varied
from genimg_ref.metrics.pairs import blocks

__all__ = [
    "KernelDistance",
    "SubsetKernelDistance",
    "kernel",
    "kernel_distance",
    "kernel_distance_subsets",
]


class KernelDistance(NamedTuple):
    """``value``: the unbiased estimate of MMD^2. ``error``: its standard error."""

    value: float
    error: float


class SubsetKernelDistance(NamedTuple):
    """``mean`` and ``std``: of the subsets' estimates, as libraries print them. ``error``: of that mean as an
    answer about these images, which says nothing about other images. ``distances``: one for each subset."""

    mean: float
    std: float
    error: float
    distances: Float64[Tensor, " subsets"]


def kernel(x: Float[Tensor, "count dim"], y: Float[Tensor, "number dim"]) -> Float[Tensor, "count number"]:
    """``k(x, y) = (x . y / dim + 1)^3`` for each pair (Binkowski et al. 2018, section 4)."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def kernel_distance(
    features_a: Float[Tensor, "count_a dim"], features_b: Float[Tensor, "count_b dim"]
) -> KernelDistance:
    """The unbiased estimate of MMD^2 from all pairs (Gretton et al. 2012, equation 3), with a standard error.

    Nothing is random; counts may differ. The error is the jackknife's (Arvesen 1969): it says how much the
    value would vary from one set of images to another, so the intervals of two generators can be compared.
    Where both sets come from the same distribution it is too large on average, by a factor of up to about
    1.4. Memory: a block of rows of a kernel matrix.

    Raises ``ValueError`` for fewer than three rows, numbers that are not finite, rows that are all the same,
    and when widths differ.
    """
    a, b = _ready(features_a, features_b, at_least=3)
    sums = _sums(a, b)
    variance = _jackknife_variance(sums.aa, sums.ab, len(b)) + _jackknife_variance(sums.bb, sums.ba, len(a))
    return KernelDistance(_unbiased(sums), math.sqrt(variance))


def kernel_distance_subsets(
    features_a: Float[Tensor, "count_a dim"],
    features_b: Float[Tensor, "count_b dim"],
    generator: torch.Generator,
    subsets: int = 100,
    size: int = 1000,
) -> SubsetKernelDistance:
    """The estimate over random subsets, as the literature reports it (Binkowski et al. 2018, section 4).

    Each subset is ``size`` rows of each set, drawn without replacement; subsets overlap. The mean is an
    unbiased, noisier version of `kernel_distance`; ``std`` depends on ``size`` and is no error of the mean.

    Raises ``ValueError`` as `kernel_distance` does, and when ``size`` is not between 2 and the smaller count,
    or ``subsets`` is below 2.
    """
    a, b = _ready(features_a, features_b, at_least=2)
    smaller = min(len(a), len(b))
    if not 2 <= size <= smaller:
        raise ValueError(f"size must be from 2 to the smaller count {smaller}; got {size}")
    if subsets < 2:
        raise ValueError(f"subsets must be at least 2; got {subsets}")
    distances = [
        _unbiased(_sums(_subset(a, size, generator), _subset(b, size, generator))) for _ in range(subsets)
    ]
    found = torch.tensor(distances, dtype=torch.float64)
    std = found.std(correction=0).item()
    return SubsetKernelDistance(found.mean().item(), std, std / math.sqrt(subsets - 1), found)


def _ready(features_a: Tensor, features_b: Tensor, at_least: int) -> tuple[Tensor, Tensor]:
    for name, features in (("features_a", features_a), ("features_b", features_b)):
        require_features(name, features, at_least)
        require_varied(name, features)
    require_same_width("features_b", features_b, "features_a", features_a)
    return as_double(features_a.detach()), as_double(features_b.detach())


def _subset(features: Tensor, size: int, generator: torch.Generator) -> Tensor:
    chosen = torch.randperm(len(features), generator=generator, device=generator.device)[:size]
    return features[chosen.to(features.device)]


class _Sums(NamedTuple):
    """For each row, the kernel summed over the other rows of its own set (``aa``, ``bb``) and over those of
    the other set (``ab``, ``ba``)."""

    aa: Tensor
    ab: Tensor
    ba: Tensor
    bb: Tensor


def _sums(a: Tensor, b: Tensor) -> _Sums:
    ab, ba = [], torch.zeros_like(b[:, 0])
    for rows in blocks(len(a), len(b)):
        block = kernel(a[rows], b)
        ab.append(block.sum(dim=1))
        ba += block.sum(dim=0)
    return _Sums(_own_sums(a), torch.cat(ab), ba, _own_sums(b))


def _own_sums(x: Tensor) -> Tensor:
    """The kernel of a row with itself is left out, not taken away: beside it the others may be tiny."""
    sums = []
    for rows in blocks(len(x), len(x)):
        block = kernel(x[rows], x)
        block.diagonal(rows.start).zero_()
        sums.append(block.sum(dim=1))
    return torch.cat(sums)


def _unbiased(sums: _Sums) -> float:
    m, n = len(sums.aa), len(sums.bb)
    within = sums.aa.sum() / (m * (m - 1)) + sums.bb.sum() / (n * (n - 1))
    return (within - 2 * sums.ab.sum() / (m * n)).item()


def _jackknife_variance(own: Tensor, other: Tensor, others: int) -> float:
    """What one set contributes: how much the estimate moves when each of its rows is left out in turn."""
    m = len(own)
    left_out = (own.sum() - 2 * own) / ((m - 1) * (m - 2)) - 2 * (other.sum() - other) / ((m - 1) * others)
    return ((m - 1) * left_out.var(correction=0)).item()
