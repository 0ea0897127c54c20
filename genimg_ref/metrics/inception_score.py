"""The Inception score: is each image clearly something, and are all of them many things?

Chapter: metrics

With a classifier's probabilities ``p(y | x)`` and their mean ``p(y)`` over the images,

    IS = exp( E_x KL( p(y | x) || p(y) ) ) = exp( H(p(y)) - E_x H(p(y | x)) ),

the exponential of the information between image and label: from 1 (no image differs from the mean) to the
number of classes, and no more than the number of images.

Papers:

- Salimans et al., *Improved Techniques for Training GANs*, 2016, arXiv:1606.03498 (section 4)
- Barratt and Sharma, *A Note on the Inception Score*, 2018, arXiv:1801.01973 (what it does not see)
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from genimg_ref.metrics.checks import as_double

__all__ = ["InceptionScore", "inception_score"]


class InceptionScore(NamedTuple):
    """``mean`` and ``std`` over splits. The std divides by the number of splits, as in Salimans' code; it is
    nan where there is one split. Splits of one set of images say nothing about other seeds or training runs.
    """

    mean: float
    std: float


def inception_score(logits: Float[Tensor, "count classes"], splits: int = 10) -> InceptionScore:
    """The score from logits or log-probabilities, which give the same, but never from probabilities.

    ``log_softmax`` leaves log-probabilities as they are; a second softmax on probabilities would flatten them
    and lower the score, so rows that look like probabilities are refused. Everything is done with logarithms
    in float64: no epsilon is added, and a logit of minus infinity (a probability of zero) contributes zero.

    The images are cut into ``splits`` runs of nearly equal length in the order in which they come: shuffle
    them if it has a meaning. A smaller split has a lower score, by chance alone; compare equal counts and
    splits (10 splits of 5,000 images in the literature).

    Raises ``ValueError`` for one class, fewer than two images a split, nan, plus infinity, a row that is
    minus infinity throughout, and probabilities.
    """
    _require(logits, splits)
    logp = torch.log_softmax(as_double(logits.detach()), dim=1)
    count = len(logp)
    parts = (logp[k * count // splits : (k + 1) * count // splits] for k in range(splits))
    scores = torch.tensor([math.exp(_information(part)) for part in parts], dtype=torch.float64)
    std = scores.std(correction=0).item() if splits > 1 else math.nan
    return InceptionScore(scores.mean().item(), std)


def _information(logp: Tensor) -> float:
    """The mean divergence of rows from their mean, in nats: 0 or more."""
    marginal = torch.logsumexp(logp, dim=0) - math.log(len(logp))
    # where p(y | x) = 0 the term is 0, whatever its logarithm
    ratio = torch.where(logp == -torch.inf, 0.0, logp - marginal)
    return max(0.0, (logp.exp() * ratio).sum(dim=1).mean().item())


def _require(logits: Tensor, splits: int) -> None:
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(
            f"logits must have shape (count, classes), of at least 2 classes; got {tuple(logits.shape)}"
        )
    if not logits.is_floating_point():
        raise ValueError(f"logits must have a floating dtype; got {logits.dtype}")
    if splits < 1:
        raise ValueError(f"splits must be at least 1; got {splits}")
    if len(logits) < 2 * splits:
        raise ValueError(
            f"logits must hold at least 2 rows for each of {splits} splits, {2 * splits}; got {len(logits)}"
        )
    highest = logits.detach().amax(dim=1)  # nan where a row holds one
    if not bool(highest.isfinite().all()):
        bad = highest[~highest.isfinite()][0].item()
        raise ValueError(f"logits must be finite, or minus infinity but not in all of a row; got {bad}")
    if bool((logits >= 0).all()) and bool(((logits.double().sum(dim=1) - 1).abs() < 1e-2).all()):
        raise ValueError(
            "logits must be logits or log-probabilities; got rows of numbers from 0 to 1 that sum to 1, "
            "which are probabilities: take their logarithm"
        )
