"""Precision and recall, density and coverage: realistic, and all of it?

Each set of features becomes a region, the union of balls around its points that reach to their k-th nearest
neighbour. Precision is the share of generated images in the region of the real ones, recall the share of real
ones in the region of the generated.

How distances are compared. What counts is whether a point lies in a ball, not how far away it is. Squared
distances ``|a|^2 + |b|^2 - 2 a.b`` in float32 are fast and settle nearly every case; where rounding might
decide (both bounds are stated below), the same is asked again in float64. Blocks of rows keep memory linear in
the count. Squared distances that agree to 1e-13 of the squared norms count as equal, and a point at exactly
the radius lies in the ball: a copied training image lies in the ball that it defines, which in float32 alone is
a matter of luck.

Papers:

- Kynkäänniemi et al., *Improved Precision and Recall Metric for Assessing Generative Models*, 2019,
  arXiv:1904.06991
- Naeem et al., *Reliable Fidelity and Diversity Metrics for Generative Models*, 2020, arXiv:2002.09797
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from genimg_ref.metrics.checks import as_double, require_features, require_same_width, require_varied

__all__ = ["DensityCoverage", "PrecisionRecall", "density_coverage", "precision_recall"]

BLOCK = 2**23  # distances that are in memory at a time
TIE = 1e-13  # of squared norms: below it, squared distances are equal
SPARE = 4  # neighbours beyond the k-th that are looked at closely


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1]: of generated images that look real, and of real ones that could be generated."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """``density``: how many real balls a generated image lies in, on average, in units of ``k``; about 1
    where the distributions agree. ``coverage``: share of real balls that hold a generated image, in [0, 1].
    """

    density: float
    coverage: float


def precision_recall(
    real: Float[Tensor, "reals dim"], generated: Float[Tensor, "fakes dim"], k: int = 3
) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019, equations 1 and 2, where ``k`` is 3).

    A point is not its own neighbour; its copies are. Both numbers depend on the counts: compare equal ones.

    Raises ``ValueError`` when ``k`` is not from 1 to the smaller count less one, for numbers that are not
    finite, rows that are all the same, and when widths differ.
    """
    real, generated = _ready(real, generated, k, ball_owners=2)
    around_real, around_generated = _squared_radii(real, k), _squared_radii(generated, k)
    realistic, reachable = _Verdicts(generated), _Verdicts(real)
    for rows, rough in _rough_blocks(generated, real):
        for bound, sign in ((realistic.surely, -1), (realistic.maybe, 1)):
            bound[rows] = (rough <= _threshold(real, around_real, sign)).any(dim=1)
        for bound, sign in ((reachable.surely, -1), (reachable.maybe, 1)):
            ceiling = _threshold(generated[rows], around_generated[rows], sign)
            bound |= (rough <= ceiling[:, None]).any(dim=0)


def density_coverage(
    real: Float[Tensor, "reals dim"], generated: Float[Tensor, "fakes dim"], k: int = 5
) -> DensityCoverage:
    """Density and coverage (Naeem et al. 2020, section 3, where ``k`` is 5).

    Only real images have balls, so a generated outlier cannot swallow the real ones as it does in recall. At
    equal distributions coverage is about ``1 - 2^-k`` for large, equal counts.

    Raises ``ValueError`` when ``k`` is not from 1 to the count of real images less one, when there are fewer
    than two generated images, and as `precision_recall` does.
    """
    real, generated = _ready(real, generated, k, ball_owners=1)
    radii = _squared_radii(real, k)
    hits, covered = 0, torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for i, _, distances in _tiles(real, generated):
        inside = distances <= radii[i, None]
        hits += int(inside.sum())
        covered[i] |= inside.any(dim=1)
    return DensityCoverage(hits / (k * len(generated)), _share(covered))


def _ready(real: Tensor, generated: Tensor, k: int, ball_owners: int) -> tuple[Tensor, Tensor]:
    """Both sets in float64, about the mean of the real one; the first ``ball_owners`` of them have balls."""
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}")
    for owner, (name, features) in enumerate((("real", real), ("generated", generated))):
        require_features(name, features, at_least=2)
        if owner < ball_owners and k >= len(features):
            raise ValueError(f"k must be below the count of {name} features {len(features)}; got {k}")
        require_varied(name, features)
    require_same_width("generated", generated, "real", real)
    real, generated = as_double(real), as_double(generated)
    mean = real.mean(dim=0)
    return real - mean, generated - mean


def _share(flags: Tensor) -> float:
    return int(flags.sum()) / len(flags)


def _slices(count: int) -> list[slice]:
    return [slice(start, min(start + TILE, count)) for start in range(0, count, TILE)]


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    distances = torch.addmm(b.square().sum(dim=1), a, b.T, alpha=-2)
    return distances.add_(a.square().sum(dim=1, keepdim=True))


def _tiles(a: Tensor, b: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    for i in _slices(len(a)):
        for j in _slices(len(b)):
            yield i, j, _squared_distances(a[i], b[j])


def _squared_radii(x: Tensor, k: int) -> Tensor:
    """From each point to its k-th nearest other point, squared, and a little more for ties."""
    nearest = x.new_full((len(x), k), torch.inf)
    for i in _slices(len(x)):
        for j in _slices(len(x)):
            if j.start < i.start:
                continue  # seen from the other side
            distances = _squared_distances(x[i], x[j])
            if i == j:
                distances.fill_diagonal_(torch.inf)
            else:
                nearest[j] = _smallest(nearest[j], distances.T)
            nearest[i] = _smallest(nearest[i], distances)
    squared = nearest.amax(dim=1).clamp(min=0)
    return squared + TIE * (squared + x.square().sum(dim=1))


def _smallest(so_far: Tensor, distances: Tensor) -> Tensor:
    """The smallest of both in each row, as many as ``so_far`` has."""
    k = so_far.shape[1]
    best = distances.topk(min(k, distances.shape[1]), dim=1, largest=False, sorted=False).values
    return torch.cat([so_far, best], dim=1).topk(k, dim=1, largest=False, sorted=False).values
