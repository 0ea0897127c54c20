"""Generators and discriminators made of fully connected layers, as in the first paper.

Chapter: gan_math

Paper: Goodfellow et al., *Generative Adversarial Nets*, 2014, arXiv:1406.2661 (section 5)

The paper used rectifiers in the generator, maxout units and dropout in the discriminator, and a sigmoid at
its end. Here the discriminator has leaky rectifiers and returns a logit, which the losses need, and images
end in a ``tanh`` because they live in [-1, 1].
"""

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["MLPDiscriminator", "MLPGenerator", "PointDiscriminator", "PointGenerator"]


def _require_sizes(**sizes: int | Sequence[int]) -> None:
    for name, size in sizes.items():
        numbers = [size] if isinstance(size, int) else list(size)
        if any(number < 1 for number in numbers):
            raise ValueError(f"{name} must hold whole numbers of 1 or more; got {size}")


def _layers(
    widths: Sequence[int], activation: nn.Module, dropout: float = 0.0, batch_norm: bool = False
) -> list[nn.Module]:
    """Linear layers of the given widths; after each but the last normalisation, the activation, dropout."""
    layers: list[nn.Module] = []
    for i in range(len(widths) - 1):
        layers.append(nn.Linear(widths[i], widths[i + 1]))
        if i < len(widths) - 2:
            if batch_norm:
                layers.append(nn.BatchNorm1d(widths[i + 1]))
            layers.append(activation)
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
    return layers


class MLPGenerator(nn.Module):
    """Latent vectors ``(batch, latent)`` to images ``(batch, *shape)`` in [-1, 1].

    With ``batch_norm`` each hidden layer is normalised over the batch, which the paper of 2014 could not know
    (Ioffe and Szegedy 2015, arXiv:1502.03167).
    """

    def __init__(
        self,
        latent: int = 64,
        shape: Sequence[int] = (1, 28, 28),
        hidden: Sequence[int] = (256, 512),
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        _require_sizes(latent=latent, shape=shape, hidden=hidden)
        self.latent = latent
        self.net = nn.Sequential(
            *_layers([latent, *hidden, math.prod(shape)], nn.ReLU(), batch_norm=batch_norm),
            nn.Tanh(),
            nn.Unflatten(1, tuple(shape)),
        )

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch *shape"]:
        return self.net(z)


class MLPDiscriminator(nn.Module):
    """Images ``(batch, *shape)`` to logits ``(batch,)``; a positive logit says "real"."""

    def __init__(
        self, shape: Sequence[int] = (1, 28, 28), hidden: Sequence[int] = (512, 256), dropout: float = 0.3
    ) -> None:
        super().__init__()
        _require_sizes(shape=shape, hidden=hidden)
        self.net = nn.Sequential(
            nn.Flatten(1),
            *_layers([math.prod(shape), *hidden, 1], nn.LeakyReLU(0.2), dropout),
            nn.Flatten(0),
        )

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        return self.net(x)


class PointGenerator(nn.Module):
    """Latent vectors ``(batch, latent)`` to points of the plane ``(batch, 2)``."""

    def __init__(self, latent: int = 2, hidden: Sequence[int] = (128, 128)) -> None:
        super().__init__()
        _require_sizes(latent=latent, hidden=hidden)
        self.latent = latent
        self.net = nn.Sequential(*_layers([latent, *hidden, 2], nn.ReLU()))

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 2"]:
        return self.net(z)


class PointDiscriminator(nn.Module):
    """Points of the plane ``(batch, 2)`` to logits ``(batch,)``."""

    def __init__(self, hidden: Sequence[int] = (128, 128)) -> None:
        super().__init__()
        _require_sizes(hidden=hidden)
        self.net = nn.Sequential(*_layers([2, *hidden, 1], nn.LeakyReLU(0.2)), nn.Flatten(0))

    def forward(self, x: Float[Tensor, "batch 2"]) -> Float[Tensor, " batch"]:
        return self.net(x)
