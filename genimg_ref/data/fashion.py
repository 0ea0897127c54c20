"""Fashion-MNIST: a balanced part that comes with the package, or all of it through torchvision.

Chapter: dcgan (and every later chapter with grey-scale images).

Source: Xiao, Rasul and Vollgraf (2017), "Fashion-MNIST: a novel image dataset for benchmarking machine
learning algorithms", arXiv:1708.07747; MIT licence, kept beside the files.
"""

import hashlib
import io
import lzma
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FILES = Path(__file__).parent / "files"
SHA256 = {
    "fashion_train.npy.xz": "b18b5e5b9fa151b272dfb64dc82dd321fbde6caff68d86500c8b4228cf047857",
    "fashion_test.npy.xz": "ec68543c13ab28bf3b6378a0d81835ef50b51c331ef8b1c0c0292919f674c40d",
}
CACHE = Path.home() / ".cache" / "genimg_ref"


class Fashion(NamedTuple):
    """Images in [-1, 1] and their labels, 0 to 9, which index `CLASSES`."""

    images: Float[Tensor, "count 1 size size"]
    labels: Int[Tensor, " count"]


def load(
    split: Literal["train", "test"] = "train",
    *,
    size: int = 28,
    full: bool = False,
    root: Path | None = None,
) -> Fashion:
    """Load Fashion-MNIST.

    Args:
        split: ``train`` (15,000 images embedded, 60,000 in full) or ``test`` (5,000 embedded, taken from the
            original test images; 10,000 in full). Both are balanced over the ten classes.
        size: 28, or 32 for a border of two background pixels on each side.
        full: load all images through torchvision, which downloads them on first use.
        root: where torchvision keeps its files; by default a folder in the user's cache.

    Returns:
        Float32 images of shape ``(count, 1, size, size)`` in [-1, 1] and int64 labels of shape ``(count,)``.

    Raises:
        ValueError: unknown split or size.
        RuntimeError: an embedded file is missing or damaged, or ``full`` was asked for and there is neither a
            stored copy nor a network.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test'; got {split!r}")
    if size not in (28, 32):
        raise ValueError(f"size must be 28 or 32; got {size!r}")
    pixels, labels = _through_torchvision(split, root or CACHE) if full else _embedded(split)
    images = torch.from_numpy(pixels).unsqueeze(1).float().div_(127.5).sub_(1.0)
    border = (size - 28) // 2
    if border:
        images = torch.nn.functional.pad(images, (border,) * 4, value=-1.0)
    return Fashion(images, torch.from_numpy(labels).long())


def _embedded(split: str) -> tuple[np.ndarray, np.ndarray]:
    path = FILES / f"fashion_{split}.npy.xz"
    if not path.exists():
        raise RuntimeError(
            f"the data file {path.name} is missing from {path.parent}; install the package again"
        )
    packed = path.read_bytes()
    if hashlib.sha256(packed).hexdigest() != SHA256[path.name]:
        raise RuntimeError(
            f"the data file {path} is damaged (its checksum differs); install the package again"
        )
    stream = io.BytesIO(lzma.decompress(packed))
    return np.load(stream, allow_pickle=False), np.load(stream, allow_pickle=False)


def _through_torchvision(split: str, root: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        from torchvision.datasets import FashionMNIST
    except ImportError as error:
        raise RuntimeError(
            "full=True needs torchvision: pip install torchvision, or use full=False"
        ) from error
    try:
        data = FashionMNIST(str(root), train=split == "train", download=True)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"all of Fashion-MNIST could not be downloaded to {root}: is there a network? "
            "full=False uses the images that come with the package"
        ) from error
    return data.data.numpy(), data.targets.numpy()
