"""A small transformer that writes codes one after the other: what makes a VQ-VAE generate.

Chapter: vae

Papers:

- Van den Oord, Vinyals and Kavukcuoglu, *Neural Discrete Representation Learning*, 2017, arXiv:1711.00937
  (section 3.3: an autoregressive prior, fitted to the codes when these are fixed; theirs is a PixelCNN)
- Vaswani et al., *Attention Is All You Need*, 2017, arXiv:1706.03762 (equation 1 and the mask, section 3.2)
- Esser, Rombach and Ommer, *Taming Transformers for High-Resolution Image Synthesis*, 2020, arXiv:2012.09841
  (a transformer in this place)

``log p(codes) = sum_i log p(code_i | code_0 ... code_(i-1))``, row by row from the top left. Training sees
all places at once, and a mask keeps each from looking at itself and at what follows; sampling goes place by
place, and keeps the keys and values of the places before.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from genimg_ref.nn.labels import attributes, require_labels
from genimg_ref.train.ema import EMA
from genimg_ref.train.loop import run

__all__ = ["CodePrior", "PriorStep", "evaluate", "log_likelihood", "sample", "train", "update"]

BATCH = 500  # code grids that are in the network at a time where nothing is trained
Cache = tuple[Tensor, Tensor]  # keys and values of the places before, (batch, heads, places, width / heads)


class _Block(nn.Module):
    """Attention to this place and those before, then a layer of its own for each place; both are added."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_layer = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.layer = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, x: Float[Tensor, "batch places width"], cache: Cache | None = None
    ) -> tuple[Float[Tensor, "batch places width"], Cache]:
        """All places at once; or, with a ``cache``, the one place that comes after those in it."""
        parts = self.queries_keys_values(self.norm_attention(x)).unflatten(2, (3, self.heads, -1))
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        if cache is not None:
            keys, values = torch.cat([cache[0], keys], dim=2), torch.cat([cache[1], values], dim=2)
        seen = F.scaled_dot_product_attention(queries, keys, values, is_causal=cache is None)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.layer(self.norm_layer(x)), (keys, values)


class CodePrior(nn.Module):
    """Logits of the code at each place of a ``shape = (height, width)`` grid, given the codes before it.

    Args:
        codes: entries of the codebook.
        shape: height and width of the grid.
        width: numbers with which the network describes a place.
        layers: blocks of attention.
        heads: of the attention; they share the width.
        classes: of labels, which take the place of the start sign; 0 for none.
        rng: for the initial weights.

    Raises:
        ValueError: for numbers below 1, or heads which do not divide the width.
    """

    def __init__(
        self,
        codes: int,
        shape: tuple[int, int] = (7, 7),
        *,
        width: int = 64,
        layers: int = 3,
        heads: int = 4,
        classes: int = 0,
        rng: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if min(codes, *shape, width, layers, heads) < 1 or width % heads:
            raise ValueError(
                "codes, shape, width, layers and heads must be 1 or more and heads divide width; "
                f"got {codes}, {shape}, {width}, {layers} and {heads}"
            )
        self.codes, self.shape, self.classes = codes, shape, classes
        self.token = nn.Embedding(codes, width)
        self.start = nn.Embedding(max(1, classes), width)
        self.place = nn.Parameter(torch.empty(shape[0] * shape[1], width))
        self.blocks = nn.ModuleList([_Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, codes)
        for name, weight in self.named_parameters():
            if weight.ndim > 1:
                std = 0.02 if name in ("token.weight", "start.weight", "place") else weight.shape[1] ** -0.5
                nn.init.normal_(weight, std=std, generator=rng)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def starts(self, count: int, labels: Int[Tensor, " count"] | None) -> Float[Tensor, "count 1 width"]:
        """The vector that stands before the first code.

        Raises:
            ValueError: when labels are missing, not asked for, or outside 0 ... classes - 1.
        """
        require_labels(labels, self.classes)
        if labels is None:
            rows = torch.zeros(count, dtype=torch.long, device=self.place.device)
        else:
            rows = attributes(labels, self.classes, count)[:, 0]
        return self.start(rows)[:, None]

    def forward(
        self, codes: Int[Tensor, "batch height width"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch height width codes"]:
        """Logits of every place at once; those of place i depend on codes 0 ... i - 1 and the label."""
        if tuple(codes.shape[1:]) != self.shape:
            raise ValueError(f"codes must have shape (batch, *{self.shape}); got {tuple(codes.shape)}")
        before = self.token(codes.flatten(1)[:, :-1])
        x = torch.cat([self.starts(len(codes), labels), before], dim=1) + self.place
        for block in self.blocks:
            x, _ = block(x)
        return self.head(self.norm(x)).unflatten(1, self.shape)


def log_likelihood(
    prior: CodePrior, codes: Int[Tensor, "batch height width"], labels: Int[Tensor, " batch"] | None = None
) -> Float[Tensor, " batch"]:
    """``log p(codes)`` of each grid in nats, summed over its places."""
    logits = prior(codes, labels)
    return -F.cross_entropy(logits.movedim(-1, 1), codes, reduction="none").flatten(1).sum(dim=1)


@torch.no_grad()
def evaluate(
    prior: CodePrior, codes: Int[Tensor, "count height width"], labels: Int[Tensor, " count"] | None = None
) -> Float[Tensor, " count"]:
    """:func:`log_likelihood`, some grids at a time, without gradients."""
    rows = [slice(first, first + BATCH) for first in range(0, len(codes), BATCH)]
    return torch.cat(
        [log_likelihood(prior, codes[part], None if labels is None else labels[part]) for part in rows]
    )


@torch.no_grad()
def sample(
    prior: CodePrior,
    count: int,
    rng: torch.Generator,
    labels: Int[Tensor, " count"] | None = None,
    temperature: float = 1.0,
) -> Int[Tensor, "{count} height width"]:
    """Draw ``count`` grids of codes, each code given those before it; with ``labels`` one grid of each.

    Logits are divided by ``temperature``: 1 for what the prior learned, below 1 for its likelier codes.

    Raises:
        ValueError: for a count below 1 or a temperature not above 0.
    """
    if count < 1 or not temperature > 0:
        raise ValueError(f"count must be 1 or more and temperature above 0; got {count} and {temperature}")
    x = prior.starts(count, labels)
    caches: list[Cache | None] = [None] * len(prior.blocks)
    drawn = []
    for place in prior.place:
        x = x + place
        for i, block in enumerate(prior.blocks):
            x, caches[i] = block(x, caches[i])
        probabilities = (prior.head(prior.norm(x[:, 0])) / temperature).softmax(dim=1)
        code = torch.multinomial(probabilities.to(rng.device), 1, generator=rng).to(x.device)
        drawn.append(code)
        x = prior.token(code)
    return torch.cat(drawn, dim=1).unflatten(1, prior.shape)


class PriorStep(NamedTuple):
    """The step's number (from 1) and the mean ``log p(codes)`` of its batch in nats a grid."""

    number: int
    log_likelihood: float


def update(
    prior: CodePrior,
    optimiser: Optimizer,
    codes: Int[Tensor, "batch height width"],
    labels: Int[Tensor, " batch"] | None = None,
    *,
    number: int = 1,
) -> PriorStep:
    """One step up the likelihood of a batch of codes."""
    value = log_likelihood(prior, codes, labels).mean()
    optimiser.zero_grad()
    (-value / codes[0].numel()).backward()
    optimiser.step()
    return PriorStep(number, value.item())


def train(
    prior: CodePrior,
    optimiser: Optimizer,
    codes: Int[Tensor, "data height width"],
    *,
    steps: int,
    rng: torch.Generator,
    batch_size: int = 64,
    labels: Int[Tensor, " data"] | None = None,
    ema: EMA | None = None,
    start: int = 0,
    progress: bool = True,
) -> Iterator[PriorStep]:
    """Train up to step number ``steps``, yielding after each step, when the optimiser has moved."""
    device = prior.place.device

    def one(number: int) -> PriorStep:
        rows = torch.randint(len(codes), (batch_size,), generator=rng, device=rng.device).to(codes.device)
        chosen = None if labels is None else labels[rows.to(labels.device)].to(device)
        step = update(prior, optimiser, codes[rows].to(device), chosen, number=number)
        if ema is not None:
            ema.update(prior)
        return step

    def describe(step: PriorStep) -> str:
        return f"log p {step.log_likelihood:.1f}"

    return run(one, steps=steps, start=start, describe=describe if progress else None)
