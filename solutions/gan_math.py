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
from torch.optim import Optimizer


# %%
def optimal_discriminator(p_data: Tensor, p_g: Tensor) -> Tensor:
    """The probability that a point is real, under the best discriminator."""
    total = p_data + p_g
    return torch.where(total > 0, p_data / total, torch.full_like(total, 0.5))


# %%
def jensen_shannon(p: Tensor, q: Tensor, dx: float) -> Tensor:
    """The Jensen-Shannon divergence of two densities on a grid, in nats."""
    m = (p + q) / 2
    from_p = torch.where(p > 0, p * torch.log(p / m), torch.zeros_like(p))
    from_q = torch.where(q > 0, q * torch.log(q / m), torch.zeros_like(q))
    return (from_p.sum() + from_q.sum()) * dx / 2


# %%
def gan_objective(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """What the discriminator minimises, then what the generator minimises: minus V and V."""
    value = -F.softplus(-real_logits).mean() - F.softplus(fake_logits).mean()
    return torch.stack([-value, value])


# %%
def generator_logit_gradients(logits: Tensor) -> Tensor:
    """Row 0: the derivative of log(1 - D) with regard to the logit; row 1: that of -log D."""
    return torch.stack([-torch.sigmoid(logits), -torch.sigmoid(-logits)])


# %%
def discriminator_step(
    generator: nn.Module, discriminator: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor
) -> float:
    """Move the discriminator one step and return its loss."""
    fake = generator(z).detach()
    loss = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake)).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


# %%
def generator_step(generator: nn.Module, discriminator: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    """Move the generator one step on the non-saturating loss and return that loss."""
    loss = F.softplus(-discriminator(generator(z))).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


# %%
def modes_covered(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    """The number of modes with a good sample, and the share of samples that are good."""
    distance, nearest = torch.cdist(samples, means).min(dim=1)
    good = distance <= 3 * std
    return len(nearest[good].unique()), good.float().mean().item()


# %%
def diagnose_run(
    real_probability: Tensor, fake_probability: Tensor, gradient_norm: Tensor, covered: Tensor
) -> str:
    """How the run ended: "healthy", "starved" or "collapsed"."""
    part = len(covered) // 5
    sure = (real_probability - fake_probability)[-part:].mean() > 0.9
    dead = gradient_norm[-part:].median() < 0.03 * gradient_norm[:part].median()
    if sure and dead:
        return "starved"
    return "healthy" if covered[-part:].mean() > 0.6 else "collapsed"
