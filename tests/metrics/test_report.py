"""The judge: the measures' own functions, on the same features, with equal counts."""

import pytest
import torch

from genimg_ref.data import fashion
from genimg_ref.metrics.copies import copy_test
from genimg_ref.metrics.features import FashionClassifier
from genimg_ref.metrics.fid import frechet_distance_of
from genimg_ref.metrics.inception_score import inception_score
from genimg_ref.metrics.kid import kernel_distance
from genimg_ref.metrics.precision_recall import density_coverage, precision_recall
from genimg_ref.metrics.report import Judge

TRAINING, TEST = fashion.load("train").images[:400], fashion.load("test").images
REAL, FRESH = TEST[:200], TEST[200:400]


@pytest.fixture(scope="module")
def judge():
    return Judge(REAL, TRAINING)


def test_each_entry_is_the_measure_of_its_name(judge):
    extract = FashionClassifier()
    report = judge(FRESH)
    assert report.frechet == frechet_distance_of(extract(REAL), extract(FRESH))
    assert report.inception == inception_score(extract.logits(FRESH), splits=1).mean
    assert report.kernel == kernel_distance(extract(REAL), extract(FRESH)).value
    assert (report.precision, report.recall) == precision_recall(extract(REAL), extract(FRESH))
    assert (report.density, report.coverage) == density_coverage(extract(REAL), extract(FRESH))
    assert report.closer == copy_test(extract(FRESH), extract(REAL), extract(TRAINING)).closer


def test_the_real_images_themselves_have_distance_zero(judge):
    report = judge(REAL)
    assert report.frechet == pytest.approx(0, abs=1e-9)
    assert (report.precision, report.recall) == (1.0, 1.0)
    assert report.closer == pytest.approx(0.5)


def test_copies_of_training_images_are_closer_than_held_out_ones(judge):
    assert judge(TRAINING[:200]).closer > 0.99


def test_noise_is_worse_in_everything_but_copying(judge):
    rng = torch.Generator().manual_seed(0)
    fresh, noise = judge(FRESH), judge(torch.rand(REAL.shape, generator=rng) * 2 - 1)
    assert noise.frechet > 5 * fresh.frechet
    assert noise.kernel > 5 * abs(fresh.kernel)
    assert noise.inception < fresh.inception
    assert noise.recall < fresh.recall
    assert noise.coverage < fresh.coverage


def test_another_count_is_refused(judge):
    with pytest.raises(ValueError, match="images must be 200, as many as the real ones are; got 100"):
        judge(FRESH[:100])
