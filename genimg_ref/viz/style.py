"""The palette and the matplotlib settings that every figure of the course shares.

The same colours are custom properties in the book's style sheet. They keep apart under the three common forms
of colour blindness, and each has a contrast of at least 3:1 on the paper colour. Figures carry that paper
colour themselves, so that they read alike on the light and the dark page.

Call :func:`use` once, in a notebook's imports cell, before the first figure.
"""

from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap

__all__ = ["ACCENT", "CYCLE", "FAKE", "FIELD", "GOLD", "INK", "MUTED", "PAPER", "PLUM", "REAL", "use"]

PAPER = "#FBF8F2"
INK = "#26292E"
MUTED = "#767168"
REAL = "#1F6391"
FAKE = "#BA472B"
ACCENT = "#0C9B7E"
GOLD = "#9E921E"
PLUM = "#4F1D4A"
CYCLE = [REAL, FAKE, ACCENT, GOLD, PLUM]

FIELD = LinearSegmentedColormap.from_list("genimg_field", ["#E6A183", PAPER, "#85B1CF"])
"""For decision surfaces: 0 (fake) is the tint of ``FAKE``, 1/2 is paper, 1 (real) is the tint of ``REAL``."""

_SETTINGS: Any = {  # Any: matplotlib types each key
    "figure.facecolor": PAPER,
    "figure.edgecolor": PAPER,
    "figure.figsize": (6.8, 3.8),
    "figure.dpi": 100,
    "savefig.facecolor": PAPER,
    "savefig.pad_inches": 0.12,
    "font.size": 10,
    "text.color": INK,
    "axes.facecolor": PAPER,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,  # on, it would cross every image: curves ask for it with axes.grid(True)
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=CYCLE),
    "grid.color": "#E4DED2",
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "scatter.edgecolors": "none",
    "patch.edgecolor": PAPER,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
}


def use() -> None:
    """Set matplotlib's defaults to the course's look, for all figures made from here on."""
    mpl.rcParams.update(_SETTINGS)
