"""A compact U-Net: an image and the time at which it was noised to an image of the same shape.

Chapter: ddpm

What comes out means what the training makes it mean: the noise, the clean image, a velocity.

Papers:

- Ronneberger, Fischer and Brox, *U-Net*, 2015, arXiv:1505.04597 (down, up, and skips between)
- Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, 2020, arXiv:2006.11239 (appendix B: group
  normalisation, attention at low resolution, sinusoidal embedding of the time)
- Dhariwal and Nichol, *Diffusion Models Beat GANs on Image Synthesis*, 2021, arXiv:2105.05233 (time and label
  give scale and shift after a normalisation, section 3.1)
- Vaswani et al., *Attention Is All You Need*, 2017, arXiv:1706.03762 (equation 1; the embedding, section 3.5)
- Ho and Salimans, *Classifier-Free Diffusion Guidance*, 2022, arXiv:2207.12598 (the null label)
- Ahmed, Natarajan and Rao, *Discrete Cosine Transform*, 1974 (the waves of an outline)
- Shi et al., *Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
  Neural Network*, 2016, arXiv:1609.05158 (pixels of a patch as channels)

It differs from that of Ho et al. in size, and where that makes a step cheaper: skips are added, not
concatenated; upsampling convolves before it repeats; attention looks once, at the bottom. With ``patch=2``
the image enters as patches of 2 x 2 pixels, which costs details and saves half of the work or more.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Protocol, cast

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from genimg_ref.nn.labels import LabelEmbedding, attributes, sizes

__all__ = [
    "Conditioner",
    "LabelCondition",
    "MapAttention",
    "Outline",
    "ResidualBlock",
    "SelfAttention",
    "UNet",
    "time_embedding",
]

Skips = Literal["add", "concat", "none"]
GROUP = 8  # channels that are normalised together; with 4 PyTorch takes fifty times as long here
HEAD = 16  # channels of an attention head


def time_embedding(
    t: Float[Tensor, " batch"], dim: int, fastest: float = 1000.0
) -> Float[Tensor, "batch dim"]:
    """Cosines and sines of ``t`` at ``dim / 2`` angular frequencies, from ``fastest`` to a 10,000th of it.

    Neighbouring times are told apart by the fast ones, distant times by the slow ones. With ``fastest`` 1000
    a time in [0, 1] is embedded as is the step number ``1000 t`` in Ho et al. (2020), who took the embedding
    of positions from Vaswani et al. (2017), section 3.5; the entries have another order.

    Raises:
        ValueError: for a ``dim`` that is not even, or times that are not a vector of floats.
    """
    if dim < 2 or dim % 2:
        raise ValueError(f"dim must be even, 2 or more; got {dim}")
    if t.ndim != 1 or not t.is_floating_point():
        raise ValueError(f"t must be floats of shape (batch,); got {t.dtype} of shape {tuple(t.shape)}")
    exponents = torch.linspace(0, 1, dim // 2, dtype=t.dtype, device=t.device)
    angles = t[:, None] * (fastest * 10_000.0**-exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Conditioner(Protocol):
    """What turns a condition into one vector an image: an ``nn.Module`` that knows its null condition too."""

    def __call__(self, condition: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch dim"]: ...

    def null(self, count: int) -> Shaped[Tensor, "{count} ..."]:
        """The condition "anything", ``count`` times, on the module's device."""
        ...


class LabelCondition(nn.Module):
    """Labels as conditions: a learned vector for each value, and one more for "no label".

    ``classes`` is the number of classes, or of values of each attribute; the null label, which stands for
    any, comes after the last: with 10 classes it is 10. Labels are ``(batch,)`` or ``(batch, attributes)``.

    Raises:
        ValueError: from the call, for labels that are not whole numbers of that shape, or out of range.
    """

    def __init__(self, classes: int | Sequence[int], dim: int) -> None:
        super().__init__()
        counts = sizes(classes)
        self.single = isinstance(classes, int)
        self.embed = LabelEmbedding(counts[0] + 1 if self.single else [n + 1 for n in counts], dim)
        self.register_buffer("nulls", torch.tensor(counts), persistent=False)

    def null(self, count: int) -> Shaped[Tensor, "{count} ..."]:
        """The null label, of every attribute if there are several, ``count`` times."""
        nulls = cast(Tensor, self.nulls).expand(count, -1)
        return nulls[:, 0] if self.single else nulls

    def forward(self, labels: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch dim"]:
        attributes(labels, self.embed.classes, len(labels))
        return self.embed(labels)


def _norm(channels: int, affine: bool = True) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, channels // GROUP), channels, affine=affine)


class ResidualBlock(nn.Module):
    """``x + convolve(...)``, twice normalised and convolved, with what ``embedding`` says in between.

    After the second normalisation each channel is multiplied by ``1 + scale`` and moved by ``shift``, which
    are linear in the embedding (Dhariwal and Nichol 2021, section 3.1). The last convolution starts at zero,
    so that a block at first leaves its input as it is. Where the number of channels changes, a 1 x 1
    convolution fits the sum.
    """

    def __init__(self, inside: int, outside: int, embedding: int) -> None:
        super().__init__()
        self.norm_1 = _norm(inside)
        self.convolution_1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.scale_shift = nn.Linear(embedding, 2 * outside)
        self.norm_2 = _norm(outside, affine=False)  # has its scale and shift from the embedding
        self.convolution_2 = nn.Conv2d(outside, outside, 3, padding=1)
        self.fit = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(
        self, x: Float[Tensor, "batch inside height width"], embedding: Float[Tensor, "batch embedding"]
    ) -> Float[Tensor, "batch outside height width"]:
        h = self.convolution_1(F.silu(self.norm_1(x)))
        scale, shift = self.scale_shift(embedding)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm_2(h), 1 + scale)
        return self.fit(x) + self.convolution_2(F.silu(h))


class SelfAttention(nn.Module):
    """Each place looks at all of them, or at those that are ``visible`` in its row, in several heads.

    Vaswani et al. (2017), equation 1 and section 3.2.2.

    Raises:
        ValueError: for heads that do not divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"heads must be 1 or more and divide width = {width}; got {heads}")
        self.heads = heads
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "batch places width"], visible: Bool[Tensor, "batch places"] | None = None
    ) -> Float[Tensor, "batch places width"]:
        parts = self.queries_keys_values(x).unflatten(2, (3, self.heads, -1))
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)  # each (batch, heads, places, width of a head)
        mask = None if visible is None else visible[:, None, None, :]
        seen = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.out(seen.transpose(1, 2).flatten(2))


class MapAttention(nn.Module):
    """:class:`SelfAttention` between the places of a map, normalised first and added to it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.attention = SelfAttention(channels, channels // HEAD)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        places = self.norm(x).flatten(2).transpose(1, 2)  # (batch, places, channels)
        return x + self.attention(places).transpose(1, 2).unflatten(2, x.shape[2:])


class _Double(nn.Module):
    """Twice the height and width. A 1 x 1 convolution and the repetition of pixels could change places; in
    this order it has a quarter of the work."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inside, outside, 1)

    def forward(
        self, x: Float[Tensor, "batch inside height width"]
    ) -> Float[Tensor, "batch outside taller wider"]:
        return F.interpolate(self.convolution(x), scale_factor=2, mode="nearest")


class Outline(nn.Module):
    """A coarse image for each embedding: a sum of products of cosines down and across.

    Their coefficients are linear in the embedding and start at zero. A scale and a shift of channels are the
    same at all places and can hardly say *where*; this can. The cosines are the first ``waves`` of a discrete
    cosine transform each way (Ahmed et al. 1974).
    """

    def __init__(self, channels: int, embedding: int, waves: int) -> None:
        super().__init__()
        self.channels, self.waves = channels, waves
        self.coefficients = nn.Linear(embedding, channels * waves**2)

    def forward(
        self, embedding: Float[Tensor, "batch embedding"], height: int, width: int
    ) -> Float[Tensor, "batch {self.channels} {height} {width}"]:
        down, across = self.cosines(height), self.cosines(width)
        found = self.coefficients(embedding).unflatten(1, (self.channels, self.waves, self.waves))
        return torch.einsum("bckl,kh,lw->bchw", found, down, across)

    def cosines(self, side: int) -> Float[Tensor, "{self.waves} {side}"]:
        """``cos(pi k (i + 1/2) / side)``: a row for each of the first ``k``, a column for each ``i``."""
        like = self.coefficients.weight
        middle = (torch.arange(side, dtype=like.dtype, device=like.device) + 0.5) / side
        waves = torch.arange(self.waves, dtype=like.dtype, device=like.device)
        return (math.pi * waves[:, None] * middle).cos()


class UNet(nn.Module):
    """``model(x, t, condition)``: images, times and perhaps conditions to images of the same shape.

    Down the levels by residual blocks; at the bottom every place looks at every other; then up again, where
    each block is first handed what its counterpart on the way down has made.

    Args:
        image_channels: 1 for grey images, 3 for colour.
        channels: of each level; between levels height and width are halved.
        blocks: residual blocks of each level, on each way.
        patch: side of the patches that enter as one place with ``patch**2 * image_channels`` channels.
        classes: number of classes, or of values of each attribute, for a model of labels (see
            :class:`LabelCondition`); 0 for none.
        conditioner: instead of ``classes``, what makes vectors of ``embedding`` numbers out of other
            conditions, a :class:`Conditioner`; it is trained with the rest.
        embedding: length of the vector that tells the blocks about time and condition.
        attention: whether there is any.
        skips: how a block receives its counterpart's output: ``add``, ``concat``, or ``none`` to do without.
        time: ``False`` makes a model that does not know ``t``.
        outline: waves each way of an :class:`Outline` that is added to the output, for conditions that say
            where something is; 0 for none.
        rng: for the initial weights. The last layer starts at zero.

    Raises:
        ValueError: for sizes that do not fit; from the call, for images, times or conditions that do not.
    """

    def __init__(
        self,
        image_channels: int = 1,
        channels: Sequence[int] = (32, 64, 64),
        *,
        blocks: int = 1,
        patch: int = 1,
        classes: int | Sequence[int] = 0,
        conditioner: nn.Module | None = None,
        embedding: int = 128,
        attention: bool = True,
        skips: Skips = "add",
        time: bool = True,
        outline: int = 0,
        rng: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        _require_sizes(image_channels, channels, blocks, patch, embedding)
        if outline < 0:
            raise ValueError(f"outline must be 0 or more waves; got {outline}")
        if skips not in ("add", "concat", "none"):
            raise ValueError(f"skips must be 'add', 'concat' or 'none'; got {skips!r}")
        if classes and conditioner is not None:
            raise ValueError(f"classes must be 0 where there is a conditioner; got {classes!r}")
        self.image_channels, self.patch, self.skips, self.time = image_channels, patch, skips, time
        self.embedding = embedding
        self.factor = patch * 2 ** (len(channels) - 1)  # by which height and width are divisible

        self.embed_time = nn.Sequential(
            nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.conditioner: nn.Module | None = LabelCondition(classes, embedding) if classes else None
        numbers = image_channels * patch**2  # of a place
        self.enter = nn.Conv2d(numbers, channels[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for width in channels:
            wider = 2 * width if skips == "concat" else width
            self.down.append(nn.ModuleList(ResidualBlock(width, width, embedding) for _ in range(blocks)))
            self.up.append(nn.ModuleList(ResidualBlock(wider, width, embedding) for _ in range(blocks)))
        self.halvings = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(channels))
        self.doublings = nn.ModuleList(_Double(b, a) for a, b in pairwise(channels))
        self.attention = MapAttention(channels[-1]) if attention else nn.Identity()
        self.leave = nn.Sequential(
            _norm(channels[0]), nn.SiLU(), nn.Conv2d(channels[0], numbers, 3, padding=1)
        )
        self.outline = Outline(image_channels, embedding, outline) if outline else None
        _initialise(self, rng)
        if conditioner is not None:  # comes with weights of its own
            self.conditioner = conditioner
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def hidden(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The matrices between first and last layer, and all other weights: what
        :class:`genimg_ref.train.muon.Muon` takes."""
        between = [self.down, self.up, self.halvings, self.doublings, self.attention]
        inside = [p for part in between for p in part.parameters() if p.ndim > 1]
        known = {id(p) for p in inside}
        return inside, [p for p in self.parameters() if id(p) not in known]

    def null(self, count: int) -> Shaped[Tensor, "{count} ..."]:
        """The null condition, which stands for any, ``count`` times.

        Raises ``ValueError`` for a model without conditions.
        """
        if self.conditioner is None:
            raise ValueError("null needs a model with classes or a conditioner; this one has neither")
        return cast(Conditioner, self.conditioner).null(count)

    def embed(
        self, t: Float[Tensor, " batch"], condition: Shaped[Tensor, "..."] | None = None
    ) -> Float[Tensor, "batch embedding"]:
        """What the blocks are told: the time, and the condition or, where that is None, the null one."""
        angles = time_embedding(t, self.embedding).to(self.enter.weight.dtype)
        told = self.embed_time(angles) if self.time else torch.zeros_like(angles)
        if self.conditioner is None:
            if condition is not None:
                raise ValueError(
                    f"condition must be None for a model without; got shape {tuple(condition.shape)}"
                )
            return F.silu(told)
        chosen = self.null(len(t)) if condition is None else condition
        if len(chosen) != len(t):
            raise ValueError(f"condition must be {len(t)} rows, one for each image; got {len(chosen)}")
        return F.silu(told + self.conditioner(chosen))

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        t: Float[Tensor, " batch"],
        condition: Shaped[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        self._require(x, t)
        embedding = self.embed(t, condition)
        h = F.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last)
        h = self.enter(h)
        made = []
        for level, blocks in enumerate(self.down):
            if level > 0:
                h = self.halvings[level - 1](h)
            for block in cast(nn.ModuleList, blocks):
                h = block(h, embedding)
                made.append(h)
        h = self.attention(h)
        for level, blocks in reversed(list(enumerate(self.up))):
            for block in cast(nn.ModuleList, blocks):
                h = block(self._hand(h, made.pop()), embedding)
            if level > 0:
                h = self.doublings[level - 1](h)
        out = F.pixel_shuffle(self.leave(h), self.patch)
        return out if self.outline is None else out + self.outline(embedding, *x.shape[2:])

    def _hand(self, h: Tensor, skipped: Tensor) -> Tensor:
        """The input of a block on the way up."""
        if self.skips == "add":
            return h + skipped
        return torch.cat([h, skipped], dim=1) if self.skips == "concat" else h

    def _require(self, x: Tensor, t: Tensor) -> None:
        if (
            x.ndim != 4
            or x.shape[1] != self.image_channels
            or x.shape[2] % self.factor
            or x.shape[3] % self.factor
        ):
            raise ValueError(
                f"x must have shape (batch, {self.image_channels}, height, width), height and width "
                f"divisible by {self.factor}; got {tuple(x.shape)}"
            )
        if t.shape != x.shape[:1] or not t.is_floating_point():
            raise ValueError(
                f"t must be floats of shape ({len(x)},), one for each image; "
                f"got {t.dtype} of shape {tuple(t.shape)}"
            )


def _require_sizes(
    image_channels: int, channels: Sequence[int], blocks: int, patch: int, embedding: int
) -> None:
    if min(image_channels, blocks, patch, *channels, len(channels)) < 1:
        raise ValueError(
            "image_channels, channels, blocks and patch must be 1 or more; "
            f"got {image_channels}, {tuple(channels)}, {blocks} and {patch}"
        )
    for width in channels:
        if width % HEAD:
            raise ValueError(f"channels must be multiples of {HEAD}; got {tuple(channels)}")
    if embedding < 2 or embedding % 2:
        raise ValueError(f"embedding must be even, 2 or more; got {embedding}")


@torch.no_grad()
def _initialise(model: nn.Module, rng: torch.Generator | None) -> None:
    """Weights from N(0, 1 / inputs), biases 0; whatever ends a sum or the network starts at zero."""
    for name, module in model.named_modules():
        if isinstance(module, LabelEmbedding):
            module.reset(rng)
        elif isinstance(module, nn.Linear | nn.Conv2d):
            std = 1 / math.sqrt(module.weight[0].numel())
            module.weight.normal_(0, std, generator=rng)
            if name.endswith(("convolution_2", "attention.out", "leave.2", "coefficients")):
                module.weight.zero_()
            if module.bias is not None:
                module.bias.zero_()
