"""What a network predicts, and how one prediction becomes another.

Chapter: ddpm

Papers:

- Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, 2020, arXiv:2006.11239 (the noise; equation
  15 leads from it to the image)
- Salimans and Ho, *Progressive Distillation for Fast Sampling of Diffusion Models*, 2022, arXiv:2202.00512
  (``v``)
- Robbins, *An Empirical Bayes Approach to Statistics*, 1956; Efron, *Tweedie's Formula and Selection Bias*,
  2011 (from the score to the mean of the clean image)
- Song et al., *Score-Based Generative Modeling through Stochastic Differential Equations*, 2020,
  arXiv:2011.13456 (the score; the probability flow, section 4.3)
- Lipman et al., *Flow Matching for Generative Modeling*, 2022, arXiv:2210.02747 (the velocity)

All follow from two equations: ``x = alpha x_0 + sigma eps`` and the definition of what is predicted. Where
``alpha`` is 0 no image follows from a prediction of the noise, and where ``sigma`` is 0 no noise follows from
a prediction of the image.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

from jaxtyping import Float, Shaped
from torch import Tensor

from genimg_ref.diffusion.forward import like
from genimg_ref.diffusion.schedule import Level, Schedule

__all__ = [
    "Batch",
    "Kind",
    "Model",
    "Prediction",
    "call",
    "eps_from_score",
    "eps_from_v",
    "eps_from_velocity",
    "eps_from_x0",
    "express",
    "interpret",
    "predict",
    "require_kind",
    "score_from_eps",
    "v_from_both",
    "velocity_from_both",
    "x0_from_eps",
    "x0_from_score",
    "x0_from_v",
    "x0_from_velocity",
]

Batch = Float[Tensor, "batch *shape"]  # images (batch, channels, height, width), or vectors (batch, dim)
Kind = Literal["eps", "x0", "v", "score", "velocity"]
Model = Callable[..., Tensor]  # the package's docstring says what it takes and gives


class Prediction(NamedTuple):
    """What a model thinks of a noisy image: the clean image in it and the noise in it."""

    x0: Batch
    eps: Batch


def x0_from_eps(eps: Batch, x: Batch, level: Level) -> Batch:
    """``(x - sigma eps) / alpha`` (Ho et al. 2020, equation 15)."""
    return (x - like(level.sigma, x) * eps) / like(level.alpha, x)


def eps_from_x0(x0: Batch, x: Batch, level: Level) -> Batch:
    """``(x - alpha x_0) / sigma``."""
    return (x - like(level.alpha, x) * x0) / like(level.sigma, x)


def v_from_both(x0: Batch, eps: Batch, level: Level) -> Batch:
    """``v = alpha eps - sigma x_0`` (Salimans and Ho 2022, section 4)."""
    return like(level.alpha, eps) * eps - like(level.sigma, x0) * x0


def x0_from_v(v: Batch, x: Batch, level: Level) -> Batch:
    """``(alpha x - sigma v) / (alpha^2 + sigma^2)``, where the divisor is 1 if variance is preserved."""
    size = level.alpha.square() + level.sigma.square()
    return like(level.alpha / size, x) * x - like(level.sigma / size, v) * v


def eps_from_v(v: Batch, x: Batch, level: Level) -> Batch:
    """``(sigma x + alpha v) / (alpha^2 + sigma^2)``, where the divisor is 1 if variance is preserved."""
    size = level.alpha.square() + level.sigma.square()
    return like(level.sigma / size, x) * x + like(level.alpha / size, v) * v


def score_from_eps(eps: Batch, level: Level) -> Batch:
    """``-eps / sigma``: where the density of noisy images rises (Song et al. 2020)."""
    return -eps / like(level.sigma, eps)


def eps_from_score(score: Batch, level: Level) -> Batch:
    """``-sigma score``."""
    return -like(level.sigma, score) * score


def x0_from_score(score: Batch, x: Batch, level: Level) -> Batch:
    """``E[x_0 | x_t] = (x + sigma^2 score) / alpha``: Tweedie's formula (Efron 2011)."""
    return (x + like(level.sigma.square(), x) * score) / like(level.alpha, x)


def velocity_from_both(x0: Batch, eps: Batch) -> Batch:
    """``eps - x_0``, the direction of the straight path from data at ``t = 0`` to noise at 1.

    Lipman et al. (2022) run time the other way, which turns the sign.
    """
    return eps - x0


def x0_from_velocity(velocity: Batch, x: Batch, level: Level) -> Batch:
    """``(x - sigma velocity) / (alpha + sigma)``, where the divisor is 1 on the straight path."""
    return (x - like(level.sigma, x) * velocity) / like(level.alpha + level.sigma, x)


def eps_from_velocity(velocity: Batch, x: Batch, level: Level) -> Batch:
    """``(x + alpha velocity) / (alpha + sigma)``, where the divisor is 1 on the straight path."""
    return (x + like(level.alpha, x) * velocity) / like(level.alpha + level.sigma, x)


def interpret(output: Batch, x: Batch, level: Level, kind: Kind) -> Prediction:
    """The image and the noise that a model means whose ``output`` for ``x`` is of this ``kind``.

    Raises:
        ValueError: for another kind.
    """
    require_kind(kind)
    if kind == "eps":
        return Prediction(x0_from_eps(output, x, level), output)
    if kind == "x0":
        return Prediction(output, eps_from_x0(output, x, level))
    if kind == "v":
        return Prediction(x0_from_v(output, x, level), eps_from_v(output, x, level))
    if kind == "score":
        return Prediction(x0_from_score(output, x, level), eps_from_score(output, level))
    return Prediction(x0_from_velocity(output, x, level), eps_from_velocity(output, x, level))


def express(prediction: Prediction, level: Level, kind: Kind) -> Batch:
    """The other way: what a model of this ``kind`` would have said. Of true ``(x_0, eps)``, its target.

    Raises:
        ValueError: for another kind.
    """
    require_kind(kind)
    x0, eps = prediction
    if kind == "eps":
        return eps
    if kind == "x0":
        return x0
    if kind == "v":
        return v_from_both(x0, eps, level)
    if kind == "score":
        return score_from_eps(eps, level)
    return velocity_from_both(x0, eps)


def call(
    model: Model, x: Batch, t: Float[Tensor, "*batch"], condition: Shaped[Tensor, "batch ..."] | None = None
) -> Batch:
    """``model(x, t, condition)`` with a time for each row, or ``model(x, t)`` where there is no condition.

    ``t`` is one time for all rows, or one for each.

    Raises:
        ValueError: when the answer has not the shape of ``x``.
    """
    times = t.to(x).expand(len(x))
    output = model(x, times) if condition is None else model(x, times, condition)
    if output.shape != x.shape:
        raise ValueError(f"model must answer with the shape of x {tuple(x.shape)}; got {tuple(output.shape)}")
    return output


def predict(
    model: Model,
    x: Batch,
    t: Float[Tensor, "*batch"],
    schedule: Schedule,
    kind: Kind = "eps",
    clip: float | None = None,
) -> Prediction:
    """Ask the model about ``x`` at time ``t``: what every sampler begins a step with.

    With ``clip`` the image is held within ``[-clip, clip]`` (give 1 for images) and the noise is what then
    remains of ``x``.
    """
    level = schedule(t)
    found = interpret(call(model, x, t), x, level, kind)
    if clip is None:
        return found
    x0 = found.x0.clamp(-clip, clip)
    return Prediction(x0, eps_from_x0(x0, x, level))


def require_kind(kind: str) -> None:
    """Raise ``ValueError`` unless it is one of :data:`Kind`."""
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}; got {kind!r}")
