"""People as judges: two alternatives, one of them real, with an exact interval and an exact test.

A person sees a real and a generated image and says which is the real one. When the two cannot be told apart
the generated one is chosen in half of the trials. Both functions take the trials as independent; the answers
of one person, or about one image, are not, and the interval is then too narrow.

Chapter: metrics

Papers:

- Clopper and Pearson, *The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial*,
  Biometrika 26(4), 1934
- Isola et al., *Image-to-Image Translation with Conditional Adversarial Networks*, 2016, arXiv:1611.07004,
  section 4.1 (the experiment with images)
- Zhou et al., *HYPE: A Benchmark for Human eYe Perceptual Evaluation of Generative Models*, 2019,
  arXiv:1904.01121
"""

from collections.abc import Callable
from numbers import Integral
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["TwoAlternative", "binomial_test", "clopper_pearson", "two_alternative"]

ALIKE = 1 + 1e-7  # outcomes whose probabilities differ by less than this factor count as equally likely


class TwoAlternative(NamedTuple):
    """``rate``: share of trials in which the generated image was chosen as the real one, 0.5 at best.
    ``low``, ``high``: its Clopper-Pearson interval. ``p_value``: how often guessing would give an outcome no
    likelier than this one."""

    rate: float
    low: float
    high: float
    p_value: float


def two_alternative(fooled: int, trials: int, *, confidence: float = 0.95) -> TwoAlternative:
    """Judge ``fooled`` choices of the generated image in ``trials`` pairs of a real and a generated one."""
    _require_counts("fooled", fooled, trials)
    low, high = clopper_pearson(fooled, trials, confidence)
    return TwoAlternative(fooled / trials, low, high, binomial_test(fooled, trials))


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval for the probability of a success (Clopper and Pearson 1934).

    Its ends are the probabilities under which as many successes as were seen, or more (at the lower end),
    and as few, or fewer (at the upper end), have the probability ``(1 - confidence) / 2``. It holds the true
    probability at least as often as ``confidence`` says, whatever that probability is.
    """
    _require_counts("successes", successes, trials)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, such as 0.95; got {confidence}")
    tail = (1 - confidence) / 2

    def as_many(chance: float) -> bool:
        return _probabilities(trials, chance)[successes:].sum().item() < tail

    def as_few(chance: float) -> bool:
        return _probabilities(trials, chance)[: successes + 1].sum().item() > tail

    low = 0.0 if successes == 0 else _bisect(as_many)
    high = 1.0 if successes == trials else _bisect(as_few)
    return low, high


def binomial_test(successes: int, trials: int, chance: float = 0.5) -> float:
    """The exact two-sided p-value: the probability of all outcomes that are no likelier than the one seen.

    ``chance`` is the probability of a success under the null hypothesis: 0.5 for two alternatives.
    """
    _require_counts("successes", successes, trials)
    if not 0 < chance < 1:
        raise ValueError(f"chance must lie between 0 and 1; got {chance}")
    probabilities = _probabilities(trials, chance)
    return min(1.0, probabilities[probabilities <= ALIKE * probabilities[successes]].sum().item())


def _probabilities(trials: int, chance: float) -> Float[Tensor, " outcomes"]:
    """Binomial probabilities of 0 ... ``trials`` successes, in float64, through logarithms."""
    k = torch.arange(trials + 1, dtype=torch.float64)
    n, p = torch.tensor([float(trials), chance], dtype=torch.float64)
    ways = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    return torch.exp(ways + torch.xlogy(k, p) + torch.special.xlog1py(n - k, -p))


def _bisect(is_below: Callable[[float], bool]) -> float:
    """Where ``is_below`` turns from true to false in (0, 1), to the last bit."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return middle


def _require_counts(name: str, successes: int | float, trials: int | float) -> None:
    for label, count in (("trials", trials), (name, successes)):
        if not isinstance(count, Integral):
            raise ValueError(f"{label} must be a whole number; got {count}")
    if trials < 1:
        raise ValueError(f"trials must be 1 or more; got {trials}")
    if not 0 <= successes <= trials:
        raise ValueError(f"{name} must lie in 0 ... trials = {trials}; got {successes}")
