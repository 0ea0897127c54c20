"""The exercises of the chapter vae, in the order of the text."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genimg_ref.exercises.engine import Case, Exercise, call, generator, net

Rng = np.random.Generator
LEVEL = 2 / 255


def _normal(rng: Rng, *shape: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return rng.normal(mean, scale, size=shape).astype("float32")


# --- gaussian_kl --------------------------------------------------------------------------------------


def _gaussian_kl_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, mean: np.ndarray, log_variance: np.ndarray) -> Case:
        return call(label, mean=mean, log_variance=log_variance, gradients=["mean", "log_variance"])

    yield case("five images and three latents", _normal(rng, 5, 3), _normal(rng, 5, 3))
    yield case("as many images as latents", _normal(rng, 4, 4, mean=1.0), _normal(rng, 4, 4, mean=-1.0))
    above_one = rng.uniform(0.2, 2, size=(1, 7)).astype("float32")
    yield case("a single image, variances above one", _normal(rng, 1, 7), above_one)
    wide = rng.uniform(-14, 5, size=(3, 6)).astype("float32")
    wide[0, :2] = -14, 5
    yield case("variances from a millionth to a hundred", _normal(rng, 3, 6, scale=3.0), wide)
    yield case("the prior itself", np.zeros((2, 3), "float32"), np.zeros((2, 3), "float32"))


def _gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)


gaussian_kl = Exercise(points=2, minutes=15, reference=_gaussian_kl, cases=_gaussian_kl_cases)


@gaussian_kl.mistake(
    "`log_variance` is taken for the variance itself. The variance is its exponential, and its "
    "logarithm is there already."
)
def kl_variance_without_exp(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * (mean.square() + log_variance - 1 - log_variance.log()).sum(dim=1)


@gaussian_kl.mistake(
    "The logarithm is taken twice: `log_variance` is that of the variance already, and of a negative number "
    "there is none."
)
def kl_logarithm_twice(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance.log()).sum(dim=1)


@gaussian_kl.mistake(
    "`log_variance` is taken for sigma. It is the logarithm of sigma squared: the variance is "
    "`log_variance.exp()`."
)
def kl_log_variance_as_sigma(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * (mean.square() + log_variance.square() - 1 - log_variance.square().log()).sum(dim=1)


@gaussian_kl.mistake(
    "`log_variance` is taken for the logarithm of sigma: you double it. It is that of sigma squared."
)
def kl_log_variance_as_log_sigma(mean: Tensor, log_variance: Tensor) -> Tensor:
    return _gaussian_kl(mean, 2 * log_variance)


@gaussian_kl.mistake(
    "The term of the variance holds sigma: `(log_variance / 2).exp()`. What stands in equation (5) is "
    "sigma squared."
)
def kl_sigma_for_variance(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * (mean.square() + (log_variance / 2).exp() - 1 - log_variance).sum(dim=1)


@gaussian_kl.mistake(
    "The logarithm is that of sigma: the half of `log_variance`. In the sum whose half is taken stands "
    "the logarithm of the variance."
)
def kl_halved_logarithm(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance / 2).sum(dim=1)


@gaussian_kl.mistake("It is twice as large as it should be: the factor 1/2 is missing.")
def kl_without_half(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 2 * _gaussian_kl(mean, log_variance)


@gaussian_kl.mistake(
    "The sign is reversed. A divergence is never negative, and zero only where both distributions are "
    "the same."
)
def kl_negative(mean: Tensor, log_variance: Tensor) -> Tensor:
    return -_gaussian_kl(mean, log_variance)


@gaussian_kl.mistake(
    "You average over the latent dimensions. They are independent, so their divergences add up: with a "
    "mean the weight of the divergence would depend on how many there are."
)
def kl_mean_over_latents(mean: Tensor, log_variance: Tensor) -> Tensor:
    return _gaussian_kl(mean, log_variance) / mean.shape[1]


@gaussian_kl.mistake(
    "You sum over the images, too. Each image has its own divergence: the shape is `(batch,)`."
)
def kl_summed_over_images(mean: Tensor, log_variance: Tensor) -> Tensor:
    return _gaussian_kl(mean, log_variance).sum()


@gaussian_kl.mistake(
    "That is the mean over the batch. Each image has its own divergence: the shape is `(batch,)`."
)
def kl_mean_over_images(mean: Tensor, log_variance: Tensor) -> Tensor:
    return _gaussian_kl(mean, log_variance).mean()


@gaussian_kl.mistake(
    "That is a single mean over all images and all dimensions. Sum over the dimensions, and keep the "
    "images apart."
)
def kl_mean_over_all(mean: Tensor, log_variance: Tensor) -> Tensor:
    return _gaussian_kl(mean, log_variance).mean() / mean.shape[1]


@gaussian_kl.mistake("These are the divergences of each dimension. Those of one image are added up.")
def kl_of_each_dimension(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


@gaussian_kl.mistake(
    "You sum over the images and keep the dimensions. It is the other way round: axis 1 holds the latents."
)
def kl_wrong_axis(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=0)


@gaussian_kl.mistake("The 1 is missing. Without it the prior itself has a divergence from the prior.")
def kl_without_one(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * (mean.square() + log_variance.exp() - log_variance).sum(dim=1)


@gaussian_kl.mistake(
    "The 1 is subtracted once an image. It belongs to every latent dimension: put it inside the sum."
)
def kl_one_outside_the_sum(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * ((mean.square() + log_variance.exp() - log_variance).sum(dim=1) - 1)


@gaussian_kl.mistake("The mean is not squared.")
def kl_mean_not_squared(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * (mean + log_variance.exp() - 1 - log_variance).sum(dim=1)


@gaussian_kl.mistake(
    "The sign of the logarithm is reversed. It is what keeps the variance from going to zero."
)
def kl_logarithm_added(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * (mean.square() + log_variance.exp() - 1 + log_variance).sum(dim=1)


@gaussian_kl.mistake(
    "That is KL(p || q), the divergence of the prior from the posterior. Asked for is KL(q || p): the "
    "expectation is taken under q."
)
def kl_reversed(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * ((mean.square() + 1) * (-log_variance).exp() - 1 + log_variance).sum(dim=1)


@gaussian_kl.mistake("The mean plays no part. A posterior far from the origin is far from the prior.")
def kl_without_mean(mean: Tensor, log_variance: Tensor) -> Tensor:
    return _gaussian_kl(torch.zeros_like(mean), log_variance)


@gaussian_kl.mistake(
    "The value is right, but part of it is cut off from the graph, so the encoder would not learn. "
    "`detach` and `.data` do not belong here."
)
def kl_detached(mean: Tensor, log_variance: Tensor) -> Tensor:
    return _gaussian_kl(mean.detach(), log_variance.detach())


@gaussian_kl.mistake("That is in bits. Asked for are nats: natural logarithms throughout.")
def kl_in_bits(mean: Tensor, log_variance: Tensor) -> Tensor:
    return _gaussian_kl(mean, log_variance) / math.log(2)


@gaussian_kl.also_right
def kl_by_distributions(mean: Tensor, log_variance: Tensor) -> Tensor:
    q = torch.distributions.Normal(mean, (log_variance / 2).exp())
    p = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    return torch.distributions.kl_divergence(q, p).sum(-1)


@gaussian_kl.also_right
def kl_as_often_printed(mean: Tensor, log_variance: Tensor) -> Tensor:
    return -0.5 * torch.sum(1 + log_variance - mean**2 - log_variance.exp(), dim=-1)


@gaussian_kl.also_right
def kl_image_by_image(mean: Tensor, log_variance: Tensor) -> Tensor:
    total = []
    for m, v in zip(mean, log_variance, strict=True):
        std = torch.exp(0.5 * v)
        total.append(sum((mi**2 + si**2 - 1) / 2 - torch.log(si) for mi, si in zip(m, std, strict=True)))
    return torch.stack(total)


# --- reparameterise -----------------------------------------------------------------------------------


def _reparameterise_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, mean: np.ndarray, log_variance: np.ndarray) -> Case:
        return call(
            label,
            mean=mean,
            log_variance=log_variance,
            rng=generator(int(rng.integers(2**31))),
            gradients=["mean", "log_variance"],
        )

    yield case("six images and four latents", _normal(rng, 6, 4, mean=2.0), _normal(rng, 6, 4, mean=-1.0))
    yield case("as many images as latents", _normal(rng, 5, 5), _normal(rng, 5, 5, mean=1.0))
    yield case("a single image", _normal(rng, 1, 3), _normal(rng, 1, 3, mean=-2.0))
    yield case("a single latent", _normal(rng, 4, 1), _normal(rng, 4, 1, mean=1.0))
    wide = rng.uniform(-12, 5, size=(3, 8)).astype("float32")
    yield case("variances from tiny to large", _normal(rng, 3, 8), wide)


def _draw(
    mean: Tensor,
    log_variance: Tensor,
    rng: torch.Generator,
    *,
    std: Callable[[Tensor], Tensor] = lambda log_variance: (log_variance / 2).exp(),
    noise: Callable[[Tensor, torch.Generator], Tensor] = lambda mean, rng: torch.randn(
        mean.shape, generator=rng
    ),
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    return mean + std(log_variance) * noise(mean, rng)


def _reparameterise(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean, log_variance, rng)


reparameterise = Exercise(points=2, minutes=10, reference=_reparameterise, cases=_reparameterise_cases)


@reparameterise.mistake("`log_variance` itself is used as sigma. Sigma is the exponential of its half.")
def log_variance_as_sigma(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean, log_variance, rng, std=lambda v: v)


@reparameterise.mistake(
    "The noise is scaled by the variance. A draw has standard deviation sigma: the exponential of "
    "half the `log_variance`."
)
def variance_as_sigma(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean, log_variance, rng, std=torch.exp)


@reparameterise.mistake(
    "You take the root of `log_variance`. Of negative numbers there is none: take the exponential first."
)
def root_of_log_variance(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean, log_variance, rng, std=torch.sqrt)


@reparameterise.mistake(
    "You take the exponential of the root of `log_variance`, and of negative numbers there is none. The order"
    " is the other one: the root of the exponential."
)
def exponential_of_the_root(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean, log_variance, rng, std=lambda v: v.sqrt().exp())


@reparameterise.mistake(
    "Sigma is the exponential of minus half the log-variance: large where it should be small."
)
def sigma_inverted(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean, log_variance, rng, std=lambda v: (-v / 2).exp())


@reparameterise.mistake(
    "The draw is right, but no gradient reaches `log_variance`: sigma is cut off from the graph. The "
    "encoder could never learn how sure it may be."
)
def sigma_detached(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean, log_variance.detach(), rng)


@reparameterise.mistake("The draw is right, but no gradient reaches `mean`: it is cut off from the graph.")
def mean_detached(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean.detach(), log_variance, rng)


@reparameterise.mistake(
    "The numbers are right, but no gradient flows back through the draw, as with `torch.normal`, "
    "`.sample()` or inside `torch.no_grad()`. Draw noise that knows nothing of the parameters, then "
    "scale and shift it."
)
def drawn_without_gradient(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean, log_variance, rng).detach()


@reparameterise.mistake(
    "All images share one row of noise. Each needs its own: draw as many numbers as `mean` has."
)
def one_row_of_noise(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean, log_variance, rng, noise=lambda m, g: torch.randn(m.shape[1:], generator=g))


@reparameterise.mistake(
    "Only the first row of the noise is used, for all images. Each image has a row of its own."
)
def first_row_of_noise(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean, log_variance, rng, noise=lambda m, g: torch.randn(m.shape, generator=g)[:1])


@reparameterise.mistake(
    "All latents of an image share one number of noise, so they move together. The covariance of q is "
    "diagonal: draw one for each."
)
def one_column_of_noise(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean, log_variance, rng, noise=lambda m, g: torch.randn(len(m), 1, generator=g))


@reparameterise.mistake("A single number of noise serves the whole batch. Draw as many as `mean` has.")
def one_number_of_noise(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean, log_variance, rng, noise=lambda m, g: torch.randn(1, generator=g))


@reparameterise.mistake(
    "The noise comes from PyTorch's global generator, as that of `torch.randn_like` does. Draw it from "
    "the `rng` that is given, so that a run can be repeated."
)
def global_noise(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean, log_variance, rng, noise=lambda m, _: torch.randn_like(m))


@reparameterise.mistake("The noise is uniform, from `torch.rand`. Asked for is normal noise: `torch.randn`.")
def uniform_noise(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean, log_variance, rng, noise=lambda m, g: torch.rand(m.shape, generator=g))


@reparameterise.mistake(
    "What comes back is the mean, without noise. That is the code of a plain autoencoder, not a draw from q."
)
def mean_alone(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return mean + 0 * log_variance


@reparameterise.mistake(
    "What comes back is noise from N(0, I). It has to be scaled by sigma and shifted by the mean."
)
def noise_alone(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randn(mean.shape, generator=rng)


@reparameterise.mistake("The noise multiplies the mean as well: sigma alone is what it scales.")
def mean_times_noise(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return (mean + (log_variance / 2).exp()) * torch.randn(mean.shape, generator=rng)


@reparameterise.mistake("The noise is subtracted from the mean: equation (8) adds it.")
def noise_subtracted(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return _draw(mean, log_variance, rng, std=lambda v: -(v / 2).exp())


@reparameterise.also_right
def by_filling(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    return torch.empty_like(mean).normal_(generator=rng) * log_variance.exp().sqrt() + mean


@reparameterise.also_right
def by_addcmul(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    noise = torch.randn(*mean.shape, generator=rng, dtype=mean.dtype)
    return torch.addcmul(mean, torch.exp(0.5 * log_variance), noise)


@reparameterise.also_right
def through_a_square_root(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    noise = torch.randn(mean.size(), generator=rng)
    return torch.stack([m + v.exp() ** 0.5 * e for m, v, e in zip(mean, log_variance, noise, strict=True)])


# --- score_function_gradients -------------------------------------------------------------------------


def _score_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, draws: int, latent: int, *, level: float = 0.0, spread: float = 1.0) -> Case:
        mean, log_variance = _normal(rng, latent, mean=1.0), _normal(rng, latent, scale=spread)
        z = mean + np.exp(log_variance / 2) * _normal(rng, draws, latent)
        return call(
            label,
            values=_normal(rng, draws, mean=level, scale=2.0),
            z=z.astype("float32"),
            mean=mean,
            log_variance=log_variance,
        )

    yield case("six draws of three latents", 6, 3)
    yield case("as many draws as latents", 4, 4, level=3.0)
    yield case("two draws", 2, 5)
    yield case("values far from zero", 7, 2, level=-200.0)
    yield case("variances far from one", 5, 3, spread=2.5)


def _score(
    values: Tensor,
    z: Tensor,
    mean: Tensor,
    log_variance: Tensor,
    *,
    baseline: Callable[[Tensor], Tensor] = lambda f: (f.sum() - f) / (len(f) - 1),
    to_mean: Callable[[Tensor, Tensor], Tensor] = lambda noise, std: noise / std,
    to_log_variance: Callable[[Tensor, Tensor], Tensor] = lambda noise, std: (noise.square() - 1) / 2,
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    std = (log_variance / 2).exp()
    noise = (z - mean) / std
    gain = (values - baseline(values))[:, None]
    return torch.stack([gain * to_mean(noise, std), gain * to_log_variance(noise, std)])


def _score_reference(values: Tensor, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    return _score(values, z, mean, log_variance)


score_function_gradients = Exercise(
    points=2, minutes=20, reference=_score_reference, cases=_score_cases, rtol=1e-3, atol=1e-3
)


@score_function_gradients.mistake(
    "There is no baseline. Without one the estimate is right on average, but swings with the level of "
    "the values: subtract from each the mean of all the others."
)
def no_baseline(*arguments: Tensor) -> Tensor:
    return _score(*arguments, baseline=torch.zeros_like)


@score_function_gradients.mistake(
    "The baseline is the mean of all values, each draw's own among them. It then depends on the draw, "
    "and the estimate comes out too small by a factor 1 - 1/n: leave the draw's own value out."
)
def own_value_in_the_baseline(*arguments: Tensor) -> Tensor:
    return _score(*arguments, baseline=lambda f: f.mean().expand_as(f))


@score_function_gradients.mistake(
    "The sum of the other values is divided by the number of all draws. There is one fewer of the others."
)
def others_over_all(*arguments: Tensor) -> Tensor:
    return _score(*arguments, baseline=lambda f: (f.sum() - f) / len(f))


@score_function_gradients.mistake("The sum of the other values is the baseline. Take their mean.")
def sum_of_the_others(*arguments: Tensor) -> Tensor:
    return _score(*arguments, baseline=lambda f: f.sum() - f)


@score_function_gradients.mistake("The baseline is added. It is subtracted from the values.")
def baseline_added(*arguments: Tensor) -> Tensor:
    return _score(*arguments, baseline=lambda f: -(f.sum() - f) / (len(f) - 1))


@score_function_gradients.mistake(
    "The derivative with regard to the mean is `(z - mean)` over the variance. Yours is over sigma: the"
    " noise has to be divided by sigma once more."
)
def noise_for_the_mean(*arguments: Tensor) -> Tensor:
    return _score(*arguments, to_mean=lambda noise, std: noise)


@score_function_gradients.mistake(
    "The derivative with regard to the mean is `(z - mean)` divided by the variance."
)
def distance_for_the_mean(*arguments: Tensor) -> Tensor:
    return _score(*arguments, to_mean=lambda noise, std: noise * std)


@score_function_gradients.mistake(
    "The derivative with regard to the mean has the wrong sign: the density at z rises when the mean "
    "moves towards z."
)
def sign_of_the_mean(*arguments: Tensor) -> Tensor:
    return _score(*arguments, to_mean=lambda noise, std: -noise / std)


@score_function_gradients.mistake(
    "That is the derivative with regard to log sigma. With regard to the log-variance it is half as large."
)
def for_log_sigma(*arguments: Tensor) -> Tensor:
    return _score(*arguments, to_log_variance=lambda noise, std: noise.square() - 1)


@score_function_gradients.mistake(
    "That is the derivative with regard to sigma. The parameter is the log-variance: by the chain rule "
    "times sigma / 2."
)
def for_sigma(*arguments: Tensor) -> Tensor:
    return _score(*arguments, to_log_variance=lambda noise, std: (noise.square() - 1) / std)


@score_function_gradients.mistake(
    "That is the derivative with regard to the variance. The parameter is its logarithm: by the chain "
    "rule times the variance."
)
def for_the_variance(*arguments: Tensor) -> Tensor:
    return _score(*arguments, to_log_variance=lambda noise, std: (noise.square() - 1) / 2 / std.square())


@score_function_gradients.mistake(
    "The normalising constant of the density depends on the variance, too: its derivative, -1/2, is missing."
)
def without_the_constant(*arguments: Tensor) -> Tensor:
    return _score(*arguments, to_log_variance=lambda noise, std: noise.square() / 2)


@score_function_gradients.mistake(
    "The derivative with regard to the log-variance has the wrong sign: a draw far out makes a larger "
    "variance more likely."
)
def sign_of_the_log_variance(*arguments: Tensor) -> Tensor:
    return _score(*arguments, to_log_variance=lambda noise, std: (1 - noise.square()) / 2)


@score_function_gradients.mistake(
    "The derivative with regard to the log-variance is that through the draw, the pathwise one. The "
    "score function takes the derivative of the density."
)
def pathwise_derivative(*arguments: Tensor) -> Tensor:
    return _score(*arguments, to_log_variance=lambda noise, std: std * noise / 2)


@score_function_gradients.mistake(
    "You average over the draws. Asked for is one estimate for each draw, so that their variance can be seen."
)
def averaged_over_draws(*arguments: Tensor) -> Tensor:
    return _score(*arguments).mean(dim=1)


@score_function_gradients.mistake("Log-variance first, then the mean: the order asked for is the other one.")
def parameters_exchanged(*arguments: Tensor) -> Tensor:
    return _score(*arguments).flip(0)


@score_function_gradients.mistake(
    "All signs are reversed: values minus baseline, not the other way round. Asked for is the gradient of "
    "E f(z), in whose direction f grows."
)
def all_signs(*arguments: Tensor) -> Tensor:
    return -_score(*arguments)


@score_function_gradients.mistake(
    "In both scores sigma stands where the variance belongs: divide by `log_variance.exp()`, without a half."
)
def sigma_for_the_variance(*arguments: Tensor) -> Tensor:
    return _score(
        *arguments,
        to_mean=lambda noise, std: noise,
        to_log_variance=lambda noise, std: (noise.square() * std - 1) / 2,
    )


@score_function_gradients.mistake(
    "`log_variance` is taken for the variance itself. The variance is its exponential."
)
def score_log_variance_as_variance(values: Tensor, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    return _score(values, z, mean, log_variance.log())


@score_function_gradients.mistake(
    "`log_variance` is taken for the logarithm of sigma: what you divide by is sigma to the fourth "
    "power, where its square is meant."
)
def score_log_variance_as_log_sigma(values: Tensor, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    return _score(values, z, mean, 2 * log_variance)


@score_function_gradients.mistake(
    "The values are divided by their standard deviation, as is done in reinforcement learning. That "
    "changes the length of the gradient: subtract the baseline and no more."
)
def values_standardised(values: Tensor, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    return _score((values - values.mean()) / values.std(), z, mean, log_variance, baseline=torch.zeros_like)


@score_function_gradients.also_right
def by_autograd(values: Tensor, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    n = len(z)
    m = mean.expand(n, -1).clone().requires_grad_()
    v = log_variance.expand(n, -1).clone().requires_grad_()
    density = torch.distributions.Normal(m, (v / 2).exp()).log_prob(z)
    gain = (values - values.mean()) * n / (n - 1)
    return torch.stack(torch.autograd.grad(density.sum(), [m, v])) * gain[:, None]


@score_function_gradients.also_right
def score_draw_by_draw(values: Tensor, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    variance, rows = log_variance.exp(), []
    for i in range(len(z)):
        others = torch.cat([values[:i], values[i + 1 :]]).mean()
        away = z[i] - mean
        gain = values[i] - others
        rows.append(torch.stack([gain * away / variance, gain * (away**2 / variance - 1) / 2]))
    return torch.stack(rows, dim=1)


@score_function_gradients.also_right
def score_by_a_matrix(values: Tensor, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    n = len(z)
    centre = torch.eye(n) - (torch.ones(n, n) - torch.eye(n)) / (n - 1)
    gain, away = centre @ values, z - mean
    score = torch.cat([away / log_variance.exp(), 0.5 * (away.pow(2) * (-log_variance).exp() - 1)], dim=1)
    return (gain[:, None] * score).view(n, 2, -1).transpose(0, 1)


# --- evidence_lower_bound -----------------------------------------------------------------------------


def _bound_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, batch: int, pixels: int, latent: int, *, sure: float = 1.0) -> Case:
        decoder = net(rng, ["Linear", latent, 6], ["Tanh"], ["Linear", 6, pixels])
        decoder["state"][2] *= np.float32(sure)
        return call(
            label,
            encoder=net(rng, ["Linear", pixels, 6], ["Tanh"], ["Linear", 6, 2 * latent], scale=0.6),
            decoder=decoder,
            images=rng.uniform(-1, 1, size=(batch, pixels)).astype("float32"),
            noise=_normal(rng, batch, latent),
            gradients=["images"],
        )

    yield case("five images of nine pixels, three latents", 5, 9, 3)
    yield case("as many images as pixels and latents", 4, 4, 4)
    yield case("a single image", 1, 7, 2)
    yield case("a decoder that is very sure", 3, 8, 2, sure=300.0)


def _bound(
    encoder: nn.Module,
    decoder: nn.Module,
    images: Tensor,
    noise: Tensor,
    *,
    halves: Callable[[Tensor], tuple[Tensor, ...]] = lambda out: out.chunk(2, dim=1),
    draw: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda m, v, e: m + (v / 2).exp() * e,
    target: Callable[[Tensor], Tensor] = lambda images: (images + 1) / 2,
    likelihood: Callable[[Tensor, Tensor], Tensor] = lambda a, x: (x * a - F.softplus(a)).sum(dim=1),
    divergence: Callable[[Tensor, Tensor], Tensor] = _gaussian_kl,
    sign: float = -1.0,
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    mean, log_variance = halves(encoder(images))
    logits = decoder(draw(mean, log_variance, noise))
    return likelihood(logits, target(images)) + sign * divergence(mean, log_variance)


def _bound_reference(encoder: nn.Module, decoder: nn.Module, images: Tensor, noise: Tensor) -> Tensor:
    return _bound(encoder, decoder, images, noise)


evidence_lower_bound = Exercise(
    points=3, minutes=25, reference=_bound_reference, cases=_bound_cases, rtol=1e-3, atol=1e-3
)


def _pixel_sum(logits: Tensor, x: Tensor) -> Tensor:
    return (x * logits - F.softplus(logits)).sum(dim=1)


def _kl_numbers(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


@evidence_lower_bound.mistake(
    "Nothing has been mended yet: the mean is decoded, and both terms are averages over what should be "
    "summed."
)
def bound_as_printed(*arguments: Any) -> Tensor:
    return _bound(
        *arguments,
        draw=lambda m, v, e: m,
        likelihood=lambda a, x: -F.binary_cross_entropy_with_logits(a, x),
        divergence=lambda m, v: _kl_numbers(m, v).mean(),
    )


@evidence_lower_bound.mistake(
    "You decode the mean of the posterior. The expectation is over draws from q: with the mean alone "
    "the noise costs nothing, and what comes out bounds nothing."
)
def decodes_the_mean(*arguments: Any) -> Tensor:
    return _bound(*arguments, draw=lambda m, v, e: m)


@evidence_lower_bound.mistake(
    "The log-likelihood is averaged over the pixels. The likelihood of an image is the product of those"
    " of its pixels: sum the logarithms. The mean makes the divergence count as many times too much as "
    "there are pixels."
)
def mean_over_pixels(*arguments: Any) -> Tensor:
    return _bound(*arguments, likelihood=lambda a, x: (x * a - F.softplus(a)).mean(dim=1))


@evidence_lower_bound.mistake(
    "The divergence is averaged over the latent dimensions. It is a sum, as in `gaussian_kl`."
)
def kl_averaged(*arguments: Any) -> Tensor:
    return _bound(*arguments, divergence=lambda m, v: _kl_numbers(m, v).mean(dim=1))


@evidence_lower_bound.mistake("The divergence is one number for the whole batch. Each image has its own.")
def kl_of_the_batch(*arguments: Any) -> Tensor:
    return _bound(*arguments, divergence=lambda m, v: _gaussian_kl(m, v).mean())


@evidence_lower_bound.mistake("The log-likelihood is one number for the whole batch. Each image has its own.")
def likelihood_of_the_batch(*arguments: Any) -> Tensor:
    return _bound(*arguments, likelihood=lambda a, x: _pixel_sum(a, x).mean())


@evidence_lower_bound.mistake(
    "The log-likelihood is averaged over the pixels and over the batch, as PyTorch's cross-entropy does by "
    'itself. With `reduction="none"` it gives all numbers: sum them over the pixels of each image.'
)
def likelihood_as_printed(*arguments: Any) -> Tensor:
    return _bound(*arguments, likelihood=lambda a, x: -F.binary_cross_entropy_with_logits(a, x))


@evidence_lower_bound.mistake(
    "The log-likelihood is summed over the batch, too: each image then gets that of all. With "
    '`reduction="none"` there are all numbers: sum them over the pixels of each image.'
)
def likelihood_summed_over_the_batch(*arguments: Any) -> Tensor:
    return _bound(*arguments, likelihood=lambda a, x: _pixel_sum(a, x).sum())


@evidence_lower_bound.mistake(
    "The divergence is still a mean over the batch and the latent dimensions. It is a sum over the latent "
    "dimensions, and each image has its own."
)
def kl_as_printed(*arguments: Any) -> Tensor:
    return _bound(*arguments, divergence=lambda m, v: _kl_numbers(m, v).mean())


@evidence_lower_bound.mistake(
    "The divergence is summed over the batch, too: each image then pays for all. Sum over `dim=1` alone."
)
def kl_summed_over_the_batch(*arguments: Any) -> Tensor:
    return _bound(*arguments, divergence=lambda m, v: _kl_numbers(m, v).sum())


@evidence_lower_bound.mistake(
    "The log-likelihood is a sum now. Two things are left: what is decoded is the mean and not a draw, and "
    "the divergence is an average."
)
def only_the_likelihood_mended(*arguments: Any) -> Tensor:
    return _bound(*arguments, draw=lambda m, v, e: m, divergence=lambda m, v: _kl_numbers(m, v).mean())


@evidence_lower_bound.mistake(
    "The divergence is a sum now. Two things are left: what is decoded is the mean and not a draw, and the "
    "log-likelihood is an average."
)
def only_the_divergence_mended(*arguments: Any) -> Tensor:
    return _bound(
        *arguments,
        draw=lambda m, v, e: m,
        likelihood=lambda a, x: -F.binary_cross_entropy_with_logits(a, x),
    )


@evidence_lower_bound.mistake(
    "Both terms are averages: over pixels, and over latents. The two are sums; and the quotient of the "
    "averages is not that of the sums, so this is not even a multiple of the bound."
)
def both_averaged(*arguments: Any) -> Tensor:
    return _bound(
        *arguments,
        likelihood=lambda a, x: (x * a - F.softplus(a)).mean(dim=1),
        divergence=lambda m, v: _kl_numbers(m, v).mean(dim=1),
    )


@evidence_lower_bound.mistake(
    "The noise is there now, but both terms are averages still. Sum over pixels and over latents, image"
    " by image."
)
def only_the_draw_mended(*arguments: Any) -> Tensor:
    return _bound(
        *arguments,
        likelihood=lambda a, x: -F.binary_cross_entropy_with_logits(a, x),
        divergence=lambda m, v: _kl_numbers(m, v).mean(),
    )


@evidence_lower_bound.mistake(
    "The sums are right, and the mean is decoded still. Decode a draw from q: `noise` is given for that."
)
def sums_over_the_batch_of_means(*arguments: Any) -> Tensor:
    return _bound(*arguments, draw=lambda m, v, e: m).mean()


@evidence_lower_bound.mistake("That is the mean over the batch. Return the bound of each image: `(batch,)`.")
def bound_averaged(*arguments: Any) -> Tensor:
    return _bound(*arguments).mean()


@evidence_lower_bound.mistake("That is the sum over the batch. Return the bound of each image: `(batch,)`.")
def bound_summed(*arguments: Any) -> Tensor:
    return _bound(*arguments).sum()


@evidence_lower_bound.mistake(
    "The noise is added as it is, so that each posterior has variance 1. Scale it by sigma."
)
def bound_noise_unscaled(*arguments: Any) -> Tensor:
    return _bound(*arguments, draw=lambda m, v, e: m + e)


@evidence_lower_bound.mistake("`log_variance` itself scales the noise. Sigma is the exponential of its half.")
def bound_log_variance_as_sigma(*arguments: Any) -> Tensor:
    return _bound(*arguments, draw=lambda m, v, e: m + v * e)


@evidence_lower_bound.mistake(
    "The noise is scaled by the variance. Sigma is the exponential of half the log-variance."
)
def bound_variance_as_sigma(*arguments: Any) -> Tensor:
    return _bound(*arguments, draw=lambda m, v, e: m + v.exp() * e)


@evidence_lower_bound.mistake("All images share the first row of the noise. Each has its own.")
def bound_shared_noise(*arguments: Any) -> Tensor:
    return _bound(*arguments, draw=lambda m, v, e: m + (v / 2).exp() * e[:1])


@evidence_lower_bound.mistake(
    "The value is right, but sigma is cut off from the graph: the reconstruction cannot tell the "
    "encoder what its noise costs."
)
def bound_sigma_detached(*arguments: Any) -> Tensor:
    return _bound(*arguments, draw=lambda m, v, e: m + (v / 2).exp().detach() * e)


@evidence_lower_bound.mistake(
    "The value is right, but no gradient flows through the draw to the encoder: that is what the trick "
    "was for."
)
def bound_draw_detached(*arguments: Any) -> Tensor:
    return _bound(*arguments, draw=lambda m, v, e: (m + (v / 2).exp() * e).detach())


@evidence_lower_bound.mistake(
    "The targets are the images in [-1, 1]. A Bernoulli likelihood wants them in [0, 1]: `(images + 1) / 2`."
)
def targets_not_rescaled(*arguments: Any) -> Tensor:
    return _bound(*arguments, target=lambda images: images)


@evidence_lower_bound.mistake(
    "The targets are cut to 0 and 1. The grey values stay as they are: `(images + 1) / 2`."
)
def targets_binarised(*arguments: Any) -> Tensor:
    return _bound(*arguments, target=lambda images: (images > 0).to(images))


@evidence_lower_bound.mistake(
    "The divergence is added. It is a price: the bound is reconstruction minus divergence."
)
def kl_added(*arguments: Any) -> Tensor:
    return _bound(*arguments, sign=1.0)


@evidence_lower_bound.mistake(
    "The divergence is missing. What is left is the objective of an autoencoder with noise."
)
def kl_missing(*arguments: Any) -> Tensor:
    return _bound(*arguments, sign=0.0)


@evidence_lower_bound.mistake(
    "That is the loss, the bound with its sign reversed. Asked for is the bound, which grows as things "
    "get better."
)
def loss_for_bound(*arguments: Any) -> Tensor:
    return -_bound(*arguments)


@evidence_lower_bound.mistake(
    "The cross-entropy is added where its negative is the log-likelihood: a log-probability is never "
    "above zero."
)
def cross_entropy_added(*arguments: Any) -> Tensor:
    return _bound(*arguments, likelihood=lambda a, x: -_pixel_sum(a, x))


@evidence_lower_bound.mistake("A sigmoid is applied to the logits before a loss that applies one itself.")
def sigmoid_twice(*arguments: Any) -> Tensor:
    return _bound(*arguments, likelihood=lambda a, x: _pixel_sum(a.sigmoid(), x))


@evidence_lower_bound.mistake(
    "You take logarithms of a sigmoid, which rounds to 0 or 1 where the decoder is very sure: the "
    "result is infinite or not a number. `binary_cross_entropy_with_logits` or `softplus` stay finite."
)
def bound_logarithm_of_sigmoid(*arguments: Any) -> Tensor:
    def likelihood(a: Tensor, x: Tensor) -> Tensor:
        p = a.sigmoid()
        return (x * p.log() + (1 - x) * (1 - p).log()).sum(dim=1)

    return _bound(*arguments, likelihood=likelihood)


@evidence_lower_bound.mistake(
    "`binary_cross_entropy` on probabilities cuts its logarithms off at -100, and where the sigmoid has"
    " rounded to 0 or 1 the value is wrong. Leave the sigmoid to a loss that takes logits."
)
def bound_cut_off(*arguments: Any) -> Tensor:
    def likelihood(a: Tensor, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy(a.sigmoid(), x, reduction="none").sum(dim=1)

    return _bound(*arguments, likelihood=likelihood)


@evidence_lower_bound.mistake("That is a squared error. The decoder gives logits of a Bernoulli likelihood.")
def squared_error(*arguments: Any) -> Tensor:
    return _bound(*arguments, likelihood=lambda a, x: -(a.sigmoid() - x).square().sum(dim=1))


@evidence_lower_bound.mistake("The halves of the encoder's output have changed places: the means come first.")
def halves_exchanged(*arguments: Any) -> Tensor:
    return _bound(*arguments, halves=lambda out: out.chunk(2, dim=1)[::-1])


@evidence_lower_bound.mistake(
    "You take every second number for a mean. The means are the first half of the columns, the log-"
    "variances the second: `chunk(2, dim=1)`."
)
def halves_interleaved(*arguments: Any) -> Tensor:
    return _bound(*arguments, halves=lambda out: (out[:, ::2], out[:, 1::2]))


@evidence_lower_bound.mistake(
    "The divergence is estimated from the draw. That is right on average, but its closed form is known "
    "and has no noise: `gaussian_kl`."
)
def kl_by_the_draw(encoder: nn.Module, decoder: nn.Module, images: Tensor, noise: Tensor) -> Tensor:
    def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
        z = mean + (log_variance / 2).exp() * noise
        return 0.5 * (z.square() - noise.square() - log_variance).sum(dim=1)

    return _bound(encoder, decoder, images, noise, divergence=divergence)


@evidence_lower_bound.also_right
def bound_by_distributions(encoder: nn.Module, decoder: nn.Module, images: Tensor, noise: Tensor) -> Tensor:
    latent = noise.shape[1]
    out = encoder(images)
    mean, std = out[:, :latent], (0.5 * out[:, latent:]).exp()
    d = torch.distributions
    logits = decoder(mean + std * noise)
    pixel = d.Bernoulli(logits=logits, validate_args=False).log_prob((images + 1) / 2)
    prior = d.Normal(torch.zeros_like(mean), torch.ones_like(std))
    return pixel.sum(1) - d.kl_divergence(d.Normal(mean, std), prior).sum(1)


@evidence_lower_bound.also_right
def bound_by_cross_entropy(encoder: nn.Module, decoder: nn.Module, images: Tensor, noise: Tensor) -> Tensor:
    mean, log_variance = torch.split(encoder(images), noise.size(1), dim=1)
    logits = decoder(mean + noise * torch.exp(0.5 * log_variance))
    error = F.binary_cross_entropy_with_logits(logits, images / 2 + 0.5, reduction="none").sum(-1)
    return 0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(-1) - error


@evidence_lower_bound.also_right
def bound_image_by_image(encoder: nn.Module, decoder: nn.Module, images: Tensor, noise: Tensor) -> Tensor:
    bounds = []
    for i in range(len(images)):
        m, v = encoder(images[i : i + 1])[0].chunk(2)
        a, x = decoder((m + v.exp().sqrt() * noise[i])[None])[0], (images[i] + 1) / 2
        pixels = x * F.logsigmoid(a) + (1 - x) * F.logsigmoid(-a)
        bounds.append(pixels.sum() - ((m * m + v.exp() - v - 1) / 2).sum())
    return torch.stack(bounds)


# --- bits_per_dimension -------------------------------------------------------------------------------


def _bits_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, *shape: int, std: float, away: float = 0.3) -> Case:
        images = rng.uniform(-1, 1, size=shape).astype("float32")
        return call(
            label,
            prediction=(images + away * rng.normal(size=shape)).astype("float32"),
            images=images,
            log_std=np.array(np.log(std), "float32"),
            kl=rng.uniform(2, 30, size=shape[0]).astype("float32"),
            gradients=["prediction", "log_std", "kl"],
        )

    yield case("four colour images of 3 x 5", 4, 3, 3, 5, std=0.4)
    yield case("two grey images of 4 x 3", 2, 1, 4, 3, std=0.1, away=0.1)
    yield case("as many images as channels, rows and columns", 3, 3, 3, 3, std=1.7)
    yield case("a single image", 1, 2, 3, 2, std=0.7)


def _bits(
    prediction: Tensor,
    images: Tensor,
    log_std: Tensor,
    kl: Tensor,
    *,
    pixel: Callable[[Tensor, Tensor], Tensor] = lambda away, log_std: (
        -0.5 * (away / log_std.exp()).square() - log_std - 0.5 * math.log(2 * math.pi)
    ),
    width: float = LEVEL,
    sign: float = -1.0,
    dimensions: Callable[[Tensor], int] = lambda images: images[0].numel(),
    unit: float = math.log(2),
) -> Tensor:
    """The right answer, with knobs for the wrong ones."""
    bound = pixel(images - prediction, log_std).flatten(1).sum(dim=1) + sign * kl
    return -(bound / dimensions(images) + math.log(width)) / unit


def _bits_reference(prediction: Tensor, images: Tensor, log_std: Tensor, kl: Tensor) -> Tensor:
    return _bits(prediction, images, log_std, kl)


bits_per_dimension = Exercise(
    points=2, minutes=20, reference=_bits_reference, cases=_bits_cases, rtol=1e-4, atol=1e-4
)


@bits_per_dimension.mistake(
    "The constant of the density is missing: -log(2 pi) / 2 a pixel. Without it the number is no bound,"
    " and cannot be compared with another model's."
)
def without_two_pi(*arguments: Tensor) -> Tensor:
    return _bits(*arguments, pixel=lambda away, s: -0.5 * (away / s.exp()).square() - s)


@bits_per_dimension.mistake(
    "The density lacks its -log sigma a pixel. It is what keeps sigma from growing for ever."
)
def without_log_std(*arguments: Tensor) -> Tensor:
    return _bits(
        *arguments, pixel=lambda away, s: -0.5 * (away / s.exp()).square() - 0.5 * math.log(2 * math.pi)
    )


@bits_per_dimension.mistake(
    "-log sigma counts once an image. The density of every number has it: put it inside the sum."
)
def log_std_once(prediction: Tensor, images: Tensor, log_std: Tensor, kl: Tensor) -> Tensor:
    def pixel(away: Tensor, s: Tensor) -> Tensor:
        return -0.5 * (away / s.exp()).square() - 0.5 * math.log(2 * math.pi)

    return _bits(prediction, images, log_std, kl + log_std, pixel=pixel)


@bits_per_dimension.mistake(
    "The log-density is averaged over the dimensions, and then divided by their number once more. The bound"
    " holds their sum."
)
def density_averaged(*arguments: Tensor) -> Tensor:
    def pixel(away: Tensor, s: Tensor) -> Tensor:
        return (-0.5 * (away / s.exp()).square() - s - 0.5 * math.log(2 * math.pi)) / away[0].numel()

    return _bits(*arguments, pixel=pixel)


@bits_per_dimension.mistake(
    "That is half the squared error over the variance, and no density: both -log sigma and -log(2 pi) /"
    " 2 are missing."
)
def scaled_error_alone(*arguments: Tensor) -> Tensor:
    return _bits(*arguments, pixel=lambda away, s: -0.5 * (away / s.exp()).square())


@bits_per_dimension.mistake(
    "That is the squared error. It is the log-density of a Gaussian only up to sigma, 1/2 and a constant."
)
def error_alone(*arguments: Tensor) -> Tensor:
    return _bits(*arguments, pixel=lambda away, s: -away.square())


@bits_per_dimension.mistake(
    "The squared distance is divided by sigma, where the variance belongs: sigma squared."
)
def divided_by_sigma(*arguments: Tensor) -> Tensor:
    return _bits(
        *arguments,
        pixel=lambda away, s: -0.5 * away.square() / s.exp() - s - 0.5 * math.log(2 * math.pi),
    )


@bits_per_dimension.mistake(
    "The log-density has -log of the variance in it, twice what belongs there: -log sigma, or half "
    "the logarithm of the variance."
)
def log_of_the_variance(*arguments: Tensor) -> Tensor:
    return _bits(
        *arguments,
        pixel=lambda away, s: -0.5 * (away / s.exp()).square() - 2 * s - 0.5 * math.log(2 * math.pi),
    )


@bits_per_dimension.mistake(
    "The constant is -log(2 pi) a pixel, twice what it should be: there is a root over 2 pi."
)
def two_pi_without_root(*arguments: Tensor) -> Tensor:
    return _bits(
        *arguments,
        pixel=lambda away, s: -0.5 * (away / s.exp()).square() - s - math.log(2 * math.pi),
    )


@bits_per_dimension.mistake("The factor 1/2 of the squared distance is missing.")
def without_the_half(*arguments: Tensor) -> Tensor:
    return _bits(
        *arguments,
        pixel=lambda away, s: -((away / s.exp()).square()) - s - 0.5 * math.log(2 * math.pi),
    )


@bits_per_dimension.mistake(
    "`log_std` is taken for a log-variance: you halve it. It is the logarithm of sigma."
)
def log_std_halved(prediction: Tensor, images: Tensor, log_std: Tensor, kl: Tensor) -> Tensor:
    return _bits(prediction, images, log_std / 2, kl)


@bits_per_dimension.mistake("`log_std` itself is used as sigma. Sigma is its exponential.")
def log_std_as_std(prediction: Tensor, images: Tensor, log_std: Tensor, kl: Tensor) -> Tensor:
    return _bits(prediction, images, log_std.log(), kl)


@bits_per_dimension.mistake(
    "A density is not a probability yet: it has to be multiplied by the width of a grey level, 2/255, "
    "in every dimension."
)
def without_width(*arguments: Tensor) -> Tensor:
    return _bits(*arguments, width=1.0)


@bits_per_dimension.mistake(
    "You take 1/255 for the width of a level. Images lie in [-1, 1] here, a range of 2: the width is 2/255."
)
def width_of_unit_range(*arguments: Tensor) -> Tensor:
    return _bits(*arguments, width=1 / 255)


@bits_per_dimension.mistake(
    "You take 2/256 for the width of a level. From the lowest of 256 levels to the highest there are "
    "255 steps: the width is 2/255."
)
def width_of_256_steps(*arguments: Tensor) -> Tensor:
    return _bits(*arguments, width=2 / 256)


@bits_per_dimension.mistake(
    "You take 1/256 for the width of a level. Images lie in [-1, 1] here, and from the lowest of 256 "
    "levels to the highest there are 255 steps: the width is 2/255."
)
def width_of_256_levels(*arguments: Tensor) -> Tensor:
    return _bits(*arguments, width=1 / 256)


@bits_per_dimension.mistake(
    "The logarithm of the width has the wrong sign: the finer the levels, the more bits it takes to name one."
)
def width_inverted(*arguments: Tensor) -> Tensor:
    return _bits(*arguments, width=1 / LEVEL)


@bits_per_dimension.mistake(
    "The logarithm of the width counts once an image. Each dimension has its own factor."
)
def width_once(prediction: Tensor, images: Tensor, log_std: Tensor, kl: Tensor) -> Tensor:
    return _bits(prediction, images, log_std, kl - math.log(LEVEL), width=1.0)


@bits_per_dimension.mistake(
    "The logarithm of the width is in bits, and is divided by log 2 once more. Take the natural one, as for "
    "the density."
)
def width_in_bits(*arguments: Tensor) -> Tensor:
    return _bits(*arguments, width=math.exp(math.log2(LEVEL)))


@bits_per_dimension.mistake("The divergence raises the likelihood: the bound is log-likelihood minus `kl`.")
def bits_kl_added(*arguments: Tensor) -> Tensor:
    return _bits(*arguments, sign=1.0)


@bits_per_dimension.mistake(
    "The divergence is missing. The codes have to be sent as well: subtract `kl` from the log-likelihood."
)
def bits_without_kl(*arguments: Tensor) -> Tensor:
    return _bits(*arguments, sign=0.0)


@bits_per_dimension.mistake(
    "The divergence is not divided by the number of dimensions: it counts once an image, as the log-"
    "likelihood does."
)
def kl_in_every_dimension(prediction: Tensor, images: Tensor, log_std: Tensor, kl: Tensor) -> Tensor:
    return _bits(prediction, images, log_std, kl * images[0].numel())


@bits_per_dimension.mistake("That is in nats. Divide by log 2.")
def in_nats(*arguments: Tensor) -> Tensor:
    return _bits(*arguments, unit=1.0)


@bits_per_dimension.mistake("The sign is reversed: lower is better, and here it is the other way round.")
def bits_negative(*arguments: Tensor) -> Tensor:
    return -_bits(*arguments)


@bits_per_dimension.mistake("You divide by the number of pixels. Each channel of each pixel is a dimension.")
def by_pixels(*arguments: Tensor) -> Tensor:
    def pixels(images: Tensor) -> int:
        return images.shape[2] * images.shape[3]

    return _bits(*arguments, dimensions=pixels)


@bits_per_dimension.mistake(
    "You divide by the numbers of the whole batch, `images.numel()`. Count those of one image."
)
def by_the_batch(*arguments: Tensor) -> Tensor:
    return _bits(*arguments, dimensions=lambda images: images.numel())


@bits_per_dimension.mistake(
    "That is one number for the whole batch. Asked for are the bits of each image: `(batch,)`."
)
def bits_of_the_batch(*arguments: Tensor) -> Tensor:
    return _bits(*arguments).mean()


@bits_per_dimension.mistake("The bits are those of a whole image. Divide by the number of dimensions.")
def bits_of_an_image(prediction: Tensor, images: Tensor, log_std: Tensor, kl: Tensor) -> Tensor:
    return _bits(prediction, images, log_std, kl) * images[0].numel()


@bits_per_dimension.also_right
def bits_by_distributions(prediction: Tensor, images: Tensor, log_std: Tensor, kl: Tensor) -> Tensor:
    density = torch.distributions.Normal(prediction, log_std.exp()).log_prob(images)
    bound = (density + math.log(2 / 255)).sum(dim=(1, 2, 3)) - kl
    return -bound / (math.log(2) * images[0].numel())


@bits_per_dimension.also_right
def bits_by_gaussian_loss(prediction: Tensor, images: Tensor, log_std: Tensor, kl: Tensor) -> Tensor:
    variance = (2 * log_std).exp().expand_as(images)
    nats = F.gaussian_nll_loss(prediction, images, variance, full=True, eps=1e-12, reduction="none")
    dimensions = images.shape[1] * images.shape[2] * images.shape[3]
    return ((nats.sum(dim=[1, 2, 3]) + kl) / dimensions - math.log(2 / 255)) / math.log(2)


@bits_per_dimension.also_right
def bits_image_by_image(prediction: Tensor, images: Tensor, log_std: Tensor, kl: Tensor) -> Tensor:
    std, bits = torch.exp(log_std), []
    for guess, image, price in zip(prediction, images, kl, strict=True):
        levels = torch.exp(-((image - guess) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi)) * LEVEL
        bits.append((price / math.log(2) - levels.double().log2().sum().float()) / image.numel())
    return torch.stack(bits)


# --- importance_weighted_bound ------------------------------------------------------------------------


def _iwae_cases(rng: Rng) -> Iterator[Case]:
    def case(
        label: str, samples: int, batch: int, *, level: float | list[float] = -3.0, spread: float = 1.5
    ) -> Case:
        log_q = _normal(rng, samples, batch, mean=-2.0)
        log_p = log_q + np.array(level) + _normal(rng, samples, batch, scale=spread)
        # multiples of 1/64, so that their difference is exact however large they are
        log_p, log_q = (np.round(64 * x) / 64 for x in (log_p, log_q))
        return call(
            label,
            log_joint=log_p.astype("float32"),
            log_posterior=log_q.astype("float32"),
            gradients=["log_joint", "log_posterior"],
        )

    yield case("seven samples of three images", 7, 3)
    yield case("as many samples as images", 4, 4)
    yield case("a single sample", 1, 5)
    yield case("images of many pixels", 6, 2, level=-700.0, spread=4.0)
    yield case("weights above one", 5, 3, level=120.0)
    yield case("images of very different size", 5, 3, level=[-1500.0, -3000.0, -200.0])
    yield case("densities of large images", 4, 2, level=1500.0, spread=3.0)
    yield case("samples whose weights lie far apart", 8, 3, level=-240.0, spread=150.0)


def _iwae(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return (log_joint - log_posterior).logsumexp(dim=0) - math.log(len(log_joint))


importance_weighted_bound = Exercise(
    points=2, minutes=15, reference=_iwae, cases=_iwae_cases, rtol=1e-3, atol=1e-3
)


@importance_weighted_bound.mistake(
    "The mean of the logarithms is the plain ELBO, however many samples. Take the logarithm of the mean"
    " of the weights."
)
def mean_of_logarithms(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return (log_joint - log_posterior).mean(dim=0)


@importance_weighted_bound.mistake(
    "The weights are formed by `exp`, and those of real images are too small, or too large, for a "
    "float: the logarithm is then infinite. `torch.logsumexp` takes the largest out first."
)
def weights_underflow(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return (log_joint - log_posterior).exp().mean(dim=0).log()


@importance_weighted_bound.mistake(
    "The weights are formed by `exp`, in double precision. That puts the limit off, from e^-103 to e^-745, "
    "and a larger image goes past it. `torch.logsumexp` has none."
)
def weights_underflow_later(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    weights = (log_joint.double() - log_posterior.double()).exp()
    return weights.mean(dim=0).log().float()


@importance_weighted_bound.mistake(
    "A small number is added before the logarithm, so that it stays finite. Weights of images are smaller by "
    "far than any such number, and what comes out is its logarithm."
)
def small_number_added(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return ((log_joint - log_posterior).exp().mean(dim=0) + 1e-8).log()


@importance_weighted_bound.mistake(
    "You take out the largest log-weight of the whole batch. Next to a small image all weights of a large "
    "one then vanish: each image has a largest weight of its own, over axis 0."
)
def largest_of_the_batch(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    log_weights = log_joint - log_posterior
    top = log_weights.max()
    return (log_weights - top).exp().mean(dim=0).log() + top


@importance_weighted_bound.mistake(
    "That is the logarithm of the sum of the weights. Subtract log k, or more samples raise it by "
    "themselves and it bounds nothing."
)
def without_log_k(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return (log_joint - log_posterior).logsumexp(dim=0)


@importance_weighted_bound.mistake(
    "That is the loss, the bound with its sign reversed. Asked for is the bound itself."
)
def iwae_loss(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return -_iwae(log_joint, log_posterior)


@importance_weighted_bound.mistake("log k is added. A mean is the sum divided by k: subtract it.")
def log_k_added(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return (log_joint - log_posterior).logsumexp(dim=0) + math.log(len(log_joint))


@importance_weighted_bound.mistake(
    "You divide by k outside the logarithm. The mean is taken of the weights, inside: subtract log k."
)
def divided_outside(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return (log_joint - log_posterior).logsumexp(dim=0) / len(log_joint)


@importance_weighted_bound.mistake(
    "You average over the images, and keep the samples apart. The samples stand along axis 0."
)
def over_the_images(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return (log_joint - log_posterior).logsumexp(dim=1) - math.log(log_joint.shape[1])


@importance_weighted_bound.mistake(
    "log of the number of images is subtracted. k is the number of samples: the length of axis 0."
)
def log_of_the_batch(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return (log_joint - log_posterior).logsumexp(dim=0) - math.log(log_joint.shape[1])


@importance_weighted_bound.mistake(
    "That is one number for the whole batch. Each image has its own bound: `(batch,)`."
)
def iwae_of_the_batch(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return _iwae(log_joint, log_posterior).mean()


@importance_weighted_bound.mistake(
    "All weights of all images go into one mean, before the logarithm. The likelihoods of images "
    "multiply: keep the images apart."
)
def one_mean_for_all(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return (log_joint - log_posterior).flatten().logsumexp(0) - math.log(log_joint.numel())


@importance_weighted_bound.mistake(
    "The largest weight stands for all. It dominates the mean, but is not the mean."
)
def largest_weight(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return (log_joint - log_posterior).amax(dim=0) - math.log(len(log_joint))


@importance_weighted_bound.mistake(
    "You keep the best of the samples. That is larger than the bound may be, and grows with k past log p(x)."
)
def best_sample(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return (log_joint - log_posterior).amax(dim=0)


@importance_weighted_bound.mistake("The log-density of q is added. The weight is p(x, z) over q(z | x).")
def q_added(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return _iwae(log_joint, -log_posterior)


@importance_weighted_bound.mistake("The weight is upside down: p(x, z) over q(z | x).")
def weight_inverted(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return _iwae(log_posterior, log_joint)


@importance_weighted_bound.mistake(
    "q plays no part. Samples from q have to be weighed by how much more often it draws them than p(z) does."
)
def without_q(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return _iwae(log_joint, torch.zeros_like(log_posterior))


@importance_weighted_bound.mistake(
    "That averages the log-weights with the normalised weights. Such a sum appears in the gradient; the"
    " bound is the logarithm of the mean weight."
)
def by_normalised_weights(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    log_weights = log_joint - log_posterior
    return (log_weights.softmax(dim=0) * log_weights).sum(dim=0)


@importance_weighted_bound.mistake("You subtract the largest log-weight before `exp`, and never add it back.")
def largest_not_added_back(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    log_weights = log_joint - log_posterior
    return (log_weights - log_weights.amax(dim=0)).exp().mean(dim=0).log()


@importance_weighted_bound.mistake(
    "The logarithm of the mean joint, minus the logarithm of the mean density of q, is the quotient of "
    "two means. Form the quotient of each sample first."
)
def quotient_of_means(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return log_joint.logsumexp(dim=0) - log_posterior.logsumexp(dim=0)


@importance_weighted_bound.mistake(
    "The value is right, but no gradient flows: `detach`, `.data` and `torch.no_grad` do not belong here."
)
def iwae_detached(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    return _iwae(log_joint.detach(), log_posterior.detach())


@importance_weighted_bound.also_right
def by_the_largest(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    log_weights = log_joint - log_posterior
    top = log_weights.detach().amax(dim=0)
    return (log_weights - top).exp().mean(dim=0).log() + top


@importance_weighted_bound.also_right
def by_adding_up(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    total = log_joint[0] - log_posterior[0]
    for p, q in zip(log_joint[1:], log_posterior[1:], strict=True):
        total = torch.logaddexp(total, p - q)
    return total - torch.log(torch.tensor(float(log_joint.size(0))))


@importance_weighted_bound.also_right
def by_normalising(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    log_weights = log_joint.double() - log_posterior.double()
    first = log_weights[0] - log_weights.log_softmax(dim=0)[0]
    return (first - math.log(log_weights.shape[0])).float()


# --- diagnose_latents ---------------------------------------------------------------------------------


def _latent_case(
    rng: Rng,
    label: str,
    *,
    latent: int,
    active: int,
    shift: tuple[int | slice, float] | None = None,
    wide: tuple[int, float] | None = None,
    gap: float = 0.01,
    level: float = -240.0,
    noisy: bool = False,
    sometimes: bool = False,
    aside: float | None = None,
    easy: bool = False,
) -> Case:
    """Posteriors of 400 images; ``active`` dimensions have means that vary, and fit the prior together."""
    images = 400
    means = _normal(rng, images, latent)
    means = (means - means.mean(axis=0)) / means.std(axis=0)
    share = np.full(latent, 1e-4)
    share[:active] = rng.uniform(0.25, 0.95, size=active)
    share = rng.permutation(share)
    means = means * np.sqrt(share) + rng.uniform(-0.15, 0.15, size=latent)
    log_variances = np.log(1 - share) + 0.05 * _normal(rng, images, latent)
    living = np.flatnonzero(share > 0.1)
    if shift is not None:
        means[:, living[shift[0]]] += shift[1]
    if wide is not None:
        means[:, living[wide[0]]] *= wide[1]
    if aside is not None:  # a dimension that says nothing need not be the prior's exactly
        dead = np.flatnonzero(share < 0.1)[0]
        means[:, dead] += aside - means[:, dead].mean()
    if sometimes:  # half of the posteriors much too wide, the others narrow
        odd = rng.permutation(images) < images // 2
        log_variances[:, living[0]] = np.log(np.where(odd, rng.uniform(6.5, 8), 0.02))
    if noisy:
        log_variances[:, living[0]] = np.log(rng.uniform(3.5, 5)) + 0.05 * _normal(rng, images)
    test = level + 15 * _normal(rng, 300)
    train = test.mean() + gap * abs(level) + 15 * _normal(rng, 350)
    train[:3] += 0.7 * abs(level) * easy
    train += test.mean() + gap * abs(level) - train.mean()
    return call(
        label,
        means=means.astype("float32"),
        log_variances=log_variances.astype("float32"),
        train_bound=train.astype("float32"),
        test_bound=test.astype("float32"),
    )


def _latents_cases(rng: Rng) -> Iterator[Case]:
    def case(label: str, **options: Any) -> Case:
        return _latent_case(rng, label, **options)

    yield case("all dimensions are used", latent=8, active=8)
    yield case("most dimensions are used", latent=9, active=6)
    yield case("one dimension in eight is used", latent=8, active=1)
    yield case("exactly half are used", latent=10, active=5)
    aside = float(rng.choice([-0.18, 0.18]))
    yield case(
        "fewer than half are used, and a dead one is not quite the prior", latent=9, active=4, aside=aside
    )
    yield case("no dimension is used", latent=6, active=0)
    yield case("few are used, and the training images are known by heart", latent=8, active=2, gap=0.3)
    yield case("few are used, and one of them is far from the prior", latent=9, active=3, shift=(0, 4.0))
    yield case("one dimension is centred elsewhere", latent=7, active=6, shift=(2, 2.5))
    yield case("one dimension is centred elsewhere, on the other side", latent=7, active=7, shift=(1, -2.5))
    yield case("all dimensions are centred elsewhere", latent=5, active=5, shift=(slice(None), 2.2))
    yield case("the codes of one dimension lie far too wide", latent=6, active=6, wide=(3, 6.0))
    yield case("the posteriors of one dimension are too wide", latent=6, active=5, noisy=True)
    yield case("half the posteriors of one dimension are too wide", latent=7, active=6, sometimes=True)
    yield case(
        "centred elsewhere, and the training images are known by heart",
        latent=6,
        active=5,
        shift=(0, 3.0),
        gap=0.3,
    )
    yield case("the training images are known by heart", latent=8, active=7, gap=0.25)
    yield case("known by heart, with bounds near zero", latent=6, active=6, gap=0.3, level=-70.0)
    yield case("a density, whose bounds are positive", latent=6, active=6, gap=0.04, level=900.0)
    yield case(
        "a density whose training images are known by heart", latent=6, active=5, gap=0.25, level=900.0
    )
    yield case("the test images are a little easier", latent=8, active=8, gap=-0.015)
    yield case("a few of the training images are far easier than all others", latent=7, active=7, easy=True)
    yield case("the test images are much easier", latent=8, active=8, gap=-0.25)


def _diagnose_latents(
    means: Tensor,
    log_variances: Tensor,
    train_bound: Tensor,
    test_bound: Tensor,
    *,
    active: Callable[[Tensor, Tensor], Tensor] = lambda means, log_variances: means.var(dim=0) > 0.03,
    few: Callable[[int, int], bool] = lambda active, latent: active <= latent / 2,
    centre: Callable[[Tensor], Tensor] = lambda means: means.mean(dim=0).abs(),
    width: Callable[[Tensor, Tensor], Tensor] = lambda means, log_variances: (
        means.var(dim=0) + log_variances.exp().mean(dim=0)
    ),
    gap: Callable[[Tensor, Tensor], Tensor] = lambda train, test: (
        (train.mean() - test.mean()) / test.mean().abs()
    ),
    order: tuple[str, ...] = ("collapsed", "mismatched", "overfitted"),
) -> str:
    """The right answer, with knobs for the wrong ones."""
    found = {
        "collapsed": few(int(active(means, log_variances).sum()), means.shape[1]),
        "mismatched": bool((centre(means) > 1).any() or (width(means, log_variances) > 2).any()),
        "overfitted": bool(gap(train_bound, test_bound) > 0.07),
    }
    return next((name for name in order if found[name]), "sound")


def _diagnose_latents_reference(
    means: Tensor, log_variances: Tensor, train_bound: Tensor, test_bound: Tensor
) -> str:
    return _diagnose_latents(means, log_variances, train_bound, test_bound)


diagnose_latents = Exercise(points=2, minutes=20, reference=_diagnose_latents_reference, cases=_latents_cases)


@diagnose_latents.mistake(
    "Collapse is never found. A dimension is dead where the mean of the posterior is the same for all "
    "images: look at the variance of `means` over the images."
)
def never_collapsed(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, few=lambda active, latent: False)


@diagnose_latents.mistake(
    "You find a collapse only where every dimension is dead. Asked is whether half of them or more are."
)
def all_have_to_be_dead(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, few=lambda active, latent: active == 0)


@diagnose_latents.mistake(
    "You find a collapse where one dimension is dead. Asked is whether half or more are."
)
def one_dead_is_enough(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, few=lambda active, latent: active < latent)


@diagnose_latents.mistake("Half the dimensions dead is a collapse, too: half or more.")
def more_than_half(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, few=lambda active, latent: active < latent / 2)


@diagnose_latents.mistake(
    "You call dimensions dead whose posterior is narrow. It is the other way round: a dimension that "
    "says nothing keeps the prior's variance, 1."
)
def narrow_is_dead(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, active=lambda m, v: v.exp().mean(dim=0) > 0.9)


@diagnose_latents.mistake(
    "You call a dimension dead where its mean over all images is near zero. That is so in any good "
    "model: what counts is how much the mean varies from image to image."
)
def small_mean_is_dead(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, active=lambda m, v: m.mean(dim=0).abs() > 0.3)


@diagnose_latents.mistake(
    "You look at the divergence. A posterior that is the same for all images says nothing, even where it is "
    "not quite the prior: compare the means of different images, as in (16)."
)
def divergence_above_a_hundredth(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, active=lambda m, v: _kl_numbers(m, v).mean(dim=0) > 0.01)


@diagnose_latents.mistake(
    "A mismatch is never found. Take the codes of all images together: each dimension should have mean "
    "0 and variance 1, as the prior has."
)
def never_mismatched(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, order=("collapsed", "overfitted"))


@diagnose_latents.mistake(
    "Codes that are centred elsewhere are missed. Compare the mean over all images with 0, on either side."
)
def centre_ignored(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, centre=lambda m: torch.zeros(m.shape[1]))


@diagnose_latents.mistake(
    "Codes that are centred on the negative side are missed: take the absolute value of the mean."
)
def one_side_only(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, centre=lambda m: m.mean(dim=0))


@diagnose_latents.mistake(
    "You average over the dimensions before you look. One that is off is enough: samples from the prior"
    " miss its codes."
)
def averaged_over_dimensions(*arguments: Tensor) -> str:
    return _diagnose_latents(
        *arguments,
        centre=lambda m: m.mean(dim=0, keepdim=True).mean().abs(),
        width=lambda m, v: m.var(dim=0).mean() + v.exp().mean(),
    )


@diagnose_latents.mistake(
    "You find a mismatch only where all dimensions are off. One is enough: samples from the prior miss its "
    "codes."
)
def all_have_to_be_off(*arguments: Tensor) -> str:
    def centre(means: Tensor) -> Tensor:
        return torch.zeros(means.shape[1])

    def width(means: Tensor, log_variances: Tensor) -> Tensor:
        off = means.mean(dim=0).abs() > 1
        off |= means.var(dim=0) + log_variances.exp().mean(dim=0) > 2
        return 9.0 * off.all(dim=0, keepdim=True)

    return _diagnose_latents(*arguments, centre=centre, width=width)


@diagnose_latents.mistake(
    "Codes that lie too wide are missed. The variance of all codes together is that of the means plus"
    " the mean of the variances."
)
def width_ignored(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, width=lambda m, v: torch.zeros(m.shape[1]))


@diagnose_latents.mistake(
    "The width of all codes together is that of the means plus the posteriors' own. Where the "
    "posteriors are too wide and the means are not, you see nothing."
)
def means_alone(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, width=lambda m, v: m.var(dim=0))


@diagnose_latents.mistake(
    "The width of all codes together is the posteriors' own plus that of the means. Where the means lie"
    " too far apart, you see nothing."
)
def variances_alone(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, width=lambda m, v: v.exp().mean(dim=0))


@diagnose_latents.mistake(
    "You average the log-variances, and take the exponential afterwards or not at all. What adds to the "
    "variance of the means is the mean of the variances: the exponential comes first."
)
def width_of_the_typical_posterior(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, width=lambda m, v: m.var(dim=0) + v.mean(dim=0).exp())


@diagnose_latents.mistake(
    "You expect the means to have variance 1 and call less a mismatch. The posterior's own variance "
    "makes up for the rest: add the two."
)
def means_should_have_one(*arguments: Tensor) -> str:
    return _diagnose_latents(
        *arguments, width=lambda m, v: torch.where(m.var(dim=0) < 0.7, 9.0, m.var(dim=0))
    )


@diagnose_latents.mistake(
    "Overfitting is never found. Compare the mean bound of the training images with that of the test images."
)
def never_overfitted(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, order=("collapsed", "mismatched"))


@diagnose_latents.mistake(
    "The comparison of the bounds is reversed. Higher is better: overfitted is a model whose training"
    " images have the higher bound."
)
def bounds_reversed(*arguments: Tensor) -> str:
    return _diagnose_latents(
        *arguments, gap=lambda train, test: (test.mean() - train.mean()) / test.mean().abs()
    )


@diagnose_latents.mistake(
    "Any difference between the bounds counts for you, in either direction. Test images that are easier"
    " are no overfitting."
)
def any_gap(*arguments: Tensor) -> str:
    return _diagnose_latents(
        *arguments, gap=lambda train, test: ((train.mean() - test.mean()) / test.mean()).abs()
    )


@diagnose_latents.mistake(
    "You divide by the bound with its sign. Bounds are negative for probabilities and may be positive "
    "for densities: divide by the absolute value."
)
def signed_share(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, gap=lambda train, test: (test.mean() - train.mean()) / test.mean())


@diagnose_latents.mistake(
    "Overfitting is found where bounds are positive and nowhere else: negative ones turn the comparison "
    "round. Divide the difference, with its sign, by the absolute value of the test bound."
)
def share_of_a_negative(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, gap=lambda train, test: (train.mean() - test.mean()) / test.mean())


@diagnose_latents.mistake(
    "You ask whether the training bound exceeds the test bound times a factor. Bounds may be negative, and "
    "1.1 times a negative number is smaller: divide the difference by the absolute value."
)
def times_a_factor(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, gap=lambda train, test: (train.mean() - 1.1 * test.mean()).sign())


@diagnose_latents.mistake(
    "You measure the difference of the bounds in nats, or in standard errors. What is little for a bound of "
    "900 is much for one of 70: divide by the size of the test bound."
)
def ten_nats(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, gap=lambda train, test: (train.mean() - test.mean() - 10).sign())


@diagnose_latents.mistake(
    "You compare the best images of either side. A few easy ones say nothing: compare the mean bounds."
)
def best_images(*arguments: Tensor) -> str:
    return _diagnose_latents(
        *arguments, gap=lambda train, test: (train.max() - test.max()) / test.mean().abs()
    )


@diagnose_latents.mistake(
    "You call any model overfitted whose training images have the higher bound. A little higher they "
    "nearly always are: ask for a tenth."
)
def slightest_gap(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, gap=lambda train, test: (train.mean() - test.mean()).sign())


@diagnose_latents.mistake(
    'Several may apply, and the first of the list is asked for: "collapsed" before all others.'
)
def collapse_last(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, order=("mismatched", "overfitted", "collapsed"))


@diagnose_latents.mistake(
    'Several may apply, and the first of the list is asked for: "mismatched" before "overfitted".'
)
def overfitting_before_mismatch(*arguments: Tensor) -> str:
    return _diagnose_latents(*arguments, order=("collapsed", "overfitted", "mismatched"))


@diagnose_latents.also_right
def latents_step_by_step(
    means: Tensor, log_variances: Tensor, train_bound: Tensor, test_bound: Tensor
) -> str:
    dead = sum(float(column.std()) < 0.15 for column in means.T)
    if 2 * dead >= means.shape[1]:
        return "collapsed"
    for column, log_variance in zip(means.T, log_variances.T, strict=True):
        everything = torch.sqrt(column.var() + log_variance.exp().mean())
        if abs(float(column.mean())) > 0.8 or float(everything) > 1.45:
            return "mismatched"
    better = float(train_bound.mean() - test_bound.mean())
    return "overfitted" if better > 0.1 * abs(float(test_bound.mean())) else "sound"


@diagnose_latents.also_right
def latents_by_drawing(means: Tensor, log_variances: Tensor, train_bound: Tensor, test_bound: Tensor) -> str:
    noise = torch.randn(means.shape, generator=torch.Generator().manual_seed(0))
    z = means + (log_variances / 2).exp() * noise
    if (means.max(dim=0).values - means.min(dim=0).values < 0.5).sum() >= means.shape[1] / 2:
        return "collapsed"
    if (z.mean(dim=0).abs() > 0.9).any() or (z.std(dim=0) > 1.45).any():
        return "mismatched"
    scale = test_bound.mean().abs()
    return "overfitted" if train_bound.mean() - test_bound.mean() > 0.06 * scale else "sound"


# --- quantise -----------------------------------------------------------------------------------------


def _quantise_cases(rng: Rng) -> Iterator[Case]:
    def case(
        label: str, batch: int, dim: int, height: int, width: int, codes: int, *, commitment: float = 0.25
    ) -> Case:
        # codes of very different lengths, so that the largest inner product is not the nearest
        lengths = np.geomspace(0.3, 4.0, codes)[rng.permutation(codes)]
        codebook = _normal(rng, codes, dim)
        codebook *= (lengths / np.linalg.norm(codebook, axis=1))[:, None].astype("float32")
        return call(
            label,
            features=_normal(rng, batch, dim, height, width, scale=1.3),
            codebook=codebook.astype("float32"),
            commitment=commitment,
            gradients=["features", "codebook"],
        )

    yield case("two images of 3 x 4 places, six codes of five numbers", 2, 5, 3, 4, 6)
    yield case("as many images, numbers, rows and columns", 3, 3, 3, 3, 4, commitment=0.6)
    yield case("a single place", 1, 4, 1, 1, 3, commitment=1.5)
    yield case("more codes than places", 2, 3, 2, 1, 9, commitment=0.1)


def _nearest(places: Tensor, codebook: Tensor) -> Tensor:
    return (places[..., None, :] - codebook).square().sum(dim=-1).argmin(dim=-1)


def _quantise(
    features: Tensor,
    codebook: Tensor,
    commitment: float,
    *,
    nearest: Callable[[Tensor, Tensor], Tensor] = _nearest,
    through: Callable[[Tensor, Tensor], Tensor] = lambda v, e: v + (e - v).detach(),
    loss: Callable[[Tensor, Tensor, float], Tensor] = lambda v, e, c: (
        F.mse_loss(e, v.detach()) + c * F.mse_loss(v, e.detach())
    ),
    rows: Callable[[Tensor], Tensor] = lambda features: features.movedim(1, -1),
    back: Callable[[Tensor, Tensor], Tensor] = lambda vectors, features: vectors.movedim(-1, 1),
) -> list[Tensor]:
    """The right answer, with knobs for the wrong ones."""
    chosen = codebook[nearest(rows(features), codebook)]
    quantised = back(chosen, features)
    return [through(features, quantised), loss(features, quantised, commitment)]


def _quantise_reference(features: Tensor, codebook: Tensor, commitment: float) -> list[Tensor]:
    return _quantise(features, codebook, commitment)


quantise = Exercise(points=3, minutes=25, reference=_quantise_reference, cases=_quantise_cases)


@quantise.mistake(
    "The code with the largest inner product is not the nearest where codes have different lengths: |v "
    "- e|^2 has |e|^2 in it."
)
def largest_product(*arguments: Any) -> list[Tensor]:
    return _quantise(*arguments, nearest=lambda v, e: (v @ e.T).argmax(dim=-1))


@quantise.mistake("You compare directions (the cosine). Nearest is meant by distance, and lengths count.")
def largest_cosine(*arguments: Any) -> list[Tensor]:
    return _quantise(
        *arguments,
        nearest=lambda v, e: (F.normalize(v, dim=-1) @ F.normalize(e, dim=-1).T).argmax(dim=-1),
    )


@quantise.mistake("You take the farthest code: `argmax` of distances where `argmin` is meant.")
def farthest_code(*arguments: Any) -> list[Tensor]:
    return _quantise(
        *arguments, nearest=lambda v, e: (v[..., None, :] - e).square().sum(dim=-1).argmax(dim=-1)
    )


@quantise.mistake(
    "The codes' own gradient comes through the output, and the features get none: choosing has no "
    "derivative. Straight-through gives the features the output's gradient and the codebook nothing."
)
def not_straight_through(*arguments: Any) -> list[Tensor]:
    return _quantise(*arguments, through=lambda v, e: e)


@quantise.mistake(
    "Through the output no gradient comes back at all, neither to the features nor to the codebook. The"
    " features should get it, as if nothing had been replaced."
)
def nothing_through(*arguments: Any) -> list[Tensor]:
    return _quantise(*arguments, through=lambda v, e: e.detach())


@quantise.mistake(
    "The output's gradient goes to the features and to the codebook as well. Only the loss teaches the "
    "codebook: put `detach` around the whole difference."
)
def through_to_both(*arguments: Any) -> list[Tensor]:
    return _quantise(*arguments, through=lambda v, e: v + e - v.detach())


@quantise.mistake(
    "The features come back as they were. What is handed on has the values of the codes and the "
    "gradient of the features."
)
def features_handed_on(*arguments: Any) -> list[Tensor]:
    return _quantise(*arguments, through=lambda v, e: v + 0 * e.detach())


@quantise.mistake(
    "`commitment` weighs the wrong term. It belongs to the one that pulls the features to their codes; "
    "the codebook's term has weight 1."
)
def weight_on_the_codebook(*arguments: Any) -> list[Tensor]:
    return _quantise(
        *arguments,
        loss=lambda v, e, c: c * F.mse_loss(e, v.detach()) + F.mse_loss(v, e.detach()),
    )


@quantise.mistake(
    "Nothing is detached in the loss, so both terms pull at both. One is for the codebook with the "
    "features fixed, the other the other way round."
)
def loss_without_detach(*arguments: Any) -> list[Tensor]:
    return _quantise(*arguments, loss=lambda v, e, c: (1 + c) * F.mse_loss(v, e))


@quantise.mistake(
    "The commitment is missing: the features may run away from their codes, and the codebook never "
    "catches up."
)
def without_commitment(*arguments: Any) -> list[Tensor]:
    return _quantise(*arguments, loss=lambda v, e, c: F.mse_loss(e, v.detach()))


@quantise.mistake("The codebook's term is missing: nothing moves the codes.")
def without_codebook_term(*arguments: Any) -> list[Tensor]:
    return _quantise(*arguments, loss=lambda v, e, c: c * F.mse_loss(v, e.detach()))


@quantise.mistake(
    "The loss is made of what is handed on, behind the trick. There the codes are cut off from the graph and "
    "the features stand in their place: form both terms from the codes themselves, before it."
)
def loss_after_the_trick(features: Tensor, codebook: Tensor, commitment: float) -> list[Tensor]:
    quantised, _ = _quantise(features, codebook, commitment)
    loss = F.mse_loss(quantised, features.detach()) + commitment * F.mse_loss(features, quantised.detach())
    return [quantised, loss]


@quantise.mistake("`commitment` weighs both terms. The codebook's term has weight 1.")
def both_terms_weighted(*arguments: Any) -> list[Tensor]:
    return _quantise(
        *arguments,
        loss=lambda v, e, c: c * (F.mse_loss(e, v.detach()) + F.mse_loss(v, e.detach())),
    )


@quantise.mistake("The commitment has weight 1. It is weighed by `commitment`.")
def commitment_unweighted(*arguments: Any) -> list[Tensor]:
    return _quantise(*arguments, loss=lambda v, e, c: F.mse_loss(e, v.detach()) + F.mse_loss(v, e.detach()))


@quantise.mistake(
    "The squared differences are summed. Take their mean over all numbers of all places, so that the "
    "weight does not depend on the size of images and batch."
)
def differences_summed(*arguments: Any) -> list[Tensor]:
    return _quantise(
        *arguments,
        loss=lambda v, e, c: (e - v.detach()).square().sum() + c * (v - e.detach()).square().sum(),
    )


@quantise.mistake(
    "The squared differences are summed over each image, and averaged over the images alone. The mean is "
    "over all numbers."
)
def mean_over_images(*arguments: Any) -> list[Tensor]:
    def loss(v: Tensor, e: Tensor, c: float) -> Tensor:
        return ((e - v.detach()).square().sum() + c * (v - e.detach()).square().sum()) / len(v)

    return _quantise(*arguments, loss=loss)


@quantise.mistake(
    "You take distances, or sum their squares over the numbers of a vector before the mean. The mean is"
    " over all numbers."
)
def mean_over_places(*arguments: Any) -> list[Tensor]:
    def loss(v: Tensor, e: Tensor, c: float) -> Tensor:
        return (e - v.detach()).square().sum(dim=1).mean() + c * (v - e.detach()).square().sum(dim=1).mean()

    return _quantise(*arguments, loss=loss)


@quantise.mistake(
    "The vectors are cut out of memory with `reshape` or `view` before the channels are moved to the "
    "end: each then mixes places. Move axis 1 to the end first."
)
def cut_from_memory(*arguments: Any) -> list[Tensor]:
    return _quantise(
        *arguments,
        rows=lambda x: x.reshape(-1, x.shape[1]),
        back=lambda vectors, x: vectors.reshape(x.shape),
    )


@quantise.mistake("The channels are still the last axis. Move them back: (batch, dim, height, width).")
def channels_left_last(features: Tensor, codebook: Tensor, commitment: float) -> list[Tensor]:
    quantised, loss = _quantise(features, codebook, commitment)
    return [quantised.movedim(1, -1), loss]


@quantise.mistake(
    "The result was put back with `reshape` or `view` instead of moving the axis: the numbers are right"
    " and lie in the wrong places."
)
def reshaped_back(*arguments: Any) -> list[Tensor]:
    return _quantise(*arguments, back=lambda vectors, x: vectors.reshape(x.shape))


@quantise.mistake(
    "Each place gets a mixture of codes, weighted by their distance. A code is one row of the codebook."
)
def soft_codes(features: Tensor, codebook: Tensor, commitment: float) -> list[Tensor]:
    places = features.movedim(1, -1)
    weights = (-(places[..., None, :] - codebook).square().sum(dim=-1)).softmax(dim=-1)
    quantised = (weights @ codebook).movedim(-1, 1)
    loss = F.mse_loss(quantised, features.detach()) + commitment * F.mse_loss(features, quantised.detach())
    return [features + (quantised - features).detach(), loss]


@quantise.mistake("The loss is detached, or made under `no_grad`: it teaches nobody.")
def loss_detached(*arguments: Any) -> list[Tensor]:
    return _quantise(*arguments, loss=lambda v, e, c: (1 + c) * F.mse_loss(v, e).detach())


@quantise.also_right
def by_cdist(features: Tensor, codebook: Tensor, commitment: float) -> tuple[Tensor, Tensor]:
    flat = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    with torch.no_grad():
        codes = torch.cdist(flat, codebook, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
    shape = (features.shape[0], *features.shape[2:], -1)
    quantised = F.embedding(codes, codebook).view(shape).permute(0, 3, 1, 2)
    loss = ((quantised - features.detach()) ** 2).mean()
    loss = loss + commitment * ((quantised.detach() - features) ** 2).mean()
    return features + (quantised - features).detach(), loss


@quantise.also_right
def quantise_by_expanded_square(
    features: Tensor, codebook: Tensor, commitment: float
) -> tuple[Tensor, Tensor]:
    places = features.movedim(1, 3)
    codes = ((codebook**2).sum(1) - 2 * places @ codebook.T).argmin(-1)
    chosen = (F.one_hot(codes, len(codebook)).to(codebook) @ codebook).movedim(3, 1)
    codes_to_features = F.mse_loss(chosen, features.detach())
    features_to_codes = F.mse_loss(chosen.detach(), features)
    return chosen.detach() + features - features.detach(), codes_to_features + commitment * features_to_codes


@quantise.also_right
def quantise_place_by_place(features: Tensor, codebook: Tensor, commitment: float) -> list[Tensor]:
    batch, _, height, width = features.shape
    images = []
    for b in range(batch):
        rows = []
        for i in range(height):
            places = [codebook[(codebook - features[b, :, i, j]).norm(dim=1).argmin()] for j in range(width)]
            rows.append(torch.stack(places, dim=1))
        images.append(torch.stack(rows, dim=1))
    e = torch.stack(images)
    numbers = e.numel()
    loss = (e - features.detach()).pow(2).sum() / numbers
    loss = loss + commitment * (features - e.detach()).pow(2).sum() / numbers
    return [features - (features - e).detach(), loss]
