"""DPM-Solver++(2M): second order for the price of one call of the model a step.

Chapter: samplers

Papers:

- Lu et al., *DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models*, 2022,
  arXiv:2211.01095 (algorithm 2)
- Lu et al., *DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps*,
  2022, arXiv:2206.00927 (the change of variable)

With ``lambda = log(alpha / sigma)`` as time, the linear part of the probability flow is solved exactly, and
only the image remains to be integrated. It changes slowly, and the last two predictions tell where it goes.
"""

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor

from genimg_ref.diffusion.forward import like
from genimg_ref.diffusion.predict import Batch, Kind, Model, predict
from genimg_ref.diffusion.sample import State, walk
from genimg_ref.diffusion.schedule import Level, Schedule, log_snr

__all__ = ["dpm_solver", "extrapolated", "first_order_step"]


def first_order_step(x: Batch, x0: Batch, s: Level, t: Level) -> Batch:
    """``(sigma_s / sigma_t) x - alpha_s (exp(-h) - 1) x_0`` with ``h = lambda_s - lambda_t``.

    The exact walk from ``t`` to ``s`` if the image ``x0`` stays the same: DDIM's step without noise.
    """
    kept = s.sigma / t.sigma
    return like(kept, x) * x + like(s.alpha - kept * t.alpha, x0) * x0  # exp(-h) = kept alpha_t / alpha_s


def extrapolated(x0: Batch, before: Batch, r: Float[Tensor, ""]) -> Batch:
    """``(1 + 1 / (2 r)) x_0 - 1 / (2 r) x_0 before``: the image half-way through the step to come.

    ``r`` is the length in ``lambda`` of the last step, over that of the one to come (Lu et al., algorithm 2).
    """
    return x0 + like(1 / (2 * r), x0) * (x0 - before)


def dpm_solver(
    model: Model,
    x: Batch,
    times: Float[Tensor, " times"],
    schedule: Schedule,
    *,
    kind: Kind = "eps",
    clip: float | None = None,
) -> Iterator[State]:
    """Lu et al. (2022), algorithm 2, DPM-Solver++(2M); ``x0`` of a state is the model's, not extrapolated.

    The first step has no predecessor, and a step to data, infinitely long in ``lambda``, cannot use one: both
    are of first order.
    """
    before: list[tuple[Tensor, Level]] = []

    def step(x: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        here, there = schedule(t), schedule(s)
        x0 = found = predict(model, x, t, schedule, kind, clip).x0
        if before and there.sigma > 0:
            past, level = before.pop()
            r = (log_snr(here) - log_snr(level)) / (log_snr(there) - log_snr(here))
            x0 = extrapolated(x0, past, r)
        before[:] = [(found, here)]
        return first_order_step(x, x0, there, here), found

    return walk(step, x, times)
