"""Preconditioning: a network whose inputs and targets have unit variance at every noise level, and its loss.

Chapter: samplers

Paper: Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*, 2022,
arXiv:2206.00364 (equation 7, table 1 and appendix B.6).

Time is the noise's standard deviation ``sigma``, which is added to an image that stays
(:func:`~genimg_ref.diffusion.schedule.exploding`). ``sigma_data`` is the standard deviation of pixels.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from genimg_ref.diffusion.forward import like
from genimg_ref.diffusion.loss import squared_error
from genimg_ref.diffusion.predict import Batch, Model, call

__all__ = ["Preconditioned", "Scales", "edm_loss", "edm_weight", "log_normal_sigmas", "scales"]


class Scales(NamedTuple):
    """``D(x; sigma) = skip x + out F(in_ x; noise)``, at each of some noise levels."""

    skip: Float[Tensor, "*levels"]
    out: Float[Tensor, "*levels"]
    in_: Float[Tensor, "*levels"]
    noise: Float[Tensor, "*levels"]


def scales(sigma: Float[Tensor, "*levels"], sigma_data: float = 0.5) -> Scales:
    """The four scales of Karras et al. (2022), table 1: unit variance goes in and is asked for.

    Raises:
        ValueError: unless ``sigma_data`` is above zero.
    """
    if not sigma_data > 0:
        raise ValueError(f"sigma_data must be above zero; got {sigma_data}")
    size = sigma.square() + sigma_data**2
    return Scales(
        skip=sigma_data**2 / size,
        out=sigma * sigma_data * size.rsqrt(),
        in_=size.rsqrt(),
        noise=sigma.log() / 4,
    )


class Preconditioned(nn.Module):
    """A model that predicts the clean image at ``t = sigma``, made of a network (equation 7).

    The network sees ``c_in x`` and ``c_noise``, both of moderate size; its answer is scaled and added to a
    part of ``x``, so that at little noise it has only the noise to find, and at much noise the image.
    """

    def __init__(self, network: nn.Module, sigma_data: float = 0.5) -> None:
        super().__init__()
        self.network, self.sigma_data = network, sigma_data
        scales(torch.ones(()), sigma_data)

    def forward(
        self,
        x: Float[Tensor, "batch *shape"],
        sigma: Float[Tensor, " batch"],
        condition: Shaped[Tensor, "batch ..."] | None = None,
    ) -> Float[Tensor, "batch *shape"]:
        skip, out, in_, noise = scales(sigma, self.sigma_data)
        return like(skip, x) * x + like(out, x) * call(self.network, like(in_, x) * x, noise, condition)


def edm_weight(sigma: Float[Tensor, "*levels"], sigma_data: float = 0.5) -> Float[Tensor, "*levels"]:
    """``1 / c_out^2``: the error of the image then counts as an error of the network (table 1)."""
    return scales(sigma, sigma_data).out.square().reciprocal()


def edm_loss(
    model: Model,
    x0: Batch,
    sigma: Float[Tensor, " batch"],
    noise: Batch,
    sigma_data: float = 0.5,
    condition: Shaped[Tensor, "batch ..."] | None = None,
) -> Float[Tensor, " batch"]:
    """``|model(x_0 + sigma noise, sigma) - x_0|^2 / c_out^2`` of each image; ``noise`` is N(0, I).

    ``model`` predicts the clean image, as :class:`Preconditioned` does with the same ``sigma_data``.
    """
    output = call(model, x0 + like(sigma, x0) * noise, sigma, condition)
    return edm_weight(sigma, sigma_data).to(x0) * squared_error(output, x0)


def log_normal_sigmas(
    count: int,
    rng: torch.Generator,
    device: torch.device | str | None = None,
    mean: float = -1.2,
    std: float = 1.2,
) -> Float[Tensor, " {count}"]:
    """``exp`` of a normal variable (table 1): the levels at which there is something to learn."""
    draws = torch.randn(count, generator=rng, device=rng.device).to(device or rng.device)
    return (mean + std * draws).exp()
