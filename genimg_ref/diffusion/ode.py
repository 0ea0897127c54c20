"""The probability flow, an ordinary differential equation from noise to data, and ways to walk along it.

Chapter: samplers

Papers:

- Song et al., *Score-Based Generative Modeling through Stochastic Differential Equations*, 2020,
  arXiv:2011.13456 (section 4.3)
- Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*, 2022, arXiv:2206.00364
  (equation 4; Heun's method, algorithm 1; with noise, algorithm 2)
- Lipman et al., *Flow Matching for Generative Modeling*, 2022, arXiv:2210.02747
- Song, Meng and Ermon, *Denoising Diffusion Implicit Models*, 2020, arXiv:2010.02502 (interpolation)

``dx/dt = alpha'(t) x_0 + sigma'(t) eps`` with the model's idea of ``x_0`` and ``eps``. On the straight path
it is ``eps - x_0``, the velocity of flow matching; where noise is added to an image that stays and time is
its standard deviation, it is ``eps``, as in Karras et al.
"""

import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genimg_ref.diffusion.forward import like, noise_like
from genimg_ref.diffusion.predict import Batch, Kind, Model, Prediction, predict
from genimg_ref.diffusion.sample import State, walk
from genimg_ref.diffusion.schedule import Level, Schedule, exploding

__all__ = [
    "churned",
    "convergence_order",
    "edm_stochastic",
    "euler",
    "euler_step",
    "heun",
    "heun_step",
    "interpolate_noise",
    "midpoint",
    "midpoint_step",
    "rates",
    "slope",
    "solve",
]

Field = Callable[[Tensor, Tensor], Tensor]


def rates(schedule: Schedule, t: Float[Tensor, ""]) -> Level:
    """``alpha'(t)`` and ``sigma'(t)`` of a continuous schedule, by automatic differentiation.

    Raises:
        ValueError: for a schedule of discrete steps, which has none.
    """
    with torch.enable_grad():
        t = t.detach().requires_grad_()
        level = schedule(t)
        if not level.sigma.requires_grad:
            raise ValueError(f"schedule must be differentiable, as vp_linear is; got {schedule}")
        slopes = [
            torch.autograd.grad(part, t, retain_graph=True)[0] if part.requires_grad else torch.zeros_like(t)
            for part in level
        ]
    return Level(*slopes)


def slope(prediction: Prediction, rate: Level) -> Batch:
    """``dx/dt = alpha' x_0 + sigma' eps`` (Song et al. 2020, section 4.3, written with both predictions)."""
    return like(rate.alpha, prediction.x0) * prediction.x0 + like(rate.sigma, prediction.eps) * prediction.eps


def euler_step(x: Batch, t: Float[Tensor, ""], s: Float[Tensor, ""], direction: Batch) -> Batch:
    """``x + (s - t) dx/dt``: along the tangent. The error of a whole walk falls as its step."""
    return x + like(s - t, x) * direction


def heun_step(field: Field, x: Batch, t: Float[Tensor, ""], s: Float[Tensor, ""], direction: Batch) -> Batch:
    """Along the mean of the tangents at both ends (Karras et al. 2022, algorithm 1): the error falls squared.

    ``direction`` is ``field(x, t)``, which is known.
    """
    ahead = field(euler_step(x, t, s, direction), s)
    return euler_step(x, t, s, (direction + ahead) / 2)


def midpoint_step(
    field: Field, x: Batch, t: Float[Tensor, ""], s: Float[Tensor, ""], direction: Batch
) -> Batch:
    """Along the tangent half-way: the error falls squared, and the end itself is never asked about."""
    middle = (t + s) / 2
    return euler_step(x, t, s, field(euler_step(x, t, middle, direction), middle))


def _euler(field: Field, x: Tensor, t: Tensor, s: Tensor, direction: Tensor) -> Tensor:
    return euler_step(x, t, s, direction)


def solve(
    method: Callable[[Field, Tensor, Tensor, Tensor, Tensor], Tensor],
    model: Model,
    x: Batch,
    times: Float[Tensor, " times"],
    schedule: Schedule,
    *,
    kind: Kind,
    clip: float | None = None,
) -> Iterator[State]:
    """Walk along the flow with ``method(field, x, t, s, direction)``, such as :func:`heun_step`."""

    def ask(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        found = predict(model, x, t, schedule, kind, clip)
        return slope(found, rates(schedule, t)), found.x0

    def step(x: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        direction, x0 = ask(x, t)
        at_data = not bool(schedule(s).sigma > 0)
        one = _euler if method is heun_step and at_data else method
        return one(lambda x, t: ask(x, t)[0], x, t, s, direction), x0

    return walk(step, x, times)


def euler(
    model: Model,
    x: Batch,
    times: Float[Tensor, " times"],
    schedule: Schedule,
    *,
    kind: Kind,
    clip: float | None = None,
) -> Iterator[State]:
    """Euler's method: one call of the model a step."""
    return solve(_euler, model, x, times, schedule, kind=kind, clip=clip)


def midpoint(
    model: Model,
    x: Batch,
    times: Float[Tensor, " times"],
    schedule: Schedule,
    *,
    kind: Kind,
    clip: float | None = None,
) -> Iterator[State]:
    """The midpoint method: two calls of the model a step."""
    return solve(midpoint_step, model, x, times, schedule, kind=kind, clip=clip)


def heun(
    model: Model,
    x: Batch,
    times: Float[Tensor, " times"],
    schedule: Schedule,
    *,
    kind: Kind,
    clip: float | None = None,
) -> Iterator[State]:
    """Heun's method: two calls a step; the step to data is Euler's, since no model is asked there.

    On ``exploding`` with ``karras_sigmas`` it is algorithm 1 of Karras et al. (2022).
    """
    return solve(heun_step, model, x, times, schedule, kind=kind, clip=clip)


def churned(
    x: Batch, sigma: Float[Tensor, ""], factor: float, rng: torch.Generator, inflate: float = 1.0
) -> tuple[Batch, Float[Tensor, ""]]:
    """Noise added to go back from ``sigma`` to ``(1 + factor) sigma``, and that level.

    Karras et al. (2022), algorithm 2; ``inflate`` is its ``S_noise``.
    """
    more = sigma * (1 + factor)
    spread = (more.square() - sigma.square()).sqrt() * inflate
    return x + like(spread, x) * noise_like(x, rng), more


def edm_stochastic(
    model: Model,
    x: Batch,
    sigmas: Float[Tensor, " times"],
    rng: torch.Generator,
    *,
    churn: float = 0.0,
    low: float = 0.0,
    high: float = math.inf,
    inflate: float = 1.0,
    kind: Kind = "x0",
    clip: float | None = None,
) -> Iterator[State]:
    """Heun's method with some noise added before each step (Karras et al. 2022, algorithm 2).

    Args:
        churn: how much, for all steps together (``S_churn``); with 0 this is :func:`heun`.
        low, high: noise is added at levels between them (``S_tmin``, ``S_tmax``).
        inflate: the standard deviation of what is added (``S_noise``).

    Raises:
        ValueError: for a negative ``churn``.
    """
    if not churn >= 0:
        raise ValueError(f"churn must be 0 or more; got {churn}")
    factor = min(churn / (len(sigmas) - 1), math.sqrt(2) - 1)

    def step(x: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        if factor > 0 and low <= t.item() <= high:
            x, t = churned(x, t, factor, rng, inflate)
        state = next(heun(model, x, torch.stack([t, s]), exploding, kind=kind, clip=clip))
        return state.x, state.x0

    return walk(step, x, sigmas)


def convergence_order(
    steps: Int[Tensor, " measurements"], errors: Float[Tensor, " measurements"]
) -> Float[Tensor, ""]:
    """The ``p`` of errors that fall like ``C n^-p`` with the number of steps: a line in ``log n`` by least
    squares."""
    n, e = steps.to(errors).log(), errors.log()
    n = n - n.mean()
    return -(n * e).sum() / n.square().sum()


def interpolate_noise(
    first: Float[Tensor, "*shape"], second: Float[Tensor, "*shape"], share: Float[Tensor, " steps"]
) -> Float[Tensor, "steps *shape"]:
    """``((1 - r) first + r second) / sqrt((1 - r)^2 + r^2)`` for each share ``r`` of the way.

    Two independent draws from N(0, I) are mixed to another. Song, Meng and Ermon (2020, appendix D.5) turn
    one into the other on a sphere, which is nearly the same, since such draws are nearly orthogonal.
    """
    r = share.reshape(-1, *[1] * first.ndim)
    return ((1 - r) * first + r * second) / torch.hypot(1 - r, r)
