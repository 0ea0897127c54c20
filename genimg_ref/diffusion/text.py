"""Captions as a diffusion model takes them: words to numbers, and a small transformer from these to a vector.

Chapter: guidance

Papers:

- Vaswani et al., *Attention Is All You Need*, 2017, arXiv:1706.03762 (the encoder, section 3.1)
- Devlin et al., *BERT*, 2018, arXiv:1810.04805 (a sign before the first word, whose output stands for all)
- Nichol et al., *GLIDE*, 2021, arXiv:2112.10741 (a text encoder trained with the diffusion model, and the
  empty caption as its null condition)

The words are those of :func:`genimg_ref.data.shapes.captions`. Large models take the encoder of a model that
was trained on text, such as CLIP or T5; for thirty words one can learn it along the way.
"""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genimg_ref.data import shapes
from genimg_ref.diffusion.unet import SelfAttention

__all__ = ["LENGTH", "WORDS", "CaptionEncoder", "tokenise", "untokenise"]

LENGTH = 12  # words of the longest caption: a small red circle at the top left on a plain background
PADDING = 0  # the token of places after the last word


def _words() -> tuple[str, ...]:
    """Every word of a caption once: those of the attributes in their order, then those between them."""
    found = [word for values in shapes.ATTRIBUTES.values() for value in values for word in value.split()]
    return tuple(dict.fromkeys([*found, *sorted(shapes.FILLERS)]))


WORDS = _words()
"""All words; the token of ``WORDS[k]`` is ``k + 1``."""


def tokenise(captions: Sequence[str], length: int = LENGTH) -> Int[Tensor, "captions {length}"]:
    """A row of tokens for each caption, filled up with zeros; capitals count as small letters.

    The empty caption is a row of zeros, which is the null condition of :class:`CaptionEncoder`.

    Raises:
        ValueError: for a single string, a word that is not in `WORDS`, or a caption of more than ``length``
            words.
    """
    if isinstance(captions, str):
        raise ValueError(f"captions must be a list of captions; got the string {captions!r}")
    tokens = torch.full((len(captions), length), PADDING)
    for row, caption in zip(tokens, captions, strict=True):
        words = caption.lower().split()
        if len(words) > length:
            raise ValueError(f"captions must have at most {length} words; got {len(words)} in {caption!r}")
        for word in words:
            if word not in WORDS:
                raise ValueError(f"captions must be made of {', '.join(WORDS)}; got {word!r} in {caption!r}")
        row[: len(words)] = torch.tensor([WORDS.index(word) + 1 for word in words], dtype=torch.long)
    return tokens


def untokenise(tokens: Int[Tensor, "captions length"]) -> list[str]:
    """The captions of these tokens."""
    return [" ".join(WORDS[k - 1] for k in row if k != PADDING) for row in tokens.tolist()]


class _Block(nn.Module):
    """Attention to all words, then a layer of its own for each place; both are added."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_attention, self.norm_layer = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.layer = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, x: Float[Tensor, "batch places width"], visible: Bool[Tensor, "batch places"]
    ) -> Float[Tensor, "batch places width"]:
        x = x + self.attention(self.norm_attention(x), visible)
        return x + self.layer(self.norm_layer(x))


class CaptionEncoder(nn.Module):
    """Tokens to one vector a caption, for a :class:`genimg_ref.diffusion.unet.UNet` as its ``conditioner``.

    A learned sign stands before the first word; after a few blocks in which all see one another, its output
    is what is said of the caption. Padding is seen by nobody. Of the empty caption only the sign is left.

    Args:
        dim: length of the vectors, the ``embedding`` of the U-Net.
        width: numbers with which a word is described.
        layers: blocks of attention.
        heads: of the attention; they share the width.
        length: words of the longest caption.
        rng: for the initial weights.

    Raises:
        ValueError: for heads that do not divide the width; from the call, for tokens that do not fit.
    """

    def __init__(
        self,
        dim: int = 128,
        *,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        length: int = LENGTH,
        rng: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.length = length
        self.token = nn.Embedding(len(WORDS) + 1, width, padding_idx=PADDING)
        self.place = nn.Parameter(torch.empty(1 + length, width))  # that of the sign first
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, dim)
        _initialise(self, rng)

    def null(self, count: int) -> Int[Tensor, "{count} {self.length}"]:
        """The tokens of the empty caption, ``count`` times, on the encoder's device."""
        return torch.full((count, self.length), PADDING, device=self.place.device)

    def forward(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch dim"]:
        self._require(tokens)
        sign = self.place[:1].expand(len(tokens), -1, -1)
        x = torch.cat([sign, self.token(tokens) + self.place[1:]], dim=1)
        visible = torch.cat([tokens.new_ones(len(tokens), 1), tokens], dim=1) != PADDING
        for block in self.blocks:
            x = block(x, visible)
        return self.head(self.norm(x[:, 0]))

    def _require(self, tokens: Tensor) -> None:
        whole = not tokens.is_floating_point() and not tokens.is_complex() and tokens.dtype != torch.bool
        if tokens.ndim != 2 or tokens.shape[1] != self.length or not whole:
            raise ValueError(
                f"tokens must be whole numbers of shape (batch, {self.length}); "
                f"got {tokens.dtype} of shape {tuple(tokens.shape)}"
            )
        outside = tokens[(tokens < 0) | (tokens > len(WORDS))]
        if len(outside):
            raise ValueError(f"tokens must lie in 0 ... {len(WORDS)}; got {int(outside[0])}")


@torch.no_grad()
def _initialise(encoder: CaptionEncoder, rng: torch.Generator | None) -> None:
    """Words and places from N(0, 1), other weights from N(0, 1 / inputs), biases 0."""
    encoder.token.weight.normal_(generator=rng)[PADDING] = 0.0
    encoder.place.normal_(generator=rng)
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            module.weight.normal_(0, module.in_features**-0.5, generator=rng)
            cast(Tensor, module.bias).zero_()
