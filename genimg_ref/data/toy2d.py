"""Toy distributions in the plane, with densities that are known.

Chapter: gan_math

Each is an object with ``sample(n, generator)`` and ``log_prob(x)``. A :class:`Mixture` (``ring``, ``grid``)
also has the ``means`` and the ``std`` of its Gaussians; a :class:`NoisyCurve` (``moons``, ``swiss_roll``)
is a curve blurred by Gaussian noise of width ``std``.

Ring and grid are the test beds of Metz et al., *Unrolled Generative Adversarial Networks*, 2017,
arXiv:1611.02163, and Srivastava et al., *VEEGAN*, 2017, arXiv:1705.07761.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Mixture", "NoisyCurve", "grid", "moons", "ring", "swiss_roll"]


def _require_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number; got {value}")


def _mean_of_gaussians(
    x: Float[Tensor, "batch 2"], means: Float[Tensor, "modes 2"], std: float
) -> Float[Tensor, " batch"]:
    """``log (1/K) sum_k N(x; mean_k, std^2 I)`` in two dimensions."""
    squared = (x[:, None, :] - means).square().sum(dim=-1)
    normaliser = math.log(2 * math.pi * std**2) + math.log(len(means))
    return torch.logsumexp(-squared / (2 * std**2), dim=1) - normaliser


def _require_count(n: int) -> None:
    if n < 0:
        raise ValueError(f"n must be a number of samples, 0 or more; got {n}")


@dataclass(frozen=True)
class Mixture:
    """Equally likely round Gaussians: ``p(x) = (1/K) sum_k N(x; means[k], std^2 I)``."""

    means: Float[Tensor, "modes 2"]
    std: float

    def __post_init__(self) -> None:
        _require_positive("std", self.std)
        if self.means.ndim != 2 or self.means.shape[1] != 2 or len(self.means) == 0:
            raise ValueError(
                f"means must have shape (modes, 2) with at least one mode; got {tuple(self.means.shape)}"
            )

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n 2"]:
        """``n`` independent points, in the dtype and on the device of ``means``."""
        _require_count(n)
        mode = torch.randint(len(self.means), (n,), generator=generator, device=generator.device)
        noise = torch.randn(n, 2, generator=generator, device=generator.device)
        return self.means[mode.to(self.means.device)] + self.std * noise.to(self.means)

    def log_prob(self, x: Float[Tensor, "batch 2"]) -> Float[Tensor, " batch"]:
        """The log density at ``x``, in nats."""
        return _mean_of_gaussians(x, self.means.to(x), self.std)


@dataclass(frozen=True)
class NoisyCurve:
    """``x = path(t) + std * noise`` with ``t`` uniform on [0, 1): a curve, blurred.

    ``path`` maps positions ``(n,)`` to points ``(n, 2)``.
    """

    path: Callable[[Tensor], Tensor]
    std: float

    def __post_init__(self) -> None:
        _require_positive("std", self.std)

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n 2"]:
        """``n`` independent points."""
        _require_count(n)
        t = torch.rand(n, generator=generator, device=generator.device)
        noise = torch.randn(n, 2, generator=generator, device=generator.device)
        return self.path(t) + self.std * noise

    def log_prob(self, x: Float[Tensor, "batch 2"], nodes: int = 500) -> Float[Tensor, " batch"]:
        """The log density at ``x``, in nats: the integral over ``t`` by the midpoint rule with ``nodes``
        points.

        Accurate as long as neighbouring nodes are much closer than ``std``.
        """
        t = (torch.arange(nodes, dtype=x.dtype, device=x.device) + 0.5) / nodes
        return _mean_of_gaussians(x, self.path(t), self.std)


def ring(modes: int = 8, radius: float = 2.0, std: float = 0.1) -> Mixture:
    """``modes`` Gaussians evenly spaced on a circle; the first lies at ``(radius, 0)``."""
    if modes < 1:
        raise ValueError(f"modes must be 1 or more; got {modes}")
    angle = torch.arange(modes) * (2 * math.pi / modes)
    return Mixture(radius * torch.stack([angle.cos(), angle.sin()], dim=1), std)


def grid(side: int = 5, spacing: float = 1.0, std: float = 0.05) -> Mixture:
    """``side * side`` Gaussians on a square grid centred on the origin."""
    if side < 1:
        raise ValueError(f"side must be 1 or more; got {side}")
    line = (torch.arange(side) - (side - 1) / 2) * spacing
    return Mixture(torch.cartesian_prod(line, line).reshape(-1, 2), std)


def _moons_path(t: Tensor) -> Tensor:
    """The first half of [0, 1) runs along the upper moon, the second half along the lower one."""
    lower = t >= 0.5
    angle = math.pi * (2 * t - lower.to(t))
    x = torch.where(lower, 1 - angle.cos(), angle.cos()) - 0.5
    y = torch.where(lower, 0.5 - angle.sin(), angle.sin()) - 0.25
    return 1.5 * torch.stack([x, y], dim=-1)


def _swiss_roll_path(t: Tensor) -> Tensor:
    """One and a half turns of a spiral, from the inside out, scaled to a radius of 2."""
    angle = 1.5 * math.pi * (1 + 2 * t)
    return torch.stack([angle * angle.cos(), angle * angle.sin()], dim=-1) * (2 / (4.5 * math.pi))


def moons(std: float = 0.1) -> NoisyCurve:
    """Two interlocking half circles of radius 1.5, centred on the origin."""
    return NoisyCurve(_moons_path, std)


def swiss_roll(std: float = 0.1) -> NoisyCurve:
    """A spiral of one and a half turns, radius 2/3 to 2, seen end on."""
    return NoisyCurve(_swiss_roll_path, std)
