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
def log_snr(betas: Tensor) -> Tensor:
    """Logarithm of the signal-to-noise ratio of steps 1 ... T."""
    alpha_bar = (1 - betas).cumprod(dim=0)
    return alpha_bar.log() - (1 - alpha_bar).log()


# %%
def diffuse(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """Noisy images at the level of each."""
    level = alpha_bar[:, None, None, None]
    return level.sqrt() * x0 + (1 - level).sqrt() * noise


# %%
def posterior(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of q(x_(t-1) | x_t, x_0)."""
    alpha_bar = torch.cat([betas.new_ones(1), (1 - betas).cumprod(dim=0)])
    beta, now, before = betas[t - 1], alpha_bar[t], alpha_bar[t - 1]
    of_x0 = before.sqrt() * beta / (1 - now)
    of_x = (1 - beta).sqrt() * (1 - before) / (1 - now)
    return of_x0 * x0 + of_x * x, (1 - before) / (1 - now) * beta


# %%
def bound_weights(betas: Tensor) -> Tensor:
    """What the bound multiplies the squared error of the noise by, for t = 2 ... T."""
    alpha_bar = (1 - betas).cumprod(dim=0)
    snr = alpha_bar / (1 - alpha_bar)
    return (snr[:-1] / snr[1:] - 1) / 2


# %%
def clean_image(output: Tensor, x: Tensor, alpha_bar: Tensor, kind: str) -> Tensor:
    """The clean image that a model has in mind."""
    alpha = alpha_bar.sqrt()[:, None, None, None]
    sigma = (1 - alpha_bar).sqrt()[:, None, None, None]
    if kind == "eps":
        return (x - sigma * output) / alpha
    return alpha * x - sigma * output if kind == "v" else output


# %%
def denoising_loss(model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, betas: Tensor) -> Tensor:
    """The simple loss of a batch of points."""
    alpha_bar = (1 - betas).cumprod(dim=0)[t - 1][:, None]
    x = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise
    time = t[:, None] / len(betas)
    return F.mse_loss(model(torch.cat([x, time], dim=1)), noise)


# %%
@torch.no_grad()
def ancestral_sample(model: nn.Module, x: Tensor, betas: Tensor, rng: torch.Generator) -> Tensor:
    """Points from noise, step by step."""
    steps = len(betas)
    alpha_bar = torch.cat([betas.new_ones(1), (1 - betas).cumprod(dim=0)])
    for t in range(steps, 0, -1):
        beta, now, before = betas[t - 1], alpha_bar[t], alpha_bar[t - 1]
        eps = model(torch.cat([x, torch.full((len(x), 1), t / steps)], dim=1))
        x = (x - beta / (1 - now).sqrt() * eps) / (1 - beta).sqrt()
        if t > 1:
            variance = (1 - before) / (1 - now) * beta
            x = x + variance.sqrt() * torch.randn(x.shape, generator=rng)
    return x


# %%
def diagnose_diffusion(
    alpha_bar: Tensor, train_loss: Tensor, test_loss: Tensor, sample_std: float, data_std: float
) -> str:
    """Name what is wrong with a diffusion model, or call it "sound"."""
    tenth = max(1, len(test_loss) // 10)
    if alpha_bar[-1] > 0.03:
        return "not noise at the end"
    if test_loss[-tenth:].mean() > 0.4 * test_loss[:tenth].mean():
        return "blind to time"
    if test_loss.mean() > 1.15 * train_loss.mean():
        return "overfitted"
    return "wrong spread" if not 0.75 < sample_std / data_std < 1.35 else "sound"
