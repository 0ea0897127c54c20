"""Wrong answers that the exercises on metrics do not list are rejected too, and further right ones pass."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from collected import Collected

from genimg_ref.exercises import find
from genimg_ref.exercises.engine import Outcome, diagnose

wrong, right = Collected(), Collected()


# ---- inception_score ---------------------------------------------------------------------------------------


@wrong("inception_score")
def nan_to_zero_at_the_end(logits):
    """Images with a NaN are dropped whole instead of their one term."""
    p = F.softmax(logits, dim=1)
    divergence = (p * (p / p.mean(dim=0)).log()).sum(dim=1)
    return divergence[divergence.isfinite()].mean().exp().item() if divergence.isfinite().any() else 1.0


@wrong("inception_score")
def clamped_at_a_thousandth(logits):
    p = F.softmax(logits, dim=1).clamp(min=1e-3)
    return (p * (p / p.mean(dim=0)).log()).sum(dim=1).mean().exp().item()


@wrong("inception_score")
def absolute_terms(logits):
    p = F.softmax(logits, dim=1)
    terms = torch.xlogy(p, p) - torch.xlogy(p, p.mean(dim=0))
    return terms.abs().sum(dim=1).mean().exp().item()


@wrong("inception_score")
def jensen_shannon_like(logits):
    p = F.softmax(logits, dim=1)
    m = (p + p.mean(dim=0)) / 2
    return (torch.xlogy(p, p) - torch.xlogy(p, m)).sum(dim=1).mean().exp().item()


@wrong("inception_score")
def sharpened(logits):
    p = F.softmax(2 * logits, dim=1)
    return (torch.xlogy(p, p) - torch.xlogy(p, p.mean(dim=0))).sum(dim=1).mean().exp().item()


@wrong("inception_score")
def marginal_of_decisions(logits):
    p = F.softmax(logits, dim=1)
    marginal = F.one_hot(p.argmax(dim=1), p.shape[1]).float().mean(dim=0).clamp(min=1e-12)
    return (torch.xlogy(p, p) - torch.xlogy(p, marginal)).sum(dim=1).mean().exp().item()


@wrong("inception_score")
def marginal_of_the_other_images(logits):
    p = F.softmax(logits.double(), dim=1)
    marginal = (p.sum(dim=0) - p) / (len(p) - 1)
    return (torch.xlogy(p, p) - torch.xlogy(p, marginal)).sum(dim=1).mean().exp().item()


@wrong("inception_score")
def against_even_odds(logits):
    p = F.softmax(logits.double(), dim=1)
    return (torch.xlogy(p, p) + p * math.log(p.shape[1])).sum(dim=1).mean().exp().item()


@wrong("inception_score")
def softmax_by_hand_in_single_precision(logits):
    p = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    return (torch.xlogy(p, p) - torch.xlogy(p, p.mean(dim=0))).sum(dim=1).mean().exp().item()


@wrong("inception_score")
def infinite_logits_to_zero(logits):
    p = F.softmax(logits.nan_to_num(neginf=0.0), dim=1)
    return (torch.xlogy(p, p) - torch.xlogy(p, p.mean(dim=0))).sum(dim=1).mean().exp().item()


@right("inception_score")
def two_to_the_bits(logits):
    p = F.softmax(logits, dim=1)
    terms = torch.where(p > 0, p * (p / p.mean(dim=0)).log2(), torch.zeros_like(p))
    return 2 ** terms.sum(dim=1).mean().item()


@right("inception_score")
def by_kl_div(logits):
    logp = F.log_softmax(logits.double(), dim=1)
    marginal = logp.exp().mean(dim=0).log().expand_as(logp)
    zero = logp == -torch.inf
    log_q = marginal.masked_fill(zero, 0.0)
    terms = F.kl_div(log_q, logp.exp(), reduction="none")
    return math.exp(terms.sum().item() / len(logp))


@right("inception_score")
def nan_terms_to_zero(logits):
    p = F.softmax(logits, dim=1)
    return torch.nan_to_num(p * (p / p.mean(dim=0)).log(), nan=0.0).sum(dim=1).mean().exp().item()


# ---- frechet_distance --------------------------------------------------------------------------------------


def split(mean_a, covariance_a, mean_b, covariance_b):
    return (mean_a - mean_b).square().sum(), torch.trace(covariance_a) + torch.trace(covariance_b)


@wrong("frechet_distance")
def distance_of_roots(mean_a, covariance_a, mean_b, covariance_b):
    def root(m):
        values, vectors = torch.linalg.eigh(m)
        return (vectors * values.clamp(min=0).sqrt()) @ vectors.T

    gap = root(covariance_a) - root(covariance_b)
    return ((mean_a - mean_b).square().sum() + gap.square().sum()).item()


@wrong("frechet_distance")
def sorted_spectra(mean_a, covariance_a, mean_b, covariance_b):
    means, traces = split(mean_a, covariance_a, mean_b, covariance_b)
    a, b = (torch.linalg.eigvalsh(c).clamp(min=0).sqrt() for c in (covariance_a, covariance_b))
    return (means + traces - 2 * (a * b).sum()).item()


@wrong("frechet_distance")
def frobenius_gap(mean_a, covariance_a, mean_b, covariance_b):
    return ((mean_a - mean_b).square().sum() + (covariance_a - covariance_b).norm()).item()


@wrong("frechet_distance")
def absolute_eigenvalues_of_half(mean_a, covariance_a, mean_b, covariance_b):
    means, traces = split(mean_a, covariance_a, mean_b, covariance_b)
    values = torch.linalg.eigvals(covariance_a @ covariance_b).abs()
    return (means + traces - 2 * values.sqrt().sum() / 2).item()


@wrong("frechet_distance")
def in_single_precision_with_epsilon(mean_a, covariance_a, mean_b, covariance_b):
    means, traces = split(mean_a, covariance_a, mean_b, covariance_b)
    shift = 1e-6 * torch.eye(len(mean_a)).double()
    values = torch.linalg.eigvals((covariance_a + shift) @ (covariance_b + shift)).real.clamp(min=0)
    return (means + traces + 2e-6 * len(mean_a) - 2 * values.sqrt().sum()).item()


@wrong("frechet_distance")
def sums_for_traces(mean_a, covariance_a, mean_b, covariance_b):
    _, traces = split(mean_a, covariance_a, mean_b, covariance_b)
    right = by_absolute_eigenvalues(mean_a, covariance_a, mean_b, covariance_b)
    return right + (covariance_a.sum() + covariance_b.sum() - traces).item()


@wrong("frechet_distance")
def norms_of_the_means(mean_a, covariance_a, mean_b, covariance_b):
    shift = (mean_a.norm() - mean_b.norm()).square() - (mean_a - mean_b).square().sum()
    return by_absolute_eigenvalues(mean_a, covariance_a, mean_b, covariance_b) + shift.item()


@wrong("frechet_distance")
def cholesky_with_epsilon(mean_a, covariance_a, mean_b, covariance_b):
    means, traces = split(mean_a, covariance_a, mean_b, covariance_b)
    factor = torch.linalg.cholesky(covariance_a + 1e-6 * torch.eye(len(mean_a)).double())
    values = torch.linalg.eigvalsh(factor.T @ covariance_b @ factor).clamp(min=0)
    return (means + traces - 2 * values.sqrt().sum()).item()


@wrong("frechet_distance")
def in_single_precision(mean_a, covariance_a, mean_b, covariance_b):
    inputs = (x.float() for x in (mean_a, covariance_a, mean_b, covariance_b))
    return by_absolute_eigenvalues(*inputs)


@right("frechet_distance")
def returned_in_single_precision(mean_a, covariance_a, mean_b, covariance_b):
    return torch.tensor(by_absolute_eigenvalues(mean_a, covariance_a, mean_b, covariance_b)).float()


@right("frechet_distance")
def by_roots_of_an_svd(mean_a, covariance_a, mean_b, covariance_b):
    means, traces = split(mean_a, covariance_a, mean_b, covariance_b)
    u, values, v = torch.linalg.svd(covariance_a)
    root = (u * values.sqrt()) @ v
    return (means + traces - 2 * torch.linalg.svdvals(root @ covariance_b @ root).sqrt().sum()).item()


@right("frechet_distance")
def by_absolute_eigenvalues(mean_a, covariance_a, mean_b, covariance_b):
    means, traces = split(mean_a, covariance_a, mean_b, covariance_b)
    return (means + traces - 2 * torch.linalg.eigvals(covariance_b @ covariance_a).abs().sqrt().sum()).item()


@right("frechet_distance")
def by_scipy(mean_a, covariance_a, mean_b, covariance_b):
    from scipy.linalg import eigvals

    means, traces = split(mean_a, covariance_a, mean_b, covariance_b)
    values = eigvals(covariance_a.numpy() @ covariance_b.numpy())
    return float(means + traces - 2 * np.sqrt(values + 0j).real.sum())


# ---- merge_moments -----------------------------------------------------------------------------------------


@wrong("merge_moments")
def smaller_count(m, mean_a, scatter_a, n, mean_b, scatter_b):
    step = mean_b - mean_a
    scatter = scatter_a + scatter_b + min(m, n) * torch.outer(step, step)
    return m + n, (m * mean_a + n * mean_b) / (m + n), scatter


@wrong("merge_moments")
def harmonic_mean(m, mean_a, scatter_a, n, mean_b, scatter_b):
    step = mean_b - mean_a
    scatter = scatter_a + scatter_b + 2 * m * n / (m + n) * torch.outer(step, step)
    return m + n, (m * mean_a + n * mean_b) / (m + n), scatter


@wrong("merge_moments")
def from_zero(m, mean_a, scatter_a, n, mean_b, scatter_b):
    mean = (m * mean_a + n * mean_b) / (m + n)
    return m + n, mean, scatter_a + scatter_b + (m + n) * torch.outer(mean, mean)


@wrong("merge_moments")
def counts_kept(m, mean_a, scatter_a, n, mean_b, scatter_b):
    step = mean_b - mean_a
    return max(m, n), mean_a + n / (m + n) * step, scatter_a + scatter_b + m * n / (m + n) * step.outer(step)


@wrong("merge_moments")
def single_precision(m, mean_a, scatter_a, n, mean_b, scatter_b):
    step = mean_b.float() - mean_a.float()
    scatter = scatter_a + scatter_b + m * n / (m + n) * torch.outer(step, step)
    return m + n, mean_a + n / (m + n) * step, scatter


@wrong("merge_moments")
def around_the_new_mean_unweighted(m, mean_a, scatter_a, n, mean_b, scatter_b):
    mean = (m * mean_a + n * mean_b) / (m + n)
    steps = mean_a - mean, mean_b - mean
    return m + n, mean, scatter_a + scatter_b + sum(torch.outer(step, step) for step in steps)


@wrong("merge_moments")
def whole_numbers(m, mean_a, scatter_a, n, mean_b, scatter_b):
    step = mean_b - mean_a
    return m + n, mean_a + n / (m + n) * step, scatter_a + scatter_b + m * n // (m + n) * step.outer(step)


@wrong("merge_moments")
def single_images_ignored(m, mean_a, scatter_a, n, mean_b, scatter_b):
    step, scatter = mean_b - mean_a, scatter_a + scatter_b
    if min(m, n) > 1:
        scatter = scatter + m * n / (m + n) * step.outer(step)
    return m + n, mean_a + n / (m + n) * step, scatter


@wrong("merge_moments")
def second_mean_changed(m, mean_a, scatter_a, n, mean_b, scatter_b):
    mean_b -= mean_a
    return (
        m + n,
        mean_a + n / (m + n) * mean_b,
        scatter_a + scatter_b + m * n / (m + n) * mean_b.outer(mean_b),
    )


@right("merge_moments")
def sums_of_squares_about_the_first_mean(m, mean_a, scatter_a, n, mean_b, scatter_b):
    step = mean_b - mean_a
    moved = n / (m + n) * step
    scatter = scatter_a + scatter_b + n * step.outer(step) - (m + n) * moved.outer(moved)
    return m + n, mean_a + moved, scatter


@right("merge_moments")
def as_a_list(m, mean_a, scatter_a, n, mean_b, scatter_b):
    share = n / (m + n)
    step = (mean_a - mean_b)[None]
    return [n + m, torch.lerp(mean_a, mean_b, share), scatter_b + scatter_a + share * m * step.T * step]


# ---- fid_infinity ------------------------------------------------------------------------------------------


@wrong("fid_infinity")
def richardson_of_the_largest_two(sizes, distances):
    (n, d), (m, e) = sorted(zip(sizes.tolist(), distances.tolist(), strict=True))[-2:]
    return (m * e - n * d) / (m - n)


@wrong("fid_infinity")
def parabola(sizes, distances):
    return float(np.polyfit(1 / sizes.numpy(), distances.numpy(), 2)[2])


@wrong("fid_infinity")
def height_at_the_largest(sizes, distances):
    line = np.polyfit(1 / sizes.numpy(), distances.numpy(), 1)
    return float(np.polyval(line, 1 / sizes.max().item()))


@wrong("fid_infinity")
def inverse_squares(sizes, distances):
    return float(np.polyfit(1 / sizes.numpy() ** 2, distances.numpy(), 1)[1])


@wrong("fid_infinity")
def with_a_ridge(sizes, distances):
    design = torch.stack([torch.ones_like(sizes), 1 / sizes], dim=1)
    return torch.linalg.solve(design.T @ design + 1e-6 * torch.eye(2).double(), design.T @ distances)[
        0
    ].item()


@wrong("fid_infinity")
def median_line(sizes, distances):
    slope = (distances[sizes.argmin()] - distances[sizes.argmax()]) / (1 / sizes.min() - 1 / sizes.max())
    return (distances - slope / sizes).median().item()


@right("fid_infinity")
def by_covariances(sizes, distances):
    both = torch.cov(torch.stack([1 / sizes, distances]))
    return (distances.mean() - both[0, 1] / both[0, 0] * (1 / sizes).mean()).item()


@right("fid_infinity")
def fitted_in_single_precision(sizes, distances):
    x, y = (1 / sizes).float(), distances.float()
    slope = ((x - x.mean()) * y).sum() / (x - x.mean()).square().sum()
    return (y.mean() - slope * x.mean()).item()


# ---- kernel_distance ---------------------------------------------------------------------------------------


def k3(a, b):
    return (a @ b.T / a.shape[1] + 1) ** 3


@wrong("kernel_distance")
def only_second_unbiased(x, y):
    m, n = len(x), len(y)
    kyy = k3(y, y)
    return (k3(x, x).mean() + (kyy.sum() - kyy.trace()) / (n * (n - 1)) - 2 * k3(x, y).sum() / (m * n)).item()


@wrong("kernel_distance")
def upper_triangles_mean_of_all(x, y):
    def within(a):
        return k3(a, a).triu(1).sum() / len(a) ** 2 * 2

    return (within(x) + within(y) - 2 * k3(x, y).mean()).item()


@wrong("kernel_distance")
def divided_by_larger(x, y):
    n = max(len(x), len(y))

    def within(a):
        return (k3(a, a).sum() - k3(a, a).trace()) / (n * (n - 1))

    return (within(x) + within(y) - 2 * k3(x, y).sum() / n**2).item()


@wrong("kernel_distance")
def mean_features_only(x, y):
    return (x.mean(dim=0) - y.mean(dim=0)).square().sum().item()


@wrong("kernel_distance")
def truncated_to_equal_counts(x, y):
    n = min(len(x), len(y))
    x, y = x[:n], y[:n]
    kxx, kyy, kxy = k3(x, x), k3(y, y), k3(x, y)
    pairs = n * (n - 1)
    return ((kxx.sum() - kxx.trace() + kyy.sum() - kyy.trace()) / pairs - 2 * kxy.mean()).item()


@wrong("kernel_distance")
def divided_outside_the_power(x, y):
    def within(a):
        k = (a @ a.T + 1) ** 3 / a.shape[1]
        return (k.sum() - k.trace()) / (len(a) * (len(a) - 1))

    return (within(x) + within(y) - 2 * ((x @ y.T + 1) ** 3 / x.shape[1]).mean()).item()


@wrong("kernel_distance")
def unit_vectors(x, y):
    return by_upper_triangles(F.normalize(x), F.normalize(y)).item()


@right("kernel_distance")
def all_in_one_matrix(x, y):
    m, n = len(x), len(y)
    both = torch.cat([x, y])
    k = k3(both, both).fill_diagonal_(0)
    return k[:m, :m].sum() / (m * m - m) + k[m:, m:].sum() / (n * n - n) - 2 * k[:m, m:].mean()


@right("kernel_distance")
def by_upper_triangles(x, y):
    def within(a):
        i, j = torch.triu_indices(len(a), len(a), offset=1)
        return ((a[i] * a[j]).sum(dim=1) / a.shape[1] + 1).pow(3).mean()

    return (within(x) + within(y) - 2 * k3(x, y).mean()).item()


# ---- precision_recall --------------------------------------------------------------------------------------


def all_distances(a, b):
    return (a[:, None] - b).square().sum(dim=-1).sqrt()


def radii(points, k):
    return all_distances(points, points).kthvalue(k + 1, dim=1).values


@wrong("precision_recall")
def smallest_radius(real, generated, k):
    cross = all_distances(generated, real)
    precision = (cross <= radii(real, k).min()).any(dim=1)
    recall = (cross <= radii(generated, k).min()).any(dim=0)
    return precision.double().mean().item(), recall.double().mean().item()


@wrong("precision_recall")
def mean_of_k_neighbours(real, generated, k):
    def mean_radii(points):
        return all_distances(points, points).sort(dim=1).values[:, 1 : k + 1].mean(dim=1)

    cross = all_distances(generated, real)
    precision = (cross <= mean_radii(real)).any(dim=1)
    recall = (mean_radii(generated) >= cross.T).any(dim=1)
    return precision.double().mean().item(), recall.double().mean().item()


@wrong("precision_recall")
def union_of_both(real, generated, k):
    both = torch.cat([real, generated])
    precision = (all_distances(generated, real) <= radii(both, k)[: len(real)]).any(dim=1)
    recall = (all_distances(real, generated) <= radii(both, k)[len(real) :]).any(dim=1)
    return precision.double().mean().item(), recall.double().mean().item()


@wrong("precision_recall")
def always_the_first_neighbour(real, generated, k):
    cross = all_distances(generated, real)
    precision, recall = (cross <= radii(real, 1)).any(dim=1), (radii(generated, 1) >= cross.T).any(dim=1)
    return precision.double().mean().item(), recall.double().mean().item()


@wrong("precision_recall")
def precision_twice(real, generated, k):
    precision = (all_distances(generated, real) <= radii(real, k)).any(dim=1).double().mean().item()
    return precision, precision


@wrong("precision_recall")
def edge_excluded_for_recall(real, generated, k):
    cross = all_distances(generated, real)
    precision, recall = (cross <= radii(real, k)).any(dim=1), (radii(generated, k) > cross.T).any(dim=1)
    return precision.double().mean().item(), recall.double().mean().item()


@wrong("precision_recall")
def a_little_slack(real, generated, k):
    cross = all_distances(generated, real) / 1.05
    precision, recall = (cross <= radii(real, k)).any(dim=1), (radii(generated, k) >= cross.T).any(dim=1)
    return precision.double().mean().item(), recall.double().mean().item()


@wrong("precision_recall")
def density_for_precision(real, generated, k):
    cross = all_distances(generated, real)
    recall = (radii(generated, k) >= cross.T).any(dim=1)
    return (cross <= radii(real, k)).sum().item() / (k * len(generated)), recall.double().mean().item()


@wrong("precision_recall")
def balls_of_the_k_nearest_centres(real, generated, k):
    def share(points, centres):
        near = all_distances(points, centres).topk(k, largest=False)
        return (near.values <= radii(centres, k)[near.indices]).any(dim=1).double().mean().item()

    return share(generated, real), share(real, generated)


@right("precision_recall")
def by_expanding_the_square(real, generated, k):
    def squares(a, b):
        return a.square().sum(dim=1)[:, None] + b.square().sum(dim=1) - 2 * a @ b.T

    def share(points, centres):
        reach = squares(centres, centres).fill_diagonal_(torch.inf).sort(dim=1).values[:, k - 1]
        return (squares(points, centres) <= reach).any(dim=1).float().mean().item()

    return share(generated, real), share(real, generated)


@right("precision_recall")
def in_plain_python(real, generated, k):
    def share(points, centres):
        reach = [sorted(math.dist(a, b) for b in centres)[k] for a in centres]
        inside = [any(math.dist(p, c) <= r for c, r in zip(centres, reach, strict=True)) for p in points]
        return sum(inside) / len(points)

    real, generated = real.tolist(), generated.tolist()
    return share(generated, real), share(real, generated)


@right("precision_recall")
def with_topk(real, generated, k):
    def share(points, centres):
        reach = all_distances(centres, centres).topk(k + 1, largest=False).values[:, -1]
        return ((all_distances(points, centres) - reach) <= 0).any(dim=1).double().mean().item()

    return share(generated, real), share(real, generated)


# ---- copied_share ------------------------------------------------------------------------------------------


def nearest(images, others):
    return all_distances(images.flatten(1).double(), others.flatten(1).double()).min(dim=1).values


@wrong("copied_share")
def pooled_radius(generated, heldout, training, at):
    radius = nearest(torch.cat([heldout, generated]), training).quantile(at)
    return (nearest(generated, training) <= radius).double().mean().item()


@wrong("copied_share")
def exact_copies_only(generated, heldout, training, at):
    return (nearest(generated, training) == 0).double().mean().item()


@wrong("copied_share")
def first_channel_only(generated, heldout, training, at):
    generated, heldout, training = (x[:, :1, :1] for x in (generated, heldout, training))
    return (nearest(generated, training) <= nearest(heldout, training).quantile(at)).double().mean().item()


@wrong("copied_share")
def a_count(generated, heldout, training, at):
    return (nearest(generated, training) <= nearest(heldout, training).quantile(at)).sum().item()


@wrong("copied_share")
def radius_times_share(generated, heldout, training, at):
    return (nearest(generated, training) <= at * nearest(heldout, training).mean()).double().mean().item()


@wrong("copied_share")
def in_grey(generated, heldout, training, at):
    return a_share(*(x.mean(dim=1, keepdim=True) for x in (generated, heldout, training)), at)


@wrong("copied_share")
def next_larger(generated, heldout, training, at):
    radius = nearest(heldout, training).quantile(at, interpolation="higher")
    return (nearest(generated, training) <= radius).double().mean().item()


@wrong("copied_share")
def halfway(generated, heldout, training, at):
    radius = nearest(heldout, training).quantile(at, interpolation="midpoint")
    return (nearest(generated, training) <= radius).double().mean().item()


@wrong("copied_share")
def channel_by_channel(generated, heldout, training, at):
    def closest(images):
        return (images[:, None] - training).double().norm(dim=(3, 4)).mean(dim=2).amin(dim=1)

    return (closest(generated) <= closest(heldout).quantile(at)).double().mean().item()


@wrong("copied_share")
def largest_difference(generated, heldout, training, at):
    def closest(images):
        return (images[:, None] - training).double().abs().amax(dim=(2, 3, 4)).amin(dim=1)

    return (closest(generated) <= closest(heldout).quantile(at)).double().mean().item()


@wrong("copied_share")
def radius_within_the_training_set(generated, heldout, training, at):
    rows = training.flatten(1).double()
    radius = all_distances(rows, rows).fill_diagonal_(torch.inf).amin(dim=1).quantile(at)
    return (nearest(generated, training) <= radius).double().mean().item()


@right("copied_share")
def a_share(generated, heldout, training, at):
    return (nearest(generated, training) <= nearest(heldout, training).quantile(at)).float().mean()


@right("copied_share")
def in_single_precision_by_products(generated, heldout, training, at):
    def closest(images):
        mode = "use_mm_for_euclid_dist"
        return torch.cdist(images.flatten(1), training.flatten(1), compute_mode=mode).min(dim=1).values

    return (closest(generated) <= torch.quantile(closest(heldout), at)).float().mean().item()


@right("copied_share")
def by_squared_distances(generated, heldout, training, at):
    """Between two held-out images the radius differs by a hair: nothing lies there."""
    radius = nearest(heldout, training).square().quantile(at)
    return (nearest(generated, training).square() <= radius).double().mean().item()


@right("copied_share")
def by_numpy(generated, heldout, training, at):
    flat = [x.numpy().astype("float64").reshape(len(x), -1) for x in (generated, heldout, training)]

    def closest(rows):
        return np.sqrt(((rows[:, None] - flat[2]) ** 2).sum(axis=2)).min(axis=1)

    return float((closest(flat[0]) <= np.quantile(closest(flat[1]), at)).mean())


# ---- compare_generators ------------------------------------------------------------------------------------


@wrong("compare_generators")
def more_images_wins(a, b, images_a, images_b):
    if images_a != images_b:
        return "a" if images_a > images_b else "b"
    return plain(a, b)


def plain(a, b):
    if min(len(a), len(b)) < 2:
        return "undecided"
    gap = a.mean() - b.mean()
    if gap.abs() <= 2 * (a.var() / len(a) + b.var() / len(b)).sqrt():
        return "undecided"
    return "a" if gap < 0 else "b"


@wrong("compare_generators")
def error_of_one_model(a, b, images_a, images_b):
    if images_a != images_b:
        return "not comparable"
    if min(len(a), len(b)) < 2:
        return "undecided"
    gap = a.mean() - b.mean()
    if gap.abs() <= 2 * a.std() / len(a) ** 0.5:
        return "undecided"
    return "a" if gap < 0 else "b"


@wrong("compare_generators")
def fixed_margin(a, b, images_a, images_b):
    if images_a != images_b:
        return "not comparable"
    if min(len(a), len(b)) < 2 or (a.mean() - b.mean()).abs() < 0.5:
        return "undecided"
    return "a" if a.mean() < b.mean() else "b"


@wrong("compare_generators")
def other_words(a, b, images_a, images_b):
    return "incomparable" if images_a != images_b else plain(a, b)


def by_error(error):
    """The right answer with another standard error of the difference."""

    def answer(a, b, images_a, images_b):
        if images_a != images_b:
            return "not comparable"
        if min(len(a), len(b)) < 2:
            return "undecided"
        gap = (a.mean() - b.mean()).item()
        if abs(gap) <= 2 * error(a, b):
            return "undecided"
        return "a" if gap < 0 else "b"

    answer.__name__ = error.__name__
    return answer


@wrong("compare_generators")
@by_error
def root_of_the_count_forgotten(a, b):
    return a.std() / len(a) + b.std() / len(b)


@wrong("compare_generators")
@by_error
def deviations_for_variances(a, b):
    return (a.std() / len(a) + b.std() / len(b)).sqrt()


@wrong("compare_generators")
@by_error
def variance_of_the_mean(a, b):
    return a.var() / len(a) + b.var() / len(b)


@wrong("compare_generators")
@by_error
def counts_exchanged(a, b):
    return (a.var() / len(b) + b.var() / len(a)).sqrt()


@wrong("compare_generators")
@by_error
def all_runs_together(a, b):
    return torch.cat([a, b]).std() / (len(a) + len(b)) ** 0.5


@wrong("compare_generators")
@by_error
def error_of_the_second(a, b):
    return b.std() / len(b) ** 0.5


@wrong("compare_generators")
def three_seeds_asked_for(a, b, images_a, images_b):
    if images_a != images_b:
        return "not comparable"
    return plain(a, b) if min(len(a), len(b)) > 2 else "undecided"


@wrong("compare_generators")
def paired_as_far_as_they_go(a, b, images_a, images_b):
    if images_a != images_b:
        return "not comparable"
    n = min(len(a), len(b))
    if n < 2:
        return "undecided"
    gaps = a[:n] - b[:n]
    if gaps.mean().abs() <= 2 * gaps.std() / n**0.5:
        return "undecided"
    return "a" if gaps.mean() < 0 else "b"


@wrong("compare_generators")
def only_two_single_runs_are_undecided(a, b, images_a, images_b):
    if images_a != images_b:
        return "not comparable"
    if len(a) == len(b) == 1:
        return "undecided"
    spread = [x.var() / len(x) if len(x) > 1 else 0.0 for x in (a, b)]
    gap = a.mean() - b.mean()
    if abs(gap) <= 2 * sum(spread) ** 0.5:
        return "undecided"
    return "a" if gap < 0 else "b"


@wrong("compare_generators")
def intervals_of_two_errors_overlap(a, b, images_a, images_b):
    if images_a != images_b:
        return "not comparable"
    if min(len(a), len(b)) < 2:
        return "undecided"
    reach_a, reach_b = (2 * x.std() / len(x) ** 0.5 for x in (a, b))
    if a.mean() + reach_a < b.mean() - reach_b:
        return "a"
    return "b" if b.mean() + reach_b < a.mean() - reach_a else "undecided"


@wrong("compare_generators")
def pooled_t_test(a, b, images_a, images_b):
    from scipy.stats import ttest_ind

    if images_a != images_b:
        return "not comparable"
    if len(a) == 1 or len(b) == 1 or ttest_ind(a.numpy(), b.numpy()).pvalue > 0.05:
        return "undecided"
    return "a" if a.mean() < b.mean() else "b"


def test_a_t_test_is_named():
    from scipy.stats import ttest_ind

    def by_scipy(a, b, images_a, images_b):
        if images_a != images_b:
            return "not comparable"
        if len(a) == 1 or len(b) == 1:
            return "undecided"
        if ttest_ind(a.numpy(), b.numpy(), equal_var=False).pvalue > 0.05:
            return "undecided"
        return "a" if a.mean() < b.mean() else "b"

    for seed in range(20):
        hint = diagnose(find("compare_generators"), by_scipy, [seed]).hint
        assert hint is not None and hint.startswith("That is a t test.")


def test_overlapping_intervals_are_told_that_errors_add_as_squares():
    hint = diagnose(find("compare_generators"), intervals_of_two_errors_overlap).hint
    assert hint is not None and "add as squares" in hint


@right("compare_generators")
@by_error
def errors_in_single_precision(a, b):
    return torch.hypot(a.float().std() / len(a) ** 0.5, b.float().std() / len(b) ** 0.5)


@right("compare_generators")
def by_welch(a, b, images_a, images_b):
    from scipy.stats import ttest_ind

    if images_a != images_b:
        return "not comparable"
    if len(a) == 1 or len(b) == 1:
        return "undecided"
    t = ttest_ind(a.numpy(), b.numpy(), equal_var=False).statistic
    return "undecided" if abs(t) <= 2 else "b" if t > 0 else "a"


# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "answer"), wrong, ids=[f"{n}-{a.__name__}" for n, a in wrong])
def test_further_wrong_answers_are_rejected(name, answer):
    for seed in range(5):
        verdict = diagnose(find(name), answer, [seed], seconds=60.0)
        assert verdict.outcome is not Outcome.RIGHT, f"seed {seed}"


@pytest.mark.parametrize(("name", "answer"), right, ids=[f"{n}-{a.__name__}" for n, a in right])
def test_further_right_answers_are_accepted(name, answer):
    verdict = diagnose(find(name), answer, range(10), seconds=60.0)
    assert verdict.outcome is Outcome.RIGHT, str(verdict)


def test_every_exercise_has_further_wrong_answers():
    assert all(sum(name == n for n, _ in wrong) >= 3 for name in {name for name, _ in wrong})
    assert len({name for name, _ in wrong}) == 8
