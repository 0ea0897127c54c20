"""Remake the embedded part of Fashion-MNIST from the four original files.

    python tools/make_fashion.py FOLDER

FOLDER holds the original ``*-ubyte.gz`` files (Debian's package ``dataset-fashion-mnist`` puts them in
``/usr/share/datasets/fashion-mnist``). The first 1,500 training images and the first 500 test images of each
class are taken, in their original order, so that the result is the same on every machine with the same
version of liblzma. The checksums it prints belong in ``genimg_ref/data/fashion.py``.
"""

import gzip
import hashlib
import io
import lzma
import sys
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parents[1] / "genimg_ref" / "data" / "files"


def read_idx(path: Path) -> np.ndarray:
    """Read an array in the IDX format: two zeros, a type (8 is uint8), rank, sizes, values."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an IDX file of unsigned bytes")
    sizes = np.frombuffer(raw, ">u4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(sizes)


def balanced(labels: np.ndarray, each: int) -> np.ndarray:
    """Indices of the first ``each`` examples of every class, in their original order."""
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:each] for c in range(10)]))


def pack(images: np.ndarray, labels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, images)
    np.save(stream, labels)
    return lzma.compress(stream.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def main(folder: Path) -> None:
    for name, stem, each in (("train", "train", 1500), ("test", "t10k", 500)):
        images = read_idx(folder / f"{stem}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{stem}-labels-idx1-ubyte.gz")
        chosen = balanced(labels, each)
        path = TARGET / f"fashion_{name}.npy.xz"
        path.write_bytes(pack(images[chosen], labels[chosen]))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path.name}: {len(chosen)} images, {path.stat().st_size:,} bytes, sha256 {digest}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
