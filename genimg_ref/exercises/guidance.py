"""The exercises of the chapter guidance, in the order of the text."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genimg_ref.exercises.engine import Case, Exercise, call, generator

Rng = np.random.Generator


def _normal(rng: Rng, *shape: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return rng.normal(mean, scale, size=shape).astype("float32")


# --- classifier_guided --------------------------------------------------------------------------------


def _classifier_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, *shape: int, scale: float) -> Case:
        return call(
            label,
            eps=_normal(rng, *shape),
            gradient=_normal(rng, *shape, mean=0.3, scale=2.0),
            sigma=rng.uniform(0.2, 0.95, size=shape[0]).astype("float32"),
            scale=scale,
        )

    yield case("five images, scale 2", 5, 1, 3, 4, scale=2.0)
    yield case("as many images as channels, rows and columns", 3, 3, 3, 3, scale=1.0)
    yield case("a single image, scale 0", 1, 2, 2, 3, scale=0.0)
    yield case("as many images as columns, scale 7.5", 4, 1, 2, 4, scale=7.5)


def _classifier_guided(
    eps: Tensor,
    gradient: Tensor,
    sigma: Tensor,
    scale: float,
    *,
    factor: Callable[[Tensor, float], Tensor] = lambda sigma, scale: scale * sigma,
    place: Callable[[Tensor], Tensor] = lambda s: s[:, None, None, None],
    sign: float = -1.0,
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    return eps + sign * factor(place(sigma), scale) * gradient


def _classifier_reference(eps: Tensor, gradient: Tensor, sigma: Tensor, scale: float) -> Tensor:
    return _classifier_guided(eps, gradient, sigma, scale)


classifier_guided = Exercise(points=2, minutes=10, reference=_classifier_reference, cases=_classifier_cases)


@classifier_guided.mistake(
    "The gradient is added to the noise. It belongs to the score, and the noise is minus sigma times "
    "the score: subtract it."
)
def gradient_added(*arguments: Any) -> Tensor:
    return _classifier_guided(*arguments, sign=1.0)


@classifier_guided.mistake(
    "Sigma is missing. The noise is minus sigma times the score, so the gradient is multiplied by it, too."
)
def sigma_missing(*arguments: Any) -> Tensor:
    return _classifier_guided(*arguments, factor=lambda sigma, scale: scale * torch.ones_like(sigma))


@classifier_guided.mistake("You multiply by the variance. It is sigma, the standard deviation.")
def variance_for_sigma(*arguments: Any) -> Tensor:
    return _classifier_guided(*arguments, factor=lambda sigma, scale: scale * sigma.square())


@classifier_guided.mistake(
    "You divide by sigma. That is the way from the noise to the score; here the score's part goes to "
    "the noise."
)
def by_sigma(*arguments: Any) -> Tensor:
    return _classifier_guided(*arguments, factor=lambda sigma, scale: scale / sigma)


@classifier_guided.mistake("The scale has no effect.")
def scale_ignored(*arguments: Any) -> Tensor:
    return _classifier_guided(*arguments, factor=lambda sigma, scale: sigma)


@classifier_guided.mistake(
    "The scale is one too large. With a classifier a scale of 1 is Bayes' rule as it stands, and 0 is none."
)
def scale_plus_one(*arguments: Any) -> Tensor:
    return _classifier_guided(*arguments, factor=lambda sigma, scale: (1 + scale) * sigma)


@classifier_guided.mistake(
    "The scale is one too small. With a classifier a scale of 1 is Bayes' rule as it stands, and 0 is none."
)
def scale_minus_one(*arguments: Any) -> Tensor:
    return _classifier_guided(*arguments, factor=lambda sigma, scale: (scale - 1) * sigma)


@classifier_guided.mistake(
    "Sigma is lined up with the columns. Each image has its own: give it three axes of length 1 behind "
    "the first."
)
def sigma_along_columns(*arguments: Any) -> Tensor:
    return _classifier_guided(*arguments, place=lambda s: s)


@classifier_guided.mistake("All images get the sigma of the first. Each has its own.")
def sigma_of_the_first(*arguments: Any) -> Tensor:
    return _classifier_guided(*arguments, place=lambda s: s[0])


@classifier_guided.mistake("You take the mean of the sigmas of the batch. Each image has its own.")
def mean_sigma(*arguments: Any) -> Tensor:
    return _classifier_guided(*arguments, place=lambda s: s.mean())


@classifier_guided.mistake("You multiply by the root of sigma. Sigma is a standard deviation already.")
def root_of_sigma(*arguments: Any) -> Tensor:
    return _classifier_guided(*arguments, factor=lambda sigma, scale: scale * sigma.sqrt())


@classifier_guided.mistake(
    "The model's own noise is multiplied by the scale, too. Scaled is what the classifier adds, and nothing "
    "else."
)
def noise_scaled_too(eps: Tensor, gradient: Tensor, sigma: Tensor, scale: float) -> Tensor:
    return scale * _classifier_guided(eps, gradient, sigma, 1.0)


@classifier_guided.mistake("You return the score. Asked for is the noise that a sampler expects.")
def score_returned(eps: Tensor, gradient: Tensor, sigma: Tensor, scale: float) -> Tensor:
    return -eps / sigma[:, None, None, None] + scale * gradient


@classifier_guided.also_right
def through_the_score(eps: Tensor, gradient: Tensor, sigma: Tensor, scale: float) -> Tensor:
    s = sigma.view(-1, 1, 1, 1)
    score = -eps / s + scale * gradient
    return -s * score


@classifier_guided.also_right
def classifier_image_by_image(eps: Tensor, gradient: Tensor, sigma: Tensor, scale: float) -> Tensor:
    rows = zip(eps, gradient, sigma, strict=True)
    return torch.stack([e - s * (scale * g) for e, g, s in rows])


# --- drop_labels --------------------------------------------------------------------------------------


def _drop_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, count: int, null: int, probability: float, classes: int | None = None) -> Case:
        return call(
            label,
            labels=rng.integers(classes or null, size=count),
            null=null,
            probability=probability,
            rng=generator(int(rng.integers(2**31))),
        )

    yield case("twenty labels, a third dropped", 20, 10, 0.33)
    yield case("forty labels, a tenth dropped", 40, 3, 0.1)
    yield case("twenty labels of the first four classes, half dropped", 20, 10, 0.5, classes=4)
    yield case("all are kept", 8, 5, 0.0)
    yield case("all are dropped", 8, 5, 1.0)
    yield case("fifty labels, most dropped", 50, 4, 0.8)


def _drop(
    labels: Tensor,
    null: int,
    probability: float,
    rng: torch.Generator,
    *,
    draws: Callable[[int, torch.Generator], Tensor] = lambda count, rng: torch.rand(count, generator=rng),
    dropped: Callable[[Tensor, float], Tensor] = lambda u, p: u < p,
    by: Callable[[Tensor, int], Any] = lambda labels, null: null,
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    which = dropped(draws(len(labels), rng), probability)
    return torch.where(which, by(labels, null), labels)


def _drop_reference(labels: Tensor, null: int, probability: float, rng: torch.Generator) -> Tensor:
    return _drop(labels, null, probability, rng)


drop_labels = Exercise(points=1, minutes=10, reference=_drop_reference, cases=_drop_cases)


@drop_labels.mistake("You keep with this probability. It is the probability to be dropped.")
def kept_for_dropped(*arguments: Any) -> Tensor:
    return _drop(*arguments, dropped=lambda u, p: u >= p)


@drop_labels.mistake(
    "You compare the other way round: a draw lies below p with probability p. Above 1 - p would do as well, "
    "but the text says which."
)
def above_the_rest(*arguments: Any) -> Tensor:
    return _drop(*arguments, dropped=lambda u, p: u > 1 - p)


@drop_labels.mistake("One draw decides for the whole batch. Each label is dropped or kept on its own.")
def all_or_none(*arguments: Any) -> Tensor:
    return _drop(*arguments, draws=lambda count, rng: torch.rand(1, generator=rng).expand(count))


@drop_labels.mistake(
    "Dropped labels become 0, which is a class. There is a label of its own for none: `null`."
)
def zero_for_null(*arguments: Any) -> Tensor:
    return _drop(*arguments, by=lambda labels, null: 0)


@drop_labels.mistake("Dropped labels become -1. The label for none is `null`.")
def minus_one_for_null(*arguments: Any) -> Tensor:
    return _drop(*arguments, by=lambda labels, null: -1)


@drop_labels.mistake("Dropped labels become the last class. The label for none comes after it: `null`.")
def last_class_for_null(*arguments: Any) -> Tensor:
    return _drop(*arguments, by=lambda labels, null: null - 1)


@drop_labels.mistake("Draws come from PyTorch's global generator. Take `rng`.")
def drop_global(*arguments: Any) -> Tensor:
    return _drop(*arguments, draws=lambda count, rng: torch.rand(count))


@drop_labels.mistake(
    "The draws are normal, so the share that is dropped is not the probability. `torch.rand` is even on"
    " [0, 1)."
)
def normal_draws(*arguments: Any) -> Tensor:
    return _drop(*arguments, draws=lambda count, rng: torch.randn(count, generator=rng))


@drop_labels.mistake("You drop the first labels of the batch. Which ones has to be left to chance.")
def first_of_the_batch(labels: Tensor, null: int, probability: float, rng: torch.Generator) -> Tensor:
    torch.rand(len(labels), generator=rng)
    place = torch.arange(len(labels))
    return torch.where(place < round(probability * len(labels)), null, labels)


@drop_labels.mistake(
    "The labels that were given are changed in place. Return new ones: the data set will be used again."
)
def drop_in_place(labels: Tensor, null: int, probability: float, rng: torch.Generator) -> Tensor:
    labels[torch.rand(len(labels), generator=rng) < probability] = null
    return labels


@drop_labels.mistake(
    "Dropped labels are removed from the batch. Their images are still there: put `null` in their place."
)
def removed(labels: Tensor, null: int, probability: float, rng: torch.Generator) -> Tensor:
    return labels[torch.rand(len(labels), generator=rng) >= probability]


@drop_labels.also_right
def on_a_copy(labels: Tensor, null: int, probability: float, rng: torch.Generator) -> Tensor:
    copy = labels.clone()
    copy[torch.rand(labels.shape, generator=rng) < probability] = null
    return copy


@drop_labels.also_right
def by_masked_fill(labels: Tensor, null: int, probability: float, rng: torch.Generator) -> Tensor:
    return labels.masked_fill(torch.rand(labels.size(0), generator=rng).lt(probability), null)


# --- guided -------------------------------------------------------------------------------------------


def _guided_cases(rng: Rng) -> Iterator[Case]:
    def case(
        label: str, *shape: int, scale: float, t: list[float], low: float = 0.0, high: float = 1.0
    ) -> Case:
        """All but the first of the times are shuffled."""
        return call(
            label,
            unconditional=_normal(rng, *shape),
            conditional=_normal(rng, *shape, mean=0.5),
            scale=scale,
            t=np.append(t[0], rng.permutation(t[1:])).astype("float32"),
            low=low,
            high=high,
        )

    # binary fractions, so that a time on the very end of an interval is there exactly
    near = 1 / 64
    middle = [0.9375, 0.25 - near, 0.25, 0.5, 0.75, 0.75 + near]
    yield case("scale 2.5 at all times", 5, 1, 3, 4, scale=2.5, t=[0.9375, 0.0, 0.25, 0.625, 1.0])
    yield case("scale 1, which is none", 2, 1, 2, 3, scale=1.0, t=[0.9375, 0.5])
    yield case("scale 0, which forgets the condition", 2, 1, 2, 3, scale=0.0, t=[0.9375, 0.5])
    yield case("scale 4.25 in the middle only", 6, 2, 2, 3, scale=4.25, t=middle, low=0.25, high=0.75)
    yield case(
        "as many images as channels, rows and columns, scale 1.75 at small times",
        *(4, 4, 4, 4),
        scale=1.75,
        t=[0.25, 0.5, 0.5 + near, 0.9375],
        high=0.5,
    )
    yield case("no time inside", 2, 1, 3, 2, scale=3.5, t=[0.875, 0.125], low=0.25, high=0.75)


def _guided(
    unconditional: Tensor,
    conditional: Tensor,
    scale: float,
    t: Tensor,
    low: float,
    high: float,
    *,
    mix: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda u, c, w: u + w * (c - u),
    inside: Callable[[Tensor, float, float], Tensor] = lambda t, low, high: (t >= low) & (t <= high),
    outside: float = 1.0,
    place: Callable[[Tensor], Tensor] = lambda w: w[:, None, None, None],
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    w = torch.where(inside(t, low, high), scale, outside)
    return mix(unconditional, conditional, place(w).float())


def _guided_reference(
    unconditional: Tensor, conditional: Tensor, scale: float, t: Tensor, low: float, high: float
) -> Tensor:
    return _guided(unconditional, conditional, scale, t, low, high)


guided = Exercise(points=2, minutes=15, reference=_guided_reference, cases=_guided_cases)


@guided.mistake(
    "That is the paper's other convention, in which 0 is no guidance. Here 1 is none: start from the "
    "unconditional prediction and go `scale` times the difference."
)
def other_convention(*arguments: Any) -> Tensor:
    return _guided(*arguments, mix=lambda u, c, w: c + w * (c - u), outside=0.0)


@guided.mistake(
    "You start from the conditional prediction. From the unconditional one it is `scale` times the "
    "difference."
)
def from_the_conditional(*arguments: Any) -> Tensor:
    return _guided(*arguments, mix=lambda u, c, w: c + w * (c - u))


@guided.mistake("Conditional and unconditional have changed places: this leads away from the condition.")
def guided_exchanged(*arguments: Any) -> Tensor:
    return _guided(*arguments, mix=lambda u, c, w: c + w * (u - c))


@guided.mistake("The difference alone is not a prediction: add it to the unconditional one.")
def difference_alone(*arguments: Any) -> Tensor:
    return _guided(*arguments, mix=lambda u, c, w: w * (c - u))


@guided.mistake(
    "The conditional prediction is multiplied by the scale, and nothing of the unconditional one is "
    "taken away."
)
def scaled_conditional(*arguments: Any) -> Tensor:
    return _guided(*arguments, mix=lambda u, c, w: w * c)


@guided.mistake("The scale has lost its fraction: 2.5 is not 2. Keep it a float, in a tensor of floats.")
def scale_cut_off(unconditional: Tensor, conditional: Tensor, scale: float, *arguments: Any) -> Tensor:
    return _guided(unconditional, conditional, float(int(scale)), *arguments)


@guided.mistake(
    "The interval has no effect: outside of it there is no guidance. Both ends have to hold, joined by `&`: "
    'with `|`, an "or", every time passes.'
)
def interval_ignored(*arguments: Any) -> Tensor:
    return _guided(*arguments, inside=lambda t, low, high: torch.ones_like(t, dtype=torch.bool))


@guided.mistake("You guide outside of the interval, and not inside.")
def interval_inverted(*arguments: Any) -> Tensor:
    return _guided(*arguments, inside=lambda t, low, high: (t < low) | (t > high))


@guided.mistake(
    "Outside of the interval you take the unconditional prediction. No guidance is a scale of 1: the "
    "conditional one."
)
def unconditional_outside(*arguments: Any) -> Tensor:
    return _guided(*arguments, outside=0.0)


@guided.mistake("The lower end of the interval has no effect.")
def low_ignored(*arguments: Any) -> Tensor:
    return _guided(*arguments, inside=lambda t, low, high: t <= high)


@guided.mistake("A time on the very end of the interval gets no guidance. Both ends are included.")
def ends_left_out(*arguments: Any) -> Tensor:
    return _guided(*arguments, inside=lambda t, low, high: (t > low) & (t < high))


@guided.mistake("A time that equals `low` gets no guidance. Both ends are included.")
def low_left_out(*arguments: Any) -> Tensor:
    return _guided(*arguments, inside=lambda t, low, high: (t > low) & (t <= high))


@guided.mistake("A time that equals `high` gets no guidance. Both ends are included.")
def high_left_out(*arguments: Any) -> Tensor:
    return _guided(*arguments, inside=lambda t, low, high: (t >= low) & (t < high))


@guided.mistake("The upper end of the interval has no effect.")
def high_ignored(*arguments: Any) -> Tensor:
    return _guided(*arguments, inside=lambda t, low, high: t >= low)


@guided.mistake("The time of the first image decides for all. Each has its own.")
def time_of_the_first(*arguments: Any) -> Tensor:
    return _guided(*arguments, place=lambda w: w[:1, None, None, None])


@guided.mistake(
    "One time inside of the interval brings guidance for the whole batch, by `any` perhaps. Each image has "
    "a time of its own: `torch.where` takes the scale where its time is inside."
)
def inside_for_any(*arguments: Any) -> Tensor:
    return _guided(*arguments, inside=lambda t, low, high: ((t >= low) & (t <= high)).any().expand(len(t)))


@guided.mistake(
    "One time outside of the interval ends guidance for the whole batch, by `all` perhaps. Each image has "
    "a time of its own: `torch.where` takes the scale where its time is inside."
)
def inside_for_all(*arguments: Any) -> Tensor:
    return _guided(*arguments, inside=lambda t, low, high: ((t >= low) & (t <= high)).all().expand(len(t)))


@guided.mistake(
    "Scales are lined up with the columns, which fails unless there are as many as images. Each image has "
    "its own: give the scales three axes of length 1 behind the first."
)
def scales_along_columns(*arguments: Any) -> Tensor:
    return _guided(*arguments, place=lambda w: w)


@guided.also_right
def guided_by_lerp(
    unconditional: Tensor, conditional: Tensor, scale: float, t: Tensor, low: float, high: float
) -> Tensor:
    inside = (low <= t) & (t <= high)
    weight = inside * (scale - 1) + 1.0
    return torch.lerp(unconditional, conditional, weight.view(-1, 1, 1, 1).float())


@guided.also_right
def guided_image_by_image(
    unconditional: Tensor, conditional: Tensor, scale: float, t: Tensor, low: float, high: float
) -> Tensor:
    made = []
    for u, c, at in zip(unconditional, conditional, t.tolist(), strict=True):
        w = scale if low <= at <= high else 1.0
        made.append((1 - w) * u + w * c)
    return torch.stack(made)


# --- rescaled -----------------------------------------------------------------------------------------


def _rescaled_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, *shape: int, share: float) -> Case:
        size = rng.uniform(0.5, 1.5, size=(shape[0], 1, 1, 1))
        ratio = rng.uniform(0.3, 0.4, size=size.shape)
        ratio[1::2] = rng.uniform(2.5, 3.0, size=ratio[1::2].shape)  # every other one is too weak
        conditional = _normal(rng, *shape, mean=0.4) * size
        strong = _normal(rng, *shape, mean=0.8) * size / ratio
        return call(
            label,
            strong=strong.astype("float32"),
            conditional=conditional.astype("float32"),
            share=share,
        )

    yield case("five images, wholly", 5, 1, 3, 4, share=1.0)
    yield case("three colour images, seven tenths", 3, 3, 2, 4, share=0.7)
    yield case("not at all", 2, 1, 3, 3, share=0.0)
    yield case("as many images as columns, wholly", 4, 2, 3, 4, share=1.0)
    yield case("a single image, half", 1, 2, 3, 4, share=0.5)


def _rescaled(
    strong: Tensor,
    conditional: Tensor,
    share: float,
    *,
    size: Callable[[Tensor], Tensor] = lambda x: x.std(dim=(1, 2, 3), keepdim=True),
    ratio: Callable[[Tensor, Tensor], Tensor] = lambda wanted, is_: wanted / is_,
    mix: Callable[[Tensor, Tensor, float], Tensor] = lambda mended, strong, share: (
        share * mended + (1 - share) * strong
    ),
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    mended = strong * ratio(size(conditional), size(strong))
    return mix(mended, strong, share)


def _rescaled_reference(strong: Tensor, conditional: Tensor, share: float) -> Tensor:
    return _rescaled(strong, conditional, share)


rescaled = Exercise(points=2, minutes=15, reference=_rescaled_reference, cases=_rescaled_cases)


@rescaled.mistake("The ratio is upside down: it makes a prediction that is too strong stronger still.")
def ratio_inverted(*arguments: Any) -> Tensor:
    return _rescaled(*arguments, ratio=lambda wanted, is_: is_ / wanted)


@rescaled.mistake("That is the ratio of variances. Take that of the standard deviations.")
def ratio_of_variances(*arguments: Any) -> Tensor:
    return _rescaled(*arguments, ratio=lambda wanted, is_: (wanted / is_).square())


@rescaled.mistake("One standard deviation is taken over the whole batch. Each image has its own.")
def over_the_batch(*arguments: Any) -> Tensor:
    return _rescaled(*arguments, size=lambda x: x.std())


@rescaled.mistake("All images get the ratio of the first. Each has its own.")
def ratio_of_the_first(*arguments: Any) -> Tensor:
    return _rescaled(*arguments, size=lambda x: x[0].std())


@rescaled.mistake(
    "The standard deviation is taken over the images, at each place. It is over all numbers of one image: "
    "over the axes 1, 2 and 3."
)
def over_the_images(*arguments: Any) -> Tensor:
    # as `std(dim=0)`, whose warning for a single image is left out
    def size(x: Tensor) -> Tensor:
        return x.std(dim=0) if len(x) > 1 else torch.full_like(x, torch.nan)

    return _rescaled(*arguments, size=size)


@rescaled.mistake(
    "The ratios are lined up with the columns, which fails unless there are as many as images. Keep the "
    "axes that `std` sums over, as axes of length 1: `keepdim=True`."
)
def without_keepdim(*arguments: Any) -> Tensor:
    return _rescaled(*arguments, size=lambda x: x.std(dim=(1, 2, 3)))


@rescaled.mistake("You cut the ratio off at 1. Equation (6) has no such limit: it may also enlarge.")
def ratio_cut_off(*arguments: Any) -> Tensor:
    return _rescaled(*arguments, ratio=lambda wanted, is_: (wanted / is_).clamp(max=1))


@rescaled.mistake(
    "Each channel is rescaled by itself. The standard deviation is over all numbers of an image."
)
def channel_by_channel(*arguments: Any) -> Tensor:
    return _rescaled(*arguments, size=lambda x: x.std(dim=(2, 3), keepdim=True))


@rescaled.mistake("The share is turned round: 1 should rescale wholly, 0 not at all.")
def share_inverted(*arguments: Any) -> Tensor:
    return _rescaled(*arguments, mix=lambda mended, strong, share: share * strong + (1 - share) * mended)


@rescaled.mistake("The share has no effect.")
def share_ignored(*arguments: Any) -> Tensor:
    return _rescaled(*arguments, mix=lambda mended, strong, share: mended)


@rescaled.mistake("You mix with the conditional prediction. Mixed are the rescaled and the strong one.")
def mixed_with_conditional(strong: Tensor, conditional: Tensor, share: float) -> Tensor:
    return _rescaled(
        strong, conditional, share, mix=lambda mended, _, share: share * mended + (1 - share) * conditional
    )


@rescaled.mistake(
    "You take norms. A prediction whose mean is not zero has a norm that says little of its spread."
)
def norms(*arguments: Any) -> Tensor:
    return _rescaled(*arguments, size=lambda x: x.square().mean(dim=(1, 2, 3), keepdim=True).sqrt())


@rescaled.mistake(
    "You subtract the mean and add it again, so the mean is not scaled. The whole prediction is multiplied."
)
def about_the_mean(strong: Tensor, conditional: Tensor, share: float) -> Tensor:
    mean = strong.mean(dim=(1, 2, 3), keepdim=True)
    return _rescaled(strong - mean, conditional, share) + mean


@rescaled.mistake("The conditional prediction is rescaled. It is the strong one that is too large.")
def conditional_rescaled(strong: Tensor, conditional: Tensor, share: float) -> Tensor:
    return _rescaled(conditional, strong, share)


@rescaled.also_right
def by_flattening(strong: Tensor, conditional: Tensor, share: float) -> Tensor:
    factor = conditional.flatten(1).std(dim=1) / strong.flatten(1).std(dim=1)
    return strong * (share * factor + 1 - share).reshape(-1, 1, 1, 1)


@rescaled.also_right
def rescaled_with_n(strong: Tensor, conditional: Tensor, share: float) -> Tensor:
    made = []
    for s, c in zip(strong, conditional, strict=True):
        mended = s * c.std(correction=0) / s.std(correction=0)
        made.append(torch.lerp(s, mended, share))
    return torch.stack(made)


# --- diagnose_guidance --------------------------------------------------------------------------------


def _guidance_run(
    rng: Rng,
    label: str,
    *,
    classes: int = 10,
    asked: float = 0.94,
    data: float = 0.03,
    saturated: float = 0.9,
    scale: float = 1.0,
    spread: float = 1.05,
    flat: Sequence[int] = (),
) -> Case:
    """Shares of each class, and how the samples compare with real images.

    Lines may be drawn anywhere between those of the text, and by the mean, the median, the best or the worst
    class, so a case keeps its distance from them in every class: shares lie below 0.58 or above 0.81,
    saturation below 1.5 or above 3 times, spreads below 0.5 or above 0.6 times those of the data.
    """
    shares = np.clip(asked + rng.uniform(-0.02, 0.02, size=classes), 0, 1)
    real = rng.permutation(np.geomspace(1, 8, classes))
    if flat:  # the widest of all classes is among them, so they are not the least spread
        widest = int(real.argmax())
        real[[widest, flat[0]]] = real[[flat[0], widest]]
    own = real * spread * rng.uniform(0.97, 1.03, size=classes)
    own[list(flat)] = real[list(flat)] * rng.uniform(0.2, 0.24, size=len(flat))
    return call(
        label,
        read_back=shares.astype("float32"),
        saturated=float(data * saturated),
        real_saturated=float(data),
        spread=(scale * own).astype("float32"),
        real_spread=(scale * real).astype("float32"),
    )


def _guidance_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, **options: Any) -> Case:
        return _guidance_run(rng, label, **options)

    yield case("all is well")
    full = {"data": 0.3, "saturated": 0.95}
    yield case("all is well among three classes, with many pixels at the ends in the data", classes=3, **full)
    yield case("all is well, with a little less variety", classes=12, scale=10.0, spread=0.66)
    yield case("all is well, and fewer pixels at the ends than in the data", data=0.08, saturated=0.3)
    more = {"data": rng.uniform(0.15, 0.16), "saturated": rng.uniform(1.42, 1.46)}
    yield case(
        "all is well, with a few more pixels at the ends than in the data", classes=4, scale=0.1, **more
    )
    yield case("all is well, and five in six are read as asked", asked=0.835)
    yield case("what comes is chance", asked=0.1)
    yield case("what comes is chance, among three classes", classes=3, asked=0.33)
    yield case("hardly more than half of what comes was asked for", classes=12, asked=0.555)
    yield case("chance, and saturated", asked=0.12, data=0.08, saturated=8.0)
    yield case("chance, and without variety in the first class", asked=0.1, flat=[0])
    yield case("saturated", data=0.08, saturated=rng.uniform(7.5, 9))
    few = {"data": rng.uniform(0.003, 0.004), "saturated": rng.uniform(3.2, 3.4)}
    yield case("saturated, with few pixels at the ends in the data", scale=10.0, **few)
    many = {"data": rng.uniform(0.2, 0.25), "saturated": rng.uniform(3.2, 3.4)}
    yield case("saturated, with many pixels at the ends in the data", classes=3, **many)
    yield case("saturated, and without variety", classes=4, data=0.08, saturated=8.0, spread=0.3)
    yield case("without variety", classes=4, scale=0.1, spread=0.45)
    yield case("the first class without variety", flat=[0])
    yield case("one class without variety", scale=10.0, flat=[int(rng.integers(2, 9))])
    yield case("the last of twelve classes without variety", classes=12, flat=[11])
    yield case("two classes without variety", flat=[4, 7])
    yield case("most classes without variety", flat=range(9))


def _diagnosed(
    read_back: Tensor,
    saturated: float,
    real_saturated: float,
    spread: Tensor,
    real_spread: Tensor,
    *,
    weak: Callable[[Tensor], Any] = lambda shares: shares.mean() < 0.7,
    glaring: Callable[[float, float], Any] = lambda own, real: own > 2 * real,
    dull: Callable[[Tensor, Tensor], Any] = lambda own, real: (own < 0.55 * real).any(),
    order: tuple[str, ...] = ("too weak", "saturated", "monotonous"),
) -> str:
    """The right answer, with knobs for the wrong ones."""
    applies = {
        "too weak": lambda: weak(read_back),
        "saturated": lambda: glaring(saturated, real_saturated),
        "monotonous": lambda: dull(spread, real_spread),
    }
    return next((name for name in order if bool(applies[name]())), "sound")


def _diagnosed_reference(
    read_back: Tensor, saturated: float, real_saturated: float, spread: Tensor, real_spread: Tensor
) -> str:
    return _diagnosed(read_back, saturated, real_saturated, spread, real_spread)


diagnose_guidance = Exercise(points=2, minutes=15, reference=_diagnosed_reference, cases=_guidance_cases)


@diagnose_guidance.mistake(
    "You never find guidance that is too weak. Look at how often what was asked for is read back."
)
def weakness_missed(*arguments: Any) -> str:
    return _diagnosed(*arguments, order=("saturated", "monotonous"))


@diagnose_guidance.mistake(
    "You find it too weak only where what comes is little better than chance. Half of it right is too "
    "little, too."
)
def chance_only(*arguments: Any) -> str:
    return _diagnosed(*arguments, weak=lambda shares: shares.mean() < 1.5 / len(shares))


@diagnose_guidance.mistake(
    "You find it too weak only where next to nothing comes as asked. With three classes chance alone gives a "
    "third, and half of it right is too little, too."
)
def next_to_nothing(*arguments: Any) -> str:
    return _diagnosed(*arguments, weak=lambda shares: shares.mean() < 0.2)


@diagnose_guidance.mistake("You ask for a share that no classifier reads even in real images.")
def perfection(*arguments: Any) -> str:
    return _diagnosed(*arguments, weak=lambda shares: shares.mean() < 0.995)


@diagnose_guidance.mistake(
    "Your line for too weak lies too high: samples are sound where more than 80 % of each class are read as "
    "asked."
)
def weakness_from_ninety(*arguments: Any) -> str:
    return _diagnosed(*arguments, weak=lambda shares: shares.mean() < 0.9)


@diagnose_guidance.mistake(
    "You never find saturation. Compare the share of pixels at the ends of the range with that of real "
    "images."
)
def saturation_missed(*arguments: Any) -> str:
    return _diagnosed(*arguments, order=("too weak", "monotonous"))


@diagnose_guidance.mistake(
    "You find saturation only where it is gross. More than three times the share of real images is "
    "saturated already."
)
def gross_saturation(*arguments: Any) -> str:
    return _diagnosed(*arguments, glaring=lambda own, real: own > 5 * real)


@diagnose_guidance.mistake(
    "A few more pixels at the ends than in real images are no fault: up to one and a half times as many are "
    "sound."
)
def slightest_saturation(*arguments: Any) -> str:
    return _diagnosed(*arguments, glaring=lambda own, real: own > 1.2 * real)


@diagnose_guidance.mistake(
    "You judge saturation by an absolute share. Garments on black have many pixels at the ends "
    "themselves: ask how many times the share of real images it is."
)
def absolute_saturation(*arguments: Any) -> str:
    return _diagnosed(*arguments, glaring=lambda own, real: own > 0.1)


@diagnose_guidance.mistake(
    "You call it saturated as soon as some pixels lie at the ends. Real images have such pixels, too: "
    "compare with them."
)
def any_saturation(*arguments: Any) -> str:
    return _diagnosed(*arguments, glaring=lambda own, real: own > 0.001)


@diagnose_guidance.mistake(
    "You judge saturation by the difference of the two shares. Where they are small it misses what is many "
    "times too much: take their ratio."
)
def difference_of_shares(*arguments: Any) -> str:
    return _diagnosed(*arguments, glaring=lambda own, real: own - real > 0.03)


@diagnose_guidance.mistake(
    "You find saturation only where the share is large as such. Three times a small share is saturated, "
    "too: ask how many times the share of real images it is."
)
def large_shares_only(*arguments: Any) -> str:
    return _diagnosed(*arguments, glaring=lambda own, real: own > 0.3)


@diagnose_guidance.mistake("Fewer pixels at the ends than in real images are no saturation.")
def any_difference_of_saturation(*arguments: Any) -> str:
    return _diagnosed(*arguments, glaring=lambda own, real: max(own / real, real / own) > 2)


@diagnose_guidance.mistake(
    "You never find lost variety. Compare the spread within each class with that of real images."
)
def monotony_missed(*arguments: Any) -> str:
    return _diagnosed(*arguments, order=("too weak", "saturated"))


@diagnose_guidance.mistake(
    "You find lost variety only where most classes have lost it, as a mean over the classes does. One class "
    "that repeats itself is enough: compare class by class."
)
def mean_spread(*arguments: Any) -> str:
    return _diagnosed(*arguments, dull=lambda own, real: own.mean() < 0.55 * real.mean())


@diagnose_guidance.mistake("You call it monotonous only where every class is. One is enough.")
def every_class(*arguments: Any) -> str:
    return _diagnosed(*arguments, dull=lambda own, real: (own < 0.55 * real).all())


@diagnose_guidance.mistake(
    "Only the first class is looked at. A loop that returns something whatever it finds ends with its first "
    'round: return "sound" only after the loop.'
)
def first_class_alone(*arguments: Any) -> str:
    return _diagnosed(*arguments, dull=lambda own, real: own[0] < 0.55 * real[0])


@diagnose_guidance.mistake(
    "You call it monotonous only where more than one class is. One that repeats itself is enough."
)
def more_than_one_class(*arguments: Any) -> str:
    return _diagnosed(*arguments, dull=lambda own, real: (own < 0.55 * real).sum() > 1)


@diagnose_guidance.mistake(
    "There are not always ten classes: look at as many as `spread` has numbers, three or twelve."
)
def ten_classes(*arguments: Any) -> str:
    return _diagnosed(*arguments, dull=lambda own, real: any(own[k] < 0.55 * real[k] for k in range(10)))


@diagnose_guidance.mistake(
    "You judge variety by the difference of the spreads. How large a spread is depends on the features and "
    "on the class: take the ratio."
)
def difference_of_spreads(*arguments: Any) -> str:
    return _diagnosed(*arguments, dull=lambda own, real: (real - own > 2).any())


@diagnose_guidance.mistake(
    "You judge variety by an absolute spread. How large a spread is depends on the features and on the "
    "class: compare with real images of the same class."
)
def absolute_spread(*arguments: Any) -> str:
    return _diagnosed(*arguments, dull=lambda own, real: (own < 2).any())


@diagnose_guidance.mistake(
    "A little less variety than in real images is no fault: less than half is, more than six tenths is not."
)
def slightest_loss(*arguments: Any) -> str:
    return _diagnosed(*arguments, dull=lambda own, real: (own < 0.93 * real).any())


@diagnose_guidance.mistake(
    "You find lost variety only where nearly all is lost. Less than half of that of real images is too "
    "little already."
)
def nearly_all_lost(*arguments: Any) -> str:
    return _diagnosed(*arguments, dull=lambda own, real: (own < 0.3 * real).any())


@diagnose_guidance.mistake(
    'Several may apply, and the first of the list is asked for: "too weak" before all others.'
)
def weakness_last(*arguments: Any) -> str:
    return _diagnosed(*arguments, order=("saturated", "monotonous", "too weak"))


@diagnose_guidance.mistake(
    'Several may apply, and the first of the list is asked for: "too weak" before "saturated".'
)
def saturation_before_weakness(*arguments: Any) -> str:
    return _diagnosed(*arguments, order=("saturated", "too weak", "monotonous"))


@diagnose_guidance.mistake(
    'Several may apply, and the first of the list is asked for: "saturated" before "monotonous".'
)
def monotony_before_saturation(*arguments: Any) -> str:
    return _diagnosed(*arguments, order=("too weak", "monotonous", "saturated"))


@diagnose_guidance.mistake(
    'Several may apply, and the first of the list is asked for: "monotonous" after both others.'
)
def monotony_first(*arguments: Any) -> str:
    return _diagnosed(*arguments, order=("monotonous", "too weak", "saturated"))


@diagnose_guidance.mistake(
    "Several may apply, and the first of the list is asked for. You go through the list from its end."
)
def order_reversed(*arguments: Any) -> str:
    return _diagnosed(*arguments, order=("monotonous", "saturated", "too weak"))


@diagnose_guidance.mistake('The right words are written in another way: "too weak" has a space in it.')
def with_an_underscore(*arguments: Any) -> str:
    return _diagnosed(*arguments).replace(" ", "_")


@diagnose_guidance.mistake(
    "The right words begin with a capital. Write them as the list does: in small letters."
)
def with_a_capital(*arguments: Any) -> str:
    return _diagnosed(*arguments).capitalize()


@diagnose_guidance.also_right
def guidance_step_by_step(
    read_back: Tensor, saturated: float, real_saturated: float, spread: Tensor, real_spread: Tensor
) -> str:
    if float(read_back.median()) < 0.7:
        return "too weak"
    if saturated / real_saturated >= 2.5:
        return "saturated"
    for own, real in zip(spread.tolist(), real_spread.tolist(), strict=True):
        if own < real / 2:
            return "monotonous"
    return "sound"


@diagnose_guidance.also_right
def guidance_by_ratios(
    read_back: Tensor, saturated: float, real_saturated: float, spread: Tensor, real_spread: Tensor
) -> str:
    verdicts = {
        "too weak": read_back.min() < 0.65,
        "saturated": np.log(saturated / real_saturated) > 0.7,
        "monotonous": (spread / real_spread).min() < 0.6,
    }
    return next((name for name, applies in verdicts.items() if applies), "sound")


@diagnose_guidance.also_right
def guidance_at_the_lower_lines(
    read_back: Tensor, saturated: float, real_saturated: float, spread: Tensor, real_spread: Tensor
) -> str:
    if (read_back < 0.6).all():
        return "too weak"
    if saturated > 1.5 * real_saturated:
        return "saturated"
    return "monotonous" if (spread < 0.5 * real_spread).any() else "sound"


@diagnose_guidance.also_right
def guidance_at_the_upper_lines(
    read_back: Tensor, saturated: float, real_saturated: float, spread: Tensor, real_spread: Tensor
) -> str:
    if read_back.max() < 0.8:
        return "too weak"
    if saturated > 3 * real_saturated:
        return "saturated"
    return "monotonous" if (spread < 0.6 * real_spread).any() else "sound"


# --- keep_known ---------------------------------------------------------------------------------------


def _known_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, *shape: int, alpha_bar: float) -> Case:
        mask = (rng.random((1, 1, *shape[2:])) < 0.5).astype("float32")
        mask[..., 0, 0], mask[..., -1, -1] = 1, 0
        image = rng.uniform(-1, 1, size=shape).astype("float32")
        image[..., 0, 0] = 0  # a grey that is known
        return call(
            label,
            x=_normal(rng, *shape, mean=-0.5),
            image=image,
            mask=mask,
            alpha_bar=alpha_bar,
            noise=_normal(rng, *shape),
        )

    yield case("three images with much noise", 3, 1, 3, 4, alpha_bar=0.2)
    yield case("two colour images with little noise", 2, 3, 4, 3, alpha_bar=0.9)
    yield case("at data", 1, 1, 3, 3, alpha_bar=1.0)


def _known(
    x: Tensor,
    image: Tensor,
    mask: Tensor,
    alpha_bar: float,
    noise: Tensor,
    *,
    noised: Callable[[Tensor, Tensor, float], Tensor] = lambda image, noise, a: (
        a**0.5 * image + (1 - a) ** 0.5 * noise
    ),
    merge: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda mask, known, x: mask * known + (1 - mask) * x,
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    return merge(mask, noised(image, noise, alpha_bar), x)


def _known_reference(x: Tensor, image: Tensor, mask: Tensor, alpha_bar: float, noise: Tensor) -> Tensor:
    return _known(x, image, mask, alpha_bar, noise)


keep_known = Exercise(points=2, minutes=10, reference=_known_reference, cases=_known_cases)


@keep_known.mistake("The mask is turned round: 1 marks what is known.")
def mask_inverted(*arguments: Any) -> Tensor:
    return _known(*arguments, merge=lambda mask, known, x: (1 - mask) * known + mask * x)


@keep_known.mistake(
    "The known part is put in clean. At this time x is noisy, and the model has never seen half an "
    "image clean and half noisy: noise the image to the same level."
)
def known_part_clean(*arguments: Any) -> Tensor:
    return _known(*arguments, noised=lambda image, noise, a: image)


@keep_known.mistake("The levels are used without their roots.")
def known_without_roots(*arguments: Any) -> Tensor:
    return _known(*arguments, noised=lambda image, noise, a: a * image + (1 - a) * noise)


@keep_known.mistake("The image's factor is used without its root.")
def known_image_without_root(*arguments: Any) -> Tensor:
    return _known(*arguments, noised=lambda image, noise, a: a * image + (1 - a) ** 0.5 * noise)


@keep_known.mistake("The noise's factor is used without its root.")
def known_noise_without_root(*arguments: Any) -> Tensor:
    return _known(*arguments, noised=lambda image, noise, a: a**0.5 * image + (1 - a) * noise)


@keep_known.mistake(
    "The noise's factor is 1 minus a root. It is the root of 1 - `alpha_bar`: the squares of both factors "
    "add to 1."
)
def known_rest_of_the_root(*arguments: Any) -> Tensor:
    return _known(*arguments, noised=lambda image, noise, a: a**0.5 * image + (1 - a**0.5) * noise)


@keep_known.mistake("You draw noise of your own. Take the one that is given: `noise`.")
def known_with_own_noise(*arguments: Any) -> Tensor:
    def noised(image: Tensor, noise: Tensor, a: float) -> Tensor:
        return a**0.5 * image + (1 - a) ** 0.5 * torch.randn_like(noise)

    return _known(*arguments, noised=noised)


@keep_known.mistake(
    "What is known is found by its colour: where the image is exactly 0 you take it for unknown. The mask "
    "alone says what is known."
)
def known_where_not_zero(x: Tensor, image: Tensor, mask: Tensor, alpha_bar: float, noise: Tensor) -> Tensor:
    return _known(x, image, (mask * image != 0).float(), alpha_bar, noise)


@keep_known.mistake("The image's and the noise's factors have changed places.")
def known_factors_exchanged(*arguments: Any) -> Tensor:
    return _known(*arguments, noised=lambda image, noise, a: (1 - a) ** 0.5 * image + a**0.5 * noise)


@keep_known.mistake("Noise is added, and the image does not shrink.")
def known_unshrunk(*arguments: Any) -> Tensor:
    return _known(*arguments, noised=lambda image, noise, a: image + (1 - a) ** 0.5 * noise)


@keep_known.mistake("The known part is shrunk, and gets no noise.")
def known_without_noise(*arguments: Any) -> Tensor:
    return _known(*arguments, noised=lambda image, noise, a: a**0.5 * image)


@keep_known.mistake(
    "Known and unknown part are added everywhere: outside of the mask the image has to be left out."
)
def known_added(*arguments: Any) -> Tensor:
    return _known(*arguments, merge=lambda mask, known, x: known + (1 - mask) * x)


@keep_known.mistake("x is left as it is under the mask, and the image added on top.")
def known_on_top(*arguments: Any) -> Tensor:
    return _known(*arguments, merge=lambda mask, known, x: mask * known + x)


@keep_known.mistake(
    "The image is noised whole and returned whole: what the walk has found outside of the mask is lost."
)
def image_alone(*arguments: Any) -> Tensor:
    return _known(*arguments, merge=lambda mask, known, x: known)


@keep_known.also_right
def known_by_where(x: Tensor, image: Tensor, mask: Tensor, alpha_bar: float, noise: Tensor) -> Tensor:
    known = alpha_bar**0.5 * image + (1 - alpha_bar) ** 0.5 * noise
    return torch.where(mask.bool(), known, x)


@keep_known.also_right
def known_by_lerp(x: Tensor, image: Tensor, mask: Tensor, alpha_bar: float, noise: Tensor) -> Tensor:
    a = torch.tensor(alpha_bar)
    known = a.sqrt() * image + (1 - a).sqrt() * noise
    return x + mask * (known - x)


# --- sdedit_start -------------------------------------------------------------------------------------


def _start_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, *shape: int, steps: int, strength: float, least: float = 0.05) -> Case:
        beta = rng.uniform(least, least + 0.2, size=steps)
        alpha_bar = np.concatenate([[1.0], np.cumprod(1 - beta)])
        return call(
            label,
            image=rng.uniform(-1, 1, size=shape).astype("float32"),
            noise=_normal(rng, *shape),
            alpha_bar=alpha_bar.astype("float32"),
            strength=strength,
        )

    yield case("a third of the way", 3, 1, 3, 4, steps=9, strength=1 / 3)
    # so fast that the level of 1 - strength is passed before
    yield case("four fifths of the way", 2, 3, 2, 3, steps=10, strength=0.8, least=0.2)
    yield case("all the way", 1, 1, 4, 3, steps=6, strength=1.0)
    yield case("not at all", 2, 1, 3, 2, steps=5, strength=0.0)
    yield case("between two steps, nearer to the second", 2, 1, 2, 3, steps=10, strength=0.27)
    yield case("between two steps, nearer to the first", 2, 1, 3, 2, steps=10, strength=0.62)


def _start(
    image: Tensor,
    noise: Tensor,
    alpha_bar: Tensor,
    strength: float,
    *,
    step: Callable[[float, int], int] = lambda strength, steps: round(strength * steps),
    level: Callable[[Tensor, int, float], Tensor] = lambda alpha_bar, step, strength: alpha_bar[step],
    noised: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda image, noise, a: (
        a.sqrt() * image + (1 - a).sqrt() * noise
    ),
) -> list[Any]:
    """The right answer, with knobs for the wrong ones."""
    k = step(strength, len(alpha_bar) - 1)
    return [noised(image, noise, level(alpha_bar, k, strength)), k]


def _start_reference(image: Tensor, noise: Tensor, alpha_bar: Tensor, strength: float) -> list[Any]:
    return _start(image, noise, alpha_bar, strength)


sdedit_start = Exercise(points=2, minutes=10, reference=_start_reference, cases=_start_cases)


@sdedit_start.mistake("The strength is turned round: 0 should leave the image, 1 replace it by noise.")
def strength_inverted(*arguments: Any) -> list[Any]:
    return _start(*arguments, step=lambda strength, steps: round((1 - strength) * steps))


@sdedit_start.mistake(
    "You take the length of `alpha_bar` for T. It holds T + 1 numbers, since it begins with that of data."
)
def one_step_too_many(*arguments: Any) -> list[Any]:
    return _start(*arguments, step=lambda strength, steps: min(steps, round(strength * (steps + 1))))


@sdedit_start.mistake(
    "At strength 1 you read past the end of `alpha_bar`: it holds T + 1 numbers, of steps 0 to T, so T is "
    "its length minus 1."
)
def past_the_end(*arguments: Any) -> list[Any]:
    return _start(*arguments, step=lambda strength, steps: round(strength * (steps + 1)))


@sdedit_start.mistake("The step is rounded up. Asked for is the nearest.")
def step_rounded_up(*arguments: Any) -> list[Any]:
    return _start(*arguments, step=lambda strength, steps: math.ceil(strength * steps - 1e-9))


@sdedit_start.mistake(
    "You look for the step whose `alpha_bar` is nearest. The strength is a time, not a level: the step is "
    "the nearest to `strength` times T, whatever `alpha_bar` is there."
)
def nearest_level(image: Tensor, noise: Tensor, alpha_bar: Tensor, strength: float) -> list[Any]:
    k = int((alpha_bar - (1 - strength)).abs().argmin())
    return _start(image, noise, alpha_bar, strength, step=lambda strength, steps: k)


@sdedit_start.mistake("The step is cut off instead of rounded to the nearest.")
def step_cut_off(*arguments: Any) -> list[Any]:
    return _start(*arguments, step=lambda strength, steps: int(strength * steps + 1e-9))


@sdedit_start.mistake(
    "Noise is mixed in by the strength itself. The model expects the level of a step: look up its alpha_bar."
)
def mixed_by_strength(*arguments: Any) -> list[Any]:
    return _start(*arguments, level=lambda alpha_bar, k, strength: torch.tensor(1 - strength))


@sdedit_start.mistake("The levels are used without their roots.")
def start_without_roots(*arguments: Any) -> list[Any]:
    return _start(*arguments, noised=lambda image, noise, a: a * image + (1 - a) * noise)


@sdedit_start.mistake("The image's factor is used without its root.")
def start_image_without_root(*arguments: Any) -> list[Any]:
    return _start(*arguments, noised=lambda image, noise, a: a * image + (1 - a).sqrt() * noise)


@sdedit_start.mistake("The noise's factor is used without its root.")
def start_noise_without_root(*arguments: Any) -> list[Any]:
    return _start(*arguments, noised=lambda image, noise, a: a.sqrt() * image + (1 - a) * noise)


@sdedit_start.mistake(
    "The noise's factor is 1 minus a root. It is the root of 1 - `alpha_bar`: the squares of both factors "
    "add to 1."
)
def start_rest_of_the_root(*arguments: Any) -> list[Any]:
    return _start(*arguments, noised=lambda image, noise, a: a.sqrt() * image + (1 - a.sqrt()) * noise)


@sdedit_start.mistake("The image's and the noise's factors have changed places.")
def start_factors_exchanged(*arguments: Any) -> list[Any]:
    return _start(*arguments, noised=lambda image, noise, a: (1 - a).sqrt() * image + a.sqrt() * noise)


@sdedit_start.mistake("You draw noise of your own. Take the one that is given: `noise`.")
def start_with_own_noise(*arguments: Any) -> list[Any]:
    def noised(image: Tensor, noise: Tensor, a: Tensor) -> Tensor:
        return a.sqrt() * image + (1 - a).sqrt() * torch.randn_like(noise)

    return _start(*arguments, noised=noised)


@sdedit_start.mistake("Noise is added, and the image does not shrink.")
def start_unshrunk(*arguments: Any) -> list[Any]:
    return _start(*arguments, noised=lambda image, noise, a: image + (1 - a).sqrt() * noise)


@sdedit_start.mistake("That is the noise alone, shrunk: nothing is left of the image.")
def start_from_noise(*arguments: Any) -> list[Any]:
    return _start(*arguments, noised=lambda image, noise, a: (1 - a).sqrt() * noise)


@sdedit_start.mistake(
    "The level is that of one step further: `alpha_bar[0]` is data, so step k stands at place k."
)
def level_one_on(*arguments: Any) -> list[Any]:
    return _start(*arguments, level=lambda alpha_bar, k, strength: alpha_bar[min(k + 1, len(alpha_bar) - 1)])


@sdedit_start.mistake(
    "You return the number of steps that are skipped. Asked for is the step from which to walk."
)
def steps_skipped(image: Tensor, noise: Tensor, alpha_bar: Tensor, strength: float) -> list[Any]:
    x, k = _start(image, noise, alpha_bar, strength)
    return [x, len(alpha_bar) - 1 - k]


@sdedit_start.mistake("The step comes first in what you return. First the image, then the step.")
def step_before_image(*arguments: Any) -> list[Any]:
    return _start(*arguments)[::-1]


@sdedit_start.mistake("You return the image alone. Return the step from which to walk, too.")
def without_the_step(*arguments: Any) -> Tensor:
    return _start(*arguments)[0]


@sdedit_start.mistake("You return the strength, or the time. Asked for is the number of the step.")
def time_for_step(image: Tensor, noise: Tensor, alpha_bar: Tensor, strength: float) -> list[Any]:
    x, k = _start(image, noise, alpha_bar, strength)
    return [x, k / (len(alpha_bar) - 1)]


@sdedit_start.also_right
def start_with_a_tuple(
    image: Tensor, noise: Tensor, alpha_bar: Tensor, strength: float
) -> tuple[Tensor, int]:
    k = int(strength * (alpha_bar.numel() - 1) + 0.5)
    left = float(alpha_bar[k])
    return left**0.5 * image + (1 - left) ** 0.5 * noise, k


@sdedit_start.also_right
def start_by_nearest_time(
    image: Tensor, noise: Tensor, alpha_bar: Tensor, strength: float
) -> tuple[Tensor, int]:
    times = torch.linspace(0, 1, len(alpha_bar), dtype=torch.float64)
    k = int((times - strength).abs().argmin())
    a = alpha_bar[k]
    return torch.sqrt(a) * image + torch.sqrt(1 - a) * noise, k
