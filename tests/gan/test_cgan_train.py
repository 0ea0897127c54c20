"""How the loop of the conditional GAN draws batches, goes on after a stop, and refuses what cannot work."""

import pytest
import torch
from torch.testing import assert_close

from genimg_ref.gan import cgan
from genimg_ref.gan.dcgan import sample_latent
from genimg_ref.train import checkpoint
from genimg_ref.train.ema import EMA


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Run:
    """A small pair of networks on data in which class 0 is frequent, with all that a checkpoint carries."""

    def __init__(self, seed=0, classes=3, d_way="projection"):
        self.rng = seeded(seed)
        self.labels = torch.tensor([0] * 30 + [1] * 6 + [2] * 4)
        noise = torch.randn(40, 1, 8, 8, generator=seeded(9))
        self.images = torch.tanh(noise + self.labels[:, None, None, None])
        self.g = cgan.init_weights(cgan.Generator(classes, 8, 4, 4), self.rng)
        self.d = cgan.init_weights(cgan.Discriminator(classes, 8, 4, condition=d_way), self.rng)
        self.g_optimiser = torch.optim.Adam(self.g.parameters(), 1e-3)
        self.d_optimiser = torch.optim.Adam(self.d.parameters(), 1e-3)
        self.ema = EMA(self.g, 0.9)

    def train(self, steps, **options):
        nets = self.g, self.d, self.g_optimiser, self.d_optimiser
        options = {"images": self.images, "labels": self.labels, "batch_size": 6} | options
        data = options.pop("images"), options.pop("labels")
        return cgan.train(*nets, *data, steps=steps, rng=self.rng, ema=self.ema, progress=False, **options)

    def parts(self):
        names = ("g", "d", "ema", "g_optimiser", "d_optimiser")
        return {name: getattr(self, name) for name in names}


@pytest.fixture
def batches(monkeypatch):
    """What the two players are given: (real images, their labels, labels asked of G for D; those for G)."""
    seen = []
    plain_d, plain_g = cgan.update_d, cgan.update_g

    def update_d(g, d, optimiser, real, labels, z, asked, loss):
        seen.append([real, labels, asked])
        return plain_d(g, d, optimiser, real, labels, z, asked, loss)

    def update_g(g, d, optimiser, z, asked, loss):
        seen[-1].append(asked)
        return plain_g(g, d, optimiser, z, asked, loss)

    monkeypatch.setattr(cgan, "update_d", update_d)
    monkeypatch.setattr(cgan, "update_g", update_g)
    return seen


def test_balanced_batches_hold_each_class_equally_often(batches):
    list(Run().train(5, balanced=True))
    for _, *drawn in batches:
        assert [labels.bincount().tolist() for labels in drawn] == [[2, 2, 2]] * 3


def test_other_batches_follow_the_data(batches):
    list(Run().train(40))
    for k in (1, 2, 3):
        counts = torch.cat([batch[k] for batch in batches]).bincount(minlength=3)
        assert_close(counts / counts.sum(), torch.tensor([0.75, 0.15, 0.1]), rtol=0, atol=0.15)


@pytest.mark.parametrize("balanced", [False, True])
def test_images_come_with_their_own_labels(batches, balanced):
    run = Run()
    list(run.train(5, balanced=balanced))
    for real, labels, *_ in batches:
        for image, label in zip(real, labels, strict=True):
            row = (run.images == image).flatten(1).all(dim=1).nonzero().item()
            assert run.labels[row] == label


def test_labels_asked_for_are_drawn_apart_from_those_of_the_real_images(batches):
    list(Run().train(10))
    assert any(not torch.equal(labels, asked) for _, labels, asked, _ in batches)
    assert any(not torch.equal(first, second) for _, _, first, second in batches)


@pytest.mark.parametrize("balanced", [False, True])
def test_a_resumed_run_ends_at_the_same_bits(tmp_path, balanced):
    whole = Run(0)
    told = list(whole.train(5, balanced=balanced))
    first = Run(0)
    list(first.train(2, balanced=balanced))
    checkpoint.save(tmp_path / "run.pt", step=2, rng=first.rng, **first.parts())
    second = Run(1)
    start = checkpoint.load(tmp_path / "run.pt", rng=second.rng, **second.parts())
    assert list(second.train(5, start=start, balanced=balanced)) == told[2:]
    for name in ("g", "d"):
        pairs = zip(getattr(whole, name).parameters(), getattr(second, name).parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_training_moves_both_players_and_the_average_before_it_yields():
    run = Run()
    nets = run.g, run.d, run.ema.model
    before = [[p.detach().clone() for p in net.parameters()] for net in nets]
    assert next(run.train(3)).number == 1
    for old, net in zip(before, nets, strict=True):
        assert any(not torch.equal(a, b) for a, b in zip(old, net.parameters(), strict=True))


def test_the_label_loss_is_part_of_both_players_losses():
    run = Run(d_way="auxiliary")
    z, asked = sample_latent(4, 4, seeded()), torch.tensor([0, 1, 2, 0])
    images, labels = run.images[:5], run.labels[-5:]
    with torch.no_grad():  # in training mode, as the steps are
        fake = run.g(z, asked)
        on_real, on_fake = run.d.judge(images, labels), run.d.judge(fake, asked)
        game = -on_real.logits.sigmoid().log().mean() - (1 - on_fake.logits.sigmoid()).log().mean()
        of_d = game + on_real.label_loss + on_fake.label_loss
        of_g = -on_fake.logits.sigmoid().log().mean() + on_fake.label_loss
    assert of_d - game > 1  # near 2 log 3: the labels weigh something
    g = cgan.update_g(run.g, run.d, torch.optim.SGD(run.g.parameters(), 0.0), z, asked)
    d = cgan.update_d(run.g, run.d, torch.optim.SGD(run.d.parameters(), 0.0), images, labels, z, asked)
    assert g.loss == pytest.approx(of_g.item(), rel=1e-4)
    assert d.loss == pytest.approx(of_d.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": torch.eye(3)[torch.zeros(40, dtype=torch.long)]}, "not one-hot"),
        ({"labels": torch.full((40,), 3)}, r"lie in 0 \.\.\. 2; got 3"),
        ({"labels": torch.zeros(39, dtype=torch.long)}, "labels must be 40, one for each"),
        ({"balanced": True, "batch_size": 7}, "batch_size must be a multiple of the 3 classes; got 7"),
        ({"start": 4}, "start must lie between 0 and steps"),
    ],
)
def test_training_refuses_at_once_what_does_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        Run().train(3, **options)


def test_several_attributes_are_not_balanced():
    run = Run(classes=(3, 2))
    pairs = torch.stack([run.labels, run.labels % 2], dim=1)
    with pytest.raises(ValueError, match=r"balanced needs labels of shape \(data,\); got \(40, 2\)"):
        run.train(3, labels=pairs, balanced=True)
    list(run.train(1, labels=pairs))


@pytest.mark.parametrize("condition", ["concat", "embed", "projection", "auxiliary"])
def test_images_of_another_size_are_named(condition):
    judge = cgan.Discriminator(3, 8, 4, condition=condition)
    with pytest.raises(ValueError, match=r"images must have shape \(batch, \*\(1, 8, 8\)\); got"):
        judge(torch.zeros(2, 1, 16, 16), torch.tensor([0, 1]))
