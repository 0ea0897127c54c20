"""The embedded diffusion models: the files are what the cards say, and the samples are what was asked for."""

import hashlib

import pytest
import torch

from genimg_ref.data import shapes
from genimg_ref.diffusion import trained
from genimg_ref.diffusion.guidance import classifier_free, with_condition
from genimg_ref.diffusion.ode import heun
from genimg_ref.diffusion.sample import last
from genimg_ref.diffusion.schedule import shifted, straight
from genimg_ref.diffusion.text import tokenise
from genimg_ref.gan import trained as gans
from genimg_ref.metrics.features import FashionClassifier

NAMES = sorted(trained.SHA256)
each_model = pytest.mark.parametrize("name", NAMES)
SHAPE = {"fashion": (1, 28, 28), "shapes": (3, 32, 32)}


@pytest.fixture(scope="module")
def models():
    return {name: trained.load(name) for name in NAMES}


def paint(model, shape, condition, steps=5, seed=0):
    """Heun's method along the flow, from noise at 1 to an image at 0."""
    noise = torch.randn(len(condition), *shape, generator=torch.Generator().manual_seed(seed))
    told = with_condition(model, condition)
    return last(heun(told, noise, torch.linspace(1, 0, steps + 1), straight, kind="velocity")).clamp(-1, 1)


@each_model
def test_the_card_describes_the_file(name, models):
    content = (trained.FILES / f"trained_{name}.safetensors").read_bytes()
    card = (trained.FILES / f"trained_{name}.md").read_text()
    assert hashlib.sha256(content).hexdigest() == trained.SHA256[name]
    assert trained.SHA256[name] in card and f"{len(content):,} bytes" in card
    assert f"{sum(p.numel() for p in models[name].parameters()):,} weights" in card
    assert len(content) < 4e6


@each_model
def test_models_are_ready_for_use(name, models):
    model = models[name]
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(
        torch.equal(p, q) for p, q in zip(model.parameters(), trained.load(name).parameters(), strict=True)
    )


@each_model
def test_what_they_give_is_a_velocity(name, models):
    """Of pure noise it is, on average over images, the noise less the mean image, so its length is known."""
    noise = torch.randn(50, *SHAPE[name], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        answer = models[name](noise, torch.ones(50))
    left = noise - answer  # the mean image as the model sees it
    assert left.std(dim=0).mean() < 0.5 < answer.std()
    assert (left.abs() < 1.5).float().mean() > 0.99


def test_garments_are_those_asked_for(models):
    labels = torch.arange(40) % 10
    images = paint(models["fashion"], (1, 28, 28), labels)
    read = FashionClassifier().logits(images).argmax(1)
    assert (read == labels).float().mean() > 0.6


def test_any_garment_without_a_label(models):
    model = models["fashion"]
    images = paint(model, (1, 28, 28), model.null(30))
    read = FashionClassifier().logits(images).argmax(1)
    assert len(read.unique()) >= 5


def read_back(model, captions, scale=2.0, seed=0):
    """What the reader, which took no part in the training, finds in scenes of these captions."""
    tokens = tokenise(captions)
    guided = classifier_free(model, tokens, model.null(1)[0], scale)
    noise = torch.randn(len(captions), 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    times = shifted(torch.linspace(1, 0, 9), trained.SHIFT)
    _, reader = gans.load_shapes()
    return reader.read_labels(last(heun(guided, noise, times, straight, kind="velocity")).clamp(-1, 1))


def test_the_same_combinations_are_held_out_as_from_the_gan():
    assert trained.HELD_OUT == gans.HELD_OUT


@pytest.mark.parametrize("phrase", ["", *trained.HELD_OUT])
def test_scenes_are_those_asked_for_seen_and_unseen_combinations(phrase, models):
    asked = shapes.sample(40, rng=torch.Generator().manual_seed(2), only=phrase).attributes
    right = (read_back(models["shapes"], shapes.captions(asked)) == asked).float().mean(dim=0)
    assert (right > torch.tensor([0.6, 0.8, 0.8, 0.8, 0.8])).all(), right


def test_what_a_short_caption_leaves_open_is_drawn_freely(models):
    read = read_back(models["shapes"], ["a green cross"] * 40)
    green, cross = shapes.COLOURS.index("green"), shapes.SHAPES.index("cross")
    assert (read[:, 1] == green).float().mean() > 0.8
    assert (read[:, 0] == cross).float().mean() > 0.6
    assert len(read[:, 3].unique()) >= 5 and len(read[:, 4].unique()) >= 3


def test_another_name_is_refused():
    with pytest.raises(ValueError, match=r"name must be one of fashion.*; got 'faces'"):
        trained.load("faces")


def test_a_missing_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(trained, "FILES", tmp_path)
    with pytest.raises(RuntimeError, match=r"trained_fashion\.safetensors is missing"):
        trained.load("fashion")


@each_model
def test_a_damaged_file_is_refused(name, monkeypatch, tmp_path):
    content = bytearray((trained.FILES / f"trained_{name}.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / f"trained_{name}.safetensors").write_bytes(content)
    monkeypatch.setattr(trained, "FILES", tmp_path)
    with pytest.raises(RuntimeError, match=rf"trained_{name}\.safetensors is damaged"):
        trained.load(name)
