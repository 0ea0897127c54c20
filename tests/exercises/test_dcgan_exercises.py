"""Wrong answers that the DCGAN exercises do not list are rejected too."""

import pytest
import torch
import torch.nn.functional as F
from collected import Collected
from torch import nn

from genimg_ref.exercises import find
from genimg_ref.exercises.dcgan import Halvings, Sequence64, five_widths, halved
from genimg_ref.exercises.engine import Outcome, diagnose

wrong = Collected()


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


def normal(mean, std, rng):
    return lambda tensor: nn.init.normal_(tensor, mean, std, generator=rng)


def initialise(model, rng, weight=None, gain=None):
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            (weight or normal(0.0, 0.02, rng))(layer.weight)
        elif isinstance(layer, nn.BatchNorm2d):
            (gain or normal(1.0, 0.02, rng))(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def test_the_helper_of_these_tests_is_right():
    assert diagnose(find("init_weights"), initialise, range(5)).outcome is Outcome.RIGHT


@wrong("init_weights")
def glorot(model, rng):
    initialise(model, rng, lambda weight: nn.init.xavier_normal_(weight, generator=rng))


@wrong("init_weights")
def gains_of_one(model, rng):
    initialise(model, rng, gain=nn.init.ones_)


@wrong("init_weights")
def truncated(model, rng):
    initialise(model, rng, lambda w: nn.init.trunc_normal_(w, 0.0, 0.02, -0.04, 0.04, generator=rng))


@wrong("init_weights")
def a_quarter_too_wide(model, rng):
    initialise(model, rng, normal(0.0, 0.025, rng))


@wrong("init_weights")
def global_generator_seeded(model, rng):
    torch.manual_seed(rng.initial_seed())
    initialise(model, None)


@wrong("init_weights")
def global_generator_for_convolutions(model, rng):
    initialise(model, rng, normal(0.0, 0.02, None))


@wrong("init_weights")
def generator_seeded_anew(model, rng):
    initialise(model, torch.Generator().manual_seed(rng.initial_seed()))


@wrong("init_weights")
def copy_of_the_generator(model, rng):
    mine = torch.Generator()
    mine.set_state(rng.get_state())
    initialise(model, mine)


@wrong("init_weights")
def by_class_names(model, rng):
    def visit(layer):
        name = type(layer).__name__
        if "Conv" in name or "BatchNorm" in name:
            nn.init.normal_(layer.weight, float("BatchNorm" in name), 0.02, generator=rng)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    model.apply(visit)


@wrong("init_weights")
def frozen(model, rng):
    initialise(model.requires_grad_(False), rng)


@wrong("init_weights")
def left_in_evaluation(model, rng):
    initialise(model.eval(), rng)


@wrong("init_weights")
def new_parameters(model, rng):
    initialise(model, rng)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.weight = nn.Parameter(layer.weight.detach().clone())


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


@wrong("ema_update")
@torch.no_grad()
def two_levels(average, model, decay):
    def layers(net):
        return [layer for child in net.children() for layer in (child, *child.children())]

    for mine, other in zip(layers(average), layers(model), strict=True):
        tensors = zip(
            [*mine.parameters(recurse=False), *mine.buffers(recurse=False)],
            [*other.parameters(recurse=False), *other.buffers(recurse=False)],
            strict=True,
        )
        for old, new in tensors:
            old.copy_(decay * old + (1 - decay) * new if old.is_floating_point() else new)


@torch.no_grad()
def averaged(average, model, decay):
    for mine, other in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        mine.copy_(decay * mine + (1 - decay) * other if mine.is_floating_point() else other)


@wrong("ema_update")
def model_frozen(average, model, decay):
    averaged(average, model.requires_grad_(False), decay)


@wrong("ema_update")
def model_in_evaluation(average, model, decay):
    averaged(average, model.eval(), decay)


def test_the_average_may_be_frozen():
    def answer(average, model, decay):
        averaged(average.requires_grad_(False).eval(), model, decay)

    assert diagnose(find("ema_update"), answer).outcome is Outcome.RIGHT


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


def finite(*curves):
    return all(curve.isfinite().all() for curve in curves)


def judged(real, fake, spread, data_spread, share=4, late=None, variety=torch.mean, collapse=0.25):
    end = late or len(real) // share
    if variety(spread[-end:]) < collapse * data_spread:
        return "collapsed"
    sure = real[-end:].mean() > 0.9 and fake[-end:].mean() < 0.1
    return "discriminator won" if sure else "healthy"


@wrong("diagnose_training")
def isnan_only(*arguments):
    return "diverged" if any(c.isnan().any() for c in arguments[:3]) else judged(*arguments)


@wrong("diagnose_training")
def probabilities_finite(*arguments):
    return judged(*arguments) if finite(*arguments[:2]) else "diverged"


@wrong("diagnose_training")
def diverged_last(*arguments):
    found = judged(*arguments)
    return "diverged" if found == "healthy" and not finite(*arguments[:3]) else found


@wrong("diagnose_training")
def smallest_late_spread(*arguments):
    return judged(*arguments, variety=torch.min) if finite(*arguments[:3]) else "diverged"


@wrong("diagnose_training")
def largest_late_spread(*arguments):
    return judged(*arguments, variety=torch.max) if finite(*arguments[:3]) else "diverged"


@wrong("diagnose_training")
def last_25_steps(*arguments):
    return judged(*arguments, late=25) if finite(*arguments[:3]) else "diverged"


@wrong("diagnose_training")
def collapsed_below_six_tenths(*arguments):
    return judged(*arguments, collapse=0.6) if finite(*arguments[:3]) else "diverged"


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
def straight_below_three_tenths(a, b, t):
    angle = torch.acos(F.cosine_similarity(a, b, dim=-1).clamp(-1, 1))[:, None]
    arc = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
    return torch.where(angle < 0.3, a + t * (b - a), arc)


@wrong("slerp")
def short_vectors_have_no_direction(a, b, t):
    angle = torch.acos(F.cosine_similarity(a, b, dim=-1, eps=0.01).clamp(-1, 1))[:, None]
    arc = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
    return torch.where(angle < 1e-3, a + t * (b - a), arc)


@pytest.mark.parametrize(("name", "answer"), wrong, ids=[f"{n}-{a.__name__}" for n, a in wrong])
def test_unlisted_mistakes_are_rejected(name, answer):
    assert diagnose(find(name), answer, range(5), seconds=60.0).outcome is not Outcome.RIGHT


def cosine_similarity(a, b):
    return F.cosine_similarity(a, b, dim=-1)[:, None]


def product_of_directions(a, b):
    return (F.normalize(a, dim=-1) * F.normalize(b, dim=-1)).sum(-1, keepdim=True)


def product_over_lengths(a, b):
    return (a * b).sum(-1, keepdim=True) / (a.norm(dim=-1, keepdim=True) * b.norm(dim=-1, keepdim=True))


@pytest.mark.parametrize("clamped", [True, False])
@pytest.mark.parametrize("cosine", [cosine_similarity, product_of_directions, product_over_lengths])
def test_every_spelling_of_the_plain_arc_is_told_of_parallel_rows(cosine, clamped):
    def answer(a, b, t):
        angle = torch.acos(cosine(a, b).clamp(-1, 1) if clamped else cosine(a, b))
        return torch.sin((1 - t) * angle) / torch.sin(angle) * a + torch.sin(t * angle) / torch.sin(angle) * b

    for seed in range(10):
        assert "parallel" in diagnose(find("slerp"), answer, [seed]).hint


def test_slerp_is_asked_for_values_alone():
    def answer(a, b, t):
        return find("slerp").reference(a.detach(), b.detach(), t)

    assert diagnose(find("slerp"), answer).outcome is Outcome.RIGHT


def test_a_wrong_layer_is_named():
    def answer(model, rng):
        initialise(model, rng, normal(0.0, 0.1, rng))

    told = diagnose(find("init_weights"), answer).message
    assert "layer 1 (Conv2d), weight" in told
