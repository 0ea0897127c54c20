"""A table of measurements whose cells are shaded by how far they are from what is wanted.

Chapter: metrics.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from genimg_ref.viz import style

__all__ = ["scorecard"]

SHADE = LinearSegmentedColormap.from_list("genimg_scorecard", [style.PAPER, "#E6A183"])


def scorecard(
    rows: Mapping[str, Sequence[float]],
    columns: Sequence[str],
    *,
    formats: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one row of numbers for each name; return the Axes.

    The first row is what is wanted. A cell is darker the further it is from the first row's, by the root of
    its distance over the largest of its column. ``formats`` are format specifications, one a column.

    Raises:
        ValueError: where a row or ``formats`` has not one entry for each column, or there is no row.
    """
    formats = formats or [".2f"] * len(columns)
    for name, entries in (*rows.items(), ("formats", formats)):
        if len(entries) != len(columns):
            raise ValueError(f"{name} must have {len(columns)} entries, one a column; got {len(entries)}")
    if not rows:
        raise ValueError("rows must hold at least one row; got none")
    values = np.array(list(rows.values()), dtype=float)
    away = np.abs(values - values[0])
    shade = np.sqrt(away / np.maximum(away.max(axis=0), 1e-12))
    if ax is None:
        _, ax = plt.subplots(
            figsize=(2.0 + 0.95 * len(columns), 0.6 + 0.34 * len(rows)), layout="constrained"
        )
    ax.imshow(shade, cmap=SHADE, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for (row, column), value in np.ndenumerate(values):
        ax.text(column, row, format(value, formats[column]), ha="center", va="center", fontsize=9)
    ax.set_xticks(range(len(columns)), labels=columns)
    ax.set_yticks(range(len(rows)), labels=list(rows))
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax
