"""Every measure of one generator, taken on equal terms.

Chapter: metrics

Two numbers can be compared if they were measured in the same space, against the same real images and with the
same count of generated ones. A `Judge` holds these three fixed; whatever it is handed, it measures alike.

Paper: Borji, *Pros and Cons of GAN Evaluation Measures: New Developments*, 2021, arXiv:2103.09396 (what each
measure sees and what it does not)
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from genimg_ref.metrics.copies import copy_test
from genimg_ref.metrics.features import FashionClassifier
from genimg_ref.metrics.fid import frechet_distance_of
from genimg_ref.metrics.inception_score import inception_score
from genimg_ref.metrics.kid import kernel_distance
from genimg_ref.metrics.precision_recall import density_coverage, precision_recall

__all__ = ["Judge", "Report"]


class Report(NamedTuple):
    """What was measured.

    ``frechet``: squared Fréchet distance to the real images, and ``kernel``, the kernel distance: 0 at best.
    ``inception``: the Inception score in one split, from 1 to the number of classes. ``precision``,
    ``recall``, ``coverage``: shares in [0, 1]. ``density``: about 1 where distributions agree. ``closer``:
    the probability that a generated image lies closer to the training images than a held-out one does, 1 for
    a generator that copies.
    """

    frechet: float
    kernel: float
    inception: float
    precision: float
    recall: float
    density: float
    coverage: float
    closer: float


class Judge:
    """Measures sets of generated images against ``real`` ones that no model was trained on.

    All measures use the features of one extractor, which has ``logits`` too; the copy test measures distances
    to ``training`` in the same space.

    Args:
        real: held-out images, ``(count, channels, height, width)`` in [-1, 1].
        training: the images on which the generators were trained.
        extractor: the embedded classifier unless another is given.

    Raises:
        ValueError: from the call, unless it is handed exactly as many images as there are ``real`` ones: a
            Fréchet distance, precision and recall depend on the count.
    """

    def __init__(
        self,
        real: Float[Tensor, "count channels height width"],
        training: Float[Tensor, "training channels height width"],
        extractor: FashionClassifier | None = None,
    ) -> None:
        self.extractor = extractor or FashionClassifier()
        self.real = self.extractor(real)
        self.training = self.extractor(training)

    def __call__(self, images: Float[Tensor, "count channels height width"]) -> Report:
        if len(images) != len(self.real):
            raise ValueError(
                f"images must be {len(self.real)}, as many as the real ones are; got {len(images)}"
            )
        features = self.extractor(images)
        return Report(
            frechet_distance_of(self.real, features),
            kernel_distance(self.real, features).value,
            inception_score(self.extractor.logits(images), splits=1).mean,
            *precision_recall(self.real, features),
            *density_coverage(self.real, features),
            copy_test(features, self.real, self.training).closer,
        )
