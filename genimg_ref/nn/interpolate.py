"""Walking between two points of a latent space: straight and along the sphere.

Chapter: dcgan. Paper: White (2016), Sampling Generative Networks, arXiv:1609.04468, section 2.1.
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["lerp", "slerp"]

PARALLEL = 1e-4  # radians from 0 or pi below which sin(angle) says nothing about the direction


def lerp(
    a: Float[Tensor, "*batch dim"], b: Float[Tensor, "*batch dim"], t: float | Float[Tensor, "*steps"]
) -> Float[Tensor, "*out dim"]:
    """The point ``(1 - t) a + t b`` of the straight line from ``a`` (t = 0) to ``b`` (t = 1).

    ``t`` is a number, or a tensor that broadcasts against the axes of ``a`` and ``b`` before the last:
    two vectors ``(dim,)`` and a ``t`` of shape ``(steps,)`` give a path ``(steps, dim)``.
    """
    share = _share(t, a)
    return (1 - share) * a + share * b


def slerp(
    a: Float[Tensor, "*batch dim"], b: Float[Tensor, "*batch dim"], t: float | Float[Tensor, "*steps"]
) -> Float[Tensor, "*out dim"]:
    """Spherical interpolation: ``(sin((1 - t) w) a + sin(t w) b) / sin(w)``, w being their angle.

    White (2016), section 2.1. For two vectors of one length every point of the path has that length, and
    the path runs at constant speed. ``t`` as in :func:`lerp`. In the limit of parallel vectors this is
    ``lerp``, which is then what is returned.

    Raises:
        ValueError: for a zero vector, which has no direction, and for opposite vectors, between which there
            are infinitely many shortest paths.
    """
    share = _share(t, a)
    length_a = a.norm(dim=-1, keepdim=True)
    length_b = b.norm(dim=-1, keepdim=True)
    if (length_a == 0).any() or (length_b == 0).any():
        raise ValueError("slerp needs vectors with a direction; got a zero vector")
    angle = _angle(a / length_a, b / length_b)
    if (angle > torch.pi - PARALLEL).any():
        raise ValueError("slerp is not defined between opposite vectors: every great circle joins them")
    parallel = angle < PARALLEL
    safe = torch.where(parallel, torch.ones_like(angle), angle)  # keeps 0/0 out of the unused branch
    spherical = (torch.sin((1 - share) * safe) * a + torch.sin(share * safe) * b) / torch.sin(safe)
    return torch.where(parallel, (1 - share) * a + share * b, spherical)


def _share(t: float | Tensor, like: Tensor) -> Tensor:
    """``t`` as a tensor with one more axis at the end, to multiply vectors."""
    return torch.as_tensor(t, dtype=like.dtype, device=like.device).unsqueeze(-1)


def _angle(u: Tensor, v: Tensor) -> Tensor:
    """Angle between unit vectors, accurate near 0 and near pi, where arccos of the dot product is not."""
    return 2 * torch.atan2((u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True))
