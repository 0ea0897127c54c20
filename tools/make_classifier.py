"""Train the embedded Fashion-MNIST classifier anew and write its weights and its card.

    python tools/make_classifier.py FOLDER

FOLDER holds the original ``*-ubyte.gz`` files (Debian's package ``dataset-fashion-mnist`` puts them in
``/usr/share/datasets/fashion-mnist``). All 60,000 training images are used. The test images have no say in
anything: the number of steps was fixed beforehand and the last weights are kept. The same seed gives the same
weights to the last bit only on the same processor and version of PyTorch; the checksum it prints belongs in
``genimg_ref/metrics/features.py``.
"""

import hashlib
import sys
import time
from pathlib import Path

import torch
from make_fashion import read_idx
from safetensors.torch import save
from torch import Tensor

from genimg_ref.data import fashion
from genimg_ref.metrics.classifier import ConvClassifier, fit

TARGET = Path(__file__).parents[1] / "genimg_ref" / "metrics" / "files" / "fashion_classifier.safetensors"
SEED, STEPS, BATCH = 0, 3000, 128

CARD = """\
# The embedded classifier of Fashion-MNIST

Weights of `genimg_ref.metrics.classifier.ConvClassifier`, loaded by
`genimg_ref.metrics.features.FashionClassifier`. Its 64 features, taken before the last ReLU, are the space in
which the course measures Fréchet distances; its logits give Inception scores.
Made by `tools/make_classifier.py`.

- **Trained on** all 60,000 training images of Fashion-MNIST (MIT licence), shifted by up to two pixels, half
  of them mirrored.
- **Budget**: {steps:,} batches of {batch}, {minutes:.1f} minutes on one core of a shared CPU; seed {seed},
  PyTorch {torch}.
- **Accuracy**: {embedded:.2%} of the 5,000 embedded test images, {full:.2%} of all 10,000; none of them had a
  say in training.
- **By class**, of the 5,000: {by_class}.
- **Size**: {weights:,} weights and {buffers:,} running statistics, float32, {size:,} bytes.
- **SHA-256**: `{digest}`

Not for photographs, for colour, or for comparison with distances that were measured on other features.
"""


def read(folder: Path, stem: str) -> fashion.Fashion:
    pixels = read_idx(folder / f"{stem}-images-idx3-ubyte.gz").copy()
    labels = read_idx(folder / f"{stem}-labels-idx1-ubyte.gz").copy()
    images = torch.from_numpy(pixels).unsqueeze(1).float().div_(127.5).sub_(1.0)
    return fashion.Fashion(images, torch.from_numpy(labels).long())


@torch.no_grad()
def hits(net: ConvClassifier, data: fashion.Fashion) -> Tensor:
    predictions = torch.cat([net(part).argmax(1) for part in data.images.split(500)])
    return (predictions == data.labels).double()


def state(net: ConvClassifier) -> dict[str, Tensor]:
    """Weights and statistics in plain memory order, which the file format asks for."""
    return {name: value.contiguous() for name, value in net.state_dict().items()}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    rng = torch.Generator().manual_seed(SEED)
    net = ConvClassifier(rng=rng)
    start = time.perf_counter()
    fit(net, *read(folder, "train"), steps=STEPS, batch=BATCH, rng=rng, progress=True)
    minutes = (time.perf_counter() - start) / 60

    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(save(state(net)))
    digest = hashlib.sha256(TARGET.read_bytes()).hexdigest()
    embedded = fashion.load("test")
    right = hits(net, embedded)
    by_class = ", ".join(
        f"{name} {right[embedded.labels == k].mean():.1%}" for k, name in enumerate(fashion.CLASSES)
    )
    card = CARD.format(
        steps=STEPS,
        batch=BATCH,
        minutes=minutes,
        seed=SEED,
        torch=torch.__version__,
        embedded=right.mean(),
        full=hits(net, read(folder, "t10k")).mean(),
        by_class=by_class,
        weights=sum(w.numel() for w in net.parameters()),
        buffers=sum(b.numel() for b in net.buffers() if b.is_floating_point()),
        size=TARGET.stat().st_size,
        digest=digest,
    )
    TARGET.with_suffix(".md").write_text(card)
    print(card)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
