"""The exercises of the chapter ddpm, in the order of the text."""

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genimg_ref.exercises.compare import Response
from genimg_ref.exercises.engine import Case, Exercise, call, generator, net

Rng = np.random.Generator


def _normal(rng: Rng, *shape: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return rng.normal(mean, scale, size=shape).astype("float32")


def _betas(rng: Rng, steps: int, low: float = 0.02, high: float = 0.5) -> np.ndarray:
    """Variances that neither rise nor fall all the way, so that no two steps are alike."""
    return rng.uniform(low, high, size=steps).astype("float64")


def _alpha_bar(betas: Tensor) -> Tensor:
    """For steps 0 ... T, with 1 for data."""
    return torch.cat([betas.new_ones(1), (1 - betas).cumprod(0)])


# --- log_snr ------------------------------------------------------------------------------------------


def _log_snr_cases(rng: Rng) -> Iterator[Case]:
    yield call("six steps", betas=_betas(rng, 6))
    yield call("a single step", betas=_betas(rng, 1))
    yield call("forty small steps", betas=_betas(rng, 40, 1e-4, 0.02))
    yield call("steps that leave little of the image", betas=_betas(rng, 9, 0.6, 0.9))
    yield call("steps that hardly do anything", betas=_betas(rng, 5, 1e-6, 3e-6))


def _log_snr(betas: Tensor) -> Tensor:
    alpha_bar = (1 - betas).cumprod(0)
    return alpha_bar.log() - (1 - alpha_bar).log()


log_snr = Exercise(points=1, minutes=10, reference=_log_snr, cases=_log_snr_cases)


@log_snr.mistake(
    "The shares of single steps are not multiplied up: alpha_bar of step t is the product of all `1 - "
    "beta` up to t."
)
def of_single_steps(betas: Tensor) -> Tensor:
    return (1 - betas).log() - betas.log()


@log_snr.mistake(
    "You add the betas up. What is left of the image shrinks by a factor at each step: multiply the `1 "
    "- beta`."
)
def betas_added(betas: Tensor) -> Tensor:
    total = betas.cumsum(0)
    return (1 - total).log() - total.log()


@log_snr.mistake("That is the product of the betas. It is that of the `1 - beta`.")
def product_of_betas(betas: Tensor) -> Tensor:
    product = betas.cumprod(0)
    return product.log() - (1 - product).log()


@log_snr.mistake("That is the ratio itself. Asked for is its logarithm.")
def snr_alone(betas: Tensor) -> Tensor:
    return _log_snr(betas).exp()


@log_snr.mistake(
    "That is half of it: a ratio of amplitudes. The signal-to-noise ratio is one of variances, "
    "alpha_bar over 1 - alpha_bar."
)
def of_amplitudes(betas: Tensor) -> Tensor:
    return _log_snr(betas) / 2


@log_snr.mistake("It is upside down: noise over signal. The ratio falls with t.")
def noise_to_signal(betas: Tensor) -> Tensor:
    return -_log_snr(betas)


@log_snr.mistake(
    "You start with step 0, where there is no noise and the ratio is infinite. Asked for are steps 1 to T."
)
def from_step_zero(betas: Tensor) -> Tensor:
    alpha_bar = _alpha_bar(betas)[:-1]
    return alpha_bar.log() - (1 - alpha_bar).log()


@log_snr.mistake("Logarithms are natural in this course.")
def decibels(betas: Tensor) -> Tensor:
    return 10 * _log_snr(betas) / np.log(10)


@log_snr.mistake("That is alpha_bar, or its logarithm. The ratio compares it with the noise, 1 - alpha_bar.")
def log_alpha_bar(betas: Tensor) -> Tensor:
    return (1 - betas).cumprod(0).log()


@log_snr.mistake("The order of the steps is reversed: the noise of step 1 is added first.")
def from_the_end(betas: Tensor) -> Tensor:
    return _log_snr(betas.flip(0)).flip(0)


@log_snr.mistake("Logarithms are natural in this course: `log`, not `log10`.")
def log_to_base_ten(betas: Tensor) -> Tensor:
    return _log_snr(betas) / np.log(10)


@log_snr.mistake("Logarithms are natural in this course: `log`, not `log2`.")
def log_to_base_two(betas: Tensor) -> Tensor:
    return _log_snr(betas) / np.log(2)


@log_snr.mistake(
    "Only the noise has its root: the ratio compares a variance with a standard deviation. It is "
    "alpha_bar over 1 - alpha_bar."
)
def noise_by_its_root(betas: Tensor) -> Tensor:
    alpha_bar = (1 - betas).cumprod(0)
    return alpha_bar.log() - (1 - alpha_bar).log() / 2


@log_snr.mistake(
    "Only the image has its root: the ratio compares a standard deviation with a variance. It is "
    "alpha_bar over 1 - alpha_bar."
)
def image_by_its_root(betas: Tensor) -> Tensor:
    alpha_bar = (1 - betas).cumprod(0)
    return alpha_bar.log() / 2 - (1 - alpha_bar).log()


@log_snr.mistake(
    "There is one number too many: step 0 is in it, where the ratio is infinite. Asked for are steps 1 to T."
)
def step_zero_too(betas: Tensor) -> Tensor:
    alpha_bar = _alpha_bar(betas)
    return alpha_bar.log() - (1 - alpha_bar).log()


@log_snr.mistake(
    "You multiply all steps up at once (`prod`) and return the ratio of step T alone. `cumprod` keeps "
    "the product up to each step."
)
def last_step_alone(betas: Tensor) -> Tensor:
    left = (1 - betas).prod()
    return left.log() - (1 - left).log()


@log_snr.mistake(
    "You add a small number before you divide. Nothing here is divided by zero, and where there is little "
    "noise the small number is not small beside it."
)
def small_number_added(betas: Tensor) -> Tensor:
    alpha_bar = (1 - betas).cumprod(0)
    return (alpha_bar / (1 - alpha_bar + 1e-8)).log()


@log_snr.also_right
def snr_by_logit(betas: Tensor) -> Tensor:
    return torch.logit(torch.cumprod(1 - betas, dim=0))


@log_snr.also_right
def snr_step_by_step(betas: Tensor) -> Tensor:
    left, found = 1.0, []
    for beta in betas:
        left = left * (1 - beta)
        found.append(torch.log(left / (1 - left)))
    return torch.stack(found)


@log_snr.also_right
def snr_by_sums_of_logarithms(betas: Tensor) -> Tensor:
    log_alpha_bar = torch.log1p(-betas).cumsum(0)
    return log_alpha_bar - torch.log(-torch.expm1(log_alpha_bar))


# --- diffuse ------------------------------------------------------------------------------------------


def _diffuse_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, *shape: int) -> Case:
        return call(
            label,
            x0=_normal(rng, *shape, mean=0.5),
            noise=_normal(rng, *shape),
            alpha_bar=rng.uniform(0.05, 0.9, size=shape[0]).astype("float32"),
            gradients=["x0"],
        )

    yield case("five images of 3 x 4", 5, 1, 3, 4)
    yield case("as many images as channels, rows and columns", 3, 3, 3, 3)
    yield case("a single image", 1, 3, 2, 5)
    yield case("as many images as columns", 4, 2, 3, 4)


def _diffused(
    x0: Tensor,
    noise: Tensor,
    alpha_bar: Tensor,
    *,
    signal: Callable[[Tensor], Tensor] = lambda a: a.sqrt(),
    spread: Callable[[Tensor], Tensor] = lambda a: (1 - a).sqrt(),
    place: Callable[[Tensor], Tensor] = lambda a: a[:, None, None, None],
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    return place(signal(alpha_bar)) * x0 + place(spread(alpha_bar)) * noise


def _diffuse(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    return _diffused(x0, noise, alpha_bar)


diffuse = Exercise(points=1, minutes=10, reference=_diffuse, cases=_diffuse_cases)


@diffuse.mistake(
    "Both factors are variances here. What multiplies image and noise are standard deviations: take the"
    " square root of each."
)
def without_roots(*arguments: Tensor) -> Tensor:
    return _diffused(*arguments, signal=lambda a: a, spread=lambda a: 1 - a)


@diffuse.mistake("The noise is multiplied by its variance. Take the square root of `1 - alpha_bar`.")
def noise_without_root(*arguments: Tensor) -> Tensor:
    return _diffused(*arguments, spread=lambda a: 1 - a)


@diffuse.mistake("The image is multiplied by `alpha_bar`. Its square root is meant.")
def image_without_root(*arguments: Tensor) -> Tensor:
    return _diffused(*arguments, signal=lambda a: a)


@diffuse.mistake(
    "The noise is multiplied by one minus the root. It is the root of one minus `alpha_bar`: the "
    "squares of the two factors add up to 1."
)
def one_minus_the_root(*arguments: Tensor) -> Tensor:
    return _diffused(*arguments, spread=lambda a: 1 - a.sqrt())


@diffuse.mistake("Image and noise have changed places.")
def exchanged(*arguments: Tensor) -> Tensor:
    return _diffused(*arguments, signal=lambda a: (1 - a).sqrt(), spread=lambda a: a.sqrt())


@diffuse.mistake(
    "`alpha_bar` is used as it comes, and PyTorch lines its numbers up with the columns of the images. "
    "Each image has its own: give it three axes of length 1 behind the first."
)
def along_the_columns(*arguments: Tensor) -> Tensor:
    return _diffused(*arguments, place=lambda a: a)


@diffuse.mistake(
    "`alpha_bar` is lined up with the rows of the images. Each image has its own: give it three axes of"
    " length 1 behind the first."
)
def along_the_rows(*arguments: Tensor) -> Tensor:
    return _diffused(*arguments, place=lambda a: a[:, None])


@diffuse.mistake(
    "`alpha_bar` is lined up with the channels. Each image has its own: give it three axes of length 1 "
    "behind the first."
)
def along_the_channels(*arguments: Tensor) -> Tensor:
    return _diffused(*arguments, place=lambda a: a[:, None, None])


@diffuse.mistake("All images get the level of the first. Each has its own.")
def level_of_the_first(*arguments: Tensor) -> Tensor:
    return _diffused(*arguments, place=lambda a: a[0])


@diffuse.mistake("The noise is not scaled at all.")
def unit_noise(*arguments: Tensor) -> Tensor:
    return _diffused(*arguments, spread=torch.ones_like)


@diffuse.mistake("The image is not scaled: it has to shrink as the noise grows, so that the variance stays.")
def whole_image(*arguments: Tensor) -> Tensor:
    return _diffused(*arguments, signal=torch.ones_like)


@diffuse.mistake("The value is right, but the image is cut off from the graph.")
def diffuse_detached(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    return _diffused(x0.detach(), noise, alpha_bar)


@diffuse.mistake(
    "`alpha_bar` is multiplied up once more. It is the product over all steps already, and its entries "
    "belong to different images."
)
def multiplied_up_again(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    return _diffused(x0, noise, alpha_bar.cumprod(0))


@diffuse.mistake("You draw noise of your own. Use the one that is given.")
def own_noise(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    return _diffused(x0, torch.randn_like(noise), alpha_bar)


@diffuse.mistake("The noise is subtracted. It is added, as in (4).")
def noise_subtracted(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    return _diffused(x0, -noise, alpha_bar)


@diffuse.mistake(
    "`alpha_bar` is squared under the root of the noise's factor. It is the root of `1 - alpha_bar`: the "
    "squares of the two factors add up to 1."
)
def alpha_bar_squared(*arguments: Tensor) -> Tensor:
    return _diffused(*arguments, spread=lambda a: (1 - a**2).sqrt())


@diffuse.mistake(
    "If the error speaks of `numpy()`: gradients have to pass through to `x0`, and NumPy knows none. Stay in "
    "torch, which has `sqrt` and all else that is needed, and do not detach."
)
def numpy_refused(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> np.ndarray:
    return _diffused(x0, noise, alpha_bar).numpy()


@diffuse.also_right
def by_views(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    a = alpha_bar.view(-1, 1, 1, 1)
    return torch.sqrt(a) * x0 + torch.sqrt(1 - a) * noise


@diffuse.also_right
def image_by_image(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    rows = zip(x0, noise, alpha_bar.tolist(), strict=True)
    return torch.stack([a**0.5 * x + (1 - a) ** 0.5 * e for x, e, a in rows])


@diffuse.also_right
def diffuse_by_einsum(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    def scaled(x: Tensor, factor: Tensor) -> Tensor:
        return torch.einsum("bchw,b->bchw", x, factor)

    return scaled(x0, alpha_bar.sqrt()) + scaled(noise, (1 - alpha_bar).sqrt())


# --- posterior ----------------------------------------------------------------------------------------


def _posterior_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, steps: int, t: int, *shape: int) -> Case:
        return call(
            label,
            x=_normal(rng, *shape, mean=-0.5),
            x0=_normal(rng, *shape, mean=1.0),
            betas=_betas(rng, steps).astype("float32"),
            t=t,
        )

    yield case("step 4 of 7", 7, 4, 3, 2, 2, 3)
    yield case("the last step", 5, 5, 2, 1, 3, 2)
    yield case("step 2 of 3", 3, 2, 4, 1, 2, 2)
    yield case("step 1, after which there is no noise", 4, 1, 2, 1, 2, 3)


def _posterior(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> list[Tensor]:
    alpha_bar = _alpha_bar(betas)
    beta, now, before = betas[t - 1], alpha_bar[t], alpha_bar[t - 1]
    of_x0 = before.sqrt() * beta / (1 - now)
    of_x = (1 - beta).sqrt() * (1 - before) / (1 - now)
    return [of_x0 * x0 + of_x * x, (1 - before) / (1 - now) * beta]


posterior = Exercise(points=3, minutes=25, reference=_posterior, cases=_posterior_cases)


def _posterior_of(
    x: Tensor,
    x0: Tensor,
    betas: Tensor,
    t: int,
    *,
    of_x0: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda beta, now, before: (
        before.sqrt() * beta / (1 - now)
    ),
    of_x: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda beta, now, before: (
        (1 - beta).sqrt() * (1 - before) / (1 - now)
    ),
    variance: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda beta, now, before: (
        (1 - before) / (1 - now) * beta
    ),
) -> list[Tensor]:
    """The right answer, with knobs for the wrong ones."""
    alpha_bar = _alpha_bar(betas)
    at = betas[t - 1], alpha_bar[t], alpha_bar[t - 1]
    return [of_x0(*at) * x0 + of_x(*at) * x, variance(*at)]


@posterior.mistake(
    "The variance is beta, what the step forward adds. Whoever knows the image can say more: (12) "
    "multiplies it by what is left to know."
)
def variance_of_the_step_forward(*arguments: Any) -> list[Tensor]:
    return _posterior_of(*arguments, variance=lambda beta, now, before: beta)


@posterior.mistake("You return the standard deviation. Asked for is the variance.")
def standard_deviation(*arguments: Any) -> list[Tensor]:
    return _posterior_of(
        *arguments, variance=lambda beta, now, before: ((1 - before) / (1 - now) * beta).sqrt()
    )


@posterior.mistake(
    "The two factors of the mean have changed places: the one of `x0` is that of `x`, and the other way"
    " round."
)
def factors_exchanged(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> list[Tensor]:
    return _posterior(x0, x, betas, t)


@posterior.mistake(
    "You are one step off: `betas[t]` is the beta of step t + 1, for the list begins with that of step 1."
)
def one_step_on(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> list[Tensor]:
    alpha_bar = (1 - betas).cumprod(0)
    beta, now, before = betas[t], alpha_bar[t], alpha_bar[t - 1]
    of_x0 = before.sqrt() * beta / (1 - now)
    of_x = (1 - beta).sqrt() * (1 - before) / (1 - now)
    return [of_x0 * x0 + of_x * x, (1 - before) / (1 - now) * beta]


@posterior.mistake(
    "At step 1 you look up an alpha_bar before the first, and Python takes the last one of the list. "
    "Before step 1 there is no noise: alpha_bar is 1 there."
)
def last_before_the_first(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> list[Tensor]:
    alpha_bar = (1 - betas).cumprod(0)
    beta, now, before = betas[t - 1], alpha_bar[t - 1], alpha_bar[t - 2]
    of_x0 = before.sqrt() * beta / (1 - now)
    of_x = (1 - beta).sqrt() * (1 - before) / (1 - now)
    return [of_x0 * x0 + of_x * x, (1 - before) / (1 - now) * beta]


@posterior.mistake(
    "You look alpha_bar of step t up at place t, but `cumprod` has step 1 at place 0: you are one step on, "
    "and at step T beyond the end of the list. Put a 1 in front of it for step 0, and the places are right."
)
def no_one_in_front(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> list[Tensor]:
    alpha_bar = (1 - betas).cumprod(0)
    beta, now, before = betas[t - 1], alpha_bar[t], alpha_bar[t - 1]
    of_x0 = before.sqrt() * beta / (1 - now)
    of_x = (1 - beta).sqrt() * (1 - before) / (1 - now)
    return [of_x0 * x0 + of_x * x, (1 - before) / (1 - now) * beta]


@posterior.mistake(
    "Step 1 is treated apart, as it may be. At the others you look alpha_bar of step t up at place t, but "
    "`cumprod` has step 1 at place 0: put a 1 in front of it for step 0, and the places are right."
)
def no_one_in_front_from_step_two(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> list[Tensor]:
    return [x0, betas.new_zeros(())] if t == 1 else no_one_in_front(x, x0, betas, t)


@posterior.mistake(
    "The factor of `x0` has the root of alpha_bar of step t. It is that of the step before, from where "
    "the image is seen."
)
def now_for_before(*arguments: Any) -> list[Tensor]:
    return _posterior_of(*arguments, of_x0=lambda beta, now, before: now.sqrt() * beta / (1 - now))


@posterior.mistake("The factor of `x0` lacks its root: it is the root of alpha_bar of the step before.")
def x0_without_root(*arguments: Any) -> list[Tensor]:
    return _posterior_of(*arguments, of_x0=lambda beta, now, before: before * beta / (1 - now))


@posterior.mistake("The factor of `x` lacks its root: it is the root of 1 - beta.")
def x_without_root(*arguments: Any) -> list[Tensor]:
    return _posterior_of(*arguments, of_x=lambda beta, now, before: (1 - beta) * (1 - before) / (1 - now))


@posterior.mistake(
    "The factor of `x` has the root of alpha_bar. It is that of `1 - beta`, the share that a single "
    "step keeps."
)
def alpha_bar_for_one_step(*arguments: Any) -> list[Tensor]:
    return _posterior_of(*arguments, of_x=lambda beta, now, before: now.sqrt() * (1 - before) / (1 - now))


@posterior.mistake(
    "The factor of `x` is as if nothing were known of the image: (1 - alpha_bar of the step before) "
    "over (1 - alpha_bar) is missing."
)
def x_without_share(*arguments: Any) -> list[Tensor]:
    return _posterior_of(*arguments, of_x=lambda beta, now, before: (1 - beta).sqrt())


@posterior.mistake("The denominators are 1 - alpha_bar, not its root.")
def root_in_the_denominator(*arguments: Any) -> list[Tensor]:
    return _posterior_of(
        *arguments,
        of_x0=lambda beta, now, before: before.sqrt() * beta / (1 - now).sqrt(),
        of_x=lambda beta, now, before: (1 - beta).sqrt() * (1 - before) / (1 - now).sqrt(),
    )


@posterior.mistake(
    "That is the distribution of the step before given the image alone. What is known of x at step t "
    "belongs in it, too."
)
def marginal_of_the_step_before(*arguments: Any) -> list[Tensor]:
    return _posterior_of(
        *arguments,
        of_x0=lambda beta, now, before: before.sqrt(),
        of_x=lambda beta, now, before: 0 * beta,
        variance=lambda beta, now, before: 1 - before,
    )


@posterior.mistake(
    "The variance is upside down: (1 - alpha_bar of the step before) over (1 - alpha_bar) is below 1."
)
def variance_inverted(*arguments: Any) -> list[Tensor]:
    return _posterior_of(*arguments, variance=lambda beta, now, before: (1 - now) / (1 - before) * beta)


@posterior.mistake(
    "Everything is one step on: where (12) has alpha_bar of step t - 1 you have that of step t."
)
def now_everywhere(*arguments: Any) -> list[Tensor]:
    return _posterior_of(
        *arguments,
        of_x0=lambda beta, now, before: now.sqrt() * beta / (1 - now),
        of_x=lambda beta, now, before: (1 - beta).sqrt() * (1 - now) / (1 - now),
        variance=lambda beta, now, before: (1 - now) / (1 - now) * beta,
    )


@posterior.mistake("The factor of `x` has the root of beta. It is that of `1 - beta`.")
def root_of_beta_for_x(*arguments: Any) -> list[Tensor]:
    return _posterior_of(*arguments, of_x=lambda beta, now, before: beta.sqrt() * (1 - before) / (1 - now))


@posterior.mistake(
    "alpha_bar is the product of the betas in your answer. It is that of the `1 - beta`: what is left "
    "of the image."
)
def product_of_betas_for_alpha_bar(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> list[Tensor]:
    product = torch.cat([betas.new_ones(1), betas.cumprod(0)])
    beta, now, before = betas[t - 1], product[t], product[t - 1]
    of_x0 = before.sqrt() * beta / (1 - now)
    of_x = (1 - beta).sqrt() * (1 - before) / (1 - now)
    return [of_x0 * x0 + of_x * x, (1 - before) / (1 - now) * beta]


@posterior.mistake(
    "alpha_bar is right, but `betas[t]` is the beta of step t + 1: the list begins with that of step 1."
)
def beta_of_the_next_step(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> list[Tensor]:
    alpha_bar = _alpha_bar(betas)
    beta, now, before = betas[t], alpha_bar[t], alpha_bar[t - 1]
    of_x0 = before.sqrt() * beta / (1 - now)
    of_x = (1 - beta).sqrt() * (1 - before) / (1 - now)
    return [of_x0 * x0 + of_x * x, (1 - before) / (1 - now) * beta]


@posterior.mistake(
    "At step 1 the precision of (11) is infinite, and infinite times zero is NaN. Use the shortened "
    "form (12), or treat step 1 apart."
)
def precision_at_step_one(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> list[Tensor]:
    alpha_bar = _alpha_bar(betas)
    beta, before = betas[t - 1], alpha_bar[t - 1]
    variance = 1 / ((1 - beta) / beta + 1 / (1 - before))
    mean = (1 - beta).sqrt() * x / beta + before.sqrt() * x0 / (1 - before)
    return [variance * mean, variance]


@posterior.mistake("That is the precision, one over the variance.")
def the_precision(*arguments: Any) -> list[Tensor]:
    mean, variance = _posterior(*arguments)
    return [mean, 1 / variance]


@posterior.mistake("That is the logarithm of the variance. Asked for is the variance itself.")
def logarithm_of_the_variance(*arguments: Any) -> list[Tensor]:
    mean, variance = _posterior(*arguments)
    return [mean, variance.log()]


@posterior.mistake(
    "That is the logarithm of the variance, kept from being infinite at step 1. Asked for is the variance "
    "itself, which is 0 there."
)
def logarithm_with_a_floor(*arguments: Any) -> list[Tensor]:
    mean, variance = _posterior(*arguments)
    return [mean, variance.clamp(min=1e-20).log()]


@posterior.mistake("Mean and variance are right, but in the wrong order: the mean comes first.")
def variance_first(*arguments: Any) -> list[Tensor]:
    return _posterior(*arguments)[::-1]


@posterior.mistake(
    "At step 1 you return `x` for the mean. The step before is the clean image there, and that is known: "
    "`x0`."
)
def noisy_image_at_step_one(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> list[Tensor]:
    mean, variance = _posterior(x, x0, betas, t)
    return [x if t == 1 else mean, variance]


@posterior.mistake(
    "At step 1 you return beta for the variance. Whoever knows the image knows the step before there, for it "
    "is the image: the variance is 0."
)
def beta_at_step_one(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> list[Tensor]:
    mean, variance = _posterior(x, x0, betas, t)
    return [mean, betas[0] if t == 1 else variance]


@posterior.mistake("At step 1 the variance is a plain number. Return a tensor there, too: `torch.zeros(())`.")
def plain_zero_at_step_one(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> list[Any]:
    mean, variance = _posterior(x, x0, betas, t)
    return [mean, 0.0 if t == 1 else variance]


@posterior.mistake("Return both, the mean and the variance.")
def the_mean_alone(*arguments: Any) -> Tensor:
    return _posterior(*arguments)[0]


@posterior.also_right
def posterior_by_precisions(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> tuple[Tensor, Tensor]:
    if t == 1:
        return x0.clone(), betas.new_zeros(())
    before = torch.prod(1 - betas[: t - 1])
    beta, keep = betas[t - 1], (1 - betas[t - 1]).sqrt()
    precision = keep**2 / beta + 1 / (1 - before)
    mean = (keep * x / beta + before.sqrt() * x0 / (1 - before)) / precision
    return mean, 1 / precision


@posterior.also_right
def posterior_in_double(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> list[Tensor]:
    b = betas.double()
    now = float(torch.prod(1 - b[:t]))
    before = float(torch.prod(1 - b[: t - 1])) if t > 1 else 1.0
    beta = float(b[t - 1])
    mean = (before**0.5 * beta * x0.double() + (1 - beta) ** 0.5 * (1 - before) * x.double()) / (1 - now)
    return [mean.float(), torch.tensor(beta * (1 - before) / (1 - now))]


@posterior.also_right
def posterior_by_the_noise(x: Tensor, x0: Tensor, betas: Tensor, t: int) -> list[Tensor]:
    alpha_bar = torch.cat([torch.ones(1), torch.cumprod(1 - betas, 0)])
    variance = (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]) * betas[t - 1]
    noise = (x - alpha_bar[t].sqrt() * x0) / (1 - alpha_bar[t]).sqrt()
    along = (1 - alpha_bar[t - 1] - variance).clamp(min=0).sqrt()
    return [alpha_bar[t - 1].sqrt() * x0 + along * noise, variance]


# --- bound_weights ------------------------------------------------------------------------------------


def _bound_weights_cases(rng: Rng) -> Iterator[Case]:
    yield call("five steps", betas=_betas(rng, 5))
    yield call("two steps", betas=_betas(rng, 2))
    yield call("thirty small steps", betas=_betas(rng, 30, 1e-3, 0.05))
    yield call("large steps", betas=_betas(rng, 8, 0.4, 0.8))


def _bound_weights(betas: Tensor) -> Tensor:
    alpha_bar = (1 - betas).cumprod(0)
    ratio = alpha_bar / (1 - alpha_bar)
    return 0.5 * (ratio[:-1] / ratio[1:] - 1)


bound_weights = Exercise(points=2, minutes=20, reference=_bound_weights, cases=_bound_weights_cases)


def _pieces(betas: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """beta, alpha_bar of t and of t - 1, and the posterior's variance, for t = 2 ... T."""
    alpha_bar = (1 - betas).cumprod(0)
    beta, now, before = betas[1:], alpha_bar[1:], alpha_bar[:-1]
    return beta, now, before, (1 - before) / (1 - now) * beta


@bound_weights.mistake(
    "That is the weight of the error in the image. An error in the noise is one in the image times "
    "the root of 1/SNR: divide by the SNR of step t."
)
def weights_of_the_image(betas: Tensor) -> Tensor:
    alpha_bar = (1 - betas).cumprod(0)
    ratio = alpha_bar / (1 - alpha_bar)
    return 0.5 * (ratio[:-1] - ratio[1:])


@bound_weights.mistake("The factor 1/2 is missing.")
def weights_without_half(betas: Tensor) -> Tensor:
    return 2 * _bound_weights(betas)


@bound_weights.mistake(
    "You divide by 2 beta where twice the posterior's variance belongs: in (14) both Gaussians have the "
    "variance of (12)."
)
def weights_by_beta(betas: Tensor) -> Tensor:
    beta, now, _, _ = _pieces(betas)
    return beta.square() / (2 * beta * (1 - beta) * (1 - now))


@bound_weights.mistake(
    "`1 - beta` is missing from the denominator: the mean, written with the noise as in (13), is divided "
    "by its root."
)
def weights_without_alpha(betas: Tensor) -> Tensor:
    beta, now, _, variance = _pieces(betas)
    return beta.square() / (2 * variance * (1 - now))


@bound_weights.mistake(
    "1 - alpha_bar is missing from the denominator: in the mean the noise is divided by its root."
)
def weights_without_noise_level(betas: Tensor) -> Tensor:
    beta, _, _, variance = _pieces(betas)
    return beta.square() / (2 * variance * (1 - beta))


@bound_weights.mistake(
    "That is the factor of the noise in the mean. In the divergence it is squared, and divided by twice"
    " the variance."
)
def factor_of_the_noise(betas: Tensor) -> Tensor:
    beta, now, _, _ = _pieces(betas)
    return beta / ((1 - beta) * (1 - now)).sqrt()


@bound_weights.mistake("beta has to be squared.")
def weights_beta_once(betas: Tensor) -> Tensor:
    beta, now, _, variance = _pieces(betas)
    return beta / (2 * variance * (1 - beta) * (1 - now))


@bound_weights.mistake(
    "The SNR of step t is divided by that of the step before, where it is the other way round: the "
    "ratio falls with t, and a weight is not negative."
)
def weights_upside_down(betas: Tensor) -> Tensor:
    alpha_bar = (1 - betas).cumprod(0)
    ratio = alpha_bar / (1 - alpha_bar)
    return 0.5 * (ratio[1:] / ratio[:-1] - 1)


@bound_weights.mistake(
    "The weights are multiplied by the SNR where they should be divided by it: an error in the noise "
    "counts for more where the image is buried."
)
def weights_times_snr(betas: Tensor) -> Tensor:
    alpha_bar = (1 - betas).cumprod(0)
    ratio = alpha_bar / (1 - alpha_bar)
    return 0.5 * (ratio[:-1] - ratio[1:]) * ratio[1:]


@bound_weights.mistake(
    "You divide by the SNR of the step before. The network sees x at step t: its noise counts by the "
    "SNR of t."
)
def by_the_step_before(betas: Tensor) -> Tensor:
    alpha_bar = (1 - betas).cumprod(0)
    ratio = alpha_bar / (1 - alpha_bar)
    return 0.5 * (1 - ratio[1:] / ratio[:-1])


@bound_weights.mistake("All weights are 1: that is the simple loss, not the bound.")
def simple_weights(betas: Tensor) -> Tensor:
    return torch.ones_like(betas[1:])


@bound_weights.mistake("The weights are those of steps 1 to T - 1. Asked for are steps 2 to T.")
def one_step_early(betas: Tensor) -> Tensor:
    beta, now = betas[:-1], (1 - betas).cumprod(0)[:-1]
    before = torch.cat([betas.new_ones(1), now[:-1]])
    variance = ((1 - before) / (1 - now) * beta).clamp(min=1e-20)
    return beta.square() / (2 * variance * (1 - beta) * (1 - now))


@bound_weights.mistake(
    "The denominator has alpha_bar where it has `1 - beta`: the alpha of the paper is that of a single step."
)
def weights_by_alpha_bar(betas: Tensor) -> Tensor:
    beta, now, _, variance = _pieces(betas)
    return beta.square() / (2 * variance * now * (1 - now))


@bound_weights.mistake("The posterior's variance enters once. It is not squared.")
def weights_variance_squared(betas: Tensor) -> Tensor:
    beta, now, _, variance = _pieces(betas)
    return beta.square() / (2 * variance.square() * (1 - beta) * (1 - now))


@bound_weights.mistake(
    "There is one weight too many, that of step 1. Asked for are steps 2 to T: step 1 has a term of its "
    "own in (9)."
)
def weights_from_step_one(betas: Tensor) -> Tensor:
    alpha_bar = _alpha_bar(betas)
    ratio = alpha_bar / (1 - alpha_bar)
    return 0.5 * (ratio[:-1] / ratio[1:] - 1)


@bound_weights.mistake("The 1 is subtracted after halving. Half of the whole is meant: mind the brackets.")
def one_subtracted_late(betas: Tensor) -> Tensor:
    return _bound_weights(betas) - 0.5


@bound_weights.mistake("The 1 is not subtracted: a step that changes nothing would cost something.")
def one_not_subtracted(betas: Tensor) -> Tensor:
    return _bound_weights(betas) + 0.5


@bound_weights.mistake(
    "Those are differences of the logarithms of the SNR, nearly right for small steps. (16) has the "
    "ratio of the SNRs itself."
)
def differences_of_logarithms(betas: Tensor) -> Tensor:
    return -0.5 * torch.logit((1 - betas).cumprod(0)).diff()


@bound_weights.mistake("You divide the logarithms of the SNR. (16) has the ratio of the SNRs themselves.")
def ratio_of_logarithms(betas: Tensor) -> Tensor:
    logarithm = torch.logit((1 - betas).cumprod(0))
    return 0.5 * (logarithm[:-1] / logarithm[1:] - 1)


@bound_weights.mistake(
    "Your ratio is one of amplitudes. The signal-to-noise ratio is one of variances, alpha_bar over 1 - "
    "alpha_bar."
)
def weights_by_amplitudes(betas: Tensor) -> Tensor:
    alpha_bar = (1 - betas).cumprod(0)
    ratio = (alpha_bar / (1 - alpha_bar)).sqrt()
    return 0.5 * (ratio[:-1] / ratio[1:] - 1)


@bound_weights.mistake(
    "The sign is wrong. The SNR falls with t, so that of the step before over that of t is above 1, and a "
    "weight is positive."
)
def weights_negative(betas: Tensor) -> Tensor:
    return -_bound_weights(betas)


@bound_weights.mistake(
    "The weights are those of steps 1 to T - 1, and that of step 1 is infinite: its variance in (12) is 0. "
    "Asked for are steps 2 to T."
)
def infinite_at_first(betas: Tensor) -> Tensor:
    alpha_bar = _alpha_bar(betas)[:-1]
    ratio = alpha_bar / (1 - alpha_bar)
    return 0.5 * (ratio[:-1] / ratio[1:] - 1)


@bound_weights.mistake(
    "The beta in the posterior's variance is that of step t - 1. In (12) it is that of step t, as everywhere."
)
def variance_by_the_beta_before(betas: Tensor) -> Tensor:
    beta, now, before, _ = _pieces(betas)
    return beta.square() / (2 * (1 - before) / (1 - now) * betas[:-1] * (1 - beta) * (1 - now))


@bound_weights.mistake(
    "The posterior's variance is right, but the other betas are those of step t - 1. The weight of step t "
    "has the beta of step t."
)
def betas_before_outside_the_variance(betas: Tensor) -> Tensor:
    _, now, _, variance = _pieces(betas)
    beta = betas[:-1]
    return beta.square() / (2 * variance * (1 - beta) * (1 - now))


@bound_weights.mistake(
    "alpha_bar is right, but all betas are those of step t - 1: for t = 2 ... T they are `betas[1:]`."
)
def all_betas_before(betas: Tensor) -> Tensor:
    _, now, before, _ = _pieces(betas)
    beta = betas[:-1]
    return beta.square() / (2 * (1 - before) / (1 - now) * beta * (1 - beta) * (1 - now))


@bound_weights.mistake(
    "The `1 - beta` in the denominator is that of step t - 1. The weight of step t has the beta of step t."
)
def share_kept_before(betas: Tensor) -> Tensor:
    beta, now, _, variance = _pieces(betas)
    return beta.square() / (2 * variance * (1 - betas[:-1]) * (1 - now))


@bound_weights.mistake(
    "The noise level in the denominator is 1 - alpha_bar of step t - 1. The network sees x at step t: it is "
    "that of step t."
)
def noise_level_before(betas: Tensor) -> Tensor:
    beta, _, before, variance = _pieces(betas)
    return beta.square() / (2 * variance * (1 - beta) * (1 - before))


@bound_weights.mistake(
    "The posterior's variance is upside down: (1 - alpha_bar of the step before) over (1 - alpha_bar) is "
    "below 1."
)
def weights_by_variance_inverted(betas: Tensor) -> Tensor:
    beta, now, before, _ = _pieces(betas)
    return beta.square() / (2 * (1 - now) / (1 - before) * beta * (1 - beta) * (1 - now))


@bound_weights.mistake(
    "Your SNR is that of a single step, `1 - beta` over beta. It is that of all steps up to t: alpha_bar "
    "over 1 - alpha_bar."
)
def weights_of_single_steps(betas: Tensor) -> Tensor:
    ratio = (1 - betas) / betas
    return 0.5 * (ratio[:-1] / ratio[1:] - 1)


@bound_weights.also_right
def weights_as_in_the_paper(betas: Tensor) -> Tensor:
    beta, now, _, variance = _pieces(betas)
    return beta**2 / (2 * variance * (1 - beta) * (1 - now))


@bound_weights.also_right
def weights_shortened(betas: Tensor) -> Tensor:
    before = torch.cumprod(1 - betas, dim=0)[:-1]
    return betas[1:] / (2 * (1 - betas[1:]) * (1 - before))


@bound_weights.also_right
def weights_by_logarithms(betas: Tensor) -> Tensor:
    return 0.5 * torch.expm1(-torch.logit(torch.cumprod(1 - betas, 0)).diff())


# --- clean_image --------------------------------------------------------------------------------------


def _clean_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, kind: str, *shape: int) -> Case:
        levels = rng.uniform(0.1, 0.9, size=shape[0])
        levels[-1] = rng.uniform(0.003, 0.008)  # next to nothing of the image is left
        return call(
            label,
            output=_normal(rng, *shape),
            x=_normal(rng, *shape, mean=0.5),
            alpha_bar=levels.astype("float32"),
            kind=kind,
            gradients=["output", "x"] if kind != "x0" else ["output"],
        )

    yield case("the noise is predicted, five images", "eps", 5, 1, 3, 4)
    yield case("the noise is predicted, as many images as channels, rows and columns", "eps", 3, 3, 3, 3)
    yield case("v is predicted, four images", "v", 4, 2, 2, 3)
    yield case("v is predicted, a single image", "v", 1, 1, 3, 2)
    yield case("the image is predicted", "x0", 2, 1, 4, 3)


def _clean(
    output: Tensor,
    x: Tensor,
    alpha_bar: Tensor,
    kind: str,
    *,
    eps: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = lambda e, x, a, s: (x - s * e) / a,
    v: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = lambda v, x, a, s: a * x - s * v,
    x0: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = lambda o, x, a, s: o,
    place: Callable[[Tensor], Tensor] = lambda a: a[:, None, None, None],
    roots: bool = True,
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    alpha, sigma = place(alpha_bar), place(1 - alpha_bar)
    if roots:
        alpha, sigma = alpha.sqrt(), sigma.sqrt()
    return {"eps": eps, "v": v, "x0": x0}[kind](output, x, alpha, sigma)


def _clean_reference(output: Tensor, x: Tensor, alpha_bar: Tensor, kind: str) -> Tensor:
    return _clean(output, x, alpha_bar, kind)


clean_image = Exercise(points=2, minutes=15, reference=_clean_reference, cases=_clean_cases)


@clean_image.mistake(
    "`alpha_bar` and `1 - alpha_bar` are used without their roots. Image and noise are scaled by "
    "standard deviations."
)
def clean_without_roots(*arguments: Any) -> Tensor:
    return _clean(*arguments, roots=False)


@clean_image.mistake(
    "With the noise predicted you forget to divide by the root of `alpha_bar`: what is left is the "
    "image shrunk."
)
def shrunk(*arguments: Any) -> Tensor:
    return _clean(*arguments, eps=lambda e, x, a, s: x - s * e)


@clean_image.mistake("The noise is subtracted without being scaled by the root of `1 - alpha_bar`.")
def noise_unscaled(*arguments: Any) -> Tensor:
    return _clean(*arguments, eps=lambda e, x, a, s: (x - e) / a)


@clean_image.mistake("The noise is added. What x holds of it has to be taken away.")
def noise_added(*arguments: Any) -> Tensor:
    return _clean(*arguments, eps=lambda e, x, a, s: (x + s * e) / a)


@clean_image.mistake(
    "You divide by the noise's factor. What is left after the noise is the image times alpha."
)
def divided_by_sigma(*arguments: Any) -> Tensor:
    return _clean(*arguments, eps=lambda e, x, a, s: (x - a * e) / s)


@clean_image.mistake(
    "For `v` you return the noise: alpha times v plus sigma times x. The image is alpha times x minus "
    "sigma times v."
)
def noise_from_v(*arguments: Any) -> Tensor:
    return _clean(*arguments, v=lambda v, x, a, s: a * v + s * x)


@clean_image.mistake("For `v` the sign is wrong: the image is alpha times x minus sigma times v.")
def v_added(*arguments: Any) -> Tensor:
    return _clean(*arguments, v=lambda v, x, a, s: a * x + s * v)


@clean_image.mistake("For `v` the two factors have changed places.")
def v_factors_exchanged(*arguments: Any) -> Tensor:
    return _clean(*arguments, v=lambda v, x, a, s: s * x - a * v)


@clean_image.mistake("`v` is treated as if it were the noise.")
def v_as_noise(*arguments: Any) -> Tensor:
    return _clean(*arguments, v=lambda v, x, a, s: (x - s * v) / a)


@clean_image.mistake("`v` is treated as a velocity of the straight path. Here it is alpha eps - sigma x0.")
def v_as_velocity(*arguments: Any) -> Tensor:
    return _clean(*arguments, v=lambda v, x, a, s: x - s * v)


@clean_image.mistake("A model that predicts the image has said it already: return its output.")
def image_converted(*arguments: Any) -> Tensor:
    return _clean(*arguments, x0=lambda o, x, a, s: (x - s * o) / a)


@clean_image.mistake(
    "`alpha_bar` is lined up with the columns. Each image has its own: give it three axes of length 1 "
    "behind the first."
)
def clean_along_the_columns(*arguments: Any) -> Tensor:
    return _clean(*arguments, place=lambda a: a)


@clean_image.mistake("All images get the level of the first. Each has its own.")
def clean_level_of_the_first(*arguments: Any) -> Tensor:
    return _clean(*arguments, place=lambda a: a[0])


@clean_image.mistake(
    "The image is clipped. That is often done in samplers, but the formula does not: leave it to the caller."
)
def clipped(*arguments: Any) -> Tensor:
    return _clean(*arguments).clamp(-1, 1)


@clean_image.mistake(
    "`alpha_bar` is used without its root: the image's factor is a standard deviation, as the noise's is."
)
def clean_image_without_root(output: Tensor, x: Tensor, alpha_bar: Tensor, kind: str) -> Tensor:
    a, s = (part[:, None, None, None] for part in (alpha_bar, (1 - alpha_bar).sqrt()))
    return {"eps": (x - s * output) / a, "v": a * x - s * output, "x0": output}[kind]


@clean_image.mistake(
    "`1 - alpha_bar` is used without its root: the noise's factor is a standard deviation, as the image's is."
)
def clean_noise_without_root(output: Tensor, x: Tensor, alpha_bar: Tensor, kind: str) -> Tensor:
    a, s = (part[:, None, None, None] for part in (alpha_bar.sqrt(), 1 - alpha_bar))
    return {"eps": (x - s * output) / a, "v": a * x - s * output, "x0": output}[kind]


@clean_image.mistake(
    "With the noise predicted you divide the noise alone by the root of `alpha_bar`. The whole "
    "difference is divided: mind the brackets."
)
def noise_alone_divided(*arguments: Any) -> Tensor:
    return _clean(*arguments, eps=lambda e, x, a, s: x - s * e / a)


@clean_image.mistake(
    "For `v` you exchange `x` and the output: alpha times v minus sigma times x. That is the first "
    "equation of (20) with x in the place of the image."
)
def v_and_x_exchanged(*arguments: Any) -> Tensor:
    return _clean(*arguments, v=lambda v, x, a, s: a * v - s * x)


@clean_image.mistake(
    "For `v` you solve its definition for the image with `x` in the place of the noise. The noise is not"
    " known: use the second equation of (20)."
)
def x_for_the_noise(*arguments: Any) -> Tensor:
    return _clean(*arguments, v=lambda v, x, a, s: (a * x - v) / s)


@clean_image.mistake(
    "`alpha_bar` is lined up with the rows. Each image has its own: give it three axes of length 1 "
    "behind the first."
)
def clean_along_the_rows(*arguments: Any) -> Tensor:
    return _clean(*arguments, place=lambda a: a[:, None])


@clean_image.mistake(
    "`alpha_bar` is lined up with the channels. Each image has its own: give it three axes of length 1 "
    "behind the first."
)
def clean_along_the_channels(*arguments: Any) -> Tensor:
    return _clean(*arguments, place=lambda a: a[:, None, None])


@clean_image.mistake(
    "With the noise predicted, the noise is scaled by its variance: take the root of `1 - alpha_bar`."
)
def eps_noise_without_root(*arguments: Any) -> Tensor:
    return _clean(*arguments, eps=lambda e, x, a, s: (x - s**2 * e) / a)


@clean_image.mistake("With the noise predicted you divide by `alpha_bar`. Divide by its root.")
def eps_image_without_root(*arguments: Any) -> Tensor:
    return _clean(*arguments, eps=lambda e, x, a, s: (x - s * e) / a**2)


@clean_image.mistake(
    "With the noise predicted, `alpha_bar` and `1 - alpha_bar` are used without their roots. For `v` you "
    "have taken them."
)
def eps_without_roots(*arguments: Any) -> Tensor:
    return _clean(*arguments, eps=lambda e, x, a, s: (x - s**2 * e) / a**2)


@clean_image.mistake("For `v` sigma is meant, the root of `1 - alpha_bar`. You have its square.")
def v_noise_without_root(*arguments: Any) -> Tensor:
    return _clean(*arguments, v=lambda v, x, a, s: a * x - s**2 * v)


@clean_image.mistake("For `v` alpha is meant, the root of `alpha_bar`. You have its square.")
def v_image_without_root(*arguments: Any) -> Tensor:
    return _clean(*arguments, v=lambda v, x, a, s: a**2 * x - s * v)


@clean_image.mistake(
    "For `v` the factors are alpha and sigma, the roots of `alpha_bar` and `1 - alpha_bar`. You have their "
    "squares."
)
def v_without_roots(*arguments: Any) -> Tensor:
    return _clean(*arguments, v=lambda v, x, a, s: a**2 * x - s**2 * v)


@clean_image.mistake(
    "For `v` the output comes back as it is. It is a mixture of image and noise: the second equation of (20) "
    "has the image."
)
def v_returned(*arguments: Any) -> Tensor:
    return _clean(*arguments, v=lambda v, x, a, s: v)


@clean_image.mistake(
    "With the noise predicted the output comes back as it is, and that is the noise. Solve (4) for the image."
)
def eps_returned(*arguments: Any) -> Tensor:
    return _clean(*arguments, eps=lambda e, x, a, s: e)


@clean_image.mistake(
    'The output comes back as it is for every kind. It is the image for "x0" alone: solve (4) for "eps", and '
    'use the second equation of (20) for "v".'
)
def always_the_output(output: Tensor, *_: Any) -> Tensor:
    return output


@clean_image.mistake(
    "The predicted noise is subtracted and nothing is scaled. In (4) the noise has its factor, and what is "
    "left is the image times the root of `alpha_bar`."
)
def nothing_scaled(*arguments: Any) -> Tensor:
    return _clean(*arguments, eps=lambda e, x, a, s: x - e)


@clean_image.mistake("For `v` nothing is divided: alpha times x minus sigma times v is the image already.")
def v_divided(*arguments: Any) -> Tensor:
    return _clean(*arguments, v=lambda v, x, a, s: (a * x - s * v) / a)


@clean_image.mistake(
    'For "x0" you return `x`, the noisy image. What the model takes for the clean one is its output.'
)
def noisy_image_for_x0(*arguments: Any) -> Tensor:
    return _clean(*arguments, x0=lambda o, x, a, s: x)


@clean_image.mistake(
    'For "x0" you divide by the root of `alpha_bar`. The output is the clean image, which has not shrunk.'
)
def x0_divided(*arguments: Any) -> Tensor:
    return _clean(*arguments, x0=lambda o, x, a, s: o / a)


@clean_image.mistake(
    'For "x0" you shrink the output by the root of `alpha_bar`. It is the clean image; return it as it is.'
)
def x0_shrunk(*arguments: Any) -> Tensor:
    return _clean(*arguments, x0=lambda o, x, a, s: a * o)


@clean_image.mistake('For "x0" nothing comes back. The output is the image: return it.')
def x0_forgotten(*arguments: Any) -> Tensor | None:
    return None if arguments[-1] == "x0" else _clean(*arguments)


@clean_image.mistake(
    "You keep the divisor from getting small. Where little of the image is left it is small, and the guess "
    "is as far off as the formula says."
)
def divisor_with_a_floor(*arguments: Any) -> Tensor:
    return _clean(*arguments, eps=lambda e, x, a, s: (x - s * e) / a.clamp(min=0.1))


@clean_image.also_right
def clean_by_cases(output: Tensor, x: Tensor, alpha_bar: Tensor, kind: str) -> Tensor:
    a, s = (part.sqrt().reshape(-1, 1, 1, 1) for part in (alpha_bar, 1 - alpha_bar))
    if kind == "x0":
        return output
    noise = output if kind == "eps" else a * output + s * x
    return (x - s * noise) / a


@clean_image.also_right
def clean_image_by_image(output: Tensor, x: Tensor, alpha_bar: Tensor, kind: str) -> Tensor:
    rows = []
    for o, xi, a in zip(output, x, alpha_bar.tolist(), strict=True):
        choices = {
            "eps": (xi - (1 - a) ** 0.5 * o) * a**-0.5,
            "v": a**0.5 * xi - (1 - a) ** 0.5 * o,
            "x0": o,
        }
        rows.append(choices[kind])
    return torch.stack(rows)


# --- denoising_loss -----------------------------------------------------------------------------------


def _loss_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, batch: int, dim: int, steps: int) -> Case:
        times = rng.integers(1, steps, size=batch)  # never the last, so that a list is not left
        times[0] = 1
        return call(
            label,
            model=net(rng, ["Linear", dim + 1, 7], ["Tanh"], ["Linear", 7, dim], scale=0.9),
            x0=_normal(rng, batch, dim, mean=0.7),
            t=rng.permutation(times),
            noise=_normal(rng, batch, dim),
            betas=_betas(rng, steps).astype("float32"),
            gradients=["model"],
        )

    yield case("five points of the plane, six steps", 5, 2, 6)
    yield case("as many points as dimensions", 3, 3, 5)
    yield case("a single point", 1, 4, 4)
    yield case("many steps", 6, 2, 50)


def _loss(
    model: nn.Module,
    x0: Tensor,
    t: Tensor,
    noise: Tensor,
    betas: Tensor,
    *,
    level: Callable[[Tensor, Tensor], Tensor] = lambda betas, t: _alpha_bar(betas)[t],
    roots: tuple[bool, bool] = (True, True),
    time: Callable[[Tensor, int], Tensor] = lambda t, steps: t / steps,
    target: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda x0, noise, x: noise,
    asked: Callable[[Tensor, Tensor], Tensor] = lambda x0, x: x,
    reduce: Callable[[Tensor], Tensor] = torch.mean,
    place: Callable[[Tensor], Tensor] = lambda a: a[:, None],
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    a = place(level(betas, t))
    alpha = a.sqrt() if roots[0] else a
    sigma = (1 - a).sqrt() if roots[1] else 1 - a
    x = alpha * x0 + sigma * noise
    output = model(torch.cat([asked(x0, x), time(t, len(betas))[:, None].to(x)], dim=1))
    return reduce((output - target(x0, noise, x)).square())


def _loss_reference(model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, betas: Tensor) -> Tensor:
    return _loss(model, x0, t, noise, betas)


denoising_loss = Exercise(points=3, minutes=20, reference=_loss_reference, cases=_loss_cases)


@denoising_loss.mistake(
    "Nothing has been mended yet: it adds the noise of a single step, looks the beta up one place too "
    "far, and asks for the image."
)
def loss_as_printed(*arguments: Any) -> Tensor:
    return _loss(*arguments, level=lambda b, t: 1 - b[t], target=lambda x0, noise, x: x0)


@denoising_loss.mistake(
    "The noise is that of step t alone. x at step t has gone through all steps up to t: use the "
    "product of the `1 - beta`, as in (4)."
)
def noise_of_one_step(*arguments: Any) -> Tensor:
    return _loss(*arguments, level=lambda b, t: 1 - b[t - 1])


@denoising_loss.mistake(
    "The noise is that of one step alone, and of the next one at that: `betas[t]` belongs to step t + "
    "1. Use the product of the `1 - beta` up to step t."
)
def noise_of_the_next_step(*arguments: Any) -> Tensor:
    return _loss(*arguments, level=lambda b, t: 1 - b[t])


@denoising_loss.mistake(
    "You are one step off: the list begins with the beta of step 1, so what you look up at place t is "
    "the level of step t + 1."
)
def loss_one_step_on(*arguments: Any) -> Tensor:
    return _loss(*arguments, level=lambda b, t: (1 - b).cumprod(0)[t])


@denoising_loss.mistake("The target is the clean point still. This model predicts the noise.")
def target_is_the_image(*arguments: Any) -> Tensor:
    return _loss(*arguments, target=lambda x0, noise, x: x0)


@denoising_loss.mistake(
    "The target is what has been added to the clean point, noise and shrinking together. It is the "
    "noise alone, unscaled."
)
def target_is_the_difference(*arguments: Any) -> Tensor:
    return _loss(*arguments, target=lambda x0, noise, x: x - x0)


@denoising_loss.mistake("The target is the noisy point, which the model has before it.")
def target_is_the_input(*arguments: Any) -> Tensor:
    return _loss(*arguments, target=lambda x0, noise, x: x)


@denoising_loss.mistake("The target has the wrong sign.")
def target_negative(*arguments: Any) -> Tensor:
    return _loss(*arguments, target=lambda x0, noise, x: -noise)


@denoising_loss.mistake("The model is told the number of the step. It expects t / T, between 0 and 1.")
def time_not_divided(*arguments: Any) -> Tensor:
    return _loss(*arguments, time=lambda t, steps: t)


@denoising_loss.mistake("The model is told (t - 1) / T. Step t has the time t / T.")
def time_one_early(*arguments: Any) -> Tensor:
    return _loss(*arguments, time=lambda t, steps: (t - 1) / steps)


@denoising_loss.mistake("The model is told t / (T - 1), or another count. There are T steps: `len(betas)`.")
def time_by_one_fewer(*arguments: Any) -> Tensor:
    return _loss(*arguments, time=lambda t, steps: t / (steps - 1))


@denoising_loss.mistake("The model never hears of the time: what you tell it is the same for all steps.")
def time_withheld(*arguments: Any) -> Tensor:
    return _loss(*arguments, time=lambda t, steps: 0 * t)


@denoising_loss.mistake("All points get the level and the time of the first. Each has its own.")
def first_time_for_all(model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, betas: Tensor) -> Tensor:
    return _loss(model, x0, t[:1].expand_as(t), noise, betas)


@denoising_loss.mistake("Image and noise are scaled by variances: take the roots.")
def loss_without_roots(*arguments: Any) -> Tensor:
    return _loss(*arguments, roots=(False, False))


@denoising_loss.mistake("The noise is scaled by its variance: take the root of `1 - alpha_bar`.")
def loss_noise_without_root(*arguments: Any) -> Tensor:
    return _loss(*arguments, roots=(True, False))


@denoising_loss.mistake("The model is shown the clean point. It has to find the noise in the noisy one.")
def clean_point_shown(*arguments: Any) -> Tensor:
    return _loss(*arguments, asked=lambda x0, x: x0)


@denoising_loss.mistake("You sum. The loss is the mean over all numbers of all points.")
def loss_summed(*arguments: Any) -> Tensor:
    return _loss(*arguments, reduce=torch.sum)


@denoising_loss.mistake(
    "The squares are summed over the dimensions and averaged over the points. Take the mean over all numbers."
)
def loss_summed_over_dimensions(*arguments: Any) -> Tensor:
    return _loss(*arguments, reduce=lambda squares: squares.sum(dim=1).mean())


@denoising_loss.mistake("That is one loss a point. Return their mean.")
def loss_of_each_point(*arguments: Any) -> Tensor:
    return _loss(*arguments, reduce=lambda squares: squares.mean(dim=1))


@denoising_loss.mistake("The root of the mean square is not asked for.")
def loss_root(*arguments: Any) -> Tensor:
    return _loss(*arguments, reduce=lambda squares: squares.mean().sqrt())


@denoising_loss.mistake("The loss is cut off from the graph: nobody could learn from it.")
def loss_detached(*arguments: Any) -> Tensor:
    return _loss(*arguments).detach()


@denoising_loss.mistake(
    "Two of the three faults are left: the noise is that of a single step, where (4) has the product "
    "over all steps, and the target is the clean point, where this model predicts the noise."
)
def place_alone_mended(*arguments: Any) -> Tensor:
    return _loss(*arguments, level=lambda b, t: 1 - b[t - 1], target=lambda x0, noise, x: x0)


@denoising_loss.mistake(
    "Two of the three faults are left: at place t of the list stands step t + 1, and the target is the "
    "clean point, where this model predicts the noise."
)
def product_alone_mended(*arguments: Any) -> Tensor:
    return _loss(*arguments, level=lambda b, t: (1 - b).cumprod(0)[t], target=lambda x0, noise, x: x0)


@denoising_loss.mistake(
    "Image and noise have changed places: the product of the `1 - beta` belongs to the image, what it "
    "lacks of 1 to the noise."
)
def levels_of_both_exchanged(*arguments: Any) -> Tensor:
    return _loss(*arguments, level=lambda b, t: 1 - _alpha_bar(b)[t])


@denoising_loss.mistake(
    "You multiply the betas up. What is left of the image is the product of the `1 - beta`."
)
def loss_by_product_of_betas(model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, betas: Tensor) -> Tensor:
    product = betas.cumprod(0)[t - 1][:, None]
    x = (1 - product).sqrt() * x0 + product.sqrt() * noise
    return (model(torch.cat([x, t[:, None] / len(betas)], dim=1)) - noise).square().mean()


@denoising_loss.mistake(
    "You add the betas up, and soon their sum is above 1. What is left of the image is the product of "
    "the `1 - beta`."
)
def loss_by_sum_of_betas(*arguments: Any) -> Tensor:
    return _loss(*arguments, level=lambda b, t: 1 - b.cumsum(0)[t - 1])


@denoising_loss.mistake(
    "You are one step early: what is left after step t is the product of the first t factors, at place t"
    " - 1 of `cumprod`."
)
def loss_one_step_early(*arguments: Any) -> Tensor:
    return _loss(*arguments, level=lambda b, t: _alpha_bar(b)[t - 1])


@denoising_loss.mistake(
    "You look up place t - 2, and at step 1 Python takes the last of the list. What is left after step t"
    " is at place t - 1 of `cumprod`."
)
def loss_two_places_early(*arguments: Any) -> Tensor:
    return _loss(*arguments, level=lambda b, t: (1 - b).cumprod(0)[t - 2])


@denoising_loss.mistake(
    "The target is the noise as it is in the noisy point, scaled. The model predicts it unscaled, with "
    "variance 1."
)
def target_is_the_scaled_noise(
    model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, betas: Tensor
) -> Tensor:
    sigma = (1 - _alpha_bar(betas)[t]).sqrt()[:, None]
    return _loss(model, x0, t, noise, betas, target=lambda x0, noise, x: sigma * noise)


@denoising_loss.mistake("The time stands in front of the points. The model expects it behind.")
def time_in_front(model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, betas: Tensor) -> Tensor:
    left = _alpha_bar(betas)[t][:, None]
    x = left.sqrt() * x0 + (1 - left).sqrt() * noise
    return (model(torch.cat([t[:, None] / len(betas), x], dim=1)) - noise).square().mean()


@denoising_loss.mistake(
    "The levels are lined up with the coordinates. Each point has its own: give them an axis of length "
    "1 behind."
)
def loss_along_the_coordinates(*arguments: Any) -> Tensor:
    return _loss(*arguments, place=lambda a: a)


@denoising_loss.mistake("You draw noise of your own. Use the one that is given, here and as the target.")
def loss_own_noise(model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, betas: Tensor) -> Tensor:
    return _loss(model, x0, t, torch.randn_like(x0), betas)


@denoising_loss.mistake(
    "The noise in the noisy point is one that you have drawn, and the target is the one that is given. They "
    "are the same: use the one that is given."
)
def own_noise_added(model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, betas: Tensor) -> Tensor:
    given, noise = noise, torch.randn_like(x0)
    return _loss(model, x0, t, noise, betas, target=lambda x0, noise, x: given)


@denoising_loss.mistake(
    "The target is noise that you draw anew, of which nothing is in the noisy point. It is the noise that "
    "has been added."
)
def own_noise_as_target(*arguments: Any) -> Tensor:
    return _loss(*arguments, target=lambda x0, noise, x: torch.randn_like(noise))


@denoising_loss.mistake("You draw the steps yourself. Use the `t` that is given.")
def own_steps(model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, betas: Tensor) -> Tensor:
    return _loss(model, x0, torch.randint(1, len(betas) + 1, t.shape), noise, betas)


@denoising_loss.mistake(
    "You draw steps and noise yourself. Both are given: that is how the caller can tell what to expect."
)
def own_steps_and_noise(model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, betas: Tensor) -> Tensor:
    t = torch.randint(1, len(betas) + 1, t.shape)
    return _loss(model, x0, t, torch.randn_like(x0), betas)


@denoising_loss.mistake(
    "alpha_bar is the product of the betas in your answer. It is that of the `1 - beta`: what is left of the "
    "image."
)
def product_of_betas_left(*arguments: Any) -> Tensor:
    return _loss(*arguments, level=lambda b, t: b.cumprod(0)[t - 1])


@denoising_loss.mistake(
    "You look the betas up first and multiply then, over the points of the batch. Multiply over the steps, "
    "`cumprod` of the whole list, and look up then."
)
def product_over_the_batch(*arguments: Any) -> Tensor:
    return _loss(*arguments, level=lambda b, t: (1 - b[t - 1]).cumprod(0))


@denoising_loss.mistake(
    "You look up first, one place too far, and multiply over the points of the batch. Multiply over the "
    "steps, `cumprod` of the whole list, and look up at t - 1 then."
)
def product_over_the_batch_one_on(*arguments: Any) -> Tensor:
    return _loss(*arguments, level=lambda b, t: (1 - b[t]).cumprod(0))


@denoising_loss.mistake(
    "All points get the level of step T: `prod` is the product over all steps. `cumprod` keeps the product "
    "up to each step."
)
def level_of_the_end(*arguments: Any) -> Tensor:
    return _loss(*arguments, level=lambda b, t: (1 - b).prod().expand(t.shape))


@denoising_loss.mistake("The image is scaled by `alpha_bar`: take its root.")
def loss_image_without_root(*arguments: Any) -> Tensor:
    return _loss(*arguments, roots=(False, True))


@denoising_loss.mistake("The target is v of (20). This model predicts the noise.")
def target_is_v(model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, betas: Tensor) -> Tensor:
    left = _alpha_bar(betas)[t][:, None]
    v = left.sqrt() * noise - (1 - left).sqrt() * x0
    return _loss(model, x0, t, noise, betas, target=lambda x0, noise, x: v)


@denoising_loss.mistake("That is the mean absolute error. (17) has the square.")
def loss_absolute(*arguments: Any) -> Tensor:
    return _loss(*arguments, reduce=lambda squares: squares.sqrt().mean())


@denoising_loss.mistake("That is half of it: (17) has no factor 1/2.")
def loss_halved(*arguments: Any) -> Tensor:
    return _loss(*arguments) / 2


@denoising_loss.mistake("The model is told alpha_bar. It expects the time, t / T.")
def level_for_the_time(model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, betas: Tensor) -> Tensor:
    return _loss(model, x0, t, noise, betas, time=lambda t, steps: _alpha_bar(betas)[t])


@denoising_loss.mistake("The model is told the beta of the step. It expects the time, t / T.")
def beta_for_the_time(model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, betas: Tensor) -> Tensor:
    return _loss(model, x0, t, noise, betas, time=lambda t, steps: betas[t - 1])


@denoising_loss.mistake("The model is told 1 - t / T. Time begins with the data: it is t / T.")
def time_left(*arguments: Any) -> Tensor:
    return _loss(*arguments, time=lambda t, steps: 1 - t / steps)


@denoising_loss.mistake(
    "`.item()` makes a plain number of the loss, and nobody can learn from that. Return the tensor."
)
def loss_as_a_number(*arguments: Any) -> float:
    return _loss(*arguments).item()


@denoising_loss.also_right
def loss_by_mse(model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, betas: Tensor) -> Tensor:
    alpha_bar = torch.cumprod(1 - betas, dim=0)[t - 1].unsqueeze(1)
    noisy = torch.sqrt(alpha_bar) * x0 + torch.sqrt(1 - alpha_bar) * noise
    time = t.float().unsqueeze(1) / betas.shape[0]
    return F.mse_loss(model(torch.cat((noisy, time), dim=1)), noise)


@denoising_loss.also_right
def loss_point_by_point(model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, betas: Tensor) -> Tensor:
    losses = []
    for x, k, e in zip(x0, t.tolist(), noise, strict=True):
        left = torch.prod(1 - betas[:k])
        noisy = left.sqrt() * x + (1 - left).sqrt() * e
        told = torch.cat([noisy, torch.tensor([k / len(betas)])])
        losses.append((model(told[None])[0] - e).pow(2).mean())
    return sum(losses) / len(losses)


# --- ancestral_sample ---------------------------------------------------------------------------------


def _sample_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, batch: int, dim: int, steps: int) -> Case:
        return call(
            label,
            model=net(rng, ["Linear", dim + 1, 6], ["Tanh"], ["Linear", 6, dim], scale=0.6),
            x=_normal(rng, batch, dim),
            betas=_betas(rng, steps, 0.1, 0.5).astype("float32"),
            rng=generator(int(rng.integers(2**31))),
        )

    yield case("five points, four steps", 5, 2, 4)
    yield case("as many points as dimensions and steps", 3, 3, 3)
    yield case("a single point, six steps", 1, 3, 6)
    yield case("two steps", 4, 2, 2)


def _sampled(
    model: nn.Module,
    x: Tensor,
    betas: Tensor,
    rng: torch.Generator,
    *,
    order: Callable[[int], Any] = lambda steps: range(steps, 0, -1),
    time: Callable[[int, int], float] = lambda t, steps: t / steps,
    mean: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = lambda x, e, beta, now: (
        (x - beta / (1 - now).sqrt() * e) / (1 - beta).sqrt()
    ),
    spread: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda beta, now, before: (
        (1 - before) / (1 - now) * beta
    ).sqrt(),
    draw: Callable[[Tensor, torch.Generator], Tensor] = lambda x, rng: torch.randn(x.shape, generator=rng),
    quiet: Callable[[int], bool] = lambda t: t == 1,
    left: Callable[[Tensor], Tensor] = _alpha_bar,
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    alpha_bar = left(betas)
    for t in order(len(betas)):
        told = torch.full((len(x), 1), time(t, len(betas)))
        eps = model(torch.cat([x, told], dim=1))
        beta, now, before = betas[t - 1], alpha_bar[t], alpha_bar[t - 1]
        x = mean(x, eps, beta, now)
        if not quiet(t):
            x = x + spread(beta, now, before) * draw(x, rng)
    return x.detach()


def _sample_reference(model: nn.Module, x: Tensor, betas: Tensor, rng: torch.Generator) -> Tensor:
    return _sampled(model, x, betas, rng)


ancestral_sample = Exercise(
    points=3, minutes=25, reference=_sample_reference, cases=_sample_cases, rtol=1e-3, atol=1e-4
)


@ancestral_sample.mistake(
    "That is a single call: from pure noise straight to what the model takes for the point behind it. "
    "From there all the model can name is a mean. Go back step by step."
)
def single_call(model: nn.Module, x: Tensor, betas: Tensor, rng: torch.Generator) -> Tensor:
    left = (1 - betas).prod()
    eps = model(torch.cat([x, torch.ones(len(x), 1)], dim=1))
    return ((x - (1 - left).sqrt() * eps) / left.sqrt()).detach()


@ancestral_sample.mistake(
    "No noise is added on the way. Each step back is a draw: its mean alone leads to the same few places."
)
def without_noise(*arguments: Any) -> Tensor:
    return _sampled(*arguments, quiet=lambda t: True)


@ancestral_sample.mistake(
    "The noise has the variance beta. That is the other choice of the paper; asked for is the "
    "posterior's variance of (12)."
)
def large_variance(*arguments: Any) -> Tensor:
    return _sampled(*arguments, spread=lambda beta, now, before: beta.sqrt())


@ancestral_sample.mistake(
    "Noise is added after the last step, too. There the result is the sample: the posterior's variance is 0."
)
def noise_at_the_end(*arguments: Any) -> Tensor:
    return _sampled(*arguments, spread=lambda beta, now, before: beta.sqrt(), quiet=lambda t: False)


@ancestral_sample.mistake("The noise is multiplied by the variance: take its root.")
def variance_for_deviation(*arguments: Any) -> Tensor:
    return _sampled(*arguments, spread=lambda beta, now, before: (1 - before) / (1 - now) * beta)


@ancestral_sample.mistake("The noise is added unscaled.")
def noise_not_scaled(*arguments: Any) -> Tensor:
    return _sampled(*arguments, spread=lambda beta, now, before: torch.ones(()))


@ancestral_sample.mistake("The steps are walked from 1 up to T. Noise is where one starts: from T down to 1.")
def forwards(*arguments: Any) -> Tensor:
    return _sampled(*arguments, order=lambda steps: range(1, steps + 1))


@ancestral_sample.mistake("The walk stops before step 1: the last bit of noise is still in the result.")
def stops_early(*arguments: Any) -> Tensor:
    return _sampled(*arguments, order=lambda steps: range(steps, 1, -1))


@ancestral_sample.mistake(
    "The model is told (t - 1) / T, as happens when steps are counted from 0. At step t it is shown x at "
    "time t / T: the first call has time 1, the last 1 / T."
)
def sample_time_one_early(*arguments: Any) -> Tensor:
    return _sampled(*arguments, time=lambda t, steps: (t - 1) / steps)


@ancestral_sample.mistake("The model is told the number of the step. It expects t / T.")
def sample_time_not_divided(*arguments: Any) -> Tensor:
    return _sampled(*arguments, time=lambda t, steps: float(t))


@ancestral_sample.mistake(
    "The predicted noise is multiplied by beta over 1 - alpha_bar. It is over the root."
)
def noise_over_variance(*arguments: Any) -> Tensor:
    return _sampled(*arguments, mean=lambda x, e, beta, now: (x - beta / (1 - now) * e) / (1 - beta).sqrt())


@ancestral_sample.mistake(
    "The predicted noise is taken away whole, times the root of 1 - alpha_bar, as if one step led to "
    "the clean point. One step takes away beta over that root."
)
def all_noise_at_once(*arguments: Any) -> Tensor:
    return _sampled(*arguments, mean=lambda x, e, beta, now: (x - (1 - now).sqrt() * e) / (1 - beta).sqrt())


@ancestral_sample.mistake(
    "The predicted noise is multiplied by the root of beta, as in the step forward. What goes back is "
    "beta over the root of 1 - alpha_bar."
)
def root_of_beta(*arguments: Any) -> Tensor:
    return _sampled(*arguments, mean=lambda x, e, beta, now: (x - beta.sqrt() * e) / (1 - beta).sqrt())


@ancestral_sample.mistake(
    "The division by the root of 1 - beta is missing: each step forward shrinks, so a step back grows."
)
def not_grown(*arguments: Any) -> Tensor:
    return _sampled(*arguments, mean=lambda x, e, beta, now: x - beta / (1 - now).sqrt() * e)


@ancestral_sample.mistake("You divide by 1 - beta. Its root is meant.")
def grown_too_much(*arguments: Any) -> Tensor:
    return _sampled(*arguments, mean=lambda x, e, beta, now: (x - beta / (1 - now).sqrt() * e) / (1 - beta))


@ancestral_sample.mistake(
    "You divide by the root of alpha_bar, which undoes all steps. One step is undone by the root of 1 - beta."
)
def all_steps_undone(*arguments: Any) -> Tensor:
    return _sampled(*arguments, mean=lambda x, e, beta, now: (x - beta / (1 - now).sqrt() * e) / now.sqrt())


@ancestral_sample.mistake("The predicted noise is added. It has to go.")
def predicted_noise_added(*arguments: Any) -> Tensor:
    return _sampled(
        *arguments, mean=lambda x, e, beta, now: (x + beta / (1 - now).sqrt() * e) / (1 - beta).sqrt()
    )


@ancestral_sample.mistake("All points share one row of noise. Each needs its own.")
def shared_noise(*arguments: Any) -> Tensor:
    return _sampled(*arguments, draw=lambda x, rng: torch.randn(x.shape[1], generator=rng))


@ancestral_sample.mistake(
    "The noise comes from PyTorch's global generator, as that of `torch.randn_like` does. Draw it from `rng`."
)
def sample_global_noise(*arguments: Any) -> Tensor:
    return _sampled(*arguments, draw=lambda x, rng: torch.randn_like(x))


@ancestral_sample.mistake(
    "Each step goes to the clean point that the model has in mind and noises it anew. The step of (13) "
    "keeps most of the noise that is there."
)
def noised_anew(model: nn.Module, x: Tensor, betas: Tensor, rng: torch.Generator) -> Tensor:
    alpha_bar, steps = _alpha_bar(betas), len(betas)
    for t in range(steps, 0, -1):
        eps = model(torch.cat([x, torch.full((len(x), 1), t / steps)], dim=1))
        x = (x - (1 - alpha_bar[t]).sqrt() * eps) / alpha_bar[t].sqrt()
        if t > 1:
            noise = torch.randn(x.shape, generator=rng)
            x = alpha_bar[t - 1].sqrt() * x + (1 - alpha_bar[t - 1]).sqrt() * noise
    return x.detach()


@ancestral_sample.mistake("The given noise `x` is not used: you draw your own. Start from `x`.")
def own_start(model: nn.Module, x: Tensor, betas: Tensor, rng: torch.Generator) -> Tensor:
    return _sampled(model, torch.randn(x.shape, generator=rng), betas, rng)


@ancestral_sample.mistake(
    "The model is told at every step that it is the last one, 1. At step t it is shown x at time t / T."
)
def sample_time_always_one(*arguments: Any) -> Tensor:
    return _sampled(*arguments, time=lambda t, steps: 1.0)


@ancestral_sample.mistake("The same noise is added at each step. Draw anew each time.")
def one_noise_for_all(model: nn.Module, x: Tensor, betas: Tensor, rng: torch.Generator) -> Tensor:
    noise = torch.randn(x.shape, generator=rng)
    return _sampled(model, x, betas, rng, draw=lambda x, rng: noise)


@ancestral_sample.mistake(
    "In (13) the fresh noise stands behind the bracket: it is not divided by the root of 1 - beta."
)
def noise_divided_too(model: nn.Module, x: Tensor, betas: Tensor, rng: torch.Generator) -> Tensor:
    return _sampled(
        model,
        x,
        betas,
        rng,
        spread=lambda beta, now, before: ((1 - before) / (1 - now) * beta / (1 - beta)).sqrt(),
    )


@ancestral_sample.mistake(
    "Only `x` is divided by the root of 1 - beta. The predicted noise stands in the same bracket."
)
def x_alone_divided(*arguments: Any) -> Tensor:
    return _sampled(
        *arguments, mean=lambda x, e, beta, now: x / (1 - beta).sqrt() - beta / (1 - now).sqrt() * e
    )


@ancestral_sample.mistake(
    "That is a walk without fresh noise: the predicted noise is kept and only shrunk. The next chapter "
    "walks like that; (13) adds noise."
)
def predicted_noise_kept(model: nn.Module, x: Tensor, betas: Tensor, rng: torch.Generator) -> Tensor:
    alpha_bar, steps = _alpha_bar(betas), len(betas)
    for t in range(steps, 0, -1):
        eps = model(torch.cat([x, torch.full((len(x), 1), t / steps)], dim=1))
        clean = (x - (1 - alpha_bar[t]).sqrt() * eps) / alpha_bar[t].sqrt()
        x = alpha_bar[t - 1].sqrt() * clean + (1 - alpha_bar[t - 1]).sqrt() * eps
    return x.detach()


@ancestral_sample.mistake(
    "alpha_bar is the product over all steps at every step. At step t it is that of the first t factors: "
    "`cumprod`."
)
def alpha_bar_of_the_end(model: nn.Module, x: Tensor, betas: Tensor, rng: torch.Generator) -> Tensor:
    alpha_bar = _alpha_bar(betas)
    left = alpha_bar[-1]
    return _sampled(
        model,
        x,
        betas,
        rng,
        mean=lambda x, e, beta, now: (x - beta / (1 - left).sqrt() * e) / (1 - beta).sqrt(),
    )


@ancestral_sample.mistake(
    "The variance of the noise is upside down: (1 - alpha_bar of the step before) over (1 - alpha_bar) is "
    "below 1."
)
def sample_variance_inverted(*arguments: Any) -> Tensor:
    return _sampled(*arguments, spread=lambda beta, now, before: ((1 - now) / (1 - before) * beta).sqrt())


@ancestral_sample.mistake(
    "You look beyond the end of a list. `betas` and its `cumprod` begin with step 1, so step t is at place "
    "t - 1, unless you put a 1 in front of the product for step 0."
)
def sample_one_place_on(model: nn.Module, x: Tensor, betas: Tensor, rng: torch.Generator) -> Tensor:
    alpha_bar, steps = (1 - betas).cumprod(0), len(betas)
    for t in range(steps, 0, -1):
        eps = model(torch.cat([x, torch.full((len(x), 1), t / steps)], dim=1))
        beta, now, before = betas[t - 1], alpha_bar[t], alpha_bar[t - 1]
        x = (x - beta / (1 - now).sqrt() * eps) / (1 - beta).sqrt()
        if t > 1:
            noise = torch.randn(x.shape, generator=rng)
            x = x + ((1 - before) / (1 - now) * beta).sqrt() * noise
    return x.detach()


@ancestral_sample.mistake("All numbers of a point get the same noise. Each needs its own: `x.shape`.")
def noise_shared_by_coordinates(*arguments: Any) -> Tensor:
    return _sampled(*arguments, draw=lambda x, rng: torch.randn(len(x), 1, generator=rng))


@ancestral_sample.mistake(
    "The noise is even, between 0 and 1: that is `torch.rand`. Gaussian is `torch.randn`."
)
def even_noise(*arguments: Any) -> Tensor:
    return _sampled(*arguments, draw=lambda x, rng: torch.rand(x.shape, generator=rng))


@ancestral_sample.mistake(
    "The walk begins with step T - 1: step T is left out. `range(T, 0, -1)` goes from T to 1, for its end is "
    "not in it."
)
def begins_late(*arguments: Any) -> Tensor:
    return _sampled(*arguments, order=lambda steps: range(steps - 1, 0, -1))


@ancestral_sample.mistake(
    "The walk begins with step T - 1 and goes on to step 0, where alpha_bar is 1, no noise is left, and you "
    "divide by zero. It is `range(T, 0, -1)`, from T to 1."
)
def down_to_step_zero(*arguments: Any) -> Tensor:
    return _sampled(*arguments, order=lambda steps: range(steps - 1, -1, -1), quiet=lambda t: t <= 1)


@ancestral_sample.mistake(
    "The walk begins with step T - 1 and goes on to step 0, where you divide by zero and add noise once "
    "more. It is `range(T, 0, -1)`, from T to 1."
)
def down_to_step_zero_with_noise(*arguments: Any) -> Tensor:
    return _sampled(*arguments, order=lambda steps: range(steps - 1, -1, -1))


@ancestral_sample.mistake(
    "Steps are counted from T - 1 down to 0, which fits a list whose first place is step 1. With a 1 in "
    "front of alpha_bar place 0 is the data, and you divide by zero: go from T to 1."
)
def down_to_step_zero_without_noise_there(*arguments: Any) -> Tensor:
    return _sampled(*arguments, order=lambda steps: range(steps - 1, -1, -1), quiet=lambda t: t == 0)


@ancestral_sample.mistake(
    "Counted from 0 the steps are T - 1 down to 0, and you stop before 0; and the time of place t is "
    "(t + 1) / T. Count from T to 1, and both are as in (13)."
)
def counted_from_zero_and_stops_early(*arguments: Any) -> Tensor:
    return _sampled(
        *arguments, order=lambda steps: range(steps, 1, -1), time=lambda t, steps: (t - 1) / steps
    )


@ancestral_sample.mistake(
    "alpha_bar is the product of the betas in your answer. It is that of the `1 - beta`: what is left of the "
    "image."
)
def sample_by_product_of_betas(*arguments: Any) -> Tensor:
    return _sampled(*arguments, left=lambda betas: torch.cat([betas.new_ones(1), betas.cumprod(0)]))


def _last_for_the_first(betas: Tensor) -> Tensor:
    """What Python finds before the first place of ``cumprod``: the last."""
    alpha_bar = (1 - betas).cumprod(0)
    return torch.cat([alpha_bar[-1:], alpha_bar])


@ancestral_sample.mistake(
    "In the last step you look up an alpha_bar before the first, and Python takes the last one of the list. "
    "Before step 1 there is no noise: alpha_bar is 1, the variance 0."
)
def sample_last_before_the_first(*arguments: Any) -> Tensor:
    return _sampled(*arguments, left=_last_for_the_first, quiet=lambda t: False)


@ancestral_sample.mistake(
    "Two things: the model is told (t - 1) / T where step t has the time t / T, and before the first "
    "alpha_bar Python takes the last one of the list. Before step 1 there is no noise: alpha_bar is 1, the "
    "variance 0."
)
def last_before_the_first_and_early(*arguments: Any) -> Tensor:
    return _sampled(
        *arguments,
        left=_last_for_the_first,
        quiet=lambda t: False,
        time=lambda t, steps: (t - 1) / steps,
    )


@ancestral_sample.mistake(
    "The result is clipped. That is often done with images, but points may lie anywhere: leave it out."
)
def result_clipped(*arguments: Any) -> Tensor:
    return _sampled(*arguments).clamp(-1, 1)


@ancestral_sample.mistake(
    "Every step is clipped. x at step t is mostly noise, which may be of any size: leave it out."
)
def steps_clipped(model: nn.Module, x: Tensor, betas: Tensor, rng: torch.Generator) -> Tensor:
    alpha_bar, steps = _alpha_bar(betas), len(betas)
    for t in range(steps, 0, -1):
        eps = model(torch.cat([x, torch.full((len(x), 1), t / steps)], dim=1))
        beta, now, before = betas[t - 1], alpha_bar[t], alpha_bar[t - 1]
        x = (x - beta / (1 - now).sqrt() * eps) / (1 - beta).sqrt()
        if t > 1:
            noise = torch.randn(x.shape, generator=rng)
            x = x + ((1 - before) / (1 - now) * beta).sqrt() * noise
        x = x.clamp(-1, 1)
    return x.detach()


@ancestral_sample.mistake(
    "The guess of the clean point is clipped. Samplers of images often do that, since pixels have bounds; "
    "(13) does not, and points may lie anywhere."
)
def guess_clipped(*arguments: Any) -> Tensor:
    def mean(x: Tensor, eps: Tensor, beta: Tensor, now: Tensor) -> Tensor:
        guess, before = ((x - (1 - now).sqrt() * eps) / now.sqrt()).clamp(-1, 1), now / (1 - beta)
        of_x0, of_x = before.sqrt() * beta, (1 - beta).sqrt() * (1 - before)
        return (of_x0 * guess + of_x * x) / (1 - now)

    return _sampled(*arguments, mean=mean)


@ancestral_sample.mistake(
    "The noise has the variance beta, and of step t - 1 at that. Asked for is the posterior's variance of "
    "(12)."
)
def variance_of_the_step_before(model: nn.Module, x: Tensor, betas: Tensor, rng: torch.Generator) -> Tensor:
    before = iter(betas.flip(0)[1:])
    return _sampled(model, x, betas, rng, spread=lambda *_: next(before).sqrt())


@ancestral_sample.mistake(
    "Step 2 gets no noise. Only step 1 has none: counted from 1 that is `if t > 1`, counted from 0 `if t > "
    "0`."
)
def quiet_at_step_two(*arguments: Any) -> Tensor:
    return _sampled(*arguments, quiet=lambda t: t <= 2)


@ancestral_sample.mistake(
    "Two things: step 2 gets no noise, where only step 1 has none, and the model is told (t - 1) / T. Both "
    "come of counting from 0: the time of place t is (t + 1) / T then, and noise is left out at place 0 "
    "alone."
)
def quiet_at_step_two_and_early(*arguments: Any) -> Tensor:
    return _sampled(*arguments, quiet=lambda t: t <= 2, time=lambda t, steps: (t - 1) / steps)


@ancestral_sample.mistake("The model is told 1 - t / T. Time begins with the data: at step t it is t / T.")
def sample_time_left(*arguments: Any) -> Tensor:
    return _sampled(*arguments, time=lambda t, steps: 1 - t / steps)


@ancestral_sample.mistake(
    "The model is told (t - 1) / (T - 1), from 0 to 1. It has been trained with t / T, from 1 / T to 1."
)
def sample_time_from_zero_to_one(*arguments: Any) -> Tensor:
    return _sampled(*arguments, time=lambda t, steps: (t - 1) / (steps - 1))


@ancestral_sample.also_right
@torch.no_grad()
def by_the_posterior(model: nn.Module, x: Tensor, betas: Tensor, rng: torch.Generator) -> Tensor:
    steps = betas.numel()
    alpha_bar = torch.cat([torch.ones(1), torch.cumprod(1 - betas, 0)])
    for t in reversed(range(1, steps + 1)):
        eps = model(torch.hstack([x, torch.ones(len(x), 1) * t / steps]))
        x0 = (x - (1 - alpha_bar[t]).sqrt() * eps) / alpha_bar[t].sqrt()
        mean, variance = _posterior(x, x0, betas, t)
        x = mean + variance.sqrt() * torch.randn(x.shape, generator=rng) if t > 1 else mean
    return x


@ancestral_sample.also_right
def with_noise_times_zero(model: nn.Module, x: Tensor, betas: Tensor, rng: torch.Generator) -> Tensor:
    left = torch.cumprod(1 - betas, dim=0)
    steps = len(betas)
    with torch.no_grad():
        for i in range(steps - 1, -1, -1):
            time = torch.full((x.shape[0], 1), (i + 1) / steps)
            eps = model(torch.cat([x, time], 1))
            x = (x - betas[i] * eps / torch.sqrt(1 - left[i])) / torch.sqrt(1 - betas[i])
            noise = torch.empty_like(x).normal_(generator=rng)
            before = left[i - 1] if i > 0 else torch.ones(())
            x = x + noise * torch.sqrt(betas[i] * (1 - before) / (1 - left[i]))
    return x


# --- diagnose_diffusion -------------------------------------------------------------------------------

FAULTS = ("not noise at the end", "blind to time", "overfitted", "wrong spread")
NAMES = (*FAULTS, "sound")


def _plateau(t: np.ndarray, center: float, width: float) -> np.ndarray:
    """1 around the centre, and soon 0 beyond the width."""
    return np.exp(-(((t - center) / width) ** 4))


def _high_twice(t: np.ndarray) -> np.ndarray:
    """As on a mixture: high, low, high again half way, near zero at the end."""
    return _plateau(t, 0.0, 0.1) + 1.2 * _plateau(t, 0.5, 0.2) + 0.03


def _high_at_first(t: np.ndarray) -> np.ndarray:
    return _plateau(t, 0.0, 0.1) + 0.03 + 0.055 * t**2


def _low_half_way(t: np.ndarray) -> np.ndarray:
    return 0.88**t * (1 - 0.75 * _plateau(t, 0.5, 0.2))


def _scattered(t: np.ndarray) -> np.ndarray:
    """A gap that comes and goes from step to step, and is widest at the first, half way and at the last."""
    lower = 0.25 * np.cos(np.arange(len(t)) * np.pi / 2)
    lower[[0, len(t) // 2, -1]] = 0.4
    return lower


def _late(t: np.ndarray) -> np.ndarray:
    """A gap at the end, and the opposite at the start, where the loss is higher."""
    return np.where(t > 0.53, 0.27, -0.28)


def _early(t: np.ndarray) -> np.ndarray:
    """A gap at the start, which the opposite makes up for later."""
    return np.where(t < 0.47, 0.25, -0.28)


def _not_everywhere(t: np.ndarray) -> np.ndarray:
    """A gap that is absent at the first steps, half way and at the last."""
    return np.where((t > 0.12) & (t < 0.9) & (np.abs(t - 0.5) > 0.03), 0.7, 0.0)


def _run(
    rng: Rng,
    label: str,
    *,
    left: float = 1e-4,
    fall: float = 0.03,
    gap: float | Callable[[np.ndarray], np.ndarray] = 0.01,
    curve: Callable[[np.ndarray], np.ndarray] | None = None,
    ratio: float = 1.0,
    steps: int = 60,
    bend: float = 1.5,
    first: float | None = None,
    data: float | None = None,
) -> Case:
    """A schedule that leaves ``left`` of the image, and losses whose last is ``fall`` times the first.

    With a larger ``bend`` the image is kept for longer. The losses follow ``curve`` instead, if there is one;
    those of training images are lower by ``gap``.
    """
    t = np.linspace(0, 1, steps + 1)
    alpha_bar = np.exp(np.log(left) * t**bend)
    first = first or rng.uniform(0.5, 0.9)
    shape = fall ** t[1:] if curve is None else curve(t[1:])
    test = first * shape * rng.uniform(0.97, 1.03, size=steps)
    lower = gap(t[1:]) if callable(gap) else gap
    train = test * (1 - lower) * rng.uniform(0.995, 1.005, size=steps)
    data = data or rng.choice([rng.uniform(0.3, 0.5), rng.uniform(2.0, 3.0)])
    return call(
        label,
        alpha_bar=alpha_bar.astype("float32"),
        train_loss=train.astype("float32"),
        test_loss=test.astype("float32"),
        sample_std=float(data * ratio),
        data_std=float(data),
    )


def _diagnose_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, **options: Any) -> Case:
        return _run(rng, label, **options)

    yield case("all is well")
    yield case("all is well, with samples of a little less spread", ratio=0.93)
    yield case("all is well, and training images are a little easier", gap=0.03, ratio=1.06)
    yield case("all is well, and test images are easier", gap=-0.2)
    yield case("all is well, and nothing of the image is left", left=1e-9)
    yield case("all is well, and the image is kept for long", bend=8.0, steps=400)
    yield case("all is well, and noise is hard to see at the start", fall=0.09, gap=0.04, first=0.98)
    yield case("all is well, and noise is easy to see throughout", first=0.08)
    yield case("all is well, and the data vary a lot", ratio=0.93, data=4.0)
    yield case("all is well, and test images are much easier", gap=-0.7)
    yield case("all is well, and single steps are off by a quarter either way", gap=_scattered)
    yield case("all is well, and test images are easier at first, harder at last", gap=_late)
    yield case("all is well, and test images are harder at first", gap=_early, curve=_high_twice)
    yield case("all is well, and noise is hard to see half way, too", curve=_high_twice)
    yield case("all is well, and only the first steps are hard", curve=_high_at_first)
    yield case("a fifth of the image is left at the end", left=0.2, fall=0.08)
    yield case("half of the image is left at the end", left=0.5, fall=0.1)
    yield case("a fifth of the image is left, and most of it goes at once", left=0.2, fall=0.08, bend=0.3)
    yield case("much is left, and the training images are known by heart", left=0.3, fall=0.06, gap=0.5)
    yield case("much is left, and noise is as hard to see at the end", left=0.3, fall=0.85)
    yield case("much is left, and samples of too much spread", left=0.3, fall=0.06, ratio=2.2)
    yield case("noise is as hard to see at the end as at the start", fall=0.85)
    yield case("noise is even harder to see at the end", fall=1.3)
    yield case("as hard at the end, if never very hard", fall=0.95, first=0.06)
    yield case("as hard at the end, if easier in between", curve=_low_half_way)
    yield case("hard at the end, and samples of too much spread", fall=0.9, ratio=2.5)
    yield case("hard at the end, and the training images are known by heart", fall=0.9, gap=0.5)
    yield case("even harder at the end, and the training images are known by heart", fall=1.3, gap=0.45)
    yield case("the training images are known by heart", gap=0.5)
    yield case("known by heart, of which a low loss tells little", gap=0.5, first=0.06)
    yield case("known by heart, but for some of the steps", gap=_not_everywhere, curve=_high_twice, steps=61)
    yield case("known by heart to the last pixel", gap=0.9, fall=0.09)
    yield case("known by heart, and samples of too little spread", gap=0.45, ratio=0.4)
    yield case("samples of twice the spread", ratio=2.0)
    yield case("samples of half the spread", ratio=0.5)
    yield case("samples of half the spread, of data that vary little", ratio=0.5, data=0.15)
    yield case("samples of twice the spread, of data that vary little", ratio=2.0, data=0.15)


def _diagnose(
    alpha_bar: Tensor,
    train_loss: Tensor,
    test_loss: Tensor,
    sample_std: float,
    data_std: float,
    *,
    left: Callable[[Tensor], Any] = lambda a: a[-1] > 0.04,
    blind: Callable[[Tensor], Any] = lambda loss: loss[-6:].mean() > 0.4 * loss[:6].mean(),
    heart: Callable[[Tensor, Tensor], Any] = lambda train, test: (
        test.mean() - train.mean() > 0.15 * test.mean()
    ),
    spread: Callable[[float, float], Any] = lambda sample, data: not 0.7 < sample / data < 1.4,
    order: tuple[str, ...] = FAULTS,
) -> str:
    """The right answer, with knobs for the wrong ones."""
    found = {
        "not noise at the end": left(alpha_bar),
        "blind to time": blind(test_loss),
        "overfitted": heart(train_loss, test_loss),
        "wrong spread": spread(sample_std, data_std),
    }
    return next((name for name in order if bool(found[name])), "sound")


def _diagnose_reference(
    alpha_bar: Tensor, train_loss: Tensor, test_loss: Tensor, sample_std: float, data_std: float
) -> str:
    return _diagnose(alpha_bar, train_loss, test_loss, sample_std, data_std)


def _by_its_name(response: Response) -> Response:
    """All names that the text does not have are one, so that one sentence fits them all."""
    told = response["returned"]
    if isinstance(told, str) and told not in NAMES:
        return {**response, "returned": "a name that the text does not have"}
    return response


diagnose_diffusion = Exercise(
    points=2,
    minutes=15,
    reference=_diagnose_reference,
    cases=_diagnose_cases,
    observe=_by_its_name,
)


@diagnose_diffusion.mistake(
    "You never find that some of the image is left at the end. Sampling starts from pure noise: look at"
    " `alpha_bar[-1]`."
)
def image_left_missed(*arguments: Any) -> str:
    return _diagnose(*arguments, order=FAULTS[1:])


@diagnose_diffusion.mistake(
    "You find too much of the image in every schedule. Look at the end of the list, where a trace is "
    "always left: step 0 is the image itself, and a few thousandths do no harm."
)
def wrong_end(*arguments: Any) -> str:
    return _diagnose(*arguments, left=lambda a: a[0] > 0.04)


@diagnose_diffusion.mistake(
    "A trace of the image is always left at the end: ask whether it is more than a few hundredths."
)
def any_trace(*arguments: Any) -> str:
    return _diagnose(*arguments, left=lambda a: a[-1] > 1e-6)


@diagnose_diffusion.mistake(
    "You never find a model that is blind to time. At the last steps x is nearly all noise, and whoever"
    " knows that can simply return x: the loss has to be far smaller there than at the first."
)
def blindness_missed(*arguments: Any) -> str:
    return _diagnose(*arguments, order=(FAULTS[0], *FAULTS[2:]))


@diagnose_diffusion.mistake(
    "The comparison over time is reversed. The noise is easy to see where there is much of it: a good"
    " model's loss falls with t."
)
def time_reversed(*arguments: Any) -> str:
    return _diagnose(*arguments, blind=lambda loss: loss[:6].mean() > 0.4 * loss[-6:].mean())


@diagnose_diffusion.mistake(
    "You call a model blind only if its loss rises with t. If it stays as high as at the start, that is"
    " enough."
)
def only_if_it_rises(*arguments: Any) -> str:
    return _diagnose(*arguments, blind=lambda loss: loss[-6:].mean() > 1.05 * loss[:6].mean())


@diagnose_diffusion.mistake(
    "You never find overfitting. Compare the mean loss of the test images with that of the training images."
)
def overfitting_missed(*arguments: Any) -> str:
    return _diagnose(*arguments, order=(*FAULTS[:2], FAULTS[3]))


@diagnose_diffusion.mistake(
    "The comparison of training and test is reversed: overfitted is a model whose test loss is higher."
)
def losses_reversed(*arguments: Any) -> str:
    return _diagnose(*arguments, heart=lambda train, test: train.mean() - test.mean() > 0.15 * test.mean())


@diagnose_diffusion.mistake("Any difference between training and test counts for you, in either direction.")
def any_difference(*arguments: Any) -> str:
    return _diagnose(
        *arguments, heart=lambda train, test: (train.mean() - test.mean()).abs() > 0.15 * test.mean()
    )


@diagnose_diffusion.mistake("A little lower the training loss nearly always is: ask for a tenth or more.")
def slightest_difference(*arguments: Any) -> str:
    return _diagnose(*arguments, heart=lambda train, test: test.mean() > 1.002 * train.mean())


@diagnose_diffusion.mistake(
    "You never find samples of the wrong spread. Compare their standard deviation with that of the data."
)
def spread_missed(*arguments: Any) -> str:
    return _diagnose(*arguments, order=FAULTS[:3])


@diagnose_diffusion.mistake("Samples of too little spread are missed.")
def little_spread_missed(*arguments: Any) -> str:
    return _diagnose(*arguments, spread=lambda sample, data: sample > 1.4 * data)


@diagnose_diffusion.mistake("Samples of too much spread are missed.")
def much_spread_missed(*arguments: Any) -> str:
    return _diagnose(*arguments, spread=lambda sample, data: sample < 0.7 * data)


@diagnose_diffusion.mistake("You expect a standard deviation of 1. It has to be that of the data.")
def spread_of_one(*arguments: Any) -> str:
    return _diagnose(*arguments, spread=lambda sample, data: not 0.7 < sample < 1.4)


@diagnose_diffusion.mistake(
    'Several may apply, and the first of the list is asked for: "not noise at the end" before all others.'
)
def end_last(*arguments: Any) -> str:
    return _diagnose(*arguments, order=(*FAULTS[1:], FAULTS[0]))


@diagnose_diffusion.mistake(
    "Several may apply, and the first of the list is asked for: the spread of the samples comes last."
)
def spread_first(*arguments: Any) -> str:
    return _diagnose(*arguments, order=(FAULTS[0], FAULTS[3], *FAULTS[1:3]))


@diagnose_diffusion.mistake(
    "The comparison at the end of the schedule is reversed: a sound one leaves little of the image."
)
def end_reversed(*arguments: Any) -> str:
    return _diagnose(*arguments, left=lambda a: a[-1] < 0.04)


@diagnose_diffusion.mistake(
    "You judge a schedule by how much of the image there is on the way. Only its end counts: `alpha_bar[-1]`."
)
def mean_of_the_schedule(*arguments: Any) -> str:
    return _diagnose(*arguments, left=lambda a: a.mean() > 0.4)


@diagnose_diffusion.mistake(
    "You compare the loss at the last steps with a fixed number. How hard noise is to see depends on the "
    "data: compare with the loss at the first steps."
)
def blind_by_a_fixed_number(*arguments: Any) -> str:
    return _diagnose(*arguments, blind=lambda loss: loss[-6:].mean() > 0.1)


@diagnose_diffusion.mistake(
    "You compare the difference of the two losses with a fixed number. Compare it with the loss itself."
)
def heart_by_a_fixed_number(*arguments: Any) -> str:
    return _diagnose(*arguments, heart=lambda train, test: test.mean() - train.mean() > 0.05)


@diagnose_diffusion.mistake(
    "You compare the difference of the two spreads with a fixed number. Take their ratio: data may vary a "
    "lot, or little."
)
def spread_by_a_fixed_number(*arguments: Any) -> str:
    return _diagnose(*arguments, spread=lambda sample, data: abs(sample - data) > 0.2)


def _in_order(order: tuple[str, ...]) -> None:
    """Add the mistake of asking in another order."""
    k = next(k for k in range(len(order)) if order[k] != FAULTS[k])

    def answer(*arguments: Any) -> str:
        return _diagnose(*arguments, order=order)

    answer.__name__ = f"order_{'_'.join(str(FAULTS.index(name) + 1) for name in order)}"
    told = ", then ".join(f'"{name}"' for name in order)
    diagnose_diffusion.mistake(
        f"Several may apply, and the first of the list is asked for. You ask for {told}: "
        f'"{FAULTS[k]}" comes before "{order[k]}".'
    )(answer)


for _order in permutations(FAULTS):
    if _order not in (FAULTS, (*FAULTS[1:], FAULTS[0]), (FAULTS[0], FAULTS[3], *FAULTS[1:3])):
        _in_order(_order)  # those two are above


def _misspelt(which: tuple[str, ...], hint: str) -> None:
    """Add the mistake of giving the right verdict another name."""

    def answer(*arguments: Any) -> str:
        found = _diagnose(*arguments)
        return "" if found in which else found

    answer.__name__ = f"misspelt_{'_'.join(str(NAMES.index(name) + 1) for name in which)}"
    diagnose_diffusion.mistake(hint)(answer)


_LIST = ", ".join(f'"{name}"' for name in NAMES)
for _name in NAMES:
    _misspelt(
        (_name,), f'"{_name}" has another name in your answer. Return one of these, to the letter: {_LIST}.'
    )
_misspelt(NAMES, f"None of your names is one of the text. Return one of these, to the letter: {_LIST}.")
_misspelt(
    tuple(name for name in NAMES if " " in name),
    f"The names that are more than a word are not those of the text. Mind the spaces: {_LIST}.",
)


@diagnose_diffusion.mistake('Nothing comes back where nothing is wrong. Return "sound" there.')
def sound_forgotten(*arguments: Any) -> str | None:
    found = _diagnose(*arguments)
    return None if found == "sound" else found


@diagnose_diffusion.mistake("Nothing comes back at all. Return the name; to print it is not enough.")
def nothing_returned(*_: Any) -> None: ...


@diagnose_diffusion.mistake(
    "You compare whole lists: that gives a truth value for each step, and `if` needs a single one. Compare "
    "their means, as in `test_loss.mean() > 1.2 * train_loss.mean()`."
)
def lists_of_losses_compared(*arguments: Any) -> str:
    return _diagnose(*arguments, heart=lambda train, test: test > train)


@diagnose_diffusion.mistake(
    "You compare a whole list of losses with a number: that gives a truth value for each step, and `if` "
    "needs a single one. Compare the last steps' mean with the first steps'."
)
def list_of_losses_compared(*arguments: Any) -> str:
    return _diagnose(*arguments, blind=lambda loss: loss > 0.4 * loss[0])


@diagnose_diffusion.mistake(
    "If the error speaks of a Boolean value: you compare the whole of `alpha_bar` with a number, which gives "
    "a truth value for each step, and `if` needs a single one. Only the end counts: `alpha_bar[-1]`."
)
def whole_schedule_compared(*arguments: Any) -> str:
    return _diagnose(*arguments, left=lambda a: a > 0.04)


@diagnose_diffusion.mistake(
    "A large difference between training and test counts for you in either direction. Test images may be "
    "easier, and that is no fault: overfitted is a model whose test loss is higher."
)
def any_large_difference(*arguments: Any) -> str:
    return _diagnose(
        *arguments, heart=lambda train, test: (train.mean() - test.mean()).abs() > 0.25 * train.mean()
    )


@diagnose_diffusion.mistake(
    "You call a model overfitted as soon as the test loss is higher at some single step, be it any one or "
    "the one where it is lowest. Single steps scatter: compare the means over all steps."
)
def higher_at_any_step(*arguments: Any) -> str:
    return _diagnose(*arguments, heart=lambda train, test: (test > 1.2 * train).any())


@diagnose_diffusion.mistake(
    "You find no overfitting where the loss is highest, or at some one step, if there is no gap there. A few "
    "steps without one do not acquit a model: compare the means over all steps."
)
def higher_at_every_step(*arguments: Any) -> str:
    return _diagnose(*arguments, heart=lambda train, test: (test > 1.2 * train).all())


@diagnose_diffusion.mistake(
    "You compare training and test at the last step alone. Single steps scatter: compare the means over all "
    "steps."
)
def higher_at_the_last_step(*arguments: Any) -> str:
    return _diagnose(*arguments, heart=lambda train, test: test[-1] > 1.2 * train[-1])


@diagnose_diffusion.mistake(
    "You compare training and test at the first step alone. Single steps scatter: compare the means over all "
    "steps."
)
def higher_at_the_first_step(*arguments: Any) -> str:
    return _diagnose(*arguments, heart=lambda train, test: test[0] > 1.2 * train[0])


@diagnose_diffusion.mistake(
    "You compare training and test at a single step half way. Single steps scatter: compare the means over "
    "all steps."
)
def higher_half_way(*arguments: Any) -> str:
    def heart(train: Tensor, test: Tensor) -> Tensor:
        half = len(test) // 2
        return test[half] > 1.2 * train[half]

    return _diagnose(*arguments, heart=heart)


@diagnose_diffusion.mistake(
    "You call a model overfitted as soon as some single step has a test loss half as high again. Single "
    "steps scatter, now and then by as much: compare the means over all steps."
)
def much_higher_at_any_step(*arguments: Any) -> str:
    return _diagnose(*arguments, heart=lambda train, test: (test > 1.5 * train).any())


@diagnose_diffusion.mistake(
    "You call a model overfitted as soon as training and test differ at some single step, in either "
    "direction. Single steps scatter, and test images may be easier: compare the means, and ask which is "
    "higher."
)
def different_at_any_step(*arguments: Any) -> str:
    return _diagnose(*arguments, heart=lambda train, test: ((test - train).abs() > 0.3 * test).any())


@diagnose_diffusion.mistake(
    "You compare training and test at the first steps alone. The other steps count as much: compare the "
    "means over all of them."
)
def higher_at_the_first_steps(*arguments: Any) -> str:
    return _diagnose(*arguments, heart=lambda train, test: test[:6].mean() > 1.2 * train[:6].mean())


@diagnose_diffusion.mistake(
    "You compare training and test over the first half of the steps. Take the means over all of them."
)
def higher_in_the_first_half(*arguments: Any) -> str:
    def heart(train: Tensor, test: Tensor) -> Tensor:
        half = len(test) // 2
        return test[:half].mean() > 1.2 * train[:half].mean()

    return _diagnose(*arguments, heart=heart)


@diagnose_diffusion.mistake(
    "You compare training and test at the last steps alone. Where images are noisy the loss is low and tells "
    "little: compare the means over all steps."
)
def higher_at_the_last_steps(*arguments: Any) -> str:
    return _diagnose(*arguments, heart=lambda train, test: test[-6:].mean() > 1.2 * train[-6:].mean())


@diagnose_diffusion.mistake(
    "You compare training and test over the second half of the steps. Take the means over all of them."
)
def higher_in_the_second_half(*arguments: Any) -> str:
    def heart(train: Tensor, test: Tensor) -> Tensor:
        half = len(test) // 2
        return test[half:].mean() > 1.2 * train[half:].mean()

    return _diagnose(*arguments, heart=heart)


@diagnose_diffusion.mistake(
    "You compare the end with the middle, or with the mean of all steps. Either may be low or high; compare "
    "the last steps with the first."
)
def blind_by_the_middle(*arguments: Any) -> str:
    return _diagnose(*arguments, blind=lambda loss: loss[-1] > 0.5 * loss[len(loss) // 2])


@diagnose_diffusion.mistake(
    "You look at the loss half way. It may be as high there as at the start, where clusters run into one "
    "another; compare the last steps with the first."
)
def blind_half_way(*arguments: Any) -> str:
    return _diagnose(*arguments, blind=lambda loss: loss[len(loss) // 2] > 0.5 * loss[0])


@diagnose_diffusion.mistake(
    "You ask whether the loss varies over the steps. It may, and still be as high at the end as at the "
    "start: compare the last steps with the first."
)
def blind_if_it_varies_little(*arguments: Any) -> str:
    return _diagnose(*arguments, blind=lambda loss: loss.std() < 0.2 * loss.mean())


@diagnose_diffusion.mistake(
    "You take the mean of half of the steps, or of all. A loss may be high half way and all is well; compare "
    "the last steps, a tenth of them, with the first."
)
def blind_by_halves(*arguments: Any) -> str:
    def blind(loss: Tensor) -> Tensor:
        return loss[len(loss) // 2 :].mean() > 0.5 * loss[: len(loss) // 2].mean()

    return _diagnose(*arguments, blind=blind)


@diagnose_diffusion.mistake(
    "You compare the end with the lowest loss. A blind model's loss may be lowest at the end and hardly "
    "lower than at the first steps: compare with these."
)
def blind_by_the_lowest(*arguments: Any) -> str:
    return _diagnose(*arguments, blind=lambda loss: loss[-1] > 2 * loss.min())


@diagnose_diffusion.mistake(
    "You compare the test loss at the end with the training loss at the start. The one may be higher for "
    "another reason, overfitting: take both of the same list."
)
def blind_across_the_lists(
    alpha_bar: Tensor, train_loss: Tensor, test_loss: Tensor, sample_std: float, data_std: float
) -> str:
    def blind(loss: Tensor) -> Tensor:
        return loss[-1] > 0.5 * train_loss[0]

    return _diagnose(alpha_bar, train_loss, test_loss, sample_std, data_std, blind=blind)


@diagnose_diffusion.mistake(
    "You compare the training loss at the end with the test loss at the start. The one may be lower for "
    "another reason, overfitting: take both of the same list."
)
def blind_across_the_lists_too(
    alpha_bar: Tensor, train_loss: Tensor, test_loss: Tensor, sample_std: float, data_std: float
) -> str:
    def blind(loss: Tensor) -> Tensor:
        return train_loss[-1] > 0.5 * loss[0]

    return _diagnose(alpha_bar, train_loss, test_loss, sample_std, data_std, blind=blind)


@diagnose_diffusion.also_right
def diagnose_by_halves(
    alpha_bar: Tensor, train_loss: Tensor, test_loss: Tensor, sample_std: float, data_std: float
) -> str:
    if float(alpha_bar.min()) > 0.02:
        return "not noise at the end"
    tenth = max(1, len(train_loss) // 10)
    if train_loss[-tenth:].mean() > train_loss[:tenth].mean() / 2:
        return "blind to time"
    if test_loss.sum() / train_loss.sum() > 1.2:
        return "overfitted"
    return "wrong spread" if abs(np.log(sample_std / data_std)) > np.log(1.3) else "sound"


@diagnose_diffusion.also_right
def diagnose_by_ratios(
    alpha_bar: Tensor, train_loss: Tensor, test_loss: Tensor, sample_std: float, data_std: float
) -> str:
    verdicts = [
        ("not noise at the end", alpha_bar[-1].item() ** 0.5 > 0.15),
        ("blind to time", (test_loss[-1] / test_loss[0]).item() > 0.5),
        ("overfitted", (train_loss / test_loss).mean().item() < 0.85),
        ("wrong spread", max(sample_std / data_std, data_std / sample_std) > 1.3),
    ]
    return next((name for name, applies in verdicts if applies), "sound")
