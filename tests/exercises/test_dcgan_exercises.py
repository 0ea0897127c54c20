"""Wrong answers that the DCGAN exercises do not list are rejected too."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genimg_ref.exercises import find
from genimg_ref.exercises.dcgan import Halvings, Sequence64, five_widths, halved
from genimg_ref.exercises.engine import Outcome, diagnose

WRONG = []


def wrong(name):
    def add(answer):
        WRONG.append((name, answer))
        return answer

    return add


@wrong("conv_transpose_output_size")
def larger_of_the_two(size, kernel, stride, padding):
    return max(size * stride, (size - 1) * stride - 2 * padding + kernel)


@wrong("conv_transpose_output_size")
def with_output_padding(size, kernel, stride, padding):
    return (size - 1) * stride - 2 * padding + kernel + stride - 1


@wrong("transposed_convolution")
def no_gradient_to_x(x, weight, stride, padding):
    return F.conv_transpose2d(x.detach(), weight, stride=stride, padding=padding)


@wrong("transposed_convolution")
def kernel_on_its_side(x, weight, stride, padding):
    return F.conv_transpose2d(x, weight.transpose(2, 3), stride=stride, padding=padding)


@wrong("transposed_convolution")
def double_precision(x, weight, stride, padding):
    return F.conv_transpose2d(x.double(), weight.double(), stride=stride, padding=padding)


def initialise(model, weight, gain):
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            (gain if isinstance(layer, nn.BatchNorm2d) else weight)(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@wrong("init_weights")
def glorot(model, rng):
    initialise(model, nn.init.xavier_normal_, lambda gain: nn.init.normal_(gain, 1.0, 0.02))


@wrong("init_weights")
def gains_of_one(model, rng):
    initialise(model, lambda weight: nn.init.normal_(weight, 0.0, 0.02), nn.init.ones_)


@wrong("init_weights")
def truncated(model, rng):
    def weight(tensor):
        nn.init.trunc_normal_(tensor, 0.0, 0.02, -0.04, 0.04)

    initialise(model, weight, lambda gain: nn.init.normal_(gain, 1.0, 0.02))


@wrong("Generator64")
def one_doubling_too_many(latent, channels, image_channels):
    widths = [8 * channels, 4 * channels, 2 * channels, channels, channels, image_channels]
    return Sequence64(latent, widths, [nn.Tanh()])


@wrong("Generator64")
def images_from_zero_to_one(latent, channels, image_channels):
    class Rescaled(nn.Module):
        def forward(self, x):
            return (torch.tanh(x) + 1) / 2

    return Sequence64(latent, five_widths(channels, image_channels), [Rescaled()])


@wrong("Discriminator64")
def sign_exchanged(channels, image_channels):
    return Halvings(halved(channels, image_channels), 128 * channels, ending=lambda logits: -logits[:, 0])


@wrong("Discriminator64")
def mean_over_the_batch(channels, image_channels):
    return Halvings(halved(channels, image_channels), 128 * channels, ending=lambda logits: logits.mean())


@wrong("ema_update")
@torch.no_grad()
def biases_forgotten(average, model, decay):
    for (name, mine), other in zip(average.state_dict().items(), model.state_dict().values(), strict=True):
        if not mine.is_floating_point():
            mine.copy_(other)
        elif not name.endswith("bias"):
            mine.lerp_(other, 1 - decay)


@wrong("ema_update")
@torch.no_grad()
def even_mean(average, model, decay):
    for mine, other in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        mine.copy_((mine + other) / 2 if mine.is_floating_point() else other)


@wrong("diagnose_training")
def always_healthy(real_probability, fake_probability, sample_spread, data_spread):
    return "healthy"


@wrong("diagnose_training")
def only_real_checked_for_nan(real_probability, fake_probability, sample_spread, data_spread):
    end = len(real_probability) // 4
    real, fake, spread = (c[-end:].mean() for c in (real_probability, fake_probability, sample_spread))
    if real_probability.isnan().any():
        return "diverged"
    if spread < data_spread / 3:
        return "collapsed"
    return "discriminator won" if real > 0.9 and fake < 0.1 else "healthy"


@wrong("diagnose_training")
def collapse_against_the_start(real_probability, fake_probability, sample_spread, data_spread):
    end = len(real_probability) // 4
    real, fake, spread = (c[-end:].mean() for c in (real_probability, fake_probability, sample_spread))
    if real_probability.isnan().any() or fake_probability.isnan().any():
        return "diverged"
    if spread < sample_spread[:end].mean() / 3:
        return "collapsed"
    return "discriminator won" if real > 0.9 and fake < 0.1 else "healthy"


@wrong("slerp")
def line_for_all_if_one_is_parallel(a, b, t):
    angle = torch.acos(F.cosine_similarity(a, b, dim=-1).clamp(-1, 1))[:, None]
    if (angle < 1e-3).any():
        return a + t * (b - a)
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


@wrong("slerp")
def square_roots(a, b, t):
    return (1 - t) ** 0.5 * a + t**0.5 * b


@wrong("slerp")
def angle_without_gradient(a, b, t):
    angle = torch.acos(F.cosine_similarity(a, b, dim=-1).clamp(-1, 1))[:, None].detach()
    arc = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
    return torch.where(angle < 1e-3, a + t * (b - a), arc)


@pytest.mark.parametrize(("name", "answer"), WRONG, ids=[f"{n}-{a.__name__}" for n, a in WRONG])
def test_unlisted_mistakes_are_rejected(name, answer):
    assert diagnose(find(name), answer, range(5), seconds=60.0).outcome is not Outcome.RIGHT
