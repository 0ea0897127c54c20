"""How a diffusion or flow model is trained: one step, and the loop around it.

Chapter: ddpm, guidance

Papers:

- Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, 2020, arXiv:2006.11239 (algorithm 1)
- Ho and Salimans, *Classifier-Free Diffusion Guidance*, 2022, arXiv:2207.12598 (algorithm 1, where conditions
  are dropped)
- Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*, 2022, arXiv:2206.00364
- Lipman et al., *Flow Matching for Generative Modeling*, 2022, arXiv:2210.02747

An objective draws times and noise for a batch and gives the loss of each image. What it is made of is in
:mod:`genimg_ref.diffusion.loss` and :mod:`genimg_ref.diffusion.edm`.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.optim import Optimizer

from genimg_ref.diffusion.edm import edm_loss, log_normal_sigmas
from genimg_ref.diffusion.forward import noise_like
from genimg_ref.diffusion.loss import flow_matching_loss, simple_loss, step_times, uniform_times
from genimg_ref.diffusion.predict import Batch, Kind, Model
from genimg_ref.diffusion.schedule import Discrete, Level
from genimg_ref.train.ema import EMA
from genimg_ref.train.loop import run

__all__ = [
    "DiffusionStep",
    "Objective",
    "ddpm_objective",
    "drop_condition",
    "edm_objective",
    "flow_objective",
    "train",
    "update",
]

# of (model, x0, rng, condition): the loss of each image, (batch,)
Objective = Callable[[Model, Tensor, torch.Generator, Tensor | None], Tensor]


def ddpm_objective(
    schedule: Discrete, kind: Kind = "eps", weight: Callable[[Level], Tensor] | None = None
) -> Objective:
    """Steps drawn evenly from ``1 ... T`` and the squared error of a prediction of this ``kind``.

    ``weight`` gives the weight of each image from its level: for instance ``lambda level:
    min_snr_weight(level, kind)``. Without it this is the simple loss of Ho et al. (2020).
    """

    def objective(model: Model, x0: Tensor, rng: torch.Generator, condition: Tensor | None = None) -> Tensor:
        t = step_times(len(x0), schedule.steps, rng, x0.device)
        loss = simple_loss(model, x0, t, noise_like(x0, rng), schedule, kind, condition)
        return loss if weight is None else weight(schedule(t)).to(loss) * loss

    return objective


def flow_objective(times: Callable[..., Tensor] = uniform_times) -> Objective:
    """Flow matching on the straight path; ``times(count, rng, device)`` draws from [0, 1]."""

    def objective(model: Model, x0: Tensor, rng: torch.Generator, condition: Tensor | None = None) -> Tensor:
        t = times(len(x0), rng, x0.device)
        return flow_matching_loss(model, x0, t, noise_like(x0, rng), condition)

    return objective


def edm_objective(sigma_data: float = 0.5, mean: float = -1.2, std: float = 1.2) -> Objective:
    """Log-normal noise levels and the weighted error of the image, for a preconditioned model."""

    def objective(model: Model, x0: Tensor, rng: torch.Generator, condition: Tensor | None = None) -> Tensor:
        sigma = log_normal_sigmas(len(x0), rng, x0.device, mean, std)
        return edm_loss(model, x0, sigma, noise_like(x0, rng), sigma_data, condition)

    return objective


def drop_condition(
    condition: Shaped[Tensor, "batch *row"],
    null: int | Shaped[Tensor, "*row"],
    probability: float,
    rng: torch.Generator,
) -> Shaped[Tensor, "batch *row"]:
    """Each row is, with this probability, replaced by ``null``, which stands for no condition.

    For class labels ``0 ... n - 1``, ``null`` is the number ``n``: the network then has ``n + 1`` classes.
    Ho and Salimans (2022), algorithm 1.

    Raises:
        ValueError: for a probability outside [0, 1].
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must lie in [0, 1]; got {probability}")
    dropped = torch.rand(len(condition), generator=rng, device=rng.device) < probability
    column = dropped.to(condition.device).view(-1, *[1] * (condition.ndim - 1))
    return torch.where(column, torch.as_tensor(null).to(condition), condition)


class DiffusionStep(NamedTuple):
    """What one step of training measured before the weights moved: the mean loss of its batch."""

    number: int
    loss: float


def update(
    model: nn.Module,
    optimiser: Optimizer,
    x0: Batch,
    rng: torch.Generator,
    *,
    objective: Objective,
    condition: Shaped[Tensor, "batch *row"] | None = None,
    drop: float = 0.0,
    null: int | Shaped[Tensor, "*row"] | None = None,
    max_norm: float | None = None,
    number: int = 1,
) -> DiffusionStep:
    """One step of algorithm 1 of Ho et al. (2020), down the ``objective`` of a batch.

    Args:
        condition: a row for each image; with probability ``drop`` it is replaced by ``null``, for
            classifier-free guidance (:func:`drop_condition`).
        max_norm: where given, longer gradients are shortened to this length.

    Raises:
        ValueError: for ``drop`` above 0 without a ``condition`` or without ``null``.
    """
    if drop > 0:
        for name, value in (("condition", condition), ("null", null)):
            if value is None:
                raise ValueError(f"{name} must be given where drop is above 0; got None and drop {drop}")
    if condition is not None and null is not None and drop > 0:
        condition = drop_condition(condition, null, drop, rng)
    loss = objective(model, x0, rng, condition).mean()
    optimiser.zero_grad()
    loss.backward()
    if max_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimiser.step()
    return DiffusionStep(number, loss.item())


def train(
    model: nn.Module,
    optimiser: Optimizer,
    images: Float[Tensor, "data *shape"],
    *,
    steps: int,
    rng: torch.Generator,
    objective: Objective,
    batch_size: int = 64,
    condition: Shaped[Tensor, "data *row"] | None = None,
    drop: float = 0.0,
    null: int | Shaped[Tensor, "*row"] | None = None,
    max_norm: float | None = None,
    prepare: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    ema: EMA | None = None,
    start: int = 0,
    progress: bool = True,
) -> Iterator[DiffusionStep]:
    """Train up to step number ``steps``, yielding after each step, when the optimiser has moved.

    Args:
        objective: what is minimised, for instance ``ddpm_objective(schedule)``.
        condition: a row for each image, such as its label.
        drop, null, max_norm: as :func:`update` takes them.
        prepare: what is done to each batch anew, for instance random mirroring.
        ema: follows the weights; samples are best drawn from it.
        start: the number of the last step that was done before.
    """
    device = next(model.parameters()).device

    def one(number: int) -> DiffusionStep:
        rows = torch.randint(len(images), (batch_size,), generator=rng, device=rng.device).to(images.device)
        batch = images[rows].to(device)
        if prepare is not None:
            batch = prepare(batch, rng)
        step = update(
            model,
            optimiser,
            batch,
            rng,
            objective=objective,
            condition=None if condition is None else condition[rows.to(condition.device)].to(device),
            drop=drop,
            null=null,
            max_norm=max_norm,
            number=number,
        )
        if ema is not None:
            ema.update(model)
        return step

    def describe(step: DiffusionStep) -> str:
        return f"loss {step.loss:.4f}"

    return run(one, steps=steps, start=start, describe=describe if progress else None)
