"""The variational bound of a diffusion model, term by term, in nats for each image.

Chapter: ddpm

Papers:

- Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, 2020, arXiv:2006.11239 (equations 5, 8 and
  13)
- Nichol and Dhariwal, *Improved Denoising Diffusion Probabilistic Models*, 2021, arXiv:2102.09672 (the
  variance of the last step)

``-log p(x_0) <= L_T + sum over t > 1 of L_(t-1) + L_0``: the noise at the end, one divergence for each step
back, and the grey levels at the last.
"""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from genimg_ref.diffusion.forward import Gaussian, diffuse, marginal, noise_like, posterior
from genimg_ref.diffusion.predict import Batch, Kind, Model, predict
from genimg_ref.diffusion.schedule import Discrete, Level
from genimg_ref.vae.elbo import discretised_gaussian_log_likelihood

__all__ = ["Bound", "Variance", "bound", "gaussian_kl", "last_term", "prior_term", "step_back", "step_term"]

Variance = Literal["small", "large"]


def gaussian_kl(p: Gaussian, q: Gaussian) -> Float[Tensor, " batch"]:
    """KL(p || q) of each image in nats, both round Gaussians.

    ``(n (v_p / v_q - 1 - log(v_p / v_q)) + |difference of means|^2 / v_q) / 2`` with ``n`` pixels.
    """
    pixels = p.mean[0].numel()
    squares = (p.mean - q.mean).square().flatten(1).sum(dim=1)
    log_ratio = p.variance.log() - q.variance.log()
    spread = pixels * (log_ratio.expm1() - log_ratio)
    return 0.5 * (spread.to(squares) + squares / q.variance.to(squares))


def prior_term(x0: Batch, schedule: Discrete) -> Float[Tensor, " batch"]:
    """``L_T = KL(q(x_T | x_0) || N(0, I))``: nothing in it is learned (Ho et al. 2020, equation 5)."""
    end = marginal(x0, schedule(torch.ones((), dtype=torch.float64)))
    return gaussian_kl(end, Gaussian(torch.zeros_like(x0), torch.ones_like(end.variance)))


def step_back(x: Batch, x0: Batch, schedule: Discrete, step: int, variance: Variance = "small") -> Gaussian:
    """The model's ``p(x_(t-1) | x_t)`` at ``step`` t, given its idea ``x0`` of the image.

    The mean is that of the posterior; the variance is the posterior's (``"small"``, best if there is only one
    image) or ``beta_t`` (``"large"``, best if images are N(0, I)): Ho et al. (2020), section 3.2. The
    posterior's variance at step 1 is 0, so there ``"small"`` takes that of step 2, as Nichol and Dhariwal do
    in their code.

    Raises:
        ValueError: for a step outside ``1 ... T``, or another variance.
    """
    if not 1 <= step <= schedule.steps:
        raise ValueError(f"step must lie in 1 ... {schedule.steps}; got {step}")
    if variance not in ("small", "large"):
        raise ValueError(f"variance must be 'small' or 'large'; got {variance!r}")
    back = posterior(x, x0, *_neighbours(schedule, step))
    if variance == "large" or schedule.steps == 1:
        return back._replace(variance=schedule.beta[step])
    if step == 1:
        return back._replace(variance=posterior(x, x0, *_neighbours(schedule, 2)).variance)
    return back


def step_term(
    model: Model,
    x0: Batch,
    noise: Batch,
    schedule: Discrete,
    step: int,
    kind: Kind = "eps",
    variance: Variance = "small",
    clip: float | None = None,
) -> Float[Tensor, " batch"]:
    """``L_(t-1) = KL(q(x_(t-1) | x_t, x_0) || p(x_(t-1) | x_t))`` for ``step`` t above 1, at one ``x_t``.

    Ho et al. (2020), equation 8, with its constant ``C``.

    Raises:
        ValueError: for a step outside ``2 ... T``.
    """
    if not 2 <= step <= schedule.steps:
        raise ValueError(f"step must lie in 2 ... {schedule.steps}; got {step}")
    s, t = _neighbours(schedule, step)
    x = diffuse(x0, noise, t)
    guess = predict(model, x, _time(schedule, step), schedule, kind, clip).x0
    return gaussian_kl(posterior(x, x0, s, t), step_back(x, guess, schedule, step, variance))


def last_term(
    model: Model,
    x0: Batch,
    noise: Batch,
    schedule: Discrete,
    kind: Kind = "eps",
    variance: Variance = "small",
    clip: float | None = None,
) -> Float[Tensor, " batch"]:
    """``L_0 = -log p(x_0 | x_1)`` of the 256 grey levels, at one ``x_1`` (Ho et al. 2020, equation 13)."""
    x = diffuse(x0, noise, schedule(_time(schedule, 1)))
    guess = predict(model, x, _time(schedule, 1), schedule, kind, clip).x0
    mean, spread = step_back(x, guess, schedule, 1, variance)
    return -discretised_gaussian_log_likelihood(mean, x0, math.sqrt(spread.item()))


class Bound(NamedTuple):
    """The terms in nats of each image; their sum is at least ``-log p(x_0)`` on average over the noise.

    ``steps`` has a row for each step ``2 ... T``.
    """

    prior: Float[Tensor, " batch"]
    steps: Float[Tensor, "steps-1 batch"]
    last: Float[Tensor, " batch"]

    @property
    def total(self) -> Float[Tensor, " batch"]:
        """``L_T + sum L_(t-1) + L_0``."""
        return self.prior + self.steps.sum(dim=0) + self.last


@torch.no_grad()
def bound(
    model: Model,
    x0: Batch,
    schedule: Discrete,
    rng: torch.Generator,
    kind: Kind = "eps",
    variance: Variance = "small",
    clip: float | None = None,
) -> Bound:
    """All terms of Ho et al. (2020), equation 5, with a draw of noise for each: ``T`` calls of the model."""
    steps = [
        step_term(model, x0, noise_like(x0, rng), schedule, step, kind, variance, clip)
        for step in range(2, schedule.steps + 1)
    ]
    last = last_term(model, x0, noise_like(x0, rng), schedule, kind, variance, clip)
    return Bound(prior_term(x0, schedule), torch.stack(steps) if steps else last.new_zeros(0, len(x0)), last)


def _time(schedule: Discrete, step: int) -> Tensor:
    return torch.tensor(step / schedule.steps, dtype=torch.float64)


def _neighbours(schedule: Discrete, step: int) -> tuple[Level, Level]:
    return schedule(_time(schedule, step - 1)), schedule(_time(schedule, step))
