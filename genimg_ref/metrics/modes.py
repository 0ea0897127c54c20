"""Modes covered and share of good samples, on mixtures whose modes are known.

Chapter: gan_math

Papers, whose convention (a sample within three standard deviations of a mode is good) is used here:

- Srivastava et al., *VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning*, 2017,
  arXiv:1705.07761
- Lin et al., *PacGAN: The power of two samples in generative adversarial networks*, 2018, arXiv:1712.04086
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genimg_ref.metrics.pairs import distances

__all__ = ["Modes", "mode_coverage"]


class Modes(NamedTuple):
    """``covered``: modes which got enough good samples. ``good``: share of good samples, in [0, 1].
    ``counts``: good samples of each mode."""

    covered: int
    good: float
    counts: Int[Tensor, " modes"]


def mode_coverage(
    samples: Float[Tensor, "samples dim"],
    means: Float[Tensor, "modes dim"],
    std: float,
    within: float = 3.0,
    at_least: int = 1,
) -> Modes:
    """Give each sample to its nearest mode; it is good within ``within * std`` of that mode's mean.

    A mode is covered when it has ``at_least`` good samples. In two dimensions a share ``1 - exp(-within^2 /
    2)`` of the data themselves is good: 98.9 % at 3.

    Raises ``ValueError`` when there is no sample or mode, when one is not finite, when dimensions differ, and
    when an option is not positive.
    """
    for name, points in (("samples", samples), ("means", means)):
        if points.ndim != 2 or len(points) == 0:
            raise ValueError(f"{name} must have shape (number, dim), at least one; got {tuple(points.shape)}")
        if not bool(points.isfinite().all()):
            raise ValueError(f"{name} must be finite; got {points[~points.isfinite()][0].item()}")
    if samples.shape[1] != means.shape[1]:
        raise ValueError(f"means must have {samples.shape[1]} columns, as samples do; got {means.shape[1]}")
    for name, value in (("std", std), ("within", within), ("at_least", at_least)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive number; got {value}")
    distance, nearest = distances(samples, means.to(samples)).min(dim=1)
    good = distance <= within * std
    counts = torch.bincount(nearest[good], minlength=len(means))
    return Modes(int((counts >= at_least).sum()), good.float().mean().item(), counts)
