"""What images and features have to be before anything is measured on them.

A measure of quality that quietly accepts broken input prints a number, and the number gets published. Each
check here raises one ``ValueError`` that names the argument, what was expected and what came.
"""

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

__all__ = [
    "LARGEST",
    "as_double",
    "require_features",
    "require_images",
    "require_same_shape",
    "require_same_width",
    "require_varied",
]

# Twelfth powers of features (squares of the cubic kernel of squares) have to fit into float64; no network
# means numbers like this.
LARGEST = 1e24


def as_double(values: Shaped[Tensor, "..."]) -> Float64[Tensor, "..."]:
    """``values`` in float64 on their device, or on the CPU where the device (``mps``) has no float64."""
    if values.device.type == "mps":
        values = values.cpu()
    return values.double()


def require_features(name: str, features: Shaped[Tensor, "..."], at_least: int) -> None:
    """Raise unless ``features`` are ``(count, dim)`` finite floats, at least ``at_least`` rows of them.

    Numbers beyond `LARGEST` are refused like infinities.
    """
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(f"{name} must have shape (count, dim); got {tuple(features.shape)}")
    if not features.is_floating_point():
        raise ValueError(f"{name} must have a floating dtype; got {features.dtype}")
    if len(features) < at_least:
        raise ValueError(f"{name} must hold at least {at_least} rows; got {len(features)}")
    largest = max(abs(bound.item()) for bound in features.detach().aminmax())
    if not largest <= LARGEST:
        raise ValueError(f"{name} must be finite and below {LARGEST:g} in size; got {largest:g}")


def require_varied(name: str, features: Shaped[Tensor, "count dim"]) -> None:
    """Raise when all rows of ``features`` are the same: an extractor that does not see the images."""
    if bool((features == features[0]).all()):
        raise ValueError(f"{name} must differ between images; got the same row {len(features)} times")


def require_same_width(
    name: str, features: Shaped[Tensor, "count dim"], other: str, others: Shaped[Tensor, "number width"]
) -> None:
    """Raise unless both have the same number of columns."""
    if features.shape[1] != others.shape[1]:
        raise ValueError(
            f"{name} must have {others.shape[1]} columns, as {other} has; got {features.shape[1]}"
        )


def require_images(name: str, images: Shaped[Tensor, "..."]) -> None:
    """Raise unless ``images`` are ``(count, channels, height, width)``, float32 or float64, in [-1, 1].

    One part in a million beyond the range passes: rounding in a resampling does that.
    """
    if images.ndim != 4 or images.numel() == 0:
        raise ValueError(
            f"{name} must have shape (count, channels, height, width), none of them 0; "
            f"got {tuple(images.shape)}"
        )
    if images.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name} must be float32 or float64; got {images.dtype}")
    low, high = (bound.item() for bound in images.detach().aminmax())
    if not (low >= -1 - 1e-6 and high <= 1 + 1e-6):
        raise ValueError(f"{name} must hold values in [-1, 1]; got values from {low:g} to {high:g}")


def require_same_shape(
    name: str, images: Shaped[Tensor, "..."], other: str, others: Shaped[Tensor, "..."]
) -> None:
    """Raise unless both have the same shape."""
    if images.shape != others.shape:
        raise ValueError(
            f"{name} must have the shape of {other} {tuple(others.shape)}; got {tuple(images.shape)}"
        )
