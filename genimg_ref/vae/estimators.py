"""Two estimators of the gradient of an expectation, draw by draw, so that their variances can be measured.

Chapter: vae

Papers:

- Kingma and Welling, *Auto-Encoding Variational Bayes*, 2013, arXiv:1312.6114 (sections 2.2 and 2.4)
- Rezende, Mohamed and Wierstra, *Stochastic Backpropagation and Approximate Inference in Deep Generative
  Models*, 2014, arXiv:1401.4082 (section 3)
- Williams, *Simple statistical gradient-following algorithms for connectionist reinforcement learning*, 1992
  (the score function, and the baseline)

Wanted is the gradient of ``E f(z)`` with ``z ~ N(mean, exp(log_variance))`` with regard to both parameters.
Each function gives one estimate for each draw of noise; their mean is the gradient, for both.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Gradients", "pathwise", "score_function"]


class Gradients(NamedTuple):
    """One estimate for each draw, with regard to the mean and to the log-variance."""

    mean: Float[Tensor, "draws latent"]
    log_variance: Float[Tensor, "draws latent"]


def pathwise(
    f: Callable[[Float[Tensor, "draws latent"]], Float[Tensor, " draws"]],
    mean: Float[Tensor, " latent"],
    log_variance: Float[Tensor, " latent"],
    noise: Float[Tensor, "draws latent"],
) -> Gradients:
    """Through the draw: ``f'(z)`` times ``dz/dmean = 1`` and ``dz/dlog_variance = std noise / 2``.

    ``f`` takes all draws at once and treats each alone; it has to be differentiable.
    """
    std = (log_variance / 2).exp()
    z = (mean + std * noise).detach().requires_grad_()
    (slope,) = torch.autograd.grad(f(z).sum(), z)
    return Gradients(slope, slope * std * noise / 2)


def score_function(
    f: Callable[[Float[Tensor, "draws latent"]], Float[Tensor, " draws"]],
    mean: Float[Tensor, " latent"],
    log_variance: Float[Tensor, " latent"],
    noise: Float[Tensor, "draws latent"],
    baseline: float = 0.0,
) -> Gradients:
    """``(f(z) - baseline)`` times the derivative of ``log N(z)``: ``noise / std`` and ``(noise^2 - 1) / 2``.

    Asks nothing of ``f`` but its value, and learns from it only whether a draw was good. A ``baseline`` that
    does not depend on the draw leaves the mean as it is and may lower the variance.
    """
    std = (log_variance / 2).exp()
    gain = (f(mean + std * noise) - baseline)[:, None]
    return Gradients(gain * noise / std, gain * (noise.square() - 1) / 2)
