"""Structural similarity of images, at one scale and at several.

Chapter: metrics

Each pixel's neighbourhood is compared by mean, variance and covariance under a Gaussian window of 11 x 11
pixels with standard deviation 1.5:

    SSIM = (2 m_x m_y + C_1) (2 s_xy + C_2) / ((m_x^2 + m_y^2 + C_1) (s_x^2 + s_y^2 + C_2))

with ``C_1 = (0.01 L)^2, C_2 = (0.03 L)^2`` and ``L = 2``, the range of the data. Only windows that lie in the
image are used, as in the authors' code; libraries which pad the border (torchmetrics) differ there.

Papers:

- Wang, Bovik, Sheikh and Simoncelli, *Image Quality Assessment: From Error Visibility to Structural
  Similarity*, 2004
- Wang, Simoncelli and Bovik, *Multi-scale structural similarity for image quality assessment*, 2003
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from genimg_ref.metrics.checks import as_double, require_images, require_same_shape
from genimg_ref.metrics.pixel import DATA_RANGE

__all__ = ["WEIGHTS", "ms_ssim", "ssim"]

WINDOW = 11
SIGMA = 1.5
C1, C2 = (0.01 * DATA_RANGE) ** 2, (0.03 * DATA_RANGE) ** 2
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of five scales, finest first


def ssim(
    images: Float[Tensor, "count channels height width"], target: Float[Tensor, "count channels height width"]
) -> Float[Tensor, " count"]:
    """The structural similarity of each image (Wang et al. 2004, equation 13): 1 where equal, at least -1.

    The mean over all windows and channels; each channel is taken by itself. Computed in float64, because
    variances are differences of squares; the answer has the dtype of ``images``.

    Raises ``ValueError`` for images smaller than the window of 11 pixels, of different shape or dtype,
    integers, and values outside [-1, 1].
    """
    _require(images, target, scales=1)
    luminance, structure = _maps(as_double(images), as_double(target))
    return (luminance * structure).mean(dim=(1, 2, 3)).to(images)


def ms_ssim(
    images: Float[Tensor, "count channels height width"],
    target: Float[Tensor, "count channels height width"],
    weights: Sequence[float] = WEIGHTS,
) -> Float[Tensor, " count"]:
    """The similarity at several scales of each image (Wang et al. 2003, equation 7), from 0 to 1.

    Contrast and structure at every scale, luminance at the coarsest only; each to the power of its weight,
    and multiplied. The next scale has the means of 2 x 2 pixels; an odd last row or column is dropped. A mean
    structure below zero, which has no such power, counts as zero. Channels are taken by themselves.

    Five scales need images of at least 176 pixels. For smaller ones give fewer weights that sum to 1, and say
    so: the numbers cannot be compared.

    Raises ``ValueError`` for images too small for the scales, weights that are not positive or do not sum to
    1, and as `ssim` does.
    """
    if len(weights) == 0 or not all(w > 0 for w in weights) or not abs(sum(weights) - 1) < 1e-3:
        raise ValueError(f"weights must be positive and sum to 1; got {tuple(weights)}")
    _require(images, target, scales=len(weights))
    x, y = as_double(images), as_double(target)
    score = x.new_ones(x.shape[:2])
    for scale, weight in enumerate(weights, start=1):
        luminance, structure = _maps(x, y)
        similarity = structure * luminance if scale == len(weights) else structure
        score = score * similarity.mean(dim=(2, 3)).clamp(min=0) ** weight
        x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
    return score.mean(dim=1).to(images)


def _require(images: Tensor, target: Tensor, scales: int) -> None:
    require_images("images", images)
    require_images("target", target)
    require_same_shape("images", images, "target", target)
    if images.dtype != target.dtype:
        raise ValueError(f"images must have the dtype of target {target.dtype}; got {images.dtype}")
    smallest = WINDOW * 2 ** (scales - 1)
    if min(images.shape[2:]) < smallest:
        raise ValueError(
            f"images must be at least {smallest} pixels high and wide for {scales} scale(s); "
            f"got {tuple(images.shape[2:])}"
        )


def _maps(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast times structure, of each window."""
    mean_x, mean_y = _blur(x), _blur(y)
    variances = _blur(x * x) - mean_x**2 + _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return luminance, (2 * covariance + C2) / (variances + C2)


def _blur(x: Tensor) -> Tensor:
    """Weighted means under the window, which is a product of two Gaussians on a line."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    window = window / window.sum()
    planes = x.flatten(0, 1).unsqueeze(1)
    blurred = conv2d(conv2d(planes, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return blurred.view(*x.shape[:2], *blurred.shape[2:])
