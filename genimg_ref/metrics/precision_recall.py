"""Precision and recall, density and coverage: realistic, and all of it?

Chapter: metrics

Each set of features becomes a region, the union of balls around its points that reach to their k-th nearest
neighbour. Precision is the share of generated images in the region of the real ones, recall the share of real
ones in the region of the generated.

How it is computed. What counts is whether a point lies in a ball, not how far away it is. Rough squared
distances ``|a|^2 + |b|^2 - 2 a.b`` in float32 are fast and settle nearly every pair, whatever rounding does
to them; the few pairs that it might decide are measured again, from differences in float64. A copied training
image lies at exactly the radius of the ball that it defines and belongs to it, as any distance does that
exceeds a radius by less than 1e-13 of it; in float32 alone such ties are a matter of luck. Blocks of rows
keep memory linear in the count.

Papers:

- Kynkäänniemi et al., *Improved Precision and Recall Metric for Assessing Generative Models*, 2019,
  arXiv:1904.06991
- Naeem et al., *Reliable Fidelity and Diversity Metrics for Generative Models*, 2020, arXiv:2002.09797
- Higham and Mary, *A new approach to probabilistic rounding error analysis*, 2019 (how large sums of
  rounding errors get: with the root of the number of terms)
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from genimg_ref.metrics.checks import as_double, require_features, require_same_width, require_varied
from genimg_ref.metrics.pairs import blocks, distances

__all__ = ["DensityCoverage", "PrecisionRecall", "density_coverage", "precision_recall"]

SPARE = 2  # neighbours beyond the k-th that are measured exactly
TIE = 1 + 1e-13


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
    _require("real", real, k)
    _require("generated", generated, k)
    require_same_width("generated", generated, "real", real)
    reals, fakes = _prepare(real, generated)
    around_real, around_fake = _balls(reals, k), _balls(fakes, k)
    realistic, reachable = _nobody(fakes), _nobody(reals)
    for rows in blocks(len(generated), len(real)):
        pairs = _rough(fakes.rows(rows), reals), fakes.exact[rows], reals.exact
        realistic[rows] = _inside(*pairs, around_real).any(dim=1)
        reachable |= _inside(*pairs, around_fake.of_rows(rows)).any(dim=0)
    return PrecisionRecall(_share(realistic), _share(reachable))


def density_coverage(
    real: Float[Tensor, "reals dim"], generated: Float[Tensor, "fakes dim"], k: int = 5
) -> DensityCoverage:
    """Density and coverage (Naeem et al. 2020, section 3, where ``k`` is 5).

    Only real images have balls, so a generated outlier cannot swallow the real ones as it does in recall. At
    equal distributions coverage is about ``1 - 2^-k`` for large, equal counts. A point at exactly the radius
    lies in the ball here; in the authors' code it does not.

    Raises ``ValueError`` when ``k`` is not from 1 to the count of real images less one, when there are fewer
    than two generated images, and as `precision_recall` does.
    """
    _require("real", real, k)
    _require("generated", generated, k=1)
    require_same_width("generated", generated, "real", real)
    reals, fakes = _prepare(real, generated)
    balls = _balls(reals, k)
    hits, covered = 0, _nobody(reals)
    for rows in blocks(len(generated), len(real)):
        rough = _rough(fakes.rows(rows), reals)
        inside = _inside(rough, fakes.exact[rows], reals.exact, balls)
        hits += int(inside.sum())
        covered |= inside.any(dim=0)
    return DensityCoverage(hits / (k * len(generated)), _share(covered))


def _require(name: str, features: Tensor, k: int) -> None:
    require_features(name, features, at_least=2)
    if not 1 <= k < len(features):
        raise ValueError(f"k must be at least 1 and below the count of {name} {len(features)}; got {k}")
    require_varied(name, features)


class _Points(NamedTuple):
    """``exact``: features in float64, about a common centre, in a common unit that leaves none above 1 in
    size. ``rough``: the same in float32. ``squares``: squared norms of ``rough``."""

    exact: Tensor
    rough: Tensor
    squares: Tensor

    def rows(self, rows: slice) -> "_Points":
        """Some of the points."""
        return _Points(*(values[rows] for values in self))


class _Balls(NamedTuple):
    """``radii``, in float64. ``surely``: rough squared distances up to here are inside, whatever rounding did
    to them; ``maybe``: those beyond are outside."""

    radii: Tensor
    surely: Tensor
    maybe: Tensor

    def of_rows(self, rows: slice) -> "_Balls":
        """The balls around these points, as a column."""
        return _Balls(*(values[rows, None] for values in self))


def _prepare(real: Tensor, generated: Tensor) -> tuple[_Points, _Points]:
    real, generated = as_double(real.detach()), as_double(generated.detach())
    centre = real[:: len(real) // 100 + 1].median(dim=0).values  # a few outliers do not move it
    centred = [features - centre for features in (real, generated)]
    largest = max(abs(bound.item()) for features in centred for bound in features.aminmax())
    unit = 2.0 ** math.frexp(largest)[1]  # dividing by a power of two rounds nothing

    def points(exact: Tensor) -> _Points:
        rough = exact.float()
        return _Points(exact, rough, rough.square().sum(dim=1))

    return points(centred[0].div_(unit)), points(centred[1].div_(unit))


def _nobody(points: _Points) -> Tensor:
    return torch.zeros(len(points.exact), dtype=torch.bool, device=points.exact.device)


def _share(flags: Tensor) -> float:
    return int(flags.sum()) / len(flags)


def _rounding(dim: int) -> float:
    """Rough squared distances are wrong by at most this part of the sum of both squared norms: four standard
    deviations of a sum of ``dim`` roundings (Higham and Mary 2019), and a few more for the other steps."""
    return 2.0**-24 * 4 * (math.sqrt(dim) + 2)


def _rough(points: _Points, others: _Points) -> Tensor:
    """Rough squared distances of all pairs.

    Those of the outermost point are compared with exact ones: PyTorch may have been told to multiply float32
    with fewer digits, and then all are measured exactly.
    """
    rough = torch.addmm(others.squares, points.rough, others.rough.T, alpha=-2)
    rough += points.squares[:, None]
    probe = int(points.squares.argmax())
    exact = distances(points.exact[probe, None], others.exact)[0].square()
    room = _rounding(points.exact.shape[1]) * (points.squares[probe] + others.squares) + 1e-30
    if bool(((rough[probe] - exact).abs() <= room).all()):
        return rough
    return distances(points.exact, others.exact).square().float()


def _balls(points: _Points, k: int) -> _Balls:
    """Around each point, to its k-th nearest other one: the k-th smallest exact distance to those few that
    are roughly the nearest, or to all where others may be as near."""
    count, dim = points.exact.shape
    looked_at = min(k + SPARE, count - 1)
    near = _roughly_nearest(points, looked_at)
    radii = torch.empty_like(points.exact[:, 0])
    for rows in blocks(count, looked_at * dim):
        measured = distances(points.exact[rows, None], points.exact[near.indices[rows]])[:, 0]
        radii[rows] = measured.kthvalue(k, dim=1).values
    beyond = near.squares.amax(dim=1) if looked_at < count - 1 else radii.new_full((), torch.inf)
    unsure = (beyond <= _bounded(radii, points).maybe).nonzero()[:, 0]
    for part in blocks(len(unsure), count):
        centres = unsure[part]
        measured = distances(points.exact[centres], points.exact)
        measured.scatter_(1, centres[:, None], torch.inf)
        radii[centres] = measured.kthvalue(k, dim=1).values
    return _bounded(radii, points)


class _Near(NamedTuple):
    """Of each point, rough squared distances to some others, and which these are."""

    squares: Tensor
    indices: Tensor

    def keep_nearer(self, rows: slice, squares: Float[Tensor, "rows others"], first: int) -> None:
        """Compare with others, numbered from ``first``: a column of ``squares`` each."""
        many = self.squares.shape[1]
        found = squares.topk(min(many, squares.shape[1]), dim=1, largest=False)
        both = torch.cat([self.squares[rows], found.values], dim=1)
        indices = torch.cat([self.indices[rows], found.indices + first], dim=1)
        self.squares[rows], best = both.topk(many, dim=1, largest=False)
        self.indices[rows] = indices.gather(1, best)


def _roughly_nearest(points: _Points, many: int) -> _Near:
    """Each pair is measured once and serves both points."""
    count = len(points.exact)
    near = _Near(
        points.rough.new_full((count, many), torch.inf),
        torch.zeros(count, many, dtype=torch.long, device=points.rough.device),
    )
    for rows in blocks(count, count):
        block = points.rows(rows)
        rough = _rough(block, points.rows(slice(rows.start, count)))
        rough.fill_diagonal_(torch.inf)
        near.keep_nearer(rows, rough, rows.start)
        if rows.stop < count:
            near.keep_nearer(slice(rows.stop, count), rough[:, len(block.exact) :].T, rows.start)
    return near


def _bounded(radii: Tensor, centres: _Points) -> _Balls:
    """A point in the ball has at most the norm of its centre plus the radius: hence the three."""
    squared = radii.square()
    room = 3 * _rounding(centres.exact.shape[1]) * (centres.squares + squared) + 1e-30
    return _Balls(radii * TIE, (squared - room).float(), (squared + room).float())


def _inside(rough: Tensor, points: Tensor, others: Tensor, balls: _Balls) -> Tensor:
    """Which pairs of ``points`` (rows) and ``others`` (columns) are within a radius; ``balls`` belong to
    either."""
    inside = rough <= balls.surely
    i, j = ((rough <= balls.maybe) ^ inside).nonzero(as_tuple=True)
    if len(i) * points.shape[1] > rough.numel():  # so many that copies of their rows would fill the memory
        return distances(points, others) <= balls.radii
    measured = torch.linalg.vector_norm(points[i] - others[j], dim=1)
    inside[i, j] = measured <= balls.radii.expand_as(rough)[i, j]
    return inside
