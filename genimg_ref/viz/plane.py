"""The plane as a discriminator sees it: decision surface, samples, and where each fake is pushed.

Chapter: gan_math
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from genimg_ref.viz import style

__all__ = ["decision_surface", "mesh", "pushes", "raster", "scatter"]

BANDS = 15  # few flat colours: they read as heights, and their files are small


def mesh(extent: float, side: int) -> Float[Tensor, "points 2"]:
    """The ``side * side`` points of a square grid over [-extent, extent] in both directions, row by row."""
    line = torch.linspace(-extent, extent, side)
    x, y = torch.meshgrid(line, line, indexing="xy")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def decision_surface(
    ax: Axes,
    discriminator: Callable[[Tensor], Tensor],
    *,
    extent: float = 3.0,
    side: int = 80,
) -> Axes:
    """Colour the square [-extent, extent]^2 by ``sigmoid(discriminator(x))``: from fake (0) to real (1).

    ``discriminator`` maps points ``(n, 2)`` to logits ``(n,)``. A line is drawn where it cannot tell (1/2).
    """
    if not extent > 0 or side < 2:
        raise ValueError(f"extent must be positive and side 2 or more; got {extent} and {side}")
    with torch.no_grad():
        logits = discriminator(mesh(extent, side))
    probability = logits.sigmoid().reshape(side, side).cpu().numpy()
    ax.imshow(
        probability,
        origin="lower",
        extent=(-extent, extent, -extent, extent),
        cmap=style.FIELD.resampled(BANDS),
        vmin=0,
        vmax=1,
        interpolation="bilinear",
    )
    if probability.min() < 0.5 < probability.max():
        line = np.linspace(-extent, extent, side)
        ax.contour(line, line, probability, levels=[0.5], colors=[style.MUTED], linewidths=0.8)
    return _bare(ax, extent)


def scatter(
    ax: Axes,
    real: Float[Tensor, "real 2"] | None = None,
    fake: Float[Tensor, "fake 2"] | None = None,
    *,
    extent: float = 3.0,
    size: float = 5.0,
) -> Axes:
    """Draw real points in ``style.REAL`` and fakes, above them, in ``style.FAKE``."""
    for points, colour, name in ((real, style.REAL, "real"), (fake, style.FAKE, "generated")):
        if points is not None:
            x, y = points.detach().cpu().numpy().T
            ax.scatter(x, y, s=size, color=colour, alpha=0.55, linewidths=0, label=name)
    return _bare(ax, extent)


def pushes(
    ax: Axes,
    discriminator: Callable[[Tensor], Tensor],
    fake: Float[Tensor, "fake 2"],
    generator_loss: Callable[[Tensor], Tensor],
    *,
    step: float = 1.0,
) -> Axes:
    """An arrow at each fake: ``-step * n * d loss / d sample``, the move that the loss asks of this sample.

    ``n`` is the number of fakes; it undoes the mean over the batch.
    """
    x = fake.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(generator_loss(discriminator(x)), x)
    arrow = (-step * len(x) * gradient).cpu().numpy()
    at = fake.detach().cpu().numpy()
    ax.quiver(*at.T, *arrow.T, color=style.INK, angles="xy", scale_units="xy", scale=1, width=0.004, zorder=3)
    return ax


def raster(figure: Figure) -> Float[Tensor, "1 3 height width"]:
    """The figure as an image in [-1, 1], for an animation; the figure is closed."""
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]
    plt.close(figure)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def _bare(ax: Axes, extent: float) -> Axes:
    """A square window without ticks."""
    ax.set(xlim=(-extent, extent), ylim=(-extent, extent), xticks=[], yticks=[], aspect="equal")
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax
