"""Mean squared error and PSNR against scikit-image and torchmetrics, and by hand."""

import math
from inspect import unwrap

import pytest
import torch
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio
from torch.autograd import gradcheck
from torchmetrics.functional.image import peak_signal_noise_ratio as torchmetrics_psnr

from genimg_ref.metrics.pixel import mse, psnr

BOTH = pytest.mark.parametrize("function", [mse, psnr])


def draw(seed, shape=(5, 3, 9, 14)):
    rng = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(shape, generator=rng, dtype=torch.float64) - 1


def test_against_scikit_image():
    a, b = draw(0), draw(1)
    b[1] = 0.9 * a[1]
    for k, (error, ratio) in enumerate(zip(mse(a, b), psnr(a, b), strict=True)):
        x, y = a[k].numpy(), b[k].numpy()
        assert error.item() == pytest.approx(mean_squared_error(x, y), rel=1e-12)
        assert ratio.item() == pytest.approx(peak_signal_noise_ratio(y, x, data_range=2), rel=1e-12)


def test_against_torchmetrics():
    """It keeps the factor from natural to decimal logarithms in float32."""
    a, b = draw(0), draw(1)
    peer = torchmetrics_psnr(a, b, data_range=(-1.0, 1.0), reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(psnr(a, b), peer, rtol=1e-6, atol=0)


def test_by_hand():
    a = torch.zeros(2, 1, 1, 4)
    b = torch.tensor([[[[0.2, -0.2, 0.2, 0.2]]], [[[1.0, 0.0, 0.0, 0.0]]]])
    torch.testing.assert_close(mse(a, b), torch.tensor([0.04, 0.25]))
    torch.testing.assert_close(psnr(a, b), torch.tensor([20.0, 10 * math.log10(16)]))


def test_black_and_white_are_as_far_apart_as_can_be():
    white = torch.ones(1, 3, 4, 4)
    assert mse(white, -white).item() == 4 and psnr(white, -white).item() == 0


def test_equal_images_have_infinite_psnr():
    a = draw(0)
    assert mse(a, a).tolist() == [0.0] * 5
    assert psnr(a, a).tolist() == [math.inf] * 5


def test_images_do_not_mix_and_order_does_not_matter():
    a, b = draw(0), draw(1)
    torch.testing.assert_close(psnr(a, b)[2:4], psnr(b[2:4], a[2:4]))


def test_gradients_and_dtype():
    a, b = draw(0, (2, 1, 2, 3)).requires_grad_(), draw(1, (2, 1, 2, 3))
    assert gradcheck(lambda x: psnr(x, b), a)
    assert psnr(a.float(), b.float()).dtype == torch.float32


@BOTH
@pytest.mark.parametrize(
    ("bad", "told"), [(1.01, "-1 to 1.01"), (-255.0, "-255 to"), (math.nan, "nan"), (math.inf, "to inf")]
)
def test_values_outside_the_range_are_named(function, bad, told):
    a, b = draw(0).clamp(-0.5, 0.5), draw(1)
    a[0, 0, 0, 0] = -1
    a[3, 1, 2, 5] = bad
    with pytest.raises(ValueError, match=rf"images must hold values in \[-1, 1\]; got values from .*{told}"):
        function(a, b)
    with pytest.raises(ValueError, match=r"target must hold values in \[-1, 1\]"):
        function(b, a)


def test_shapes_and_types_are_named():
    a, wrong = draw(0), unwrap(mse)
    with pytest.raises(ValueError, match=r"images must be float32 or float64; got torch\.uint8"):
        wrong(a.byte(), a)
    with pytest.raises(ValueError, match=r"images must be float32 or float64; got torch\.float16"):
        mse(a.half(), a.half())
    with pytest.raises(ValueError, match=r"images must have the dtype of target torch\.float64; got .*32"):
        mse(a.float(), a)
    with pytest.raises(
        ValueError, match=r"must have the shape of target \(5, 3, 9, 14\); got \(4, 3, 9, 14\)"
    ):
        wrong(a[:4], a)
    with pytest.raises(
        ValueError, match=r"must have the shape of target \(5, 3, 9, 14\); got \(5, 1, 9, 14\)"
    ):
        wrong(a[:, :1], a)
    with pytest.raises(ValueError, match=r"images must have shape \(count, channels, .*; got \(3, 9, 14\)"):
        wrong(a[0], a[0])
    with pytest.raises(ValueError, match=r"images must have shape .*; got \(0, 3, 9, 14\)"):
        mse(a[:0], a[:0])
