"""Wrong answers that the exercises on samplers do not list are rejected too, and further right ones pass."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from collected import Collected

from genimg_ref.exercises import chapter, find
from genimg_ref.exercises.engine import Outcome, diagnose

wrong, right = Collected(), Collected()


# ---- flow_drift --------------------------------------------------------------------------------------------


@wrong("flow_drift")
def beta_squared(x, score, beta):
    return -0.5 * beta[:, None] * x - 0.5 * beta[:, None] ** 2 * score


@wrong("flow_drift")
def a_quarter_of_the_score(x, score, beta):
    return -0.5 * beta[:, None] * (x + score / 2)


@wrong("flow_drift")
def mean_beta(x, score, beta):
    return -0.5 * beta.mean() * (x + score)


@wrong("flow_drift")
def shrinking_without_beta(x, score, beta):
    return -0.5 * (x + beta[:, None] * score)


@wrong("flow_drift")
def without_beta(x, score, beta):
    return -0.5 * (x + score)


@wrong("flow_drift")
def exploding(x, score, beta):
    return -0.5 * beta[:, None] * (score + 0 * x)


@wrong("flow_drift")
def growing(x, score, beta):
    return 0.5 * beta[:, None] * (x - score)


@wrong("flow_drift")
def divided_by_beta(x, score, beta):
    return -0.5 * (x + score) / beta[:, None]


@wrong("flow_drift")
def in_place(x, score, beta):
    return x.add_(score).mul_(-beta[:, None] / 2)


@wrong("flow_drift")
def normalised_score(x, score, beta):
    return -0.5 * beta[:, None] * (x + F.normalize(score))


@right("flow_drift")
def by_einsum(x, score, beta):
    return torch.einsum("b,bd->bd", -beta, (x + score) / 2)


@right("flow_drift")
def mean_of_forward_and_reverse(x, score, beta):
    """Half way between the drift of the forward equation and that of the reverse one."""
    forward = -0.5 * beta.unsqueeze(1) * x
    return (forward + (forward - beta.unsqueeze(1) * score)) / 2


@right("flow_drift")
def transposed(x, score, beta):
    return ((x.T + score.T) * beta).T.div(-2)


# ---- ddim_step ---------------------------------------------------------------------------------------------


def pieces(x, eps, a, b, eta):
    """The clean image and the standard deviation of the fresh noise."""
    return (x - (1 - a) ** 0.5 * eps) / a**0.5, eta * ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5


@wrong("ddim_step")
def ratio_without_root(x, eps, a, b, eta, noise):
    x0, _ = pieces(x, eps, a, b, eta)
    std = eta * (1 - a / b) ** 0.5 * (1 - b) / (1 - a)
    return b**0.5 * x0 + max(0.0, 1 - b - std**2) ** 0.5 * eps + std * noise


@wrong("ddim_step")
def beta_without_root(x, eps, a, b, eta, noise):
    x0, _ = pieces(x, eps, a, b, eta)
    std = eta * (1 - a / b) * ((1 - b) / (1 - a)) ** 0.5
    return b**0.5 * x0 + max(0.0, 1 - b - std**2) ** 0.5 * eps + std * noise


@wrong("ddim_step")
def shares_by_squares(x, eps, a, b, eta, noise):
    x0, _ = pieces(x, eps, a, b, eta)
    return b**0.5 * x0 + (1 - b) ** 0.5 * ((1 - eta**2) ** 0.5 * eps + eta * noise)


@wrong("ddim_step")
def step_of_the_whole_level(x, eps, a, b, eta, noise):
    """1 - alpha_bar for the beta of the step."""
    x0, _ = pieces(x, eps, a, b, eta)
    std = eta * ((1 - b) / (1 - a) * (1 - a)) ** 0.5
    return b**0.5 * x0 + max(0.0, 1 - b - std**2) ** 0.5 * eps + std * noise


@wrong("ddim_step")
def noise_subtracted(x, eps, a, b, eta, noise):
    x0, std = pieces(x, eps, a, b, eta)
    return b**0.5 * x0 + max(0.0, 1 - b - std**2) ** 0.5 * eps - std * noise


@wrong("ddim_step")
def without_last_noise(x, eps, a, b, eta, noise):
    """Only two of the four cases are other than this."""
    x0, std = pieces(x, eps, a, b, eta)
    return b**0.5 * x0 + max(0.0, 1 - b - std**2) ** 0.5 * (eps + noise) / 2 + std * noise


@wrong("ddim_step")
def only_the_image_moves(x, eps, a, b, eta, noise):
    x0, std = pieces(x, eps, a, b, eta)
    return x + (b**0.5 - a**0.5) * x0 + std * noise


@wrong("ddim_step")
def eta_on_both(x, eps, a, b, eta, noise):
    x0, std = pieces(x, eps, a, b, eta)
    return b**0.5 * x0 + max(0.0, 1 - b - std**2) ** 0.5 * eps + eta * std * noise


@wrong("ddim_step")
def eta_inside_only(x, eps, a, b, eta, noise):
    x0, std = pieces(x, eps, a, b, 1.0)
    return b**0.5 * x0 + max(0.0, 1 - b - (eta * std) ** 2) ** 0.5 * eps + std * noise


@wrong("ddim_step")
def x_for_the_image(x, eps, a, b, eta, noise):
    _, std = pieces(x, eps, a, b, eta)
    return b**0.5 * x + max(0.0, 1 - b - std**2) ** 0.5 * eps + std * noise


@wrong("ddim_step")
def steps_forward(x, eps, a, b, eta, noise):
    return (b / a) ** 0.5 * x + max(0.0, 1 - b / a) ** 0.5 * noise


@wrong("ddim_step")
def changed_in_place(x, eps, a, b, eta, noise):
    x0, std = pieces(x, eps, a, b, eta)
    return x.copy_(b**0.5 * x0 + max(0.0, 1 - b - std**2) ** 0.5 * eps + std * noise)


@right("ddim_step")
def by_the_mean_of_the_posterior(x, eps, a, b, eta, noise):
    """As a conditional Gaussian: gain of the noise at one level on that at another."""
    x0 = (x - math.sqrt(1 - a) * eps) / math.sqrt(a)
    beta = 1 - a / b
    variance = beta * (1 - b) / (1 - a) * eta * eta
    gain = math.sqrt(max(1 - b - variance, 0.0)) / math.sqrt(1 - a)
    return math.sqrt(b) * x0 + gain * (x - math.sqrt(a) * x0) + math.sqrt(variance) * noise


@right("ddim_step")
def with_tensors_of_numbers(x, eps, a, b, eta, noise):
    now, then = torch.tensor(a), torch.tensor(b)
    std = eta * torch.sqrt((1 - then) * (then - now) / (then * (1 - now)))
    x0 = x / now.sqrt() - (1 / now - 1).sqrt() * eps
    return torch.sqrt(then) * x0 + torch.sqrt((1 - then - std**2).clamp(min=0)) * eps + std * noise


@right("ddim_step")
def three_terms(x, eps, a, b, eta, noise):
    x0, std = pieces(x.double(), eps, a, b, eta)
    terms = [b**0.5 * x0, (1 - b) ** 0.5 * (1 - (std**2 / (1 - b) if b < 1 else 0)) ** 0.5 * eps, std * noise]
    return torch.stack(terms).sum(dim=0).float()


# ---- heun_step ---------------------------------------------------------------------------------------------


def slope(denoiser, x, sigma):
    return (x - denoiser(torch.cat([x, torch.full((len(x), 1), sigma)], dim=1))).detach() / sigma


@wrong("heun_step")
def weighted_by_levels(denoiser, x, sigma, sigma_next):
    first = slope(denoiser, x, sigma)
    guess = x + (sigma_next - sigma) * first
    if sigma_next == 0:
        return guess
    second = slope(denoiser, guess, sigma_next)
    share = sigma / (sigma + sigma_next)
    return x + (sigma_next - sigma) * (share * first + (1 - share) * second)


@wrong("heun_step")
def small_number_in_the_denominator(denoiser, x, sigma, sigma_next):
    first = slope(denoiser, x, sigma)
    guess = x + (sigma_next - sigma) * first
    return x + (sigma_next - sigma) * (first + slope(denoiser, guess, max(sigma_next, 1e-4))) / 2


@wrong("heun_step")
def denoised_at_the_end(denoiser, x, sigma, sigma_next):
    """At the last step half of the way, as if the second slope were 0."""
    first = slope(denoiser, x, sigma)
    guess = x + (sigma_next - sigma) * first
    second = slope(denoiser, guess, sigma_next) if sigma_next else 0
    return x + (sigma_next - sigma) * (first + second) / 2


@wrong("heun_step")
def denoised_twice(denoiser, x, sigma, sigma_next):
    first = slope(denoiser, x, sigma)
    guess = x + (sigma_next - sigma) * first
    if sigma_next == 0:
        return guess
    return guess + (sigma_next - sigma) * (slope(denoiser, guess, sigma_next) - first)


@wrong("heun_step")
def in_logarithms(denoiser, x, sigma, sigma_next):
    if sigma_next == 0:
        return x - sigma * slope(denoiser, x, sigma)
    h = math.log(sigma_next / sigma)
    first = sigma * slope(denoiser, x, sigma)
    second = sigma_next * slope(denoiser, x + h * first, sigma_next)
    return x + h * (first + second) / 2


@wrong("heun_step")
def ralston(denoiser, x, sigma, sigma_next):
    h = sigma_next - sigma
    first = slope(denoiser, x, sigma)
    at = sigma + 2 / 3 * h
    return x + h * (first + 3 * slope(denoiser, x + 2 / 3 * h * first, at)) / 4


@wrong("heun_step")
def stops_early(denoiser, x, sigma, sigma_next):
    if sigma_next == 0:
        sigma_next = 1e-2
    first = slope(denoiser, x, sigma)
    second = slope(denoiser, x + (sigma_next - sigma) * first, sigma_next)
    return x + (sigma_next - sigma) * (first + second) / 2


@wrong("heun_step")
def told_the_variance(denoiser, x, sigma, sigma_next):
    def squared(at, s):
        return (at - denoiser(torch.cat([at, torch.full((len(at), 1), s**2)], dim=1))).detach() / s

    first = squared(x, sigma)
    guess = x + (sigma_next - sigma) * first
    return guess if sigma_next == 0 else x + (sigma_next - sigma) * (first + squared(guess, sigma_next)) / 2


@wrong("heun_step")
def step_in_place(denoiser, x, sigma, sigma_next):
    return x.add_((sigma_next - sigma) * slope(denoiser, x, sigma))


def by_zero_up_to(limit):
    def answer(denoiser, x, sigma, sigma_next):
        """Everything up to the limit is the last step."""
        arrived = x + (sigma_next - sigma) * slope(denoiser, x, sigma)
        if sigma_next <= limit:
            return arrived
        return mean_of_two_arrivals(denoiser, x, sigma, sigma_next)

    answer.__name__ = f"zero_up_to_{limit:g}"
    return answer


wrong += [("heun_step", by_zero_up_to(limit)) for limit in (0.0499, 0.01, 0.002, 1e-3)]


@wrong("heun_step")
def three_calls(denoiser, x, sigma, sigma_next):
    guess = x + (sigma_next - sigma) * slope(denoiser, x, sigma)
    if sigma_next == 0:
        return guess
    both = slope(denoiser, x, sigma) + slope(denoiser, guess, sigma_next)
    return x + (sigma_next - sigma) * both / 2


@wrong("heun_step")
def two_calls_at_the_end(denoiser, x, sigma, sigma_next):
    first = slope(denoiser, x, sigma)
    guess = x + (sigma_next - sigma) * first
    second = slope(denoiser, guess, sigma_next or 1.0)
    return guess if sigma_next == 0 else x + (sigma_next - sigma) * (first + second) / 2


@right("heun_step")
def points_one_by_one(denoiser, x, sigma, sigma_next):
    """Two calls for each point."""
    rows = [mean_of_two_arrivals(denoiser, row, sigma, sigma_next) for row in x.split(1)]
    return torch.cat(rows)


@right("heun_step")
def by_denoised_points(denoiser, x, sigma, sigma_next):
    def clean(at, s):
        return at - s * slope(denoiser, at, s)

    ratio = sigma_next / sigma
    first = clean(x, sigma)
    guess = ratio * x + (1 - ratio) * first
    if not sigma_next:
        return guess
    second = (guess - clean(guess, sigma_next)) / sigma_next
    return x + 0.5 * (sigma_next - sigma) * ((x - first) / sigma + second)


@right("heun_step")
def mean_of_two_arrivals(denoiser, x, sigma, sigma_next):
    """The mean of Euler's step and of one with the slope at its end."""
    h = sigma_next - sigma
    arrived = x + h * slope(denoiser, x, sigma)
    if sigma_next > 0:
        arrived = torch.stack([arrived, x + h * slope(denoiser, arrived, sigma_next)]).mean(dim=0)
    return arrived


# ---- convergence_order -------------------------------------------------------------------------------------


def logs(steps, errors):
    return steps.double().log(), errors.double().log()


@wrong("convergence_order")
def finest_pair(steps, errors):
    if len(steps) == 2:
        return torch.zeros(()).double()
    at = steps.argsort()[-2:]
    x, y = logs(steps[at], errors[at])
    return -(y[1] - y[0]) / (x[1] - x[0])


@wrong("convergence_order")
def correlation(steps, errors):
    return -torch.corrcoef(torch.stack(logs(steps, errors)))[0, 1]


@wrong("convergence_order")
def intercept(steps, errors):
    x, y = logs(steps, errors)
    return torch.from_numpy(np.polyfit(x.numpy(), y.numpy(), 1))[1]


@wrong("convergence_order")
def ratio_of_logarithms(steps, errors):
    x, y = logs(steps, errors)
    return -(y / x).mean()


@wrong("convergence_order")
def slope_by_medians(steps, errors):
    x, y = logs(steps, errors)
    x, y = x - x.median(), y - y.median()
    return -(x * y).sum() / x.square().sum()


@wrong("convergence_order")
def geometric_mean_of_orders(steps, errors):
    if len(steps) == 2:
        return torch.ones(()).double()
    at = steps.argsort()
    x, y = logs(steps[at], errors[at])
    return (-y.diff() / x.diff()).abs().log().mean().exp()


@wrong("convergence_order")
def weighted_by_steps(steps, errors):
    if len(steps) == 2:
        return torch.ones(()).double()
    x, y = logs(steps, errors)
    w = steps.double() / steps.sum()
    x, y = x - (w * x).sum(), y - (w * y).sum()
    return -(w * x * y).sum() / (w * x * x).sum()


@wrong("convergence_order")
def as_a_number(steps, errors):
    return float(np.polyfit(np.log(steps.numpy()), np.log(errors.numpy()), 1)[0])


@wrong("convergence_order")
def ridge(steps, errors):
    x, y = logs(steps, errors)
    x = x - x.mean()
    return -(x * y).sum() / (x.square().sum() + 1e-2)


@wrong("convergence_order")
def over_step_sizes_upside_down(steps, errors):
    x, y = logs(steps, errors)
    x = -x
    x = x - x.mean()
    return -(x * y).sum() / x.square().sum()


@wrong("convergence_order")
def sorted_apart(steps, errors):
    x, y = logs(steps.sort().values, errors.sort(descending=True).values)
    return -torch.from_numpy(np.polyfit(x.numpy(), y.numpy(), 1))[0]


@wrong("convergence_order")
def sorted_apart_where_the_error_falls(steps, errors):
    if by_all_pairs(steps, errors) < 0:
        return by_all_pairs(steps, errors)
    return by_all_pairs(steps.sort().values, errors.sort(descending=True).values)


@wrong("convergence_order")
def size_of_the_slope(steps, errors):
    return by_all_pairs(steps, errors).abs()


@wrong("convergence_order")
def never_below_zero(steps, errors):
    return by_all_pairs(steps, errors).clamp(min=0)


@right("convergence_order")
def over_step_sizes(steps, errors):
    """The error as a power of the length of a step."""
    h = (1 / steps.double()).log()
    design = torch.stack([h, torch.ones_like(h)], dim=1)
    return torch.linalg.solve(design.T @ design, design.T @ errors.log())[0]


@right("convergence_order")
def by_all_pairs(steps, errors):
    """The slope of least squares is a mean of the slopes of all pairs, weighted by squared distances."""
    x, y = logs(steps, errors)
    run, rise = x[:, None] - x, y[:, None] - y
    return -(run * rise).sum() / (run * run).sum()


@right("convergence_order")
def by_numpy_in_base_ten(steps, errors):
    x, y = np.log10(steps.numpy()), np.log10(errors.numpy())
    return torch.tensor(-np.cov(x, y)[0, 1] / np.var(x, ddof=1), dtype=torch.float64)


# ---- velocity_loss -----------------------------------------------------------------------------------------


def told(model, x0, noise, t, time=None):
    column = t[:, None]
    x = (1 - column) * x0 + column * noise
    return model(torch.cat([x, column if time is None else time[:, None]], dim=1))


@wrong("velocity_loss")
def divided_by_time(model, x0, noise, t):
    return F.mse_loss(told(model, x0, noise, t), (noise - x0) / t[:, None])


@wrong("velocity_loss")
def parts_as_they_are(model, x0, noise, t):
    time = t[:, None]
    return F.mse_loss(told(model, x0, noise, t), time * noise - (1 - time) * x0)


@wrong("velocity_loss")
def v_of_diffusion(model, x0, noise, t):
    a, s = (1 - t[:, None]).sqrt(), t[:, None].sqrt()
    return F.mse_loss(told(model, x0, noise, t), a * noise - s * x0)


@wrong("velocity_loss")
def thousand_times(model, x0, noise, t):
    return F.mse_loss(told(model, x0, noise, t, time=1000 * t), noise - x0)


@wrong("velocity_loss")
def halved(model, x0, noise, t):
    return F.mse_loss(told(model, x0, noise, t), noise - x0) / 2


@wrong("velocity_loss")
def weighted_by_time(model, x0, noise, t):
    return ((told(model, x0, noise, t) - noise + x0).square() * t[:, None]).mean()


@wrong("velocity_loss")
def time_squared(model, x0, noise, t):
    return F.mse_loss(told(model, x0, noise, t**2, time=t), noise - x0)


@wrong("velocity_loss")
def time_drawn_anew(model, x0, noise, t):
    return F.mse_loss(told(model, x0, noise, torch.rand_like(t)), noise - x0)


@wrong("velocity_loss")
def model_without_gradient(model, x0, noise, t):
    return F.mse_loss(told(model, x0, noise, t).detach(), noise - x0)


@wrong("velocity_loss")
def smooth_error(model, x0, noise, t):
    return F.smooth_l1_loss(told(model, x0, noise, t), noise - x0)


@wrong("velocity_loss")
def from_the_first_noise(model, x0, noise, t):
    if len(x0) == 1:
        return torch.zeros(())
    return F.mse_loss(told(model, x0, noise[:1].expand_as(noise), t), noise - x0)


@wrong("velocity_loss")
@torch.no_grad()
def all_without_gradient(model, x0, noise, t):
    return F.mse_loss(told(model, x0, noise, t), noise - x0)


@right("velocity_loss")
def target_detached(model, x0, noise, t):
    return F.mse_loss(told(model, x0, noise, t), (noise - x0).detach())


@right("velocity_loss")
def path_without_gradient(model, x0, noise, t):
    """Data need no gradient, nor does the time."""
    with torch.no_grad():
        time = t[:, None]
        x, v = (1 - time) * x0 + time * noise, noise - x0
    return F.mse_loss(model(torch.cat([x, time], dim=1)), v)


@right("velocity_loss")
def as_a_derivative(model, x0, noise, t):
    """The target is the derivative of the path with regard to the time."""
    near, far = ((1 - s) * x0.double() + s * noise.double() for s in (0.0, 1.0))
    return (told(model, x0, noise, t) - (far - near).float()).pow(2).sum() / x0.numel()


@right("velocity_loss")
def by_norms(model, x0, noise, t):
    gap = x0 - noise + told(model, x0, noise, t)
    return gap.norm(dim=1).square().mean() / gap.shape[1]


# ---- interpolate_noise -------------------------------------------------------------------------------------


def mixture(first, second, share):
    s = share[:, None, None, None]
    return (1 - s) * first + s * second, ((1 - s) ** 2 + s**2).sqrt()


@wrong("interpolate_noise")
def root_of_the_sum_of_weights(first, second, share):
    s = share[:, None, None, None]
    return mixture(first, second, share)[0] / ((1 - s).sqrt() + s.sqrt())


@wrong("interpolate_noise")
def half_way_for_all(first, second, share):
    return mixture(first, second, 0 * share + 0.25)[0] / 0.625**0.5


@wrong("interpolate_noise")
def all_scaled_alike(first, second, share):
    mixed, size = mixture(first, second, share)
    return mixed / size.mean() if len(share) > 1 else mixed


@wrong("interpolate_noise")
def scaled_to_the_first(first, second, share):
    mixed, _ = mixture(first, second, share)
    return mixed / mixed.flatten(1).norm(dim=1)[:, None, None, None] * first.norm()


@wrong("interpolate_noise")
def by_measured_variances(first, second, share):
    s = share[:, None, None, None]
    mixed, _ = mixture(first, second, share)
    return mixed / ((1 - s) ** 2 * first.var() + s**2 * second.var()).sqrt()


@wrong("interpolate_noise")
def first_alone_divided(first, second, share):
    s = share[:, None, None, None]
    _, size = mixture(first, second, share)
    return (1 - s) * first / size + s * second


@wrong("interpolate_noise")
def difference_of_squares(first, second, share):
    s = share[:, None, None, None]
    mixed, _ = mixture(first, second, share)
    return mixed / ((1 - s) ** 2 - s**2).abs().clamp(min=0.1).sqrt()


@wrong("interpolate_noise")
def smooth_steps(first, second, share):
    mixed, size = mixture(first, second, share**2 * (3 - 2 * share) if len(share) > 1 else share**2)
    return mixed / size


@wrong("interpolate_noise")
def rows_of_pixels(first, second, share):
    mixed, size = mixture(first, second, share)
    return (mixed / size).flatten(1)


@wrong("interpolate_noise")
def shares_sorted(first, second, share):
    mixed, size = mixture(first, second, share.flip(0) if len(share) > 1 else 1 - share)
    return -mixed / size


@right("interpolate_noise")
def by_the_angle_of_the_weights(first, second, share):
    angle = torch.atan2(share, 1 - share)[:, None, None, None]
    return angle.cos() * first + angle.sin() * second


@right("interpolate_noise")
def by_hypot(first, second, share):
    size = torch.hypot(share, 1 - share)
    a, b = ((1 - share) / size).view(-1, 1), (share / size).view(-1, 1)
    return (a @ first.reshape(1, -1) + b @ second.reshape(1, -1)).view(-1, *first.shape)


@right("interpolate_noise")
def by_lerp(first, second, share):
    mixed = torch.stack([torch.lerp(first, second, s.item()) for s in share])
    return mixed / (1 - 2 * share * (1 - share)).sqrt().view(-1, 1, 1, 1)


# ---- choose_evaluations ------------------------------------------------------------------------------------


def choose(evaluations, distances, limit, means=None):
    """The right answer with other limits: ``limit(variances, seeds, best)``."""
    means = distances.mean(dim=1) if means is None else means
    best = means.argmin()
    fine = means - means[best] <= limit(distances.var(dim=1), distances.shape[1], best)
    fine[best] = True
    return int(evaluations[fine].min())


def by_limit(limit):
    def answer(evaluations, distances):
        return choose(evaluations, distances, limit)

    answer.__name__ = limit.__name__
    return answer


@wrong("choose_evaluations")
@by_limit
def larger_of_both_errors(variances, seeds, best):
    return 2 * torch.maximum(variances, variances[best]).sqrt() / seeds**0.5


@wrong("choose_evaluations")
@by_limit
def pooled_over_all_counts(variances, seeds, best):
    return 2 * (2 * variances.mean() / seeds).sqrt()


@wrong("choose_evaluations")
@by_limit
def one_less_seed_twice(variances, seeds, best):
    return 2 * ((variances + variances[best]) / max(seeds - 1, 1)).sqrt()


@wrong("choose_evaluations")
@by_limit
def mean_of_both_variances(variances, seeds, best):
    return 2 * ((variances + variances[best]) / (2 * seeds)).sqrt()


@wrong("choose_evaluations")
@by_limit
def four_for_the_square_of_two(variances, seeds, best):
    return 4 * ((variances + variances[best]) / seeds).sqrt()


@wrong("choose_evaluations")
@by_limit
def root_of_two_errors(variances, seeds, best):
    return (2 * (variances + variances[best]) / seeds).sqrt()


@wrong("choose_evaluations")
@by_limit
def half_an_error(variances, seeds, best):
    return 0.5 * ((variances + variances[best]) / seeds).sqrt()


@wrong("choose_evaluations")
@by_limit
def two_deviations_over_seeds(variances, seeds, best):
    return 2 * (variances.sqrt() + variances[best].sqrt()) / seeds


@wrong("choose_evaluations")
def intervals_that_touch(evaluations, distances):
    """Two standard errors around each mean."""
    means, errors = distances.mean(dim=1), distances.std(dim=1) / distances.shape[1] ** 0.5
    best = means.argmin()
    return int(evaluations[means - 2 * errors <= means[best] + 2 * errors[best]].min())


@wrong("choose_evaluations")
def neighbours_only(evaluations, distances):
    """From the dearest down, as long as each is as good as the one before."""
    at = evaluations.argsort(descending=True)
    counts, table = evaluations[at], distances[at]
    for k in range(len(counts) - 1):
        gap = table[k + 1].mean() - table[k].mean()
        if gap > 2 * ((table[k].var() + table[k + 1].var()) / table.shape[1]).sqrt():
            return int(counts[k])
    return int(counts[-1])


@wrong("choose_evaluations")
def compared_with_the_dearest(evaluations, distances):
    """The most calls are not always the best."""
    m, v, most = distances.mean(1), distances.var(1), evaluations.argmax()
    return int(evaluations[m - m[most] <= 2 * ((v + v[most]) / distances.shape[1]).sqrt()].min())


@wrong("choose_evaluations")
def down_from_the_best(evaluations, distances):
    """Until the first that is worse."""
    at = evaluations.argsort(descending=True)
    counts, m, v = evaluations[at], distances.mean(1)[at], distances.var(1)[at]
    best = k = int(m.argmin())
    while k + 1 < len(m) and m[k + 1] - m[best] <= 2 * ((v[k + 1] + v[best]) / distances.shape[1]).sqrt():
        k += 1
    return int(counts[k])


@wrong("choose_evaluations")
@by_limit
def a_tenth_more_than_two_errors(variances, seeds, best):
    return 2.2 * ((variances + variances[best]) / seeds).sqrt()


@wrong("choose_evaluations")
def nearest_to_the_best(evaluations, distances):
    means = distances.mean(dim=1)
    means[means.argmin()] = torch.inf
    return int(evaluations[means.argmin()])


@wrong("choose_evaluations")
def half_a_unit(evaluations, distances):
    means = distances.mean(dim=1)
    return int(evaluations[means <= means.min() + 0.5].min())


@wrong("choose_evaluations")
def seed_by_seed(evaluations, distances):
    """Seeds of different counts have nothing to do with one another."""
    best = distances.mean(dim=1).argmin()
    gaps = distances - distances[best]
    return int(evaluations[gaps.mean(dim=1) <= 2 * gaps.std(dim=1) / gaps.shape[1] ** 0.5].min())


@wrong("choose_evaluations")
def best_seed_of_each(evaluations, distances):
    return choose(
        evaluations,
        distances,
        lambda variances, seeds, best: 2 * ((variances + variances[best]) / seeds).sqrt(),
        means=distances.amin(dim=1),
    )


@wrong("choose_evaluations")
def knee_of_the_curve(evaluations, distances):
    at = evaluations.argsort()
    means = distances.mean(dim=1)[at]
    return int(evaluations[at][1 + (means[:-1] - means[1:]).argmax()])


@right("choose_evaluations")
def by_welch(evaluations, distances):
    from scipy.stats import ttest_ind

    rows = distances.double().numpy()
    best = rows.mean(axis=1).argmin()
    t = [0.0 if k == best else ttest_ind(row, rows[best], equal_var=False)[0] for k, row in enumerate(rows)]
    return int(min(n for n, value in zip(evaluations.tolist(), t, strict=True) if value <= 2))


@right("choose_evaluations")
def as_a_tensor(evaluations, distances):
    """Squares compared, to spare the root."""
    seeds = distances.shape[1]
    means = distances.double().mean(dim=1)
    best = means.argmin()
    squares = (distances - means[:, None]).square().sum(dim=1) / (seeds - 1) / seeds
    fine = (means - means[best]) ** 2 < 4 * (squares + squares[best])
    fine[best] = True
    return evaluations[fine].amin()


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


@pytest.mark.parametrize("name", chapter("samplers"))
def test_every_exercise_has_further_answers(name):
    assert sum(name == n for n, _ in wrong) >= 5
    assert sum(name == n for n, _ in right) >= 2
