"""What all measures of features have in common: any floating dtype, any layout, and no graph held on to."""

import pytest
import torch

from genimg_ref.metrics.copies import copy_test
from genimg_ref.metrics.diversity import class_diversity
from genimg_ref.metrics.fid import fid_infinity, frechet_distance, frechet_distance_of
from genimg_ref.metrics.inception_score import inception_score
from genimg_ref.metrics.kid import kernel_distance, kernel_distance_subsets
from genimg_ref.metrics.precision_recall import density_coverage, precision_recall
from genimg_ref.metrics.statistics import gather, moments


def rng():
    return torch.Generator().manual_seed(0)


def draw(count, seed):
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


A, B, LABELS = draw(40, 0), draw(30, 1) + 0.3, torch.arange(40) % 3
MEASURES = {
    "copies": lambda a, b: copy_test(a, b, b.flip(1)),
    "diversity": lambda a, b: class_diversity(a, LABELS).mean,
    "fréchet": frechet_distance_of,
    "fréchet from moments": lambda a, b: frechet_distance(gather(a.split(7)), moments(b)),
    "fréchet at infinity": lambda a, b: fid_infinity(moments(b), a, rng()).value,
    "inception score": lambda a, b: inception_score(a, 4),
    "kernel": kernel_distance,
    "kernel in subsets": lambda a, b: kernel_distance_subsets(a, b, rng(), 4, 9).mean,
    "density": density_coverage,
    "precision": precision_recall,
}
EVERY = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES.keys())


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_few_digits_are_measured_in_float64(measure, dtype):
    a, b = A.to(dtype), B.to(dtype)
    assert measure(a, b) == measure(a.double(), b.double())


@EVERY
def test_the_layout_in_memory_does_not_matter(measure):
    a, b = A.T.contiguous().T, torch.stack([B, -B], dim=2)[..., 0]
    assert not a.is_contiguous() and not b.is_contiguous()
    assert measure(a, b) == pytest.approx(measure(A, B), rel=1e-12)


@EVERY
def test_features_with_gradients_are_measured_without(measure):
    """Else the memory of a measure, or of a stream of batches, would grow with all that was computed."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        found = measure(A.clone().requires_grad_() * 1.0, B.clone().requires_grad_() * 1.0)
    assert found == measure(A, B)
    assert kept == []


def test_moments_do_not_hold_on_to_a_graph():
    m = moments(A.clone().requires_grad_())
    assert not m.mean.requires_grad and not m.scatter.requires_grad
