"""All pairs of two sets of points, block by block, and their distances to the last digit.

``torch.cdist`` takes ``|a|^2 + |b|^2 - 2 a.b`` for larger sets, which is fast and loses half the digits of a
distance that is short beside the norms: a copy is then not at distance zero, and a cluster far from the
origin has no shape.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["blocks", "distances"]

BLOCK = 2**21  # numbers that are in memory at a time


def distances(
    points: Float[Tensor, "*batch count dim"], others: Float[Tensor, "*batch number dim"]
) -> Float[Tensor, "*batch count number"]:
    """Euclidean distances from differences of coordinates: slow and exact."""
    return torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")


def blocks(count: int, width: int) -> Iterator[slice]:
    """``count`` rows in portions, where each row needs ``width`` numbers in memory."""
    height = max(1, BLOCK // width)
    return (slice(start, min(start + height, count)) for start in range(0, count, height))
