"""Train on generated, test on real: what the score sees."""

import math
from inspect import unwrap

import pytest
import torch

from genimg_ref.data import fashion
from genimg_ref.metrics.classifier_score import classifier_score

TEST = fashion.load("test")
TRAIN = fashion.load("train")
EASY = (1, 5, 8)  # trousers, sandals, bags


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def easy(data, count):
    """``count`` images of each of three classes, with labels 0, 1, 2."""
    parts = [data.images[data.labels == label][:count] for label in EASY]
    return torch.cat(parts)[..., ::2, ::2], torch.arange(3).repeat_interleave(count)


def score(images, labels, seed=0):
    return classifier_score(images, labels, *easy(TEST, 100), rng=rng(seed), steps=60, width=4)


def test_real_images_teach_well():
    result = score(*easy(TRAIN, 300))
    assert result.accuracy > 0.9
    assert result.by_class.shape == (3,)
    assert result.accuracy == pytest.approx(result.by_class.mean().item())  # as many test images of each


def test_the_class_that_is_missing_is_never_recognised():
    images, labels = easy(TRAIN, 300)
    result = score(images[labels != 1], labels[labels != 1])
    assert result.by_class[1] == 0.0
    assert result.by_class[[0, 2]].min() > 0.85


def test_wrong_labels_are_learnt_as_they_are():
    images, labels = easy(TRAIN, 300)
    assert score(images, (labels + 1) % 3).accuracy < 0.1


def test_noise_teaches_nothing():
    images, labels = easy(TRAIN, 300)
    assert score(torch.rand(images.shape, generator=rng()) * 2 - 1, labels).accuracy < 0.6


def test_one_seed_one_score():
    data = easy(TRAIN, 100)
    assert score(*data, seed=3).by_class.tolist() == score(*data, seed=3).by_class.tolist()


def test_classes_of_different_size():
    images, labels = easy(TEST, 100)
    few = torch.cat([torch.arange(100), torch.arange(100, 120), torch.arange(200, 300)])
    result = classifier_score(*easy(TRAIN, 100), images[few], labels[few], rng=rng(), steps=40, width=4)
    weights = torch.tensor([100, 20, 100]) / 220
    assert result.accuracy == pytest.approx((weights * result.by_class).sum().item())


def test_images_on_a_graph_other_types_and_no_gradients():
    """As a generator's output comes, measured where gradients are off."""
    images, labels = easy(TRAIN, 100)
    expected = score(images, labels)
    on_graph = images.double() * torch.ones(1, dtype=torch.float64, requires_grad=True)
    assert torch.equal(score(on_graph, labels.int()).by_class, expected.by_class)
    with torch.no_grad():
        assert torch.equal(score(images, labels).by_class, expected.by_class)


def test_bad_input_is_named():
    images, labels = easy(TRAIN, 20)
    with pytest.raises(
        ValueError, match=r"images must come with one label each, .*; got 60 images and labels"
    ):
        unwrap(classifier_score)(images, labels[:-1], images, labels, rng=rng())
    with pytest.raises(ValueError, match="test_images must come with one label each, at least one; got 0"):
        classifier_score(images, labels, images[:0], labels[:0], rng=rng())
    with pytest.raises(ValueError, match=r"test_images must have shape \(1, 14, 14\), .*; got \(1, 28, 28\)"):
        unwrap(classifier_score)(images, labels, TEST.images[:10], TEST.labels[:10], rng=rng())
    with pytest.raises(ValueError, match=r"images must hold values in \[-1, 1\]; got values from nan"):
        classifier_score(images * math.nan, labels, images, labels, rng=rng())
    with pytest.raises(ValueError, match=r"test_images must hold values in \[-1, 1\]; got .* to 255"):
        classifier_score(images, labels, images * 127.5 + 127.5, labels, rng=rng())
    with pytest.raises(ValueError, match=r"images must be float32 or float64; got torch.uint8"):
        unwrap(classifier_score)(images.byte(), labels, images, labels, rng=rng())
    with pytest.raises(ValueError, match=r"images must have shape \(count, channels, height, width\)"):
        unwrap(classifier_score)(images[:, 0], labels, images, labels, rng=rng())
    with pytest.raises(ValueError, match=r"labels must lie in 0 ... 2; got 1 to 3"):
        classifier_score(images, labels + 1, images, labels, rng=rng())
    with pytest.raises(ValueError, match="test_labels must hold every class up to the largest; got no 0"):
        classifier_score(images, labels, images, labels + 1, rng=rng())
    with pytest.raises(ValueError, match="test_labels must be 0 or more; got -1"):
        classifier_score(images, labels, images, labels - 1, rng=rng())
