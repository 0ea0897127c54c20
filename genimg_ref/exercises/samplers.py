"""The exercises of the chapter samplers, in the order of the text."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genimg_ref.exercises.engine import Case, Exercise, call, net

Rng = np.random.Generator


def _normal(rng: Rng, *shape: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return rng.normal(mean, scale, size=shape).astype("float32")


# --- flow_drift ---------------------------------------------------------------------------------------


def _drift_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, *shape: int) -> Case:
        return call(
            label,
            x=_normal(rng, *shape, mean=0.7),
            score=_normal(rng, *shape, scale=2.0),
            beta=rng.uniform(0.3, 15, size=shape[0]).astype("float32"),
        )

    yield case("five points of the plane", 5, 2)
    yield case("as many points as dimensions", 3, 3)
    yield case("a single point", 1, 4)


def _drift(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return -0.5 * beta[:, None] * (x + score)


flow_drift = Exercise(points=1, minutes=10, reference=_drift, cases=_drift_cases, rtol=1e-4, atol=1e-4)


@flow_drift.mistake(
    "That is the drift of the reverse stochastic equation, which has the whole score and adds noise "
    "on the way. Without the noise only half of the score is left."
)
def whole_score(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return -0.5 * beta[:, None] * x - beta[:, None] * score


@flow_drift.mistake(
    "That is the forward drift alone: points shrink towards the origin whatever the data are."
)
def forward_drift(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return -0.5 * beta[:, None] * x


@flow_drift.mistake(
    "The score has the wrong sign. As t grows the density spreads, so points move against the score."
)
def along_the_score(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return -0.5 * beta[:, None] * (x - score)


@flow_drift.mistake("The whole has the wrong sign: you give the motion for falling t. Asked for is dx/dt.")
def for_falling_time(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return -_drift(x, score, beta)


@flow_drift.mistake("The factor 1/2 is missing in both terms.")
def drift_without_half(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return 2 * _drift(x, score, beta)


@flow_drift.mistake(
    "beta enters by its root, as in the noise of the stochastic equation. The drift has beta itself."
)
def root_of_beta_for_drift(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return _drift(x, score, beta.sqrt())


@flow_drift.mistake("x is missing: the shrinking belongs to the flow as well.")
def score_alone(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return -0.5 * beta[:, None] * score


@flow_drift.mistake("The score is not multiplied by beta.")
def score_without_beta(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return -0.5 * (beta[:, None] * x + score)


@flow_drift.mistake("All points get the beta of the first. Each has its own time.")
def beta_of_the_first(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return _drift(x, score, beta[:1].expand_as(beta))


@flow_drift.mistake(
    "beta is lined up with the dimensions. Each point has its own: give it an axis of length 1 behind."
)
def beta_along_dimensions(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return -0.5 * beta * (x + score)


@flow_drift.mistake(
    "The score is taken whole and with the wrong sign. As t grows points move against it, and without "
    "noise only half of it is left."
)
def along_the_whole_score(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return beta[:, None] * (score - x / 2)


@flow_drift.mistake("The factor 1/2 is missing before x. It stands before both terms.")
def half_of_the_score_alone(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return -beta[:, None] * (x + score / 2)


@flow_drift.mistake(
    "The score is multiplied by the root of beta, which belongs to the noise of the stochastic equation. "
    "Squared, it is beta."
)
def score_by_root_of_beta(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return -0.5 * beta[:, None] * x - 0.5 * beta.sqrt()[:, None] * score


@flow_drift.mistake(
    "The score is multiplied by the root of beta, and whole. The flow has half of the square of the "
    "noise's factor: beta / 2."
)
def score_by_the_factor_of_the_noise(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return -0.5 * beta[:, None] * x - beta.sqrt()[:, None] * score


@flow_drift.also_right
def drift_point_by_point(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    return torch.stack([-(b / 2) * (p + s) for p, s, b in zip(x, score, beta, strict=True)])


@flow_drift.also_right
def drift_by_terms(x: Tensor, score: Tensor, beta: Tensor) -> Tensor:
    rate = beta.reshape(-1, 1)
    return -rate * x / 2 - rate * score / 2


# --- ddim_step ----------------------------------------------------------------------------------------


def _ddim_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, shape: tuple[int, ...], now: float, then: float, eta: float) -> Case:
        return call(
            label,
            x=_normal(rng, *shape, mean=0.4),
            eps=_normal(rng, *shape),
            alpha_bar=float(now * rng.uniform(0.9, 1.1)),
            alpha_bar_next=float(min(1.0, then * rng.uniform(0.97, 1.0) if then < 1 else 1.0)),
            eta=eta,
            noise=_normal(rng, *shape),
        )

    yield case("no noise", (3, 1, 2, 4), 0.2, 0.5, 0.0)
    yield case("as much noise as DDPM", (2, 1, 3, 3), 0.3, 0.6, 1.0)
    yield case("half of the noise, a long step", (1, 2, 2, 3), 0.05, 0.8, 0.5)
    yield case("the last step, to data", (2, 1, 2, 2), 0.7, 1.0, 1.0)


def _ddim(
    x: Tensor,
    eps: Tensor,
    alpha_bar: float,
    alpha_bar_next: float,
    eta: float,
    noise: Tensor,
    *,
    clean: Callable[[Tensor, Tensor, float], Tensor] = lambda x, e, a: (x - (1 - a) ** 0.5 * e) / a**0.5,
    std: Callable[[float, float, float], float] = lambda a, b, eta: (
        eta * ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5
    ),
    along: Callable[[float, float], float] = lambda b, s: max(0.0, 1 - b - s**2) ** 0.5,
    shrink: Callable[[float], float] = lambda b: b**0.5,
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    spread = std(alpha_bar, alpha_bar_next, eta)
    image = clean(x, eps, alpha_bar)
    return shrink(alpha_bar_next) * image + along(alpha_bar_next, spread) * eps + spread * noise


def _ddim_reference(
    x: Tensor, eps: Tensor, alpha_bar: float, alpha_bar_next: float, eta: float, noise: Tensor
) -> Tensor:
    return _ddim(x, eps, alpha_bar, alpha_bar_next, eta, noise)


ddim_step = Exercise(points=3, minutes=20, reference=_ddim_reference, cases=_ddim_cases, rtol=1e-3, atol=1e-4)


@ddim_step.mistake(
    "Fresh noise is added on top of all that was there: the variance after the step is too large. The "
    "predicted noise has to make room, `1 - alpha_bar_next - std**2`."
)
def no_room_for_noise(*arguments: Any) -> Tensor:
    return _ddim(*arguments, along=lambda b, s: (1 - b) ** 0.5)


@ddim_step.mistake("`eta` has no effect: you always take the deterministic step.")
def eta_ignored(*arguments: Any) -> Tensor:
    return _ddim(*arguments, std=lambda a, b, eta: 0.0)


@ddim_step.mistake("Whatever `eta` is, the full noise of DDPM is added.")
def eta_always_one(*arguments: Any) -> Tensor:
    return _ddim(*arguments, std=lambda a, b, eta: ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5)


@ddim_step.mistake("`eta` multiplies the variance. It scales the standard deviation.")
def eta_on_the_variance(*arguments: Any) -> Tensor:
    return _ddim(*arguments, std=lambda a, b, eta: (eta * (1 - b) / (1 - a) * (1 - a / b)) ** 0.5)


@ddim_step.mistake("The noise is multiplied by its variance: take the root.")
def ddim_variance_for_std(*arguments: Any) -> Tensor:
    return _ddim(*arguments, std=lambda a, b, eta: eta * (1 - b) / (1 - a) * (1 - a / b))


@ddim_step.mistake(
    "The noise has the variance of the step forward. It is that of the posterior, which is smaller."
)
def forward_variance(*arguments: Any) -> Tensor:
    return _ddim(*arguments, std=lambda a, b, eta: eta * (1 - a / b) ** 0.5)


@ddim_step.mistake(
    "The noise that is left has the level of where you come from. It is that of where you go: `1 - "
    "alpha_bar_next`."
)
def old_level(
    x: Tensor, eps: Tensor, alpha_bar: float, alpha_bar_next: float, eta: float, noise: Tensor
) -> Tensor:
    return _ddim(
        x,
        eps,
        alpha_bar,
        alpha_bar_next,
        eta,
        noise,
        along=lambda b, s: max(0.0, 1 - alpha_bar - s**2) ** 0.5,
    )


@ddim_step.mistake("The image is shrunk by the level of where you come from. It is that of where you go.")
def old_shrinking(
    x: Tensor, eps: Tensor, alpha_bar: float, alpha_bar_next: float, eta: float, noise: Tensor
) -> Tensor:
    return _ddim(x, eps, alpha_bar, alpha_bar_next, eta, noise, shrink=lambda b: alpha_bar**0.5)


@ddim_step.mistake("The image is not shrunk at all: it stands at full strength beside the noise.")
def image_unshrunk(*arguments: Any) -> Tensor:
    return _ddim(*arguments, shrink=lambda b: 1.0)


@ddim_step.mistake("The image in x is found without dividing by the root of `alpha_bar`.")
def image_not_grown(*arguments: Any) -> Tensor:
    return _ddim(*arguments, clean=lambda x, e, a: x - (1 - a) ** 0.5 * e)


@ddim_step.mistake("The levels are used without their roots.")
def levels_without_roots(*arguments: Any) -> Tensor:
    return _ddim(
        *arguments, clean=lambda x, e, a: (x - (1 - a) * e) / a, shrink=lambda b: b, along=lambda b, s: 1 - b
    )


@ddim_step.mistake(
    "That is the clean image that the model has in mind: the step goes only as far as `alpha_bar_next`."
)
def to_the_end(*arguments: Any) -> Tensor:
    return _ddim(*arguments, std=lambda a, b, eta: 0.0, shrink=lambda b: 1.0, along=lambda b, s: 0.0)


@ddim_step.mistake("The predicted noise is dropped: image and fresh noise alone do not have the right level.")
def predicted_noise_dropped(*arguments: Any) -> Tensor:
    return _ddim(*arguments, along=lambda b, s: 0.0)


@ddim_step.mistake("`alpha_bar` and `alpha_bar_next` have changed places.")
def levels_exchanged(
    x: Tensor, eps: Tensor, alpha_bar: float, alpha_bar_next: float, eta: float, noise: Tensor
) -> Tensor:
    a, b = alpha_bar_next, alpha_bar
    std = eta * max(0.0, (1 - b) / max(1 - a, 1e-3) * (1 - a / b)) ** 0.5
    return _ddim(x, eps, a, b, eta, noise, std=lambda *_: std)


@ddim_step.mistake(
    "The standard deviation is subtracted from that of the noise that is left. It is variances that add "
    "up: `1 - alpha_bar_next - std**2` under the root."
)
def deviations_subtracted(*arguments: Any) -> Tensor:
    return _ddim(*arguments, along=lambda b, s: (1 - b) ** 0.5 - s)


@ddim_step.mistake(
    "Under the root the standard deviation is subtracted from a variance. Square it: `1 - alpha_bar_next "
    "- std**2`."
)
def deviation_not_squared(*arguments: Any) -> Tensor:
    return _ddim(*arguments, along=lambda b, s: max(0.0, 1 - b - s) ** 0.5)


@ddim_step.mistake("You draw noise of your own. Use the one that is given.")
def ddim_own_noise(
    x: Tensor, eps: Tensor, alpha_bar: float, alpha_bar_next: float, eta: float, noise: Tensor
) -> Tensor:
    return _ddim(x, eps, alpha_bar, alpha_bar_next, eta, torch.randn_like(x))


@ddim_step.mistake(
    "The clean image is clipped. That is often done in samplers, but the formula does not: leave it to the "
    "caller."
)
def ddim_clipped(*arguments: Any) -> Tensor:
    return _ddim(*arguments, clean=lambda x, e, a: ((x - (1 - a) ** 0.5 * e) / a**0.5).clamp(-1, 1))


@ddim_step.mistake(
    "With `eta` = 1 all noise is fresh in your step. `eta` is a share of DDPM's noise, which is the "
    "posterior's and leaves room for the predicted one."
)
def all_noise_fresh(*arguments: Any) -> Tensor:
    return _ddim(*arguments, std=lambda a, b, eta: eta * (1 - b) ** 0.5)


@ddim_step.mistake(
    "Predicted and fresh noise are mixed by `1 - eta` and `eta`. Their variances have to add up to `1 - "
    "alpha_bar_next`, and with `eta` = 1 the predicted noise does not vanish."
)
def noises_mixed(
    x: Tensor, eps: Tensor, alpha_bar: float, alpha_bar_next: float, eta: float, noise: Tensor
) -> Tensor:
    image = (x - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
    mixed = (1 - eta) * eps + eta * noise
    return alpha_bar_next**0.5 * image + (1 - alpha_bar_next) ** 0.5 * mixed


@ddim_step.also_right
def ddim_by_the_posterior(
    x: Tensor, eps: Tensor, alpha_bar: float, alpha_bar_next: float, eta: float, noise: Tensor
) -> Tensor:
    a, b = torch.tensor(alpha_bar).double(), torch.tensor(alpha_bar_next).double()
    beta = 1 - a / b
    variance = eta**2 * beta * (1 - b) / (1 - a)
    image = (x.double() - (1 - a).sqrt() * eps) / a.sqrt()
    rest = (1 - b - variance).clamp(min=0).sqrt()
    return (b.sqrt() * image + rest * eps + variance.sqrt() * noise).float()


@ddim_step.also_right
def ddim_as_a_change(
    x: Tensor, eps: Tensor, alpha_bar: float, alpha_bar_next: float, eta: float, noise: Tensor
) -> Tensor:
    std = eta * np.sqrt((1 - alpha_bar_next) / (1 - alpha_bar)) * np.sqrt(1 - alpha_bar / alpha_bar_next)
    grow = (alpha_bar_next / alpha_bar) ** 0.5
    rest = np.sqrt(max(1 - alpha_bar_next - std**2, 0)) - grow * (1 - alpha_bar) ** 0.5
    return grow * x + float(rest) * eps + float(std) * noise


# --- convergence_order --------------------------------------------------------------------------------


def _order_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, steps: list[int], order: float, scatter: float = 0.02) -> Case:
        counts = np.array(steps)
        errors = rng.uniform(0.5, 20) * counts ** (-order) * np.exp(scatter * rng.normal(size=len(counts)))
        at = rng.permutation(len(counts))
        return call(label, steps=counts[at].astype("int64"), errors=errors[at].astype("float64"))

    yield case("a method of first order", [5, 10, 20, 40, 80], 1.0)
    yield case("a method of second order", [8, 16, 32, 64], 2.0)
    yield case("numbers of steps that do not double", [4, 6, 10, 25, 70, 100], 1.7, 0.1)
    yield case("two measurements", [10, 30], 2.3)


def _order(steps: Tensor, errors: Tensor) -> Tensor:
    x, y = steps.double().log(), errors.double().log()
    x = x - x.mean()
    return -(x * y).sum() / x.square().sum()


convergence_order = Exercise(points=2, minutes=10, reference=_order, cases=_order_cases)


@convergence_order.mistake(
    "The sign is reversed: the error falls with the number of steps, and an order is positive."
)
def negative_order(steps: Tensor, errors: Tensor) -> Tensor:
    return -_order(steps, errors)


@convergence_order.mistake(
    "You fit errors against steps without logarithms. A power is a straight line in the logarithms of both."
)
def without_logarithms(steps: Tensor, errors: Tensor) -> Tensor:
    x = steps.double() - steps.double().mean()
    return -(x * errors).sum() / x.square().sum()


@convergence_order.mistake("Only the errors are in logarithms. Take those of the numbers of steps as well.")
def logarithm_of_errors_only(steps: Tensor, errors: Tensor) -> Tensor:
    x = steps.double() - steps.double().mean()
    return -(x * errors.log()).sum() / x.square().sum()


@convergence_order.mistake("Only the numbers of steps are in logarithms. Take those of the errors as well.")
def logarithm_of_steps_only(steps: Tensor, errors: Tensor) -> Tensor:
    x = steps.double().log()
    x = x - x.mean()
    return -(x * errors).sum() / x.square().sum()


@convergence_order.mistake(
    "The line is fitted through the origin, without a constant. The constant of the method is unknown: "
    "let the line have an intercept."
)
def through_the_origin(steps: Tensor, errors: Tensor) -> Tensor:
    x, y = steps.double().log(), errors.double().log()
    return -(x * y).sum() / x.square().sum()


@convergence_order.mistake(
    "You fit the other way round: steps as a function of the error. The slope is that of the error over"
    " the steps."
)
def the_other_way_round(steps: Tensor, errors: Tensor) -> Tensor:
    x, y = steps.double().log(), errors.double().log()
    y = y - y.mean()
    return -(x * y).sum() / y.square().sum()


@convergence_order.mistake(
    "You use the first and the last entry as they come. They are in no order; and all measurements "
    "should have a say."
)
def first_and_last_entry(steps: Tensor, errors: Tensor) -> Tensor:
    return -(errors[-1] / errors[0]).log() / (steps[-1] / steps[0]).double().log()


@convergence_order.mistake("You use the fewest and the most steps alone. All measurements should have a say.")
def extremes_alone(steps: Tensor, errors: Tensor) -> Tensor:
    low, high = steps.argmin(), steps.argmax()
    return -(errors[high] / errors[low]).log() / (steps[high] / steps[low]).double().log()


@convergence_order.mistake(
    "The logarithm to base 2 of the ratio of errors is the order only where the number of steps doubles."
)
def as_if_doubled(steps: Tensor, errors: Tensor) -> Tensor:
    sorted_errors = errors[steps.argsort()]
    return (sorted_errors[:-1] / sorted_errors[1:]).log2().mean()


@convergence_order.mistake(
    "You average the slopes between neighbours, in which all measurements but the outer ones can cancel. "
    "Fit a line through all of them."
)
def mean_of_neighbours(steps: Tensor, errors: Tensor) -> Tensor:
    at = steps.argsort()
    return -(errors[at].log().diff() / steps[at].double().log().diff()).mean()


@convergence_order.mistake(
    "You take slopes between entries as they come. They are in no order: fit a line through all measurements."
)
def mean_of_entries(steps: Tensor, errors: Tensor) -> Tensor:
    return -(errors.log().diff() / steps.double().log().diff()).mean()


@convergence_order.mistake("You round. A measured order need not be a whole number.")
def order_rounded(steps: Tensor, errors: Tensor) -> Tensor:
    return _order(steps, errors).round()


@convergence_order.mistake(
    "The logarithm of the steps is to base ten, that of the errors is not. Take the same."
)
def mixed_logarithms(steps: Tensor, errors: Tensor) -> Tensor:
    return _order(steps, errors) * np.log(10)


@convergence_order.mistake(
    "The logarithm of the errors is to base ten, that of the steps is not. Take the same."
)
def errors_to_base_ten(steps: Tensor, errors: Tensor) -> Tensor:
    return _order(steps, errors) / np.log(10)


@convergence_order.mistake(
    "Covariance and variance are divided by different counts: by the number of measurements, and by one "
    "less, as `var` does. In the quotient they have to be the same."
)
def mixed_counts(steps: Tensor, errors: Tensor) -> Tensor:
    return _order(steps, errors) * (len(steps) - 1) / len(steps)


@convergence_order.also_right
def order_by_lstsq(steps: Tensor, errors: Tensor) -> Tensor:
    x = torch.stack([steps.double().log(), torch.ones(len(steps)).double()], dim=1)
    return -torch.linalg.lstsq(x, errors.double().log()[:, None]).solution[0, 0]


@convergence_order.also_right
def order_by_polyfit(steps: Tensor, errors: Tensor) -> Tensor:
    return torch.tensor(-np.polyfit(np.log(steps.numpy()), np.log(errors.numpy()), 1)[0])


@convergence_order.also_right
def order_by_covariance(steps: Tensor, errors: Tensor) -> Tensor:
    both = torch.cov(torch.stack([steps.double().log2(), errors.double().log2()]))
    return -both[0, 1] / both[0, 0]


# --- heun_step ----------------------------------------------------------------------------------------


def _heun_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, batch: int, dim: int, sigma: float, then: float) -> Case:
        return call(
            label,
            denoiser=net(rng, ["Linear", dim + 1, 6], ["Tanh"], ["Linear", 6, dim], scale=0.7),
            x=_normal(rng, batch, dim, scale=1 + sigma),
            sigma=sigma,
            sigma_next=then,
        )

    yield case("from 3 to 2", 5, 2, 3.0, 2.0)
    yield case("from 0.9 to 0.2, as many points as dimensions", 3, 3, 0.9, 0.2)
    yield case("a long step", 2, 4, 10.0, 1.0)
    yield case("the last step, to 0", 4, 2, 0.4, 0.0)


def _heun(
    denoiser: nn.Module,
    x: Tensor,
    sigma: float,
    sigma_next: float,
    *,
    slope: Callable[[Tensor, Tensor, float], Tensor] = lambda x, d, s: (x - d) / s,
    mix: Callable[[Tensor, Tensor], Tensor] = lambda first, second: (first + second) / 2,
    start: Callable[[Tensor, Tensor], Tensor] = lambda x, guess: x,
    second_at: Callable[[float, float], float] = lambda s, n: n,
    look: Callable[[Tensor, Tensor], Tensor] = lambda x, guess: guess,
    correct: Callable[[float], bool] = lambda n: n > 0,
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""

    def ask(at: Tensor, s: float) -> Tensor:
        return denoiser(torch.cat([at, torch.full((len(at), 1), s)], dim=1))

    first = slope(x, ask(x, sigma), sigma)
    guess = x + (sigma_next - sigma) * first
    if not correct(sigma_next):
        return guess.detach()
    s = second_at(sigma, sigma_next)
    second = slope(look(x, guess), ask(look(x, guess), s), s)
    return (start(x, guess) + (sigma_next - sigma) * mix(first, second)).detach()


def _heun_reference(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    return _heun(denoiser, x, sigma, sigma_next)


heun_step = Exercise(points=3, minutes=20, reference=_heun_reference, cases=_heun_cases, rtol=1e-3, atol=1e-4)


@heun_step.mistake(
    "That is Euler's step: the slope at the start alone. Heun looks at the slope where it arrives, and "
    "takes the mean."
)
def euler_alone(*arguments: Any) -> Tensor:
    return _heun(*arguments, correct=lambda n: False)


@heun_step.mistake(
    "At the last step you divide by a standard deviation of 0. There the second slope does not exist: "
    "stay with Euler's step."
)
def divides_by_zero(*arguments: Any) -> Tensor:
    return _heun(*arguments, correct=lambda n: True)


@heun_step.mistake("The second slope alone is used. Take the mean of both.")
def second_slope_alone(*arguments: Any) -> Tensor:
    return _heun(*arguments, mix=lambda first, second: second)


@heun_step.mistake("The slopes are added. Take their mean.")
def slopes_added(*arguments: Any) -> Tensor:
    return _heun(*arguments, mix=lambda first, second: first + second)


@heun_step.mistake("The corrected step starts where Euler's step arrived. It starts from `x` again.")
def starts_from_the_guess(*arguments: Any) -> Tensor:
    return _heun(*arguments, start=lambda x, guess: guess)


@heun_step.mistake(
    "The second slope is taken at the old noise level. Where Euler's step arrives it is `sigma_next`."
)
def second_at_the_old_level(*arguments: Any) -> Tensor:
    return _heun(*arguments, second_at=lambda s, n: s)


@heun_step.mistake(
    "The second slope is taken at the old place. It is that of the point where Euler's step arrives."
)
def second_at_the_old_place(*arguments: Any) -> Tensor:
    return _heun(*arguments, look=lambda x, guess: x)


@heun_step.mistake(
    "The step leads away from data. The slope is `(x - denoised) / sigma`, and the step along it, "
    "`sigma_next - sigma`, is negative: one of the two has the wrong sign."
)
def slope_reversed(*arguments: Any) -> Tensor:
    return _heun(*arguments, slope=lambda x, d, s: (d - x) / s)


@heun_step.mistake("The slope is not divided by sigma.")
def slope_undivided(*arguments: Any) -> Tensor:
    return _heun(*arguments, slope=lambda x, d, s: x - d)


@heun_step.mistake("You divide by the variance. With x = x0 + sigma eps the slope is eps: one sigma.")
def slope_by_variance(*arguments: Any) -> Tensor:
    return _heun(*arguments, slope=lambda x, d, s: (x - d) / s**2)


@heun_step.mistake("The denoiser's answer is taken for the noise. It is the clean point.")
def denoised_as_noise(*arguments: Any) -> Tensor:
    return _heun(*arguments, slope=lambda x, d, s: d)


@heun_step.mistake(
    "That is the midpoint method: one slope, half way. Heun's takes the mean of the slopes at both ends."
)
def midpoint_method(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    def slope(at: Tensor, s: float) -> Tensor:
        return (at - denoiser(torch.cat([at, torch.full((len(at), 1), s)], dim=1))) / s

    half = (sigma + sigma_next) / 2
    middle = x + (half - sigma) * slope(x, sigma)
    return (x + (sigma_next - sigma) * slope(middle, half)).detach()


@heun_step.mistake(
    "The step goes with the first slope alone, and half of the second is added: mind the brackets around "
    "the sum of both."
)
def brackets_missing(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    first = (x - denoiser(torch.cat([x, torch.full((len(x), 1), sigma)], dim=1))) / sigma
    guess = x + (sigma_next - sigma) * first
    if sigma_next == 0:
        return guess.detach()
    second = (guess - denoiser(torch.cat([guess, torch.full((len(x), 1), sigma_next)], dim=1))) / sigma_next
    return (x + (sigma_next - sigma) * first + second / 2).detach()


@heun_step.mistake("The second slope is divided by the old standard deviation. It is that of its own level.")
def divided_by_the_old_level(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    return _heun(denoiser, x, sigma, sigma_next, slope=lambda x, d, s: (x - d) / sigma)


@heun_step.mistake(
    "At the last step you return `x` as it came. Only the second slope does not exist there: take Euler's "
    "step."
)
def last_step_left_out(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    return _heun(denoiser, x, sigma, sigma_next) if sigma_next > 0 else x.clone()


@heun_step.mistake("The step is as long as `sigma_next`. It is `sigma_next - sigma`, which is negative.")
def step_too_long(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    first = (x - denoiser(torch.cat([x, torch.full((len(x), 1), sigma)], dim=1))) / sigma
    guess = x + sigma_next * first
    if sigma_next == 0:
        return guess.detach()
    second = (guess - denoiser(torch.cat([guess, torch.full((len(x), 1), sigma_next)], dim=1))) / sigma_next
    return (x + sigma_next * (first + second) / 2).detach()


@heun_step.mistake("The noise level stands in front of the points. The denoiser expects it behind.")
def level_in_front(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    def slope(at: Tensor, s: float) -> Tensor:
        return (at - denoiser(torch.cat([torch.full((len(at), 1), s), at], dim=1))) / s

    first = slope(x, sigma)
    guess = x + (sigma_next - sigma) * first
    if sigma_next == 0:
        return guess.detach()
    return (x + (sigma_next - sigma) * (first + slope(guess, sigma_next)) / 2).detach()


@heun_step.also_right
@torch.no_grad()
def heun_in_letters(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    column = torch.ones(x.shape[0], 1)
    d = (x - denoiser(torch.hstack([x, sigma * column]))) / sigma
    h = sigma_next - sigma
    y = x + h * d
    if sigma_next != 0:
        y = x + h / 2 * (d + (y - denoiser(torch.hstack([y, sigma_next * column]))) / sigma_next)
    return y


@heun_step.also_right
def heun_as_a_correction(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    def noise_in(at: Tensor, s: float) -> Tensor:
        told = torch.cat([at, at.new_full((at.shape[0], 1), s)], dim=1)
        return at / s - denoiser(told).detach() / s

    before = noise_in(x, sigma)
    arrived = x - (sigma - sigma_next) * before
    if sigma_next == 0:
        return arrived
    return arrived - 0.5 * (sigma - sigma_next) * (noise_in(arrived, sigma_next) - before)


# --- velocity_loss ------------------------------------------------------------------------------------


def _velocity_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, batch: int, dim: int) -> Case:
        return call(
            label,
            model=net(rng, ["Linear", dim + 1, 6], ["Tanh"], ["Linear", 6, dim], scale=0.8),
            x0=_normal(rng, batch, dim, mean=1.0),
            noise=_normal(rng, batch, dim),
            t=rng.uniform(0.05, 0.95, size=batch).astype("float32"),
            gradients=["x0"],
        )

    yield case("five points of the plane", 5, 2)
    yield case("as many points as dimensions", 4, 4)
    yield case("a single point", 1, 3)


def _velocity(
    model: nn.Module,
    x0: Tensor,
    noise: Tensor,
    t: Tensor,
    *,
    path: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda x0, e, t: (1 - t) * x0 + t * e,
    target: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda x0, e, x: e - x0,
    time: Callable[[Tensor], Tensor] = lambda t: t,
    reduce: Callable[[Tensor], Tensor] = torch.mean,
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    column = t[:, None]
    x = path(x0, noise, column)
    output = model(torch.cat([x, time(column)], dim=1))
    return reduce((output - target(x0, noise, x)).square())


def _velocity_reference(model: nn.Module, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    return _velocity(model, x0, noise, t)


velocity_loss = Exercise(points=2, minutes=15, reference=_velocity_reference, cases=_velocity_cases)


@velocity_loss.mistake(
    "The target points from noise to data. In this course t = 0 is data, so the velocity dx/dt is "
    "`noise - x0`."
)
def towards_data(*arguments: Any) -> Tensor:
    return _velocity(*arguments, target=lambda x0, e, x: x0 - e)


@velocity_loss.mistake("t runs the other way: at t = 0 your point is pure noise. It is data there.")
def time_from_noise(*arguments: Any) -> Tensor:
    return _velocity(*arguments, path=lambda x0, e, t: t * x0 + (1 - t) * e)


@velocity_loss.mistake(
    "Path and target both run from noise to data, as in the paper. In this course t = 0 is data and 1 "
    "is noise."
)
def both_from_noise(*arguments: Any) -> Tensor:
    return _velocity(*arguments, path=lambda x0, e, t: t * x0 + (1 - t) * e, target=lambda x0, e, x: x0 - e)


@velocity_loss.mistake("The target is the noise. A flow predicts the velocity, `noise - x0`.")
def noise_as_target(*arguments: Any) -> Tensor:
    return _velocity(*arguments, target=lambda x0, e, x: e)


@velocity_loss.mistake("The target is the clean point. A flow predicts the velocity, `noise - x0`.")
def point_as_target(*arguments: Any) -> Tensor:
    return _velocity(*arguments, target=lambda x0, e, x: x0)


@velocity_loss.mistake(
    "The target leads from the point on the path to the noise. The velocity is that of the whole path, "
    "`noise - x0`."
)
def rest_of_the_way(*arguments: Any) -> Tensor:
    return _velocity(*arguments, target=lambda x0, e, x: e - x)


@velocity_loss.mistake(
    "The path keeps the variance: roots of `1 - t` and `t`. The path of flow matching is straight."
)
def curved_path(*arguments: Any) -> Tensor:
    return _velocity(*arguments, path=lambda x0, e, t: (1 - t).sqrt() * x0 + t.sqrt() * e)


@velocity_loss.mistake(
    "Noise is added to the whole point. On the straight path the point fades as the noise grows: `(1 - "
    "t) * x0`."
)
def point_not_faded(*arguments: Any) -> Tensor:
    return _velocity(*arguments, path=lambda x0, e, t: x0 + t * e)


@velocity_loss.mistake("The model is told `1 - t`.")
def told_the_rest(*arguments: Any) -> Tensor:
    return _velocity(*arguments, time=lambda t: 1 - t)


@velocity_loss.mistake("The model never hears of the time.")
def told_nothing(*arguments: Any) -> Tensor:
    return _velocity(*arguments, time=torch.zeros_like)


@velocity_loss.mistake("All points get the time of the first. Each has its own.")
def velocity_first_time(model: nn.Module, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    return _velocity(model, x0, noise, t[:1].expand_as(t))


@velocity_loss.mistake("You sum. The loss is the mean over all numbers of all points.")
def velocity_summed(*arguments: Any) -> Tensor:
    return _velocity(*arguments, reduce=torch.sum)


@velocity_loss.mistake(
    "Absolute differences have the median for their best answer. The velocity is a mean: square them."
)
def absolute_error(*arguments: Any) -> Tensor:
    return _velocity(*arguments, reduce=lambda squares: squares.sqrt().mean())


@velocity_loss.mistake(
    "The target leads from the clean point to that on the path. The velocity is that of the whole path, "
    "`noise - x0`."
)
def way_so_far(*arguments: Any) -> Tensor:
    return _velocity(
        *arguments,
        target=lambda x0, e, x: x - x0,
    )


@velocity_loss.mistake("The target is a sum. A velocity is where one goes minus where one comes from.")
def sum_as_target(*arguments: Any) -> Tensor:
    return _velocity(*arguments, target=lambda x0, e, x: e + x0)


@velocity_loss.mistake("The time stands in front of the points. The model expects it behind.")
def velocity_time_in_front(model: nn.Module, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    time = t[:, None]
    output = model(torch.cat([time, (1 - time) * x0 + time * noise], dim=1))
    return (output - noise + x0).square().mean()


@velocity_loss.mistake(
    "The times are lined up with the coordinates. Each point has its own: give them an axis of length 1 "
    "behind."
)
def times_along_the_coordinates(model: nn.Module, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    output = model(torch.cat([(1 - t) * x0 + t * noise, t[:, None]], dim=1))
    return (output - noise + x0).square().mean()


@velocity_loss.mistake(
    "The squares are summed over the dimensions and averaged over the points. Take the mean over all numbers."
)
def velocity_summed_over_dimensions(*arguments: Any) -> Tensor:
    return _velocity(*arguments, reduce=lambda squares: squares.sum(dim=1).mean())


@velocity_loss.mistake("That is one loss a point. Return their mean.")
def velocity_of_each_point(*arguments: Any) -> Tensor:
    return _velocity(*arguments, reduce=lambda squares: squares.mean(dim=1))


@velocity_loss.mistake("The root of the mean square is not asked for.")
def velocity_root(*arguments: Any) -> Tensor:
    return _velocity(*arguments, reduce=lambda squares: squares.mean().sqrt())


@velocity_loss.mistake("You draw noise of your own. Use the one that is given.")
def velocity_own_noise(model: nn.Module, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    return _velocity(model, x0, torch.randn_like(noise), t)


@velocity_loss.mistake("The loss is cut off from the graph: nobody could learn from it.")
def velocity_detached(*arguments: Any) -> Tensor:
    return _velocity(*arguments).detach()


@velocity_loss.also_right
def velocity_by_mse(model: nn.Module, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    x = torch.lerp(x0, noise, t.unsqueeze(1))
    return F.mse_loss(model(torch.cat((x, t.unsqueeze(1)), 1)), noise - x0)


@velocity_loss.also_right
def velocity_point_by_point(model: nn.Module, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    losses = []
    for a, e, at in zip(x0, noise, t, strict=True):
        output = model(torch.cat([a + at * (e - a), at[None]])[None])[0]
        losses.append(((output + a - e) ** 2).mean())
    return torch.stack(losses).mean()


# --- choose_evaluations -------------------------------------------------------------------------------


def _table(
    rng: Rng,
    label: str,
    counts: list[int],
    means: list[float],
    spread: float | list[float],
    seeds: int = 4,
    outlier: bool = False,
    alike: bool = False,
) -> Case:
    """Distances whose seeds scatter by ``spread``, with the means exactly as given.

    With ``outlier`` one seed of each lies far above the others. Where all are ``alike`` the seeds of one
    count scatter as those of another.
    """
    noise = rng.normal(size=(len(counts), seeds))
    if outlier:
        noise = 0.01 * noise
        noise[np.arange(len(counts)), rng.integers(seeds, size=len(counts))] += 1
    if alike:
        noise = noise[:1] + 0.01 * noise
    noise = noise - noise.mean(axis=1, keepdims=True)
    noise /= noise.std(axis=1, ddof=1, keepdims=True)
    scale = rng.uniform(0.7, 3.0)
    at = rng.permutation(len(counts))
    spreads = np.resize(spread, len(counts))
    table = scale * (np.array(means) + spreads * noise.T).T
    return call(
        label, evaluations=np.array(counts)[at].astype("int64"), distances=table[at].astype("float32")
    )


def _choice_cases(rng: Rng) -> Iterator[Case]:
    def case(
        label: str,
        counts: list[int],
        means: list[float],
        spread: float | list[float],
        seeds: int = 4,
        **options: bool,
    ) -> Case:
        return _table(rng, label, counts, means, spread, seeds, **options)

    yield case("quality levels off", [5, 10, 20, 40, 80], [30.0, 12.0, 6.5, 6.05, 6.0], 0.1)
    yield case("the second best is as good as the best", [8, 16, 32, 64], [20.0, 9.0, 5.02, 5.0], 0.1)
    yield case("more is always better", [4, 8, 16, 32], [40.0, 20.0, 10.0, 5.0], 0.2)
    yield case("few are as good as many", [6, 12, 24, 48], [5.1, 5.05, 5.12, 5.0], 0.5)
    yield case("the most are worse again", [10, 20, 40, 100], [9.0, 4.0, 4.03, 6.0], 0.1)
    yield case("a difference of three errors", [10, 20, 40], [8.0, 5.3, 5.0], 0.2, 8)
    yield case("a difference of one error and a half", [10, 20, 40], [8.0, 5.21, 5.0], 0.2)
    yield case("one count whose seeds scatter", [10, 20, 40], [9.0, 5.8, 5.0], [0.1, 1.0, 0.1], 12)
    yield case("scattered seeds, many of them", [10, 20, 40], [9.0, 5.5, 5.0], 0.4, 12)
    yield case("many seeds, a difference below one error", [10, 20, 40], [9.0, 5.12, 5.0], 0.4, 12)
    yield case("two seeds each", [10, 20, 40], [8.0, 5.34, 5.0], 0.2, 2)
    yield case("two seeds each, and a larger difference", [10, 20, 40], [8.0, 5.48, 5.0], 0.2, 2)
    yield case("a difference of two errors and a half", [10, 20, 40], [8.0, 5.24, 5.0], 0.2, 8)
    yield case("the best count scatters", [10, 20, 40], [9.0, 5.9, 5.0], [0.1, 0.1, 1.1])
    yield case("the cheaper count scatters", [10, 20, 40], [9.0, 5.9, 5.0], [0.1, 1.1, 0.1])
    yield case("one seed that went wrong", [10, 20, 40], [9.0, 5.8, 5.0], [0.1, 1.0, 0.1], 8, outlier=True)
    yield case("one count that is poor scatters widely", [10, 20, 40], [20.0, 5.5, 5.0], [6.0, 0.2, 0.2])
    yield case("each a little worse than the one before", [5, 10, 20, 40], [9.0, 5.4, 5.2, 5.0], 0.2)
    yield case("seeds that scatter alike", [10, 20, 40], [8.0, 5.21, 5.0], 0.2, alike=True)


def _choose(
    evaluations: Tensor,
    distances: Tensor,
    *,
    error: Callable[[Tensor, int], Tensor] = lambda a, best: (
        a.var(dim=1) / a.shape[1] + a[best].var() / a.shape[1]
    ).sqrt(),
    factor: float = 2.0,
    center: Callable[[Tensor], Tensor] = lambda a: a.mean(dim=1),
) -> int:
    """The right answer, with knobs for the wrong ones."""
    means = center(distances)
    best = int(means.argmin())
    good = means - means[best] <= factor * error(distances, best)
    good[best] = True
    return int(evaluations[good].min())


def _choose_reference(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(evaluations, distances)


choose_evaluations = Exercise(points=2, minutes=15, reference=_choose_reference, cases=_choice_cases)


@choose_evaluations.mistake(
    "You take the lowest mean. Asked for is the cheapest that cannot be told from it."
)
def lowest_mean(evaluations: Tensor, distances: Tensor) -> int:
    return int(evaluations[distances.mean(dim=1).argmin()])


@choose_evaluations.mistake("You take the cheapest of all, whatever its quality.")
def cheapest(evaluations: Tensor, distances: Tensor) -> int:
    return int(evaluations.min())


@choose_evaluations.mistake("You take the most evaluations, whatever was measured.")
def dearest(evaluations: Tensor, distances: Tensor) -> int:
    return int(evaluations.max())


@choose_evaluations.mistake(
    "You compare with the scatter of single seeds. The error of a mean is smaller: divide the variance "
    "by the number of seeds."
)
def by_standard_deviation(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(evaluations, distances, error=lambda a, best: (a.var(dim=1) + a[best].var()).sqrt())


@choose_evaluations.mistake("You ask for one standard error. Two are asked for.")
def one_error(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(evaluations, distances, factor=1.0)


@choose_evaluations.mistake("You return the place in the list. Asked for is the number of evaluations.")
def place_in_the_list(evaluations: Tensor, distances: Tensor) -> int:
    return int((evaluations == _choose(evaluations, distances)).nonzero()[0])


@choose_evaluations.mistake(
    "You look at the best seed of each. Chance favours those that scatter: compare the means."
)
def best_seed(evaluations: Tensor, distances: Tensor) -> int:
    return int(evaluations[distances.min(dim=1).values.argmin()])


@choose_evaluations.mistake("You return the distance. Asked for is the number of evaluations.")
def the_distance(evaluations: Tensor, distances: Tensor) -> float:
    return float(distances.mean(dim=1).min())


@choose_evaluations.mistake(
    "You take the error of the best alone. The other mean has one, too: the variances of both means add up."
)
def error_of_the_best(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(evaluations, distances, error=lambda a, best: (a[best].var() / a.shape[1]).sqrt())


@choose_evaluations.mistake(
    "You leave out the error of the best. Its mean has one, too: the variances of both means add up."
)
def error_of_the_other(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(evaluations, distances, error=lambda a, best: (a.var(dim=1) / a.shape[1]).sqrt())


@choose_evaluations.mistake(
    "You add the errors of the two means. It is their squares that add up: take the root of the sum."
)
def errors_added(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(
        evaluations,
        distances,
        error=lambda a, best: (a.std(dim=1) + a[best].std()) / a.shape[1] ** 0.5,
    )


@choose_evaluations.mistake(
    "You divide standard deviations by the number of seeds. It is variances that are divided by it: the "
    "error falls with its root."
)
def root_of_the_seeds_forgotten(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(
        evaluations,
        distances,
        error=lambda a, best: (a.var(dim=1) + a[best].var()).sqrt() / a.shape[1],
    )


@choose_evaluations.mistake("You compare with the variance of the difference. Take its root.")
def variance_of_the_difference(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(evaluations, distances, error=lambda a, best: (a.var(dim=1) + a[best].var()) / a.shape[1])


@choose_evaluations.mistake(
    "Your variance is that of these seeds themselves. To infer that of all seeds divide by one less than "
    "their number, as `var` does if left alone."
)
def variance_of_these_seeds(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(
        evaluations,
        distances,
        error=lambda a, best: (
            (a.var(dim=1, unbiased=False) + a[best].var(unbiased=False)) / a.shape[1]
        ).sqrt(),
    )


@choose_evaluations.mistake("You compare medians. Asked for is a comparison of means.")
def by_medians(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(evaluations, distances, center=lambda a: a.median(dim=1).values)


@choose_evaluations.mistake("You ask for three standard errors. Two are asked for.")
def three_errors(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(evaluations, distances, factor=3.0)


@choose_evaluations.mistake(
    "You take the first entry that is good enough. The table is in no order: take the fewest evaluations."
)
def first_of_the_good(evaluations: Tensor, distances: Tensor) -> int:
    means, variances = distances.mean(dim=1), distances.var(dim=1) / distances.shape[1]
    best = means.argmin()
    good = means - means[best] <= 2 * (variances + variances[best]).sqrt()
    return int(evaluations[good][0])


@choose_evaluations.mistake("You take the dearest of those that are good enough. Asked for is the cheapest.")
def dearest_of_the_good(evaluations: Tensor, distances: Tensor) -> int:
    means, variances = distances.mean(dim=1), distances.var(dim=1) / distances.shape[1]
    best = means.argmin()
    good = means - means[best] <= 2 * (variances + variances[best]).sqrt()
    return int(evaluations[good].max())


@choose_evaluations.mistake(
    "You allow for a fixed share of the distance. How much two means may differ by chance is told by the "
    "scatter of their seeds."
)
def within_a_tenth(evaluations: Tensor, distances: Tensor) -> int:
    means = distances.mean(dim=1)
    return int(evaluations[means <= 1.1 * means.min()].min())


@choose_evaluations.mistake(
    "You compare each number of evaluations with the next larger one. Small losses add up: compare each "
    "with the best."
)
def compared_with_the_next(evaluations: Tensor, distances: Tensor) -> int:
    at = evaluations.argsort(descending=True)
    means = distances.mean(dim=1)[at]
    variances = distances.var(dim=1)[at] / distances.shape[1]
    worse = means.diff() > 2 * (variances[1:] + variances[:-1]).sqrt()
    return int(evaluations[at][int(worse.nonzero()[0]) if worse.any() else -1])


@choose_evaluations.mistake(
    "You pair the seeds of two numbers of evaluations. Take the variances of both means by themselves and "
    "add them."
)
def seeds_paired(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(evaluations, distances, error=lambda a, best: (a - a[best]).std(dim=1) / a.shape[1] ** 0.5)


@choose_evaluations.also_right
def choice_step_by_step(evaluations: Tensor, distances: Tensor) -> int:
    rows = sorted(zip(evaluations.tolist(), distances.double(), strict=True), key=lambda row: row[0])
    best = min((row for _, row in rows), key=lambda row: float(row.mean()))
    for count, row in rows:
        error = (row.std().item() ** 2 / len(row) + best.std().item() ** 2 / len(best)) ** 0.5
        if row is best or float(row.mean() - best.mean()) < 2 * error:
            return count
    return rows[-1][0]


@choose_evaluations.also_right
def choice_with_numpy(evaluations: Tensor, distances: Tensor) -> int:
    a = distances.numpy().astype(float)
    mean, square = a.mean(axis=1), a.var(axis=1, ddof=1) / a.shape[1]
    k = mean.argmin()
    fine = mean <= mean[k] + 2 * np.sqrt(square + square[k])
    return int(evaluations.numpy()[fine].min())


# --- interpolate_noise --------------------------------------------------------------------------------


def _pairs(rng: Rng) -> Iterator[Case]:
    def case(label: str, *shape: int, share: list[float]) -> Case:
        return call(
            label,
            first=_normal(rng, *shape),
            second=_normal(rng, *shape, scale=0.8),
            share=np.array(share, "float32"),
        )

    yield case("four steps between two images", 1, 3, 4, share=[0.0, 0.3, 0.6, 1.0])
    yield case("as many steps as rows and columns", 2, 3, 3, share=[0.1, 0.5, 0.9])
    yield case("half way", 1, 2, 5, share=[0.5])


def _interpolate(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    a, b = (1 - share).reshape(-1, 1, 1, 1), share.reshape(-1, 1, 1, 1)
    return (a * first + b * second) / (a.square() + b.square()).sqrt()


interpolate_noise = Exercise(points=1, minutes=10, reference=_interpolate, cases=_pairs)


@interpolate_noise.mistake(
    "A plain mixture of two noises has too little variance, half of it midway. Divide by the root of "
    "the sum of the squared weights."
)
def plain_mixture(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    s = share.reshape(-1, 1, 1, 1)
    return (1 - s) * first + s * second


@interpolate_noise.mistake(
    "You divide by the sum of the squared weights: that is the variance. Take its root."
)
def divided_by_the_variance(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    s = share.reshape(-1, 1, 1, 1)
    return ((1 - s) * first + s * second) / ((1 - s).square() + s.square())


@interpolate_noise.mistake(
    "Roots of the shares keep the variance too, but they are other weights than the ones asked for: mix"
    " by `1 - share` and `share`, then divide."
)
def roots_of_the_shares(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    s = share.reshape(-1, 1, 1, 1)
    return (1 - s).sqrt() * first + s.sqrt() * second


@interpolate_noise.mistake("First and second have changed places: at share 0 the first noise is meant.")
def ends_exchanged(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    return _interpolate(second, first, share)


@interpolate_noise.mistake(
    "You scale each result to a variance of 1 by its own numbers. Divide by what theory says, or the "
    "ends change."
)
def scaled_by_itself(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    s = share.reshape(-1, 1, 1, 1)
    mixed = (1 - s) * first + s * second
    return mixed / mixed.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()


@interpolate_noise.mistake("You divide by the root of two, which is right midway only.")
def as_if_midway(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    s = share.reshape(-1, 1, 1, 1)
    return ((1 - s) * first + s * second) * 2**0.5


@interpolate_noise.mistake(
    "You multiply by the root of the sum of the squared weights. The variance is too small: divide by it."
)
def multiplied_by_the_root(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    s = share.reshape(-1, 1, 1, 1)
    return ((1 - s) * first + s * second) * ((1 - s).square() + s.square()).sqrt()


@interpolate_noise.mistake(
    "You scale each result to a length of 1. Its variance has to be 1, as that of noise."
)
def of_unit_length(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    s = share.reshape(-1, 1, 1, 1)
    mixed = (1 - s) * first + s * second
    return mixed / mixed.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()


@interpolate_noise.mistake(
    "You scale each result by its own standard deviation. Divide by what theory says, or the ends change."
)
def scaled_by_its_own_deviation(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    s = share.reshape(-1, 1, 1, 1)
    mixed = (1 - s) * first + s * second
    return mixed / mixed.std(dim=(1, 2, 3), keepdim=True)


@interpolate_noise.mistake(
    "That goes along the circle at even speed, with sine and cosine. It keeps the variance too, but asked "
    "for is the straight mixture, divided."
)
def along_a_quarter_circle(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    angle = share.reshape(-1, 1, 1, 1) * torch.pi / 2
    return angle.cos() * first + angle.sin() * second


@interpolate_noise.mistake(
    "That is slerp, with the measured angle between the two. It is close, for two noises are nearly at right "
    "angles, but asked for is the straight mixture, divided."
)
def spherical(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    cosine = (first * second).sum() / (first.norm() * second.norm())
    angle, s = cosine.acos(), share.reshape(-1, 1, 1, 1)
    return (((1 - s) * angle).sin() * first + (s * angle).sin() * second) / angle.sin()


@interpolate_noise.mistake("Only the difference is divided. The whole mixture is: mind the brackets.")
def difference_divided(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    s = share.reshape(-1, 1, 1, 1)
    return first + s * (second - first) / ((1 - s).square() + s.square()).sqrt()


@interpolate_noise.mistake(
    "The weight of the first is chosen so that the squares add up to 1. The variance is kept, but asked for "
    "is a mixture by `1 - share` and `share`, divided."
)
def first_by_what_is_left(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    s = share.reshape(-1, 1, 1, 1)
    return (1 - s.square()).sqrt() * first + s * second


@interpolate_noise.mistake(
    "The shares are lined up with the columns of the noise. Each gives a noise of its own: give them three "
    "axes of length 1 behind."
)
def shares_along_the_columns(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    return ((1 - share) * first + share * second) / ((1 - share).square() + share.square()).sqrt()


@interpolate_noise.mistake(
    "The shares are lined up with the channels of the noise. Each gives a noise of its own: give them three "
    "axes of length 1 behind."
)
def shares_along_the_channels(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    s = share[:, None, None]
    return ((1 - s) * first + s * second) / ((1 - s).square() + s.square()).sqrt()


@interpolate_noise.also_right
def mixed_one_by_one(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    made = []
    for s in share.tolist():
        made.append(((1 - s) * first + s * second) / ((1 - s) ** 2 + s**2) ** 0.5)
    return torch.stack(made)


@interpolate_noise.also_right
def mixed_by_norms(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    weights = torch.stack([1 - share, share], dim=1)
    weights = weights / weights.norm(dim=1, keepdim=True)
    return torch.einsum("nk,kchw->nchw", weights, torch.stack([first, second]))
