"""The forward process, which turns images into noise, and its exact reverse given the image.

Chapter: ddpm

Papers:

- Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, 2020, arXiv:2006.11239 (equations 2, 4, 6
  and 7)
- Sohl-Dickstein et al., *Deep Unsupervised Learning using Nonequilibrium Thermodynamics*, 2015,
  arXiv:1503.03585
- Kingma et al., *Variational Diffusion Models*, 2021, arXiv:2107.00630 (the same between any two times,
  appendix A)

All that is needed are the levels of the two times ``s < t`` between which one walks. For neighbouring steps
of a :class:`~genimg_ref.diffusion.schedule.Discrete` schedule these are the equations of Ho et al.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from genimg_ref.diffusion.schedule import Level

__all__ = [
    "Gaussian",
    "added_variance",
    "diffuse",
    "draw",
    "like",
    "marginal",
    "noise_like",
    "posterior",
    "posterior_variance",
    "transition",
]


class Gaussian(NamedTuple):
    """A Gaussian of each image: the mean of every pixel, and one variance an image (or one for all)."""

    mean: Float[Tensor, "batch *shape"]
    variance: Float[Tensor, "*batch"]


def like(value: Float[Tensor, "*batch"], x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "..."]:
    """One number for all images, or one for each, with the axes, dtype and device to multiply ``x``.

    Raises:
        ValueError: for another number of values.
    """
    if value.ndim == 0:
        return value.to(x)
    if value.shape != x.shape[:1]:
        raise ValueError(
            f"times and levels must be one or {len(x)}, as there are images; got shape {tuple(value.shape)}"
        )
    return value.to(x).reshape(-1, *[1] * (x.ndim - 1))


def noise_like(x: Float[Tensor, "batch *shape"], rng: torch.Generator) -> Float[Tensor, "batch *shape"]:
    """``N(0, I)`` of the shape, dtype and device of ``x``, drawn where ``rng`` lives."""
    return torch.randn(x.shape, generator=rng, device=rng.device, dtype=x.dtype).to(x.device)


def draw(gaussian: Gaussian, rng: torch.Generator) -> Float[Tensor, "batch *shape"]:
    """``mean + sqrt(variance) noise``."""
    mean, variance = gaussian
    return mean + like(variance.sqrt(), mean) * noise_like(mean, rng)


def diffuse(
    x0: Float[Tensor, "batch *shape"], noise: Float[Tensor, "batch *shape"], level: Level
) -> Float[Tensor, "batch *shape"]:
    """``x_t = alpha x_0 + sigma eps``: a draw of :func:`marginal` (Ho et al. 2020, equation 4)."""
    return like(level.alpha, x0) * x0 + like(level.sigma, x0) * noise


def marginal(x0: Float[Tensor, "batch *shape"], level: Level) -> Gaussian:
    """``q(x_t | x_0) = N(alpha x_0, sigma^2 I)`` (Ho et al. 2020, equation 4)."""
    return Gaussian(like(level.alpha, x0) * x0, level.sigma.square())


def added_variance(s: Level, t: Level) -> Float[Tensor, "*batch"]:
    """What a walk from ``s`` to ``t`` adds, ``sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2`` (Ho's beta)."""
    return (t.sigma.square() - (t.alpha / s.alpha * s.sigma).square()).clamp(min=0)


def posterior_variance(s: Level, t: Level) -> Float[Tensor, "*batch"]:
    """``added_variance sigma_s^2 / sigma_t^2`` (Ho et al. 2020, equation 7): 0 where ``s`` is data."""
    return added_variance(s, t) * (s.sigma / t.sigma).square()


def transition(x: Float[Tensor, "batch *shape"], s: Level, t: Level) -> Gaussian:
    """``q(x_t | x_s)``, further into the noise: mean ``alpha_t / alpha_s x_s`` and :func:`added_variance`.

    Between step ``t - 1`` and ``t`` it is ``N(sqrt(1 - beta) x, beta I)`` (Ho et
    al. 2020, equation 2).
    """
    return Gaussian(like(t.alpha / s.alpha, x) * x, added_variance(s, t))


def posterior(
    x: Float[Tensor, "batch *shape"], x0: Float[Tensor, "batch *shape"], s: Level, t: Level
) -> Gaussian:
    """``q(x_s | x_t, x_0)``, one step back for someone who knows the image (Ho et al. 2020, equations 6, 7).

    By Bayes' rule the product of :func:`transition` and :func:`marginal`.
    """
    a, b = t.alpha / s.alpha, added_variance(s, t)
    of_x, of_x0 = a * (s.sigma / t.sigma).square(), s.alpha * b / t.sigma.square()
    return Gaussian(like(of_x, x) * x + like(of_x0, x) * x0, posterior_variance(s, t))
