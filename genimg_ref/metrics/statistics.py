"""Mean and covariance of features in one pass, in float64, and mergeable across processes.

Chapter: metrics

A million images need no more memory than one batch: what is kept is a count, a mean and a matrix. The
textbook shortcut, sums of ``x`` and of ``x x^T``, subtracts two large numbers at the end and can lose all
digits when the mean is large beside the spread; merging moments around their own means does not.

Papers:

- Chan, Golub and LeVeque, *Updating Formulae and a Pairwise Algorithm for Computing Sample Variances*, 1979,
  Stanford report STAN-CS-79-773
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from genimg_ref.metrics.checks import as_double, require_features

__all__ = ["Moments", "gather", "moments"]


@dataclass(frozen=True, eq=False)
class Moments:
    """What a set of features has in common: ``count`` rows, their ``mean``, and their ``scatter``, the sum of
    ``(x - mean) (x - mean)^T`` over them."""

    count: int
    mean: Float64[Tensor, " dim"]
    scatter: Float64[Tensor, "dim dim"]

    def covariance(self) -> Float64[Tensor, "dim dim"]:
        """The unbiased estimate, ``scatter / (count - 1)``, as ``numpy.cov`` computes it.

        Raises ``ValueError`` for fewer than two rows.
        """
        if self.count < 2:
            raise ValueError(f"count must be at least 2 for a covariance; got {self.count}")
        return self.scatter / (self.count - 1)

    def merge(self, other: "Moments") -> "Moments":
        """Moments of both sets together (Chan et al. 1979, equation 2.1, for vectors).

        Neither order nor grouping matters, but for rounding.

        Raises ``ValueError`` when the widths differ.
        """
        if len(other.mean) != len(self.mean):
            raise ValueError(f"other must be {len(self.mean)} wide; got {len(other.mean)}")
        count = self.count + other.count
        step = other.mean - self.mean
        between = torch.outer(step, step * (self.count * other.count / count))
        return Moments(
            count, self.mean + step * (other.count / count), self.scatter + other.scatter + between
        )


def moments(features: Float[Tensor, "count dim"]) -> Moments:
    """Moments of one batch; a single image will do.

    Raises ``ValueError`` when ``features`` are empty, not floats or not finite.
    """
    require_features("features", features, at_least=1)
    features = as_double(features.detach())  # else moments of a stream would hold on to every batch
    first = features[:1]
    shifted = features - first  # exact zeros where a column is constant
    mean = shifted.mean(dim=0)
    centred = shifted.sub_(mean)
    return Moments(len(features), first[0] + mean, _scatter(centred))


def _scatter(centred: Tensor, width: int = 512) -> Tensor:
    """``centred^T centred``, of which one half is computed, in panels, and reflected."""
    scatter = centred.new_empty(centred.shape[1], centred.shape[1])
    for start in range(0, centred.shape[1], width):
        panel = centred[:, start : start + width].T @ centred[:, start:]
        scatter[start : start + width, start:] = panel
        scatter[start:, start : start + width] = panel.T
    return scatter


def gather(batches: Iterable[Float[Tensor, "_ dim"]]) -> Moments:
    """Moments of all ``batches``, taken one at a time; they may differ in length.

    A generator expression keeps the memory small: ``gather(extract(images) for images in loader)``. Moments
    gathered by several processes are joined with `Moments.merge`.

    Raises ``ValueError`` when there is no batch, when widths differ, and as `moments` does.
    """
    total: Moments | None = None
    for features in batches:
        batch = moments(features)
        if total is not None and len(batch.mean) != len(total.mean):
            raise ValueError(f"batches must all be {len(total.mean)} wide; got one of {len(batch.mean)}")
        total = batch if total is None else total.merge(batch)
    if total is None:
        raise ValueError("batches must hold at least one batch of features; got none")
    return total
