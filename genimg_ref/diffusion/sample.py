"""From noise to images: ancestral sampling and DDIM, both ways.

Chapter: ddpm, samplers

Papers:

- Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, 2020, arXiv:2006.11239 (algorithm 2;
  variances, section 3.2)
- Song, Meng and Ermon, *Denoising Diffusion Implicit Models*, 2020, arXiv:2010.02502 (equations 12 and 16;
  inversion, section 4.3 and its experiments)

A sampler walks along ``times`` that fall from noise to data, such as ``schedule.times(50)`` of a discrete
schedule or ``torch.linspace(1, 0, 51)``, and yields a :class:`State` after each step, so that callers can
watch; ``last(ddim(...))`` is the result. ``x`` is noise of the first time's standard deviation. Models are
``model(x, t)``; :mod:`genimg_ref.diffusion.guidance` binds conditions.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from genimg_ref.diffusion.bound import Variance
from genimg_ref.diffusion.forward import (
    Gaussian,
    added_variance,
    draw,
    like,
    noise_like,
    posterior,
    posterior_variance,
)
from genimg_ref.diffusion.predict import Batch, Kind, Model, Prediction, predict, x0_from_eps
from genimg_ref.diffusion.schedule import Level, Schedule

__all__ = [
    "State",
    "ancestral",
    "ancestral_step",
    "ddim",
    "ddim_invert",
    "ddim_step",
    "last",
    "walk",
]


class State(NamedTuple):
    """What a sampler has after a step: the time where it arrived, ``x`` there, and the image it had in mind.

    ``x0`` is the prediction with which the step began.
    """

    t: float
    x: Float[Tensor, "batch *shape"]
    x0: Float[Tensor, "batch *shape"]


def last(states: Iterator[State]) -> Batch:
    """Walk to the end and return the final ``x``."""
    for state in states:  # noqa: B007
        pass
    return state.x


def walk(
    step: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
    x: Batch,
    times: Float[Tensor, " times"],
    rising: bool = False,
) -> Iterator[State]:
    """The loop of all samplers: ``x, x0 = step(x, t, s)`` from each time to the next, without gradients.

    Times are walked in float64, since differences of levels lose their digits in float32.

    Raises:
        ValueError: at once, unless there are two or more times that fall (or rise, for inversion).
    """
    times = times.detach().double().cpu()
    steps = times.diff() if rising else -times.diff()
    if len(times) < 2 or not bool((steps > 0).all()):
        raise ValueError(f"times must be 2 or more that {'rise' if rising else 'fall'}; got {times.tolist()}")
    return _walk(step, x, times)


def _walk(step: Callable[..., tuple[Tensor, Tensor]], x: Tensor, times: Tensor) -> Iterator[State]:
    for t, s in pairwise(times):
        with torch.no_grad():
            x, x0 = step(x, t, s)
        yield State(s.item(), x, x0)


def ancestral_step(x: Batch, x0: Batch, s: Level, t: Level, variance: Variance = "small") -> Gaussian:
    """``p(x_s | x_t)``: the posterior with the model's ``x0`` in place of the image (Ho et al., algorithm 2).

    Its variance is the posterior's, ``"small"``, or what the step forward adds, ``"large"``. At data there is
    no noise in either.

    Raises:
        ValueError: for another variance.
    """
    if variance not in ("small", "large"):
        raise ValueError(f"variance must be 'small' or 'large'; got {variance!r}")
    back = posterior(x, x0, s, t)
    if variance == "small":
        return back
    return back._replace(variance=added_variance(s, t) * (s.sigma > 0))


def ancestral(
    model: Model,
    x: Batch,
    times: Float[Tensor, " times"],
    schedule: Schedule,
    rng: torch.Generator,
    *,
    kind: Kind = "eps",
    variance: Variance = "small",
    clip: float | None = None,
) -> Iterator[State]:
    """DDPM's sampler (Ho et al. 2020, algorithm 2), of all steps or of fewer."""

    def step(x: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        x0 = predict(model, x, t, schedule, kind, clip).x0
        return draw(ancestral_step(x, x0, schedule(s), schedule(t), variance), rng), x0

    return walk(step, x, times)


def ddim_step(prediction: Prediction, s: Level, t: Level, eta: float = 0.0) -> Gaussian:
    """``alpha_s x_0 + sqrt(sigma_s^2 - std^2) eps``, and the variance ``std^2`` of the noise to be added.

    Song et al. (2020), equation 12; ``std`` is ``eta`` times that of the posterior (equation 16). With 0
    nothing is random; with 1 it is :func:`ancestral_step` with the small variance.

    Raises:
        ValueError: for ``eta`` outside [0, 1].
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must lie in [0, 1]; got {eta}")
    x0, eps = prediction
    variance = eta**2 * posterior_variance(s, t) if eta > 0 else torch.zeros_like(s.sigma)
    rest = (s.sigma.square() - variance).clamp(min=0).sqrt()
    return Gaussian(like(s.alpha, x0) * x0 + like(rest, eps) * eps, variance)


def ddim(
    model: Model,
    x: Batch,
    times: Float[Tensor, " times"],
    schedule: Schedule,
    rng: torch.Generator | None = None,
    *,
    kind: Kind = "eps",
    eta: float = 0.0,
    clip: float | None = None,
) -> Iterator[State]:
    """DDIM (Song et al. 2020): with ``eta = 0`` the image is a function of the noise.

    Raises:
        ValueError: for ``eta`` above 0 without ``rng``.
    """
    if eta > 0 and rng is None:
        raise ValueError(f"rng must be given where eta is above 0; got None and eta {eta}")

    def step(x: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        prediction = predict(model, x, t, schedule, kind, clip)
        mean, variance = ddim_step(prediction, schedule(s), schedule(t), eta)
        if rng is not None and eta > 0:
            mean = mean + like(variance.sqrt(), mean) * noise_like(mean, rng)
        return mean, prediction.x0

    return walk(step, x, times)


def ddim_invert(
    model: Model,
    x: Batch,
    times: Float[Tensor, " times"],
    schedule: Schedule,
    *,
    kind: Kind = "eps",
) -> Iterator[State]:
    """From images to the noise that :func:`ddim` would make them of; ``times`` rise.

    Each step takes the noise where it begins for that along the way, so the noise found is exact only for
    short steps. The first begins at data, where models are not trained: there the model is asked as if at the
    end of the step.
    """

    def step(x: Tensor, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        here, there = schedule(s), schedule(t)
        eps = predict(model, x, s if here.sigma > 0 else t, schedule, kind).eps
        x0 = x0_from_eps(eps, x, here)
        return ddim_step(Prediction(x0, eps), there, here).mean, x0

    return walk(step, x, times, rising=True)
