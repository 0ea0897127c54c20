"""Structural similarity against scikit-image, torchmetrics and a loop over windows."""

import math
from inspect import unwrap

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch.autograd import gradcheck
from torch.nn.functional import avg_pool2d
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from genimg_ref.metrics.ssim import WEIGHTS, ms_ssim, ssim

AUTHORS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 2.0}
BOTH = pytest.mark.parametrize("function", [ssim, lambda x, y: ms_ssim(x, y, (0.4, 0.6))])


def draw(seed, shape=(3, 3, 31, 24)):
    """Smooth pictures with a little noise, in [-1, 1]."""
    rng = torch.Generator().manual_seed(seed)
    count, channels, height, width = shape
    coarse = torch.rand(count, channels, height // 5 + 1, width // 5 + 1, generator=rng, dtype=torch.float64)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return (1.8 * smooth + 0.1 * torch.rand(shape, generator=rng, dtype=torch.float64) - 0.9).clamp(-1, 1)


def pair(shape=(3, 3, 31, 24)):
    """Images and worse versions: noisy, darker, and unlike."""
    x = draw(0, shape)
    y = x.clone()
    y[0] = (x[0] + 0.3 * draw(1, shape)[0]).clamp(-1, 1)
    y[1] = 0.5 * x[1] - 0.5
    y[2:] = draw(2, shape)[2:]
    return x, y


def by_scikit_image(x, y, **arguments):
    return torch.tensor(
        [
            structural_similarity(a.numpy(), b.numpy(), channel_axis=0, **(AUTHORS | arguments))
            for a, b in zip(x, y, strict=True)
        ],
        dtype=torch.float64,
    )


@pytest.mark.parametrize("shape", [(3, 3, 31, 24), (3, 1, 28, 28), (3, 4, 11, 40), (3, 1, 11, 11)])
def test_against_scikit_image(shape):
    x, y = pair(shape)
    torch.testing.assert_close(ssim(x, y), by_scikit_image(x, y), rtol=1e-10, atol=1e-12)


def test_against_torchmetrics_inside_the_border():
    """Its mean includes windows that reach over the border into a reflection, 5 pixels wide."""
    x, y = pair()
    mean, full = structural_similarity_index_measure(
        x, y, data_range=2.0, reduction="none", return_full_image=True
    )
    torch.testing.assert_close(ssim(x, y), full[..., 5:-5, 5:-5].mean(dim=(1, 2, 3)), rtol=1e-6, atol=1e-9)
    assert (mean - ssim(x, y)).abs().max() > 1e-3


def test_against_a_loop_over_windows():
    """Weighted means, variances and a covariance, each about its own mean."""
    x, y = pair((3, 1, 12, 13))
    line = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    weights = np.outer(line, line) / line.sum() ** 2
    c1, c2 = 0.02**2, 0.06**2
    found = []
    for i in range(2):
        for j in range(3):
            a, b = (z[0, 0, i : i + 11, j : j + 11].numpy() for z in (x, y))
            ma, mb = (weights * a).sum(), (weights * b).sum()
            va, vb = (weights * (a - ma) ** 2).sum(), (weights * (b - mb) ** 2).sum()
            cov = (weights * (a - ma) * (b - mb)).sum()
            found.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    assert ssim(x, y)[0].item() == pytest.approx(np.mean(found), rel=1e-12)


@pytest.mark.parametrize(
    ("size", "weights"), [((180, 176), WEIGHTS), ((47, 52), (0.2, 0.3, 0.5)), ((28, 28), (0.3, 0.7))]
)
def test_several_scales_against_scikit_image(size, weights):
    """With ``K1`` huge the luminance is 1, and scikit-image's mean is that of contrast and structure."""
    x, y = pair((3, 2, *size))
    expected = torch.ones(3, 2, dtype=torch.float64)
    a, b = x, y
    for scale, weight in enumerate(weights, start=1):
        last = {} if scale == len(weights) else {"K1": 1e7}
        values = torch.stack([by_scikit_image(a[:, [c]], b[:, [c]], **last) for c in range(2)], dim=1)
        expected *= values.clamp(min=0) ** weight
        a, b = avg_pool2d(a, 2), avg_pool2d(b, 2)
    torch.testing.assert_close(ms_ssim(x, y, weights), expected.mean(dim=1), rtol=1e-9, atol=1e-12)


def test_several_scales_against_torchmetrics():
    """It leaves out windows that reach over the border, except at the coarsest scale."""
    x, y = pair((3, 1, 181, 190))
    theirs = multiscale_structural_similarity_index_measure(
        x, y, data_range=2.0, reduction="none", normalize="relu"
    )
    a, b = x, y
    for _ in range(4):
        a, b = avg_pool2d(a, 2), avg_pool2d(b, 2)
    last = structural_similarity_index_measure(a, b, data_range=2.0, reduction="none")
    expected = theirs * (ssim(a, b) / last) ** WEIGHTS[-1]
    torch.testing.assert_close(ms_ssim(x, y), expected, rtol=1e-6, atol=0)
    assert (ms_ssim(x, y) - theirs).abs().max() > 1e-4


def test_one_scale_is_ssim():
    x, y = pair()
    x, y = x[:2, :1], y[:2, :1]
    torch.testing.assert_close(ms_ssim(x, y, (1.0,)), ssim(x, y).clamp(min=0))


def test_of_itself_it_is_one():
    x = draw(0, (2, 3, 176, 180))
    torch.testing.assert_close(ssim(x, x), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(ms_ssim(x, x), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-12)


def test_flat_images_have_their_closed_form():
    """No structure to differ in: ``(2 a b + C_1) / (a^2 + b^2 + C_1)``, and 1 for contrast."""
    a, b = torch.full((1, 1, 22, 22), -1.0), torch.full((1, 1, 22, 22), 0.5)
    expected = (2 * -0.5 + 4e-4) / (1.25 + 4e-4)
    assert ssim(a, b).item() == pytest.approx(expected, rel=1e-6)
    assert ssim(a, a).item() == pytest.approx(1.0, abs=1e-7)
    assert ms_ssim(a, b, (0.5, 0.5)).item() == 0.0  # a negative number has no root


def test_negatives_are_unlike():
    stripes = (torch.arange(24) % 2 * 1.8 - 0.9).expand(2, 3, 30, 24)
    assert (ssim(stripes, -stripes) < -0.9).all()
    assert ms_ssim(stripes, -stripes, (0.5, 0.5)).tolist() == [0.0, 0.0]


def test_more_noise_is_less_similar():
    x, noise = draw(0, (1, 1, 40, 40)) * 0.5, draw(7, (1, 1, 40, 40)) * 0.5
    for function in (ssim, lambda x, y: ms_ssim(x, y, (0.4, 0.6))):
        values = [function(x, x + size * noise).item() for size in (0.1, 0.3, 1.0)]
        assert 1 > values[0] > values[1] > values[2]


@BOTH
def test_symmetry_flips_and_images_by_themselves(function):
    x, y = pair()
    base = function(x, y)
    torch.testing.assert_close(function(y, x), base)
    torch.testing.assert_close(ssim(x.flip(2).mT, y.flip(2).mT), ssim(x, y))
    torch.testing.assert_close(function(x[1:2], y[1:2]), base[1:2])
    torch.testing.assert_close(function(x[:, [2, 0, 1]], y[:, [2, 0, 1]]), base)


def test_float32_loses_nothing_but_its_own_digits():
    x, y = pair()
    x = (0.01 * x + 0.95).float()  # nearly flat and bright: variances far below the squares
    y = (0.01 * y + 0.95).float()
    assert ssim(x, y).dtype == torch.float32
    torch.testing.assert_close(ssim(x, y), ssim(x.double(), y.double()).float(), rtol=0, atol=0)


@BOTH
def test_gradients(function):
    x, y = pair((2, 1, 22, 23))
    y[1] = 0.8 * x[1]
    assert gradcheck(lambda z: function(z, y), x.requires_grad_(), fast_mode=True)


@BOTH
@pytest.mark.parametrize("bad", [1.5, -3.0, 255.0, math.nan, -math.inf])
def test_values_outside_the_range_are_named(function, bad):
    x, y = pair()
    y[1, 2, 3, 4] = bad
    with pytest.raises(ValueError, match=r"target must hold values in \[-1, 1\]; got values from"):
        function(x, y)
    with pytest.raises(ValueError, match=r"images must hold values in \[-1, 1\]; got values from"):
        function(y, x)


def test_images_that_are_too_small_are_named():
    x, y = pair((3, 1, 28, 10))
    with pytest.raises(
        ValueError, match=r"at least 11 pixels high and wide for 1 scale\(s\); got \(28, 10\)"
    ):
        ssim(x, y)
    x, y = pair((3, 1, 175, 200))
    with pytest.raises(
        ValueError, match=r"at least 176 pixels high and wide for 5 scale\(s\); got \(175, 200\)"
    ):
        ms_ssim(x, y)
    with pytest.raises(ValueError, match=r"at least 22 pixels .* got \(21, 40\)"):
        ms_ssim(x[:, :, :21, :40], y[:, :, :21, :40], (0.5, 0.5))


@pytest.mark.parametrize("weights", [(), (0.5,), (0.5, 0.6), (1.5, -0.5), (1.0, 0.0), (math.nan, 0.5)])
def test_bad_weights_are_named(weights):
    x, y = pair()
    with pytest.raises(ValueError, match=r"weights must be positive and sum to 1; got \("):
        ms_ssim(x, y, weights)


@pytest.mark.parametrize("function", [ssim, ms_ssim])
def test_shapes_and_types_are_named(function):
    x, wrong = draw(0), unwrap(function)
    with pytest.raises(ValueError, match=r"images must be float32 or float64; got torch\.uint8"):
        wrong(x.byte(), x)
    with pytest.raises(ValueError, match=r"images must have the dtype of target torch\.float64; got .*32"):
        wrong(x.float(), x)
    with pytest.raises(
        ValueError, match=r"must have the shape of target \(3, 3, 31, 24\); got \(2, 3, 31, 24\)"
    ):
        wrong(x[:2], x)
    with pytest.raises(ValueError, match=r"images must have shape \(count, channels, .*; got \(31, 24\)"):
        wrong(x[0, 0], x[0, 0])
    with pytest.raises(ValueError, match=r"images must have shape .*; got \(0, 3, 31, 24\)"):
        wrong(x[:0], x[:0])
