"""The embedded generators: what is loaded is what the cards say, and it makes garments."""

import hashlib
import re

import pytest
import torch

from genimg_ref.data import fashion, shapes
from genimg_ref.gan import cgan, trained
from genimg_ref.gan.dcgan import sample_latent
from genimg_ref.metrics.features import FashionClassifier
from genimg_ref.metrics.fid import frechet_distance_of

NAMES = ["mlp", "dcgan"]
each_model = pytest.mark.parametrize("name", NAMES)
COUNT = 1000
EXTRACT = FashionClassifier()
REAL = EXTRACT(fashion.load("test").images[:COUNT])


def samples(name, seed):
    return trained.load(name, seed)(sample_latent(COUNT, 64, torch.Generator().manual_seed(seed)))


@each_model
def test_the_card_describes_the_file(name):
    content = (trained.FILES / f"trained_{name}.safetensors").read_bytes()
    card = (trained.FILES / f"trained_{name}.md").read_text()
    assert hashlib.sha256(content).hexdigest() == trained.SHA256[name]
    assert trained.SHA256[name] in card and f"{len(content):,} bytes" in card
    assert len(content) < 4e6


@each_model
@pytest.mark.parametrize("seed", trained.SEEDS)
def test_samples_are_images_as_good_as_the_card_says(name, seed):
    """A thousand samples against a thousand images are biased upwards, by less than what is allowed here."""
    card = (trained.FILES / f"trained_{name}.md").read_text()
    stated = re.search(r"embedded test\s+images: ([\d., ]+) for the seeds", card)[1]
    images = samples(name, seed)
    assert images.shape == (COUNT, 1, 28, 28) and images.dtype == torch.float32
    assert images.abs().max() <= 1
    distance = frechet_distance_of(REAL, EXTRACT(images))
    assert distance == pytest.approx(float(stated.split(", ")[seed]), rel=0.15, abs=0.7)


@pytest.mark.parametrize("seed", trained.SEEDS)
def test_convolutions_beat_full_connections_which_beat_noise(seed):
    """Measured on a thousand images: below 7, about 23 and about 154."""
    noise = torch.rand(COUNT, 1, 28, 28, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    dcgan, mlp, worst = (
        frechet_distance_of(REAL, EXTRACT(images))
        for images in (samples("dcgan", seed), samples("mlp", seed), noise)
    )
    assert 2 * dcgan < mlp and 3 * mlp < worst


@each_model
def test_seeds_are_different_runs_and_loading_repeats(name):
    first, again, other = samples(name, 0), samples(name, 0), trained.load(name, 1)
    assert torch.equal(first, again)
    z = sample_latent(COUNT, 64, torch.Generator().manual_seed(0))
    assert not torch.allclose(first, other(z), atol=0.1)


@each_model
def test_generators_are_ready_for_use(name):
    generator = trained.load(name)
    assert not generator.training
    assert not any(p.requires_grad for p in generator.parameters())


def test_other_names_and_seeds_are_refused():
    with pytest.raises(ValueError, match=r"name must be one of dcgan, mlp; got 'stylegan'"):
        trained.load("stylegan")
    with pytest.raises(ValueError, match=r"seed must be one of \(0, 1, 2\); got 3"):
        trained.load("dcgan", 3)


def test_a_missing_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(trained, "FILES", tmp_path)
    with pytest.raises(RuntimeError, match=r"trained_dcgan\.safetensors is missing"):
        trained.load("dcgan")


def test_a_damaged_file_is_refused(monkeypatch, tmp_path):
    content = bytearray((trained.FILES / "trained_dcgan.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "trained_dcgan.safetensors").write_bytes(content)
    monkeypatch.setattr(trained, "FILES", tmp_path)
    with pytest.raises(RuntimeError, match=r"trained_dcgan\.safetensors is damaged"):
        trained.load("dcgan")


def read_rightly(images, attributes):
    _, reader = trained.load_shapes()
    return (reader.read_labels(images) == attributes).all(dim=1).float().mean()


def test_the_reader_reads_fresh_scenes():
    scenes = shapes.sample(300, rng=torch.Generator().manual_seed(1))
    assert read_rightly(scenes.images, scenes.attributes) > 0.98


@pytest.mark.parametrize("phrase", [None, *trained.HELD_OUT])
def test_scenes_are_painted_as_asked_seen_and_unseen_combinations(phrase):
    rng = torch.Generator().manual_seed(2)
    painter, _ = trained.load_shapes()
    scenes = shapes.sample(200, rng=rng, only=phrase) if phrase else shapes.sample(200, rng=rng)
    images = cgan.sample(painter, scenes.attributes, rng)
    assert images.shape == (200, 3, 32, 32) and images.abs().max() <= 1
    assert read_rightly(images, scenes.attributes) > 0.75
