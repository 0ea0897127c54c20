"""The exercises of the chapter guidance, in the order of the text."""

from collections.abc import Callable, Iterator
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
    def case(label: str, count: int, null: int, probability: float) -> Case:
        return call(
            label,
            labels=rng.integers(null, size=count),
            null=null,
            probability=probability,
            rng=generator(int(rng.integers(2**31))),
        )

    yield case("twenty labels, a third dropped", 20, 10, 0.33)
    yield case("forty labels, a tenth dropped", 40, 3, 0.1)
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
    def case(label: str, *shape: int, scale: float, low: float = 0.0, high: float = 1.0) -> Case:
        # the first lies outside of every interval, others on its very ends, which eighths are exactly
        t = np.append(0.9375, rng.permutation([0.75, 0.25, 0.5, 0.625, 0.125][: shape[0] - 1]))
        return call(
            label,
            unconditional=_normal(rng, *shape),
            conditional=_normal(rng, *shape, mean=0.5),
            scale=scale,
            t=t.astype("float32"),
            low=low,
            high=high,
        )

    yield case("scale 3 at all times", 5, 1, 3, 4, scale=3.0)
    yield case("scale 1, which is none", 2, 1, 2, 3, scale=1.0)
    yield case("scale 0, which forgets the condition", 2, 1, 2, 3, scale=0.0)
    yield case("scale 4 in the middle only", 6, 2, 2, 3, scale=4.0, low=0.25, high=0.75)
    yield case("as many images as channels, rows and columns, scale 2 early", 4, 4, 4, 4, scale=2.0, high=0.5)


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


@guided.mistake("The interval has no effect: outside of it there is no guidance.")
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


@guided.mistake("The upper end of the interval has no effect.")
def high_ignored(*arguments: Any) -> Tensor:
    return _guided(*arguments, inside=lambda t, low, high: t >= low)


@guided.mistake("The time of the first image decides for all. Each has its own.")
def time_of_the_first(*arguments: Any) -> Tensor:
    return _guided(*arguments, place=lambda w: w[:1, None, None, None])


@guided.mistake(
    "Scales are lined up with the columns. Each image has its own: give them three axes of length 1 "
    "behind the first."
)
def scales_along_columns(*arguments: Any) -> Tensor:
    return _guided(*arguments, place=lambda w: w if len(w) == 4 else w[:, None, None, None])


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
        conditional = _normal(rng, *shape, mean=0.4) * rng.uniform(0.5, 1.5, size=(shape[0], 1, 1, 1))
        strong = _normal(rng, *shape, mean=1.0, scale=3.0) * rng.uniform(0.6, 1.5, size=(shape[0], 1, 1, 1))
        return call(
            label,
            strong=strong.astype("float32"),
            conditional=conditional.astype("float32"),
            share=share,
        )

    yield case("five images, wholly", 5, 1, 3, 4, share=1.0)
    yield case("three colour images, seven tenths", 3, 3, 2, 4, share=0.7)
    yield case("not at all", 2, 1, 3, 3, share=0.0)
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


@rescaled.mistake("The ratio is upside down: it makes the strong prediction stronger still.")
def ratio_inverted(*arguments: Any) -> Tensor:
    return _rescaled(*arguments, ratio=lambda wanted, is_: is_ / wanted)


@rescaled.mistake("That is the ratio of variances. Take that of the standard deviations.")
def ratio_of_variances(*arguments: Any) -> Tensor:
    return _rescaled(*arguments, ratio=lambda wanted, is_: (wanted / is_).square())


@rescaled.mistake("One standard deviation is taken over the whole batch. Each image has its own.")
def over_the_batch(*arguments: Any) -> Tensor:
    return _rescaled(*arguments, size=lambda x: x.std())


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
    asked: float = 0.9,
    saturated: float = 1.0,
    spread: float = 1.0,
    flat: int | slice | None = None,
) -> Case:
    """Shares of each class, and how the samples compare with real images."""
    shares = np.clip(asked + 0.02 * rng.normal(size=classes), 0, 1)
    data = rng.uniform(0.05, 0.2)
    real = rng.uniform(1, 10, size=classes)
    own = real * spread * rng.uniform(0.95, 1.05, size=classes)
    if flat is not None:
        own[flat] = 0.2 * real[flat]
    return call(
        label,
        read_back=shares.astype("float32"),
        saturated=float(data * saturated),
        real_saturated=float(data),
        spread=own.astype("float32"),
        real_spread=real.astype("float32"),
    )


def _guidance_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, **options: Any) -> Case:
        return _guidance_run(rng, label, **options)

    yield case("all is well")
    yield case("all is well, with a little less variety", spread=0.85)
    yield case("all is well, and fewer pixels at the ends than in the data", saturated=0.3)
    yield case("what comes is chance", asked=0.1)
    yield case("what comes is chance, among four classes", classes=4, asked=0.26)
    yield case("half of what comes was asked for", asked=0.5)
    yield case("chance, and saturated", asked=0.12, saturated=4.0)
    yield case("saturated", saturated=3.5)
    yield case("saturated, and without variety", saturated=4.0, spread=0.3)
    yield case("without variety", asked=0.97, spread=0.35)
    yield case("one class without variety", flat=int(rng.integers(10)))
    yield case("most classes without variety", flat=slice(0, 8))


def _diagnosed(
    read_back: Tensor,
    saturated: float,
    real_saturated: float,
    spread: Tensor,
    real_spread: Tensor,
    *,
    weak: Callable[[Tensor], Any] = lambda shares: shares.mean() < 0.7,
    glaring: Callable[[float, float], Any] = lambda own, real: own > 2 * real,
    dull: Callable[[Tensor, Tensor], Any] = lambda own, real: (own < 0.6 * real).any(),
    order: tuple[str, ...] = ("too weak", "saturated", "monotonous"),
) -> str:
    """The right answer, with knobs for the wrong ones."""
    found = {
        "too weak": weak(read_back),
        "saturated": glaring(saturated, real_saturated),
        "monotonous": dull(spread, real_spread),
    }
    return next((name for name in order if bool(found[name])), "sound")


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
    "You find it too weak only where what comes is pure chance. Half of it right is too little, too."
)
def chance_only(*arguments: Any) -> str:
    return _diagnosed(*arguments, weak=lambda shares: shares.mean() < 1.5 / len(shares))


@diagnose_guidance.mistake("You ask for a share that no classifier reads even in real images.")
def perfection(*arguments: Any) -> str:
    return _diagnosed(*arguments, weak=lambda shares: shares.mean() < 0.995)


@diagnose_guidance.mistake(
    "You never find saturation. Compare the share of pixels at the ends of the range with that of real "
    "images."
)
def saturation_missed(*arguments: Any) -> str:
    return _diagnosed(*arguments, order=("too weak", "monotonous"))


@diagnose_guidance.mistake(
    "You judge saturation by an absolute share. Garments on black have many pixels at the ends "
    "themselves: compare with real images."
)
def absolute_saturation(*arguments: Any) -> str:
    return _diagnosed(*arguments, glaring=lambda own, real: own > 0.001)


@diagnose_guidance.mistake("Fewer pixels at the ends than in real images are no saturation.")
def any_difference_of_saturation(*arguments: Any) -> str:
    return _diagnosed(*arguments, glaring=lambda own, real: max(own / real, real / own) > 2)


@diagnose_guidance.mistake(
    "You never find lost variety. Compare the spread within each class with that of real images."
)
def monotony_missed(*arguments: Any) -> str:
    return _diagnosed(*arguments, order=("too weak", "saturated"))


@diagnose_guidance.mistake(
    "You look at the mean spread over the classes. One class that repeats itself is enough."
)
def mean_spread(*arguments: Any) -> str:
    return _diagnosed(*arguments, dull=lambda own, real: own.mean() < 0.6 * real.mean())


@diagnose_guidance.mistake("You call it monotonous only where every class is.")
def every_class(*arguments: Any) -> str:
    return _diagnosed(*arguments, dull=lambda own, real: (own < 0.6 * real).all())


@diagnose_guidance.mistake(
    "A little less variety than in real images is no fault: ask whether it is less than half or so."
)
def slightest_loss(*arguments: Any) -> str:
    return _diagnosed(*arguments, dull=lambda own, real: (own < 0.93 * real).any())


@diagnose_guidance.mistake(
    'Several may apply, and the first of the list is asked for: "too weak" before all others.'
)
def weakness_last(*arguments: Any) -> str:
    return _diagnosed(*arguments, order=("saturated", "monotonous", "too weak"))


@diagnose_guidance.mistake(
    'Several may apply, and the first of the list is asked for: "saturated" before "monotonous".'
)
def monotony_before_saturation(*arguments: Any) -> str:
    return _diagnosed(*arguments, order=("too weak", "monotonous", "saturated"))


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


# --- keep_known ---------------------------------------------------------------------------------------


def _known_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, *shape: int, alpha_bar: float) -> Case:
        mask = (rng.random((1, 1, *shape[2:])) < 0.5).astype("float32")
        mask[..., 0, 0], mask[..., -1, -1] = 1, 0
        return call(
            label,
            x=_normal(rng, *shape, mean=-0.5),
            image=rng.uniform(-1, 1, size=shape).astype("float32"),
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
    def case(label: str, *shape: int, steps: int, strength: float) -> Case:
        alpha_bar = np.concatenate([[1.0], np.cumprod(1 - rng.uniform(0.05, 0.3, size=steps))])
        return call(
            label,
            image=rng.uniform(-1, 1, size=shape).astype("float32"),
            noise=_normal(rng, *shape),
            alpha_bar=alpha_bar.astype("float32"),
            strength=strength,
        )

    yield case("a third of the way", 3, 1, 3, 4, steps=9, strength=1 / 3)
    yield case("four fifths of the way", 2, 3, 2, 3, steps=10, strength=0.8)
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
