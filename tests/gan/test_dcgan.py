import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from genimg_ref.gan.dcgan import (
    Discriminator,
    Generator,
    conv_transpose_output_size,
    doublings,
    init_weights,
    sample_latent,
    train,
)
from genimg_ref.train import checkpoint
from genimg_ref.train.ema import EMA

SIZES = [8, 14, 16, 28, 32, 56, 64]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", SIZES)
def test_doublings_multiply_out(size):
    base, k = doublings(size)
    assert base in (4, 7) and k >= 1 and base * 2**k == size


@pytest.mark.parametrize("size", [-8, 0, 1, 4, 7, 12, 20, 30, 48, 63])
def test_other_sizes_get_one_clear_error(size):
    for make in (doublings, Generator, Discriminator):
        with pytest.raises(ValueError, match=f"size must be 4 or 7 times a power of two.*got {size}"):
            make(size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("image_channels", [1, 3])
def test_shapes_and_ranges(size, image_channels):
    generator = init_weights(Generator(size, 5, 4, image_channels), seeded())
    discriminator = init_weights(Discriminator(size, 4, image_channels), seeded())
    images = generator(torch.randn(3, 5, generator=seeded()))
    assert images.shape == (3, image_channels, size, size)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (3,)


def test_a_batch_of_one_keeps_its_axis():
    assert Discriminator(8, 4).eval()(torch.zeros(1, 1, 8, 8)).shape == (1,)


def test_the_paper_s_generator():
    """Figure 1 of Radford et al.: 100 numbers -> 1024 x 4 x 4 -> ... -> 3 x 64 x 64."""
    generator = Generator(64, 100, 128, 3)
    shapes = []
    x = torch.zeros(2, 100, 1, 1)
    for layer in generator.layers:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]


def test_parameter_count_of_28_by_28():
    """Counted by hand: convolutions without bias before batch normalisation, gain and shift after each."""
    generator = Generator(28, 64, 32)
    by_hand = 64 * 64 * 49 + 2 * 64 + 64 * 32 * 16 + 2 * 32 + 32 * 16 + 1
    assert sum(p.numel() for p in generator.parameters()) == by_hand
    discriminator = Discriminator(28, 32)
    by_hand = 32 * 16 + 32 + 32 * 64 * 16 + 2 * 64 + 64 * 49 + 1
    assert sum(p.numel() for p in discriminator.parameters()) == by_hand


def test_where_batch_normalisation_stands():
    def norms(model):
        return [any(isinstance(m, nn.BatchNorm2d) for m in layer.modules()) for layer in model.layers]

    assert norms(Generator(32)) == [True, True, True, False]
    assert norms(Discriminator(32)) == [False, True, True, False]
    assert not any(norms(Generator(32, batch_norm=False)) + norms(Discriminator(32, batch_norm=False)))


def test_wrong_shapes_name_the_argument():
    with pytest.raises(ValueError, match=r"z must have shape \(batch, 64\); got \(2, 3\)"):
        Generator(28)(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"images must have shape .* got \(2, 1, 32, 32\)"):
        Discriminator(28)(torch.zeros(2, 1, 32, 32))


@pytest.mark.parametrize(
    "size, kernel, stride, padding", [(1, 4, 1, 0), (7, 4, 2, 1), (5, 3, 3, 2), (4, 5, 2, 2)]
)
def test_output_size_against_torch(size, kernel, stride, padding):
    layer = nn.ConvTranspose2d(1, 1, kernel, stride, padding)
    side = conv_transpose_output_size(size, kernel, stride, padding)
    assert layer(torch.zeros(1, 1, size, size)).shape == (1, 1, side, side)


def test_transposed_convolution_is_the_transpose():
    """<conv(x), y> = <x, conv_transpose(y)>, with one kernel for both."""
    rng = seeded()
    kernel = torch.randn(3, 2, 4, 4, generator=rng, dtype=torch.float64)
    x = torch.randn(1, 2, 8, 10, generator=rng, dtype=torch.float64)
    y = torch.randn(1, 3, 4, 5, generator=rng, dtype=torch.float64)
    forward = (nn.functional.conv2d(x, kernel, stride=2, padding=1) * y).sum()
    backward = (x * nn.functional.conv_transpose2d(y, kernel, stride=2, padding=1)).sum()
    assert_close(forward, backward)


def test_init_weights_has_the_stated_moments():
    model = nn.Sequential(
        nn.Conv2d(32, 64, 4), nn.ConvTranspose2d(64, 32, 4), nn.BatchNorm2d(20_000), nn.Linear(3, 2)
    )
    nn.init.constant_(model[0].bias, 3.0)
    nn.init.constant_(model[2].bias, 3.0)
    linear = model[3].weight.clone()
    assert init_weights(model, seeded()) is model
    for module, mean in ((model[0], 0.0), (model[1], 0.0), (model[2], 1.0)):
        weights = module.weight.detach()
        error = 0.02 / math.sqrt(weights.numel())
        assert abs(weights.mean() - mean) < 5 * error
        assert abs(weights.std() - 0.02) < 5 * error
        assert (module.bias == 0).all()
    assert_close(model[3].weight, linear, rtol=0, atol=0)


def test_init_weights_follows_its_generator_and_leaves_the_global_one():
    before = torch.get_rng_state()
    first, second = (init_weights(nn.Conv2d(2, 2, 3).requires_grad_(), seeded(7)).weight for _ in range(2))
    assert_close(first, second, rtol=0, atol=0)
    assert first.requires_grad
    torch.set_rng_state(before)
    init_weights(
        Generator(8, 4, 4), seeded(1)
    )  # construction draws from the global state, initialisation must not
    drawn = torch.get_rng_state()
    torch.set_rng_state(before)
    Generator(8, 4, 4)
    assert torch.equal(drawn, torch.get_rng_state())


def test_sample_latent_is_standard_normal():
    z = sample_latent(20_000, 5, seeded())
    assert_close(z.mean(0), torch.zeros(5), rtol=0, atol=0.04)
    assert_close(z.T.cov(), torch.eye(5), rtol=0, atol=0.06)


class Run:
    """A small DCGAN with everything that a checkpoint has to carry."""

    def __init__(self, seed, channels_last=False):
        self.rng = seeded(seed)
        self.images = torch.tanh(torch.randn(40, 1, 8, 8, generator=seeded(9)))
        self.g = init_weights(Generator(8, 4, 4), self.rng)
        self.d = init_weights(Discriminator(8, 4), self.rng)
        if channels_last:
            self.g.to(memory_format=torch.channels_last)
            self.d.to(memory_format=torch.channels_last)
        self.g_optimiser = torch.optim.Adam(self.g.parameters(), 1e-3, betas=(0.5, 0.999))
        self.d_optimiser = torch.optim.Adam(self.d.parameters(), 1e-3, betas=(0.5, 0.999))
        self.ema = EMA(self.g, 0.9)

    def train(self, steps, start=0):
        return list(
            train(
                self.g, self.d, self.g_optimiser, self.d_optimiser, self.images,
                steps=steps, rng=self.rng, batch_size=6, ema=self.ema, start=start, progress=False,
            )
        )  # fmt: skip

    def parts(self):
        return {
            "g": self.g, "d": self.d, "ema": self.ema,
            "g_optimiser": self.g_optimiser, "d_optimiser": self.d_optimiser,
        }  # fmt: skip

    def weights(self):
        return [
            *self.g.state_dict().values(),
            *self.d.state_dict().values(),
            *self.ema.model.state_dict().values(),
        ]


def test_training_moves_both_networks_before_it_yields():
    run = Run(0)
    before = [w.clone() for w in run.weights()]
    steps = train(
        run.g, run.d, run.g_optimiser, run.d_optimiser, run.images,
        steps=3, rng=run.rng, batch_size=6, ema=run.ema, progress=False,
    )  # fmt: skip
    first = next(steps)
    assert first.number == 1 and math.isfinite(first.d.loss) and math.isfinite(first.g.loss)
    assert all(not torch.equal(a, b) for a, b in zip(before, run.weights(), strict=True))
    assert [step.number for step in steps] == [2, 3]


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_resumed_run_ends_at_the_same_bits(tmp_path, channels_last):
    whole = Run(0, channels_last)
    told = whole.train(7)
    first = Run(0, channels_last)
    first.train(3)
    checkpoint.save(tmp_path / "run.pt", step=3, rng=first.rng, **first.parts())
    second = Run(1, channels_last)
    start = checkpoint.load(tmp_path / "run.pt", rng=second.rng, **second.parts())
    assert start == 3
    assert second.train(7, start) == told[3:]
    assert all(torch.equal(a, b) for a, b in zip(whole.weights(), second.weights(), strict=True))
    assert second.ema.updates == 7


@pytest.mark.parametrize("forgotten", ["ema", "g_optimiser", "d_optimiser", "g", "d"])
def test_leaving_out_any_part_is_seen(tmp_path, forgotten):
    """What the test above asks for is not met by a checkpoint that lacks a part."""
    whole = Run(0)
    whole.train(7)
    first = Run(0)
    first.train(3)
    kept = {name: part for name, part in first.parts().items() if name != forgotten}
    checkpoint.save(tmp_path / "run.pt", step=3, rng=first.rng, **kept)
    second = Run(1)
    parts = {name: part for name, part in second.parts().items() if name != forgotten}
    second.train(7, checkpoint.load(tmp_path / "run.pt", rng=second.rng, **parts))
    assert not all(torch.equal(a, b) for a, b in zip(whole.weights(), second.weights(), strict=True))
