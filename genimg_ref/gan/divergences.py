"""How far apart two densities are, and what a perfect discriminator makes of them.

Chapter: gan_math

Densities are given by their values on a regular grid whose cells have the size ``dx`` (a length in one
dimension, an area in two); integrals become sums times ``dx``. Logarithms are natural: divergences are in
nats.

Papers:

- Goodfellow et al., *Generative Adversarial Nets*, 2014, arXiv:1406.2661 (proposition 1, theorem 1)
- Lin, *Divergence measures based on the Shannon entropy*, 1991 (Jensen-Shannon)
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "game_value",
    "gaussian_kl",
    "js_divergence",
    "kl_divergence",
    "optimal_discriminator",
    "wasserstein_1d",
]


def _require_densities(p_data: Tensor, p_model: Tensor) -> None:
    for name, density in (("p_data", p_data), ("p_model", p_model)):
        if not bool((density >= 0).all()):
            raise ValueError(
                f"{name} must hold densities, 0 or more; got a smallest value {density.min().item()}"
            )
    if p_data.shape != p_model.shape:
        raise ValueError(
            f"p_model must have the shape of p_data {tuple(p_data.shape)}; got {tuple(p_model.shape)}"
        )


def _require_cell(dx: float) -> None:
    if not (math.isfinite(dx) and dx > 0):
        raise ValueError(f"dx must be the positive size of a grid cell; got {dx}")


def optimal_discriminator(
    p_data: Float[Tensor, "*grid"], p_model: Float[Tensor, "*grid"]
) -> Float[Tensor, "*grid"]:
    """``D*(x) = p_data / (p_data + p_model)`` (Goodfellow et al. 2014, proposition 1).

    Where both densities vanish the game does not care; the answer there is 1/2.
    """
    _require_densities(p_data, p_model)
    total = p_data + p_model
    empty = total == 0
    return torch.where(
        empty, torch.full_like(total, 0.5), p_data / torch.where(empty, torch.ones_like(total), total)
    )


def game_value(
    discriminator: Float[Tensor, "*grid"],
    p_data: Float[Tensor, "*grid"],
    p_model: Float[Tensor, "*grid"],
    dx: float,
) -> Float[Tensor, ""]:
    """``V(D, G) = E_data log D + E_model log(1 - D)`` (Goodfellow et al. 2014, equation 1).

    ``discriminator`` holds the probabilities ``D`` on the grid, in [0, 1]. A point which has no density
    contributes nothing, whatever ``D`` says there.
    """
    _require_densities(p_data, p_model)
    _require_cell(dx)
    if not bool(((discriminator >= 0) & (discriminator <= 1)).all()):
        raise ValueError(
            "discriminator must hold probabilities in [0, 1]; "
            f"got values from {discriminator.min().item()} to {discriminator.max().item()}"
        )
    integrand = torch.special.xlogy(p_data, discriminator) + torch.special.xlog1py(p_model, -discriminator)
    return integrand.sum() * dx


def kl_divergence(
    p_data: Float[Tensor, "*grid"], p_model: Float[Tensor, "*grid"], dx: float
) -> Float[Tensor, ""]:
    """``KL(p_data || p_model) = integral of p_data log(p_data / p_model)``, in nats.

    Infinite when ``p_data`` has mass where ``p_model`` has none.
    """
    _require_densities(p_data, p_model)
    _require_cell(dx)
    integrand = torch.special.xlogy(p_data, p_data) - torch.special.xlogy(p_data, p_model)
    return integrand.sum() * dx


def js_divergence(
    p_data: Float[Tensor, "*grid"], p_model: Float[Tensor, "*grid"], dx: float
) -> Float[Tensor, ""]:
    """``JS = KL(p_data || m) / 2 + KL(p_model || m) / 2`` with ``m = (p_data + p_model) / 2`` (Lin 1991).

    Between 0 (equal) and log 2 (nowhere both positive), in nats, when both densities integrate to one.
    """
    _require_densities(p_data, p_model)
    middle = (p_data + p_model) / 2
    return (kl_divergence(p_data, middle, dx) + kl_divergence(p_model, middle, dx)) / 2


def wasserstein_1d(
    p_data: Float[Tensor, " grid"], p_model: Float[Tensor, " grid"], dx: float
) -> Float[Tensor, ""]:
    """The Wasserstein-1 distance of two densities on a line: the area between their distribution functions.

    In the unit of ``dx``: how far, on average, a grain of one heap has to be carried to build the other.
    """
    _require_densities(p_data, p_model)
    _require_cell(dx)
    return ((p_data - p_model).cumsum(dim=0) * dx).abs().sum() * dx


def gaussian_kl(mean_p: float, std_p: float, mean_q: float, std_q: float) -> float:
    """``KL(N(mean_p, std_p^2) || N(mean_q, std_q^2))`` in closed form, in nats."""
    for name, std in (("std_p", std_p), ("std_q", std_q)):
        if not (math.isfinite(std) and std > 0):
            raise ValueError(f"{name} must be a positive number; got {std}")
    return math.log(std_q / std_p) + (std_p**2 + (mean_p - mean_q) ** 2) / (2 * std_q**2) - 0.5
