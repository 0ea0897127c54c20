"""Deep convolutional GAN: the networks, their initialisation, and how they are trained.

Chapter: dcgan. Papers: Radford, Metz and Chintala (2016), Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks, arXiv:1511.06434, sections 3 and 4; Goodfellow et al. (2014),
Generative Adversarial Nets, arXiv:1406.2661, algorithm 1.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from genimg_ref.gan.losses import LOSSES, AdversarialLoss
from genimg_ref.gan.steps import DStep, GStep, update_d, update_g
from genimg_ref.train.ema import EMA
from genimg_ref.train.loop import minibatch, run

__all__ = [
    "Discriminator",
    "GANStep",
    "Generator",
    "conv_transpose_output_size",
    "doublings",
    "init_weights",
    "sample_latent",
    "train",
]

BASES = (4, 7)  # smallest side of a feature map: 4 -> 8, 16, 32, 64 ...; 7 -> 14, 28, 56 ...


def doublings(size: int) -> tuple[int, int]:
    """Write ``size = base * 2**k`` with base 4 or 7 and k >= 1; return ``(base, k)``.

    Raises:
        ValueError: if ``size`` cannot be reached by doubling either base.
    """
    for base in BASES:
        k = (size // base).bit_length() - 1
        if k >= 1 and size == base << k:
            return base, k
    raise ValueError(
        f"size must be 4 or 7 times a power of two (8, 14, 16, 28, 32, 56, 64, ...); got {size!r}"
    )


def conv_transpose_output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """Side of the output of a transposed convolution, ``(size - 1) stride - 2 padding + kernel``.

    Dumoulin and Visin (2016), arXiv:1603.07285, relationship 14, without output padding.
    """
    return (size - 1) * stride - 2 * padding + kernel


class Generator(nn.Module):
    """Latent vectors to images: a projection to ``base x base``, then k layers that double the side.

    Radford et al. (2016), figure 1: every layer but the last has batch normalisation and ReLU, the last
    has tanh alone. Each doubling halves the channels; the last hidden layer has ``channels`` of them.
    With ``size=64, latent=100, channels=128, image_channels=3`` these are the paper's sizes.

    Args:
        size: side of the images, 4 or 7 times a power of two.
        latent: dimension of the latent vectors.
        channels: channels of the last hidden layer.
        image_channels: 1 for grey images, 3 for colour.
        batch_norm: leave out batch normalisation with False (an ablation of the chapter).

    Raises:
        ValueError: if no chain of doublings leads to ``size``.
    """

    def __init__(
        self,
        size: int = 28,
        latent: int = 64,
        channels: int = 32,
        image_channels: int = 1,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        base, k = doublings(size)
        self.latent = latent
        widths = [channels * 2**i for i in reversed(range(k))]
        layers = [self._up(latent, widths[0], base, 1, 0, batch_norm)]
        for wide, narrow in pairwise(widths):
            layers.append(self._up(wide, narrow, 4, 2, 1, batch_norm))
        layers.append(nn.Sequential(nn.ConvTranspose2d(widths[-1], image_channels, 4, 2, 1), nn.Tanh()))
        self.layers = nn.Sequential(*layers)

    @staticmethod
    def _up(inputs: int, outputs: int, kernel: int, stride: int, padding: int, norm: bool) -> nn.Sequential:
        """Transposed convolution, batch normalisation (whose shift makes a bias superfluous), ReLU."""
        convolution = nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, bias=not norm)
        return nn.Sequential(convolution, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU())

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channels height width"]:
        """Images in [-1, 1] of shape (batch, image_channels, size, size) from latents (batch, latent)."""
        if z.ndim != 2 or z.shape[1] != self.latent:
            raise ValueError(f"z must have shape (batch, {self.latent}); got {tuple(z.shape)}")
        return self.layers(z[:, :, None, None])


class Discriminator(nn.Module):
    """Images to one logit each: k strided convolutions that halve the side, then one that spans what is left.

    Radford et al. (2016), section 3: strides in place of pooling, LeakyReLU with slope 0.2, batch
    normalisation in every layer but the first (and the last, which is the logit). The mirror of
    :class:`Generator`.

    Args:
        size: side of the images, 4 or 7 times a power of two.
        channels: channels after the first layer; each layer doubles them.
        image_channels: 1 for grey images, 3 for colour.
        batch_norm: leave out batch normalisation with False (an ablation of the chapter).

    Raises:
        ValueError: if no chain of halvings leads from ``size`` to 4 or 7.
    """

    def __init__(
        self, size: int = 28, channels: int = 32, image_channels: int = 1, batch_norm: bool = True
    ) -> None:
        super().__init__()
        base, k = doublings(size)
        self.image_shape = (image_channels, size, size)
        widths = [channels * 2**i for i in range(k)]
        layers = [self._down(image_channels, widths[0], False)]
        for narrow, wide in pairwise(widths):
            layers.append(self._down(narrow, wide, batch_norm))
        layers.append(nn.Sequential(nn.Conv2d(widths[-1], 1, base), nn.Flatten(0)))
        self.layers = nn.Sequential(*layers)

    @staticmethod
    def _down(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
        """Strided convolution, batch normalisation where wanted, LeakyReLU."""
        convolution = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=not norm)
        return nn.Sequential(convolution, *([nn.BatchNorm2d(outputs)] if norm else []), nn.LeakyReLU(0.2))

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, " batch"]:
        """One logit for each image: positive where the discriminator takes it for a real one."""
        if tuple(images.shape[1:]) != self.image_shape:
            raise ValueError(
                f"images must have shape (batch, *{self.image_shape}); got {tuple(images.shape)}"
            )
        return self.layers(images)


@torch.no_grad()
def init_weights(model: nn.Module, rng: torch.Generator | None = None) -> nn.Module:
    """Initialise in place as Radford et al. (2016), section 4, and return ``model``.

    Weights of (transposed) convolutions are drawn from N(0, 0.02^2) and their biases set to 0; batch
    normalisation's gain is drawn from N(1, 0.02^2) and its shift set to 0. Other layers are left alone.
    The gain's distribution is not in the paper but in its authors' code, where everyone has it from.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.weight.normal_(0.0, 0.02, generator=rng)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.normal_(1.0, 0.02, generator=rng)
            module.bias.zero_()
    return model


def sample_latent(
    count: int, latent: int, rng: torch.Generator | None = None, device: torch.device | str | None = None
) -> Float[Tensor, "count latent"]:
    """``count`` latent vectors from N(0, I), drawn on the generator's device and moved to ``device``."""
    source = rng.device if rng is not None else None
    return torch.randn(count, latent, generator=rng, device=source).to(device)


class GANStep(NamedTuple):
    """What one step of training measured: its number (from 1) and each player's part."""

    number: int
    d: DStep
    g: GStep


def train(
    generator: Generator,
    discriminator: nn.Module,
    g_optimiser: Optimizer,
    d_optimiser: Optimizer,
    images: Float[Tensor, "data channels height width"],
    *,
    steps: int,
    rng: torch.Generator,
    batch_size: int = 64,
    loss: AdversarialLoss = LOSSES["non_saturating"],
    ema: EMA | None = None,
    start: int = 0,
    progress: bool = True,
) -> Iterator[GANStep]:
    """Train up to step number ``steps``, yielding after each step, when both optimisers have moved.

    Algorithm 1 of Goodfellow et al. (2014) with one update of each network a step. Batches are drawn with
    replacement, so ``rng`` alone says what comes next: with its state, the networks', the optimisers' and the
    ``start`` of a checkpoint, training goes on as if it had never stopped.
    """
    device = next(generator.parameters()).device

    def update(number: int) -> GANStep:
        real = minibatch(images, batch_size, rng).to(device)
        z = sample_latent(batch_size, generator.latent, rng, device)
        d = update_d(generator, discriminator, d_optimiser, real, z, loss)
        z = sample_latent(batch_size, generator.latent, rng, device)
        g = update_g(generator, discriminator, g_optimiser, z, loss)
        if ema is not None:
            ema.update(generator)
        return GANStep(number, d, g)

    def describe(step: GANStep) -> str:
        return f"D {step.d.loss:.2f}  G {step.g.loss:.2f}"

    return run(update, steps=steps, start=start, describe=describe if progress else None)
