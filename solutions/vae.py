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
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


# %%
def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence of N(mean, exp(log_variance)) from N(0, I), image by image."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)


# %%
def reparameterise(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    """A draw from N(mean, exp(log_variance)) through which gradients flow to both."""
    return mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=rng)


# %%
def score_function_gradients(values: Tensor, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """One estimate a draw of the gradient of E f(z), first to the mean, then to the log-variance."""
    others = (values.sum() - values) / (len(values) - 1)
    away, variance = z - mean, log_variance.exp()
    scores = torch.stack([away / variance, (away.square() / variance - 1) / 2])
    return (values - others)[:, None] * scores


# %%
def evidence_lower_bound(encoder: nn.Module, decoder: nn.Module, images: Tensor, noise: Tensor) -> Tensor:
    """The bound of each image, in nats."""
    mean, log_variance = encoder(images).chunk(2, dim=1)
    logits = decoder(mean + (log_variance / 2).exp() * noise)
    error = F.binary_cross_entropy_with_logits(logits, (images + 1) / 2, reduction="none").sum(dim=1)
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(dim=1)
    return -error - kl


# %%
def bits_per_dimension(prediction: Tensor, images: Tensor, log_std: Tensor, kl: Tensor) -> Tensor:
    """Bits that each number of an image costs, by the bound of a Gaussian decoder."""
    scaled = (images - prediction) / log_std.exp()
    density = -0.5 * scaled.square() - log_std - 0.5 * math.log(2 * math.pi)
    bound = density.flatten(1).sum(dim=1) - kl
    return -(bound / images[0].numel() + math.log(2 / 255)) / math.log(2)


# %%
def importance_weighted_bound(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    """The bound of each image from k draws of its latents, in nats."""
    return torch.logsumexp(log_joint - log_posterior, dim=0) - math.log(len(log_joint))


# %%
def diagnose_latents(means: Tensor, log_variances: Tensor, train_bound: Tensor, test_bound: Tensor) -> str:
    """Name what is wrong: "collapsed", "mismatched", "overfitted" or "sound"."""
    dead = means.var(dim=0) < 0.03
    if dead.sum() >= len(dead) / 2:
        return "collapsed"
    variance = means.var(dim=0) + log_variances.exp().mean(dim=0)
    if (means.mean(dim=0).abs() > 1).any() or (variance > 2).any():
        return "mismatched"
    gap = train_bound.mean() - test_bound.mean()
    return "overfitted" if gap > 0.1 * test_bound.mean().abs() else "sound"


# %%
def quantise(features: Tensor, codebook: Tensor, commitment: float) -> tuple[Tensor, Tensor]:
    """Features with each place's vector of channels replaced by the nearest code, and the loss."""
    places = features.movedim(1, -1)
    distances = codebook.square().sum(dim=1) - 2 * places @ codebook.T  # less |places|^2, alike for all
    codes = codebook[distances.argmin(dim=-1)].movedim(-1, 1)
    to_features = F.mse_loss(codes, features.detach())
    to_codes = F.mse_loss(features, codes.detach())
    return features + (codes - features).detach(), to_features + commitment * to_codes
