"""Probabilistic PCA: the one variational autoencoder whose likelihood and posterior are known exactly.

Chapter: vae

Papers:

- Tipping and Bishop, *Probabilistic Principal Component Analysis*, 1999, Journal of the Royal Statistical
  Society B 61(3) (the model, its likelihood, its posterior, and the parameters that maximise it)
- Lucas, Tucker, Grosse and Norouzi, *Don't Blame the ELBO!*, 2019, arXiv:1911.02469 (posterior collapse of
  linear VAEs)

``z ~ N(0, I)`` and ``x = weight z + mean + N(0, variance I)``, which is the decoder of a linear VAE. What a
VAE can only bound is here in closed form, and so is what collapses: a direction of the data along which they
vary by less than ``variance`` is worth no latent dimension.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["PPCA", "fit", "log_likelihood", "posterior"]


class PPCA(NamedTuple):
    """The parameters; ``mean + weight z`` is the expected ``x``, ``variance`` that of the noise around it."""

    mean: Float[Tensor, " dim"]
    weight: Float[Tensor, "dim latent"]
    variance: Float[Tensor, ""]


def fit(data: Float[Tensor, "count dim"], latent: int, variance: float | None = None) -> PPCA:
    """The parameters of the largest likelihood, from the eigenvectors of the data's covariance.

    ``weight = U (Lambda - variance I)^(1/2)`` with the ``latent`` largest eigenvalues ``Lambda`` and their
    eigenvectors ``U``; the variance is the mean of the eigenvalues that are left. With the variance given
    instead, an eigenvalue below it has a column of zeros: that latent dimension has collapsed.

    Raises:
        ValueError: unless ``latent`` lies between 1 and ``dim - 1`` and the variance is above zero.
    """
    count, dim = data.shape
    if not 1 <= latent < dim:
        raise ValueError(f"latent must lie in 1 ... {dim - 1}; got {latent}")
    mean = data.mean(dim=0)
    values, vectors = torch.linalg.eigh((data - mean).T @ (data - mean) / count)
    noise = values[:-latent].mean() if variance is None else torch.as_tensor(variance).to(values)
    if not bool(noise > 0):
        raise ValueError(f"variance must be above zero; got {noise.item():g}")
    scale = (values[-latent:] - noise).clamp(min=0).sqrt()
    return PPCA(mean, (vectors[:, -latent:] * scale).flip(1), noise)


def log_likelihood(model: PPCA, x: Float[Tensor, "count dim"]) -> Float[Tensor, " count"]:
    """``log N(x; mean, weight weight^T + variance I)`` of each row, in nats."""
    mean, weight, variance = model
    covariance = weight @ weight.T + variance * torch.eye(len(mean)).to(weight)
    return torch.distributions.MultivariateNormal(mean, covariance).log_prob(x)


def posterior(
    model: PPCA, x: Float[Tensor, "count dim"]
) -> tuple[Float[Tensor, "count latent"], Float[Tensor, "latent latent"]]:
    """Means and the common covariance of p(z | x).

    With ``M = weight^T weight + variance I`` they are ``M^-1 weight^T (x - mean)`` and ``variance M^-1``. At
    the parameters of :func:`fit` the columns of ``weight`` are orthogonal, so the covariance is diagonal, as
    a VAE's encoder has it.
    """
    mean, weight, variance = model
    inverse = torch.linalg.inv(weight.T @ weight + variance * torch.eye(weight.shape[1]).to(weight))
    return (x - mean) @ weight @ inverse, variance * inverse
