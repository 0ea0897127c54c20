"""Classifier accuracy score: train on generated images, test on real ones.

A class which the generator draws badly, or draws too much alike, is recognised badly afterwards: the score
falls with quality and with diversity, and it says in which class.

Chapter: metrics

Papers:

- Ravuri and Vinyals, *Classification Accuracy Score for Conditional Generative Models*, 2019,
  arXiv:1905.10887
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genimg_ref.metrics.checks import require_images
from genimg_ref.metrics.classifier import ConvClassifier, fit

__all__ = ["ClassifierScore", "classifier_score"]

BATCH = 500  # test images that are in the network at a time


class ClassifierScore(NamedTuple):
    """``accuracy``: share of real test images classified rightly, in [0, 1]. ``by_class``: in each class."""

    accuracy: float
    by_class: Float[Tensor, " classes"]


def classifier_score(
    images: Float[Tensor, "count channels height width"],
    labels: Int[Tensor, " count"],
    test_images: Float[Tensor, "tests channels height width"],
    test_labels: Int[Tensor, " tests"],
    *,
    rng: torch.Generator,
    steps: int = 400,
    width: int = 12,
    flip: bool = True,
) -> ClassifierScore:
    """Train a small classifier on generated ``images`` and the classes asked for; test it on real ones.

    The same ``steps`` and ``width`` with real training images give the score to hold it against; another
    ``rng`` gives another draw of the score. ``flip`` mirrors half of the training images.

    Raises:
        ValueError: if labels do not fit the images, a class of the training images is none of the test
            images', a class below the largest has no test image, or images are not in [-1, 1].
    """
    for name, data, classes in (("images", images, labels), ("test_images", test_images, test_labels)):
        if len(data) == 0 or classes.shape != data.shape[:1]:
            raise ValueError(
                f"{name} must come with one label each, at least one; "
                f"got {len(data)} images and labels of shape {tuple(classes.shape)}"
            )
        require_images(name, data)
    if images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"test_images must have shape {tuple(images.shape[1:])}, as images do; "
            f"got {tuple(test_images.shape[1:])}"
        )
    if test_labels.min() < 0:
        raise ValueError(f"test_labels must be 0 or more; got {test_labels.min().item()}")
    counts = test_labels.bincount()
    if (counts == 0).any():
        raise ValueError(
            f"test_labels must hold every class up to the largest; got no {counts.argmin().item()}"
        )
    net = ConvClassifier(images.shape[1], len(counts), width, rng=rng).to(images.device)
    fit(net, images.detach().float(), labels.long(), steps=steps, rng=rng, flip=flip)
    with torch.no_grad():
        predicted = torch.cat([net(part.float()).argmax(dim=1) for part in test_images.split(BATCH)])
    right = test_labels[predicted == test_labels].bincount(minlength=len(counts))
    return ClassifierScore((right.sum() / counts.sum()).item(), right / counts)
