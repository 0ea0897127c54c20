"""The exercises of the chapter samplers, in the order of the text."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genimg_ref.exercises.compare import Response
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
    yield case("little of the noise", (2, 1, 3, 2), 0.4, 0.7, 0.2)
    yield case("the last step, to data", (2, 1, 2, 2), 0.7, 1.0, 1.0)


def _posterior_std(a: float, b: float) -> float:
    return ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5


def _ddim(
    x: Tensor,
    eps: Tensor,
    alpha_bar: float,
    alpha_bar_next: float,
    eta: float,
    noise: Tensor,
    *,
    clean: Callable[[Tensor, Tensor, float], Tensor] = lambda x, e, a: (x - (1 - a) ** 0.5 * e) / a**0.5,
    std: Callable[[float, float, float], float] = lambda a, b, eta: eta * _posterior_std(a, b),
    along: Callable[[float, float], float] = lambda b, s: max(0.0, 1 - b - s**2) ** 0.5,
    shrink: Callable[[float], float] = lambda b: b**0.5,
    fresh: Callable[[float], float] = lambda s: s,
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    spread = std(alpha_bar, alpha_bar_next, eta)
    image = clean(x, eps, alpha_bar)
    return shrink(alpha_bar_next) * image + along(alpha_bar_next, spread) * eps + fresh(spread) * noise


def _ddim_reference(
    x: Tensor, eps: Tensor, alpha_bar: float, alpha_bar_next: float, eta: float, noise: Tensor
) -> Tensor:
    return _ddim(x, eps, alpha_bar, alpha_bar_next, eta, noise)


def _complex_alike(response: Response) -> Response:
    """Complex numbers, which come of the root of a negative one, are wrong whatever they are."""
    returned = response["returned"]
    return {**response, "returned": np.zeros_like(returned) if np.iscomplexobj(returned) else returned}


ddim_step = Exercise(
    points=3,
    minutes=20,
    reference=_ddim_reference,
    cases=_ddim_cases,
    rtol=1e-3,
    atol=1e-4,
    observe=_complex_alike,
)


@ddim_step.mistake(
    "Fresh noise is added on top of all that was there: the variance after the step is too large. The "
    "predicted noise has to make room, `1 - alpha_bar_next - std**2`."
)
def no_room_for_noise(*arguments: Any) -> Tensor:
    return _ddim(*arguments, along=lambda b, s: (1 - b) ** 0.5)


@ddim_step.mistake("`eta` has no effect: you always take the deterministic step.")
def eta_ignored(*arguments: Any) -> Tensor:
    return _ddim(*arguments, std=lambda a, b, eta: 0.0)


@ddim_step.mistake(
    "`eta` is a switch in your step: above 0 the full noise of DDPM is added. It is a factor of the standard "
    "deviation."
)
def eta_as_a_switch(*arguments: Any) -> Tensor:
    return _ddim(*arguments, std=lambda a, b, eta: _posterior_std(a, b) if eta > 0 else 0.0)


@ddim_step.mistake("Whatever `eta` is, the full noise of DDPM is added.")
def eta_always_one(*arguments: Any) -> Tensor:
    return _ddim(*arguments, std=lambda a, b, eta: _posterior_std(a, b))


@ddim_step.mistake("`eta` multiplies the variance. It scales the standard deviation.")
def eta_on_the_variance(*arguments: Any) -> Tensor:
    return _ddim(*arguments, std=lambda a, b, eta: (eta * (1 - b) / (1 - a) * (1 - a / b)) ** 0.5)


@ddim_step.mistake("The noise is multiplied by its variance: take the root.")
def ddim_variance_for_std(*arguments: Any) -> Tensor:
    return _ddim(*arguments, std=lambda a, b, eta: eta * (1 - b) / (1 - a) * (1 - a / b))


@ddim_step.mistake(
    "The fresh noise is multiplied by its variance, though the predicted one makes the right room for it. "
    "Take the root."
)
def fresh_noise_by_variance(*arguments: Any) -> Tensor:
    return _ddim(*arguments, fresh=lambda s: s**2)


@ddim_step.mistake(
    "Room is made for fresh noise, and none is added: `std * noise` is missing. What is returned has too "
    "little variance."
)
def fresh_noise_dropped(*arguments: Any) -> Tensor:
    return _ddim(*arguments, fresh=lambda s: 0.0)


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


@ddim_step.mistake(
    "The clean image has the levels without their roots. `alpha_bar` is the square of alpha: `(x - (1 - "
    "alpha_bar) ** 0.5 * eps) / alpha_bar ** 0.5`."
)
def image_without_roots(*arguments: Any) -> Tensor:
    return _ddim(*arguments, clean=lambda x, e, a: (x - (1 - a) * e) / a)


@ddim_step.mistake("The clean image is divided by `alpha_bar`, which is the square of alpha. Take its root.")
def image_divided_by_alpha_bar(*arguments: Any) -> Tensor:
    return _ddim(*arguments, clean=lambda x, e, a: (x - (1 - a) ** 0.5 * e) / a)


@ddim_step.mistake(
    "To find the clean image you subtract `1 - alpha_bar` times the noise. That is its variance: take the "
    "root."
)
def image_by_the_variance(*arguments: Any) -> Tensor:
    return _ddim(*arguments, clean=lambda x, e, a: (x - (1 - a) * e) / a**0.5)


@ddim_step.mistake("The clean image is multiplied by `alpha_bar_next`. Take its root.")
def shrunk_without_root(*arguments: Any) -> Tensor:
    return _ddim(*arguments, shrink=lambda b: b)


@ddim_step.mistake(
    "The predicted noise is multiplied by `1 - alpha_bar_next - std**2`. That is its variance: take the root."
)
def left_noise_by_variance(*arguments: Any) -> Tensor:
    return _ddim(*arguments, along=lambda b, s: 1 - b - s**2)


@ddim_step.mistake(
    "None of the levels has its root: `alpha_bar` and `1 - alpha_bar` are the squares of what multiplies "
    "image and noise."
)
def no_root_anywhere(*arguments: Any) -> Tensor:
    return _ddim(
        *arguments,
        clean=lambda x, e, a: (x - (1 - a) * e) / a,
        shrink=lambda b: b,
        along=lambda b, s: 1 - b - s**2,
    )


@ddim_step.mistake(
    "`alpha_bar` is taken for alpha, and squared where it should stand as it is. In this formula alpha is "
    "the root of `alpha_bar`."
)
def alpha_bar_for_alpha(
    x: Tensor, eps: Tensor, alpha_bar: float, alpha_bar_next: float, eta: float, noise: Tensor
) -> Tensor:
    return _ddim(x, eps, alpha_bar**2, alpha_bar_next**2, eta, noise)


@ddim_step.mistake(
    "You add the difference of the two noise levels to x. The image has to grow as well: find it in x, and "
    "put image and noise together again."
)
def only_the_noise_moves(
    x: Tensor, eps: Tensor, alpha_bar: float, alpha_bar_next: float, eta: float, noise: Tensor
) -> Tensor:
    return x + ((1 - alpha_bar_next) ** 0.5 - (1 - alpha_bar) ** 0.5) * eps


@ddim_step.mistake("The levels are used without their roots, and fresh noise is given no room.")
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


# how a negative number under a root shows: what the numbers are made, the root, and the words for it
NEGATIVE_ROOTS: list[tuple[Callable[[float], float], Callable[[Any], Any], str]] = [
    (float, math.sqrt, "The number under a root becomes negative, which `math.sqrt` refuses."),
    (np.float64, np.sqrt, "The number under a root becomes negative, and the root NaN."),
    (float, lambda v: v**0.5, "The number under a root becomes negative, and its power 0.5 complex."),
]


def _with_a_negative_root(
    name: str,
    hint: str,
    std: Callable[[float, float, float, Callable[[Any], Any]], Any],
    taken: Callable[[Any], Any] = lambda s: s**2,
) -> None:
    """Add a mistake for each way in which such a root shows; ``taken`` is what makes room for the noise."""
    for k, (number, root, words) in enumerate(NEGATIVE_ROOTS):

        def answer(
            x: Tensor,
            eps: Tensor,
            alpha_bar: float,
            alpha_bar_next: float,
            eta: float,
            noise: Tensor,
            number: Callable[[float], float] = number,
            root: Callable[[Any], Any] = root,
        ) -> Tensor:
            with np.errstate(divide="ignore", invalid="ignore"):
                return _ddim(
                    x,
                    eps,
                    number(alpha_bar),
                    number(alpha_bar_next),
                    eta,
                    noise,
                    std=lambda a, b, eta: std(a, b, eta, root),
                    along=lambda b, s: root(1 - b - taken(s)),
                )

        answer.__name__ = f"{name}_{k}"
        ddim_step.mistake(f"{hint} {words}")(answer)


_with_a_negative_root(
    "alphas_exchanged",
    "In the standard deviation it is `alpha_bar / alpha_bar_next`, the smaller by the larger; yours is the "
    "other way round.",
    lambda a, b, eta, root: eta * root((1 - b) / (1 - a) * (1 - b / a)),
)
_with_a_negative_root(
    "alphas_exchanged_in_the_variance",
    "In the variance it is `alpha_bar / alpha_bar_next`, the smaller by the larger; yours is the other way "
    "round.",
    lambda a, b, eta, root: root(eta**2 * (1 - b) / (1 - a) * (1 - b / a)),
)
_with_a_negative_root(
    "noise_levels_exchanged",
    "In the standard deviation it is `(1 - alpha_bar_next) / (1 - alpha_bar)`, the smaller by the larger; "
    "yours is the other way round, and at data it divides by 0.",
    lambda a, b, eta, root: eta * root((1 - a) / (1 - b) * (1 - a / b)),
)
_with_a_negative_root(
    "forward_variance_unclamped",
    "The fresh noise has the variance of the step forward: the factor `(1 - alpha_bar_next) / (1 - "
    "alpha_bar)` is missing, so that there is no room for it.",
    lambda a, b, eta, root: eta * root(1 - a / b),
)
_with_a_negative_root(
    "deviation_not_squared_unclamped",
    "Where room is made for fresh noise its standard deviation is subtracted. Square it: `1 - "
    "alpha_bar_next - std**2`.",
    lambda a, b, eta, root: eta * root((1 - b) / (1 - a) * (1 - a / b)),
    taken=lambda s: s,
)


@ddim_step.mistake(
    "Under the root it is `1 - alpha_bar / alpha_bar_next`, the smaller by the larger; yours is the other "
    "way round and negative. Its power 0.5 is a complex number, which `max` cannot compare."
)
def alphas_exchanged_and_compared(*arguments: Any) -> Tensor:
    return _ddim(*arguments, std=lambda a, b, eta: eta * ((1 - b) / (1 - a) * (1 - b / a)) ** 0.5)


@ddim_step.mistake(
    "`(1 - alpha_bar_next) / (1 - alpha_bar)` is upside down: at data you divide by 0, and before there is "
    "more fresh noise than room for it."
)
def noise_levels_exchanged_and_clamped(*arguments: Any) -> Tensor:
    return _ddim(*arguments, std=lambda a, b, eta: eta * ((1 - a) / (1 - b) * (1 - a / b)) ** 0.5)


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


# --- heun_step ----------------------------------------------------------------------------------------


UNCALLED = 40  # logarithm of the running mean in a denoiser whose calls are counted, before the first


def _heun_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, batch: int, dim: int, sigma: float, then: float) -> Case:
        return call(
            label,
            denoiser=net(rng, ["Linear", dim + 1, 6], ["Tanh"], ["Linear", 6, dim], scale=0.7),
            x=_normal(rng, batch, dim, scale=1 + sigma),
            sigma=sigma,
            sigma_next=then,
        )

    def counted(label: str, dim: int, sigma: float, then: float) -> Case:
        # the running mean of the norm is halved by every call; it takes a single point as one of one channel
        norm = ["InstanceNorm1d", 1, 1e-5, 0.5, False, True]
        denoiser = net(rng, ["Linear", dim + 1, 6], norm, ["Tanh"], ["Linear", 6, dim], scale=0.7)
        denoiser["state"][2] = np.array([2.0**UNCALLED], "float32")
        x = _normal(rng, 1, dim, scale=1 + sigma)
        return call(label, buffers=["denoiser"], denoiser=denoiser, x=x, sigma=sigma, sigma_next=then)

    yield case("from 3 to 2", 5, 2, 3.0, 2.0)
    yield case("from 0.9 to 0.2, as many points as dimensions", 3, 3, 0.9, 0.2)
    yield case("a long step", 2, 4, 10.0, 1.0)
    yield case("the last step, to 0", 4, 2, 0.4, 0.0)
    yield case("from 0.05 to 0.002, which is not 0", 3, 2, 0.05, 0.002)
    yield case("from 0.004 to 0.0005, which is not 0", 2, 3, 0.004, 0.0005)
    yield counted("a single point, calls counted", 4, 1.5, 0.5)
    yield counted("the last step of a single point, calls counted", 3, 0.6, 0.0)


def _told_calls(response: Response) -> Response:
    """The number of calls in place of the buffers that show it."""
    if not response["buffers"]:
        return response
    running_mean = response["buffers"]["denoiser"][0].item()
    calls = float(np.round(UNCALLED - math.log2(abs(running_mean))))
    return {**response, "buffers": {"number of calls of the denoiser": calls}}


def _heun(
    denoiser: nn.Module,
    x: Tensor,
    sigma: float,
    sigma_next: float,
    *,
    slope: Callable[[Tensor, Tensor, float], Tensor] = lambda x, d, s: (x - d) / s,
    mix: Callable[[Tensor, Tensor], Tensor] = lambda first, second: (first + second) / 2,
    start: Callable[[Tensor, Tensor], Tensor] = lambda x, guess: x,
    arrive: Callable[[Tensor, Tensor], Tensor] = lambda x, move: x + move,
    told: Callable[[float, float], float] = lambda s, n: n,
    level: Callable[[float, float], float] = lambda s, n: n,
    look: Callable[[Tensor, Tensor], Tensor] = lambda x, guess: guess,
    stand: Callable[[Tensor, Tensor], Tensor] = lambda x, guess: guess,
    correct: Callable[[float], bool] = lambda n: n > 0,
) -> Tensor:
    """The right answer, with knobs for the wrong ones.

    The second slope leads from ``stand`` to what the denoiser makes of ``look``, told the level ``told``; it
    is divided by ``level``.
    """
    first = slope(x, _denoised(denoiser, x, sigma), sigma)
    guess = arrive(x, (sigma_next - sigma) * first)
    if not correct(sigma_next):
        return guess.detach()
    denoised = _denoised(denoiser, look(x, guess), told(sigma, sigma_next))
    second = slope(stand(x, guess), denoised, level(sigma, sigma_next))
    return (start(x, guess) + (sigma_next - sigma) * mix(first, second)).detach()


def _denoised(denoiser: nn.Module, x: Tensor, sigma: float) -> Tensor:
    return denoiser(torch.cat([x, torch.full((len(x), 1), sigma)], dim=1))


def _heun_reference(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    return _heun(denoiser, x, sigma, sigma_next)


heun_step = Exercise(
    points=3,
    minutes=20,
    reference=_heun_reference,
    cases=_heun_cases,
    rtol=1e-3,
    atol=1e-4,
    observe=_told_calls,
)


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
    return _heun(*arguments, told=lambda s, n: s, level=lambda s, n: s)


@heun_step.mistake(
    "The second time the denoiser is told the old noise level. Where Euler's step arrives it is `sigma_next`."
)
def told_the_old_level(*arguments: Any) -> Tensor:
    return _heun(*arguments, told=lambda s, n: s)


@heun_step.mistake(
    "The second slope is taken at the old place. It is that of the point where Euler's step arrives."
)
def second_at_the_old_place(*arguments: Any) -> Tensor:
    return _heun(*arguments, look=lambda x, guess: x, stand=lambda x, guess: x)


@heun_step.mistake(
    "The second time the denoiser is asked about `x`, though its answer is subtracted from the point where "
    "Euler's step arrives. Ask about that point."
)
def asked_about_the_old_place(*arguments: Any) -> Tensor:
    return _heun(*arguments, look=lambda x, guess: x)


@heun_step.mistake(
    "The second time the denoiser's answer is subtracted from `x`. It belongs to the point where Euler's "
    "step arrives: subtract it from that."
)
def subtracted_from_the_old_place(*arguments: Any) -> Tensor:
    return _heun(*arguments, stand=lambda x, guess: x)


@heun_step.mistake(
    "The step leads away from data. The slope is `(x - denoised) / sigma`, and the step along it, "
    "`sigma_next - sigma`, is negative: one of the two has the wrong sign."
)
def slope_reversed(*arguments: Any) -> Tensor:
    return _heun(*arguments, slope=lambda x, d, s: (d - x) / s)


@heun_step.mistake(
    "Euler's step goes the wrong way: it is `sigma_next - sigma` long, which is negative. The corrected step "
    "has the right sign."
)
def first_step_backwards(*arguments: Any) -> Tensor:
    return _heun(*arguments, arrive=lambda x, move: x - move)


@heun_step.mistake(
    "The corrected step goes the wrong way: it is `sigma_next - sigma` long, which is negative. Euler's step "
    "before it has the right sign."
)
def second_step_backwards(*arguments: Any) -> Tensor:
    return _heun(*arguments, mix=lambda first, second: -(first + second) / 2)


@heun_step.mistake("The second slope is not divided by its sigma.")
def second_slope_undivided(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    return _heun(denoiser, x, sigma, sigma_next, level=lambda s, n: 1.0)


@heun_step.mistake("The first slope is not divided by its sigma.")
def first_slope_undivided(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    return _heun(denoiser, x, sigma, sigma_next, slope=lambda x, d, s: (x - d) / (1.0 if s == sigma else s))


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
        return (at - _denoised(denoiser, at, s)) / s

    half = (sigma + sigma_next) / 2
    middle = x + (half - sigma) * slope(x, sigma)
    return (x + (sigma_next - sigma) * slope(middle, half)).detach()


@heun_step.mistake(
    "That is the midpoint method, with Euler's step at the end. Heun's takes the mean of the slopes at both "
    "ends of the step."
)
def midpoint_method_but_for_the_end(
    denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float
) -> Tensor:
    step = midpoint_method if sigma_next > 0 else euler_alone
    return step(denoiser, x, sigma, sigma_next)


@heun_step.mistake(
    "You take the mean of the two denoised points and go towards it. It is slopes that are averaged: each "
    "denoised point is subtracted from its own place and divided by its own level."
)
def mean_of_denoised(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    return _heun(
        denoiser,
        x,
        sigma,
        sigma_next,
        stand=lambda x, guess: x,
        level=lambda s, n: s,
    )


@heun_step.mistake(
    "The denoiser is called three times in a step. Two are enough: keep the first slope for the mean. At "
    "equal calls a dearer step is a worse sampler."
)
def first_slope_asked_twice(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    if sigma_next > 0:
        _denoised(denoiser, x, sigma)
    return _heun(denoiser, x, sigma, sigma_next)


@heun_step.mistake(
    "At the last step the denoiser is called twice, and the second answer goes unused. One call is enough: "
    "ask for it only where `sigma_next` is not 0."
)
def second_slope_asked_in_vain(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    if sigma_next == 0:
        _denoised(denoiser, x, sigma)
    return _heun(denoiser, x, sigma, sigma_next)


@heun_step.mistake(
    "Every step calls the denoiser once more than it has to: two calls are enough, and one at the last step. "
    "Keep what it answered."
)
def one_call_too_many(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    _denoised(denoiser, x, sigma)
    return _heun(denoiser, x, sigma, sigma_next)


@heun_step.mistake(
    "A small `sigma_next` is taken for 0. The second slope exists for every other value: compare with 0 "
    "itself."
)
def small_for_zero(*arguments: Any) -> Tensor:
    return _heun(*arguments, correct=lambda n: n > 0.01)


@heun_step.mistake(
    "A very small `sigma_next` is taken for 0. The second slope exists for every other value: compare with 0 "
    "itself."
)
def very_small_for_zero(*arguments: Any) -> Tensor:
    return _heun(*arguments, correct=lambda n: n > 0.001)


@heun_step.mistake(
    "The step goes with the first slope alone, and half of the second is added: mind the brackets around "
    "the sum of both."
)
def brackets_missing(denoiser: nn.Module, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    first = (x - _denoised(denoiser, x, sigma)) / sigma
    guess = x + (sigma_next - sigma) * first
    if sigma_next == 0:
        return guess.detach()
    second = (guess - _denoised(denoiser, guess, sigma_next)) / sigma_next
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
    first = (x - _denoised(denoiser, x, sigma)) / sigma
    guess = x + sigma_next * first
    if sigma_next == 0:
        return guess.detach()
    second = (guess - _denoised(denoiser, guess, sigma_next)) / sigma_next
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


# --- convergence_order --------------------------------------------------------------------------------


def _order_cases(rng: Rng) -> Iterator[Case]:
    def case(
        label: str, steps: list[int], order: float, scatter: float = 0.02, off: list[float] | None = None
    ) -> Case:
        counts = np.array(steps)
        errors = rng.uniform(0.5, 20) * counts ** (-order) * np.exp(scatter * rng.normal(size=len(counts)))
        errors = errors * (off or 1.0)
        at = rng.permutation(len(counts))
        return call(label, steps=counts[at].astype("int64"), errors=errors[at].astype("float64"))

    yield case("a method of first order", [5, 10, 20, 40, 80], 1.0)
    yield case("a method of second order", [8, 16, 32, 64], 2.0)
    yield case("numbers of steps that do not double", [4, 6, 10, 25, 70, 100], 1.7, 0.1)
    yield case("two measurements", [10, 30], 2.3)
    yield case("an error that once grows on its way down", [8, 16, 32, 64], 1.5, off=[1.0, 0.6, 2.5, 1.0])
    yield case("a method whose error grows with the number of steps", [6, 12, 18, 50], -0.8)


def _order(steps: Tensor, errors: Tensor) -> Tensor:
    x, y = steps.double().log(), errors.double().log()
    x = x - x.mean()
    return -(x * y).sum() / x.square().sum()


convergence_order = Exercise(points=2, minutes=10, reference=_order, cases=_order_cases)


@convergence_order.mistake(
    "The sign is reversed: where the error falls as the number of steps grows, the order is positive."
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


@convergence_order.mistake(
    "You sort steps and errors each for themselves. Then an error no longer stands beside its own number of "
    "steps: an error need not fall every time."
)
def sorted_apart(steps: Tensor, errors: Tensor) -> Tensor:
    return _order(steps.sort().values, errors.sort(descending=True).values)


@convergence_order.mistake(
    "You take the slope without its sign. Where the error grows with the number of steps the order is "
    "negative."
)
def slope_without_sign(steps: Tensor, errors: Tensor) -> Tensor:
    return _order(steps, errors).abs()


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


# --- velocity_loss ------------------------------------------------------------------------------------


def _velocity_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, batch: int, dim: int) -> Case:
        return call(
            label,
            model=net(rng, ["Linear", dim + 1, 6], ["Tanh"], ["Linear", 6, dim], scale=0.8),
            x0=_normal(rng, batch, dim, mean=1.0),
            noise=_normal(rng, batch, dim),
            t=rng.uniform(0.05, 0.95, size=batch).astype("float32"),
            gradients=["model"],
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
    size: Callable[[Tensor], Tensor] = torch.square,
    reduce: Callable[[Tensor], Tensor] = torch.mean,
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    column = t[:, None]
    x = path(x0, noise, column)
    output = model(torch.cat([x, time(column)], dim=1))
    return reduce(size(output - target(x0, noise, x)))


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
    return _velocity(*arguments, size=torch.abs)


@velocity_loss.mistake("The differences are not squared: those above and below cancel.")
def differences_unsquared(*arguments: Any) -> Tensor:
    return _velocity(*arguments, size=lambda difference: difference)


@velocity_loss.mistake(
    "You take the mean of the lengths of the differences. It is squared lengths, and their mean over all "
    "numbers."
)
def mean_of_lengths(*arguments: Any) -> Tensor:
    return _velocity(*arguments, reduce=lambda squares: squares.sum(dim=1).sqrt().mean())


@velocity_loss.mistake(
    "You take the length of all differences together. Square it, and divide by how many numbers there are."
)
def length_of_all(*arguments: Any) -> Tensor:
    return _velocity(*arguments, reduce=lambda squares: squares.sum().sqrt())


@velocity_loss.mistake(
    "Shapes do not fit. The model wants one tensor of shape (batch, dim + 1): the points on the path, and "
    "behind them the time of each as a column, `t[:, None]`."
)
def time_without_an_axis(model: nn.Module, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    return model(torch.cat([x0, t], dim=1))


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


@velocity_loss.mistake(
    "The loss is cut off from the parameters of the model: nobody could learn from it. What the model "
    "returns must not be detached."
)
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
    yield case("the most are the worst", [5, 10, 40], [14.0, 10.0, 15.0], 0.1)
    yield case("the fewest are as good as the best, the next are not", [5, 10, 20], [10.1, 12.0, 10.0], 0.2)
    yield case("a difference just above two errors", [10, 20, 40], [8.0, 5.21, 5.0], 0.2, 8)
    yield case("seeds that hardly scatter", [10, 20, 40], [8.0, 5.08, 5.0], 0.02)


def _choose(
    evaluations: Tensor,
    distances: Tensor,
    *,
    error: Callable[[Tensor, int], Tensor] = lambda a, best: (
        a.var(dim=1) / a.shape[1] + a[best].var() / a.shape[1]
    ).sqrt(),
    factor: float = 2.0,
    center: Callable[[Tensor], Tensor] = lambda a: a.mean(dim=1),
    pick: Callable[[Tensor, Tensor], Tensor] = lambda counts, good: counts[good].min(),
) -> int:
    """The right answer, with knobs for the wrong ones."""
    means = center(distances)
    best = int(means.argmin())
    good = means - means[best] <= factor * error(distances, best)
    good[best] = True
    return int(pick(evaluations, good))


def _choose_reference(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(evaluations, distances)


choose_evaluations = Exercise(points=2, minutes=15, reference=_choose_reference, cases=_choice_cases)


@choose_evaluations.mistake(
    "You take the lowest mean. Asked for is the cheapest that cannot be told from it."
)
def lowest_mean(evaluations: Tensor, distances: Tensor) -> int:
    return int(evaluations[distances.mean(dim=1).argmin()])


@choose_evaluations.mistake(
    "You take the highest mean. The lower a distance the better: look for the best with `argmin`."
)
def highest_mean(evaluations: Tensor, distances: Tensor) -> int:
    return int(evaluations[distances.mean(dim=1).argmax()])


@choose_evaluations.mistake(
    "You take the cheapest of all, whatever its quality. That also happens if each is compared with the "
    "highest mean, as `argmax` finds it: the best has the lowest."
)
def cheapest(evaluations: Tensor, distances: Tensor) -> int:
    return int(evaluations.min())


@choose_evaluations.mistake("You take the most evaluations, whatever was measured.")
def dearest(evaluations: Tensor, distances: Tensor) -> int:
    return int(evaluations.max())


@choose_evaluations.mistake(
    "You compare with the setting that has the most calls. It need not be the best: compare with the lowest "
    "mean."
)
def compared_with_the_dearest(evaluations: Tensor, distances: Tensor) -> int:
    means, variances = distances.mean(dim=1), distances.var(dim=1)
    most = evaluations.argmax()
    good = means - means[most] <= 2 * ((variances + variances[most]) / distances.shape[1]).sqrt()
    return int(evaluations[good].min())


@choose_evaluations.mistake(
    "You go down from the best and stop at the first that is worse. A cheaper one beyond it may be as good: "
    "look at all of them."
)
def down_from_the_best(evaluations: Tensor, distances: Tensor) -> int:
    def stop(counts: Tensor, good: Tensor) -> Tensor:
        best = evaluations[distances.mean(dim=1).argmin()]
        worse = counts[~good & (counts < best)]
        above = worse.max() if len(worse) else 0
        return counts[good & (counts > above)].min()

    return _choose(evaluations, distances, pick=stop)


@choose_evaluations.mistake(
    "You sort the numbers of evaluations and leave the distances as they are: rows and numbers no longer "
    "belong together."
)
def counts_sorted_alone(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(evaluations.sort().values, distances)


@choose_evaluations.mistake(
    "You average over the settings. Each row is a setting: take means and variances along the seeds, `dim=1`."
)
def along_the_settings(evaluations: Tensor, distances: Tensor) -> int:
    means, variances = distances.mean(dim=0), distances.var(dim=0)
    best = means.argmin()
    good = means - means[best] <= 2 * ((variances + variances[best]) / distances.shape[1]).sqrt()
    return int(evaluations[good].min())


@choose_evaluations.mistake(
    "The variances are taken over the settings. Each row is a setting: take them along the seeds, `dim=1`, "
    "as the means."
)
def variances_along_the_settings(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(
        evaluations,
        distances,
        error=lambda a, best: ((a.var(dim=0) + a.var(dim=0)[best]) / a.shape[1]).sqrt(),
    )


@choose_evaluations.mistake(
    "You divide the variances by the number of settings. A mean is over seeds: divide by their number, "
    "`distances.shape[1]`."
)
def divided_by_the_settings(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(
        evaluations, distances, error=lambda a, best: ((a.var(dim=1) + a[best].var()) / len(a)).sqrt()
    )


@choose_evaluations.mistake(
    "Under the root you have standard deviations in place of variances. Square them, or take `var`."
)
def deviations_for_variances(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(
        evaluations, distances, error=lambda a, best: ((a.std(dim=1) + a[best].std()) / a.shape[1]).sqrt()
    )


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
    "You return the place of the lowest mean. Asked for is a number of evaluations, and the cheapest that "
    "cannot be told from it."
)
def place_of_the_lowest_mean(evaluations: Tensor, distances: Tensor) -> int:
    return int(distances.mean(dim=1).argmin())


@choose_evaluations.mistake(
    "You return the place of the first that is good enough. Asked for is a number of evaluations, the fewest."
)
def place_of_the_first_good(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(evaluations, distances, pick=lambda counts, good: good.nonzero()[0])


@choose_evaluations.mistake(
    "You return a place among those that are good enough. Asked for is the number of evaluations: `min` in "
    "place of `argmin`."
)
def place_among_the_good(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(evaluations, distances, pick=lambda counts, good: counts[good].argmin())


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
    return _choose(evaluations, distances, pick=lambda counts, good: counts[good][0])


@choose_evaluations.mistake("You take the dearest of those that are good enough. Asked for is the cheapest.")
def dearest_of_the_good(evaluations: Tensor, distances: Tensor) -> int:
    return _choose(evaluations, distances, pick=lambda counts, good: counts[good].max())


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
    "You divide all by the one standard deviation of all results together. Each has its own, which theory "
    "tells: the root of the sum of its squared weights."
)
def scaled_together(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    mixed = plain_mixture(first, second, share)
    return mixed / mixed.std()


@interpolate_noise.mistake(
    "You divide by the measured standard deviation of the two noises. Theory says 1 for them; what changes "
    "it is the mixing, by the root of the sum of the squared weights."
)
def scaled_by_both_noises(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    return plain_mixture(first, second, share) / torch.stack([first, second]).std()


@interpolate_noise.mistake(
    "Under the root you subtract the squared weights. Variances of independent noises add up, though the "
    "weights differ."
)
def squares_subtracted(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    s = share.reshape(-1, 1, 1, 1)
    return plain_mixture(first, second, share) / ((1 - s).square() - s.square()).sqrt()


@interpolate_noise.mistake(
    "Under the root stands `1 - share**2`, which is 0 at the end. It is the sum of two squares: `(1 - "
    "share)**2 + share**2`."
)
def square_of_the_share_from_one(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    s = share.reshape(-1, 1, 1, 1)
    return plain_mixture(first, second, share) / (1 - s.square()).sqrt()


@interpolate_noise.mistake("The noises are right, but in a list. Put them into one tensor: `torch.stack`.")
def mixtures_in_a_list(first: Tensor, second: Tensor, share: Tensor) -> list[Tensor]:
    return list(_interpolate(first, second, share))


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
