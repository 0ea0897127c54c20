"""Adversarial losses on logits, five pairs of them, each to be minimised.

Chapter: gan_math

Papers:

- Goodfellow et al., *Generative Adversarial Nets*, 2014, arXiv:1406.2661 (minimax, non-saturating)
- Mao et al., *Least Squares Generative Adversarial Networks*, 2017, arXiv:1611.04076
- Lim and Ye, *Geometric GAN*, 2017, arXiv:1705.02894 (hinge)
- Arjovsky et al., *Wasserstein GAN*, 2017, arXiv:1701.07875

A discriminator's output ``a`` is a logit, any real number; the probability "this is real" is ``sigmoid(a)``.
Every function takes logits of any shape and returns their mean loss, a scalar of the same dtype and device.
Where there are two arguments the order is ``(real_logits, fake_logits)``. An empty batch raises a
``ValueError``, logits which are not a floating-point tensor a ``TypeError``.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "LOSSES",
    "AdversarialLoss",
    "discriminator_hinge",
    "discriminator_least_squares",
    "discriminator_minimax",
    "discriminator_non_saturating",
    "discriminator_wasserstein",
    "generator_hinge",
    "generator_least_squares",
    "generator_minimax",
    "generator_non_saturating",
    "generator_wasserstein",
]


class AdversarialLoss(NamedTuple):
    """What the two players minimise: ``discriminator(real_logits, fake_logits)``,
    ``generator(fake_logits)``."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def _require_logits(name: str, logits: object) -> None:
    """One clear error for logits whose mean loss would be meaningless."""
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        got = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"{name} must be a floating-point tensor; got {got}")
    if logits.numel() == 0:
        raise ValueError(f"{name} must hold at least one logit; got shape {tuple(logits.shape)}")


def discriminator_minimax(
    real_logits: Float[Tensor, "*real"], fake_logits: Float[Tensor, "*fake"]
) -> Float[Tensor, ""]:
    """``-mean log D(x) - mean log(1 - D(G(z)))``, with ``D = sigmoid(logit)``.

    The negative of the value of the game (Goodfellow et al. 2014, equation 1), written with
    ``softplus(a) = log(1 + exp(a))``, because ``-log sigmoid(a) = softplus(-a)`` holds at any logit without
    overflow.
    """
    _require_logits("real_logits", real_logits)
    _require_logits("fake_logits", fake_logits)
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def generator_minimax(fake_logits: Float[Tensor, "*fake"]) -> Float[Tensor, ""]:
    """``mean log(1 - D(G(z)))``, the saturating loss (Goodfellow et al. 2014, equation 1).

    Its gradient with regard to a logit ``a`` is ``-sigmoid(a)``: nothing, where the discriminator is sure
    of a fake.
    """
    _require_logits("fake_logits", fake_logits)
    return -F.softplus(fake_logits).mean()


def discriminator_non_saturating(
    real_logits: Float[Tensor, "*real"], fake_logits: Float[Tensor, "*fake"]
) -> Float[Tensor, ""]:
    """The same as :func:`discriminator_minimax`: only the generator's loss differs."""
    return discriminator_minimax(real_logits, fake_logits)


def generator_non_saturating(fake_logits: Float[Tensor, "*fake"]) -> Float[Tensor, ""]:
    """``-mean log D(G(z))`` (Goodfellow et al. 2014, section 3).

    Its gradient with regard to a logit ``a`` is ``-(1 - sigmoid(a))``: largest where a fake is found out.
    """
    _require_logits("fake_logits", fake_logits)
    return F.softplus(-fake_logits).mean()


def discriminator_least_squares(
    real_logits: Float[Tensor, "*real"], fake_logits: Float[Tensor, "*fake"]
) -> Float[Tensor, ""]:
    """``mean (D(x) - 1)^2 / 2 + mean D(G(z))^2 / 2`` without a sigmoid (Mao et al. 2017, equation 9)."""
    _require_logits("real_logits", real_logits)
    _require_logits("fake_logits", fake_logits)
    return 0.5 * (real_logits - 1).square().mean() + 0.5 * fake_logits.square().mean()


def generator_least_squares(fake_logits: Float[Tensor, "*fake"]) -> Float[Tensor, ""]:
    """``mean (D(G(z)) - 1)^2 / 2`` without a sigmoid (Mao et al. 2017, equation 9)."""
    _require_logits("fake_logits", fake_logits)
    return 0.5 * (fake_logits - 1).square().mean()


def discriminator_hinge(
    real_logits: Float[Tensor, "*real"], fake_logits: Float[Tensor, "*fake"]
) -> Float[Tensor, ""]:
    """``mean max(0, 1 - D(x)) + mean max(0, 1 + D(G(z)))`` (Lim and Ye 2017)."""
    _require_logits("real_logits", real_logits)
    _require_logits("fake_logits", fake_logits)
    return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()


def generator_hinge(fake_logits: Float[Tensor, "*fake"]) -> Float[Tensor, ""]:
    """``-mean D(G(z))``, without a hinge (Lim and Ye 2017)."""
    _require_logits("fake_logits", fake_logits)
    return -fake_logits.mean()


def discriminator_wasserstein(
    real_logits: Float[Tensor, "*real"], fake_logits: Float[Tensor, "*fake"]
) -> Float[Tensor, ""]:
    """``mean D(G(z)) - mean D(x)`` (Arjovsky et al. 2017, equation 2 with the sign of a loss).

    It estimates a distance only when ``D`` is held to be 1-Lipschitz by other means (clipping, a penalty,
    spectral normalisation); without them it has no minimum.
    """
    _require_logits("real_logits", real_logits)
    _require_logits("fake_logits", fake_logits)
    return fake_logits.mean() - real_logits.mean()


def generator_wasserstein(fake_logits: Float[Tensor, "*fake"]) -> Float[Tensor, ""]:
    """``-mean D(G(z))`` (Arjovsky et al. 2017, algorithm 1)."""
    _require_logits("fake_logits", fake_logits)
    return -fake_logits.mean()


LOSSES: dict[str, AdversarialLoss] = {
    "minimax": AdversarialLoss(discriminator_minimax, generator_minimax),
    "non_saturating": AdversarialLoss(discriminator_non_saturating, generator_non_saturating),
    "least_squares": AdversarialLoss(discriminator_least_squares, generator_least_squares),
    "hinge": AdversarialLoss(discriminator_hinge, generator_hinge),
    "wasserstein": AdversarialLoss(discriminator_wasserstein, generator_wasserstein),
}
