"""Labels as a network takes them: one class an image, or several attributes, each with its own values.

Chapter: cgan

Labels are whole numbers, ``(batch,)`` for one class or ``(batch, attributes)``; ``classes`` says how many
values each attribute has, as one number or as a sequence. All values of all attributes stand in one row, so
that one table of vectors serves them: an image with three attributes has three of its vectors, summed.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

__all__ = ["LabelEmbedding", "attributes", "one_hot", "require_labels", "sizes", "table_rows"]


def sizes(classes: int | Sequence[int]) -> list[int]:
    """How many values each attribute has.

    Raises ``ValueError`` where there is none, or one of fewer than one value.
    """
    found = [classes] if isinstance(classes, int) else list(classes)
    if not found or min(found) < 1:
        raise ValueError(f"classes must be one or more numbers of 1 or more; got {classes!r}")
    return found


def attributes(
    labels: Shaped[Tensor, "..."], classes: int | Sequence[int], batch: int | None = None
) -> Int[Tensor, "batch attributes"]:
    """The labels, checked, as int64 with a column for each attribute, or one column for one class an image.

    Raises ``ValueError``, naming what is expected and what came, for labels that are not whole numbers
    (one-hot rows, say), of the wrong shape, fewer or more than ``batch``, or out of range.
    """
    counts = sizes(classes)
    shape = "(batch,)" if isinstance(classes, int) else f"(batch, {len(counts)})"
    fits = labels.ndim == 1 if isinstance(classes, int) else labels.shape[1:] == (len(counts),)
    if not fits or labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(
            f"labels must be whole numbers of shape {shape}, not one-hot; "
            f"got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    if batch is not None and len(labels) != batch:
        raise ValueError(f"labels must be {batch}, one for each row of the batch; got {len(labels)}")
    table = labels.long().view(-1, len(counts))
    outside = (table < 0) | (table >= torch.tensor(counts, device=labels.device))
    if outside.any():
        row, column = outside.nonzero()[0].tolist()
        which = "" if isinstance(classes, int) else f" in column {column}"
        raise ValueError(
            f"labels must lie in 0 ... {counts[column] - 1}{which}; got {table[row, column].item()}"
        )
    return table


def require_labels(labels: Shaped[Tensor, "..."] | None, classes: int) -> None:
    """Raise ``ValueError`` where labels are missing, or given to a model of 0 classes, which takes none."""
    if (labels is None) != (classes == 0):
        came = "none" if labels is None else f"shape {tuple(labels.shape)}"
        raise ValueError(f"labels must be {'given' if classes else 'None'} for {classes} classes; got {came}")


def table_rows(
    labels: Shaped[Tensor, "..."], classes: int | Sequence[int]
) -> Int[Tensor, "batch attributes"]:
    """For each attribute of each image the row of a table that lists the values of all attributes in turn.

    Raises ``ValueError`` as :func:`attributes` does.
    """
    counts = torch.tensor(sizes(classes), device=labels.device)
    return attributes(labels, classes) + counts.cumsum(0) - counts


def one_hot(labels: Shaped[Tensor, "..."], classes: int | Sequence[int]) -> Float[Tensor, "batch values"]:
    """A 1 for the value of each attribute, 0 elsewhere; as many columns as there are values in all."""
    rows = table_rows(labels, classes)
    return torch.zeros(len(rows), sum(sizes(classes)), device=rows.device).scatter_(1, rows, 1.0)


class LabelEmbedding(nn.Module):
    """A learned vector for each value of each attribute; an image gets the sum of its own.

    Args:
        classes: number of values, of each attribute if there are several.
        dim: length of the vectors.
        mean, std: of the normal distribution from which :meth:`reset` draws them.
    """

    def __init__(
        self, classes: int | Sequence[int], dim: int, *, mean: float = 0.0, std: float = 1.0
    ) -> None:
        super().__init__()
        self.classes, self.mean, self.std = classes, mean, std
        self.weight = nn.Parameter(torch.empty(sum(sizes(classes)), dim))
        self.reset()

    @torch.no_grad()
    def reset(self, rng: torch.Generator | None = None) -> None:
        """Draw all vectors anew."""
        self.weight.normal_(self.mean, self.std, generator=rng) if self.std else self.weight.fill_(self.mean)

    def forward(self, labels: Shaped[Tensor, "..."]) -> Float[Tensor, "batch dim"]:
        return self.weight[table_rows(labels, self.classes)].sum(dim=1)
