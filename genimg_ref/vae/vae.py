"""Variational autoencoder, fully connected or convolutional, with or without labels, and how it is trained.

Chapter: vae

Papers:

- Kingma and Welling, *Auto-Encoding Variational Bayes*, 2013, arXiv:1312.6114 (algorithm 1; networks,
  appendix C)
- Burda, Grosse and Salakhutdinov, *Importance Weighted Autoencoders*, 2015, arXiv:1509.00519 (the sizes of
  :func:`mlp_vae`, section 5; the objective of :func:`update_iwae`)
- Sohn, Lee and Yan, *Learning Structured Output Representation using Deep Conditional Generative Models*,
  2015 (the conditional one; here the prior of ``z`` does not depend on the label)
- Higgins et al., *beta-VAE*, 2017 (``beta``)
- Rybkin, Daniilidis and Levine, *Simple and Effective VAE Training with Calibrated Decoders*, 2020,
  arXiv:2006.13202 (a Gaussian decoder whose standard deviation is learned)
- He et al., *Delving Deep into Rectifiers*, 2015, arXiv:1502.01852 (initial weights)
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim import Optimizer

from genimg_ref.nn.labels import one_hot, require_labels
from genimg_ref.train.ema import EMA
from genimg_ref.train.loop import run
from genimg_ref.vae.elbo import (
    ELBO,
    bernoulli_log_likelihood,
    elbo,
    free_bits,
    gaussian_log_likelihood,
    iwae_bound,
    kl_per_dimension,
    reparameterise,
    sample_kl,
    to_images,
    to_unit,
)

__all__ = [
    "VAE",
    "Decoder",
    "Encoder",
    "Posterior",
    "VAEStep",
    "conv_vae",
    "evaluate",
    "initialise",
    "log_weights",
    "mlp_vae",
    "reconstruct",
    "sample",
    "train",
    "update",
    "update_iwae",
    "with_labels",
]

Likelihood = Literal["bernoulli", "gaussian"]
LABEL = 4.0  # the one-hot vector's length: among 784 pixels or 20 latents a length of 1 is drowned
BATCH = 500  # images that are in a network at a time where nothing is trained


def with_labels(
    x: Float[Tensor, "batch width"], labels: Int[Tensor, " batch"] | None, classes: int
) -> Float[Tensor, "batch wider"]:
    """``x`` with each label's one-hot vector, times `LABEL`, beside it; ``x`` itself without ``classes``.

    Raises:
        ValueError: when labels are missing, not asked for, or outside 0 ... classes - 1.
    """
    require_labels(labels, classes)
    return x if labels is None else torch.cat([x, LABEL * one_hot(labels, classes).to(x)], dim=1)


class Posterior(NamedTuple):
    """The Gaussian q(z | x) of each image, with a diagonal covariance."""

    mean: Float[Tensor, "batch latent"]
    log_variance: Float[Tensor, "batch latent"]


class Encoder(nn.Module):
    """Images to their :class:`Posterior`: ``body`` makes features of each, ``head`` two numbers a latent.

    With ``classes`` the label's one-hot vector joins the features.
    """

    def __init__(self, body: nn.Module, head: nn.Module, classes: int = 0) -> None:
        super().__init__()
        self.body, self.head, self.classes = body, head, classes

    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        labels: Int[Tensor, " batch"] | None = None,
    ) -> Posterior:
        features = with_labels(self.body(images), labels, self.classes)
        mean, log_variance = self.head(features).chunk(2, dim=1)
        return Posterior(mean, log_variance)


class Decoder(nn.Module):
    """Latents to the parameters of p(x | z), one number a pixel: ``body`` of ``latent + classes`` numbers."""

    def __init__(self, body: nn.Module, latent: int, classes: int = 0) -> None:
        super().__init__()
        self.body, self.latent, self.classes = body, latent, classes

    def forward(
        self, z: Float[Tensor, "batch latent"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch channels height width"]:
        if z.ndim != 2 or z.shape[1] != self.latent:
            raise ValueError(f"z must have shape (batch, {self.latent}); got {tuple(z.shape)}")
        return self.body(with_labels(z, labels, self.classes))


class VAE(nn.Module):
    """An encoder, a decoder, and what the decoder's numbers mean.

    With ``likelihood="bernoulli"`` they are logits of the pixels' probabilities to be bright; with
    ``"gaussian"`` means of pixels in [-1, 1], which share one standard deviation. That is learned, or held at
    ``std`` with ``learn_std=False``. :mod:`genimg_ref.vae.elbo` tells which images each is a likelihood of.

    Raises:
        ValueError: for another likelihood, or ``std`` not above zero.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        likelihood: Likelihood = "bernoulli",
        std: float = 0.5,
        learn_std: bool = True,
    ) -> None:
        super().__init__()
        if likelihood not in ("bernoulli", "gaussian"):
            raise ValueError(f"likelihood must be 'bernoulli' or 'gaussian'; got {likelihood!r}")
        if not std > 0:
            raise ValueError(f"std must be above zero; got {std}")
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        if likelihood == "gaussian":
            self.log_std = nn.Parameter(torch.tensor(math.log(std)), requires_grad=learn_std)

    @property
    def latent(self) -> int:
        """Dimension of ``z``."""
        return self.decoder.latent

    def log_likelihood(
        self, output: Float[Tensor, "batch *shape"], images: Float[Tensor, "batch *shape"]
    ) -> Float[Tensor, " batch"]:
        """``log p(x | z)`` of ``images`` in [-1, 1], given the decoder's ``output``, in nats."""
        if self.likelihood == "bernoulli":
            return bernoulli_log_likelihood(output, to_unit(images))
        return gaussian_log_likelihood(output, images, self.log_std.exp())

    def mean_image(self, output: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        """The expected image in [-1, 1] of p(x | z), given the decoder's ``output``.

        This is what everyone shows as a sample. A true sample has each pixel's own noise on top.
        """
        return to_images(output.sigmoid()) if self.likelihood == "bernoulli" else output.clamp(-1, 1)

    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        rng: torch.Generator,
        labels: Int[Tensor, " batch"] | None = None,
    ) -> ELBO:
        """The bound of each image, from one draw of its latents."""
        posterior: Posterior = self.encoder(images, labels)
        z = reparameterise(*posterior, rng)
        return elbo(self.log_likelihood(self.decoder(z, labels), images), *posterior)


def initialise(model: nn.Module, rng: torch.Generator | None = None) -> nn.Module:
    """He's initialisation, in place: weights from N(0, 2 / inputs), biases 0; return ``model``."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            inputs = module.weight[0].numel()
            if isinstance(module, nn.ConvTranspose2d):  # each output gets from every stride-th place only
                inputs = module.weight.shape[0] * module.weight[0, 0].numel() // math.prod(module.stride)
            with torch.no_grad():
                module.weight.normal_(0, math.sqrt(2 / inputs), generator=rng)
                if module.bias is not None:
                    module.bias.zero_()
    return model


def _layers(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them."""
    linear = [nn.Linear(inside, outside) for inside, outside in pairwise(widths)]
    return nn.Sequential(*[part for layer in linear for part in (layer, nn.ReLU())][:-1])


def mlp_vae(
    shape: Sequence[int] = (1, 28, 28),
    latent: int = 50,
    hidden: Sequence[int] = (200, 200),
    *,
    classes: int = 0,
    likelihood: Likelihood = "bernoulli",
    std: float = 0.5,
    learn_std: bool = True,
    rng: torch.Generator | None = None,
) -> VAE:
    """A VAE of fully connected layers; the decoder's are the encoder's in reverse.

    The sizes are those of Burda et al. (2015), section 5, with one stochastic layer, who used tanh. With
    ``hidden=()`` it is linear, which with a Gaussian decoder is probabilistic PCA
    (:mod:`genimg_ref.vae.ppca`).

    Raises:
        ValueError: for sizes below 1.
    """
    for name, size in (("shape", shape), ("latent", [latent]), ("hidden", hidden)):
        if min(size, default=1) < 1:
            raise ValueError(f"{name} must be 1 or more everywhere; got {size}")
    pixels = math.prod(shape)
    head = _layers([pixels + classes, *hidden, 2 * latent])
    layers = _layers([latent + classes, *reversed(hidden), pixels])
    encoder = Encoder(nn.Flatten(), head, classes)
    decoder = Decoder(nn.Sequential(*layers, nn.Unflatten(1, tuple(shape))), latent, classes)
    vae = VAE(encoder, decoder, likelihood, std, learn_std)
    initialise(vae, rng)
    return vae


def conv_vae(
    size: int = 28,
    latent: int = 16,
    channels: int = 16,
    width: int = 128,
    *,
    image_channels: int = 1,
    classes: int = 0,
    likelihood: Likelihood = "bernoulli",
    std: float = 0.5,
    learn_std: bool = True,
    rng: torch.Generator | None = None,
) -> VAE:
    """A VAE of two convolutions that halve the side and a layer of ``width``; the decoder is its mirror.

    Raises:
        ValueError: unless ``size`` is a multiple of 4.
    """
    if size < 4 or size % 4:
        raise ValueError(f"size must be a multiple of 4; got {size}")
    side = size // 4
    flat = 2 * channels * side**2
    body = nn.Sequential(
        nn.Conv2d(image_channels, channels, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, 4, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
    )
    mirror = nn.Sequential(
        *_layers([latent + classes, width, flat]),
        nn.ReLU(),
        nn.Unflatten(1, (2 * channels, side, side)),
        nn.ConvTranspose2d(2 * channels, channels, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(channels, image_channels, 4, 2, 1),
    )
    encoder = Encoder(body, _layers([flat + classes, width, 2 * latent]), classes)
    vae = VAE(encoder, Decoder(mirror, latent, classes), likelihood, std, learn_std)
    initialise(vae, rng)
    return vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class VAEStep(NamedTuple):
    """What one step of training measured before the weights moved, as means over the batch in nats.

    ``bound`` is ``reconstruction - kl``, whatever ``beta`` weighed the divergence with.
    """

    number: int
    bound: float
    reconstruction: float
    kl: float
    beta: float


def update(
    vae: VAE,
    optimiser: Optimizer,
    images: Float[Tensor, "batch channels height width"],
    rng: torch.Generator,
    *,
    labels: Int[Tensor, " batch"] | None = None,
    beta: float = 1.0,
    minimum: float = 0.0,
    number: int = 1,
) -> VAEStep:
    """One step of algorithm 1 of Kingma and Welling (2013), up the bound of a batch.

    ``beta`` weighs the divergence; each latent dimension has ``minimum`` nats of it free.
    """
    posterior: Posterior = vae.encoder(images, labels)
    z = reparameterise(*posterior, rng)
    reconstruction = vae.log_likelihood(vae.decoder(z, labels), images).mean()
    divergence = kl_per_dimension(*posterior)
    loss = beta * free_bits(divergence, minimum) - reconstruction
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    kl = divergence.sum(dim=1).mean().item()
    return VAEStep(number, reconstruction.item() - kl, reconstruction.item(), kl, beta)


def log_weights(
    vae: VAE,
    images: Float[Tensor, "batch channels height width"],
    samples: int,
    rng: torch.Generator,
    labels: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, "{samples} batch"]:
    """``log p(x, z) - log q(z | x)`` of ``samples`` draws of each image's latents, for :func:`iwae_bound`."""
    posterior = vae.encoder(images, labels)
    mean, log_variance = (part.repeat(samples, 1) for part in posterior)
    z = reparameterise(mean, log_variance, rng)
    output = vae.decoder(z, None if labels is None else labels.repeat(samples))
    likelihood = vae.log_likelihood(output, images.repeat(samples, 1, 1, 1))
    return (likelihood - sample_kl(z, mean, log_variance)).view(samples, len(images))


def update_iwae(
    vae: VAE,
    optimiser: Optimizer,
    images: Float[Tensor, "batch channels height width"],
    rng: torch.Generator,
    *,
    samples: int,
    labels: Int[Tensor, " batch"] | None = None,
) -> float:
    """One step up the importance-weighted bound (Burda et al. 2015, section 3); return it, in nats."""
    bound = iwae_bound(log_weights(vae, images, samples, rng, labels)).mean()
    optimiser.zero_grad()
    (-bound).backward()
    optimiser.step()
    return bound.item()


def train(
    vae: VAE,
    optimiser: Optimizer,
    images: Float[Tensor, "data channels height width"],
    *,
    steps: int,
    rng: torch.Generator,
    batch_size: int = 64,
    labels: Int[Tensor, " data"] | None = None,
    prepare: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    beta: float | Callable[[int], float] = 1.0,
    minimum: float = 0.0,
    ema: EMA | None = None,
    start: int = 0,
    progress: bool = True,
) -> Iterator[VAEStep]:
    """Train up to step number ``steps``, yielding after each step, when the optimiser has moved.

    Args:
        labels: the images' classes, for a conditional VAE.
        prepare: what is done to each batch anew, for instance :func:`genimg_ref.vae.elbo.binarise`.
        beta: the weight of the divergence, or a function of the step's number that gives it, for instance
            ``lambda step: annealed(step, 1000)``.
        minimum: nats of divergence that each latent dimension has free.
        ema: follows the weights.
        start: the number of the last step that was done before.
    """
    device = next(vae.parameters()).device

    def one(number: int) -> VAEStep:
        rows = torch.randint(len(images), (batch_size,), generator=rng, device=rng.device).to(images.device)
        batch = images[rows].to(device)
        if prepare is not None:
            batch = prepare(batch, rng)
        step = update(
            vae,
            optimiser,
            batch,
            rng,
            labels=None if labels is None else labels[rows.to(labels.device)].to(device),
            beta=beta(number) if callable(beta) else beta,
            minimum=minimum,
            number=number,
        )
        if ema is not None:
            ema.update(vae)
        return step

    def describe(step: VAEStep) -> str:
        return f"bound {step.bound:.1f}  KL {step.kl:.1f}"

    return run(one, steps=steps, start=start, describe=describe if progress else None)


@torch.no_grad()
def evaluate(
    vae: VAE,
    images: Float[Tensor, "count channels height width"],
    rng: torch.Generator,
    labels: Int[Tensor, " count"] | None = None,
) -> ELBO:
    """The bound of each image from one draw of its latents, some images at a time, without gradients."""
    parts = [vae(x, rng, y) for x, y in _batches(images, labels)]
    return ELBO(*(torch.cat(column) for column in zip(*parts, strict=True)))


@torch.no_grad()
def reconstruct(
    vae: VAE,
    images: Float[Tensor, "count channels height width"],
    labels: Int[Tensor, " count"] | None = None,
) -> Float[Tensor, "count channels height width"]:
    """The expected image at the mean of each image's posterior."""
    parts = [vae.mean_image(vae.decoder(vae.encoder(x, y).mean, y)) for x, y in _batches(images, labels)]
    return torch.cat(parts)


@torch.no_grad()
def sample(
    vae: VAE, count: int, rng: torch.Generator, labels: Int[Tensor, " count"] | None = None
) -> Float[Tensor, "count channels height width"]:
    """Expected images of ``count`` latents from N(0, I); with ``labels`` one of each label.

    Raises:
        ValueError: for a count below 1.
    """
    if count < 1:
        raise ValueError(f"count must be 1 or more; got {count}")
    device = next(vae.parameters()).device
    z = torch.randn(count, vae.latent, generator=rng, device=rng.device).to(device)
    return torch.cat([vae.mean_image(vae.decoder(x, y)) for x, y in _batches(z, labels)])


def _batches(x: Tensor, labels: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    for part in range(0, len(x), BATCH):
        rows = slice(part, part + BATCH)
        yield x[rows], None if labels is None else labels[rows]
