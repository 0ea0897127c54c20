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
from torch import Tensor


# %%
def classifier_guided(eps: Tensor, gradient: Tensor, sigma: Tensor, scale: float) -> Tensor:
    """The noise of a model that a classifier guides."""
    return eps - scale * sigma[:, None, None, None] * gradient


# %%
def drop_labels(labels: Tensor, null: int, probability: float, rng: torch.Generator) -> Tensor:
    """The labels, each replaced by `null` with this probability."""
    dropped = torch.rand(len(labels), generator=rng) < probability
    return torch.where(dropped, null, labels)


# %%
def guided(
    unconditional: Tensor, conditional: Tensor, scale: float, t: Tensor, low: float, high: float
) -> Tensor:
    """A prediction guided without a classifier, within an interval of times."""
    inside = (t >= low) & (t <= high)
    weight = torch.where(inside, scale, 1.0)[:, None, None, None]
    return unconditional + weight * (conditional - unconditional)


# %%
def rescaled(strong: Tensor, conditional: Tensor, share: float) -> Tensor:
    """A guided prediction, brought back to the spread of the conditional one."""
    axes = (1, 2, 3)
    ratio = conditional.std(dim=axes, keepdim=True) / strong.std(dim=axes, keepdim=True)
    return share * ratio * strong + (1 - share) * strong


# %%
def diagnose_guidance(
    read_back: Tensor, saturated: float, real_saturated: float, spread: Tensor, real_spread: Tensor
) -> str:
    """Name what is wrong with guided samples, or call them "sound"."""
    if read_back.mean() < 0.7:
        return "too weak"
    if saturated > 2 * real_saturated:
        return "saturated"
    return "monotonous" if (spread < 0.6 * real_spread).any() else "sound"


# %%
def keep_known(x: Tensor, image: Tensor, mask: Tensor, alpha_bar: float, noise: Tensor) -> Tensor:
    """x, with the known part of the image put in at the same level of noise."""
    known = alpha_bar**0.5 * image + (1 - alpha_bar) ** 0.5 * noise
    return mask * known + (1 - mask) * x


# %%
def sdedit_start(image: Tensor, noise: Tensor, alpha_bar: Tensor, strength: float) -> tuple[Tensor, int]:
    """Where an edit begins: the noised image, and the step from which to walk."""
    step = round(strength * (len(alpha_bar) - 1))
    level = alpha_bar[step]
    return level.sqrt() * image + (1 - level).sqrt() * noise, step
