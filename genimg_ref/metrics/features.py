"""Images to feature vectors: the spaces in which generators are measured.

An extractor is anything that fits :class:`Extractor`: a callable with a name and a dimension. A distance
between features means nothing without the name of the extractor, and two distances can be compared only if
it is the same.

Chapter: metrics

Papers:

- Heusel et al., *GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium*, 2017,
  arXiv:1706.08500 (Inception's pooled features)
- Parmar, Zhang and Zhu, *On Aliased Resizing and Surprising Subtleties in GAN Evaluation*, 2021,
  arXiv:2104.11222 (what the resizing does to the distance)
- Naeem et al., *Reliable Fidelity and Diversity Metrics for Generative Models*, 2020, arXiv:2002.09797
  (features of a random network)
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genimg_ref.metrics.checks import require_images
from genimg_ref.metrics.classifier import ConvClassifier
from genimg_ref.train import weights

__all__ = ["Extractor", "FashionClassifier", "Inception", "RandomFeatures", "inception_input", "resize_tf1"]

WEIGHTS = Path(__file__).parent / "files" / "fashion_classifier.safetensors"
SHA256 = "e00e61a202741a96c11d818b9c114ebcf5b37f70b27f582dfcc9cd7e9d69a561"
BATCH = 250  # images that are in a network at a time


@runtime_checkable
class Extractor(Protocol):
    """Turns images in [-1, 1] into one vector each, in evaluation mode and without gradients.

    Attributes:
        name: what to write beside every number that was measured with it.
        dim: entries of a feature vector.
    """

    name: str
    dim: int

    def __call__(
        self, images: Float[Tensor, "count channels height width"]
    ) -> Float[Tensor, "count {self.dim}"]: ...


class RandomFeatures:
    """The network of :class:`FashionClassifier`, for any number of channels, with random weights.

    It has seen no image, so it favours no kind of them; but it weighs brightness and coarse texture most, and
    its numbers depend on the seed.

    Raises:
        ValueError: from the call, for images of another number of channels, smaller than 8 x 8, none at all,
            not finite or outside [-1, 1].
    """

    def __init__(
        self, seed: int = 0, *, channels: int = 1, dim: int = 64, device: torch.device | str = "cpu"
    ) -> None:
        rng = torch.Generator().manual_seed(seed)
        self._net = ConvClassifier(channels, dim=dim, rng=rng).eval().to(device)
        self._device = device
        self.dim = dim
        self.name = f"random-{seed}-{channels}-{dim}"

    def __call__(
        self, images: Float[Tensor, "count channels height width"]
    ) -> Float[Tensor, "count {self.dim}"]:
        require_images("images", images)
        return _in_batches(self._net.features, images, self._device)


class FashionClassifier:
    """The embedded classifier of Fashion-MNIST: 64 features, ten logits, predicted classes.

    Its card, ``files/fashion_classifier.md``, says how it was trained and how often it is right. The features
    are taken before the last ReLU and standardised: over the training images each has mean 0 and variance 1
    (:class:`genimg_ref.metrics.classifier.ConvClassifier` says why). So the mean square distance of two
    training images is 2 * 64 = 128, which gives a scale to every distance.

    Images are of size 28, or 32 with the border of two pixels that :func:`genimg_ref.data.fashion.load` adds,
    which is cut off.

    Raises:
        RuntimeError: the file of weights is missing or damaged.
        ValueError: from the calls, for images of another shape, none at all, not finite or outside [-1, 1].
    """

    def __init__(self, *, device: torch.device | str = "cpu") -> None:
        self._net = ConvClassifier()
        self._net.load_state_dict(weights.load(WEIGHTS, SHA256))
        self._net.eval().to(device)
        self._device = device
        self.dim = self._net.dim
        self.name = f"fashion-{SHA256[:8]}"

    def __call__(self, images: Float[Tensor, "count 1 size size"]) -> Float[Tensor, "count {self.dim}"]:
        """The features, float32."""
        return _in_batches(self._net.features, _without_border(images), self._device)

    def logits(self, images: Float[Tensor, "count 1 size size"]) -> Float[Tensor, "count 10"]:
        """Scores of the ten classes, to be put through a softmax by whoever needs probabilities."""
        return _in_batches(self._net, _without_border(images), self._device)

    def predict(self, images: Float[Tensor, "count 1 size size"]) -> Int[Tensor, " count"]:
        """The likeliest class of each image, an index into ``genimg_ref.data.fashion.CLASSES``."""
        return self.logits(images).argmax(dim=1)


class Inception:
    """The 2,048 pooled features of Inception v3, with the preprocessing of the FID literature.

    By default the network and weights are torchvision's, downloaded on first use. They are **not** those of
    published Fréchet distances, and the numbers **must not be compared** with published ones. Heusel et al.
    used TensorFlow's graph of 2015-12-05, and these differ:

    - the weights: another training, with 1,008 outputs against 1,000;
    - the average pools in blocks 5b to 6e and 7b: the original leaves padding out of the average,
      torchvision's counts it as zeros;
    - block 7c: the original has a maximum pool where torchvision's has an average pool.

    The preprocessing does not differ: :func:`inception_input`. To get comparable numbers, give a ``network``
    with the original weights, for instance the ``InceptionV3`` of pytorch-fid without its own resizing and
    normalisation (its answer is a list of one tensor, which has to be taken out and flattened), and name it.

    Args:
        network: maps preprocessed images ``(count, 3, 299, 299)`` to features ``(count, 2048)``.
        name: what to write beside the numbers.
        device: where the images are sent; a ``network`` that was given must already be there.

    Raises:
        RuntimeError: torchvision is missing, or its weights can neither be found nor downloaded.
        ValueError: from the call, for images which are neither grey nor colour, none at all, not finite or
            outside [-1, 1], and for a ``network`` whose answer has another shape.
    """

    dim = 2048

    def __init__(
        self,
        network: Callable[[Tensor], Tensor] | None = None,
        *,
        name: str = "inception-torchvision",
        device: torch.device | str = "cpu",
    ) -> None:
        self._network = network or _torchvision_inception().to(device)
        self._device = device
        self.name = name

    def __call__(
        self, images: Float[Tensor, "count channels height width"]
    ) -> Float[Tensor, "count {self.dim}"]:
        require_images("images", images)  # all of them, before the network has worked on some
        return _in_batches(self._pooled, images, self._device, batch=50)

    def _pooled(self, images: Tensor) -> Tensor:
        features = self._network(inception_input(images))
        shape = getattr(features, "shape", None)
        if shape != (len(images), self.dim):
            told = type(features).__name__ if shape is None else tuple(shape)
            raise ValueError(f"network must return features of shape {(len(images), self.dim)}; got {told}")
        return features


def inception_input(
    images: Float[Tensor, "count channels height width"],
) -> Float[Tensor, "count 3 299 299"]:
    """Images in [-1, 1] as the Inception network of the FID literature gets them.

    Rounded to the 256 levels of a stored picture, grey repeated for the three colours, resized to 299 x 299
    by :func:`resize_tf1`, then ``(level - 128) / 128``.

    Raises ``ValueError`` for images which are neither grey nor colour, or outside [-1, 1].
    """
    require_images("images", images)
    if images.shape[1] not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels; got {images.shape[1]}")
    levels = (images * 127.5 + 127.5).round().clamp(0, 255)
    return (resize_tf1(levels.expand(-1, 3, -1, -1), 299) - 128) / 128


def resize_tf1(
    images: Float[Tensor, "count channels height width"], size: int
) -> Float[Tensor, "count channels {size} {size}"]:
    """Bilinear interpolation as TensorFlow 1 does it: pixel ``k`` of the result lies at ``k * old / size``.

    No half-pixel offset and no low-pass filter, both of which today's libraries have: the published
    distances rest on this (Parmar et al. 2021, section 3).
    """
    if size < 1:
        raise ValueError(f"size must be a positive number of pixels; got {size}")
    for axis in (2, 3):
        last = images.shape[axis] - 1
        place = torch.arange(size, device=images.device) * ((last + 1) / size)
        below = place.long()
        share = (place - below).to(images.dtype).view((-1, 1) if axis == 2 else (-1,))
        above = (below + 1).clamp(max=last)
        images = torch.lerp(images.index_select(axis, below), images.index_select(axis, above), share)
    return images


def _in_batches(
    function: Callable[[Tensor], Tensor], images: Tensor, device: torch.device | str, batch: int = BATCH
) -> Tensor:
    """``function`` of the images, some at a time, in float32 on ``device``; results go to the images' own."""
    with torch.no_grad():
        results = [function(part.to(device, torch.float32)) for part in images.split(batch)]
    return torch.cat(results).to(images.device)


def _without_border(images: Tensor) -> Tensor:
    require_images("images", images)
    if images.shape[1:] not in ((1, 28, 28), (1, 32, 32)):
        raise ValueError(
            f"images must have shape (count, 1, 28, 28) or (count, 1, 32, 32); got {tuple(images.shape)}"
        )
    border = (images.shape[-1] - 28) // 2
    return images[:, :, border : border + 28, border : border + 28]


def _torchvision_inception() -> nn.Module:
    """torchvision's network without its last layer, for input in [-1, 1]."""
    try:
        from torchvision.models import Inception_V3_Weights, inception_v3
    except ImportError as error:
        raise RuntimeError("Inception needs torchvision: pip install torchvision") from error
    try:
        net = inception_v3(weights=Inception_V3_Weights.IMAGENET1K_V1)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            "torchvision's weights of Inception could not be downloaded: is there a network? "
            "FashionClassifier and RandomFeatures need none"
        ) from error
    net.transform_input = False  # it is for input normalised as ImageNet; ours lies in [-1, 1] already
    net.fc = nn.Identity()
    return net.eval().requires_grad_(False)
