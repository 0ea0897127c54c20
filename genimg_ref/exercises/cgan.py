"""The exercises of the chapter cgan, in the order of the text."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from genimg_ref.exercises.engine import Case, Exercise, call, module, net, optimiser

Rng = np.random.Generator


def _normal(rng: Rng, *shape: int, mean: float = 0.0) -> np.ndarray:
    return rng.normal(mean, 1, size=shape).astype("float32")


def _labels(rng: Rng, count: int, classes: int) -> np.ndarray:
    """Labels of which none is sorted into place: as many classes as fit, in any order."""
    return rng.permutation(np.resize(rng.permutation(classes), count))


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels, classes).float()


# --- with_label_maps ----------------------------------------------------------------------------------


def _with_label_maps_cases(rng: Rng) -> Iterator[Case]:
    for label, (batch, channels, height, width), classes in (
        ("five grey images of 3 x 4 and seven classes", (5, 1, 3, 4), 7),
        ("four colour images and three classes", (4, 3, 2, 5), 3),
        ("as many images as classes, rows and columns", (4, 1, 4, 4), 4),
        ("a single image", (1, 2, 3, 2), 5),
    ):
        images, labels = _normal(rng, batch, channels, height, width), _labels(rng, batch, classes)
        yield call(label, images=images, labels=labels, classes=classes, gradients=["images"])
    images, labels = _normal(rng, 3, 2, 4, 3), _labels(rng, 3, 3)
    yield call("the last two classes do not occur", images=images, labels=labels, classes=5)


def _with_label_maps(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    maps = F.one_hot(labels, classes)[:, :, None, None].to(images)
    return torch.cat([images, maps.expand(-1, -1, *images.shape[2:])], dim=1)


with_label_maps = Exercise(points=1, minutes=10, reference=_with_label_maps, cases=_with_label_maps_cases)


@with_label_maps.mistake(
    "The maps stand before the image. The order asked for is: the image's channels, then the maps."
)
def maps_first(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    both = _with_label_maps(images, labels, classes)
    return both.roll(classes, dims=1)


@with_label_maps.mistake(
    "One map holds the number of the label. To a network class 6 would then be three times class 2: "
    "give each class a map of its own."
)
def label_as_number(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    maps = labels[:, None, None, None].to(images).expand(-1, 1, *images.shape[2:])
    return torch.cat([images, maps], dim=1)


@with_label_maps.mistake(
    "All classes share one map, or there is a single one that is always 1. There have to be as many "
    "maps as classes, so that the network can tell which."
)
def single_map_of_ones(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    return torch.cat([images, torch.ones_like(images[:, :1])], dim=1)


@with_label_maps.mistake("Counting starts at 0: your maps are those of the next class.")
def next_class(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    return _with_label_maps(images, (labels + 1) % classes, classes)


@with_label_maps.mistake(
    "Each image gets the label of the first. The maps differ from image to image: keep the batch axis "
    "of the one-hot rows."
)
def label_of_the_first(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    return _with_label_maps(images, labels[:1].expand_as(labels), classes)


@with_label_maps.mistake(
    "Every image has the maps of all labels in the batch: `maps[:, labels]` takes these maps in all of the "
    "images. Each image goes with its own label: `maps[torch.arange(len(images)), labels]`."
)
def labels_of_the_batch(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    maps = images.new_zeros(len(images), classes, *images.shape[2:])
    maps[:, labels] = 1
    return torch.cat([images, maps], dim=1)


@with_label_maps.mistake(
    "You cut the one-hot numbers up anew with `view`, `reshape` or `repeat`, and they land in the wrong"
    " places. A map is one number, repeated over all pixels: add two axes of length 1 and expand them."
)
def repeated_in_memory_order(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    batch, _, height, width = images.shape
    rows = F.one_hot(labels, classes).to(images)
    return torch.cat([images, rows.repeat(1, height * width).view(batch, classes, height, width)], dim=1)


@with_label_maps.mistake("The maps are -1 where the label is another one. Asked for are 0 and 1.")
def minus_one(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    both = _with_label_maps(images, labels, classes)
    channels = images.shape[1]
    return torch.cat([both[:, :channels], 2 * both[:, channels:] - 1], dim=1)


@with_label_maps.mistake(
    "The maps mark a single pixel. A convolution sees only a window at a time: the label has to be "
    "everywhere."
)
def one_pixel(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    maps = images.new_zeros(len(images), classes, *images.shape[2:])
    maps[torch.arange(len(images)), labels, 0, 0] = 1
    return torch.cat([images, maps], dim=1)


@with_label_maps.mistake(
    "The images are cut off from the graph, so no gradient can reach the generator through them. "
    "`detach` and `.data` do not belong here."
)
def images_detached(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    return _with_label_maps(images.detach(), labels, classes)


@with_label_maps.mistake(
    "One map holds the label, scaled to lie between 0 and 1. Scaled or not, it puts the classes in an "
    "order that they do not have: give each class a map of its own."
)
def scaled_label(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    maps = (labels.to(images) / (classes - 1))[:, None, None, None].expand(-1, 1, *images.shape[2:])
    return torch.cat([images, maps], dim=1)


@with_label_maps.mistake(
    "The one-hot numbers lie along the rows of each image instead of along its channels. That only runs "
    "where there are as many rows as classes: the new axes belong behind the axis of the classes."
)
def along_the_rows(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    maps = F.one_hot(labels, classes)[:, None, :, None].to(images)
    return torch.cat([images, maps.expand(-1, classes, *images.shape[2:])], dim=1)


@with_label_maps.mistake(
    "Images and classes have changed places in the maps. That only runs where there are as many of the "
    "one as of the other: the axis of the batch comes first."
)
def batch_and_classes_exchanged(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    maps = F.one_hot(labels, classes).T[:, :, None, None].to(images)
    return torch.cat([images, maps.expand(-1, -1, *images.shape[2:])], dim=1)


@with_label_maps.mistake(
    "There are only as many maps as the labels of this batch need. The next batch may have other labels, "
    "and the network always expects the same number: `classes` tells it."
)
def counted_from_the_labels(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    return _with_label_maps(images, labels, int(labels.max()) + 1)


@with_label_maps.also_right
def by_writing_ones(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    maps = images.new_zeros(len(images), classes, *images.shape[2:])
    maps[torch.arange(len(images)), labels] = 1
    return torch.cat((images, maps), 1)


@with_label_maps.also_right
def by_comparison(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    same = labels.view(-1, 1, 1, 1) == torch.arange(classes).view(1, -1, 1, 1)
    return torch.cat([images, same.to(images.dtype) * torch.ones_like(images[:, :1])], dim=1)


@with_label_maps.also_right
def image_by_image(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    made = []
    for image, label in zip(images, labels.tolist(), strict=True):
        planes = [torch.full(image.shape[1:], float(k == label)) for k in range(classes)]
        made.append(torch.cat([image, torch.stack(planes)]))
    return torch.stack(made)


# --- conditional_discriminator_step -------------------------------------------------------------------

CLASSES = 3


def _step_cases(rng: Rng) -> Iterator[Case]:
    def case(
        label: str, options: dict[str, Any], *, repeat: int = 1, stale: bool = False, bias: float = 0.0
    ) -> Case:
        critic = net(rng, ["Linear", 2 + CLASSES, 6], ["LeakyReLU", 0.2], ["Linear", 6, 1], scale=0.8)
        critic["state"][3] += np.float32(bias)
        return call(
            label,
            net_gradients=["generator"],
            stale=["discriminator"] if stale else [],
            repeat=repeat,
            generator=net(rng, ["Linear", 2 + CLASSES, 5], ["Tanh"], ["Linear", 5, 2], scale=0.8),
            discriminator=critic,
            optimiser=optimiser("discriminator", **options),
            real=_normal(rng, 5, 2, mean=1.0),
            labels=_labels(rng, 5, CLASSES),
            z=_normal(rng, 7, 2),
            asked=_labels(rng, 7, CLASSES),
            classes=CLASSES,
        )

    yield case("one step, with five real points and seven generated ones", {"lr": 0.2})
    yield case("three steps in a row, with momentum", {"lr": 0.1, "momentum": 0.9}, repeat=3)
    yield case("old gradients in the discriminator", {"lr": 0.2}, stale=True)
    yield case("a discriminator that is sure that all is real", {"lr": 0.1}, bias=150.0)
    yield case("a discriminator that is sure that all is generated", {"lr": 0.1}, bias=-150.0)


def _step(
    generator: nn.Module,
    discriminator: nn.Module,
    optimiser: Optimizer,
    real: Tensor,
    labels: Tensor,
    z: Tensor,
    asked: Tensor,
    classes: int,
    *,
    losses: Callable[[Tensor, Tensor], Tensor] = lambda real, fake: (
        F.softplus(-real).mean() + F.softplus(fake).mean()
    ),
    judged_as: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda labels, asked: (labels, asked),
    made_as: Callable[[Tensor, Tensor], Tensor] = lambda labels, asked: asked,
    detach: bool = True,
    clear: bool = True,
    move: bool = True,
    join: Callable[[Tensor, Tensor], Tensor] = lambda x, y: torch.cat([x, y], dim=1),
    as_number: bool = True,
    after: bool = False,
) -> Any:
    """The right answer, with knobs for the wrong ones."""
    y_real, y_fake = judged_as(labels, asked)

    def value() -> Tensor:
        made = made_as(labels, asked)
        fake = generator(torch.cat([z, _one_hot(made, classes)], dim=1))
        on_real = discriminator(join(real, _one_hot(y_real, classes)))
        on_fake = discriminator(join(fake.detach() if detach else fake, _one_hot(y_fake, classes)))
        return losses(on_real, on_fake)

    loss = value()
    if clear:
        optimiser.zero_grad()
    loss.backward()
    if move:
        optimiser.step()
    told = value() if after else loss
    return told.item() if as_number else told


def _step_reference(
    generator: nn.Module,
    discriminator: nn.Module,
    optimiser: Optimizer,
    real: Tensor,
    labels: Tensor,
    z: Tensor,
    asked: Tensor,
    classes: int,
) -> float:
    return float(_step(generator, discriminator, optimiser, real, labels, z, asked, classes))


conditional_discriminator_step = Exercise(points=3, minutes=20, reference=_step_reference, cases=_step_cases)


def _resized(labels: Tensor, count: int) -> Tensor:
    """The first ``count`` labels, from the start again where they are too few."""
    return labels[torch.arange(count) % len(labels)]


@conditional_discriminator_step.mistake(
    "The generated points are shown with labels of the real ones. The discriminator has to see what was"
    " asked for: otherwise it learns that a good answer to another question is wrong."
)
def fakes_with_real_labels(*arguments: Any) -> float:
    return float(_step(*arguments, judged_as=lambda y, asked: (y, _resized(y, len(asked)))))


@conditional_discriminator_step.mistake(
    "The real points are shown with the labels that the generator was asked for. Each real point comes "
    "with its own."
)
def real_with_asked(*arguments: Any) -> float:
    return float(_step(*arguments, judged_as=lambda y, asked: (_resized(asked, len(y)), asked)))


@conditional_discriminator_step.mistake(
    "The generator is given the labels of the real points, and judged by those that were asked for."
)
def made_for_other_labels(*arguments: Any) -> float:
    return float(_step(*arguments, made_as=lambda y, asked: _resized(y, len(asked))))


@conditional_discriminator_step.mistake(
    "The discriminator never sees a label: what stands beside its points is zero, or one and the same "
    "for all. It can then only ask whether a point is real, and the generator may ignore what it was "
    "asked."
)
def labels_withheld(*arguments: Any) -> float:
    return float(_step(*arguments, join=lambda x, y: torch.cat([x, torch.zeros_like(y)], dim=1)))


@conditional_discriminator_step.mistake(
    "The step is right, but the generator has gathered gradients. They are not its to learn from: "
    "detach what it made."
)
def not_detached(*arguments: Any) -> float:
    return float(_step(*arguments, detach=False))


@conditional_discriminator_step.mistake(
    "Gradients of an earlier step are still there and are added to the new ones. Clear them first."
)
def not_cleared(*arguments: Any) -> float:
    return float(_step(*arguments, clear=False))


@conditional_discriminator_step.mistake(
    "Nothing moves: the gradients are there, and the optimiser is never asked to step."
)
def no_step(*arguments: Any) -> float:
    return float(_step(*arguments, move=False))


@conditional_discriminator_step.mistake(
    "The signs are exchanged: this discriminator learns to call generated points real. "
    "`softplus(-logit)` is what a real one costs."
)
def signs_exchanged(*arguments: Any) -> float:
    return float(_step(*arguments, losses=lambda r, f: F.softplus(r).mean() + F.softplus(-f).mean()))


@conditional_discriminator_step.mistake(
    "You average over real and generated points in one go. With different numbers of them the two "
    "halves weigh unequally: take two means and add them."
)
def one_mean(*arguments: Any) -> float:
    return float(_step(*arguments, losses=lambda r, f: 2 * torch.cat([F.softplus(-r), F.softplus(f)]).mean()))


@conditional_discriminator_step.mistake(
    "The sum of the two means is halved. The value of the game is their plain sum."
)
def halved(*arguments: Any) -> float:
    return float(_step(*arguments, losses=lambda r, f: (F.softplus(-r).mean() + F.softplus(f).mean()) / 2))


@conditional_discriminator_step.mistake(
    "This is one mean over all points, real and generated. Each half then counts by its number of points, "
    "and not in full: take a mean for each, and add the two."
)
def one_plain_mean(*arguments: Any) -> float:
    return float(_step(*arguments, losses=lambda r, f: torch.cat([F.softplus(-r), F.softplus(f)]).mean()))


@conditional_discriminator_step.mistake("You sum over the points. The expectations of the game are means.")
def summed(*arguments: Any) -> float:
    return float(_step(*arguments, losses=lambda r, f: F.softplus(-r).sum() + F.softplus(f).sum()))


@conditional_discriminator_step.mistake(
    "You take the logarithm of a sigmoid, which is zero where the discriminator is very sure, and its "
    "logarithm infinite. `softplus` and `logsigmoid` stay finite."
)
def logarithm_of_sigmoid(*arguments: Any) -> float:
    return float(
        _step(*arguments, losses=lambda r, f: -r.sigmoid().log().mean() - (1 - f.sigmoid()).log().mean())
    )


@conditional_discriminator_step.mistake(
    "`binary_cross_entropy` on probabilities cuts its logarithms off, and where the sigmoid has rounded to "
    "0 or 1 the gradient is gone. Leave the sigmoid to a loss that takes logits."
)
def cross_entropy_of_probabilities(*arguments: Any) -> float:
    def losses(r: Tensor, f: Tensor) -> Tensor:
        bce = F.binary_cross_entropy
        return bce(r.sigmoid(), torch.ones_like(r)) + bce(f.sigmoid(), torch.zeros_like(f))

    return float(_step(*arguments, losses=losses))


@conditional_discriminator_step.mistake(
    "That is the loss of a generator. The discriminator wants real points to be called real and generated "
    "ones generated."
)
def loss_of_the_generator(*arguments: Any) -> float:
    return float(_step(*arguments, losses=lambda r, f: F.softplus(-f).mean() + 0 * r.mean()))


@conditional_discriminator_step.mistake(
    "The discriminator is shown the label before the point. Both nets take the one-hot numbers last; the "
    "shapes agree in either order, the weights do not."
)
def label_before_the_point(*arguments: Any) -> float:
    return float(_step(*arguments, join=lambda x, y: torch.cat([y, x], dim=1)))


@conditional_discriminator_step.mistake(
    "You return the loss after the step. Asked for is the one that the step was taken on."
)
def loss_after_the_step(*arguments: Any) -> float:
    return float(_step(*arguments, after=True))


@conditional_discriminator_step.also_right
def with_bce(
    generator: nn.Module,
    discriminator: nn.Module,
    optimiser: Optimizer,
    real: Tensor,
    labels: Tensor,
    z: Tensor,
    asked: Tensor,
    classes: int,
) -> Tensor:
    with torch.no_grad():
        fake = generator(torch.cat([z, torch.eye(classes)[asked]], dim=1))
    discriminator.zero_grad()
    r = discriminator(torch.cat([real, torch.eye(classes)[labels]], dim=1))
    f = discriminator(torch.cat([fake, torch.eye(classes)[asked]], dim=1))
    bce = F.binary_cross_entropy_with_logits
    loss = bce(r, torch.ones_like(r)) + bce(f, torch.zeros_like(f))
    loss.backward()
    optimiser.step()
    return loss.detach()


@conditional_discriminator_step.also_right
def in_two_parts(
    generator: nn.Module,
    discriminator: nn.Module,
    optimiser: Optimizer,
    real: Tensor,
    labels: Tensor,
    z: Tensor,
    asked: Tensor,
    classes: int,
) -> float:
    optimiser.zero_grad()
    total = 0.0
    fake = generator(torch.cat([z, _one_hot(asked, classes)], dim=1)).detach()
    for x, y, sign in ((real, labels, -1), (fake, asked, 1)):
        part = -F.logsigmoid(-sign * discriminator(torch.cat([x, _one_hot(y, classes)], dim=1))).mean()
        part.backward()
        total += part.item()
    optimiser.step()
    return total


@conditional_discriminator_step.also_right
def in_one_batch(
    generator: nn.Module,
    discriminator: nn.Module,
    optimiser: Optimizer,
    real: Tensor,
    labels: Tensor,
    z: Tensor,
    asked: Tensor,
    classes: int,
) -> float:
    with torch.no_grad():
        fake = generator(torch.hstack([z, _one_hot(asked, classes)]))
    points, told = torch.vstack([real, fake]), torch.hstack([labels, asked])
    logits = discriminator(torch.hstack([points, _one_hot(told, classes)])).flatten()
    signs = torch.cat([-torch.ones(len(real)), torch.ones(len(fake))])
    shares = torch.cat([torch.full((len(x),), 1 / len(x)) for x in (real, fake)])
    loss = (shares * torch.logaddexp(signs * logits, torch.zeros(len(logits)))).sum()
    optimiser.zero_grad(set_to_none=False)
    loss.backward()
    optimiser.step()
    return loss.item()


# --- ConditionalDiscriminator -------------------------------------------------------------------------


class Judge(nn.Module):
    """The right network, with knobs for the wrong ones."""

    def __init__(
        self,
        height: int,
        width: int,
        classes: int,
        channels: int,
        *,
        ending: Callable[[Tensor], Tensor] = lambda logits: logits[:, 0],
        join: Callable[[Tensor, Tensor], Tensor] = lambda x, label: torch.cat([x, label], dim=1),
        inputs: int = 2,
        turned: bool = False,
        first_norm: bool = False,
        second_norm: bool = True,
        bias: bool = False,
        slopes: tuple[float, float] = (0.2, 0.2),
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, height * width)
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, channels, 4, stride=2, padding=1),
            *([nn.BatchNorm2d(channels)] if first_norm else []),
            nn.LeakyReLU(slopes[0]),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1, bias=bias or not second_norm),
            *([nn.BatchNorm2d(2 * channels)] if second_norm else []),
            nn.LeakyReLU(slopes[1]),
        )
        self.classify = nn.Linear(2 * channels * (height // 4) * (width // 4), 1)
        self.ending, self.join, self.turned = ending, join, turned

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        height, width = images.shape[2:]
        rows = self.embed(labels)
        label = (
            rows.view(-1, 1, width, height).transpose(2, 3)
            if self.turned
            else rows.view(-1, 1, height, width)
        )
        return self.ending(self.classify(self.layers(self.join(images, label)).flatten(1)))


def _judge_cases(rng: Rng) -> Iterator[Case]:
    for label, batch, sizes, training in (
        ("images that are wider than high", 6, (8, 12, 5, 3), True),
        ("as many images as classes and channels", 4, (12, 8, 4, 4), True),
        ("a single image", 1, (8, 8, 3, 2), True),
        ("in evaluation mode", 3, (8, 4, 4, 2), False),
    ):
        init = dict(zip(("height", "width", "classes", "channels"), sizes, strict=True))
        with torch.random.fork_rng(devices=[]):
            shapes = [tuple(p.shape) for p in Judge(*sizes).parameters()]
        parameters = [_normal(rng, *shape) * np.float32(0.5) for shape in shapes]
        inputs, seen = (
            [_normal(rng, count, 1, *sizes[:2]), _labels(rng, count, sizes[2])] for count in (batch, 2)
        )
        yield module(
            label,
            init=init,
            parameters=parameters,
            inputs=inputs,
            training=training,
            seen=None if training else seen,
        )


ConditionalDiscriminator = Exercise(
    points=3, minutes=20, reference=Judge, cases=_judge_cases, rtol=1e-3, atol=1e-3
)


@ConditionalDiscriminator.mistake(
    "It returns probabilities. The losses of this course take logits and apply the sigmoid themselves."
)
def probabilities(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(height, width, classes, channels, ending=lambda logits: logits[:, 0].sigmoid())


@ConditionalDiscriminator.mistake(
    "`squeeze()` without an axis removes every axis of length 1, the batch of a single image too. Say "
    "which axis."
)
def squeezed(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(height, width, classes, channels, ending=lambda logits: logits.squeeze())


@ConditionalDiscriminator.mistake(
    "The logits have shape (batch, 1). Asked for is (batch,): subtract one shape from the other and "
    "broadcasting makes a matrix."
)
def column(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(height, width, classes, channels, ending=lambda logits: logits)


@ConditionalDiscriminator.mistake(
    "The sigmoid and the bare `squeeze` are both still there: the losses want logits, and a batch of "
    "one image wants its axis."
)
def ending_as_it_stood(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(height, width, classes, channels, ending=lambda logits: logits.sigmoid().squeeze())


@ConditionalDiscriminator.mistake(
    "The map of the label stands before the image. Asked for is the image first: the check loads "
    "weights for that order."
)
def map_first(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(height, width, classes, channels, join=lambda x, label: torch.cat([label, x], dim=1))


@ConditionalDiscriminator.mistake(
    "Height and width are exchanged in the view. With square images nobody notices; these are not square."
)
def sides_exchanged(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(height, width, classes, channels, turned=True)


@ConditionalDiscriminator.mistake(
    "You multiply the image by the map, or add the two, instead of giving the network both. The first "
    "convolution then has one input channel, where two are asked for."
)
def map_added(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(height, width, classes, channels, join=lambda x, label: x + label, inputs=1)


@ConditionalDiscriminator.mistake(
    "The map does not depend on the label of its image: each gets that of the first."
)
def map_of_the_first(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(
        height, width, classes, channels, join=lambda x, label: torch.cat([x, label[:1].expand_as(x)], dim=1)
    )


@ConditionalDiscriminator.mistake(
    "The label's map is cut off from the graph: what a label looks like would never be learnt."
)
def map_detached(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(
        height, width, classes, channels, join=lambda x, label: torch.cat([x, label.detach()], dim=1)
    )


@ConditionalDiscriminator.mistake(
    "The embedding still has 784 numbers, whatever the size of the images. It has to fill one map of them."
)
def still_784(height: int, width: int, classes: int, channels: int) -> nn.Module:
    model = Judge(height, width, classes, channels)
    model.embed = nn.Embedding(classes, 784)
    return model


@ConditionalDiscriminator.mistake(
    "Batch normalisation stands in the first layer. There it acts on the pixels' own brightness and "
    "contrast: the guidelines leave it out."
)
def norm_in_the_first(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(height, width, classes, channels, first_norm=True)


@ConditionalDiscriminator.mistake(
    "There is no batch normalisation after the second convolution. It was in the code to be mended: keep it."
)
def no_norm(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(height, width, classes, channels, second_norm=False)


@ConditionalDiscriminator.mistake(
    "The second convolution has a bias, which the batch normalisation after it takes off again."
)
def superfluous_bias(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(height, width, classes, channels, bias=True)


@ConditionalDiscriminator.mistake(
    "The rectifiers have another slope, or none. LeakyReLU with 0.2 it should be, in both layers."
)
def plain_rectifier(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(height, width, classes, channels, slopes=(0.0, 0.0))


@ConditionalDiscriminator.mistake(
    "There is no rectifier between the layers. Without one the whole network is little more than a single "
    "linear layer."
)
def no_rectifier(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(height, width, classes, channels, slopes=(1.0, 1.0))


@ConditionalDiscriminator.mistake(
    "The label's map is repeated until it fills several channels. Copies tell the network nothing new: one "
    "map beside the image is enough."
)
def map_in_copies(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(
        height,
        width,
        classes,
        channels,
        join=lambda x, label: torch.cat([x, label.expand(-1, channels, -1, -1)], dim=1),
        inputs=1 + channels,
    )


@ConditionalDiscriminator.also_right
class Flattened(nn.Module):
    def __init__(self, height: int, width: int, classes: int, channels: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(classes, height * width))
        self.body = nn.Sequential(
            nn.Conv2d(2, channels, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(2 * channels * height * width // 16, 1),
            nn.Flatten(0),
        )

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.body(torch.cat([images, self.table[labels].view_as(images)], dim=1))


@ConditionalDiscriminator.also_right
def squeezed_by_axis(height: int, width: int, classes: int, channels: int) -> nn.Module:
    return Judge(height, width, classes, channels, ending=lambda logits: logits.squeeze(1))


@ConditionalDiscriminator.also_right
class InFunctions(nn.Module):
    def __init__(self, height: int, width: int, classes: int, channels: int) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Embedding(classes, height * width), nn.Unflatten(1, (1, height, width)))
        self.first = nn.Conv2d(2, channels, 4, 2, 1)
        self.second = nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(2 * channels)
        self.last = nn.Linear(2 * channels * (height // 4) * (width // 4), 1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(torch.cat((images, self.maps(labels)), 1)), 0.2)
        x = F.leaky_relu(self.norm(self.second(x)), 0.2)
        return self.last(x.reshape(len(x), -1)).reshape(len(x))


# --- ConditionalBatchNorm2d ---------------------------------------------------------------------------


class Normed(nn.Module):
    """The right layer, with knobs for the wrong ones."""

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        start: Callable[[Tensor], Any] = nn.init.ones_,
        shift: Callable[[Tensor], Any] = nn.init.zeros_,
        apply: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda x, gain, shift: x * gain + shift,
        norm: nn.Module | None = None,
        choose: Callable[[Tensor], Tensor] = lambda labels: labels,
    ) -> None:
        super().__init__()
        self.norm = norm or nn.BatchNorm2d(channels, affine=False)
        self.gain, self.shift = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        start(self.gain.weight)
        shift(self.shift.weight)
        self.apply_to, self.choose = apply, choose

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        own = self.choose(labels)
        return self.apply_to(
            self.norm(x), self.gain(own)[:, :, None, None], self.shift(own)[:, :, None, None]
        )


def _normed_cases(rng: Rng) -> Iterator[Case]:
    for label, shape, classes, training in (
        ("seven images, three channels, four classes", (7, 3, 2, 5), 4, True),
        ("as many images as channels, classes and columns", (4, 4, 3, 4), 4, True),
        ("two classes of five occur", (6, 2, 3, 3), 5, True),
        ("in evaluation mode", (5, 3, 2, 4), 3, False),
    ):
        x = (_normal(rng, *shape, mean=1.0) * rng.uniform(1, 3, size=(1, shape[1], 1, 1))).astype("float32")
        labels = _labels(rng, shape[0], 2 if classes == 5 else classes)
        x += 2 * labels[:, None, None, None].astype("float32")  # classes differ in their means
        parameters = [_normal(rng, classes, shape[1], mean=mean) for mean in (1.5, -0.5)]
        init = {"channels": shape[1], "classes": classes}
        # six numbers a channel, so that one divided by n and by n - 1 are far apart
        seen = [_normal(rng, 3, shape[1], 2, 1, mean=2.0) * np.float32(2), _labels(rng, 3, classes)]
        yield module(
            label,
            init=init,
            parameters=parameters,
            inputs=[x, labels],
            training=training,
            seen=None if training else seen,
        )
    init = {"channels": 3, "classes": 6}
    inputs = [_normal(rng, 4, 3, 2, 2), _labels(rng, 4, 6)]
    yield module("as it starts", init=init, inputs=inputs, initial=True)


ConditionalBatchNorm2d = Exercise(
    points=3, minutes=25, reference=Normed, cases=_normed_cases, rtol=1e-3, atol=1e-4
)


class _PerClass(nn.Module):
    """Statistics of each class by itself, as nobody asked for."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        out = torch.empty_like(x)
        for label in labels.unique():
            rows = labels == label
            out[rows] = F.batch_norm(x[rows], None, None, training=True)
        return out


@ConditionalBatchNorm2d.mistake(
    "The statistics are taken for each class by itself. That erases what the classes differ in; gain "
    "and shift belong to the class, mean and variance to the whole batch."
)
class StatisticsPerClass(Normed):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, classes)
        self.own = _PerClass()

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        gain, shift = self.gain(labels)[:, :, None, None], self.shift(labels)[:, :, None, None]
        return self.own(x, labels) * gain + shift


@ConditionalBatchNorm2d.mistake(
    "Each image is normalised by itself: that is instance normalisation. Mean and variance run over the"
    " batch as well."
)
def instance_norm(channels: int, classes: int) -> nn.Module:
    return Normed(channels, classes, norm=nn.InstanceNorm2d(channels))


@ConditionalBatchNorm2d.mistake(
    "Mean and variance run over the channels of an image: that is layer normalisation. Each channel has"
    " its own, over batch and positions."
)
def layer_norm(channels: int, classes: int) -> nn.Module:
    return Normed(channels, classes, norm=nn.GroupNorm(1, channels, affine=False))


@ConditionalBatchNorm2d.mistake(
    "The gains start at 0, so nothing passes and no gradient reaches the layers before. They should "
    "start at 1."
)
def gains_of_zero(channels: int, classes: int) -> nn.Module:
    return Normed(channels, classes, start=nn.init.zeros_)


@ConditionalBatchNorm2d.mistake(
    "Gains and shifts start at random, as `nn.Embedding` leaves them. Fill the gains with 1 and the "
    "shifts with 0: the layer should start as plain batch normalisation."
)
def left_at_random(channels: int, classes: int) -> nn.Module:
    torch.manual_seed(1)
    return Normed(channels, classes, start=lambda w: w, shift=lambda w: w)


@ConditionalBatchNorm2d.mistake("The shifts start at 1, as the gains do. They should start at 0.")
def shifts_of_one(channels: int, classes: int) -> nn.Module:
    return Normed(channels, classes, shift=nn.init.ones_)


@ConditionalBatchNorm2d.mistake(
    "The shift is added before the gain multiplies, so the gain stretches it too. Gain first, then shift."
)
def shift_before_gain(channels: int, classes: int) -> nn.Module:
    return Normed(channels, classes, apply=lambda x, gain, shift: (x + shift) * gain)


@ConditionalBatchNorm2d.mistake(
    "You multiply by one plus the gain, and the gains start at 0. As a layer that is as good; here what is "
    "in the table multiplies as it is, so a loaded table of gains means something else to your layer."
)
def one_plus_gain(channels: int, classes: int) -> nn.Module:
    return Normed(
        channels,
        classes,
        start=nn.init.zeros_,
        apply=lambda x, gain, shift: x * (1 + gain) + shift,
    )


@ConditionalBatchNorm2d.mistake(
    "You multiply by one plus the gain, although the gains start at 1 already: the layer starts by doubling."
)
def doubled_at_the_start(channels: int, classes: int) -> nn.Module:
    return Normed(channels, classes, apply=lambda x, gain, shift: x * (1 + gain) + shift)


@ConditionalBatchNorm2d.mistake(
    "Gain and shift come from the wrong table each. The parameters are, in this order, the gains and "
    "the shifts."
)
def tables_exchanged(channels: int, classes: int) -> nn.Module:
    return Normed(
        channels,
        classes,
        start=nn.init.zeros_,
        shift=nn.init.ones_,
        apply=lambda x, gain, shift: x * shift + gain,
    )


@ConditionalBatchNorm2d.mistake(
    "All images get gain and shift of the first one's class. Each has its own: keep the batch axis."
)
def label_of_the_first_image(channels: int, classes: int) -> nn.Module:
    return Normed(channels, classes, choose=lambda labels: labels[:1].expand_as(labels))


@ConditionalBatchNorm2d.mistake(
    "The labels have no effect: the mean gain and shift of all classes, or those of one class, serve "
    "everybody."
)
class SameForAll(Normed):
    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        gain, shift = (table.weight.mean(dim=0)[None, :, None, None] for table in (self.gain, self.shift))
        return self.norm(x) * gain + shift


@ConditionalBatchNorm2d.mistake(
    "The normalisation inside has a gain and a shift of its own besides those of the classes: "
    "`affine=False` leaves them out."
)
def affine_inside(channels: int, classes: int) -> nn.Module:
    return Normed(channels, classes, norm=nn.BatchNorm2d(channels))


@ConditionalBatchNorm2d.mistake(
    "Gain and shift share one table, twice as wide, that is cut in two. That can work, but which half is "
    "which is easily mistaken: asked for are two tables, first the gains, then the shifts."
)
class OneTable(Normed):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, classes)
        del self.gain, self.shift
        self.both = nn.Embedding(classes, 2 * channels)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        shift, gain = self.both(labels)[:, :, None, None].chunk(2, dim=1)
        return self.norm(x) * gain + shift


@ConditionalBatchNorm2d.mistake(
    "Gain and shift run along the columns of the image instead of along its channels. That only works where "
    "there are as many columns as channels: two axes of length 1 belong behind the channels."
)
def along_the_columns(channels: int, classes: int) -> nn.Module:
    return Normed(
        channels,
        classes,
        apply=lambda x, gain, shift: x * gain[:, None, None, :, 0, 0] + shift[:, None, None, :, 0, 0],
    )


@ConditionalBatchNorm2d.mistake(
    "In evaluation mode it still normalises by the batch at hand. There the running mean and variance "
    "are used, so that an image does not depend on its neighbours."
)
def no_running_statistics(channels: int, classes: int) -> nn.Module:
    return Normed(channels, classes, norm=nn.BatchNorm2d(channels, affine=False, track_running_stats=False))


class _Kept(nn.Module):
    """Batch normalisation by hand, with a choice of how the running statistics move."""

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, share: float = 0.1, correction: int = 1) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.share, self.correction = share, correction

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.mean, self.variance
        if self.training:
            mean, variance = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), correction=0)
            self.mean.lerp_(mean.detach(), self.share)
            self.variance.lerp_(x.detach().var(dim=(0, 2, 3), correction=self.correction), self.share)
        scale = (variance + 1e-5).rsqrt()
        return (x - mean[:, None, None]) * scale[:, None, None]


@ConditionalBatchNorm2d.mistake(
    "In evaluation mode nothing of what was seen in training is known: the running mean and variance never "
    "move from 0 and 1. Every call in training mode has to move them, as `nn.BatchNorm2d` does by itself."
)
def never_moved(channels: int, classes: int) -> nn.Module:
    return Normed(channels, classes, norm=_Kept(channels, share=0.0))


@ConditionalBatchNorm2d.mistake(
    "The running statistics move nine tenths of the way to each new batch. In PyTorch `momentum` is the "
    "share of the new batch, and it is 0.1."
)
def momentum_turned_round(channels: int, classes: int) -> nn.Module:
    return Normed(channels, classes, norm=nn.BatchNorm2d(channels, affine=False, momentum=0.9))


@ConditionalBatchNorm2d.mistake(
    "The running mean and variance are those of the last batch alone. `nn.BatchNorm2d` moves them by a tenth "
    "of the way to each new batch."
)
def last_batch_alone(channels: int, classes: int) -> nn.Module:
    return Normed(channels, classes, norm=nn.BatchNorm2d(channels, affine=False, momentum=1.0))


@ConditionalBatchNorm2d.mistake(
    "The running variance is divided by n. The batch at hand is normalised by that one, but what "
    "`nn.BatchNorm2d` keeps for later is divided by n - 1."
)
def biased_running_variance(channels: int, classes: int) -> nn.Module:
    return Normed(channels, classes, norm=_Kept(channels, correction=0))


@ConditionalBatchNorm2d.mistake("The input is not normalised at all: gain and shift alone are applied.")
def not_normalised(channels: int, classes: int) -> nn.Module:
    return Normed(channels, classes, norm=nn.Identity())


@ConditionalBatchNorm2d.also_right
class ByTables(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.gains = nn.Parameter(torch.ones(classes, channels))
        self.shifts = nn.Parameter(torch.zeros(classes, channels))
        self.statistics = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        scaled = torch.einsum("bchw,bc->bchw", self.statistics(x), self.gains[labels])
        return scaled + self.shifts[labels][..., None, None]


@ConditionalBatchNorm2d.also_right
def by_hand(channels: int, classes: int) -> nn.Module:
    return Normed(channels, classes, norm=_Kept(channels))


@ConditionalBatchNorm2d.also_right
class ImageByImage(Normed):
    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        pairs = zip(self.norm(x), labels, strict=True)
        return torch.stack([h * self.gain(y)[:, None, None] + self.shift(y)[:, None, None] for h, y in pairs])


@ConditionalBatchNorm2d.also_right
class ByOneHot(Normed):
    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        rows = F.one_hot(labels, self.gain.num_embeddings).to(x)
        gain, shift = rows @ self.gain.weight, rows @ self.shift.weight
        return torch.addcmul(shift[..., None, None], self.norm(x), gain[..., None, None])


# --- projection_logits --------------------------------------------------------------------------------


def _projection_cases(rng: Rng) -> Iterator[Case]:
    for label, batch, dim, classes in (
        ("six images, four features, three classes", 6, 4, 3),
        ("as many images as features and classes", 4, 4, 4),
        ("a single image", 1, 5, 3),
        ("more classes than images", 3, 2, 7),
    ):
        yield call(
            label,
            features=_normal(rng, batch, dim, mean=0.5),
            labels=_labels(rng, batch, classes),
            embedding=_normal(rng, classes, dim),
            weight=_normal(rng, dim),
            bias=np.array(rng.normal(), dtype="float32"),
            gradients=["features", "embedding", "weight", "bias"],
        )


def _projection(features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return features @ weight + bias + (embedding[labels] * features).sum(dim=1)


projection_logits = Exercise(points=2, minutes=15, reference=_projection, cases=_projection_cases)


@projection_logits.mistake(
    "The part that does not depend on the label is missing: whether this looks like an image at all."
)
def conditional_part_alone(
    features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    return (embedding[labels] * features).sum(dim=1)


@projection_logits.mistake("The part with the label is missing: this is an unconditional discriminator.")
def unconditional(
    features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    return features @ weight + bias


@projection_logits.mistake("The bias is missing.")
def without_bias(features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return _projection(features, labels, embedding, weight, bias * 0)


@projection_logits.mistake(
    "You multiply every image with the vector of every label in the batch and get a matrix. Each image "
    "meets the vector of its own label only: multiply entry by entry and sum over the features."
)
def matrix(features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return features @ weight + bias + features @ embedding[labels].T


@projection_logits.mistake(
    "You sum over a whole row of images and labels, so each image is also held against the labels of "
    "the others."
)
def summed_over_labels(
    features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    return features @ weight + bias + (features @ embedding[labels].T).sum(dim=1)


@projection_logits.mistake(
    "The vectors of all classes are added up, whatever the label. Look up the one row that belongs to "
    "each image."
)
def all_classes(features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return features @ weight + bias + (features @ embedding.T).sum(dim=1)


@projection_logits.mistake("You take a mean over the features. The product of two vectors is the sum.")
def mean_over_features(
    features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    return features @ weight + bias + (embedding[labels] * features).mean(dim=1)


@projection_logits.mistake(
    "The label's vector is added to the features before the weights are applied. The logit is then a "
    "sum of a part of the image and a part of the label, and never asks whether the two fit."
)
def added_before_weights(
    features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    return (features + embedding[labels]) @ weight + bias


@projection_logits.mistake(
    "The weights are applied to the product as well. The product with the label's vector is added as it is."
)
def weighted_twice(
    features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    return features @ weight + bias + (embedding[labels] * features) @ weight


@projection_logits.mistake(
    "You divide by the lengths of the vectors. A cosine is bounded; the logarithm of a ratio of "
    "probabilities is not."
)
def cosine(features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return features @ weight + bias + F.cosine_similarity(embedding[labels], features)


@projection_logits.mistake(
    "Out comes the logarithm of a softmax over the classes: which label this is. Asked for is whether "
    "the pair is real, one number that may be large for several labels."
)
def log_softmax(features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    scores = F.log_softmax(features @ embedding.T, dim=1)
    return features @ weight + bias + scores.gather(1, labels[:, None])[:, 0]


@projection_logits.mistake(
    "The values are right, but part of the gradient with regard to the features is missing: something "
    "was detached. The generator learns through both parts."
)
def half_detached(
    features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    return features @ weight + bias + (embedding[labels] * features.detach()).sum(dim=1)


@projection_logits.mistake(
    "The shape is (batch, 1). Asked for is (batch,): added to another of shape (batch,) this would make"
    " a matrix."
)
def as_a_column(features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return _projection(features, labels, embedding, weight, bias)[:, None]


@projection_logits.mistake(
    "The shape is (batch, batch): a column, left by `keepdim` or `[:, None]`, met a row, and broadcasting "
    "made a table of every image's label part with every image's other part. Both have shape (batch,)."
)
def column_meets_row(
    features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    return features @ weight + bias + (embedding[labels] * features).sum(dim=1, keepdim=True)


@projection_logits.mistake(
    "That is a logit for every class, whatever was asked. Asked for is one an image, with the vector of the "
    "image's own label: the labels have to pick it."
)
def a_logit_for_every_class(
    features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    return (features @ weight + bias)[:, None] + features @ embedding.T


@projection_logits.mistake(
    "These are probabilities. Asked for are logits; the losses of this course apply the sigmoid themselves."
)
def through_a_sigmoid(
    features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    return _projection(features, labels, embedding, weight, bias).sigmoid()


@projection_logits.mistake(
    "The labels pick rows of the features. They number the classes, so it is the table of the classes that "
    "they index; the features come one row an image already."
)
def labels_pick_features(
    features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    return features @ weight + bias + (embedding[labels] * features[labels]).sum(dim=1)


@projection_logits.mistake("You multiply by the bias. A bias is added.")
def times_bias(features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return (features @ weight) * bias + (embedding[labels] * features).sum(dim=1)


@projection_logits.also_right
def one_product(features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return ((weight + embedding[labels]) * features).sum(-1) + bias


@projection_logits.also_right
def by_einsum(features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    own = F.embedding(labels, embedding)
    return torch.einsum("bd,d->b", features, weight) + torch.einsum("bd,bd->b", own, features) + bias


@projection_logits.also_right
def by_gather(features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    scores = features @ embedding.T
    return scores.gather(1, labels[:, None]).squeeze(1) + F.linear(features, weight[None])[:, 0] + bias


# --- auxiliary_losses ---------------------------------------------------------------------------------


def _auxiliary_cases(rng: Rng) -> Iterator[Case]:
    for label, n, m, classes, size in (
        ("five real and seven generated images, four classes", 5, 7, 4, 1.0),
        ("as many real as generated images as classes", 3, 3, 3, 2.0),
        ("extreme logits", 4, 6, 5, 100.0),
    ):
        real_logits, fake_logits = (
            _normal(rng, count, mean=mean) * np.float32(size) for count, mean in ((n, 0.5), (m, -0.5))
        )
        real_classes, fake_classes = (_normal(rng, count, classes) * np.float32(size) for count in (n, m))
        labels, asked = _labels(rng, n, classes), _labels(rng, m, classes)
        if label == "extreme logits":
            real_logits[0], fake_logits[:2] = -150, (150, -150)
            for scores, own in ((real_classes, labels), (fake_classes, asked)):
                scores[0, own[0]] = scores[0].min() - 150
        yield call(
            label,
            real_logits=real_logits,
            fake_logits=fake_logits,
            real_classes=real_classes,
            fake_classes=fake_classes,
            labels=labels,
            asked=asked,
            gradients=["real_logits", "fake_logits", "real_classes", "fake_classes"],
        )


Loss = Callable[[Tensor], Tensor]


def _auxiliary(
    real_logits: Tensor,
    fake_logits: Tensor,
    real_classes: Tensor,
    fake_classes: Tensor,
    labels: Tensor,
    asked: Tensor,
    *,
    d_real: float = 1.0,
    d_fake: float = 1.0,
    g_fake: float = 1.0,
    g_real: float = 0.0,
    cost: Loss = F.softplus,
    real_cost: Loss = lambda logits: F.softplus(-logits),
    g_cost: Loss = lambda logits: F.softplus(-logits),
    read: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    average: Loss = torch.mean,
    cut_logits: bool = False,
    cut_classes: bool = False,
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    on_real, on_fake = read(real_classes, labels), read(fake_classes, asked)
    g = average(g_cost(fake_logits)) + g_fake * on_fake + g_real * on_real
    judged = fake_logits.detach() if cut_logits else fake_logits
    named = on_fake.detach() if cut_classes else on_fake
    d = average(real_cost(real_logits)) + average(cost(judged)) + d_real * on_real + d_fake * named
    return torch.stack([d, g])


def _auxiliary_reference(
    real_logits: Tensor,
    fake_logits: Tensor,
    real_classes: Tensor,
    fake_classes: Tensor,
    labels: Tensor,
    asked: Tensor,
) -> Tensor:
    return _auxiliary(real_logits, fake_logits, real_classes, fake_classes, labels, asked)


auxiliary_losses = Exercise(points=2, minutes=15, reference=_auxiliary_reference, cases=_auxiliary_cases)


@auxiliary_losses.mistake(
    "The generator's class term has a minus sign, as if the players were opponents there too. They are "
    "not: both want the label to be read."
)
def class_term_opposed(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, g_fake=-1.0)


@auxiliary_losses.mistake(
    "The generator's loss has no class term: nothing tells it to make what was asked for."
)
def generator_not_told(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, g_fake=0.0)


@auxiliary_losses.mistake(
    "The discriminator's loss lacks the class term of the generated images: Odena et al. have both."
)
def fakes_not_read(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, d_fake=0.0)


@auxiliary_losses.mistake(
    "The discriminator's loss lacks the class term of the real images, from which labels are learnt."
)
def real_not_read(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, d_real=0.0)


@auxiliary_losses.mistake("The discriminator's loss has no class terms at all: it would never learn to read.")
def nothing_read(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, d_real=0.0, d_fake=0.0)


@auxiliary_losses.mistake("The generator's loss counts how real images are read. It has no part in those.")
def generator_pays_for_real(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, g_real=1.0)


@auxiliary_losses.mistake(
    "The generator's adversarial part is the saturating one, log(1 - D). Use the non-saturating loss, "
    "as in the chapters before."
)
def saturating(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, g_cost=lambda logits: -F.softplus(logits))


@auxiliary_losses.mistake(
    "The adversarial signs are exchanged: `softplus(-logit)` is what an image costs that should be "
    "taken for real."
)
def signs_of_the_game(*arguments: Tensor) -> Tensor:
    return _auxiliary(
        *arguments, cost=lambda logits: F.softplus(-logits), real_cost=F.softplus, g_cost=F.softplus
    )


@auxiliary_losses.mistake(
    "A softmax comes before `cross_entropy`, which takes logits and does one itself. Twice flattens the"
    " probabilities."
)
def softmax_first(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, read=lambda scores, y: F.cross_entropy(scores.softmax(dim=1), y))


@auxiliary_losses.mistake("You sum over the images. Take means: the two batches may differ in size.")
def summed_over_images(*arguments: Tensor) -> Tensor:
    return _auxiliary(
        *arguments, average=torch.sum, read=lambda scores, y: F.cross_entropy(scores, y, reduction="sum")
    )


@auxiliary_losses.mistake(
    "The logarithm of a sigmoid overflows where the discriminator is very sure. `softplus` and "
    "`logsigmoid` stay finite."
)
def log_of_sigmoid(*arguments: Tensor) -> Tensor:
    def cost(logits: Tensor) -> Tensor:
        return -logits.sigmoid().log()

    return _auxiliary(
        *arguments, cost=lambda logits: -(1 - logits.sigmoid()).log(), real_cost=cost, g_cost=cost
    )


@auxiliary_losses.mistake(
    "`binary_cross_entropy` on probabilities cuts its logarithms off at -100, and where the sigmoid has "
    "rounded to 0 or 1 the gradient is gone. Take the loss that has `with_logits` in its name."
)
def game_on_probabilities(*arguments: Tensor) -> Tensor:
    def cost(logits: Tensor) -> Tensor:
        return F.binary_cross_entropy(logits.sigmoid(), torch.ones_like(logits), reduction="none")

    def other(logits: Tensor) -> Tensor:
        return F.binary_cross_entropy(logits.sigmoid(), torch.zeros_like(logits), reduction="none")

    return _auxiliary(*arguments, cost=other, real_cost=cost, g_cost=cost)


@auxiliary_losses.mistake(
    "You subtract the cross-entropies, in both losses. The minus in equation (8) belongs to the logarithm, "
    "and `cross_entropy` has it inside already: add them."
)
def cross_entropy_subtracted(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, d_real=-1.0, d_fake=-1.0, g_fake=-1.0)


@auxiliary_losses.mistake(
    "The discriminator's loss subtracts the class term of the generated images, as if it should read them "
    "badly. As to labels the players are not opponents: both losses add that term."
)
def fakes_read_badly(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, d_fake=-1.0)


@auxiliary_losses.mistake(
    "The sign of the discriminator's whole loss is turned round. That is the value which it wants large; a "
    "loss is minimised."
)
def value_for_loss(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments) * torch.tensor([-1.0, 1.0])


@auxiliary_losses.mistake(
    "Real and generated images share one `cross_entropy`, a single mean over both. Equation (8) has two "
    "expectations: take a mean of each, and add them."
)
def one_cross_entropy(
    real_logits: Tensor,
    fake_logits: Tensor,
    real_classes: Tensor,
    fake_classes: Tensor,
    labels: Tensor,
    asked: Tensor,
) -> Tensor:
    read = F.cross_entropy(fake_classes, asked)
    both = F.cross_entropy(torch.cat([real_classes, fake_classes]), torch.cat([labels, asked]))
    d = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean() + both
    return torch.stack([d, F.softplus(-fake_logits).mean() + read])


@auxiliary_losses.mistake(
    "`nll_loss` takes logarithms of probabilities, and these are raw scores. `cross_entropy` takes scores, "
    "and is `log_softmax` and `nll_loss` in one."
)
def scores_for_logarithms(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, read=F.nll_loss)


@auxiliary_losses.mistake(
    "The logarithm of a softmax is infinite where the softmax has rounded to 0, as it does with large "
    "scores. `cross_entropy` and `log_softmax` stay finite."
)
def log_of_softmax(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, read=lambda scores, y: F.nll_loss(scores.softmax(dim=1).log(), y))


@auxiliary_losses.mistake(
    "The numbers are right, but no gradient passes: `torch.tensor([...])`, `.item()` and `detach` copy "
    "values out of the graph. `torch.stack` keeps the two losses in it."
)
def out_of_the_graph(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments).detach()


@auxiliary_losses.mistake(
    "In the discriminator's loss logits and scores of the generated images are detached. What gets detached "
    "in its step are the images, before it sees them; what it says of them is what it learns from."
)
def verdicts_detached(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, cut_logits=True, cut_classes=True)


@auxiliary_losses.mistake(
    "In the discriminator's loss the class scores of the generated images are detached. They cost the same "
    "as before, and it learns nothing from them."
)
def scores_detached(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, cut_classes=True)


@auxiliary_losses.mistake(
    "In the discriminator's loss the logits of the generated images are detached, so it never learns to tell "
    "them from real ones. What gets detached in its step are the images, before it sees them."
)
def logits_detached(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, cut_logits=True)


@auxiliary_losses.mistake("The two losses come back in the wrong order: the discriminator's first.")
def order_exchanged(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments).flip(0)


@auxiliary_losses.mistake(
    "The class term of the discriminator is halved, as a mean over real and generated images. The loss "
    "has their sum."
)
def halves(*arguments: Tensor) -> Tensor:
    return _auxiliary(*arguments, d_real=0.5, d_fake=0.5)


@auxiliary_losses.mistake(
    "Labels are exchanged: real images are read against what was asked for, and generated ones against the "
    "labels of the real ones. With batches of one size nothing complains."
)
def labels_exchanged(
    real_logits: Tensor,
    fake_logits: Tensor,
    real_classes: Tensor,
    fake_classes: Tensor,
    labels: Tensor,
    asked: Tensor,
) -> Tensor:
    return _auxiliary(real_logits, fake_logits, real_classes, fake_classes, asked, labels)


@auxiliary_losses.also_right
def by_log_probabilities(
    real_logits: Tensor,
    fake_logits: Tensor,
    real_classes: Tensor,
    fake_classes: Tensor,
    labels: Tensor,
    asked: Tensor,
) -> Tensor:
    def nll(scores: Tensor, y: Tensor) -> Tensor:
        return (scores.logsumexp(dim=1) - scores.gather(1, y[:, None])[:, 0]).mean()

    source = -F.logsigmoid(real_logits).mean() - F.logsigmoid(-fake_logits).mean()
    d = source + nll(real_classes, labels) + nll(fake_classes, asked)
    return torch.stack((d, -F.logsigmoid(fake_logits).mean() + nll(fake_classes, asked)))


@auxiliary_losses.also_right
def by_bce(
    real_logits: Tensor,
    fake_logits: Tensor,
    real_classes: Tensor,
    fake_classes: Tensor,
    labels: Tensor,
    asked: Tensor,
) -> list[Tensor] | Tensor:
    bce = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones_like, torch.zeros_like
    read = F.nll_loss(F.log_softmax(fake_classes, dim=1), asked)
    d = bce(real_logits, ones(real_logits)) + bce(fake_logits, zeros(fake_logits))
    d = d + F.nll_loss(F.log_softmax(real_classes, dim=1), labels) + read
    return torch.stack([d, bce(fake_logits, ones(fake_logits)) + read])


@auxiliary_losses.also_right
def image_after_image(
    real_logits: Tensor,
    fake_logits: Tensor,
    real_classes: Tensor,
    fake_classes: Tensor,
    labels: Tensor,
    asked: Tensor,
) -> Tensor:
    d, g = torch.zeros(()), torch.zeros(())
    for logit, scores, y in zip(real_logits, real_classes, labels, strict=True):
        d = d + (F.softplus(-logit) - F.log_softmax(scores, dim=0)[y]) / len(labels)
    for logit, scores, y in zip(fake_logits, fake_classes, asked, strict=True):
        cost = torch.logsumexp(scores, dim=0) - scores[y]
        d = d + (F.softplus(logit) + cost) / len(asked)
        g = g + (F.softplus(-logit) + cost) / len(asked)
    return torch.stack([d, g])


# --- read_back ----------------------------------------------------------------------------------------


def _read_back_cases(rng: Rng) -> Iterator[Case]:
    for label, counts, share in (
        ("unequal numbers of three classes", (4, 9, 2), 0.6),
        ("five classes", (3, 5, 8, 2, 6), 0.5),
        ("a class that is never read", (5, 4, 6), 0.9),
    ):
        asked = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        others = rng.integers(len(counts), size=len(asked))
        predicted = np.where(rng.random(len(asked)) < share, asked, others)
        if "never" in label:
            predicted[predicted == 2] = 0
        yield call(label, predicted=predicted, asked=asked, classes=len(counts))


def _read_back(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    hits = asked[predicted == asked].bincount(minlength=classes)
    return hits / asked.bincount(minlength=classes)


read_back = Exercise(points=1, minutes=10, reference=_read_back, cases=_read_back_cases)


@read_back.mistake(
    "You divide by how often each class was read. The question is the other one: of those asked for, "
    "how many came out right?"
)
def by_predicted(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    hits = asked[predicted == asked].bincount(minlength=classes)
    return hits / predicted.bincount(minlength=classes).clamp(min=1)


@read_back.mistake(
    "You divide by how often each class was read, and where that is never the result is NaN. The question is "
    "the other one: of those asked for, and each is asked for, how many came out right?"
)
def by_predicted_unguarded(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    return asked[predicted == asked].bincount(minlength=classes) / predicted.bincount(minlength=classes)


@read_back.mistake(
    "You divide by the number of all samples. Each class has its own number of those asked for."
)
def by_all(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    return asked[predicted == asked].bincount(minlength=classes) / len(asked)


@read_back.mistake(
    "That is the share over all samples, the same number for each class. Count class by class."
)
def one_for_all(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    return (predicted == asked).float().mean().expand(classes)


@read_back.mistake("These are counts. Divide by how often each class was asked for.")
def counts_alone(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    return asked[predicted == asked].bincount(minlength=classes).float()


@read_back.mistake(
    "A whole-number division leaves 0 or 1. Divide with `/`, or turn the counts into floats first."
)
def whole_numbers(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    hits = asked[predicted == asked].bincount(minlength=classes)
    return (hits // asked.bincount(minlength=classes)).float()


@read_back.mistake("That is the share of errors.")
def errors(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    return 1 - _read_back(predicted, asked, classes)


@read_back.mistake("That is how often each class was asked for, or read: whether the two agree has no say.")
def frequencies(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    return predicted.bincount(minlength=classes) / asked.bincount(minlength=classes)


@read_back.mistake(
    "You go through the classes that occur among the predictions. A class that is never read has its share, "
    "too: it is 0, and it belongs in the result."
)
def predicted_classes_only(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    return torch.stack([(predicted[asked == k] == k).float().mean() for k in predicted.unique()])


@read_back.also_right
def class_by_class(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    return torch.stack([(predicted[asked == k] == k).float().mean() for k in range(classes)])


@read_back.also_right
def by_confusion(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    matrix = torch.zeros(classes, classes)
    matrix.index_put_((asked, predicted), torch.ones(len(asked)), accumulate=True)
    return matrix.diagonal() / matrix.sum(dim=1)


@read_back.also_right
def by_products(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    wanted, found = (F.one_hot(x, classes).float() for x in (asked, predicted))
    return (wanted * found).sum(0) / wanted.sum(0)


# --- diagnose_condition -------------------------------------------------------------------------------


def _confusion(rng: Rng, goals: np.ndarray, share: float) -> np.ndarray:
    """Of each row most samples go to one column, the rest anywhere; rows have different totals."""
    classes = len(goals)
    matrix = np.zeros((classes, classes), dtype="int64")
    for row, (goal, total) in enumerate(zip(goals, rng.integers(300, 1500, size=classes), strict=True)):
        hits = int(share * total)
        matrix[row] = rng.multinomial(total - hits, np.full(classes, 1 / classes))
        matrix[row, goal] += hits
    return matrix


def _ignoring(rng: Rng, shares: np.ndarray, total: int | None = None) -> np.ndarray:
    """Every row is read alike, but for a little noise."""
    apart = rng.permutation(np.linspace(2000, 9000, len(shares))) + rng.integers(500, size=len(shares))
    totals = [total] * len(shares) if total else apart
    rows = shares * rng.uniform(0.96, 1.04, size=(len(shares), len(shares)))
    rows /= rows.sum(axis=1, keepdims=True)
    return np.round(rows * np.array(totals)[:, None]).astype("int64")


def _diagnose_cases(rng: Rng) -> Iterator[Case]:
    def case(
        label: str,
        confusion: np.ndarray,
        scale: float = 6.0,
        flat: int | slice | None = None,
        narrow: int | None = None,
    ) -> Case:
        real = (scale * rng.uniform(0.7, 1.4, size=len(confusion))).astype("float32")
        if narrow is not None:
            real[narrow] /= 30
        own = (real * rng.uniform(0.55, 1.1, size=len(confusion))).astype("float32")
        if flat is not None:
            own[flat] = real[flat] * np.float32(rng.uniform(0.0, 0.08))
        return call(label, confusion=confusion, spread=own, real_spread=real)

    k = 5
    own, swapped = np.arange(k), np.arange(k)
    swapped[[1, 3]] = swapped[[3, 1]]
    shifted = np.roll(own, 1)
    one_stays = np.array([0, *np.roll(own[1:], 1)])
    like_the_first = np.where(np.isin(own, [1, k - 1]), 0, own)
    of_many = np.arange(12)
    of_many[4] = 7
    uneven = rng.dirichlet(np.full(k, 3.0))
    single = np.eye(k)[rng.integers(k)]
    yield case("what was asked for is read back", _confusion(rng, own, 0.9))
    yield case("it is read back, and features have a small scale", _confusion(rng, own, 0.86), scale=0.02)
    yield case("classes come out as they please", _ignoring(rng, uneven))
    yield case("all classes come out equally often", _ignoring(rng, np.full(k, 1 / k)), scale=0.3)
    yield case("one class comes out, whatever is asked for", _ignoring(rng, single))
    yield case("one class comes out, one image of it", _ignoring(rng, single), flat=2)
    yield case("two classes have changed places", _confusion(rng, swapped, 0.93))
    yield case("all classes have moved on by one", _confusion(rng, shifted, 0.9))
    yield case("all classes but one have moved on", _confusion(rng, one_stays, 0.95))
    yield case("two more classes come out as the first", _confusion(rng, like_the_first, 0.92))
    yield case("one class of twelve comes out as another", _confusion(rng, of_many, 0.97))
    yield case("real images of one class are much alike", _confusion(rng, own, 0.93), narrow=2)
    yield case(
        "one class repeats itself, and real images of another are much alike",
        _confusion(rng, own, 0.93),
        flat=3,
        narrow=1,
    )
    yield case("two classes have changed places, and one is flat", _confusion(rng, swapped, 0.9), flat=0)
    yield case("one class repeats itself", _confusion(rng, own, 0.92), flat=int(rng.integers(k)))
    yield case(
        "one class repeats itself, on a large scale", _confusion(rng, own, 0.95), scale=400.0, flat=k - 1
    )
    yield case("classes come out as they please, equally often asked for", _ignoring(rng, uneven, 3000))
    yield case("all classes repeat themselves", _confusion(rng, own, 0.94), flat=slice(None))


def _diagnose(
    confusion: Tensor,
    spread: Tensor,
    real_spread: Tensor,
    *,
    ignored: Callable[[Tensor], bool] = lambda shares: bool((shares - shares.mean(dim=0)).abs().max() < 0.1),
    mixed: Callable[[Tensor], bool] = lambda shares: bool((shares.diagonal() < 0.5).any()),
    flat: Callable[[Tensor, Tensor], bool] = lambda own, real: bool((own < 0.3 * real).any()),
    order: tuple[str, ...] = ("ignored", "mixed up", "collapsed"),
) -> str:
    """The right answer, with knobs for the wrong ones."""
    shares = confusion / confusion.sum(dim=1, keepdim=True)
    found = {"ignored": ignored(shares), "mixed up": mixed(shares), "collapsed": flat(spread, real_spread)}
    return next((name for name in order if found[name]), "obeyed")


def _diagnose_reference(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    return _diagnose(confusion, spread, real_spread)


diagnose_condition = Exercise(points=2, minutes=15, reference=_diagnose_reference, cases=_diagnose_cases)


@diagnose_condition.mistake(
    'You call every low score "ignored". Where labels have been exchanged the score is low, too, and '
    "yet what is asked for decides what comes out: compare the rows with each other."
)
def low_means_ignored(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    return _diagnose(
        confusion, spread, real_spread, ignored=lambda shares: bool((shares.diagonal() < 0.5).any())
    )


@diagnose_condition.mistake(
    'You call every low score "mixed up". Where all rows are alike nothing has been exchanged: the '
    "condition has no effect."
)
def low_means_mixed(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    return _diagnose(confusion, spread, real_spread, order=("mixed up", "ignored", "collapsed"))


@diagnose_condition.mistake(
    "You judge by the mean over the classes. Two classes that have changed places leave it high: look "
    "at each class."
)
def mean_score(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    return _diagnose(
        confusion, spread, real_spread, mixed=lambda shares: bool(shares.diagonal().mean() < 0.5)
    )


@diagnose_condition.mistake(
    "You compare the spread with a fixed number. Its unit is that of the features: hold it against that"
    " of real images."
)
def absolute_spread(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    return _diagnose(confusion, spread, real_spread, flat=lambda own, real: bool((own < 0.5).any()))


@diagnose_condition.mistake(
    "You judge by the mean spread. One class that repeats itself hardly moves it: look at each class."
)
def mean_spread(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    return _diagnose(
        confusion, spread, real_spread, flat=lambda own, real: bool(own.mean() < 0.3 * real.mean())
    )


@diagnose_condition.mistake(
    "The spread has no say. A class that shows one image over and over can be read back perfectly."
)
def spread_unused(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    return _diagnose(confusion, spread, real_spread, flat=lambda own, real: False)


@diagnose_condition.mistake(
    'You look for a collapse first. The list begins with "ignored" and "mixed up": where the '
    "condition fails, variety within a class means nothing."
)
def collapse_first(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    return _diagnose(confusion, spread, real_spread, order=("collapsed", "ignored", "mixed up"))


@diagnose_condition.mistake(
    'A generator that makes a single class whatever is asked for passes for "mixed up": you look for '
    "rows without a clear favourite. They may all have one, and the same."
)
def undecided_rows(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    return _diagnose(
        confusion, spread, real_spread, ignored=lambda shares: bool((shares.max(dim=1).values < 0.8).all())
    )


@diagnose_condition.mistake(
    'You take "one class only" for the sign of an ignored condition. It may as well make all classes,'
    " only not those that were asked for."
)
def single_class_only(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    return _diagnose(
        confusion, spread, real_spread, ignored=lambda shares: bool(shares.mean(dim=0).max() > 0.8)
    )


@diagnose_condition.mistake(
    "You compare counts. Rows have different totals, so equal shares look different: divide each row by"
    " its sum."
)
def counts_compared(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    counts = confusion.float()
    shares = counts / counts.sum() * len(counts)
    found = bool((shares - shares.mean(dim=0)).abs().max() < 0.1)
    return _diagnose(confusion, spread, real_spread, ignored=lambda _: found)


@diagnose_condition.mistake(
    'You compare the overall score with chance. A permutation of all classes scores below it and is not "'
    'ignored": what was asked for decides what comes. Compare the rows with each other.'
)
def score_at_chance(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    return _diagnose(
        confusion,
        spread,
        real_spread,
        ignored=lambda shares: bool(shares.diagonal().mean() < 1.5 / len(shares)),
    )


@diagnose_condition.also_right
def by_favourites(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    shares = confusion.double() / confusion.sum(dim=1, keepdim=True)
    if (shares.max(dim=0).values - shares.min(dim=0).values).max() < 0.2:
        return "ignored"
    if (shares.argmax(dim=1) != torch.arange(len(shares))).any():
        return "mixed up"
    return "collapsed" if (spread / real_spread).min() < 0.25 else "obeyed"


@diagnose_condition.also_right
def by_information(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    shares = confusion.double() / confusion.sum(dim=1, keepdim=True)
    mean = shares.mean(dim=0)
    information = (torch.xlogy(shares, shares) - torch.xlogy(shares, mean)).nan_to_num().sum(dim=1).mean()
    if information < 0.1:
        return "ignored"
    if shares.diagonal().min() < 0.7:
        return "mixed up"
    return "collapsed" if any(a < 0.3 * b for a, b in zip(spread, real_spread, strict=True)) else "obeyed"


@diagnose_condition.also_right
def by_largest_difference(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    rows = [row / row.sum() for row in confusion.double()]
    if max(float((a - b).abs().sum()) / 2 for a in rows for b in rows) < 0.4:
        return "ignored"
    if any(int(row.argmax()) != k for k, row in enumerate(rows)):
        return "mixed up"
    return "collapsed" if bool((spread / real_spread < 0.2).any()) else "obeyed"
