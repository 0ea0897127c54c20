"""What a diffusion or flow model is trained on: a weighted squared error, whatever is predicted.

Chapter: ddpm, samplers

Papers:

- Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, 2020, arXiv:2006.11239 (equation 14)
- Salimans and Ho, *Progressive Distillation for Fast Sampling of Diffusion Models*, 2022, arXiv:2202.00512
  (the same error in ``x_0`` and in ``v``)
- Hang et al., *Efficient Diffusion Training via Min-SNR Weighting Strategy*, 2023, arXiv:2303.09556
- Lipman et al., *Flow Matching for Generative Modeling*, 2022, arXiv:2210.02747
- Esser et al., *Scaling Rectified Flow Transformers for High-Resolution Image Synthesis*, 2024,
  arXiv:2403.03206 (logit-normal times)

Losses are of each image: the mean over its pixels, so that numbers of different sizes can be compared. Take
the mean over the batch to train.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from genimg_ref.diffusion.forward import diffuse
from genimg_ref.diffusion.predict import Batch, Kind, Model, Prediction, call, express, require_kind
from genimg_ref.diffusion.schedule import Level, Schedule, snr, straight

__all__ = [
    "flow_matching_loss",
    "logit_normal_times",
    "min_snr_weight",
    "simple_loss",
    "squared_error",
    "step_times",
    "uniform_times",
    "x0_slope",
]


def squared_error(output: Batch, target: Batch) -> Float[Tensor, " batch"]:
    """The mean over the pixels of each image of ``(output - target)^2``.

    Raises:
        ValueError: when shapes differ: broadcasting would compare each image with all.
    """
    if output.shape != target.shape:
        raise ValueError(
            f"output must have the shape of target {tuple(target.shape)}; got {tuple(output.shape)}"
        )
    return (output - target).square().flatten(1).mean(dim=1)


def simple_loss(
    model: Model,
    x0: Batch,
    t: Float[Tensor, " batch"],
    noise: Batch,
    schedule: Schedule,
    kind: Kind = "eps",
    condition: Shaped[Tensor, "batch ..."] | None = None,
) -> Float[Tensor, " batch"]:
    """``|eps - model(alpha x_0 + sigma eps, t)|^2`` of each image (Ho et al. 2020, equation 14).

    For another ``kind`` the same with the target of that kind.
    """
    level = schedule(t)
    output = call(model, diffuse(x0, noise, level), t, condition)
    return squared_error(output, express(Prediction(x0, noise), level, kind))


def flow_matching_loss(
    model: Model,
    x0: Batch,
    t: Float[Tensor, " batch"],
    noise: Batch,
    condition: Shaped[Tensor, "batch ..."] | None = None,
) -> Float[Tensor, " batch"]:
    """``|model((1 - t) x_0 + t eps, t) - (eps - x_0)|^2`` of each image.

    Lipman et al. (2022), the conditional objective on the straight path: :func:`simple_loss` of a velocity.
    """
    return simple_loss(model, x0, t, noise, straight, "velocity", condition)


def x0_slope(level: Level, kind: Kind) -> Float[Tensor, "*times"]:
    """How far the image moves when a prediction of this ``kind`` moves by one; ``x`` stays.

    Its square turns a squared error in the image into one in the prediction: ``1 / SNR`` for the noise.

    Raises:
        ValueError: for another kind.
    """
    require_kind(kind)
    alpha, sigma = level
    if kind == "eps":
        return sigma / alpha
    if kind == "x0":
        return torch.ones_like(alpha)
    if kind == "v":
        return sigma / (alpha.square() + sigma.square())
    if kind == "score":
        return sigma.square() / alpha
    return sigma / (alpha + sigma)


def min_snr_weight(level: Level, kind: Kind = "eps", gamma: float = 5.0) -> Float[Tensor, "*times"]:
    """``min(SNR, gamma)`` as the weight of the error in the image, given for the error of this ``kind``.

    Hang et al. (2023), section 3.4: ``min(SNR, gamma) / SNR`` for the noise, and ``min(SNR, gamma) / (SNR +
    1)`` for ``v`` where variance is preserved. Times with little noise no longer crowd out the others.

    Raises:
        ValueError: unless ``gamma`` is above zero.
    """
    if not gamma > 0:
        raise ValueError(f"gamma must be above zero; got {gamma}")
    if kind == "eps":  # SNR cancels, which keeps the weight 1 where nothing is left of the image
        return (gamma / snr(level)).clamp(max=1.0)
    return snr(level).clamp(max=gamma) * x0_slope(level, kind).square()


def step_times(
    count: int, steps: int, rng: torch.Generator, device: torch.device | str | None = None
) -> Float[Tensor, " {count}"]:
    """Times ``k / T`` of steps drawn evenly from ``1 ... T``, on the device of ``rng`` or another."""
    k = torch.randint(1, steps + 1, (count,), generator=rng, device=rng.device)
    return (k / steps).to(device or rng.device)


def uniform_times(
    count: int, rng: torch.Generator, device: torch.device | str | None = None
) -> Float[Tensor, " {count}"]:
    """Times drawn evenly from [0, 1)."""
    return torch.rand(count, generator=rng, device=rng.device).to(device or rng.device)


def logit_normal_times(
    count: int,
    rng: torch.Generator,
    device: torch.device | str | None = None,
    mean: float = 0.0,
    std: float = 1.0,
) -> Float[Tensor, " {count}"]:
    """``sigmoid`` of a normal variable: most times lie midway (Esser et al. 2024, section 3.1)."""
    draws = torch.randn(count, generator=rng, device=rng.device).to(device or rng.device)
    return (mean + std * draws).sigmoid()
