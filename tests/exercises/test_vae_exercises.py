"""Wrong answers that the exercises on VAEs do not list are rejected too, and further right ones pass."""

import functools
import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from collected import Collected

from genimg_ref.exercises import chapter, find
from genimg_ref.exercises.compare import compare
from genimg_ref.exercises.engine import respond

wrong, right = Collected(), Collected()


# ---- gaussian_kl -------------------------------------------------------------------------------------------


def kl_terms(mean, log_variance):
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)


@wrong("gaussian_kl")
def log_variance_clamped(mean, log_variance):
    return kl_terms(mean, log_variance.clamp(-10, 10)).sum(dim=1)


@wrong("gaussian_kl")
def variance_clamped_from_below(mean, log_variance):
    variance = log_variance.exp().clamp(min=1e-4)
    return 0.5 * (mean**2 + variance - 1 - variance.log()).sum(dim=1)


@wrong("gaussian_kl")
def variance_bounded_from_above(mean, log_variance):
    return kl_terms(mean, log_variance.clamp(max=4)).sum(dim=1)


@wrong("gaussian_kl")
def small_number_in_the_logarithm(mean, log_variance):
    variance = log_variance.exp()
    return 0.5 * (mean**2 + variance - 1 - (variance + 1e-6).log()).sum(dim=1)


@wrong("gaussian_kl")
def from_one_draw(mean, log_variance):
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    z = mean + (log_variance / 2).exp() * noise
    return 0.5 * (z**2 - noise**2 - log_variance).sum(dim=1)


@wrong("gaussian_kl")
def from_many_draws(mean, log_variance):
    noise = torch.randn(4096, *mean.shape, generator=torch.Generator().manual_seed(0))
    z = mean + (log_variance / 2).exp() * noise
    return 0.5 * (z**2 - noise**2 - log_variance).sum(dim=2).mean(dim=0)


@wrong("gaussian_kl")
def mean_of_both_directions(mean, log_variance):
    back = 0.5 * ((mean**2 + 1) * (-log_variance).exp() - 1 + log_variance)
    return (kl_terms(mean, log_variance) + back).sum(dim=1) / 2


@wrong("gaussian_kl")
def entropy_alone(mean, log_variance):
    return -0.5 * (log_variance + 1 + math.log(2 * math.pi)).sum(dim=1)


@wrong("gaussian_kl")
def cross_entropy_with_the_prior(mean, log_variance):
    return 0.5 * (mean**2 + log_variance.exp() + math.log(2 * math.pi)).sum(dim=1)


@wrong("gaussian_kl")
def square_of_the_sum(mean, log_variance):
    return 0.5 * (mean.sum(dim=1) ** 2 + (log_variance.exp() - 1 - log_variance).sum(dim=1))


@wrong("gaussian_kl")
def only_the_mean_learns(mean, log_variance):
    return kl_terms(mean, log_variance.detach()).sum(dim=1)


@wrong("gaussian_kl")
def only_the_variance_learns(mean, log_variance):
    return kl_terms(mean.detach(), log_variance).sum(dim=1)


@wrong("gaussian_kl")
def one_axis_too_many(mean, log_variance):
    return kl_terms(mean, log_variance).sum(dim=1, keepdim=True)


@wrong("gaussian_kl")
def log_variance_overwritten(mean, log_variance):
    return 0.5 * (mean**2 - 1 - log_variance.clone() + log_variance.exp_()).sum(dim=1)


@right("gaussian_kl")
def by_expm1(mean, log_variance):
    return ((torch.expm1(log_variance) - log_variance).sum(dim=1) + (mean * mean).sum(dim=1)) / 2


@right("gaussian_kl")
def as_independent_distributions(mean, log_variance):
    d = torch.distributions
    q = d.Independent(d.Normal(mean, log_variance.exp().sqrt()), 1)
    p = d.Independent(d.Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    return d.kl_divergence(q, p)


@right("gaussian_kl")
def with_einsum(mean, log_variance):
    std = torch.exp(0.5 * log_variance)
    squares = torch.einsum("bi,bi->b", mean, mean) + torch.einsum("bi,bi->b", std, std)
    return 0.5 * (squares - log_variance.sum(dim=1) - mean.shape[1])


# ---- reparameterise ----------------------------------------------------------------------------------------


@wrong("reparameterise")
def latents_first(mean, log_variance, rng):
    return mean + (log_variance / 2).exp() * torch.randn(*mean.shape[::-1], generator=rng).T


@wrong("reparameterise")
def a_column_at_a_time(mean, log_variance, rng):
    noise = [torch.randn(len(mean), generator=rng) for _ in range(mean.shape[1])]
    return mean + (log_variance / 2).exp() * torch.stack(noise, dim=1)


@wrong("reparameterise")
def second_draw(mean, log_variance, rng):
    torch.randn(mean.shape, generator=rng)
    return mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=rng)


@wrong("reparameterise")
def mean_of_two_draws(mean, log_variance, rng):
    noise = torch.randn(2, *mean.shape, generator=rng).mean(dim=0)
    return mean + (log_variance / 2).exp() * noise


@wrong("reparameterise")
def noise_standardised(mean, log_variance, rng):
    noise = torch.randn(mean.shape, generator=rng)
    noise = (noise - noise.mean()) / noise.std().clamp(min=1e-3)
    return mean + (log_variance / 2).exp() * noise


@wrong("reparameterise")
def noise_cut_off(mean, log_variance, rng):
    return mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=rng).clamp(-1, 1)


@wrong("reparameterise")
def log_variance_cut_off(mean, log_variance, rng):
    std = (log_variance.clamp(-8, 4) / 2).exp()
    return mean + std * torch.randn(mean.shape, generator=rng)


@wrong("reparameterise")
def softplus_for_sigma(mean, log_variance, rng):
    return mean + F.softplus(log_variance) * torch.randn(mean.shape, generator=rng)


@wrong("reparameterise")
def root_of_absolute_value(mean, log_variance, rng):
    return mean + log_variance.abs().sqrt() * torch.randn(mean.shape, generator=rng)


@wrong("reparameterise")
def log_variance_doubled(mean, log_variance, rng):
    return mean + (2 * log_variance).exp() * torch.randn(mean.shape, generator=rng)


@wrong("reparameterise")
def base_two(mean, log_variance, rng):
    return mean + 2 ** (log_variance / 2) * torch.randn(mean.shape, generator=rng)


@wrong("reparameterise")
def global_generator_seeded(mean, log_variance, rng):
    torch.manual_seed(rng.initial_seed())
    return mean + (log_variance / 2).exp() * torch.randn(mean.shape)


@wrong("reparameterise")
def another_generator(mean, log_variance, rng):
    own = torch.Generator().manual_seed(rng.initial_seed())
    return mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=own)


@wrong("reparameterise")
def mean_changed_in_place(mean, log_variance, rng):
    return mean.add_((log_variance / 2).exp() * torch.randn(mean.shape, generator=rng))


@right("reparameterise")
def by_lists(mean, log_variance, rng):
    batch, latent = mean.shape
    return torch.randn((batch, latent), generator=rng).mul(log_variance.mul(0.5).exp()).add(mean)


@right("reparameterise")
def with_gradients_switched_off_for_the_noise(mean, log_variance, rng):
    with torch.no_grad():
        noise = torch.randn(mean.shape, generator=rng, device=mean.device, dtype=mean.dtype)
    return noise * torch.sqrt(torch.exp(log_variance)) + mean


@right("reparameterise")
def power_of_e(mean, log_variance, rng):
    return mean + math.e ** (log_variance / 2) * torch.randn(mean.shape, generator=rng)


# ---- score_function_gradients ------------------------------------------------------------------------------


def scores(values, z, mean, log_variance, baseline=None, both=None):
    """The right answer, with another baseline or another reading of the two scores."""
    if baseline is None:
        baseline = (values.sum() - values) / (len(values) - 1)
    away, variance = z - mean, log_variance.exp()
    to_mean, to_log_variance = both or (away / variance, (away**2 / variance - 1) / 2)
    gain = (values - baseline)[:, None]
    return torch.stack([gain * to_mean, gain * to_log_variance])


@wrong("score_function_gradients")
def median_of_all(values, z, mean, log_variance):
    return scores(values, z, mean, log_variance, values.median())


@wrong("score_function_gradients")
def median_of_the_others(values, z, mean, log_variance):
    n = len(values)
    others = torch.stack([values[torch.arange(n) != i].median() for i in range(n)])
    return scores(values, z, mean, log_variance, others)


@wrong("score_function_gradients")
def value_of_the_next(values, z, mean, log_variance):
    return scores(values, z, mean, log_variance, values.roll(-1))


@wrong("score_function_gradients")
def mean_of_the_earlier(values, z, mean, log_variance):
    before = torch.cat([values.new_zeros(1), values.cumsum(0)[:-1]]) / torch.arange(len(values)).clamp(min=1)
    return scores(values, z, mean, log_variance, before)


@wrong("score_function_gradients")
def smallest_value(values, z, mean, log_variance):
    return scores(values, z, mean, log_variance, values.min())


@wrong("score_function_gradients")
def all_over_all_but_one(values, z, mean, log_variance):
    return scores(values, z, mean, log_variance, values.sum() / (len(values) - 1))


@wrong("score_function_gradients")
def baseline_after_the_score(values, z, mean, log_variance):
    plain = scores(values, z, mean, log_variance, torch.zeros_like(values))
    return plain - (values.sum() - values)[:, None] / (len(values) - 1)


@wrong("score_function_gradients")
def optimal_of_all_draws(values, z, mean, log_variance):
    away, variance = z - mean, log_variance.exp()
    score = torch.stack([away / variance, (away**2 / variance - 1) / 2])
    best = (score**2 * values[:, None]).sum(dim=1) / (score**2).sum(dim=1)
    return (values[:, None] - best[:, None]) * score


@wrong("score_function_gradients")
def moments_of_the_draws(values, z, mean, log_variance):
    return scores(values, z, z.mean(dim=0), log_variance)


@wrong("score_function_gradients")
def draw_for_its_distance(values, z, mean, log_variance):
    variance = log_variance.exp()
    return scores(values, z, mean, log_variance, both=(z / variance, (z**2 / variance - 1) / 2))


@wrong("score_function_gradients")
def absolute_distance(values, z, mean, log_variance):
    away, variance = (z - mean).abs(), log_variance.exp()
    return scores(values, z, mean, log_variance, both=(away / variance, (away**2 / variance - 1) / 2))


@wrong("score_function_gradients")
def density_for_its_logarithm(values, z, mean, log_variance):
    variance = log_variance.exp()
    density = (-((z - mean) ** 2) / (2 * variance)).exp() / (2 * math.pi * variance).sqrt()
    return scores(values, z, mean, log_variance) * density


@wrong("score_function_gradients")
def added_up_over_latents(values, z, mean, log_variance):
    return scores(values, z, mean, log_variance).sum(dim=2, keepdim=True).expand(-1, -1, len(mean))


@wrong("score_function_gradients")
def already_divided_by_the_number(values, z, mean, log_variance):
    return scores(values, z, mean, log_variance) / len(values)


@wrong("score_function_gradients")
def averaged_and_repeated(values, z, mean, log_variance):
    both = scores(values, z, mean, log_variance)
    return both.mean(dim=1, keepdim=True).expand_as(both)


@wrong("score_function_gradients")
def draws_first(values, z, mean, log_variance):
    return scores(values, z, mean, log_variance).transpose(0, 1)


@right("score_function_gradients")
def gain_from_pairs(values, z, mean, log_variance):
    n = len(values)
    gain = (values[:, None] - values).sum(dim=1) / (n - 1)
    noise = (z - mean) * (-log_variance / 2).exp()
    score = torch.stack([noise * (-log_variance / 2).exp(), 0.5 * noise.square() - 0.5])
    return torch.einsum("n,pnl->pnl", gain, score)


@right("score_function_gradients")
def as_a_pair(values, z, mean, log_variance):
    n = len(values)
    factor = (values - values.mean()).mul(n / (n - 1)).unsqueeze(1)
    precision = torch.exp(-log_variance)
    first = factor * precision * (z - mean)
    return torch.cat([first[None], ((z - mean) * first - factor)[None] / 2])


@right("score_function_gradients")
def by_the_jacobian(values, z, mean, log_variance):
    def density(m, v):
        return (-((z - m) ** 2) / (2 * v.exp()) - v / 2).sum(dim=1)

    rows = torch.autograd.functional.jacobian(density, (mean, log_variance))
    gain = values - (values.sum() - values) / (values.numel() - 1)
    return torch.stack([gain.view(-1, 1) * row for row in rows])


# ---- evidence_lower_bound ----------------------------------------------------------------------------------


def likelihood(logits, images):
    error = F.binary_cross_entropy_with_logits(logits, (images + 1) / 2, reduction="none")
    return -error.sum(dim=1)


def parts(encoder, images, noise):
    mean, log_variance = encoder(images).chunk(2, dim=1)
    return mean, log_variance, mean + (log_variance / 2).exp() * noise


@wrong("evidence_lower_bound")
def draw_with_own_noise(encoder, decoder, images, noise):
    mean, log_variance, _ = parts(encoder, images, noise)
    other = torch.randn(noise.shape, generator=torch.Generator().manual_seed(0))
    z = mean + (log_variance / 2).exp() * other
    return likelihood(decoder(z), images) - kl_terms(mean, log_variance).sum(dim=1)


@wrong("evidence_lower_bound")
def noise_decoded(encoder, decoder, images, noise):
    mean, log_variance, _ = parts(encoder, images, noise)
    return likelihood(decoder(noise), images) - kl_terms(mean, log_variance).sum(dim=1)


@wrong("evidence_lower_bound")
def unit_range_images_encoded(encoder, decoder, images, noise):
    images = (images + 1) / 2
    mean, log_variance, z = parts(encoder, images, noise)
    error = F.binary_cross_entropy_with_logits(decoder(z), images, reduction="none")
    return -error.sum(dim=1) - kl_terms(mean, log_variance).sum(dim=1)


@wrong("evidence_lower_bound")
def shifted_and_not_halved(encoder, decoder, images, noise):
    mean, log_variance, z = parts(encoder, images, noise)
    error = F.binary_cross_entropy_with_logits(decoder(z), images + 1, reduction="none")
    return -error.sum(dim=1) - kl_terms(mean, log_variance).sum(dim=1)


@wrong("evidence_lower_bound")
def negative_values_cut_off(encoder, decoder, images, noise):
    mean, log_variance, z = parts(encoder, images, noise)
    error = F.binary_cross_entropy_with_logits(decoder(z), images.clamp(min=0), reduction="none")
    return -error.sum(dim=1) - kl_terms(mean, log_variance).sum(dim=1)


@wrong("evidence_lower_bound")
def divergence_of_the_draw(encoder, decoder, images, noise):
    _, log_variance, z = parts(encoder, images, noise)
    return likelihood(decoder(z), images) - kl_terms(z, log_variance).sum(dim=1)


@wrong("evidence_lower_bound")
def divergence_halved(encoder, decoder, images, noise):
    mean, log_variance, z = parts(encoder, images, noise)
    return likelihood(decoder(z), images) - kl_terms(mean, log_variance).sum(dim=1) / 2


@wrong("evidence_lower_bound")
def likelihood_of_the_mean_with_noise_added(encoder, decoder, images, noise):
    mean, log_variance, z = parts(encoder, images, noise)
    both = (decoder(mean) + decoder(z)) / 2
    return likelihood(both, images) - kl_terms(mean, log_variance).sum(dim=1)


@wrong("evidence_lower_bound")
def logits_cut_off(encoder, decoder, images, noise):
    mean, log_variance, z = parts(encoder, images, noise)
    return likelihood(decoder(z).clamp(-20, 20), images) - kl_terms(mean, log_variance).sum(dim=1)


@wrong("evidence_lower_bound")
def probabilities_kept_from_the_ends(encoder, decoder, images, noise):
    mean, log_variance, z = parts(encoder, images, noise)
    p = decoder(z).sigmoid().clamp(1e-6, 1 - 1e-6)
    error = F.binary_cross_entropy(p, (images + 1) / 2, reduction="none").sum(dim=1)
    return -error - kl_terms(mean, log_variance).sum(dim=1)


@wrong("evidence_lower_bound")
def divergence_not_learned(encoder, decoder, images, noise):
    mean, log_variance, z = parts(encoder, images, noise)
    return likelihood(decoder(z), images) - kl_terms(mean, log_variance).sum(dim=1).detach()


@wrong("evidence_lower_bound")
def encoder_without_gradient(encoder, decoder, images, noise):
    with torch.no_grad():
        mean, log_variance, z = parts(encoder, images, noise)
    return likelihood(decoder(z), images) - kl_terms(mean, log_variance).sum(dim=1)


@wrong("evidence_lower_bound")
def gradient_only_through_the_mean(encoder, decoder, images, noise):
    mean, log_variance, _ = parts(encoder, images, noise)
    z = mean + (log_variance.detach() / 2).exp() * noise
    return likelihood(decoder(z), images) - kl_terms(mean, log_variance).sum(dim=1)


@wrong("evidence_lower_bound")
def in_evaluation_mode(encoder, decoder, images, noise):
    mean, log_variance, z = parts(encoder.eval(), images, noise)
    return likelihood(decoder.eval()(z), images) - kl_terms(mean, log_variance).sum(dim=1)


@wrong("evidence_lower_bound")
def bits_for_nats(encoder, decoder, images, noise):
    mean, log_variance, z = parts(encoder, images, noise)
    return (likelihood(decoder(z), images) - kl_terms(mean, log_variance).sum(dim=1)) / math.log(2)


@wrong("evidence_lower_bound")
def two_values(encoder, decoder, images, noise):
    mean, log_variance, z = parts(encoder, images, noise)
    return likelihood(decoder(z), images), kl_terms(mean, log_variance).sum(dim=1)


@right("evidence_lower_bound")
def by_signed_softplus(encoder, decoder, images, noise):
    mean, log_variance, z = parts(encoder, images, noise)
    logits, x = decoder(z), images.add(1).mul(0.5)
    bright = x * F.softplus(-logits) + (1 - x) * F.softplus(logits)
    price = kl_terms(mean, log_variance)
    return -torch.cat([bright, price], dim=1).sum(dim=1)


@right("evidence_lower_bound")
def means_times_counts(encoder, decoder, images, noise):
    out = encoder(images)
    latent = out.shape[1] // 2
    mean, log_variance = out[:, :latent], out[:, latent:]
    logits = decoder(torch.exp(0.5 * log_variance).mul(noise).add(mean))
    rows = zip(logits, (images + 1) / 2, strict=True)
    mean_errors = [F.binary_cross_entropy_with_logits(a, x) for a, x in rows]
    return -torch.stack(mean_errors) * images.shape[1] - kl_terms(mean, log_variance).mean(dim=1) * latent


@right("evidence_lower_bound")
def divergence_by_pytorch(encoder, decoder, images, noise):
    mean, log_variance, _ = parts(encoder, images, noise)
    d = torch.distributions
    q = d.Normal(mean, (log_variance / 2).exp())
    price = d.kl_divergence(q, d.Normal(0.0, 1.0)).sum(dim=1)
    return likelihood(decoder(q.loc + q.scale * noise), images) - price


# ---- bits_per_dimension ------------------------------------------------------------------------------------


def log_density(prediction, images, log_std):
    return -((images - prediction) ** 2) / (2 * (2 * log_std).exp()) - log_std - 0.5 * math.log(2 * math.pi)


def bits(bound, dimensions, width=2 / 255):
    return -(bound + dimensions * math.log(width)) / (dimensions * math.log(2))


@wrong("bits_per_dimension")
def constant_once_an_image(prediction, images, log_std, kl):
    d = images[0].numel()
    bound = (log_density(prediction, images, log_std) + 0.5 * math.log(2 * math.pi)).sum(dim=(1, 2, 3))
    return bits(bound - 0.5 * math.log(2 * math.pi) - kl, d)


@wrong("bits_per_dimension")
def one_dimension_too_few(prediction, images, log_std, kl):
    bound = log_density(prediction, images, log_std).sum(dim=(1, 2, 3)) - kl
    return bits(bound, images[0].numel() - 1)


@wrong("bits_per_dimension")
def dimensions_of_a_plane_for_the_width(prediction, images, log_std, kl):
    d, plane = images[0].numel(), images[0, 0].numel()
    bound = log_density(prediction, images, log_std).sum(dim=(1, 2, 3)) - kl
    return -(bound + plane * math.log(2 / 255)) / (d * math.log(2))


@wrong("bits_per_dimension")
def plain_storage_subtracted(prediction, images, log_std, kl):
    bound = log_density(prediction, images, log_std).sum(dim=(1, 2, 3)) - kl
    return bits(bound, images[0].numel()) - 8


@wrong("bits_per_dimension")
def eight_bits_for_the_width(prediction, images, log_std, kl):
    d = images[0].numel()
    bound = log_density(prediction, images, log_std).sum(dim=(1, 2, 3)) - kl
    return 8 - bound / (d * math.log(2))


@wrong("bits_per_dimension")
def images_in_the_unit_range(prediction, images, log_std, kl):
    bound = log_density((prediction + 1) / 2, (images + 1) / 2, log_std).sum(dim=(1, 2, 3)) - kl
    return bits(bound, images[0].numel(), 1 / 255)


@wrong("bits_per_dimension")
def error_before_the_square(prediction, images, log_std, kl):
    away = (images - prediction).sum(dim=(1, 2, 3)) ** 2 / (2 * (2 * log_std).exp())
    d = images[0].numel()
    return bits(-away - d * (log_std + 0.5 * math.log(2 * math.pi)) - kl, d)


@wrong("bits_per_dimension")
def absolute_error(prediction, images, log_std, kl):
    away = (images - prediction).abs() / log_std.exp() + log_std + math.log(2)
    return bits(-away.sum(dim=(1, 2, 3)) - kl, images[0].numel())


@wrong("bits_per_dimension")
def log_std_added(prediction, images, log_std, kl):
    bound = (log_density(prediction, images, log_std) + 2 * log_std).sum(dim=(1, 2, 3)) - kl
    return bits(bound, images[0].numel())


@wrong("bits_per_dimension")
def std_of_the_errors(prediction, images, log_std, kl):
    log_std = (images - prediction).square().mean().sqrt().log()
    return bits(log_density(prediction, images, log_std).sum(dim=(1, 2, 3)) - kl, images[0].numel())


@wrong("bits_per_dimension")
def std_not_learned(prediction, images, log_std, kl):
    bound = log_density(prediction, images, log_std.detach()).sum(dim=(1, 2, 3)) - kl
    return bits(bound, images[0].numel())


@wrong("bits_per_dimension")
def mean_divergence(prediction, images, log_std, kl):
    bound = log_density(prediction, images, log_std).sum(dim=(1, 2, 3)) - kl.mean()
    return bits(bound, images[0].numel())


@wrong("bits_per_dimension")
def small_number_beside_the_variance(prediction, images, log_std, kl):
    variance = (2 * log_std).exp() + 1e-3
    density = (
        -((images - prediction) ** 2) / (2 * variance) - variance.log() / 2 - 0.5 * math.log(2 * math.pi)
    )
    return bits(density.sum(dim=(1, 2, 3)) - kl, images[0].numel())


@wrong("bits_per_dimension")
def divergence_twice(prediction, images, log_std, kl):
    bound = log_density(prediction, images, log_std).sum(dim=(1, 2, 3)) - 2 * kl
    return bits(bound, images[0].numel())


@wrong("bits_per_dimension")
def prediction_cut_off(prediction, images, log_std, kl):
    bound = log_density(prediction.clamp(-1, 1), images, log_std).sum(dim=(1, 2, 3)) - kl
    return bits(bound, images[0].numel())


@wrong("bits_per_dimension")
def channels_apart(prediction, images, log_std, kl):
    bound = log_density(prediction, images, log_std).sum(dim=(2, 3)) - kl[:, None]
    return bits(bound, images[0, 0].numel())


@right("bits_per_dimension")
def in_base_two(prediction, images, log_std, kl):
    d = math.prod(images.shape[1:])
    error = (images - prediction).flatten(1).square().sum(dim=1) / torch.exp(2 * log_std) / 2
    nats = error + d * log_std + d / 2 * math.log(2 * math.pi) + kl
    return nats * math.log2(math.e) / d - math.log2(2 / 255)


@right("bits_per_dimension")
def by_a_density_of_levels(prediction, images, log_std, kl):
    away = (images - prediction) * 255 / 2
    log_std = log_std + math.log(255 / 2)
    density = log_density(torch.zeros_like(away), away, log_std).flatten(1)
    return -(density.mean(dim=1) - kl / density.shape[1]) / math.log(2)


@right("bits_per_dimension")
def by_a_diagonal_gaussian(prediction, images, log_std, kl):
    d = torch.distributions
    q = d.Independent(d.Normal(prediction, log_std.exp()), 3)
    return bits(q.log_prob(images) - kl, images.shape[1] * images.shape[2] * images.shape[3])


# ---- importance_weighted_bound -----------------------------------------------------------------------------


def from_weights(log_weights):
    return log_weights.logsumexp(dim=0) - math.log(len(log_weights))


@wrong("importance_weighted_bound")
def average_of_both_bounds(log_joint, log_posterior):
    log_weights = log_joint - log_posterior
    return (from_weights(log_weights) + log_weights.mean(dim=0)) / 2


@wrong("importance_weighted_bound")
def median_weight(log_joint, log_posterior):
    return (log_joint - log_posterior).median(dim=0).values


@wrong("importance_weighted_bound")
def first_sample(log_joint, log_posterior):
    return (log_joint - log_posterior)[0]


@wrong("importance_weighted_bound")
def all_but_the_largest(log_joint, log_posterior):
    log_weights = (log_joint - log_posterior).sort(dim=0).values
    return from_weights(log_weights[:-1] if len(log_weights) > 1 else log_weights)


@wrong("importance_weighted_bound")
def log_of_one_sample_fewer(log_joint, log_posterior):
    return (log_joint - log_posterior).logsumexp(dim=0) - math.log(max(len(log_joint) - 1, 1))


@wrong("importance_weighted_bound")
def half_of_log_k(log_joint, log_posterior):
    return (log_joint - log_posterior).logsumexp(dim=0) - 0.5 * math.log(len(log_joint))


@wrong("importance_weighted_bound")
def bits_of_k(log_joint, log_posterior):
    return (log_joint - log_posterior).logsumexp(dim=0) - math.log2(len(log_joint))


@wrong("importance_weighted_bound")
def k_for_its_logarithm(log_joint, log_posterior):
    return (log_joint - log_posterior).logsumexp(dim=0) - len(log_joint)


@wrong("importance_weighted_bound")
def mean_of_q(log_joint, log_posterior):
    return from_weights(log_joint) - log_posterior.mean(dim=0)


@wrong("importance_weighted_bound")
def weights_cut_off(log_joint, log_posterior):
    return from_weights((log_joint - log_posterior).clamp(-80, 80))


@wrong("importance_weighted_bound")
def weights_in_double_precision_cut_off(log_joint, log_posterior):
    return from_weights((log_joint - log_posterior).double().clamp(-700, 700)).float()


@wrong("importance_weighted_bound")
def constant_taken_out(log_joint, log_posterior):
    return from_weights(log_joint - log_posterior + 240) - 240 + 0 * log_joint.exp().sum(dim=0)


@wrong("importance_weighted_bound")
def shifted_by_a_constant(log_joint, log_posterior):
    return ((log_joint - log_posterior) + 700).exp().mean(dim=0).log() - 700


@wrong("importance_weighted_bound")
def shifted_by_the_mean_of_all(log_joint, log_posterior):
    log_weights = log_joint - log_posterior
    level = log_weights.detach().mean()
    return (log_weights - level).exp().mean(dim=0).log() + level


@wrong("importance_weighted_bound")
def shifted_by_the_smallest(log_joint, log_posterior):
    log_weights = log_joint - log_posterior
    level = log_weights.detach().amin(dim=0)
    return (log_weights - level).exp().mean(dim=0).log() + level


@wrong("importance_weighted_bound")
def q_without_gradient(log_joint, log_posterior):
    return from_weights(log_joint - log_posterior.detach())


@wrong("importance_weighted_bound")
def weights_constant(log_joint, log_posterior):
    log_weights = log_joint - log_posterior
    shares = log_weights.softmax(dim=0).detach()
    return from_weights(log_weights.detach()) + (shares**2 * (log_weights - log_weights.detach())).sum(dim=0)


@right("importance_weighted_bound")
def mean_by_logarithms(log_joint, log_posterior):
    k = log_joint.shape[0]
    return torch.logsumexp(log_joint - log_posterior - math.log(k), dim=0)


@right("importance_weighted_bound")
def image_by_image(log_joint, log_posterior):
    bounds = []
    for p, q in zip(log_joint.T, log_posterior.T, strict=True):
        top = (p - q).max()
        bounds.append(top + torch.log(torch.exp(p - q - top).sum() / len(p)))
    return torch.stack(bounds)


@right("importance_weighted_bound")
def logsumexp_in_double_precision(log_joint, log_posterior):
    log_weights = log_joint.double() - log_posterior.double()
    return (log_weights.logsumexp(dim=0) - math.log(len(log_weights))).float()


# ---- diagnose_latents --------------------------------------------------------------------------------------


def living(means):
    return int((means.var(dim=0) > 0.01).sum())


def misses(means, log_variances):
    everything = means.var(dim=0) + log_variances.exp().mean(dim=0)
    return bool((means.mean(dim=0).abs() > 1).any() or (everything > 2).any())


def by_heart(train_bound, test_bound):
    return bool(train_bound.mean() - test_bound.mean() > 0.1 * test_bound.mean().abs())


def verdict_of(collapsed, mismatched, overfitted):
    found = {"collapsed": collapsed, "mismatched": mismatched, "overfitted": overfitted}
    return next((name for name, here in found.items() if here), "sound")


@wrong("diagnose_latents")
def images_for_latents(means, log_variances, train_bound, test_bound):
    dead = (means.var(dim=1) < 0.01).float().mean() >= 0.5
    return verdict_of(dead, misses(means, log_variances), by_heart(train_bound, test_bound))


@wrong("diagnose_latents")
def all_means_together(means, log_variances, train_bound, test_bound):
    return verdict_of(means.var() < 0.01, misses(means, log_variances), by_heart(train_bound, test_bound))


@wrong("diagnose_latents")
def more_than_four_alive(means, log_variances, train_bound, test_bound):
    dead = living(means) < 4
    return verdict_of(dead, misses(means, log_variances), by_heart(train_bound, test_bound))


@wrong("diagnose_latents")
def mean_squares_are_alive(means, log_variances, train_bound, test_bound):
    dead = int((means.square().mean(dim=0) > 0.01).sum()) <= means.shape[1] / 2
    return verdict_of(dead, misses(means, log_variances), by_heart(train_bound, test_bound))


@wrong("diagnose_latents")
def log_variances_for_variances(means, log_variances, train_bound, test_bound):
    everything = means.var(dim=0) + log_variances.mean(dim=0)
    off = (means.mean(dim=0).abs() > 1).any() or (everything > 2).any()
    return verdict_of(living(means) <= means.shape[1] / 2, off, by_heart(train_bound, test_bound))


@wrong("diagnose_latents")
def single_codes_far_out(means, log_variances, train_bound, test_bound):
    off = (means.abs() > 3).any()
    return verdict_of(living(means) <= means.shape[1] / 2, off, by_heart(train_bound, test_bound))


@wrong("diagnose_latents")
def expected_divergence_too_high(means, log_variances, train_bound, test_bound):
    off = kl_terms(means, log_variances).mean() > 1
    return verdict_of(living(means) <= means.shape[1] / 2, off, by_heart(train_bound, test_bound))


@wrong("diagnose_latents")
def absolute_values_of_the_bounds(means, log_variances, train_bound, test_bound):
    learned = train_bound.mean().abs() > 1.1 * test_bound.mean().abs()
    return verdict_of(living(means) <= means.shape[1] / 2, misses(means, log_variances), learned)


@wrong("diagnose_latents")
def beyond_the_spread(means, log_variances, train_bound, test_bound):
    learned = train_bound.mean() - test_bound.mean() > 2 * test_bound.std()
    return verdict_of(living(means) <= means.shape[1] / 2, misses(means, log_variances), learned)


@wrong("diagnose_latents")
def significantly_different(means, log_variances, train_bound, test_bound):
    error = (train_bound.var() / len(train_bound) + test_bound.var() / len(test_bound)).sqrt()
    learned = train_bound.mean() - test_bound.mean() > 2 * error
    return verdict_of(living(means) <= means.shape[1] / 2, misses(means, log_variances), learned)


@wrong("diagnose_latents")
def other_words(means, log_variances, train_bound, test_bound):
    if living(means) <= means.shape[1] / 2:
        return "posterior collapse"
    return verdict_of(False, misses(means, log_variances), by_heart(train_bound, test_bound))


@right("diagnose_latents")
def second_moments(means, log_variances, train_bound, test_bound):
    """About zero, so that one number finds codes that are elsewhere and codes that are too wide."""
    off = (means.square() + log_variances.exp()).mean(dim=0).max() > 2.5
    dead = (means.std(dim=0) < 0.1).float().mean() > 0.49
    gap = (train_bound.mean() - test_bound.mean()) / test_bound.mean().abs()
    return verdict_of(bool(dead), bool(off), bool(gap > 0.15))


@right("diagnose_latents")
def divergence_above_a_tenth(means, log_variances, train_bound, test_bound):
    alive = int((kl_terms(means, log_variances).mean(dim=0) > 0.1).sum())
    off = misses(means, log_variances)
    return verdict_of(2 * alive <= means.shape[1], off, by_heart(train_bound, test_bound))


@right("diagnose_latents")
def divergence_of_all_codes_together(means, log_variances, train_bound, test_bound):
    means, variances = means.numpy().astype(float), np.exp(log_variances.numpy().astype(float))
    centre, width = means.mean(axis=0), means.var(axis=0) + variances.mean(axis=0)
    off = (0.5 * (centre**2 + width - 1 - np.log(width)) > 0.3).any()
    dead = np.sum(np.ptp(means, axis=0) < 0.3) * 2 >= means.shape[1]
    train, test = train_bound.mean().item(), test_bound.mean().item()
    return verdict_of(dead, off, train > test + 0.08 * abs(test))


# ---- quantise ----------------------------------------------------------------------------------------------


def chosen_codes(features, codebook, distance=None):
    """The nearest codes, in the places of the features."""
    rows = features.movedim(1, -1)
    away = rows[..., None, :] - codebook
    codes = (away.square().sum(dim=-1) if distance is None else distance(away)).argmin(dim=-1)
    return codebook[codes].movedim(-1, 1)


def two_terms(features, codes, commitment):
    return F.mse_loss(codes, features.detach()) + commitment * F.mse_loss(features, codes.detach())


@wrong("quantise")
def sum_of_absolute_values(features, codebook, commitment):
    codes = chosen_codes(features, codebook, lambda away: away.abs().sum(dim=-1))
    return features + (codes - features).detach(), two_terms(features, codes, commitment)


@wrong("quantise")
def largest_coordinate(features, codebook, commitment):
    codes = chosen_codes(features, codebook, lambda away: away.abs().amax(dim=-1))
    return features + (codes - features).detach(), two_terms(features, codes, commitment)


@wrong("quantise")
def sign_of_the_distance_kept(features, codebook, commitment):
    codes = chosen_codes(features, codebook, lambda away: away.sum(dim=-1).abs())
    return features + (codes - features).detach(), two_terms(features, codes, commitment)


@wrong("quantise")
def one_code_an_image(features, codebook, commitment):
    middle = features.mean(dim=(2, 3), keepdim=True)
    codes = chosen_codes(middle, codebook).expand_as(features)
    return features + (codes - features).detach(), two_terms(features, codes, commitment)


@wrong("quantise")
def absolute_errors(features, codebook, commitment):
    codes = chosen_codes(features, codebook)
    loss = F.l1_loss(codes, features.detach()) + commitment * F.l1_loss(features, codes.detach())
    return features + (codes - features).detach(), loss


@wrong("quantise")
def weights_that_add_to_one(features, codebook, commitment):
    codes = chosen_codes(features, codebook)
    to_codes = F.mse_loss(features, codes.detach())
    loss = (1 - commitment) * F.mse_loss(codes, features.detach()) + commitment * to_codes
    return features + (codes - features).detach(), loss


@wrong("quantise")
def commitment_squared(features, codebook, commitment):
    codes = chosen_codes(features, codebook)
    return features + (codes - features).detach(), two_terms(features, codes, commitment**2)


@wrong("quantise")
def loss_of_the_codebook_alone_detached(features, codebook, commitment):
    codes = chosen_codes(features, codebook.detach())
    return features + (codes - features).detach(), two_terms(features, codes, commitment)


@wrong("quantise")
def straight_through_twice(features, codebook, commitment):
    codes = chosen_codes(features, codebook)
    return 2 * features + (codes - 2 * features).detach(), two_terms(features, codes, commitment)


@wrong("quantise")
def rows_and_columns_exchanged(features, codebook, commitment):
    codes = chosen_codes(features.transpose(2, 3), codebook)
    loss = two_terms(features, codes.transpose(2, 3), commitment)
    if codes.shape != features.shape:
        codes = codes.transpose(2, 3)
    return features + (codes - features).detach(), loss


@wrong("quantise")
def indices(features, codebook, commitment):
    codes = chosen_codes(features, codebook)
    numbers = (features.movedim(1, -1)[..., None, :] - codebook).square().sum(dim=-1).argmin(dim=-1)
    return numbers, two_terms(features, codes, commitment)


@wrong("quantise")
def loss_first(features, codebook, commitment):
    codes = chosen_codes(features, codebook)
    return two_terms(features, codes, commitment), features + (codes - features).detach()


@wrong("quantise")
def terms_apart(features, codebook, commitment):
    codes = chosen_codes(features, codebook)
    through = features + (codes - features).detach()
    return (
        through,
        F.mse_loss(codes, features.detach()),
        commitment * F.mse_loss(features, codes.detach()),
    )


@wrong("quantise")
def codebook_normalised(features, codebook, commitment):
    codes = chosen_codes(features, F.normalize(codebook, dim=1))
    return features + (codes - features).detach(), two_terms(features, codes, commitment)


@right("quantise")
class Through(torch.autograd.Function):
    """The trick as a function with its own gradient."""

    @staticmethod
    def forward(ctx, features, codes):
        return codes.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None

    def __new__(cls, features, codebook, commitment):
        codes = chosen_codes(features, codebook)
        return cls.apply(features, codes.detach()), two_terms(features, codes, commitment)


@right("quantise")
def by_rearranging(features, codebook, commitment):
    batch, dim, height, width = features.shape
    columns = features.flatten(2).transpose(1, 2)
    numbers = torch.cdist(columns.detach(), codebook.detach()[None]).min(dim=2).indices
    codes = codebook.T[:, numbers].transpose(0, 1).reshape(batch, dim, height, width)
    gap = codes - features
    loss = (codes - features.detach()).square().mean()
    return features + gap.detach(), loss + commitment * (codes.detach() - features).pow(2).mean()


@right("quantise")
def by_gathering(features, codebook, commitment):
    batch, dim, height, width = features.shape
    away = (features.unsqueeze(1) - codebook.view(1, -1, dim, 1, 1)).norm(dim=2)
    index = away.argmin(dim=1, keepdim=True).expand(-1, dim, -1, -1)
    codes = codebook.T[None, :, :].expand(batch, -1, -1).gather(2, index.flatten(2))
    codes = codes.unflatten(2, (height, width))
    return codes.detach() + (features - features.detach()), two_terms(features, codes, commitment)


# ------------------------------------------------------------------------------------------------------------


@functools.cache
def prepared(name, seed):
    """The exercise, its cases of a seed, and what is expected in each."""
    exercise = find(name)
    cases = list(exercise.cases(np.random.default_rng(seed)))
    return exercise, cases, respond(exercise, exercise.reference, cases)


def faults(name, answer, seed):
    """What is wrong with an answer, without the search for a sentence."""
    exercise, cases, expected = prepared(name, seed)
    pairs = zip(expected, respond(exercise, answer, cases), strict=True)
    return [fault for e, g in pairs if (fault := compare(e, g, exercise.tolerance))]


@pytest.mark.parametrize(("name", "answer"), wrong, ids=[f"{n}-{a.__name__}" for n, a in wrong])
def test_further_wrong_answers_are_rejected(name, answer):
    for seed in range(3):
        assert faults(name, answer, seed), f"seed {seed}"


@pytest.mark.parametrize(("name", "answer"), right, ids=[f"{n}-{a.__name__}" for n, a in right])
def test_further_right_answers_are_accepted(name, answer):
    for seed in range(5):
        assert faults(name, answer, seed) == [], f"seed {seed}"


def test_every_exercise_has_further_answers():
    wrong_ones, right_ones = (Counter(name for name, _ in answers) for answers in (wrong, right))
    assert set(wrong_ones) == set(right_ones) == set(chapter("vae"))
    assert min(wrong_ones.values()) >= 6 and min(right_ones.values()) >= 2
