"""One step of each player of the adversarial game: the two halves of Goodfellow's algorithm 1.

Chapter: gan_math

Paper: Goodfellow et al., *Generative Adversarial Nets*, 2014, arXiv:1406.2661 (algorithm 1)
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from genimg_ref.gan.losses import AdversarialLoss

__all__ = ["DStep", "GStep", "gradient_norm", "update_d", "update_g"]


class DStep(NamedTuple):
    """What one step of the discriminator saw, before its weights moved. All plain numbers.

    A ``logit`` is the batch mean of the discriminator's outputs, a ``probability`` the batch mean of their
    sigmoid.
    """

    loss: float
    real_logit: float
    fake_logit: float
    real_probability: float
    fake_probability: float
    gradient_norm: float


class GStep(NamedTuple):
    """What one step of the generator saw, before its weights moved. All plain numbers."""

    loss: float
    fake_logit: float
    fake_probability: float
    gradient_norm: float


def gradient_norm(module: nn.Module) -> float:
    """The Euclidean norm of all gradients that the parameters of ``module`` hold, taken as one vector."""
    norms = [p.grad.norm() for p in module.parameters() if p.grad is not None]
    return torch.stack(norms).norm().item() if norms else 0.0


def _require_owner(optimiser: Optimizer, module: nn.Module, name: str) -> None:
    """An optimiser of the other player's weights trains nothing, silently: say so."""
    owned = {id(p) for p in module.parameters()}
    if not any(id(p) in owned for group in optimiser.param_groups for p in group["params"]):
        raise ValueError(
            f"optimiser must hold parameters of the {name}; got an optimiser of other parameters"
        )


def update_d(
    generator: nn.Module,
    discriminator: nn.Module,
    optimiser: Optimizer,
    real: Float[Tensor, "real *sample"],
    z: Float[Tensor, "fake *latent"],
    loss: AdversarialLoss,
) -> DStep:
    """Move the discriminator one step on a batch ``real`` and the batch ``generator(z)``.

    The fakes are detached: the generator's parameters get no gradient, and keep any which they had.
    ``optimiser`` must be the discriminator's. ``real`` and the samples may differ in batch size, not in
    shape.

    Raises ``ValueError`` when a sample's shape differs from the generator's, or ``optimiser`` is another
    network's.
    """
    _require_owner(optimiser, discriminator, "discriminator")
    fake = generator(z).detach()
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(
            f"real must hold samples of the generator's shape {tuple(fake.shape[1:])}; "
            f"got {tuple(real.shape[1:])}"
        )
    optimiser.zero_grad()
    real_logits, fake_logits = discriminator(real), discriminator(fake)
    value = loss.discriminator(real_logits, fake_logits)
    value.backward()
    optimiser.step()
    return DStep(
        loss=value.item(),
        real_logit=real_logits.mean().item(),
        fake_logit=fake_logits.mean().item(),
        real_probability=real_logits.sigmoid().mean().item(),
        fake_probability=fake_logits.sigmoid().mean().item(),
        gradient_norm=gradient_norm(discriminator),
    )


def update_g(
    generator: nn.Module,
    discriminator: nn.Module,
    optimiser: Optimizer,
    z: Float[Tensor, "fake *latent"],
    loss: AdversarialLoss,
) -> GStep:
    """Move the generator one step against the discriminator as it stands.

    The gradient flows through the discriminator to the generator's parameters and is gathered there alone:
    the discriminator's parameters neither move nor gather a gradient.

    Raises ``ValueError`` when ``optimiser`` is another network's.
    """
    _require_owner(optimiser, generator, "generator")
    optimiser.zero_grad()
    fake_logits = discriminator(generator(z))
    value = loss.generator(fake_logits)
    value.backward(inputs=[p for p in generator.parameters() if p.requires_grad])
    optimiser.step()
    return GStep(
        loss=value.item(),
        fake_logit=fake_logits.mean().item(),
        fake_probability=fake_logits.sigmoid().mean().item(),
        gradient_norm=gradient_norm(generator),
    )
