# ---
# jupyter:
#   jupytext:
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %%
import torch
import torch.nn.functional as F
from torch import Tensor


# %%
def inception_score(logits: Tensor) -> float:
    """The Inception score of images in one split, equation (5)."""
    probabilities = F.softmax(logits.double(), dim=1)
    marginal = probabilities.mean(dim=0)
    terms = torch.xlogy(probabilities, probabilities) - torch.xlogy(probabilities, marginal)
    return terms.sum(dim=1).mean().exp().item()


# %%
def frechet_distance(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    """The squared Fréchet distance of two Gaussians, equation (10)."""
    eigenvalues = torch.linalg.eigvals(covariance_a @ covariance_b).real.clamp(min=0)
    means = (mean_a - mean_b).square().sum()
    return (means + torch.trace(covariance_a + covariance_b) - 2 * eigenvalues.sqrt().sum()).item()


# %%
def merge_moments(
    count_a: int,
    mean_a: Tensor,
    scatter_a: Tensor,
    count_b: int,
    mean_b: Tensor,
    scatter_b: Tensor,
) -> tuple[int, Tensor, Tensor]:
    """Count, mean and scatter of two batches together."""
    count = count_a + count_b
    step = mean_b - mean_a
    mean = mean_a + count_b / count * step
    scatter = scatter_a + scatter_b + count_a * count_b / count * torch.outer(step, step)
    return count, mean, scatter


# %%
def fid_infinity(sizes: Tensor, distances: Tensor) -> float:
    """The Fréchet distance at infinitely many images."""
    x = 1 / sizes
    slope = ((x - x.mean()) * (distances - distances.mean())).sum() / (x - x.mean()).square().sum()
    return (distances.mean() - slope * x.mean()).item()


# %%
def kernel_distance(x: Tensor, y: Tensor) -> float:
    """The unbiased estimate of the squared kernel distance, equation (16)."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        k = kernel(a, a)
        return (k.sum() - k.trace()) / (len(a) * (len(a) - 1))

    return (within(x) + within(y) - 2 * kernel(x, y).mean()).item()


# %%
def precision_recall(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    """Improved precision and recall, equation (17)."""

    def distances(a: Tensor, b: Tensor) -> Tensor:
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")

    def share_inside(points: Tensor, centres: Tensor) -> float:
        radii = distances(centres, centres).kthvalue(k + 1, dim=1).values  # the point itself comes first
        return (distances(points, centres) <= radii).any(dim=1).double().mean().item()

    return share_inside(generated, real), share_inside(real, generated)


# %%
def copied_share(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    """The share of generated images that lie suspiciously near to a training image."""

    def to_nearest(images: Tensor) -> Tensor:
        return torch.cdist(images.flatten(1), training.flatten(1)).min(dim=1).values

    radius = torch.quantile(to_nearest(heldout), at)
    return (to_nearest(generated) <= radius).float().mean().item()


# %%
def compare_generators(distances_a: Tensor, distances_b: Tensor, images_a: int, images_b: int) -> str:
    """Which of two models is better: "a", "b", "undecided" or "not comparable"."""
    if images_a != images_b:
        return "not comparable"
    if min(len(distances_a), len(distances_b)) < 2:
        return "undecided"
    gap = distances_a.mean() - distances_b.mean()
    error = (distances_a.var() / len(distances_a) + distances_b.var() / len(distances_b)).sqrt()
    if gap.abs() <= 2 * error:
        return "undecided"
    return "a" if gap < 0 else "b"
