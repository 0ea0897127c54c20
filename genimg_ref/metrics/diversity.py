"""How far apart images of one class lie: a generator that repeats itself has diversity 0.

Chapter: metrics

Papers:

- Zhu et al., *Toward Multimodal Image-to-Image Translation*, 2017, arXiv:1711.11586, section 5 (the mean
  distance of random pairs, there with LPIPS as the distance)
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genimg_ref.metrics.checks import as_double, require_features
from genimg_ref.metrics.pairs import blocks, distances

__all__ = ["Diversity", "class_diversity", "mean_pairwise_distance"]


class Diversity(NamedTuple):
    """``mean``: mean over the classes. ``classes``: their labels, ascending. ``by_class``: the mean pairwise
    distance within each."""

    mean: float
    classes: Int[Tensor, " classes"]
    by_class: Float[Tensor, " classes"]


def class_diversity(features: Float[Tensor, "count dim"], labels: Int[Tensor, " count"]) -> Diversity:
    """The mean Euclidean distance of two different samples of one class, class by class.

    It has the unit of the features, so it is read beside the same number of real images. Wide and wrong
    counts as diverse too: noise is very diverse.

    Raises:
        ValueError: if the labels do not fit, a class has fewer than two samples, or a feature is not finite.
    """
    require_features("features", features, 2)
    if labels.shape != features.shape[:1]:
        raise ValueError(
            f"labels must have shape {tuple(features.shape[:1])}, one for each row of features; "
            f"got {tuple(labels.shape)}"
        )
    features = features.detach()
    classes, counts = labels.unique(return_counts=True)
    if (counts < 2).any():
        raise ValueError(
            f"labels must hold every class at least twice; got class {classes[counts < 2][0].item()} once"
        )
    by_class = torch.stack([mean_pairwise_distance(features[labels == label]) for label in classes])
    return Diversity(by_class.mean().item(), classes, by_class)


def mean_pairwise_distance(features: Float[Tensor, "count dim"]) -> Float[Tensor, ""]:
    """The mean Euclidean distance over all pairs of two different rows, in float64, block by block.

    Equal rows have distance 0 exactly: differences are taken, not differences of squares.
    """
    require_features("features", features, 2)
    points = as_double(features.detach())
    count = len(points)
    sums = [distances(points[rows], points).sum() for rows in blocks(count, count)]
    return torch.stack(sums).sum() / (count * (count - 1))
