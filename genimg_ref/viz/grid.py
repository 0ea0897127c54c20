"""Sheets of images.

Chapter: dcgan.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["show", "tile"]


def tile(
    images: Float[Tensor, "batch channels height width"], columns: int = 8, gap: int = 1
) -> NDArray[np.float32]:
    """Lay images in [-1, 1] out in rows of ``columns``, as one array in [0, 1] for a plotting function.

    The array has shape (height, width) for one channel and (height, width, 3) for three. Values outside
    [-1, 1] are clipped; ``gap`` pixels of white stand between images; an unfinished last row is filled
    with white.

    Raises:
        ValueError: for no images, or for a number of channels that is neither 1 nor 3.
    """
    count, channels, height, width = images.shape
    if count == 0 or channels not in (1, 3):
        raise ValueError(f"images must be at least one, of 1 or 3 channels; got shape {tuple(images.shape)}")
    columns = min(columns, count)
    rows = -(-count // columns)
    values = ((images.detach().float().cpu().clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 1).numpy()
    sheet = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), np.float32)
    for index, image in enumerate(values):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet[:, :, 0] if channels == 1 else sheet


def show(
    images: Float[Tensor, "batch channels height width"],
    columns: int = 8,
    *,
    title: str | None = None,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    inches: float = 0.55,
    ax: Axes | None = None,
) -> Axes:
    """Draw images in [-1, 1] in rows of ``columns``; return the Axes.

    ``row_labels`` writes a word at the left of each row, ``column_labels`` one above each column. Without
    ``ax`` a figure is made in which an image is ``inches`` wide.
    """
    sheet = tile(images, columns)
    if ax is None:
        height, width = sheet.shape[0] / images.shape[2] * inches, sheet.shape[1] / images.shape[3] * inches
        above = (0.3 if title else 0) + (0.2 if column_labels else 0)
        _, ax = plt.subplots(figsize=(width, height + above), layout="constrained")
    ax.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set(xticks=[], yticks=[], title=title or "")
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    if row_labels is not None:
        pitch = images.shape[2] + 1
        ax.set_yticks([row * pitch + (pitch - 2) / 2 for row in range(len(row_labels))], labels=row_labels)
        ax.tick_params(length=0)
    if column_labels is not None:
        pitch = images.shape[3] + 1
        ticks = [column * pitch + (pitch - 2) / 2 for column in range(len(column_labels))]
        ax.xaxis.tick_top()
        ax.set_xticks(ticks, labels=column_labels)
        ax.tick_params(length=0)
    return ax
