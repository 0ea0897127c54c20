"""The evidence lower bound, term by term, in nats for each image.

Chapter: vae

Papers:

- Kingma and Welling, *Auto-Encoding Variational Bayes*, 2013, arXiv:1312.6114 (the bound; its Gaussian
  divergence, appendix B; both decoders, appendix C)
- Rezende, Mohamed and Wierstra, *Stochastic Backpropagation and Approximate Inference in Deep Generative
  Models*, 2014, arXiv:1401.4082 (the same, found independently)
- Burda, Grosse and Salakhutdinov, *Importance Weighted Autoencoders*, 2015, arXiv:1509.00519
- Higgins et al., *beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework*, 2017
- Kingma et al., *Improved Variational Inference with Inverse Autoregressive Flow*, 2016, arXiv:1606.04934
  (free bits)
- Bowman et al., *Generating Sentences from a Continuous Space*, 2015, arXiv:1511.06349 (annealing)
- Theis, van den Oord and Bethge, *A note on the evaluation of generative models*, 2015, arXiv:1511.01844
  (what a density of grey levels means)
- Loaiza-Ganem and Cunningham, *The continuous Bernoulli*, 2019, arXiv:1907.06845
- Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, 2020, arXiv:2006.11239 (equation 13, a
  likelihood of grey levels)

Images live in [-1, 1]; probabilities and bits in [0, 1]. :func:`to_unit` and :func:`to_images` lead from one
to the other. Three likelihoods can be asked of an image, and their numbers cannot be compared:

- **Bernoulli** is a probability of *binary* images. Grey values are not binary. :func:`binarise` draws a
  binary image, each pixel bright with its grey value as probability. Handing grey values themselves to
  :func:`bernoulli_log_likelihood` gives the mean over all such draws, because the formula is linear in ``x``:
  the bound is then the mean bound of binary images, by an encoder that saw the grey one. It is no density of
  the grey image: for that the formula lacks a constant (Loaiza-Ganem and Cunningham 2019).
- **Gaussian** is a density of real numbers. A grey value is one of 256 levels, and a density can grow without
  limit at a level that never changes, like the black background. :func:`dequantise` spreads each level over
  the interval that it stands for. The mean log density there, plus the log of the interval's width
  :data:`LEVEL`, is never above the log probability of the level (Theis et al. 2015, section 3.1).
- **Discretised Gaussian** is the probability of each of the 256 levels, and needs no noise.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "ELBO",
    "LEVEL",
    "active_units",
    "annealed",
    "bernoulli_log_likelihood",
    "binarise",
    "bits_per_dimension",
    "dequantise",
    "discretised_gaussian_log_likelihood",
    "elbo",
    "free_bits",
    "gaussian_log_likelihood",
    "iwae_bound",
    "kl_per_dimension",
    "kl_to_standard_normal",
    "normal_log_density",
    "reparameterise",
    "sample_kl",
    "to_images",
    "to_unit",
]

LEVEL = 2 / 255  # the step from one grey level to the next, for images in [-1, 1]
LOG_2PI = math.log(2 * math.pi)


def to_unit(images: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """From [-1, 1] to [0, 1]: ``(x + 1) / 2``."""
    return (images + 1) / 2


def to_images(unit: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """From [0, 1] to [-1, 1]: ``2 x - 1``."""
    return 2 * unit - 1


def binarise(
    images: Float[Tensor, "batch *shape"], rng: torch.Generator | None = None
) -> Float[Tensor, "batch *shape"]:
    """Binary images, -1 or 1, from grey ones: each pixel is 1 with probability ``(x + 1) / 2``.

    Drawn anew for each batch this is stochastic binarisation (Burda et al. 2015, section 5); drawn once and
    kept, a fixed one, which a test set needs. Without ``rng`` a pixel is 1 where it is brighter than half.
    """
    unit = to_unit(images)
    if rng is None:
        return to_images((unit > 0.5).to(images.dtype))
    draws = torch.rand(images.shape, generator=rng, device=rng.device, dtype=images.dtype)
    return to_images((draws.to(images.device) < unit).to(images.dtype))


def dequantise(images: Float[Tensor, "batch *shape"], rng: torch.Generator) -> Float[Tensor, "batch *shape"]:
    """Each level spread evenly over an interval of width `LEVEL` around it (Theis et al. 2015, section 3.1).

    The outermost levels reach half a level beyond [-1, 1].
    """
    draws = torch.rand(images.shape, generator=rng, device=rng.device, dtype=images.dtype)
    return images + LEVEL * (draws.to(images.device) - 0.5)


def reparameterise(
    mean: Float[Tensor, "*batch latent"], log_variance: Float[Tensor, "*batch latent"], rng: torch.Generator
) -> Float[Tensor, "*batch latent"]:
    """``z = mean + exp(log_variance / 2) * noise``: a draw through which gradients flow to both.

    Kingma and Welling (2013), section 2.4. The noise is N(0, I), its own row for each image, from ``rng``.

    Raises:
        ValueError: when the shapes differ: broadcasting would share noise or variance between images.
    """
    _require_same_shape("log_variance", log_variance, "mean", mean)
    noise = torch.randn(mean.shape, generator=rng, device=rng.device, dtype=mean.dtype)
    return mean + (log_variance / 2).exp() * noise.to(mean.device)


def normal_log_density(
    z: Float[Tensor, "*batch latent"],
    mean: Float[Tensor, "*#batch latent"],
    log_variance: Float[Tensor, "*#batch latent"],
) -> Float[Tensor, "*batch"]:
    """``log N(z; mean, exp(log_variance))`` of a diagonal Gaussian in nats, summed over the last axis."""
    squares = (z - mean).square() * (-log_variance).exp()
    return -0.5 * (squares + log_variance + LOG_2PI).sum(dim=-1)


def kl_per_dimension(
    mean: Float[Tensor, "*batch latent"], log_variance: Float[Tensor, "*batch latent"]
) -> Float[Tensor, "*batch latent"]:
    """KL(N(mean, variance) || N(0, 1)) of each dimension in nats.

    ``(mean^2 + variance - 1 - log variance) / 2`` (Kingma and Welling 2013, appendix B), where ``expm1`` of
    the logarithm keeps the digits of a variance near 1.

    Raises:
        ValueError: when the shapes differ.
    """
    _require_same_shape("log_variance", log_variance, "mean", mean)
    return 0.5 * (mean.square() + log_variance.expm1() - log_variance)


def kl_to_standard_normal(
    mean: Float[Tensor, "*batch latent"], log_variance: Float[Tensor, "*batch latent"]
) -> Float[Tensor, "*batch"]:
    """KL(N(mean, variance) || N(0, I)) of each image in nats: :func:`kl_per_dimension`, summed."""
    return kl_per_dimension(mean, log_variance).sum(dim=-1)


def sample_kl(
    z: Float[Tensor, "*batch latent"],
    mean: Float[Tensor, "*#batch latent"],
    log_variance: Float[Tensor, "*#batch latent"],
) -> Float[Tensor, "*batch"]:
    """``log q(z) - log p(z)`` of a draw ``z`` from q: the same divergence from one sample, without bias.

    Kingma and Welling (2013), equation 6. Needed where there is no closed form; a single value may be
    negative.
    """
    return normal_log_density(z, mean, log_variance) - normal_log_density(
        z, torch.zeros_like(z), torch.zeros_like(z)
    )


def bernoulli_log_likelihood(
    logits: Float[Tensor, "batch *shape"], x: Float[Tensor, "batch *shape"]
) -> Float[Tensor, " batch"]:
    """``sum x log p + (1 - x) log(1 - p)`` with ``p = sigmoid(logits)``, in nats for each image.

    Kingma and Welling (2013), equation 11, written as ``x a - softplus(a)``, which holds at any logit ``a``.
    ``x`` lies in [0, 1], not in [-1, 1]: see :func:`to_unit`; what grey values mean here is told above.

    Raises:
        ValueError: when shapes differ or ``x`` leaves [0, 1].
    """
    _require_same_shape("x", x, "logits", logits)
    low, high = (bound.item() for bound in x.detach().aminmax())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"x must lie in [0, 1], as to_unit makes it; got values from {low:g} to {high:g}")
    return (x * logits - F.softplus(logits)).flatten(1).sum(dim=1)


def gaussian_log_likelihood(
    mean: Float[Tensor, "batch *shape"],
    x: Float[Tensor, "batch *shape"],
    std: float | Float[Tensor, ""],
) -> Float[Tensor, " batch"]:
    """``log N(x; mean, std^2 I)`` of each image in nats, with its constant ``-log(2 pi) / 2`` a pixel.

    Kingma and Welling (2013), equation 12, with one standard deviation for all pixels, which may be learned:
    the constant and ``-log std`` say what a squared error is worth, and without them bounds of different
    ``std`` cannot be compared. It is the density at ``x`` in [-1, 1]; twice as large a range would lower it
    by ``log 2`` a pixel.

    Raises:
        ValueError: when shapes differ or ``std`` is not above zero.
    """
    _require_same_shape("x", x, "mean", mean)
    std = _require_std(std, mean)
    return -0.5 * (((x - mean) / std).square() + 2 * std.log() + LOG_2PI).flatten(1).sum(dim=1)


def discretised_gaussian_log_likelihood(
    mean: Float[Tensor, "batch *shape"],
    x: Float[Tensor, "batch *shape"],
    std: float | Float[Tensor, ""],
) -> Float[Tensor, " batch"]:
    """Log probability of the 256 grey levels ``x`` under N(mean, std^2), in nats for each image.

    Ho et al. (2020), equation 13: the Gaussian's mass between half a level below and half a level above, and
    all that lies beyond for the darkest and the brightest level, so that the levels' probabilities add up to
    1.

    Raises:
        ValueError: when shapes differ or ``std`` is not above zero.
    """
    _require_same_shape("x", x, "mean", mean)
    std = _require_std(std, mean)
    lower, upper = (x - mean - LEVEL / 2) / std, (x - mean + LEVEL / 2) / std
    right = x > mean  # there the mass is taken on the mirrored side, where it keeps its digits
    near, far = torch.where(right, -lower, upper), torch.where(right, -upper, lower)
    log_near, log_far = torch.special.log_ndtr(near), torch.special.log_ndtr(far)
    inside = log_near + torch.log(-torch.expm1(log_far - log_near))
    darkest, brightest = x < -1 + LEVEL / 2, x > 1 - LEVEL / 2
    outside = torch.special.log_ndtr(torch.where(darkest, upper, -lower))
    return torch.where(darkest | brightest, outside, inside).flatten(1).sum(dim=1)


class ELBO(NamedTuple):
    """The bound of each image and its two parts, in nats: ``bound = reconstruction - beta * kl``."""

    bound: Float[Tensor, " batch"]
    reconstruction: Float[Tensor, " batch"]
    kl: Float[Tensor, " batch"]


def elbo(
    log_likelihood: Float[Tensor, " batch"],
    mean: Float[Tensor, "batch latent"],
    log_variance: Float[Tensor, "batch latent"],
    beta: float = 1.0,
) -> ELBO:
    """``E log p(x | z) - beta KL(q(z | x) || p(z))``, from one draw (Kingma and Welling 2013, equation 10).

    ``log_likelihood`` is that of each image at a draw ``z`` from N(mean, variance). With ``beta = 1`` the
    bound lies below ``log p(x)``; above 1 it is the objective of the beta-VAE (Higgins et al. 2017, equation
    4) and lies lower still; below 1 it need not bound anything.

    Raises:
        ValueError: for a negative ``beta``.
    """
    if not beta >= 0:
        raise ValueError(f"beta must be 0 or more; got {beta}")
    kl = kl_to_standard_normal(mean, log_variance)
    return ELBO(log_likelihood - beta * kl, log_likelihood, kl)


def iwae_bound(log_weights: Float[Tensor, "samples *batch"]) -> Float[Tensor, "*batch"]:
    """``log(1/k sum_i w_i)`` of ``k`` importance weights ``w = p(x, z) / q(z | x)``, over the first axis.

    Burda et al. (2015), equation 8: with one sample the evidence lower bound, and it rises with ``k`` to
    ``log p(x)``. The sum is taken by ``logsumexp``, since the weights themselves underflow.

    Raises:
        ValueError: for no samples.
    """
    if len(log_weights) == 0:
        raise ValueError(f"log_weights must hold at least one sample; got shape {tuple(log_weights.shape)}")
    return log_weights.logsumexp(dim=0) - math.log(len(log_weights))


def bits_per_dimension(
    nats: Float[Tensor, "*batch"], dimensions: int, width: float = 1.0
) -> Float[Tensor, "*batch"]:
    """From a (bound of a) log-likelihood of an image in nats to bits for each of its ``dimensions``.

    ``-nats / (dimensions log 2)``, lower is better. A density counts probability per unit of ``x``; times the
    ``width`` of a level it is a probability, which is what bits count: give `LEVEL` for Gaussian densities of
    images in [-1, 1] that were dequantised, and leave 1 for probabilities.

    Raises:
        ValueError: unless ``dimensions`` and ``width`` are positive.
    """
    if dimensions < 1 or not width > 0:
        raise ValueError(f"dimensions and width must be positive; got {dimensions} and {width}")
    return -(nats / dimensions + math.log(width)) / math.log(2)


def free_bits(kl: Float[Tensor, "batch latent"], minimum: float) -> Float[Tensor, ""]:
    """``sum_j max(minimum, mean over the batch of KL_j)`` in nats: what the objective then pays for codes.

    Kingma et al. (2016), the objective with free bits: a dimension that uses less than ``minimum`` gains
    nothing by using even less, so it has no reason to collapse. ``kl`` is from :func:`kl_per_dimension`. With
    ``minimum`` 0 this is the mean divergence.

    Raises:
        ValueError: for a negative ``minimum``.
    """
    if not minimum >= 0:
        raise ValueError(f"minimum must be 0 nats or more; got {minimum}")
    return kl.mean(dim=0).clamp(min=minimum).sum()


def annealed(step: int, warm_up: int) -> float:
    """The weight of the divergence at ``step``: rises from 0 to 1 in ``warm_up`` steps, then stays.

    Bowman et al. (2015), section 3.1, with a straight line.

    Raises:
        ValueError: for negative numbers.
    """
    if step < 0 or warm_up < 0:
        raise ValueError(f"step and warm_up must be 0 or more; got {step} and {warm_up}")
    return min(1.0, step / warm_up) if warm_up > 0 else 1.0


def active_units(means: Float[Tensor, "images latent"], threshold: float = 0.01) -> Bool[Tensor, " latent"]:
    """Which latent dimensions say something: the variance over images of their posterior mean is above
    ``threshold``.

    Burda et al. (2015), section 5.2. A collapsed dimension has the prior for every image, so its mean stays
    put.

    Raises:
        ValueError: for fewer than two images.
    """
    if len(means) < 2:
        raise ValueError(f"means must be of at least 2 images; got {len(means)}")
    return means.var(dim=0) > threshold


def _require_same_shape(name: str, value: Tensor, other: str, like: Tensor) -> None:
    if value.shape != like.shape:
        raise ValueError(
            f"{name} must have the shape of {other} {tuple(like.shape)}; got {tuple(value.shape)}"
        )


def _require_std(std: float | Tensor, like: Tensor) -> Tensor:
    std = torch.as_tensor(std, dtype=like.dtype, device=like.device)
    if not bool(std > 0):
        raise ValueError(f"std must be above zero; got {std.item():g}")
    return std
