"""The nearest code by brute force, every gradient's way, and the codebook's averages by hand."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch.nn import functional as F
from torch.testing import assert_close

from genimg_ref.train import checkpoint
from genimg_ref.train.ema import EMA
from genimg_ref.vae.vqvae import (
    VQVAE,
    Codebook,
    decode,
    encode,
    nearest_code,
    perplexity,
    straight_through,
    train,
    update,
    usage,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed))


def draw_images(count=6, seed=9):
    return torch.tanh(normal(count, 1, 8, 12, seed=seed))


def test_nearest_code_by_brute_force():
    vectors, codebook = normal(5, 3, 4, 7).double(), normal(11, 7, seed=1).double()
    found = nearest_code(vectors, codebook)
    for place in np.ndindex(5, 3, 4):
        distances = [(vectors[place] - code).norm().item() for code in codebook]
        assert found[place] == int(np.argmin(distances))


def test_nearest_code_counts_the_codes_own_length():
    """By the inner product alone the long code would win."""
    assert nearest_code(torch.tensor([[1.0, 0.0]]), torch.tensor([[9.0, 0.0], [0.5, 0.0]])).tolist() == [1]


def test_straight_through():
    vectors, quantised = normal(2, 3).requires_grad_(), normal(2, 3, seed=1).requires_grad_()
    out = straight_through(vectors, quantised)
    assert_close(out, quantised)
    pull = normal(2, 3, seed=2)
    (out * pull).sum().backward()
    assert_close(vectors.grad, pull)
    assert quantised.grad is None


def test_usage_and_perplexity():
    counts, sums = usage(torch.tensor([[1.0, 2], [3, 4], [5, 6]]), torch.tensor([2, 0, 2]), 4)
    assert counts.tolist() == [1, 0, 2, 0]
    assert sums.tolist() == [[3, 4], [0, 0], [6, 8], [0, 0]]
    assert perplexity(torch.zeros(3, 2, 2, dtype=torch.long), 5) == 1
    assert perplexity(torch.arange(8).view(2, 4), 99) == pytest.approx(8)
    assert perplexity(torch.tensor([0, 0, 0, 1]), 2) == pytest.approx(
        math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4))
    )


@pytest.mark.parametrize("decay", [0.9, None])
def test_where_gradients_flow(decay):
    """Decoder -> features; commitment -> features only; codebook term -> vectors only."""
    codebook = Codebook(5, 3, decay, seeded())
    features = normal(2, 3, 2, 4, seed=1).requires_grad_()
    quantised = codebook(features)
    chosen = codebook.vectors.detach()[quantised.codes].movedim(-1, 1)
    assert_close(quantised.features.detach(), chosen)
    error = (features - chosen).detach()
    for value in (quantised.codebook, quantised.commitment):
        assert_close(value.item(), error.square().mean().item())

    pull = normal(2, 3, 2, 4, seed=2)
    (through,) = torch.autograd.grad((quantised.features * pull).sum(), features, retain_graph=True)
    assert_close(through, pull)
    (committed,) = torch.autograd.grad(quantised.commitment, features, retain_graph=True)
    assert_close(committed, 2 * error / error.numel())
    if decay is None:
        quantised.codebook.backward()
        assert features.grad is None
        flat, codes = error.movedim(1, -1).flatten(0, 2), quantised.codes.flatten()
        for k in range(5):
            assert_close(codebook.vectors.grad[k], -2 * flat[codes == k].sum(0) / error.numel())
        out = torch.autograd.grad(
            quantised.commitment + (quantised.features * pull).sum(), codebook.vectors, allow_unused=True
        )
        assert out == (None,)
    else:
        assert not quantised.codebook.requires_grad and not list(codebook.parameters())


def test_moving_averages_by_hand():
    decay, size = 0.9, 6
    codebook = Codebook(size, 3, decay, seeded())
    counts, sums = [0.0] * size, [torch.zeros(3) for _ in range(size)]
    vectors = list(codebook.vectors.clone())
    for step in range(4):
        features = normal(2, 3, 2, 2, seed=10 + step)
        codes = torch.randint(0, size - 1, (2, 2, 2), generator=seeded(step))  # the last is never chosen
        codebook.learn(features, codes)
        for k in range(size):
            mine = [
                features[b, :, i, j] for b, i, j in np.ndindex(2, 2, 2) if codes[b, i, j] == k
            ]  # in no order
            counts[k] = decay * counts[k] + (1 - decay) * len(mine)
            sums[k] = decay * sums[k] + (1 - decay) * (sum(mine) if mine else torch.zeros(3))
            if counts[k] > 0:
                vectors[k] = sums[k] / counts[k]
    assert_close(codebook.counts, torch.tensor(counts))
    assert_close(codebook.vectors, torch.stack(vectors))


def test_without_memory_it_is_one_step_of_k_means():
    points = normal(200, 2)
    codebook = Codebook(5, 2, 0.0, seeded(3))
    start = codebook.vectors.clone().numpy()
    features = points.T.reshape(1, 2, 10, 20)
    codebook.learn(features, codebook(features).codes)
    theirs = KMeans(5, init=start, n_init=1, max_iter=1, algorithm="lloyd").fit(points.numpy())
    assert_close(codebook.vectors, torch.from_numpy(theirs.cluster_centers_))


def test_a_code_that_is_never_chosen_stays_where_it_is():
    codebook = Codebook(2, 2, 0.5, seeded())
    codebook.vectors.copy_(torch.tensor([[0.0, 0.0], [50.0, 50.0]]))
    features = normal(1, 2, 3, 3)
    for _ in range(200):  # until its count has underflowed
        codebook.learn(features, codebook(features).codes)
    assert codebook.vectors[1].tolist() == [50.0, 50.0]
    assert_close(codebook.vectors[0], features.mean((0, 2, 3)))


def test_revival():
    codebook = Codebook(4, 3, 0.9, seeded())
    codebook.counts.copy_(torch.tensor([5.0, 0.99, 1.0, 0.0]))
    before = codebook.vectors.clone()
    features = normal(2, 3, 2, 2, seed=4)
    assert codebook.revive(features, seeded(1)) == 2
    places = {tuple(row) for row in features.movedim(1, -1).flatten(0, 2).tolist()}
    vectors = codebook.vectors
    assert torch.equal(vectors[[0, 2]], before[[0, 2]])
    assert all(tuple(vectors[k].tolist()) in places for k in (1, 3))
    assert codebook.counts.tolist() == [5.0, 1.0, 1.0, 1.0]
    assert_close(codebook.sums[[1, 3]], vectors[[1, 3]])
    assert codebook.revive(features, seeded(1)) == 0


def test_the_first_step_puts_every_code_onto_a_feature():
    vqvae = VQVAE(4, 12, 3, rng=seeded())
    step = update(vqvae, torch.optim.SGD(vqvae.parameters(), 0.0), draw_images(), seeded())
    assert step.revived == 12
    assert step.perplexity > 3


@pytest.mark.parametrize("decay", [0.9, None])
def test_update_is_the_step_by_hand(decay):
    vqvae, images = VQVAE(4, 6, 3, decay=decay, rng=seeded()), draw_images()
    vqvae.codebook.counts.fill_(9.0)  # nothing to revive
    vqvae.codebook.sums.copy_(9 * vqvae.codebook.vectors.detach())
    twin = deepcopy(vqvae)
    step = update(vqvae, torch.optim.SGD(vqvae.parameters(), 0.1), images, seeded(), commitment=0.3, number=8)

    z = twin.encoder(images)
    distances = (z.movedim(1, -1)[..., None, :] - twin.codebook.vectors).norm(dim=-1)
    e = twin.codebook.vectors[distances.argmin(-1)].movedim(-1, 1)
    loss = (twin.decoder(z + (e - z).detach()) - images).abs().mean()
    assert step.number == 8 and step.revived == 0
    assert step.reconstruction == pytest.approx(loss.item(), rel=1e-5)
    loss = loss + 0.3 * (z - e.detach()).square().mean()
    if decay is None:
        loss = loss + (z.detach() - e).square().mean()
    loss.backward()
    for moved, old in zip(vqvae.parameters(), twin.parameters(), strict=True):
        assert_close(moved, old - 0.1 * old.grad)
    if decay is not None:
        twin.codebook.learn(z.detach(), distances.argmin(-1))
        assert not torch.equal(vqvae.codebook.vectors, e)
        assert_close(vqvae.codebook.vectors, twin.codebook.vectors)


def test_encode_and_decode():
    vqvae, images = VQVAE(4, 6, 3, rng=seeded()), draw_images(1003)
    codes = encode(vqvae, images)
    assert codes.shape == (1003, 2, 3) and codes.dtype == torch.long
    assert torch.equal(codes[700:703], encode(vqvae, images[700:703]))
    decoded = decode(vqvae, codes)
    assert decoded.shape == images.shape and decoded.abs().max() <= 1
    output, quantised = vqvae(images[:5])
    assert torch.equal(quantised.codes, codes[:5])
    assert_close(decoded[:5], output.clamp(-1, 1).detach())


@pytest.mark.parametrize("decay", [0.9, None])
def test_training_reconstructs(decay):
    """Four patterns, repeated: the error falls and the codes tell the patterns apart."""
    patterns = draw_images(4)[torch.arange(24) % 4]
    vqvae = VQVAE(4, 16, 4, decay=decay, rng=seeded())
    optimiser = torch.optim.Adam(vqvae.parameters(), 1e-2)
    steps = list(train(vqvae, optimiser, patterns, steps=250, rng=seeded(), batch_size=16, progress=False))
    assert steps[-1].reconstruction < 0.5 * steps[0].reconstruction
    assert len(encode(vqvae, patterns[:4]).unique(dim=0)) == 4
    assert F.l1_loss(decode(vqvae, encode(vqvae, patterns)), patterns).item() < 0.5 * steps[0].reconstruction


class Run:
    """A small VQ-VAE with everything that a checkpoint has to carry."""

    def __init__(self, seed):
        self.rng = seeded(seed)
        self.vqvae = VQVAE(4, 6, 3, rng=self.rng)
        self.optimiser = torch.optim.Adam(self.vqvae.parameters(), 1e-3)
        self.ema = EMA(self.vqvae, 0.9)

    def train(self, steps, start=0):
        return list(
            train(
                self.vqvae, self.optimiser, draw_images(40),
                steps=steps, rng=self.rng, batch_size=6, ema=self.ema, start=start, progress=False,
            )
        )  # fmt: skip

    def parts(self):
        return {"vqvae": self.vqvae, "ema": self.ema, "optimiser": self.optimiser}


def test_a_resumed_run_ends_at_the_same_bits(tmp_path):
    whole = Run(0)
    told = whole.train(7)
    first = Run(0)
    first.train(3)
    checkpoint.save(tmp_path / "run.pt", step=3, rng=first.rng, **first.parts())
    second = Run(1)
    start = checkpoint.load(tmp_path / "run.pt", rng=second.rng, **second.parts())
    assert second.train(7, start) == told[3:]
    for part in ("vqvae", "ema"):
        a, b = ((run.vqvae if part == "vqvae" else run.ema.model).state_dict() for run in (whole, second))
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_bad_input():
    for size, dim in ((1, 3), (4, 0)):
        with pytest.raises(
            ValueError, match=f"size must be 2 or more and dim 1 or more; got {size} and {dim}"
        ):
            Codebook(size, dim)
    for decay in (1.0, -0.1):
        with pytest.raises(ValueError, match=rf"decay must lie in \[0, 1\), or be None; got {decay}"):
            Codebook(4, 3, decay)
    with pytest.raises(ValueError, match=r"images must have shape .*multiples of 4; got \(2, 1, 10, 8\)"):
        VQVAE(4).features(torch.zeros(2, 1, 10, 8))
    with pytest.raises(ValueError, match=r"images must have shape \(batch, 1, .*; got \(2, 3, 8, 8\)"):
        VQVAE(4).features(torch.zeros(2, 3, 8, 8))
