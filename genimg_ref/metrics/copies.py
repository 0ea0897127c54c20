"""Does a generator copy its training images? Its nearest neighbours against those of images never trained on.

Chapter: metrics

Papers:

- Meehan, Chaudhuri and Dasgupta, *A Non-Parametric Test to Detect Data-Copying in Generative Models*, 2020,
  arXiv:2004.05675 (section 3; here for the whole space as one cell)
- Mann and Whitney, *On a Test of Whether one of Two Random Variables is Stochastically Larger than the
  Other*, Annals of Mathematical Statistics 18(1), 1947
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genimg_ref.metrics.checks import as_double, require_features
from genimg_ref.metrics.pairs import blocks, distances

__all__ = ["CopyTest", "Neighbours", "copy_test", "nearest_neighbours"]

EPS = torch.finfo(torch.float64).eps


class Neighbours(NamedTuple):
    """``distances``, in float64, of the queries to their nearest references, and ``indices`` of those."""

    distances: Float[Tensor, " queries"]
    indices: Int[Tensor, " queries"]


class CopyTest(NamedTuple):
    """What the distances to the nearest training image say.

    ``closer``: the probability that a generated image lies closer to the training images than a held-out one
    does (ties count half): 0.5 for a generator which is as good as new data, 1 for one that copies.
    ``z``: the same as a standard normal deviate, with the sign of Meehan et al.: far below 0 means copying,
    far above 0 that generated images lie further out than real ones. ``p_value``: the probability of a ``z``
    this low without copying. ``copied``: share of generated images within ``radius``, the distance within
    which the share ``at`` (1 % unless told otherwise) of the held-out images lie.
    """

    closer: float
    z: float
    p_value: float
    copied: float
    radius: float


def copy_test(
    generated: Float[Tensor, "generated *shape"],
    heldout: Float[Tensor, "heldout *shape"],
    training: Float[Tensor, "training *shape"],
    *,
    at: float = 0.01,
) -> CopyTest:
    """Compare distances to the training set of generated and held-out images, as pixels or features.

    Given the training set, both kinds of distance are independent draws, which Mann and Whitney's test asks
    for. A generator that copies some images and lies far out with the others can pass; ``copied`` then tells.

    Raises:
        ValueError: for shapes that differ, values that are not finite, fewer than two generated or held-out
            images, no training image, or distances that are all the same.
    """
    for name, images in (("generated", generated), ("heldout", heldout)):
        _require_pair(name, images, "training", training, at_least=2)
    if not 0 < at < 1:
        raise ValueError(f"at must lie between 0 and 1; got {at}")
    theirs = nearest_neighbours(generated, training).distances
    ours = nearest_neighbours(heldout, training).distances
    further, z = _mann_whitney(theirs, ours)
    radius = ours.quantile(at).item()
    copied = (theirs <= radius).double().mean().item()
    return CopyTest(1 - further, z, math.erfc(-z / math.sqrt(2)) / 2, copied, radius)


def nearest_neighbours(
    queries: Float[Tensor, "queries *shape"], references: Float[Tensor, "references *shape"]
) -> Neighbours:
    """The nearest reference of each query by Euclidean distance, in float64, block by block.

    A query which is among the references has distance 0 exactly.
    """
    _require_pair("queries", queries, "references", references)
    targets = as_double(references.flatten(1).detach())
    centre = targets.mean(dim=0)  # short vectors keep |a|^2 - 2ab + |b|^2 accurate
    points, targets = as_double(queries.flatten(1).detach()) - centre, targets - centre
    found = [_nearest(points[rows], targets) for rows in blocks(len(points), len(targets))]
    return Neighbours(*map(torch.cat, zip(*found, strict=True)))


def _nearest(points: Tensor, targets: Tensor) -> Neighbours:
    """By rough squared distances; where rounding leaves a second candidate, all are measured exactly."""
    squares, others = points.square().sum(dim=1), targets.square().sum(dim=1)
    rough = torch.addmm(others, points, targets.T, alpha=-2)  # less |a|^2, the same along a row
    indices = rough.argmin(dim=1)
    nearest = (points - targets[indices]).norm(dim=1)
    # a target as near as this has at most the norm |a| + nearest; 2 (dim + 4) roundings of what is added
    room = 2 * (points.shape[1] + 4) * EPS * (3 * squares + 2 * nearest.square())
    limit = nearest.square() - squares + room
    unsure = ((rough <= limit[:, None]).sum(dim=1) > 1).nonzero()[:, 0]
    if len(unsure) > 0:
        exact = distances(points[unsure], targets).min(dim=1)
        nearest[unsure], indices[unsure] = exact.values, exact.indices
    return Neighbours(nearest, indices)


def _require_pair(name: str, images: Tensor, other: str, others: Tensor, at_least: int = 1) -> None:
    """Both hold finite images or features of one shape."""
    for label, rows, number in ((name, images, at_least), (other, others, 1)):
        if rows.ndim < 2 or len(rows) < number:
            raise ValueError(f"{label} must hold {number} or more images; got shape {tuple(rows.shape)}")
        require_features(label, rows.flatten(1), number)
    if images.shape[1:] != others.shape[1:]:
        raise ValueError(
            f"{name} must have images of shape {tuple(others.shape[1:])}, as {other} has; "
            f"got {tuple(images.shape[1:])}"
        )


def _mann_whitney(x: Float[Tensor, " x"], y: Float[Tensor, " y"]) -> tuple[float, float]:
    """``P(x > y) + P(x = y) / 2`` over all pairs, and its standard normal deviate, corrected for ties."""
    ordered = y.sort().values
    below = torch.searchsorted(ordered, x, side="left") + torch.searchsorted(ordered, x, side="right")
    pairs = len(x) * len(y)
    share = below.sum().item() / (2 * pairs)
    total = len(x) + len(y)
    ties = torch.cat([x, y]).unique(return_counts=True)[1].double()
    spread = total + 1 - ((ties**3 - ties).sum().item() / (total * (total - 1)))
    if spread <= 0:
        raise ValueError(
            "generated and heldout must differ in their distances to training; got the same for all"
        )
    return share, (share - 0.5) * pairs / math.sqrt(pairs * spread / 12)
