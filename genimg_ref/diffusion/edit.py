"""Editing with a model that was trained for nothing of the kind: SDEdit, and filling in what is missing.

Chapter: guidance

Papers:

- Meng et al., *SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations*, 2021,
  arXiv:2108.01073
- Lugmayr et al., *RePaint: Inpainting using Denoising Diffusion Probabilistic Models*, 2022,
  arXiv:2201.09865 (algorithm 1)
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from genimg_ref.diffusion.bound import Variance
from genimg_ref.diffusion.forward import diffuse, draw, marginal, noise_like, transition
from genimg_ref.diffusion.predict import Batch, Kind, Model, predict
from genimg_ref.diffusion.sample import State, ancestral_step, walk
from genimg_ref.diffusion.schedule import Schedule

__all__ = ["inpaint", "merge", "sdedit", "times_below"]


def times_below(times: Float[Tensor, " times"], strength: float) -> Float[Tensor, " rest"]:
    """The falling times from the largest that is not above ``strength`` on.

    Raises:
        ValueError: when fewer than two are left.
    """
    rest = times[times <= strength]
    if len(rest) < 2:
        raise ValueError(
            f"strength must leave 2 or more of the times, which begin {times[:3].tolist()}; got {strength}"
        )
    return rest


def sdedit(
    sampler: Callable[[Tensor, Tensor], Iterator[State]],
    image: Batch,
    times: Float[Tensor, " times"],
    schedule: Schedule,
    rng: torch.Generator,
    strength: float = 0.5,
) -> Iterator[State]:
    """Noise an image up to time ``strength`` and sample from there (Meng et al. 2021).

    The coarse shapes survive, since noise hides small things first; the more noise, the more is made anew.

    Args:
        sampler: of ``(x, times)``, for instance ``lambda x, times: ddim(model, x, times, schedule)``.
        times: those of a whole walk, from which the first ones are left out.

    Raises:
        ValueError: when ``strength`` leaves fewer than two times.
    """
    rest = times_below(times, strength)
    return sampler(diffuse(image, noise_like(image, rng), schedule(rest[0])), rest)


def merge(known: Batch, made: Batch, mask: Float[Tensor, "#batch *#shape"]) -> Batch:
    """``mask known + (1 - mask) made`` (Lugmayr et al. 2022, algorithm 1)."""
    return mask * known + (1 - mask) * made


def inpaint(
    model: Model,
    image: Batch,
    mask: Float[Tensor, "#batch *#shape"],
    x: Batch,
    times: Float[Tensor, " times"],
    schedule: Schedule,
    rng: torch.Generator,
    *,
    resample: int = 10,
    kind: Kind = "eps",
    variance: Variance = "small",
    clip: float | None = None,
) -> Iterator[State]:
    """Fill in an image where ``mask`` is 0; where it is 1 the image is known (Lugmayr et al. 2022).

    After each step the known part is put in, with the noise of that time. What the model made beside it does
    not fit yet, so the step is taken ``resample`` times: noise is added again and the model sees both parts.
    With ``resample`` 1 each step is taken once. Jumps are one step long.

    Raises:
        ValueError: for ``resample`` below 1, or a mask outside [0, 1].
    """
    if resample < 1:
        raise ValueError(f"resample must be 1 or more; got {resample}")
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        raise ValueError(f"mask must lie in [0, 1], 1 where known; got {mask.min():g} to {mask.max():g}")

    def step(x: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        here, there = schedule(t), schedule(s)
        for repeat in range(resample):
            x0 = predict(model, x, t, schedule, kind, clip).x0
            made = draw(ancestral_step(x, x0, there, here, variance), rng)
            after = merge(draw(marginal(image, there), rng), made, mask)
            if not there.sigma > 0:
                break  # at data both parts are final
            if repeat < resample - 1:
                x = draw(transition(after, there, here), rng)
        return after, x0

    return walk(step, x, times)
