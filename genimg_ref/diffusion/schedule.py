"""Noise schedules: how much of the image and how much noise there is at each time.

Chapter: ddpm

Papers:

- Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, 2020, arXiv:2006.11239 (linear betas,
  section 4)
- Nichol and Dhariwal, *Improved Denoising Diffusion Probabilistic Models*, 2021, arXiv:2102.09672 (cosine,
  equation 17)
- Song et al., *Score-Based Generative Modeling through Stochastic Differential Equations*, 2020,
  arXiv:2011.13456 (variance preserving and exploding in continuous time)
- Kingma et al., *Variational Diffusion Models*, 2021, arXiv:2107.00630 (alpha, sigma and the signal-to-noise
  ratio)
- Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*, 2022, arXiv:2206.00364
  (its noise levels, equation 5)
- Lipman et al., *Flow Matching for Generative Modeling*, 2022, arXiv:2210.02747; Liu, Gong and Liu, *Flow
  Straight and Fast*, 2022, arXiv:2209.03003 (the straight path)
- Esser et al., *Scaling Rectified Flow Transformers for High-Resolution Image Synthesis*, 2024,
  arXiv:2403.03206 (shifted times, equation 23)
- Lin et al., *Common Diffusion Noise Schedules and Sample Steps are Flawed*, 2023, arXiv:2305.08891

A schedule is any function from times to a :class:`Level`: ``x_t = alpha x_0 + sigma eps``. The functions here
take a tensor of times and follow its dtype and device. Ho's ``alpha_t`` is ``1 - beta_t`` and is not used;
his ``alpha_bar`` is the square of ``alpha`` here.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = [
    "Discrete",
    "Level",
    "Schedule",
    "cosine_betas",
    "exploding",
    "karras_sigmas",
    "linear_betas",
    "log_snr",
    "shifted",
    "snr",
    "straight",
    "vp_cosine",
    "vp_linear",
    "zero_terminal_snr",
]


class Level(NamedTuple):
    """How much of the image, ``alpha``, and of unit noise, ``sigma``, there is at each of some times."""

    alpha: Float[Tensor, "*times"]
    sigma: Float[Tensor, "*times"]


Schedule = Callable[[Tensor], Level]


def snr(level: Level) -> Float[Tensor, "*times"]:
    """Signal-to-noise ratio ``alpha^2 / sigma^2`` (Kingma et al. 2021); infinite where there is no noise."""
    return (level.alpha / level.sigma).square()


def log_snr(level: Level) -> Float[Tensor, "*times"]:
    """``log(alpha^2 / sigma^2)``."""
    return 2 * (level.alpha.log() - level.sigma.log())


def linear_betas(steps: int, first: float = 1e-4, last: float = 0.02) -> Float[Tensor, " {steps}"]:
    """``beta_1 ... beta_T`` on a straight line, in float64 (Ho et al. 2020, section 4, where ``T`` is 1000).

    With the same ends and fewer steps some of the image is left at ``T``.

    Raises:
        ValueError: for fewer than one step, or betas outside (0, 1).
    """
    _require_steps(steps)
    for name, value in (("first", first), ("last", last)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie in (0, 1); got {value}")
    return torch.linspace(first, last, steps, dtype=torch.float64)


def cosine_betas(steps: int, offset: float = 0.008, largest: float = 0.999) -> Float[Tensor, " {steps}"]:
    """``beta_1 ... beta_T`` whose ``alpha_bar`` follows a squared cosine, in float64.

    Nichol and Dhariwal (2021), equation 17: ``cos^2((t/T + s) / (1 + s) * pi/2)``, divided by its value at 0.
    Betas are held below ``largest``, or the last would be 1.

    Raises:
        ValueError: for fewer than one step.
    """
    _require_steps(steps)
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    f = ((t + offset) / (1 + offset) * (math.pi / 2)).cos().square()
    return (1 - f[1:] / f[:-1]).clamp(max=largest)


def zero_terminal_snr(betas: Float[Tensor, " steps"]) -> Float[Tensor, " steps"]:
    """The same schedule, moved and stretched so that nothing of the image is left at the last step.

    Lin et al. (2023), section 3.1: ``sqrt(alpha_bar)`` is shifted to 0 at ``T`` and scaled to keep its first
    value. From pure noise nobody can tell the noise, so train such a model to predict ``v``.
    """
    alpha = (1 - betas).cumprod(0).sqrt()
    alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
    alpha_bar = alpha.square()
    return 1 - alpha_bar / torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])


class Discrete:
    """The schedule of ``T`` steps that ``betas`` make, with step 0 for data.

    Called with times ``t = k / T`` it gives the level of step ``k``; times between two steps take the nearest
    one's.

    Attributes:
        steps: their number ``T``.
        beta: ``(T + 1,)`` float64, variances of the noise that each step adds; ``beta[0]`` is 0.
        alpha_bar: ``(T + 1,)`` float64, ``prod (1 - beta)``; ``alpha_bar[0]`` is 1.

    Raises:
        ValueError: for betas outside (0, 1], or times outside [0, 1].
    """

    def __init__(self, betas: Float[Tensor, " steps"]) -> None:
        if betas.ndim != 1 or len(betas) == 0 or not bool(((betas > 0) & (betas <= 1)).all()):
            raise ValueError(f"betas must be a row of numbers in (0, 1]; got {betas}")
        self.steps = len(betas)
        betas = betas.detach().double().cpu()
        self.beta: Float[Tensor, " steps+1"] = torch.cat([betas.new_zeros(1), betas])
        self.alpha_bar: Float[Tensor, " steps+1"] = (1 - self.beta).cumprod(0)

    def step_of(self, t: Float[Tensor, "*times"]) -> Int[Tensor, "*times"]:
        """The number ``k`` of the step at time ``t = k / T``, on the CPU."""
        k = (t.detach().cpu().double() * self.steps).round().long()
        if not bool(((k >= 0) & (k <= self.steps)).all()):
            raise ValueError(f"t must lie in [0, 1], step k of T as k / T; got {t.min():g} to {t.max():g}")
        return k

    def times(self, count: int | None = None) -> Float[Tensor, " times"]:
        """``count`` steps down from time 1 to 0, as even as whole steps can be; all ``T`` if not given."""
        count = self.steps if count is None else count
        if not 1 <= count <= self.steps:
            raise ValueError(f"count must lie in 1 ... {self.steps}; got {count}")
        return torch.linspace(self.steps, 0, count + 1, dtype=torch.float64).round() / self.steps

    def __call__(self, t: Float[Tensor, "*times"]) -> Level:
        alpha_bar = self.alpha_bar[self.step_of(t)]
        return Level(alpha_bar.sqrt().to(t), (1 - alpha_bar).sqrt().to(t))


def vp_linear(t: Float[Tensor, "*times"], first: float = 0.1, last: float = 20.0) -> Level:
    """Variance preserving with a rate ``beta(t)`` that rises from ``first`` to ``last`` on [0, 1].

    Song et al. (2020), appendix C: the limit of :func:`linear_betas` with many steps.
    ``log alpha = -t^2 (last - first) / 4 - t first / 2``.
    """
    log_alpha = -(t.square() * (last - first) / 4 + t * first / 2)
    return Level(log_alpha.exp(), (-(2 * log_alpha).expm1()).sqrt())


def vp_cosine(t: Float[Tensor, "*times"]) -> Level:
    """``alpha = cos(pi t / 2)``, ``sigma = sin(pi t / 2)``: a quarter turn from data to noise on [0, 1]."""
    return Level((t * (math.pi / 2)).cos(), (t * (math.pi / 2)).sin())


def straight(t: Float[Tensor, "*times"]) -> Level:
    """``alpha = 1 - t``, ``sigma = t``: the path of flow matching, on [0, 1]."""
    return Level(1 - t, t)


def shifted(t: Float[Tensor, "*times"], factor: float) -> Float[Tensor, "*times"]:
    """``factor t / (1 + (factor - 1) t)``: times in [0, 1], moved towards noise for a ``factor`` above 1.

    On the straight path ``sigma / alpha`` is multiplied by ``factor``. Esser et al. (2024), equation 23,
    where it is the root of the quotient of two numbers of pixels: a large image shows through more noise.

    Raises:
        ValueError: unless ``factor`` is above zero.
    """
    if not factor > 0:
        raise ValueError(f"factor must be above zero; got {factor}")
    return factor * t / (1 + (factor - 1) * t)


def exploding(t: Float[Tensor, "*times"]) -> Level:
    """``alpha = 1``, ``sigma = t``: the image stays, and time is the standard deviation of the noise.

    The choice of Karras et al. (2022), under which the probability flow is nearly straight.
    """
    return Level(torch.ones_like(t), t)


def karras_sigmas(
    steps: int, low: float = 0.002, high: float = 80.0, rho: float = 7.0
) -> Float[Tensor, " {steps}+1"]:
    """``steps`` standard deviations from ``high`` down to ``low``, then 0, in float64.

    Karras et al. (2022), equation 5: evenly spaced in ``sigma^(1 / rho)``, so that steps are short near data.

    Raises:
        ValueError: for fewer than two steps, or unless ``0 < low < high`` and ``rho > 0``.
    """
    if steps < 2:
        raise ValueError(f"steps must be 2 or more; got {steps}")
    if not 0 < low < high or not rho > 0:
        raise ValueError(f"expected 0 < low < high and rho > 0; got low {low}, high {high}, rho {rho}")
    ramp = torch.linspace(high ** (1 / rho), low ** (1 / rho), steps, dtype=torch.float64)
    return torch.cat([ramp**rho, ramp.new_zeros(1)])


def _require_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"steps must be 1 or more; got {steps}")
