"""Mean squared error and peak signal-to-noise ratio of images, pixel by pixel.

Chapter: metrics

They compare an image with the one it should be, as in compression or super-resolution. They say nothing about
generators, whose images should be like none in particular; and a blurred image often beats a sharp one that
is off by a pixel.

Paper: Wang and Bovik, *Mean squared error: love it or leave it?*, IEEE Signal Processing Magazine 26, 2009.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from genimg_ref.metrics.checks import require_images, require_same_shape

__all__ = ["DATA_RANGE", "mse", "psnr"]

DATA_RANGE = 2.0  # from -1 to 1


def mse(
    images: Float[Tensor, "count channels height width"], target: Float[Tensor, "count channels height width"]
) -> Float[Tensor, " count"]:
    """The mean squared error of each image over its channels and pixels, in units of [-1, 1]: from 0 to 4.

    On pixels from 0 to 255 it would be ``127.5^2`` times as large.

    Raises ``ValueError`` for images of different shape or dtype, integers, and values outside [-1, 1].
    """
    require_images("images", images)
    require_images("target", target)
    require_same_shape("images", images, "target", target)
    if images.dtype != target.dtype:
        raise ValueError(f"images must have the dtype of target {target.dtype}; got {images.dtype}")
    return (images - target).square().mean(dim=(1, 2, 3))


def psnr(
    images: Float[Tensor, "count channels height width"], target: Float[Tensor, "count channels height width"]
) -> Float[Tensor, " count"]:
    """``10 log10(2^2 / mse)`` of each image, in decibels; infinite where nothing differs.

    The 2 is the range of the data; whoever takes 1 for images in [-1, 1] is told 6.02 dB too few. The mean of
    this over images is what is usually reported; it is not the PSNR of the mean error.

    Raises ``ValueError`` as `mse` does.
    """
    return 10 * torch.log10(DATA_RANGE**2 / mse(images, target))
