"""The U-Net: shapes, each part against its definition, what may be switched off, and what is refused."""

import math

import jaxtyping
import pytest
import scipy.fft
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from genimg_ref.diffusion.unet import (
    LabelCondition,
    MapAttention,
    Outline,
    ResidualBlock,
    SelfAttention,
    UNet,
    time_embedding,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def alive(model, seed=1):
    """The model in double precision, with no weight left at zero, as after some training."""
    rng = seeded(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any() or weight.ndim == 1:
                weight.add_(0.1 * torch.randn(weight.shape, generator=rng))
    return model.double()


def small(**settings):
    return alive(UNet(**{"channels": (16, 32), "patch": 2, "embedding": 16, "rng": seeded()} | settings))


def batch(count=3, channels=1, height=8, width=12, seed=2):
    rng = seeded(seed)
    x = torch.randn(count, channels, height, width, generator=rng, dtype=torch.float64)
    return x, torch.rand(count, generator=rng, dtype=torch.float64)


# ---- the embedding of time -------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 1, 7, 999])
def test_time_embedding_is_that_of_positions(step):
    """Entry by entry from the formula, at the step number of a thousand."""
    t = torch.tensor([0.5, step / 1000], dtype=torch.float64)
    got = time_embedding(t, 8)[1]
    for k in range(4):
        angle = step / 10_000 ** (k / 3)
        assert_close(got[k].item(), math.cos(angle))
        assert_close(got[4 + k].item(), math.sin(angle))


def test_time_embedding_tells_all_steps_apart():
    steps = time_embedding(torch.arange(1001, dtype=torch.float64) / 1000, 32)
    distances = torch.cdist(steps, steps) + 1e9 * torch.eye(1001)
    assert distances.min() > 0.1
    assert_close(steps.norm(dim=1), torch.full((1001,), 4.0, dtype=torch.float64))


def test_time_embedding_takes_negative_times():
    """As EDM's c_noise, which is the logarithm of a noise level."""
    t = torch.tensor([-1.5, 1.5])
    before, after = time_embedding(t, 8)
    assert_close(before[:4], after[:4])
    assert_close(before[4:], -after[4:])


# ---- the parts -------------------------------------------------------------------------------------------


def test_attention_is_that_of_torch():
    ours = alive(MapAttention(32))
    theirs = nn.MultiheadAttention(32, 2, batch_first=True).double()
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.attention.queries_keys_values.weight,
            "in_proj_bias": ours.attention.queries_keys_values.bias,
            "out_proj.weight": ours.attention.out.weight,
            "out_proj.bias": ours.attention.out.bias,
        }
    )
    x = batch(2, 32, 3, 5)[0]
    places = F.group_norm(x, 4, ours.norm.weight, ours.norm.bias).permute(0, 2, 3, 1).reshape(2, 15, 32)
    expected = theirs(places, places, places)[0].view(2, 3, 5, 32).permute(0, 3, 1, 2)
    assert_close(ours(x), x + expected)


def test_masked_attention_looks_at_what_is_visible():
    attention = alive(SelfAttention(8, 2))
    x = torch.randn(2, 5, 8, generator=seeded(), dtype=torch.float64)
    visible = torch.tensor([[True, True, True, False, False], [True] * 5])
    together = attention(x, visible)
    assert_close(together[:1, :3], attention(x[:1, :3]))
    assert_close(together[1:], attention(x[1:]))


@pytest.mark.parametrize(("inside", "outside"), [(16, 16), (32, 16)])
def test_residual_block_step_by_step(inside, outside):
    block = alive(ResidualBlock(inside, outside, 6))
    x, told = batch(3, inside, 4, 5)[0], torch.randn(3, 6, generator=seeded(), dtype=torch.float64)
    h = block.convolution_1(F.silu(block.norm_1(x)))
    h = h.view(3, outside // 8, -1)
    h = (h - h.mean(2, keepdim=True)) / (h.var(2, keepdim=True, unbiased=False) + 1e-5).sqrt()
    h = h.view(3, outside, 4, 5)
    numbers = block.scale_shift(told)
    for b in range(3):
        for channel in range(outside):
            scale, shift = numbers[b, channel], numbers[b, outside + channel]
            h[b, channel] = h[b, channel] * (1 + scale) + shift
    expected = block.fit(x) + block.convolution_2(F.silu(h))
    assert_close(block(x, told), expected)


def test_upsampling_may_convolve_first():
    double = small().doublings[0]
    x = batch(2, 32)[0]
    assert_close(double(x), double.convolution(F.interpolate(x, scale_factor=2, mode="nearest")))


# ---- the whole -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"patch": 1},
        {"skips": "concat", "blocks": 2},
        {"skips": "none"},
        {"attention": False},
        {"time": False},
        {"outline": 3},
        {"channels": (16, 16, 32), "patch": 1},
        {"channels": (48,)},
    ],
    ids=str,
)
def test_shapes_and_the_initial_answer(size, settings):
    model = UNet(3, **{"channels": (16, 32), "patch": 2} | settings, rng=seeded())
    x = torch.randn(2, 3, size, size, generator=seeded())
    out = model(x, torch.rand(2, generator=seeded()))
    assert out.shape == x.shape and out.dtype == torch.float32
    assert not out.any()  # the last layer starts at zero


@pytest.mark.parametrize("skips", ["add", "concat", "none"])
@pytest.mark.parametrize(
    ("classes", "labels"), [(0, None), (3, [2, 0, 3, 1]), ([2, 3], [[0, 3], [1, 0], [2, 1], [0, 2]])], ids=str
)
def test_gradients_reach_every_weight(skips, classes, labels):
    """Every row of every matrix too: each label, null or not, and each output of each layer."""
    model = small(skips=skips, blocks=2, classes=classes)
    x, t = batch(4)
    model(x, t, None if labels is None else torch.tensor(labels)).square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad.flatten(1 if weight.ndim > 1 else 0).any(-1).all(), name


def test_images_of_a_batch_do_not_meet():
    model, (x, t) = small(classes=3), batch()
    labels = torch.tensor([2, 0, 3])
    together = model(x, t, labels)
    for i in range(3):
        assert_close(together[i : i + 1], model(x[i : i + 1], t[i : i + 1], labels[i : i + 1]))


def test_time_matters_unless_it_is_switched_off():
    x, t = batch()
    model, timeless = small(), small(time=False)
    assert (model(x, t) - model(x, t + 0.1)).abs().amax((1, 2, 3)).min() > 1e-3
    assert torch.equal(timeless(x, t), timeless(x, t + 0.1))


def test_times_may_be_of_another_dtype():
    model, (x, t) = small(), batch()
    assert_close(model(x, t.float()), model(x, t), atol=1e-3, rtol=1e-3)
    assert model.float()(x.float(), t).dtype == torch.float32


@pytest.mark.parametrize("settings", [{}, {"attention": False}], ids=str)
def test_how_far_a_pixel_reaches(settings):
    """At the lowest level a place sees all others only by attention or where the image is small."""
    model = small(channels=(16, 16), **settings)
    x = batch(1, height=128, width=8)[0].requires_grad_()
    t = torch.tensor([0.5], dtype=torch.float64)
    # group normalisation looks everywhere too: held still, only convolutions and attention remain
    for module in model.modules():
        if isinstance(module, nn.GroupNorm):
            module.forward = lambda h: h
    model(x, t)[0, 0, 0, 0].backward()
    assert bool(x.grad[0, 0, -1].any()) == (settings == {})


@pytest.mark.parametrize(("skips", "alive_"), [("add", True), ("concat", True), ("none", False)])
def test_skips_carry_what_the_lowest_level_cannot(skips, alive_):
    """With the way up from the lowest level cut, only a skip can bring the image to the output."""
    model, (x, t) = small(skips=skips, classes=0), batch()
    with torch.no_grad():
        for weight in model.doublings[0].parameters():
            weight.zero_()
    assert (model(x, t) != model(x + 1, t)).any() == alive_


def test_patches_are_pixels_side_by_side():
    """One pixel moved within its patch moves another channel of the first convolution."""
    model = small(patch=2)
    seen = []
    model.enter.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    x = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    x[0, 0, 4, 7] = 1.0
    model(x, torch.zeros(1, dtype=torch.float64))
    expected = torch.zeros(1, 4, 4, 4, dtype=torch.float64)
    expected[0, 1, 2, 3] = 1.0
    assert torch.equal(seen[0], expected)


def outline(waves=3, channels=2):
    layer = Outline(channels, 5, waves).double()
    torch.manual_seed(0)
    nn.init.normal_(layer.coefficients.weight)
    return layer


def test_an_outline_is_the_inverse_of_a_discrete_cosine_transform():
    """scipy's inverse takes each coefficient but the first twice, and divides by twice the side."""
    layer, embedding = outline(), torch.randn(2, 5, dtype=torch.float64)
    coefficients = torch.zeros(2, 2, 6, 8, dtype=torch.float64)
    coefficients[..., :3, :3] = layer.coefficients(embedding).detach().view(2, 2, 3, 3)
    once = torch.tensor([1.0] + 7 * [0.5], dtype=torch.float64)
    scaled = coefficients * once[:6, None] * once * (2 * 6) * (2 * 8)
    expected = torch.from_numpy(scipy.fft.idctn(scaled.numpy(), axes=(2, 3)))
    assert_close(layer(embedding, 6, 8).detach(), expected)


def test_the_first_wave_is_even_and_the_second_falls():
    rows = outline().cosines(4).detach()
    assert_close(rows[0], torch.ones(4, dtype=torch.float64))
    assert_close(rows[1], torch.tensor([1.0, 3.0, 5.0, 7.0], dtype=torch.float64).mul(math.pi / 8).cos())


@pytest.mark.parametrize("waves", [0, 4])
def test_only_an_outline_tells_places_apart(waves):
    """Of an even image, far from its border, every place gets the same answer unless there is an outline."""
    model = small(outline=waves, attention=False)
    answer = model(torch.ones(1, 1, 128, 128, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    inner = answer[0, 0, 40:-40:4, 40:-40:4]
    assert (inner.std() > 1e-3) == bool(waves)
    assert waves or inner.std() < 1e-12


def test_fewer_waves_than_none_are_refused():
    with pytest.raises(ValueError, match="outline must be 0 or more waves; got -1"):
        UNet(outline=-1)


def test_channels_last_and_contiguous_inputs_agree():
    x, t = batch(3, 3)
    model = small(image_channels=3)
    assert model.enter.weight.is_contiguous(memory_format=torch.channels_last)
    plain = small(image_channels=3).to(memory_format=torch.contiguous_format)
    assert_close(model(x, t), plain(x, t))
    assert_close(model(x.to(memory_format=torch.channels_last), t), model(x, t))
    assert_close(model(x[:, :, ::2, ::3].flip(3), t), plain(x[:, :, ::2, ::3].flip(3).contiguous(), t))


def test_hidden_matrices_and_the_others():
    model = small(classes=3)
    inside, others = model.hidden()
    assert sorted(map(id, [*inside, *others])) == sorted(map(id, model.parameters()))
    names = {id(p): name for name, p in model.named_parameters()}
    inside = {names[id(p)] for p in inside}
    assert all(p.ndim > 1 for name, p in model.named_parameters() if name in inside)
    rest = {name for name, p in model.named_parameters() if p.ndim > 1 and name not in inside}
    assert rest == {
        *("enter.weight", "leave.2.weight", "conditioner.embed.weight"),
        *("embed_time.0.weight", "embed_time.2.weight"),
    }


# ---- conditions ------------------------------------------------------------------------------------------


def test_no_condition_is_the_null_condition():
    model, (x, t) = small(classes=3), batch()
    assert model.null(3).tolist() == [3, 3, 3]
    assert torch.equal(model(x, t), model(x, t, torch.tensor([3, 3, 3])))
    outputs = [model(x, t, torch.full((3,), label)) for label in range(4)]
    for i in range(4):
        for j in range(i):
            assert (outputs[i] - outputs[j]).abs().max() > 1e-3


def test_each_attribute_has_its_null():
    condition = LabelCondition([2, 3], 5)
    assert condition.null(2).tolist() == [[2, 3], [2, 3]]
    weight = condition.embed.weight
    assert weight.shape == (3 + 4, 5)
    assert_close(condition(torch.tensor([[2, 1]])), weight[2:3] + weight[4:5])


def test_any_module_may_make_the_condition():
    class Angles(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 16)

        def forward(self, condition):
            return self.layer(condition)

        def null(self, count):
            return torch.zeros(count, 2, dtype=torch.float64)

    conditioner = Angles()
    before = conditioner.layer.weight.clone()
    model = UNet(channels=(16, 32), patch=2, embedding=16, conditioner=conditioner, rng=seeded())
    assert torch.equal(conditioner.layer.weight, before)  # its weights are its own
    model, (x, t) = alive(model), batch()
    angles = torch.randn(3, 2, generator=seeded(), dtype=torch.float64)
    assert_close(model(x, t), model(x, t, 0 * angles))
    assert not torch.equal(model(x, t), model(x, t, angles))


def test_initial_weights_follow_their_generator_alone():
    first, second = (dict(UNet(classes=10, rng=seeded()).named_parameters()) for _ in range(2))
    other = dict(UNet(classes=10, rng=seeded(1)).named_parameters())
    for name, weight in first.items():
        assert torch.equal(weight, second[name])
        assert not weight.any() or weight.ndim == 1 or not torch.equal(weight, other[name])


@pytest.fixture
def unannotated(monkeypatch):
    """As readers call it: what the annotations say is not checked, so that the code's own checks are met."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.usefixtures("unannotated")
def test_odd_input_is_refused():
    model = small(classes=3)
    x, t = batch()
    with pytest.raises(
        ValueError, match=r"x must have shape \(batch, 1, .* divisible by 4; got \(3, 2, 8, 8\)"
    ):
        model(torch.zeros(3, 2, 8, 8), t)
    with pytest.raises(ValueError, match=r"divisible by 4; got \(3, 1, 8, 10\)"):
        model(torch.zeros(3, 1, 8, 10), t)
    with pytest.raises(
        ValueError, match=r"t must be floats of shape \(3,\).*; got torch.float64 of shape \(2,\)"
    ):
        model(x, t[:2])
    with pytest.raises(ValueError, match=r"t must be floats .*; got torch.int64 of shape \(3,\)"):
        model(x, torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match="condition must be 3 rows, one for each image; got 2"):
        model(x, t, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"labels must lie in 0 ... 3; got 4"):
        model(x, t, torch.tensor([0, 4, 1]))
    with pytest.raises(ValueError, match=r"condition must be None for a model without; got shape \(3,\)"):
        small()(x, t, torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="null needs a model with classes"):
        small().null(2)


@pytest.mark.usefixtures("unannotated")
def test_odd_settings_are_refused():
    with pytest.raises(ValueError, match="skips must be 'add', 'concat' or 'none'; got 'sum'"):
        UNet(skips="sum")
    with pytest.raises(ValueError, match=r"channels must be multiples of 16; got \(24, 32\)"):
        UNet(channels=(24, 32))
    with pytest.raises(ValueError, match=r"must be 1 or more; got 1, \(\), 1 and 1"):
        UNet(channels=())
    with pytest.raises(ValueError, match=r"blocks and patch must be 1 or more; got .* 0 and 1"):
        UNet(blocks=0)
    with pytest.raises(ValueError, match="embedding must be even, 2 or more; got 33"):
        UNet(embedding=33)
    with pytest.raises(ValueError, match="classes must be 0 where there is a conditioner; got 10"):
        UNet(classes=10, conditioner=nn.Identity())
    with pytest.raises(ValueError, match="heads must be 1 or more and divide width = 8; got 3"):
        SelfAttention(8, 3)
    with pytest.raises(ValueError, match="dim must be even, 2 or more; got 5"):
        time_embedding(torch.zeros(2), 5)
    with pytest.raises(
        ValueError, match=r"t must be floats of shape \(batch,\); got torch.float32 of shape \(2, 1\)"
    ):
        time_embedding(torch.zeros(2, 1), 4)
