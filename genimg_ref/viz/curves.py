"""Curves of a training run.

Chapter: dcgan.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

__all__ = ["curves", "smooth"]


def smooth(values: Sequence[float], window: int) -> NDArray[np.float64]:
    """Running mean over up to ``window`` values, each with those before it; as long as ``values``."""
    if window < 1:
        raise ValueError(f"window must be at least 1; got {window}")
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=np.float64))])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - window, 0)
    return np.asarray((total[end] - total[start]) / (end - start))


def curves(
    series: Mapping[str, Sequence[float]],
    *,
    colours: Sequence[str],
    ylabel: str,
    xlabel: str = "step",
    window: int = 1,
    every: int = 1,
    ax: Axes | None = None,
) -> Axes:
    """Draw named series over the step; return the Axes.

    With ``window`` above 1 the raw values are drawn faintly and their running mean over them. ``every``
    is the number of steps between two values.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
    for (name, values), colour in zip(series.items(), colours, strict=False):
        steps = every * np.arange(1, len(values) + 1)
        if window > 1:
            ax.plot(steps, values, color=colour, alpha=0.18, linewidth=0.8)
        ax.plot(steps, smooth(values, window), color=colour, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return ax
