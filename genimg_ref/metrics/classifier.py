"""A small convolutional classifier, and how it is trained.

The embedded classifier of :mod:`genimg_ref.metrics.features` is one of these, and the classifier score trains
one on the images that it judges.

Chapter: metrics

Papers:

- Ioffe and Szegedy, *Batch Normalization*, 2015, arXiv:1502.03167
- Loshchilov and Hutter, *SGDR: Stochastic Gradient Descent with Warm Restarts*, 2016, arXiv:1608.03983
  (equation 5, the cosine schedule)
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from genimg_ref.train.loop import run

__all__ = ["ConvClassifier", "augment", "fit"]

SMALLEST = 8  # pixels on a side, below which two halvings leave nothing to convolve


class ConvClassifier(nn.Module):
    """Three blocks of convolutions, an average over all places, ``dim`` features, logits of ``classes``.

    The features are taken *before* their ReLU, from a batch normalisation without scale and shift: over the
    training images every feature has mean 0 and variance 1. After the ReLU they would pile up at zero, and
    a feature that is zero for every image would make covariances singular.

    Images of any size from 8 x 8. With the sizes given here it has 80,018 weights.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 10,
        width: int = 24,
        dim: int = 64,
        *,
        rng: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("classes", classes), ("width", width), ("dim", dim)):
            if value < 1:
                raise ValueError(f"{name} must be a positive number; got {value}")
        self.channels, self.classes, self.dim = channels, classes, dim
        self.body = nn.Sequential(
            *_convolution(channels, width, halve=True),
            *_convolution(width, 2 * width),
            *_convolution(2 * width, 2 * width, halve=True),
            *_convolution(2 * width, 4 * width),
        )
        self.embed = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, dim, bias=False),
            nn.BatchNorm1d(dim, affine=False),
        )
        self.head = nn.Linear(dim, classes)
        for weight in self.parameters():
            if weight.ndim > 1:  # He's initialisation; batch normalisation and biases keep 1 and 0
                weight.data.normal_(0, (2 / weight[0].numel()) ** 0.5, generator=rng)
        nn.init.zeros_(self.head.bias)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(
        self, images: Float[Tensor, "count channels height width"]
    ) -> Float[Tensor, "count {self.dim}"]:
        """What the network knows of each image just before its last ReLU."""
        if images.ndim != 4 or images.shape[1] != self.channels or min(images.shape[2:]) < SMALLEST:
            raise ValueError(
                f"images must have shape (count, {self.channels}, height, width), at least {SMALLEST} pixels "
                f"on a side; got {tuple(images.shape)}"
            )
        return self.embed(self.body(images.contiguous(memory_format=torch.channels_last)))

    def forward(
        self, images: Float[Tensor, "count channels height width"]
    ) -> Float[Tensor, "count {self.classes}"]:
        return self.head(F.relu(self.features(images)))


def _convolution(inside: int, outside: int, halve: bool = False) -> list[nn.Module]:
    pool = [nn.MaxPool2d(2)] if halve else []
    return [nn.Conv2d(inside, outside, 3, padding=1, bias=False), *pool, nn.BatchNorm2d(outside), nn.ReLU()]


def augment(
    images: Float[Tensor, "count channels height width"],
    rng: torch.Generator,
    *,
    shift: int = 2,
    flip: bool = True,
) -> Float[Tensor, "count channels height width"]:
    """Move each image by up to ``shift`` pixels along both axes and, half the time, mirror it left to right.

    The outermost pixels are repeated where nothing was.
    """
    count, channels, height, width = images.shape
    rows = torch.arange(height) + torch.randint(-shift, shift + 1, (count, 1), generator=rng)
    columns = torch.arange(width) + torch.randint(-shift, shift + 1, (count, 1), generator=rng)
    if flip:
        mirrored = torch.rand(count, 1, generator=rng) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    places = (rows[:, :, None] * width + columns[:, None, :]).reshape(count, 1, -1).to(images.device)
    return images.flatten(2).gather(2, places.expand(-1, channels, -1)).view_as(images)


def fit(
    net: ConvClassifier,
    images: Float[Tensor, "count channels height width"],
    labels: Int[Tensor, " count"],
    *,
    steps: int,
    rng: torch.Generator,
    batch: int = 128,
    rate: float = 0.1,
    decay: float = 5e-4,
    flip: bool = True,
    progress: bool = False,
) -> ConvClassifier:
    """Train ``net`` on cross-entropy for ``steps`` batches drawn with replacement; return it ready for use.

    Stochastic gradient descent with Nesterov momentum 0.9; the learning rate climbs to ``rate`` in the first
    tenth of the steps and falls to nothing along half a cosine.
    """
    _require_labelled(images, labels, net.classes)
    if steps < 20:
        raise ValueError(f"steps must be 20 or more; got {steps}")
    optimiser = torch.optim.SGD(net.parameters(), rate, momentum=0.9, nesterov=True, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rate, total_steps=steps, pct_start=0.1, cycle_momentum=False, final_div_factor=1e4
    )

    @torch.enable_grad()  # whoever measures has often switched gradients off
    def update(_: int) -> float:
        rows = torch.randint(len(images), (batch,), generator=rng).to(images.device)
        loss = F.cross_entropy(net(augment(images[rows], rng, flip=flip)), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        return loss.item()

    net.train()
    describe: Callable[[float], str] | None = "loss {:.3f}".format if progress else None
    for _ in run(update, steps=steps, describe=describe):
        pass
    return net.eval()


def _require_labelled(images: Tensor, labels: Tensor, classes: int) -> None:
    if len(images) == 0 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"labels must have one entry for each image, at least one; "
            f"got {tuple(labels.shape)} for {len(images)} images"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"labels must lie in 0 ... {classes - 1}; got {labels.min().item()} to {labels.max().item()}"
        )
