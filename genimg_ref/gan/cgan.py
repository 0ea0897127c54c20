"""Conditional GANs: a generator that is told what to make, and a discriminator that knows what was asked for.

Chapter: cgan

Both networks are those of :mod:`genimg_ref.gan.dcgan`, and the label reaches them in one of several ways:

- ``concat``: a one-hot vector beside the latent vector; a map of ones among the channels of the image;
- ``embed``: a learned vector beside the latent vector; a learned map beside the image;
- ``batch_norm`` (generator): gain and shift of each batch normalisation belong to the label;
- ``projection`` (discriminator): a product of the features with a learned vector of the label is added;
- ``auxiliary`` (discriminator): it is not told, but has to say which label it sees.

Papers:

- Mirza and Osindero, *Conditional Generative Adversarial Nets*, 2014, arXiv:1411.1784 (equation 2)
- Miyato and Koyama, *cGANs with Projection Discriminator*, 2018, arXiv:1802.05637
- Odena, Olah and Shlens, *Conditional Image Synthesis with Auxiliary Classifier GANs*, 2017, arXiv:1610.09585
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from genimg_ref.gan import dcgan
from genimg_ref.gan.losses import LOSSES, AdversarialLoss
from genimg_ref.nn.conditional_norm import ConditionalBatchNorm2d
from genimg_ref.nn.labels import LabelEmbedding, attributes, one_hot, sizes
from genimg_ref.train.ema import EMA
from genimg_ref.train.loop import minibatch, run

__all__ = [
    "CGANStep",
    "Discriminator",
    "Generator",
    "Judgement",
    "balanced_rows",
    "init_weights",
    "label_loss",
    "sample",
    "train",
    "update_d",
    "update_g",
]

GeneratorCondition = Literal["concat", "embed", "batch_norm"]
DiscriminatorCondition = Literal["concat", "embed", "projection", "auxiliary"]
EMBEDDING = 16  # length of a label's learned vector beside the latent one


def _require(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")


class Generator(nn.Module):
    """Latent vectors ``(batch, latent)`` and labels to images in [-1, 1].

    Args:
        classes: number of classes, or of values of each attribute.
        size: side of the images, 4 or 7 times a power of two.
        latent: dimension of the latent vectors.
        channels: channels of the last hidden layer.
        image_channels: 1 for grey images, 3 for colour.
        condition: how the label gets in: ``concat``, ``embed`` or ``batch_norm``.

    Raises:
        ValueError: for another condition or size; from the call, for labels that do not fit.
    """

    def __init__(
        self,
        classes: int | Sequence[int] = 10,
        size: int = 28,
        latent: int = 64,
        channels: int = 32,
        image_channels: int = 1,
        condition: GeneratorCondition = "batch_norm",
    ) -> None:
        super().__init__()
        _require("condition", condition, ("concat", "embed", "batch_norm"))
        self.classes, self.latent, self.condition = classes, latent, condition
        extra = {"concat": sum(sizes(classes)), "embed": EMBEDDING, "batch_norm": 0}[condition]
        self.embed = LabelEmbedding(classes, EMBEDDING) if condition == "embed" else None
        self.net = dcgan.Generator(size, latent + extra, channels, image_channels)
        if condition == "batch_norm":
            blocks: Any = self.net.layers
            for number, block in enumerate(blocks[:-1]):
                convolution, norm, rectifier = block.children()
                own = ConditionalBatchNorm2d(norm.num_features, classes)
                blocks[number] = nn.Sequential(convolution, own, rectifier)

    def forward(
        self, z: Float[Tensor, "batch latent"], labels: Shaped[Tensor, "..."]
    ) -> Float[Tensor, "batch channels height width"]:
        if z.ndim != 2 or z.shape[1] != self.latent:
            raise ValueError(f"z must have shape (batch, {self.latent}); got {tuple(z.shape)}")
        attributes(labels, self.classes, len(z))
        if self.condition == "concat":
            return self.net(torch.cat([z, one_hot(labels, self.classes).to(z)], dim=1))
        if self.embed is not None:
            return self.net(torch.cat([z, self.embed(labels)], dim=1))
        h = z[:, :, None, None]
        *blocks, last = self.net.layers.children()
        for block in blocks:
            convolution, norm, rectifier = block.children()
            h = rectifier(norm(convolution(h), labels))
        return last(h)


class Judgement(NamedTuple):
    """``logits``: positive where the pair of image and label is taken for a real one. ``label_loss``: the
    mean cross-entropy of the labels that an auxiliary classifier reads, 0 for other discriminators."""

    logits: Float[Tensor, " batch"]
    label_loss: Float[Tensor, ""]


class Discriminator(nn.Module):
    """Images and labels to one logit each.

    Args:
        classes: number of classes, or of values of each attribute.
        size: side of the images, 4 or 7 times a power of two.
        channels: channels after the first layer.
        image_channels: 1 for grey images, 3 for colour.
        condition: how the label gets in: ``concat``, ``embed``, ``projection`` or ``auxiliary``; with
            ``auxiliary`` the logit does not depend on the label.

    Raises:
        ValueError: for another condition or size; from the call, for labels that do not fit.
    """

    def __init__(
        self,
        classes: int | Sequence[int] = 10,
        size: int = 28,
        channels: int = 48,
        image_channels: int = 1,
        condition: DiscriminatorCondition = "projection",
    ) -> None:
        super().__init__()
        _require("condition", condition, ("concat", "embed", "projection", "auxiliary"))
        self.classes, self.condition = classes, condition
        self.image_shape = (image_channels, size, size)
        extra = {"concat": sum(sizes(classes)), "embed": 1}.get(condition, 0)
        self.net = dcgan.Discriminator(size, channels, image_channels + extra)
        last: Any = next(self.net.layers[-1].children())
        if condition == "embed":
            self.embed = LabelEmbedding(classes, size * size)
        elif condition == "projection":
            self.embed = LabelEmbedding(classes, last.weight[0].numel(), std=0.02)
        elif condition == "auxiliary":
            self.read = nn.Conv2d(last.in_channels, sum(sizes(classes)), last.kernel_size[0])

    def judge(
        self, images: Float[Tensor, "batch channels height width"], labels: Shaped[Tensor, "..."]
    ) -> Judgement:
        """Logits, and how badly the labels are read."""
        self._require_shape(images)
        attributes(labels, self.classes, len(images))
        none = images.new_zeros(())
        if self.condition in ("concat", "embed"):
            return Judgement(self.net(torch.cat([images, self._maps(labels).to(images)], dim=1)), none)
        features = self.net.layers[:-1](images)
        logits = self.net.layers[-1](features)
        if self.condition == "projection":
            return Judgement(logits + (self.embed(labels) * features.flatten(1)).sum(dim=1), none)
        return Judgement(logits, label_loss(self.read(features).flatten(1), labels, self.classes))

    def read_labels(self, images: Float[Tensor, "batch channels height width"]) -> Int[Tensor, "batch ..."]:
        """The likeliest value of each attribute, in the form of the labels, for ``auxiliary`` only."""
        if self.condition != "auxiliary":
            raise ValueError(f"condition must be auxiliary to read labels; got {self.condition!r}")
        self._require_shape(images)
        scores = self.read(self.net.layers[:-1](images)).flatten(1).split(sizes(self.classes), dim=1)
        found = torch.stack([part.argmax(dim=1) for part in scores], dim=1)
        return found[:, 0] if isinstance(self.classes, int) else found

    def forward(
        self, images: Float[Tensor, "batch channels height width"], labels: Shaped[Tensor, "..."]
    ) -> Float[Tensor, " batch"]:
        """With ``projection``: ``psi(phi(x)) + e(y) . phi(x)`` (Miyato and Koyama 2018, equation 3), with all
        numbers of the last feature maps as ``phi``, where the paper sums over the places first."""
        return self.judge(images, labels).logits

    def _require_shape(self, images: Tensor) -> None:
        if tuple(images.shape[1:]) != self.image_shape:
            raise ValueError(
                f"images must have shape (batch, *{self.image_shape}); got {tuple(images.shape)}"
            )

    def _maps(self, labels: Tensor) -> Tensor:
        """What stands beside the channels of the image: maps of ones and zeros, or a learned map."""
        height, width = self.image_shape[1:]
        if self.condition == "embed":
            return self.embed(labels).view(-1, 1, height, width)
        return one_hot(labels, self.classes)[:, :, None, None].expand(-1, -1, height, width)


def label_loss(
    scores: Float[Tensor, "batch values"], labels: Shaped[Tensor, "..."], classes: int | Sequence[int]
) -> Float[Tensor, ""]:
    """The mean cross-entropy of the labels, summed over the attributes (Odena et al. 2017, equation 3).

    ``scores`` has a column, before any softmax, for each value of each attribute in turn.
    """
    parts = scores.split(sizes(classes), dim=1)
    columns = attributes(labels, classes, len(scores)).unbind(dim=1)
    losses = [F.cross_entropy(part, column) for part, column in zip(parts, columns, strict=True)]
    return torch.stack(losses).sum()


def init_weights(model: nn.Module, rng: torch.Generator | None = None) -> nn.Module:
    """As for a DCGAN; vectors of labels are drawn anew from the distribution that each was built with."""
    for module in model.modules():
        if isinstance(module, LabelEmbedding):
            module.reset(rng)
        elif not list(module.children()) and getattr(module, "affine", True):
            dcgan.init_weights(module, rng)
    return model


class DStep(NamedTuple):
    """What one step of the discriminator saw, before its weights moved: means over the batch."""

    loss: float
    real_probability: float
    fake_probability: float
    label_loss: float


class GStep(NamedTuple):
    """What one step of the generator saw, before its weights moved."""

    loss: float
    label_loss: float


class CGANStep(NamedTuple):
    """What one step of training measured: its number (from 1) and each player's part."""

    number: int
    d: DStep
    g: GStep


def update_d(
    generator: nn.Module,
    discriminator: Discriminator,
    optimiser: Optimizer,
    real: Float[Tensor, "real channels height width"],
    labels: Shaped[Tensor, "real ..."],
    z: Float[Tensor, "fake latent"],
    asked: Shaped[Tensor, "fake ..."],
    loss: AdversarialLoss = LOSSES["non_saturating"],
) -> DStep:
    """Move the discriminator one step: real images with their labels, generated ones with those asked for.

    Mirza and Osindero 2014, equation 2. The generator neither moves nor gets a gradient. An auxiliary
    classifier learns from both kinds of image (Odena et al. 2017, equation 3).
    """
    fake = generator(z, asked).detach()
    optimiser.zero_grad()
    on_real, on_fake = discriminator.judge(real, labels), discriminator.judge(fake, asked)
    label_loss = on_real.label_loss + on_fake.label_loss
    value = loss.discriminator(on_real.logits, on_fake.logits) + label_loss
    value.backward()
    optimiser.step()
    return DStep(
        value.item(),
        on_real.logits.sigmoid().mean().item(),
        on_fake.logits.sigmoid().mean().item(),
        label_loss.item(),
    )


def update_g(
    generator: nn.Module,
    discriminator: Discriminator,
    optimiser: Optimizer,
    z: Float[Tensor, "fake latent"],
    asked: Shaped[Tensor, "fake ..."],
    loss: AdversarialLoss = LOSSES["non_saturating"],
) -> GStep:
    """Move the generator one step; the discriminator neither moves nor gathers a gradient.

    With an auxiliary classifier it also wants the label to be read that was asked for.
    """
    optimiser.zero_grad()
    judged = discriminator.judge(generator(z, asked), asked)
    value = loss.generator(judged.logits) + judged.label_loss
    value.backward(inputs=[p for p in generator.parameters() if p.requires_grad])
    optimiser.step()
    return GStep(value.item(), judged.label_loss.item())


def balanced_rows(
    labels: Int[Tensor, " count"], per_class: int, rng: torch.Generator
) -> Int[Tensor, " rows"]:
    """``per_class`` rows of each class that occurs, drawn with replacement, one class after the other.

    Raises ``ValueError`` for no labels, several attributes, or fewer than one row a class.
    """
    if labels.ndim != 1 or len(labels) == 0 or per_class < 1:
        raise ValueError(
            f"labels must have shape (count,), at least one, and per_class must be 1 or more; "
            f"got labels of shape {tuple(labels.shape)} and per_class {per_class}"
        )
    chosen = []
    for label in labels.unique():
        rows = (labels == label).nonzero()[:, 0]
        chosen.append(minibatch(rows, per_class, rng))
    return torch.cat(chosen)


def train(
    generator: Generator,
    discriminator: Discriminator,
    g_optimiser: Optimizer,
    d_optimiser: Optimizer,
    images: Float[Tensor, "data channels height width"],
    labels: Shaped[Tensor, "..."],
    *,
    steps: int,
    rng: torch.Generator,
    batch_size: int = 64,
    loss: AdversarialLoss = LOSSES["non_saturating"],
    balanced: bool = False,
    ema: EMA | None = None,
    start: int = 0,
    progress: bool = True,
) -> Iterator[CGANStep]:
    """Train up to step number ``steps``, yielding after each step, when both optimisers have moved.

    The labels that are asked for are those of other images of the data, drawn afresh: so their distribution
    is that of the data, and combinations that the data lack are never asked for. With ``balanced`` every
    batch, of real images and of labels asked for, holds equally many of each class. Resuming is as in
    :func:`genimg_ref.gan.dcgan.train`.

    Raises:
        ValueError: at once, for labels that do not fit the generator or the images; with ``balanced``, for
            several attributes, or a ``batch_size`` that is no multiple of the number of classes.
    """
    device = next(generator.parameters()).device
    attributes(labels, generator.classes, len(images))
    kinds = len(labels.unique())
    if balanced and labels.ndim > 1:
        raise ValueError(f"balanced needs labels of shape (data,); got {tuple(labels.shape)}")
    if balanced and batch_size % kinds:
        raise ValueError(f"batch_size must be a multiple of the {kinds} classes; got {batch_size}")
    everything = torch.arange(len(labels), device=labels.device)

    def draw() -> Tensor:
        if balanced:
            return balanced_rows(labels, batch_size // kinds, rng)
        return minibatch(everything, batch_size, rng)

    def asked() -> tuple[Tensor, Tensor]:
        rows = draw()
        return dcgan.sample_latent(batch_size, generator.latent, rng, device), labels[rows].to(device)

    def update(number: int) -> CGANStep:
        rows = draw()
        real, own = images[rows].to(device), labels[rows].to(device)
        d = update_d(generator, discriminator, d_optimiser, real, own, *asked(), loss)
        g = update_g(generator, discriminator, g_optimiser, *asked(), loss)
        if ema is not None:
            ema.update(generator)
        return CGANStep(number, d, g)

    def describe(step: CGANStep) -> str:
        return f"D {step.d.loss:.2f}  G {step.g.loss:.2f}"

    return run(update, steps=steps, start=start, describe=describe if progress else None)


@torch.no_grad()
def sample(
    generator: Generator, labels: Shaped[Tensor, "count ..."], rng: torch.Generator, batch: int = 500
) -> Float[Tensor, "count channels height width"]:
    """One image for each label, ``batch`` at a time, on the labels' device, latent vectors from ``rng``."""
    device = next(generator.parameters()).device
    z = dcgan.sample_latent(len(labels), generator.latent, rng, device)
    pairs = zip(z.split(batch), labels.to(device).split(batch), strict=True)
    return torch.cat([generator(*pair) for pair in pairs]).to(labels.device)
