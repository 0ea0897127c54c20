"""Wrong answers that the exercises on diffusion do not list are rejected too, and further right ones pass."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from collected import Collected

from genimg_ref.exercises import chapter, find
from genimg_ref.exercises.engine import Outcome, diagnose

wrong, right = Collected(), Collected()


def levels(betas):
    """For steps 0 ... T."""
    return torch.cat([betas.new_ones(1), (1 - betas).cumprod(0)])


# ---- log_snr -----------------------------------------------------------------------------------------------


@wrong("log_snr")
def log_plus_one(betas):
    left = (1 - betas).cumprod(0)
    return torch.log1p(left / (1 - left))


@wrong("log_snr")
def in_single_precision(betas):
    return torch.logit((1 - betas.float()).cumprod(0))


@wrong("log_snr")
def clamped(betas):
    return torch.logit((1 - betas).cumprod(0), eps=1e-2)


@wrong("log_snr")
def noise_without_first_step(betas):
    left = (1 - betas).cumprod(0)
    return left.log() - (left[0] - left + betas[0] ** 2).log()


@wrong("log_snr")
def rescaled_to_zero_at_the_start(betas):
    found = torch.logit((1 - betas).cumprod(0))
    return found - found[0]


@wrong("log_snr")
def by_the_mean_beta(betas):
    t = torch.arange(1, len(betas) + 1).double()
    return torch.logit((1 - betas.mean()) ** t)


@wrong("log_snr")
def exponential_of_the_sum(betas):
    """Right in the limit of many small steps."""
    return torch.logit(torch.exp(-betas.cumsum(0)))


@wrong("log_snr")
def roots_multiplied(betas):
    left = (1 - betas).sqrt().cumprod(0)
    return left.log() - (1 - left).log()


@wrong("log_snr")
def roots_multiplied_and_doubled(betas):
    left = (1 - betas).sqrt().cumprod(0)
    return 2 * (left.log() - (1 - left).log())


@wrong("log_snr")
def kept_from_zero(betas):
    left = (1 - betas).cumprod(0)
    return left.log() - (1 - left).clamp(min=1e-5).log()


@wrong("log_snr")
def safe_at_both_ends(betas):
    left = (1 - betas).cumprod(0)
    return (left + 1e-8).log() - (1 - left + 1e-8).log()


@right("log_snr")
def by_variances_walked(betas):
    signal, noise, found = 1.0, 0.0, []
    for beta in betas.tolist():
        signal, noise = (1 - beta) * signal, (1 - beta) * noise + beta
        found.append(math.log(signal) - math.log(noise))
    return torch.tensor(found, dtype=torch.float64)


@right("log_snr")
def by_numpy(betas):
    left = np.cumprod(1 - betas.numpy())
    return torch.from_numpy(np.log(left / (1 - left)))


@right("log_snr")
def minus_log_of_odds(betas):
    return -(1 / (1 - betas).cumprod(0) - 1).log()


# ---- diffuse -----------------------------------------------------------------------------------------------


def factors(alpha_bar):
    return alpha_bar.sqrt()[:, None, None, None], (1 - alpha_bar).sqrt()[:, None, None, None]


@wrong("diffuse")
def cut_off_at_three(x0, noise, alpha_bar):
    a, s = factors(alpha_bar)
    return (a * x0 + s * noise).clamp(-3, 3)


@wrong("diffuse")
def normalised_noise(x0, noise, alpha_bar):
    a, s = factors(alpha_bar)
    return a * x0 + s * (noise - noise.mean()) / noise.std()


@wrong("diffuse")
def levels_sorted(x0, noise, alpha_bar):
    a, s = factors(alpha_bar.sort().values)
    return a * x0 + s * noise


@wrong("diffuse")
def mean_level(x0, noise, alpha_bar):
    a = alpha_bar.mean()
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


@wrong("diffuse")
def clipped(x0, noise, alpha_bar):
    a, s = factors(alpha_bar)
    return (a * x0 + s * noise).clamp(-1, 1)


@wrong("diffuse")
def image_changed_in_place(x0, noise, alpha_bar):
    a, s = factors(alpha_bar)
    return x0.mul_(a).add_(s * noise)


@wrong("diffuse")
def noise_changed_in_place(x0, noise, alpha_bar):
    a, s = factors(alpha_bar)
    return a * x0 + noise.mul_(s)


@wrong("diffuse")
def one_factor_for_both(x0, noise, alpha_bar):
    a, _ = factors(alpha_bar)
    return a * (x0 + noise)


@wrong("diffuse")
def root_of_the_whole(x0, noise, alpha_bar):
    """As if the SNR scaled the noise."""
    a, s = factors(alpha_bar)
    return x0 + s / a * noise


@wrong("diffuse")
def first_image_for_all(x0, noise, alpha_bar):
    a, s = factors(alpha_bar)
    return a * x0[:1] + s * noise


@wrong("diffuse")
def variance_exploding(x0, noise, alpha_bar):
    a, s = factors(alpha_bar)
    return a**2 * x0 + s * noise


@wrong("diffuse")
def in_numpy_and_back(x0, noise, alpha_bar):
    a, s = (part.numpy() for part in factors(alpha_bar))
    return torch.from_numpy(a * x0.detach().numpy() + s * noise.numpy())


@wrong("diffuse")
def in_numpy(x0, noise, alpha_bar):
    a, s = (part.numpy() for part in factors(alpha_bar))
    return a * x0.numpy() + s * noise.numpy()


@right("diffuse")
def by_addcmul(x0, noise, alpha_bar):
    a, s = factors(alpha_bar)
    return torch.addcmul(a * x0, s, noise)


@right("diffuse")
def flat_and_back(x0, noise, alpha_bar):
    rows = alpha_bar.sqrt().diag() @ x0.flatten(1) + (1 - alpha_bar).sqrt().diag() @ noise.flatten(1)
    return rows.reshape(x0.shape)


@right("diffuse")
def by_powers(x0, noise, alpha_bar):
    a = alpha_bar.reshape(len(x0), *[1] * (x0.ndim - 1)).expand_as(x0)
    return x0 * a**0.5 + noise * (1 - a) ** 0.5


# ---- posterior ---------------------------------------------------------------------------------------------


def twelve(x, x0, betas, t):
    left = levels(betas)
    beta, now, before = betas[t - 1], left[t], left[t - 1]
    mean = before.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - before) * x
    return mean / (1 - now), beta * (1 - before) / (1 - now)


@wrong("posterior")
def forward_step_undone(x, x0, betas, t):
    beta = betas[t - 1]
    return x / (1 - beta).sqrt(), beta


@wrong("posterior")
def both_roots_forgotten(x, x0, betas, t):
    left = levels(betas)
    beta, now, before = betas[t - 1], left[t], left[t - 1]
    return (before * beta * x0 + (1 - beta) * (1 - before) * x) / (1 - now), twelve(x, x0, betas, t)[1]


@wrong("posterior")
def weights_made_to_add_up(x, x0, betas, t):
    left = levels(betas)
    share = (1 - left[t - 1]) / (1 - left[t])
    return share * x + (1 - share) * x0, twelve(x, x0, betas, t)[1]


@wrong("posterior")
def variance_floored(x, x0, betas, t):
    mean, variance = twelve(x, x0, betas, t)
    return mean, variance.clamp(min=1e-2)


@wrong("posterior")
def first_variance_of_the_paper_code(x, x0, betas, t):
    """At step 1 the variance of step 2, as implementations do that take a logarithm."""
    mean, variance = twelve(x, x0, betas, t)
    return mean, twelve(x, x0, betas, 2)[1] if t == 1 else variance


@wrong("posterior")
def step_one_not_apart(x, x0, betas, t):
    mean, variance = twelve(x, x0, betas, t)
    return (x, variance) if t == 1 else (mean, variance)


@wrong("posterior")
def sum_of_precisions(x, x0, betas, t):
    left = levels(betas)
    mean, _ = twelve(x, x0, betas, t)
    return mean, betas[t - 1] + 1 - left[t - 1]


@wrong("posterior")
def precision_without_shrinking(x, x0, betas, t):
    left = levels(betas)
    mean, _ = twelve(x, x0, betas, t)
    return mean, betas[t - 1] * (1 - left[t - 1]) / (betas[t - 1] + 1 - left[t - 1])


@wrong("posterior")
def all_steps_kept(x, x0, betas, t):
    """The product of the roots taken for the root of a single step, in x0's factor, too."""
    left = levels(betas)
    beta, now, before = betas[t - 1], left[t], left[t - 1]
    mean = before.sqrt() * (1 - now / before).sqrt() * x0 + (1 - beta).sqrt() * (1 - before) * x
    return mean / (1 - now), beta * (1 - before) / (1 - now)


@wrong("posterior")
def mean_of_both_directions(x, x0, betas, t):
    left = levels(betas)
    return (left[t - 1].sqrt() * x0 + x / (1 - betas[t - 1]).sqrt()) / 2, twelve(x, x0, betas, t)[1]


@wrong("posterior")
def variance_before_mean(*arguments):
    return twelve(*arguments)[::-1]


@wrong("posterior")
def product_without_the_one(x, x0, betas, t):
    left = torch.cat([(1 - betas).cumprod(0), betas.new_zeros(1)])  # a place more, so that nothing raises
    beta, now, before = betas[t - 1], left[t], left[t - 1]
    mean = before.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - before) * x
    return mean / (1 - now), beta * (1 - before) / (1 - now)


@wrong("posterior")
def variance_for_every_pixel(x, x0, betas, t):
    mean, variance = twelve(x, x0, betas, t)
    return mean, variance.expand_as(x)


@wrong("posterior")
def mean_of_both_at_step_one(x, x0, betas, t):
    mean, variance = twelve(x, x0, betas, t)
    return ((x + x0) / 2 if t == 1 else mean), variance


@right("posterior")
def by_the_change_from_the_marginal(x, x0, betas, t):
    """As a regression of x_(t-1) on x_t, both given x0."""
    left = levels(betas.double())
    keep = (1 - betas[t - 1].double()).sqrt()
    gain = keep * (1 - left[t - 1]) / (1 - left[t])
    mean = left[t - 1].sqrt() * x0 + gain * (x - left[t].sqrt() * x0)
    variance = (1 - left[t - 1]) * (1 - keep * gain)
    return mean.float(), variance.float()


@right("posterior")
def walked_by_hand(x, x0, betas, t):
    before = 1.0
    for beta in betas[: t - 1]:
        before = before * (1 - beta.item())
    beta = betas[t - 1].item()
    now = before * (1 - beta)
    mean = math.sqrt(before) * beta / (1 - now) * x0 + math.sqrt(1 - beta) * (1 - before) / (1 - now) * x
    return [mean, torch.tensor(beta * (1 - before) / (1 - now))]


# ---- bound_weights -----------------------------------------------------------------------------------------


def snr(betas):
    left = (1 - betas).cumprod(0)
    return left / (1 - left)


@wrong("bound_weights")
def by_the_first_step(betas):
    ratio = snr(betas)
    return (ratio[0] / ratio[1:] - 1) / 2


@wrong("bound_weights")
def halved_twice(betas):
    ratio = snr(betas)
    return (ratio[:-1] / ratio[1:] - 1) / 4


@wrong("bound_weights")
def variance_of_the_wrong_step(betas):
    left = (1 - betas).cumprod(0)
    beta, now, before = betas[1:], left[1:], left[:-1]
    variance = (1 - before) / (1 - now) * betas[:-1]
    return beta.square() / (2 * variance * (1 - beta) * (1 - now))


@wrong("bound_weights")
def single_steps(betas):
    ratio = (1 - betas) / betas
    return (ratio[:-1] / ratio[1:] - 1) / 2


@wrong("bound_weights")
def deviation_for_variance(betas):
    left = (1 - betas).cumprod(0)
    beta, now, before = betas[1:], left[1:], left[:-1]
    spread = ((1 - before) / (1 - now) * beta).sqrt()
    return beta.square() / (2 * spread * (1 - beta) * (1 - now))


@wrong("bound_weights")
def weights_adding_up_to_one(betas):
    weights = by_short_form(betas)
    return weights / weights.sum()


@wrong("bound_weights")
def weights_of_the_next_step(betas):
    weights = by_short_form(betas)
    return torch.cat([weights[1:], weights[:1]]) if len(weights) > 1 else 2 * weights


@wrong("bound_weights")
def level_of_now(betas):
    left = (1 - betas).cumprod(0)
    return betas[1:] / (2 * (1 - betas[1:]) * (1 - left[1:]))


@wrong("bound_weights")
def products_of_betas(betas):
    product = betas.cumprod(0)
    ratio = product / (1 - product)
    return (ratio[:-1] / ratio[1:] - 1) / 2


@wrong("bound_weights")
def weights_of_v(betas):
    ratio = snr(betas)
    return (ratio[:-1] - ratio[1:]) / (2 * (ratio[1:] + 1))


@wrong("bound_weights")
def without_their_sign(betas):
    ratio = snr(betas)
    return (1 - ratio[1:] / ratio[:-1]).abs() / 2


@wrong("bound_weights")
def level_two_steps_before(betas):
    left = levels(betas)
    return betas[1:] / (2 * (1 - betas[1:]) * (1 - left[:-2]).clamp(min=1e-6))


@right("bound_weights")
def by_short_form(betas):
    left = (1 - betas).cumprod(0)
    return 0.5 * betas[1:] / (1 - betas[1:]) / (1 - left[:-1])


@right("bound_weights")
def squared_distance_of_means(betas):
    """The divergence itself for an error of 1, step by step, as (14) begins."""
    left, weights = levels(betas), []
    for t in range(2, len(betas) + 1):
        zero, one = torch.zeros(1).double(), torch.ones(1).double()
        x0 = [(zero - (1 - left[t]).sqrt() * eps) / left[t].sqrt() for eps in (zero, one)]
        (a, variance), (b, _) = (twelve(zero, guess, betas, t) for guess in x0)
        weights.append((a - b).square().sum() / (2 * variance))
    return torch.stack(weights)


@right("bound_weights")
def from_the_log_snr(betas):
    fall = torch.logit((1 - betas).cumprod(0))
    return torch.tensor([(math.exp(a - b) - 1) / 2 for a, b in itertools.pairwise(fall)]).double()


# ---- clean_image -------------------------------------------------------------------------------------------


def by_kind(eps, v, x0=lambda o, x, a, s: o):
    def answer(output, x, alpha_bar, kind):
        return {"eps": eps, "v": v, "x0": x0}[kind](output, x, *factors(alpha_bar))

    return answer


def of_eps(e, x, a, s):
    return (x - s * e) / a


def of_v(v, x, a, s):
    return a * x - s * v


@wrong("clean_image")
def always_from_noise(output, x, alpha_bar, kind):
    return of_eps(output, x, *factors(alpha_bar))


@wrong("clean_image")
def always_the_output(output, x, alpha_bar, kind):
    return output


@wrong("clean_image")
def safe_division(output, x, alpha_bar, kind):
    return by_kind(lambda e, x, a, s: (x - s * e) / a.clamp(min=0.5), of_v)(output, x, alpha_bar, kind)


@wrong("clean_image")
def divided_by_alpha_bar(output, x, alpha_bar, kind):
    return by_kind(lambda e, x, a, s: (x - s * e) / a**2, of_v)(output, x, alpha_bar, kind)


@wrong("clean_image")
def v_divided(output, x, alpha_bar, kind):
    return by_kind(of_eps, lambda v, x, a, s: of_v(v, x, a, s) / a)(output, x, alpha_bar, kind)


@wrong("clean_image")
def v_by_its_definition(output, x, alpha_bar, kind):
    return by_kind(of_eps, lambda v, x, a, s: (a * v - v) / s)(output, x, alpha_bar, kind)


@wrong("clean_image")
def image_made_noisy_again(output, x, alpha_bar, kind):
    return by_kind(of_eps, of_v, lambda o, x, a, s: a * o)(output, x, alpha_bar, kind)


@wrong("clean_image")
def noisy_for_the_image(output, x, alpha_bar, kind):
    return by_kind(of_eps, of_v, lambda o, x, a, s: x)(output, x, alpha_bar, kind)


@wrong("clean_image")
def output_detached(output, x, alpha_bar, kind):
    return by_kind(of_eps, of_v)(output.detach(), x, alpha_bar, kind)


@wrong("clean_image")
def unknown_kind_for_v(output, x, alpha_bar, kind):
    a, s = factors(alpha_bar)
    return {"eps": (x - s * output) / a, "x0": output}.get(kind, x - output)


@wrong("clean_image")
def score_for_noise(output, x, alpha_bar, kind):
    return by_kind(lambda e, x, a, s: (x + s**2 * e) / a, of_v)(output, x, alpha_bar, kind)


@wrong("clean_image")
def exchanged_levels(output, x, alpha_bar, kind):
    return by_kind(of_eps, of_v)(output, x, 1 - alpha_bar, kind)


@wrong("clean_image")
def hundredth_of_the_image_at_least(output, x, alpha_bar, kind):
    return by_kind(of_eps, of_v)(output, x, alpha_bar.clamp(min=0.01), kind)


@wrong("clean_image")
def small_number_in_the_divisor(output, x, alpha_bar, kind):
    return by_kind(lambda e, x, a, s: (x - s * e) / (a + 1e-3), of_v)(output, x, alpha_bar, kind)


@wrong("clean_image")
def v_by_the_noise_with_a_wrong_sign(output, x, alpha_bar, kind):
    return by_kind(of_eps, lambda v, x, a, s: (x - s * (a * v - s * x)) / a)(output, x, alpha_bar, kind)


@right("clean_image")
def by_lerp_free_rotation(output, x, alpha_bar, kind):
    """x and v are image and noise, turned by an angle."""
    angle = alpha_bar.sqrt().acos().reshape(-1, 1, 1, 1)
    if kind == "v":
        return angle.cos() * x - angle.sin() * output
    return output if kind == "x0" else x / angle.cos() - angle.tan() * output


@right("clean_image")
def with_copies_of_the_levels(output, x, alpha_bar, kind):
    level = alpha_bar.repeat_interleave(x[0].numel()).reshape(x.shape)
    match kind:
        case "eps":
            return x * level**-0.5 - ((1 - level) / level).sqrt() * output
        case "v":
            return x * level**0.5 - (1 - level) ** 0.5 * output
    return output.clone()


# ---- denoising_loss ----------------------------------------------------------------------------------------


def mended(model, x0, t, noise, betas, level=None, told=None):
    left = (levels(betas)[t] if level is None else level)[:, None]
    x = left.sqrt() * x0 + (1 - left).sqrt() * noise
    time = t / len(betas) if told is None else told
    return model(torch.cat([x, time[:, None]], dim=1))


@wrong("denoising_loss")
def other_noise_as_target(model, x0, t, noise, betas):
    return F.mse_loss(mended(model, x0, t, noise, betas), torch.randn_like(noise))


@wrong("denoising_loss")
def noise_drawn_anew(model, x0, t, noise, betas):
    noise = torch.randn_like(noise)
    return F.mse_loss(mended(model, x0, t, noise, betas), noise)


@wrong("denoising_loss")
def steps_drawn_anew(model, x0, t, noise, betas):
    t = torch.randint(1, len(betas) + 1, t.shape)
    return F.mse_loss(mended(model, x0, t, noise, betas), noise)


@wrong("denoising_loss")
def absolute_error(model, x0, t, noise, betas):
    return F.l1_loss(mended(model, x0, t, noise, betas), noise)


@wrong("denoising_loss")
def halved(model, x0, t, noise, betas):
    return F.mse_loss(mended(model, x0, t, noise, betas), noise) / 2


@wrong("denoising_loss")
def weighted_by_snr(model, x0, t, noise, betas):
    left = levels(betas)[t][:, None]
    return ((mended(model, x0, t, noise, betas) - noise).square() * left / (1 - left)).mean()


@wrong("denoising_loss")
def told_the_level(model, x0, t, noise, betas):
    return F.mse_loss(mended(model, x0, t, noise, betas, told=levels(betas)[t]), noise)


@wrong("denoising_loss")
def told_the_rest(model, x0, t, noise, betas):
    return F.mse_loss(mended(model, x0, t, noise, betas, told=1 - t / len(betas)), noise)


@wrong("denoising_loss")
def told_from_one(model, x0, t, noise, betas):
    return F.mse_loss(mended(model, x0, t, noise, betas, told=t / (len(betas) + 1)), noise)


@wrong("denoising_loss")
def all_steps_for_all(model, x0, t, noise, betas):
    level = (1 - betas).prod().expand(len(t))
    return F.mse_loss(mended(model, x0, t, noise, betas, level=level), noise)


@wrong("denoising_loss")
def prod_over_the_batch(model, x0, t, noise, betas):
    level = (1 - betas[t - 1]).cumprod(0)
    return F.mse_loss(mended(model, x0, t, noise, betas, level=level), noise)


@wrong("denoising_loss")
def target_is_v(model, x0, t, noise, betas):
    left = levels(betas)[t][:, None]
    target = left.sqrt() * noise - (1 - left).sqrt() * x0
    return F.mse_loss(mended(model, x0, t, noise, betas), target)


@wrong("denoising_loss")
def answer_detached(model, x0, t, noise, betas):
    return F.mse_loss(mended(model, x0, t, noise, betas).detach(), noise)


@wrong("denoising_loss")
def median_of_points(model, x0, t, noise, betas):
    return (mended(model, x0, t, noise, betas) - noise).square().mean(dim=1).max()


@wrong("denoising_loss")
def steps_counted_from_zero(model, x0, t, noise, betas):
    left = levels(betas)[t - 1]
    return F.mse_loss(mended(model, x0, t, noise, betas, level=left, told=(t - 1) / len(betas)), noise)


@wrong("denoising_loss")
def loss_in_numbers(model, x0, t, noise, betas):
    return F.mse_loss(mended(model, x0, t, noise, betas), noise).tolist()


@right("denoising_loss")
def walked_step_by_step(model, x0, t, noise, betas):
    """The signal's share of each point, shrunk at every step up to its own."""
    level = torch.ones(len(t))
    for s, beta in enumerate(betas, start=1):
        level = torch.where(t >= s, level * (1 - beta), level)
    return (noise - mended(model, x0, t, noise, betas, level=level)).pow(2).sum() / noise.numel()


@right("denoising_loss")
def by_logarithms_and_norms(model, x0, t, noise, betas):
    level = torch.log1p(-betas).cumsum(0)[t - 1].exp()
    gap = mended(model, x0, t, noise, betas, level=level) - noise
    return gap.norm() ** 2 / gap.shape[0] / gap.shape[1]


@right("denoising_loss")
def points_detached(model, x0, t, noise, betas):
    """Data need no gradient; what learns is the model."""
    return F.mse_loss(mended(model, x0.detach(), t, noise, betas), noise)


# ---- ancestral_sample --------------------------------------------------------------------------------------


def ask(model, x, time):
    return model(torch.cat([x, torch.full((len(x), 1), float(time))], dim=1))


def walk(model, x, betas, rng, step, last=1, first=None):
    """Back from step ``first``; ``step`` gives mean and deviation."""
    left, steps = levels(betas), len(betas)
    with torch.no_grad():
        for t in range(first or steps, last - 1, -1):
            mean, spread = step(x, ask(model, x, t / steps), betas[t - 1], left[t], left[t - 1])
            x = mean + spread * torch.randn(x.shape, generator=rng) if t > 1 else mean
    return x


def thirteen(x, eps, beta, now, before):
    mean = (x - beta / (1 - now).sqrt() * eps) / (1 - beta).sqrt()
    return mean, (beta * (1 - before) / (1 - now)).sqrt()


@wrong("ancestral_sample")
def first_step_skipped(model, x, betas, rng):
    return walk(model, x, betas, rng, thirteen, first=max(1, len(betas) - 1))


@wrong("ancestral_sample")
def guess_clipped(model, x, betas, rng):
    def step(x, eps, beta, now, before):
        x0 = ((x - (1 - now).sqrt() * eps) / now.sqrt()).clamp(-1, 1)
        mean = before.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - before) * x
        return mean / (1 - now), thirteen(x, eps, beta, now, before)[1]

    return walk(model, x, betas, rng, step)


@wrong("ancestral_sample")
def level_before_in_the_mean(model, x, betas, rng):
    def step(x, eps, beta, now, before):
        other = beta / (1 - now * (1 - beta)).sqrt()
        return (x - other * eps) / (1 - beta).sqrt(), thirteen(x, eps, beta, now, before)[1]

    return walk(model, x, betas, rng, step)


@wrong("ancestral_sample")
def half_way_between_the_variances(model, x, betas, rng):
    def step(*arguments):
        mean, spread = thirteen(*arguments)
        return mean, (spread * arguments[2].sqrt()).sqrt()

    return walk(model, x, betas, rng, step)


@wrong("ancestral_sample")
def half_the_noise(model, x, betas, rng):
    return walk(model, x, betas, rng, lambda *a: (thirteen(*a)[0], thirteen(*a)[1] / 2))


@wrong("ancestral_sample")
def generator_of_its_own(model, x, betas, rng):
    return walk(model, x, betas, torch.Generator().manual_seed(0), thirteen)


@wrong("ancestral_sample")
def generator_seeded_again(model, x, betas, rng):
    return walk(model, x, betas, rng.manual_seed(0), thirteen)


@wrong("ancestral_sample")
def betas_from_the_end(model, x, betas, rng):
    return walk(model, x, betas.flip(0), rng, thirteen)


@wrong("ancestral_sample")
def noise_before_the_step(model, x, betas, rng):
    left, steps = levels(betas), len(betas)
    with torch.no_grad():
        for t in range(steps, 0, -1):
            beta, now, before = betas[t - 1], left[t], left[t - 1]
            if t > 1:
                x = x + (beta * (1 - before) / (1 - now)).sqrt() * torch.randn(x.shape, generator=rng)
            x = thirteen(x, ask(model, x, t / steps), beta, now, before)[0]
    return x


@wrong("ancestral_sample")
def all_states(model, x, betas, rng):
    return torch.stack([x, walk(model, x, betas, rng, thirteen)])


@wrong("ancestral_sample")
def start_changed_in_place(model, x, betas, rng):
    return x.copy_(walk(model, x, betas, rng, thirteen))


@wrong("ancestral_sample")
def uniform_noise(model, x, betas, rng):
    left, steps = levels(betas), len(betas)
    with torch.no_grad():
        for t in range(steps, 0, -1):
            mean, spread = thirteen(x, ask(model, x, t / steps), betas[t - 1], left[t], left[t - 1])
            x = mean + spread * torch.rand(x.shape, generator=rng) if t > 1 else mean
    return x


@wrong("ancestral_sample")
def zero_based(model, x, betas, rng):
    """Steps 0 ... T - 1 with their own betas, but told the time of the step before."""
    left, steps = (1 - betas).cumprod(0), len(betas)
    with torch.no_grad():
        for t in range(steps - 1, 0, -1):
            x, spread = thirteen(x, ask(model, x, (t + 1) / steps), betas[t], left[t], left[t - 1])
            x = x + spread * torch.randn(x.shape, generator=rng)
    return x


@wrong("ancestral_sample")
def noise_of_a_column(model, x, betas, rng):
    left, steps = levels(betas), len(betas)
    with torch.no_grad():
        for t in range(steps, 0, -1):
            mean, spread = thirteen(x, ask(model, x, t / steps), betas[t - 1], left[t], left[t - 1])
            x = mean + spread * torch.randn(len(x), 1, generator=rng) if t > 1 else mean
    return x


@wrong("ancestral_sample")
def time_to_go(model, x, betas, rng):
    return walk(lambda x: model(torch.cat([x[:, :-1], 1 - x[:, -1:]], dim=1)), x, betas, rng, thirteen)


@wrong("ancestral_sample")
def step_t_left_out(model, x, betas, rng):
    return walk(model, x, betas, rng, thirteen, first=len(betas) - 1)


@wrong("ancestral_sample")
def clipped_at_three(model, x, betas, rng):
    return walk(model, x, betas, rng, thirteen).clamp(-3, 3)


@wrong("ancestral_sample")
def last_level_before_the_first(model, x, betas, rng):
    left, steps = (1 - betas).cumprod(0), len(betas)
    with torch.no_grad():
        for t in range(steps, 0, -1):
            eps = ask(model, x, t / steps)
            mean, spread = thirteen(x, eps, betas[t - 1], left[t - 1], left[t - 2])
            x = mean + spread * torch.randn(x.shape, generator=rng)
    return x


@right("ancestral_sample")
def in_double_precision(model, x, betas, rng):
    left, steps = levels(betas.double()), len(betas)
    with torch.no_grad():
        for t in range(steps, 0, -1):
            eps = ask(model, x, t / steps).double()
            mean, spread = thirteen(x.double(), eps, betas[t - 1].double(), left[t], left[t - 1])
            x = (mean + (spread * torch.randn(x.shape, generator=rng) if t > 1 else 0)).float()
    return x


@right("ancestral_sample")
def as_a_recursion(model, x, betas, rng):
    def back(x, t):
        if t == 0:
            return x
        left = (1 - betas[:t]).prod()
        mean, spread = thirteen(
            x, ask(model, x, t / len(betas)), betas[t - 1], left, left / (1 - betas[t - 1])
        )
        return back(mean if t == 1 else mean + spread * torch.randn(x.shape, generator=rng), t - 1)

    return back(x, len(betas)).detach()


@right("ancestral_sample")
def along_the_predicted_noise(model, x, betas, rng):
    """The step back as DDIM writes it, with as much fresh noise as (12) has."""

    def step(x, eps, beta, now, before):
        spread = thirteen(x, eps, beta, now, before)[1]
        x0 = (x - (1 - now).sqrt() * eps) / now.sqrt()
        return before.sqrt() * x0 + (1 - before - spread**2).clamp(min=0).sqrt() * eps, spread

    return walk(model, x, betas, rng, step)


# ---- diagnose_diffusion ------------------------------------------------------------------------------------


def by_rules(end=None, blind=None, heart=None, spread=None, order=range(4)):
    """The right answer with some of its rules replaced, or with its rules in another order."""
    end = end or (lambda a: a[-1] > 0.05)
    blind = blind or (lambda train, test: test[-1] > 0.4 * test[0])
    heart = heart or (lambda train, test: train.mean() < 0.8 * test.mean())
    spread = spread or (lambda sample, data: not 0.7 < sample / data < 1.5)

    def answer(alpha_bar, train_loss, test_loss, sample_std, data_std):
        found = [
            ("not noise at the end", end(alpha_bar)),
            ("blind to time", blind(train_loss, test_loss)),
            ("overfitted", heart(train_loss, test_loss)),
            ("wrong spread", spread(sample_std, data_std)),
        ]
        return next((found[k][0] for k in order if found[k][1]), "sound")

    return answer


def wrong_rule(**rules):
    """As a decorator for a rule that says nothing: its name is that of the answer."""

    def add(named):
        answer = by_rules(**rules)
        answer.__name__ = named.__name__
        wrong.append(("diagnose_diffusion", answer))
        return named

    return add


@wrong_rule(end=lambda a: a[len(a) // 2] > 0.3)
def middle_of_the_schedule(): ...


@wrong_rule(end=lambda a: a.median() > 0.25)
def median_of_the_schedule(): ...


@wrong_rule(end=lambda a: a[-1] > 0.4)
def half_has_to_be_left(): ...


@wrong_rule(end=lambda a: (a[1:] / a[:-1]).mean() > 0.95)
def mean_of_single_steps(): ...


@wrong_rule(end=lambda a: a[0] < 0.99)
def start_not_clean(): ...


@wrong_rule(blind=lambda train, test: test.mean() > 0.35)
def mean_loss_too_high(): ...


@wrong_rule(blind=lambda train, test: test[-1] > 0.07)
def last_loss_too_high(): ...


@wrong_rule(blind=lambda train, test: test[len(test) // 2] > test[0])
def half_way_higher(): ...


@wrong_rule(blind=lambda train, test: (test.diff() > 0).any())
def any_rise(): ...


@wrong_rule(blind=lambda train, test: test[-1] - test[0] > -0.04)
def fall_by_a_fixed_number(): ...


@wrong_rule(heart=lambda train, test: (train < test).all())
def always_a_little_lower(): ...


@wrong_rule(heart=lambda train, test: not torch.allclose(train, test, rtol=0.15))
def not_alike(): ...


@wrong_rule(heart=lambda train, test: train.mean() < 0.2)
def low_training_loss(): ...


@wrong_rule(heart=lambda train, test: (test - train).max() > 0.03)
def largest_gap(): ...


@wrong_rule(heart=lambda train, test: train.mean() < 0.2 * test.mean())
def only_if_extreme(): ...


@wrong_rule(spread=lambda sample, data: not 0.95 < sample / data < 1.05)
def spread_to_the_hair(): ...


@wrong_rule(spread=lambda sample, data: not 0.3 < sample / data < 3)
def spread_ten_times(): ...


@wrong_rule(spread=lambda sample, data: abs(sample - data) > 0.1)
def spread_apart_by_a_tenth(): ...


@wrong_rule(spread=lambda sample, data: abs(sample - data) / sample > 0.6)
def relative_to_the_samples(): ...


@wrong_rule(order=(1, 0, 2, 3))
def blind_first(): ...


@wrong_rule(order=(0, 2, 1, 3))
def overfitted_before_blind(): ...


@wrong_rule(order=(0, 1, 3, 2))
def spread_before_overfitted(): ...


@wrong_rule(heart=lambda train, test: (test.mean() - train.mean()).abs() > 0.2 * train.mean())
def means_apart_either_way(): ...


@wrong_rule(heart=lambda train, test: ((test - train).abs() / test > 0.3).any())
def apart_anywhere(): ...


@wrong_rule(heart=lambda train, test: (test > 1.3 * train).any())
def higher_anywhere(): ...


@wrong_rule(heart=lambda train, test: (train < 0.65 * test).any())
def much_higher_anywhere(): ...


@wrong_rule(heart=lambda train, test: (test > 1.1 * train).all())
def higher_everywhere(): ...


@wrong_rule(heart=lambda train, test: test[-1] > 1.3 * train[-1])
def higher_at_the_end(): ...


@wrong_rule(heart=lambda train, test: test[0] > 1.3 * train[0])
def higher_at_the_start(): ...


@wrong_rule(heart=lambda train, test: test.quantile(0.5) > 1.3 * train[len(train) // 2])
def higher_than_half_way(): ...


@wrong_rule(heart=lambda train, test: test.min() > 1.15 * train.min())
def higher_at_best(): ...


@wrong_rule(heart=lambda train, test: test.max() > 1.3 * train.max())
def higher_at_worst(): ...


@wrong_rule(heart=lambda train, test: test[:5].mean() > 1.2 * train[:5].mean())
def higher_in_the_beginning(): ...


@wrong_rule(heart=lambda train, test: test[-30:].mean() > 1.2 * train[-30:].mean())
def higher_in_the_last_half(): ...


@wrong_rule(heart=lambda train, test: test[:30].mean() > 1.2 * train[:30].mean())
def higher_in_the_first_half(): ...


@wrong_rule(blind=lambda train, test: test[-1] > 0.5 * test[len(test) // 2])
def end_beside_the_middle(): ...


@wrong_rule(blind=lambda train, test: test[len(test) // 2] > 0.5 * test[0])
def middle_beside_the_start(): ...


@wrong_rule(blind=lambda train, test: test[-1] > 0.5 * test.mean())
def end_beside_the_mean(): ...


@wrong_rule(blind=lambda train, test: test[-1] > 0.5 * test.median())
def end_beside_the_median(): ...


@wrong_rule(blind=lambda train, test: test.mean() > 0.5 * test[0])
def mean_beside_the_start(): ...


@wrong_rule(blind=lambda train, test: test.std() / test.mean() < 0.2)
def hardly_varied(): ...


@wrong_rule(blind=lambda train, test: test[-1] > 0.5 * train[0])
def end_of_test_beside_start_of_training(): ...


@wrong_rule(blind=lambda train, test: train[-1] > 0.5 * test[0])
def end_of_training_beside_start_of_test(): ...


@wrong_rule(blind=lambda train, test: test[len(test) // 2 :].sum() > 0.6 * test[: len(test) // 2].sum())
def one_half_beside_the_other(): ...


@wrong_rule(blind=lambda train, test: test[-1] > 2 * test.min())
def end_beside_the_lowest(): ...


@wrong("diagnose_diffusion")
def lists_compared(*arguments):
    return by_rules(heart=lambda train, test: test > train)(*arguments)


@wrong("diagnose_diffusion")
def in_capitals(*arguments):
    return by_rules()(*arguments).upper()


@wrong("diagnose_diffusion")
def silent_if_sound(*arguments):
    found = by_rules()(*arguments)
    return found if found != "sound" else None


@wrong("diagnose_diffusion")
def all_that_applies(*arguments):
    found = by_rules()(*arguments)
    return [found]


@wrong("diagnose_diffusion")
def other_words(*arguments):
    return by_rules()(*arguments).replace("overfitted", "overfitting")


@wrong("diagnose_diffusion")
def blind_before_the_end(alpha_bar, train_loss, test_loss, sample_std, data_std):
    if train_loss.mean() < 0.8 * test_loss.mean():
        return "overfitted"
    return by_rules()(alpha_bar, train_loss, test_loss, sample_std, data_std)


@right("diagnose_diffusion")
def by_medians(alpha_bar, train_loss, test_loss, sample_std, data_std):
    rules = by_rules(
        end=lambda a: a[-1] > 0.1,
        blind=lambda train, test: train[-9:].median() > 0.5 * train[:9].median(),
        heart=lambda train, test: (train / test).median() < 0.75,
        spread=lambda sample, data: abs(math.log2(sample / data)) > 0.5,
    )
    return rules(alpha_bar, train_loss, test_loss, sample_std, data_std)


@right("diagnose_diffusion")
def by_single_steps(alpha_bar, train_loss, test_loss, sample_std, data_std):
    rules = by_rules(
        end=lambda a: a[-1] / (1 - a[-1]) > 0.01,
        blind=lambda train, test: (test[-1] + train[-1]) / (test[0] + train[0]) > 0.6,
        heart=lambda train, test: test.sum() - train.sum() > 0.2 * train.sum(),
        spread=lambda sample, data: abs(sample - data) > 0.25 * data,
    )
    return rules(alpha_bar, train_loss, test_loss, sample_std, data_std)


@right("diagnose_diffusion")
def by_quarters_and_shares(alpha_bar, train_loss, test_loss, sample_std, data_std):
    rules = by_rules(
        end=lambda a: a[-1] > 0.002,
        blind=lambda train, test: test[-len(test) // 4 :].mean() > 0.6 * test[: len(test) // 4].mean(),
        heart=lambda train, test: (test > 1.25 * train).float().mean() > 0.5,
        spread=lambda sample, data: not 0.85 < sample / data < 1.2,
    )
    return rules(alpha_bar, train_loss, test_loss, sample_std, data_std)


@right("diagnose_diffusion")
def by_logarithms(alpha_bar, train_loss, test_loss, sample_std, data_std):
    rules = by_rules(
        end=lambda a: a[-1].log() > -3,
        blind=lambda train, test: test[-3:].log().mean() - test[:3].log().mean() > math.log(0.4),
        heart=lambda train, test: (test.log() - train.log()).mean() > math.log(1.3),
        spread=lambda sample, data: abs(math.log(sample / data)) > math.log(1.7),
    )
    return rules(alpha_bar, train_loss, test_loss, sample_std, data_std)


@right("diagnose_diffusion")
def by_lines_close_to_the_sound(alpha_bar, train_loss, test_loss, sample_std, data_std):
    rules = by_rules(
        end=lambda a: a[-1] > 0.001,
        blind=lambda train, test: test[-5:].mean() > 0.15 * test[:5].mean(),
        heart=lambda train, test: test.mean() > 1.06 * train.mean(),
        spread=lambda sample, data: not 0.9 < sample / data < 1.1,
    )
    return rules(alpha_bar, train_loss, test_loss, sample_std, data_std)


@right("diagnose_diffusion")
def by_lines_close_to_the_faulty(alpha_bar, train_loss, test_loss, sample_std, data_std):
    rules = by_rules(
        end=lambda a: a[-1] > 0.19,
        blind=lambda train, test: test[-5:].mean() > 0.79 * test[:5].mean(),
        heart=lambda train, test: train.mean() < 0.61 * test.mean(),
        spread=lambda sample, data: not 0.51 < sample / data < 1.9,
    )
    return rules(alpha_bar, train_loss, test_loss, sample_std, data_std)


# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "answer"), wrong, ids=[f"{n}-{a.__name__}" for n, a in wrong])
def test_further_wrong_answers_are_rejected(name, answer):
    exercise = dataclasses.replace(find(name), mistakes=[])  # no hints, which take their time
    for seed in range(3):
        verdict = diagnose(exercise, answer, [seed], seconds=60.0)
        assert verdict.outcome is not Outcome.RIGHT, f"seed {seed}"


@pytest.mark.parametrize(("name", "answer"), right, ids=[f"{n}-{a.__name__}" for n, a in right])
def test_further_right_answers_are_accepted(name, answer):
    verdict = diagnose(find(name), answer, range(5), seconds=60.0)
    assert verdict.outcome is Outcome.RIGHT, str(verdict)


@pytest.mark.parametrize("name", chapter("ddpm"))
def test_every_exercise_has_further_answers(name):
    assert sum(name == n for n, _ in wrong) >= 5
    assert sum(name == n for n, _ in right) >= 2
