"""The networks, one step of training by hand, where labels go, and what a run repeats."""

import math
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.testing import assert_close

from genimg_ref.train import checkpoint
from genimg_ref.train.ema import EMA
from genimg_ref.vae.elbo import annealed, binarise, iwae_bound, kl_to_standard_normal, sample_kl, to_unit
from genimg_ref.vae.vae import (
    VAE,
    Decoder,
    Encoder,
    conv_vae,
    evaluate,
    initialise,
    log_weights,
    mlp_vae,
    reconstruct,
    sample,
    train,
    update,
    update_iwae,
    with_labels,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def draw_images(count=6, shape=(1, 8, 8), seed=9):
    return torch.tanh(torch.randn(count, *shape, generator=seeded(seed)))


def small(kind="mlp", classes=0, **options):
    if kind == "mlp":
        return mlp_vae((1, 8, 8), 3, (12, 10), classes=classes, rng=seeded(), **options)
    return conv_vae(8, 3, 4, 10, classes=classes, rng=seeded(), **options)


@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize("classes", [0, 4])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_shapes_and_ranges(kind, classes, likelihood):
    vae = small(kind, classes, likelihood=likelihood)
    images = draw_images()
    labels = torch.tensor([0, 3, 1, 2, 2, 0]) if classes else None
    posterior = vae.encoder(images, labels)
    assert posterior.mean.shape == posterior.log_variance.shape == (6, 3)
    assert vae.decoder(posterior.mean, labels).shape == images.shape
    assert all(part.shape == (6,) for part in vae(images, seeded(), labels))
    for made in (reconstruct(vae, images, labels), sample(vae, 6, seeded(), labels)):
        assert made.shape == images.shape and made.abs().max() <= 1


def test_colour_and_other_sizes():
    vae = conv_vae(32, 5, 4, 10, image_channels=3, rng=seeded())
    assert sample(vae, 2, seeded()).shape == (2, 3, 32, 32)
    assert sample(mlp_vae((3, 4, 6), 2, (), rng=seeded()), 2, seeded()).shape == (2, 3, 4, 6)


def test_the_sizes_of_burda():
    """784-200-200-50 and back, counted by hand: two heads of 50 in the encoder."""
    by_hand = 784 * 200 + 200 + 200 * 200 + 200 + 200 * 100 + 100
    by_hand += 50 * 200 + 200 + 200 * 200 + 200 + 200 * 784 + 784
    assert sum(p.numel() for p in mlp_vae().parameters()) == by_hand


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_labels_reach_both_halves(kind):
    vae = small(kind, 3)
    images = draw_images(1).expand(3, -1, -1, -1)
    posterior = vae.encoder(images, torch.arange(3))
    assert len(posterior.mean.unique(dim=0)) == 3
    output = vae.decoder(torch.zeros(3, 3), torch.arange(3))
    assert len(output.unique(dim=0)) == 3


def test_one_hot_vectors():
    x = torch.tensor([[7.0], [8.0]])
    assert with_labels(x, torch.tensor([2, 0]), 3).tolist() == [[7, 0, 0, 4], [8, 4, 0, 0]]
    assert with_labels(x, None, 0) is x


@pytest.mark.parametrize("beta, minimum", [(1.0, 0.0), (3.0, 0.0), (1.0, 0.4)])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_update_is_the_step_by_hand(beta, minimum, likelihood):
    vae = small(likelihood=likelihood)
    twin, images = deepcopy(vae), draw_images()
    step = update(
        vae, torch.optim.SGD(vae.parameters(), 0.01), images, seeded(3), beta=beta, minimum=minimum, number=5
    )

    mean, log_variance = twin.encoder(images)
    q = Normal(mean, (log_variance / 2).exp())
    z = mean + q.scale * torch.randn(6, 3, generator=seeded(3))
    output = twin.decoder(z)
    if likelihood == "bernoulli":
        p, x = output.sigmoid(), (images + 1) / 2
        reconstruction = (x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3)).mean()
    else:
        reconstruction = Normal(output, twin.log_std.exp()).log_prob(images).sum((1, 2, 3)).mean()
    kl = kl_divergence(q, Normal(0.0, 1.0)).mean(0)
    assert minimum == 0 or (kl < minimum).any()  # the floor matters
    (beta * kl.clamp(min=minimum).sum() - reconstruction).backward()
    for moved, old in zip(vae.parameters(), twin.parameters(), strict=True):
        assert_close(moved, old - 0.01 * old.grad)
    assert step.number == 5 and step.beta == beta
    assert step.reconstruction == pytest.approx(reconstruction.item(), rel=1e-5)
    assert step.kl == pytest.approx(kl.sum().item(), rel=1e-5)
    assert step.bound == pytest.approx(reconstruction.item() - kl.sum().item(), rel=1e-5)


def test_the_bound_s_parts():
    """The reconstruction is the Bernoulli's at the drawn latents, the divergence the closed one."""
    vae, images = small(), binarise(draw_images(), seeded(1))
    bound = vae(images, seeded(2))
    posterior = vae.encoder(images)
    z = posterior.mean + (posterior.log_variance / 2).exp() * torch.randn(6, 3, generator=seeded(2))
    expected = Bernoulli(logits=vae.decoder(z)).log_prob(to_unit(images)).sum((1, 2, 3))
    assert_close(bound.reconstruction, expected)
    assert_close(bound.kl, kl_to_standard_normal(*posterior))
    assert_close(bound.bound, bound.reconstruction - bound.kl)


@pytest.mark.parametrize("classes", [0, 4])
def test_log_weights_belong_to_their_images(classes):
    """Sample by sample, image by image, in a loop."""
    vae, images = small(classes=classes), draw_images()
    labels = torch.tensor([0, 3, 1, 2, 2, 0]) if classes else None
    weights = log_weights(vae, images, 4, seeded(2), labels)
    noise = torch.randn(24, 3, generator=seeded(2)).view(4, 6, 3)
    for k in range(4):
        for i in range(6):
            x, y = images[i : i + 1], None if labels is None else labels[i : i + 1]
            mean, log_variance = vae.encoder(x, y)
            z = mean + (log_variance / 2).exp() * noise[k, i]
            likelihood = vae.log_likelihood(vae.decoder(z, y), x)
            assert_close(weights[k, i], (likelihood - sample_kl(z, mean, log_variance))[0])


def test_update_iwae_is_the_step_by_hand():
    vae = small()
    twin, images = deepcopy(vae), draw_images()
    value = update_iwae(vae, torch.optim.SGD(vae.parameters(), 0.01), images, seeded(3), samples=5)
    bound = log_weights(twin, images, 5, seeded(3)).exp().mean(0).log().mean()
    assert value == pytest.approx(bound.item(), rel=1e-4)
    (-iwae_bound(log_weights(twin, images, 5, seeded(3))).mean()).backward()
    for moved, old in zip(vae.parameters(), twin.parameters(), strict=True):
        assert_close(moved, old - 0.01 * old.grad)


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_a_step_moves_every_weight(kind):
    vae = small(kind, 4, likelihood="gaussian")
    before = [p.clone() for p in vae.parameters()]
    update(
        vae, torch.optim.Adam(vae.parameters(), 1e-3), draw_images(16), seeded(), labels=torch.arange(16) % 4
    )
    assert all(not torch.equal(p, q) for p, q in zip(vae.parameters(), before, strict=True))


def test_a_std_that_is_held_stays():
    vae = small(likelihood="gaussian", std=0.7, learn_std=False)
    update(vae, torch.optim.Adam([p for p in vae.parameters() if p.requires_grad]), draw_images(), seeded())
    assert vae.log_std.exp().item() == pytest.approx(0.7)


def test_training_lifts_the_bound_and_watches_the_schedule():
    images = draw_images(20)
    vae = small()
    before = evaluate(vae, images, seeded()).bound.mean()
    steps = list(
        train(
            vae, torch.optim.Adam(vae.parameters(), 3e-3), images,
            steps=150, rng=seeded(), batch_size=10, beta=lambda step: annealed(step, 100), progress=False,
        )
    )  # fmt: skip
    assert evaluate(vae, images, seeded()).bound.mean() > before + 1
    assert [step.number for step in steps] == list(range(1, 151))
    assert [steps[k].beta for k in (0, 49, 99, 149)] == [0.01, 0.5, 1.0, 1.0]


def test_labels_stay_with_their_images():
    """Image k is flat with the value of label k; a conditional VAE is handed the two together."""
    images = torch.linspace(-1, 1, 5)[:, None, None, None].expand(-1, 1, 8, 8)
    vae, seen = small(classes=5), []
    vae.encoder.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    list(
        train(
            vae, torch.optim.Adam(vae.parameters()), images,
            steps=3, rng=seeded(), batch_size=7, labels=torch.arange(5), progress=False,
        )
    )  # fmt: skip
    for inputs in seen:
        assert_close(inputs[:, 0], torch.linspace(-1, 1, 5)[inputs[:, -5:].argmax(1)])
    assert len(seen) == 3


def test_each_batch_is_prepared():
    seen = []

    def prepare(batch, rng):
        seen.append(binarise(batch, rng))
        return seen[-1]

    vae = small()
    optimiser = torch.optim.Adam(vae.parameters())
    list(
        train(
            vae,
            optimiser,
            draw_images(),
            steps=2,
            rng=seeded(),
            batch_size=4,
            prepare=prepare,
            progress=False,
        )
    )
    assert len(seen) == 2 and all(part.shape == (4, 1, 8, 8) for part in seen)
    assert not torch.equal(*seen)


class Run:
    """A small VAE with everything that a checkpoint has to carry."""

    def __init__(self, seed, kind):
        self.rng = seeded(seed)
        make = {"mlp": lambda: mlp_vae((1, 8, 8), 3, (12, 10)), "conv": lambda: conv_vae(8, 3, 4, 10)}[kind]
        self.vae = initialise(make(), self.rng)
        self.optimiser = torch.optim.Adam(self.vae.parameters(), 1e-3)
        self.ema = EMA(self.vae, 0.9)

    def train(self, steps, start=0):
        return list(
            train(
                self.vae, self.optimiser, draw_images(40),
                steps=steps, rng=self.rng, batch_size=6, ema=self.ema, start=start, progress=False,
            )
        )  # fmt: skip

    def parts(self):
        return {"vae": self.vae, "ema": self.ema, "optimiser": self.optimiser}

    def weights(self):
        return [*self.vae.state_dict().values(), *self.ema.model.state_dict().values()]


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_a_resumed_run_ends_at_the_same_bits(tmp_path, kind):
    whole = Run(0, kind)
    told = whole.train(7)
    first = Run(0, kind)
    first.train(3)
    checkpoint.save(tmp_path / "run.pt", step=3, rng=first.rng, **first.parts())
    second = Run(1, kind)
    start = checkpoint.load(tmp_path / "run.pt", rng=second.rng, **second.parts())
    assert second.train(7, start) == told[3:]
    assert all(torch.equal(a, b) for a, b in zip(whole.weights(), second.weights(), strict=True))


def test_randomness_is_the_generator_s():
    vae, images = small(), draw_images()
    state = torch.get_rng_state()
    assert torch.equal(sample(vae, 4, seeded(1)), sample(vae, 4, seeded(1)))
    assert not torch.equal(sample(vae, 4, seeded(1)), sample(vae, 4, seeded(2)))
    assert torch.equal(vae(images, seeded(1)).bound, vae(images, seeded(1)).bound)
    assert torch.equal(state, torch.get_rng_state())
    first, second = small("conv").state_dict(), small("conv").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_evaluation_in_parts_covers_every_image():
    vae, images = small(), draw_images(1003)
    bound = evaluate(vae, images, seeded())
    assert bound.bound.shape == (1003,) and not bound.bound.requires_grad
    assert_close(bound.kl, kl_to_standard_normal(*vae.encoder(images)).detach())
    assert_close(reconstruct(vae, images)[700:701], reconstruct(vae, images[700:701]))


def test_initialise_keeps_the_variance_of_activations():
    """A linear layer doubles the mean square; the ReLU after it halves that again."""
    for layer, shape in (
        (nn.Linear(300, 400), (200, 300)),
        (nn.Conv2d(30, 40, 4, 2, 1), (20, 30, 16, 16)),
        (nn.ConvTranspose2d(30, 40, 4, 2, 1), (20, 30, 16, 16)),
    ):
        out = initialise(layer, seeded(1))(torch.randn(shape, generator=seeded()))
        inner = out if out.ndim == 2 else out[:, :, 2:-2, 2:-2]
        assert inner.square().mean().item() == pytest.approx(2, rel=0.05)
        assert (layer.bias == 0).all()


def test_double_precision():
    vae = small().double()
    images = draw_images().double()
    assert vae(images, seeded()).bound.dtype == torch.float64
    assert log_weights(vae, images, 2, seeded()).dtype == torch.float64


def test_bad_input():
    with pytest.raises(ValueError, match=r"labels must be given for 3 classes; got none"):
        small(classes=3)(draw_images(), seeded())
    with pytest.raises(ValueError, match=r"labels must be None for 0 classes; got shape \(6,\)"):
        small()(draw_images(), seeded(), torch.zeros(6, dtype=torch.long))
    for pair, outside in (((0, 3), 3), ((-1, 2), -1)):
        with pytest.raises(ValueError, match=rf"labels must lie in 0 ... 2; got {outside}"):
            with_labels(torch.zeros(2, 1), torch.tensor(pair), 3)
    with pytest.raises(ValueError, match=r"z must have shape \(batch, 3\); got \(2, 4\)"):
        small().decoder(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="size must be a multiple of 4; got 30"):
        conv_vae(30)
    with pytest.raises(ValueError, match=r"latent must be 1 or more everywhere; got \[0\]"):
        mlp_vae(latent=0)
    with pytest.raises(ValueError, match="std must be above zero; got 0"):
        mlp_vae(likelihood="gaussian", std=0.0)
    with pytest.raises(ValueError, match="count must be 1 or more; got 0"):
        sample(small(), 0, seeded())
    encoder, decoder = Encoder(nn.Flatten(), nn.Linear(4, 4)), Decoder(nn.Linear(2, 4), 2)
    with pytest.raises(ValueError, match="likelihood must be 'bernoulli' or 'gaussian'; got 'laplace'"):
        getattr(VAE.__init__, "__wrapped__", VAE.__init__)(
            VAE.__new__(VAE), encoder, decoder, likelihood="laplace"
        )
    assert math.isfinite(VAE(encoder, decoder, "gaussian").log_std.item())
