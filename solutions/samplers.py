# ---
# jupyter:
#   jupytext:
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %%
import torch
import torch.nn.functional as F
from torch import Tensor, nn


# %%
def flow_drift(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    """The motion dx/dt of the probability flow."""
    return -beta[:, None] / 2 * (x + score)


# %%
def ddim_step(
    x: Tensor, eps: Tensor, alpha_bar: float, alpha_bar_next: float, eta: float, noise: Tensor
) -> Tensor:
    """One step of DDIM towards data."""
    x0 = (x - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
    variance = eta**2 * (1 - alpha_bar_next) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_next)
    along = max(0.0, 1 - alpha_bar_next - variance) ** 0.5
    return alpha_bar_next**0.5 * x0 + along * eps + variance**0.5 * noise


# %%
@torch.no_grad()
def heun_step(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """One step of Heun's method on the noise levels of EDM."""

    def slope(at: Tensor, level: float) -> Tensor:
        told = torch.cat([at, torch.full((len(at), 1), level)], dim=1)
        return (at - denoiser(told)) / level

    first = slope(x, sigma)
    guess = x + (sigma_next - sigma) * first
    if sigma_next == 0:
        return guess
    return x + (sigma_next - sigma) * (first + slope(guess, sigma_next)) / 2


# %%
def convergence_order(steps: Tensor, errors: Tensor) -> Tensor:
    """The power with which the error falls as the number of steps grows."""
    x, y = steps.double().log(), errors.log()
    x = x - x.mean()
    return -(x * y).sum() / x.square().sum()


# %%
def velocity_loss(model: nn.Module, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """The loss of flow matching for a batch of points."""
    time = t[:, None]
    x = (1 - time) * x0 + time * noise
    return F.mse_loss(model(torch.cat([x, time], dim=1)), noise - x0)


# %%
def choose_evaluations(evaluations: Tensor, distances: Tensor) -> int:
    """The cheapest number of evaluations that cannot be told from the best."""
    means = distances.mean(dim=1)
    squared_errors = distances.var(dim=1) / distances.shape[1]
    best = means.argmin()
    limit = means[best] + 2 * (squared_errors + squared_errors[best]).sqrt()
    return int(evaluations[means <= limit].min())


# %%
def interpolate_noise(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Noises on the way from one to another, all of unit variance."""
    share = share[:, None, None, None]
    size = ((1 - share).square() + share.square()).sqrt()
    return ((1 - share) * first + share * second) / size
