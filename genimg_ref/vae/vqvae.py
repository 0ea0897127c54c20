"""VQ-VAE: an autoencoder whose latents are entries of a codebook.

Chapter: vae

Papers:

- Van den Oord, Vinyals and Kavukcuoglu, *Neural Discrete Representation Learning*, 2017, arXiv:1711.00937
  (equations 1 to 3; the codebook's moving averages, appendix A.1)
- Bengio, Léonard and Courville, *Estimating or Propagating Gradients Through Stochastic Neurons*, 2013,
  arXiv:1308.3432 (straight-through)
- Dhariwal et al., *Jukebox*, 2020, arXiv:2005.00341 (codes that nobody uses are restarted, section 3.1)

Trained, it compresses and cannot generate: codes drawn evenly are no image. What makes a generator of it is a
model of which codes go together, :mod:`genimg_ref.vae.prior`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from genimg_ref.train.ema import EMA
from genimg_ref.train.loop import minibatch, run
from genimg_ref.vae.vae import initialise

__all__ = [
    "VQVAE",
    "Codebook",
    "Quantised",
    "VQStep",
    "decode",
    "encode",
    "nearest_code",
    "perplexity",
    "straight_through",
    "train",
    "update",
    "usage",
]

BATCH = 500  # images that are in a network at a time where nothing is trained
UNUSED = 1e-6  # a moving count below which a code's mean is 0 / 0


def nearest_code(
    vectors: Float[Tensor, "*places dim"], codebook: Float[Tensor, "codes dim"]
) -> Int[Tensor, "*places"]:
    """The index of the codebook's row nearest to each vector (van den Oord et al. 2017, equation 1).

    ``|v - e|^2 = |v|^2 - 2 v.e + |e|^2``, and ``|v|^2`` is the same for every row.
    """
    return (codebook.square().sum(dim=1) - 2 * vectors @ codebook.T).argmin(dim=-1)


def straight_through(
    vectors: Float[Tensor, "*shape"], quantised: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """``quantised`` forwards; backwards all of its gradient goes to ``vectors`` and none to ``quantised``.

    Choosing the nearest code has derivative zero or none, so the identity's is taken in its place (van den
    Oord et al. 2017, section 3.2).
    """
    return vectors + (quantised - vectors).detach()


def usage(
    vectors: Float[Tensor, "places dim"], codes: Int[Tensor, " places"], size: int
) -> tuple[Float[Tensor, "{size}"], Float[Tensor, "{size} dim"]]:
    """How many vectors chose each of ``size`` codes, and the sum of those that did."""
    counts = torch.bincount(codes, minlength=size).to(vectors.dtype)
    return counts, vectors.new_zeros(size, vectors.shape[1]).index_add_(0, codes, vectors)


def perplexity(codes: Int[Tensor, "..."], size: int) -> float:
    """``exp`` of the entropy of the codes' frequencies: how many are in even use, from 1 to ``size``."""
    share = torch.bincount(codes.flatten(), minlength=size).double() / codes.numel()
    return torch.special.entr(share).sum().exp().item()


class Quantised(NamedTuple):
    """What :class:`Codebook` makes of features.

    ``features``: the nearest codes' vectors, with the straight-through gradient. ``codes``: their indices.
    ``codebook`` and ``commitment``: the second and the third term of equation 3, means over all numbers. The
    two are equal; one pulls the codes to the features, the other the features to their codes.
    """

    features: Float[Tensor, "batch dim height width"]
    codes: Int[Tensor, "batch height width"]
    codebook: Float[Tensor, ""]
    commitment: Float[Tensor, ""]


class Codebook(nn.Module):
    """``size`` vectors of ``dim`` numbers, which learn by moving averages or by gradients.

    With ``decay`` each vector is the moving average of the features that chose it (van den Oord et al. 2017,
    appendix A.1): call :meth:`learn` after the optimiser's step. Without one (``decay=None``) the vectors are
    parameters, and the term ``codebook`` of the loss moves them.

    Raises:
        ValueError: for fewer than two codes, no dimension, or a decay outside [0, 1).
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self, size: int, dim: int, decay: float | None = 0.99, rng: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if size < 2 or dim < 1:
            raise ValueError(f"size must be 2 or more and dim 1 or more; got {size} and {dim}")
        if decay is not None and not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1), or be None; got {decay}")
        self.size, self.decay = size, decay
        vectors = torch.randn(size, dim, generator=rng)
        if decay is None:
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("sums", torch.zeros(size, dim))

    def forward(self, features: Float[Tensor, "batch dim height width"]) -> Quantised:
        """Each place's vector of channels replaced by the nearest code."""
        places = features.movedim(1, -1)
        codes = nearest_code(places.detach(), self.vectors.detach())
        quantised = self.lookup(codes)
        return Quantised(
            straight_through(features, quantised),
            codes,
            F.mse_loss(quantised, features.detach()),
            F.mse_loss(features, quantised.detach()),
        )

    def lookup(self, codes: Int[Tensor, "batch height width"]) -> Float[Tensor, "batch dim height width"]:
        """The vectors of ``codes``."""
        return F.embedding(codes, self.vectors).movedim(-1, 1)

    @torch.no_grad()
    def learn(
        self, features: Float[Tensor, "batch dim height width"], codes: Int[Tensor, "batch height width"]
    ) -> None:
        """Move the averages one step: of how often each code was chosen, and of the sum of what chose it.

        The vectors are then sum over count, where there was any choice at all. With ``decay`` 0 this is one
        step of k-means. With ``decay=None`` only the counts are kept, with a decay of 0.99.
        """
        decay = 0.99 if self.decay is None else self.decay
        counts, sums = usage(features.movedim(1, -1).flatten(0, 2), codes.flatten(), self.size)
        self.counts.lerp_(counts, 1 - decay)
        self.sums.lerp_(sums, 1 - decay)
        if self.decay is not None:
            used = self.counts > UNUSED
            self.vectors[used] = self.sums[used] / self.counts[used, None]

    @torch.no_grad()
    def revive(
        self,
        features: Float[Tensor, "batch dim height width"],
        rng: torch.Generator,
        minimum: float = 1.0,
    ) -> int:
        """Put codes that are chosen less than ``minimum`` times a batch onto random ``features``; count them.

        Dhariwal et al. (2020), section 3.1. No code has a count before the first step, so that is how they
        all get their first place.
        """
        dead = (self.counts < minimum).nonzero().flatten()
        places = features.movedim(1, -1).flatten(0, 2)
        rows = torch.randint(len(places), (len(dead),), generator=rng, device=rng.device)
        self.vectors[dead] = places[rows.to(places.device)].to(self.vectors.dtype)
        self.counts[dead] = minimum
        self.sums[dead] = minimum * self.vectors[dead]
        return len(dead)


class Residual(nn.Module):
    """``x + conv1x1(relu(conv3x3(relu(x))))``, as in van den Oord et al. (2017), section 4.1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        return x + self.layers(x)


class VQVAE(nn.Module):
    """Images to a quarter of their side in codes, and back.

    Args:
        channels: channels after the first convolution; the second has twice as many.
        codes: entries of the codebook.
        dim: numbers of an entry.
        image_channels: 1 for grey images, 3 for colour.
        decay: of the codebook's moving averages; None for a codebook that learns by gradients.
        rng: for the initial weights.
    """

    def __init__(
        self,
        channels: int = 32,
        codes: int = 128,
        dim: int = 16,
        *,
        image_channels: int = 1,
        decay: float | None = 0.99,
        rng: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        wide = 2 * channels
        self.image_channels = image_channels
        self.encoder = nn.Sequential(
            nn.Conv2d(image_channels, channels, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(channels, wide, 4, 2, 1),
            Residual(wide),
            nn.ReLU(),
            nn.Conv2d(wide, dim, 1),
        )
        self.codebook = Codebook(codes, dim, decay, rng)
        self.decoder = nn.Sequential(
            nn.Conv2d(dim, wide, 3, padding=1),
            Residual(wide),
            nn.ReLU(),
            nn.ConvTranspose2d(wide, channels, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, image_channels, 4, 2, 1),
        )
        initialise(self, rng)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch dim height//4 width//4"]:
        """What the encoder makes of images, before the nearest codes are taken."""
        if images.shape[1] != self.image_channels or images.shape[2] % 4 or images.shape[3] % 4:
            raise ValueError(
                f"images must have shape (batch, {self.image_channels}, height, width) with sides that are "
                f"multiples of 4; got {tuple(images.shape)}"
            )
        return self.encoder(images)

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> tuple[Float[Tensor, "batch channels height width"], Quantised]:
        quantised = self.codebook(self.features(images))
        return self.decoder(quantised.features), quantised


class VQStep(NamedTuple):
    """What one step of training measured, before anything moved.

    ``reconstruction``: mean absolute error of a pixel in [-1, 1]. ``commitment``: mean square distance to the
    nearest code. ``perplexity``: how many codes the batch used, evenly counted. ``revived``: how many codes
    were restarted.
    """

    number: int
    reconstruction: float
    commitment: float
    perplexity: float
    revived: int


def update(
    vqvae: VQVAE,
    optimiser: Optimizer,
    images: Float[Tensor, "batch channels height width"],
    rng: torch.Generator,
    *,
    commitment: float = 0.25,
    number: int = 1,
) -> VQStep:
    """One step down equation 3 of van den Oord et al. (2017); ``commitment`` is the paper's beta.

    The first term is the mean absolute error, which is ``-log p(x | z)`` of a Laplace distribution, over the
    pixels and without its constant: on images with much plain background it trains better here than the
    square.
    """
    features = vqvae.features(images)
    revived = vqvae.codebook.revive(features.detach(), rng)
    quantised: Quantised = vqvae.codebook(features)
    reconstruction = F.l1_loss(vqvae.decoder(quantised.features), images)
    loss = reconstruction + quantised.codebook + commitment * quantised.commitment
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    vqvae.codebook.learn(features.detach(), quantised.codes)
    used = perplexity(quantised.codes, vqvae.codebook.size)
    return VQStep(number, reconstruction.item(), quantised.commitment.item(), used, revived)


def train(
    vqvae: VQVAE,
    optimiser: Optimizer,
    images: Float[Tensor, "data channels height width"],
    *,
    steps: int,
    rng: torch.Generator,
    batch_size: int = 64,
    commitment: float = 0.25,
    ema: EMA | None = None,
    start: int = 0,
    progress: bool = True,
) -> Iterator[VQStep]:
    """Train up to step number ``steps``, yielding after each step, when all have moved."""
    device = next(vqvae.parameters()).device

    def one(number: int) -> VQStep:
        batch = minibatch(images, batch_size, rng).to(device)
        step = update(vqvae, optimiser, batch, rng, commitment=commitment, number=number)
        if ema is not None:
            ema.update(vqvae)
        return step

    def describe(step: VQStep) -> str:
        return f"error {step.reconstruction:.4f}  codes {step.perplexity:.0f}"

    return run(one, steps=steps, start=start, describe=describe if progress else None)


@torch.no_grad()
def encode(
    vqvae: VQVAE, images: Float[Tensor, "count channels height width"]
) -> Int[Tensor, "count height//4 width//4"]:
    """The codes of ``images``, some at a time."""
    return torch.cat([vqvae.codebook(vqvae.features(part)).codes for part in images.split(BATCH)])


@torch.no_grad()
def decode(
    vqvae: VQVAE, codes: Int[Tensor, "count height width"]
) -> Float[Tensor, "count channels 4*height 4*width"]:
    """The images of ``codes``, some at a time, clipped to [-1, 1]."""
    return torch.cat([vqvae.decoder(vqvae.codebook.lookup(part)).clamp(-1, 1) for part in codes.split(BATCH)])
