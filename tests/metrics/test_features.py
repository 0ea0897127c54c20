"""Extractors: the embedded classifier's promises, preprocessing for Inception, and what they refuse."""

import hashlib
import math
from inspect import unwrap

import pytest
import torch
from torch import nn

from genimg_ref.data import fashion
from genimg_ref.metrics import features
from genimg_ref.metrics.features import (
    Extractor,
    FashionClassifier,
    Inception,
    RandomFeatures,
    inception_input,
    resize_tf1,
)

TEST = fashion.load("test")
CLASSIFIER = FashionClassifier()


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_embedded_classifier_keeps_its_promise():
    right = CLASSIFIER.predict(TEST.images) == TEST.labels
    card = features.WEIGHTS.with_suffix(".md").read_text()
    assert right.double().mean() >= 0.91
    assert f"{right.double().mean():.2%} of the 5,000 embedded test images" in card


def test_card_file_and_module_agree():
    content = features.WEIGHTS.read_bytes()
    card = features.WEIGHTS.with_suffix(".md").read_text()
    assert hashlib.sha256(content).hexdigest() == features.SHA256
    assert features.SHA256 in card and f"{len(content):,} bytes" in card
    assert len(content) <= 2_000_000
    assert CLASSIFIER.name == f"fashion-{features.SHA256[:8]}"


def test_features_fill_their_space():
    """No dead feature, no two alike, about standardised, and tails near those of a normal distribution."""
    rows = CLASSIFIER(TEST.images).double()
    assert rows.shape == (5000, 64) and rows.dtype == torch.float64
    deviations = rows.std(dim=0)
    assert deviations.min() > 0.8 and deviations.max() < 1.25
    assert torch.linalg.eigvalsh(torch.cov(rows.T)).min() > 1e-4
    standard = (rows - rows.mean(dim=0)) / deviations
    assert (standard**4).mean() < 4  # 3 for a normal distribution


def test_logits_and_features_and_predictions_belong_together():
    images = TEST.images[:20]
    logits = CLASSIFIER.logits(images)
    assert logits.shape == (20, 10) and (logits < 0).any()
    torch.testing.assert_close(logits, CLASSIFIER._net.head(CLASSIFIER(images).relu()).detach())
    assert torch.equal(CLASSIFIER.predict(images), logits.argmax(dim=1))


def test_the_border_of_the_larger_images_is_cut_off():
    large = fashion.load("test", size=32).images[:7]
    assert torch.equal(CLASSIFIER(large), CLASSIFIER(TEST.images[:7]))


@pytest.mark.parametrize("extractor", [CLASSIFIER, RandomFeatures(3)], ids=lambda extractor: extractor.name)
def test_an_image_has_its_features_in_any_company(extractor, monkeypatch):
    images = TEST.images[:30]
    expected = extractor(images)
    monkeypatch.setattr(features._in_batches, "__defaults__", (7,))
    torch.testing.assert_close(extractor(images), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(extractor(images[4:5]), expected[4:5], rtol=1e-4, atol=1e-5)


def test_all_fit_the_protocol():
    extractors = [(CLASSIFIER, 1), (RandomFeatures(channels=3, dim=9), 3), (Inception(pooled), 3)]
    for extractor, channels in extractors:
        assert isinstance(extractor, Extractor)
        rows = extractor(uniform(2, channels, 28, 28).requires_grad_())
        assert rows.shape == (2, extractor.dim) and rows.dtype == torch.float32
        assert not rows.requires_grad
    assert not isinstance(torch.relu, Extractor)


def test_random_features_depend_on_the_seed_alone():
    images = uniform(5, 3, 17, 12)
    first = RandomFeatures(1, channels=3)(images)
    torch.manual_seed(11)
    assert torch.equal(RandomFeatures(1, channels=3)(images), first)
    assert not torch.allclose(RandomFeatures(2, channels=3)(images), first)
    assert (first.std(dim=0) > 0).all()


def test_different_random_networks_have_different_names():
    made = [RandomFeatures(), RandomFeatures(1), RandomFeatures(channels=3), RandomFeatures(dim=32)]
    assert len({extractor.name for extractor in made}) == 4


def pooled(images):
    """Stands in for a network: no more than the shape is right."""
    assert images.shape[1:] == (3, 299, 299)
    return nn.functional.adaptive_avg_pool2d(images, 1).flatten(1).repeat(1, 683)[:, :2048]


def test_inception_input_by_hand():
    """Grey levels 0, 128 and 255, and -0.2 + 0.003, which a stored picture rounds to level 102."""
    image = torch.tensor([-1.0, 128 / 127.5 - 1, 1.0, -0.197]).view(4, 1, 1, 1).expand(-1, -1, 8, 9)
    result = inception_input(image)
    assert result.shape == (4, 3, 299, 299)
    expected = torch.tensor([-1.0, 0.0, 127 / 128, -26 / 128]).view(4, 1, 1, 1).expand(4, 3, 299, 299)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


def test_inception_input_refuses_what_it_would_clip():
    with pytest.raises(ValueError, match=r"images must hold values in \[-1, 1\]; got values from 0 to 255"):
        inception_input(torch.tensor([0.0, 255.0]).view(1, 1, 1, 2))
    with pytest.raises(ValueError, match=r"images must have 1 or 3 channels; got 2"):
        inception_input(uniform(1, 2, 8, 8))


def test_a_network_that_does_not_pool_is_named():
    images = uniform(2, 1, 28, 28)
    for network, told in (
        (lambda x: x.mean(dim=(2, 3)), r"\(2, 3\)"),
        (lambda x: pooled(x)[:, :, None, None], r"\(2, 2048, 1, 1\)"),
        (lambda x: [pooled(x)], "list"),
    ):
        with pytest.raises(
            ValueError, match=rf"network must return features of shape \(2, 2048\); got {told}"
        ):
            Inception(network)(images)


def test_resizing_by_hand():
    """Two pixels onto four: 0, halfway, the second, and the second again past the end."""
    image = torch.tensor([[0.0, 1.0], [10.0, 30.0]]).view(1, 1, 2, 2)
    rows = [[0, 0.5, 1, 1], [5, 10.25, 15.5, 15.5], [10, 20, 30, 30], [10, 20, 30, 30]]
    assert resize_tf1(image, 4).squeeze().tolist() == rows
    assert resize_tf1(image, 1).item() == 0.0  # no low-pass filter: the first pixel alone


@pytest.mark.parametrize("height, width", [(28, 28), (32, 19), (299, 299), (400, 350)])
def test_resizing_is_that_of_torch_fidelity(height, width):
    theirs = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
    levels = uniform(2, 3, height, width) * 127.5 + 127.5
    expected = theirs.interpolate_bilinear_2d_like_tensorflow1x(levels, size=(299, 299), align_corners=False)
    torch.testing.assert_close(resize_tf1(levels, 299), expected, rtol=0, atol=2e-3)  # of 255, in float32


def test_torchvisions_network_with_random_weights(monkeypatch):
    """What would be downloaded is replaced; the rest is as it runs with a network."""
    models = pytest.importorskip("torchvision.models")
    asked = []
    net = models.inception_v3(weights=None, init_weights=False, transform_input=True)
    monkeypatch.setattr(models, "inception_v3", lambda weights: asked.append(weights) or net)
    extractor = Inception()
    assert asked == [models.Inception_V3_Weights.IMAGENET1K_V1]
    images = uniform(2, 1, 28, 28)
    rows = extractor(images)
    assert rows.shape == (2, 2048) and not net.training

    # the same through torchvision's own preprocessing: ImageNet's normalisation, undone by transform_input
    seen = []
    net.Conv2d_1a_3x3.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    extractor(images)
    net.transform_input = True
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    unit = inception_input(images) / 2 + 0.5
    with torch.no_grad():
        again = net((unit - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    torch.testing.assert_close(seen[1], seen[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(again, rows, rtol=1e-3, atol=1e-4)


def test_inception_without_a_network_says_so(monkeypatch):
    models = pytest.importorskip("torchvision.models")

    def offline(weights):
        raise OSError("no route")

    monkeypatch.setattr(models, "inception_v3", offline)
    with pytest.raises(
        RuntimeError, match=r"weights of Inception could not be downloaded: is there a network\?"
    ):
        Inception()


@pytest.mark.parametrize("extractor", [CLASSIFIER, RandomFeatures(), Inception(pooled)], ids=lambda x: x.name)
def test_bad_images_are_named(extractor):
    good = uniform(2, 1, 28, 28)
    with pytest.raises(ValueError, match=r"images must hold values in \[-1, 1\]; got values from .* to 255"):
        extractor(good + 254 * (good == good.max()) + 1 - good.max())
    with pytest.raises(ValueError, match=r"images must hold values in \[-1, 1\]; got values from nan"):
        extractor(good * math.nan)
    with pytest.raises(ValueError, match=r"images must have shape .*; got \(0, 1, 28, 28\)"):
        extractor(good[:0])
    with pytest.raises(ValueError, match=r"images must have .*\(2, 2, 28, 28\)|1 or 3 channels; got 2"):
        unwrap(type(extractor).__call__)(extractor, good.expand(-1, 2, -1, -1))


def test_bad_sizes_are_named():
    with pytest.raises(
        ValueError, match=r"\(count, 1, 28, 28\) or \(count, 1, 32, 32\); got \(2, 1, 30, 30\)"
    ):
        CLASSIFIER(uniform(2, 1, 30, 30))
    with pytest.raises(ValueError, match=r"size must be a positive number of pixels; got 0"):
        resize_tf1(uniform(1, 1, 4, 4), 0)


def test_a_missing_or_damaged_file_is_named(monkeypatch, tmp_path):
    path = tmp_path / "fashion_classifier.safetensors"
    monkeypatch.setattr(features, "WEIGHTS", path)
    with pytest.raises(RuntimeError, match=r"fashion_classifier.safetensors is missing .* install .* again"):
        FashionClassifier()
    path.write_bytes(b"something else")
    with pytest.raises(RuntimeError, match=r"fashion_classifier.safetensors is damaged"):
        FashionClassifier()
