"""The Inception score against torch-fidelity, torchmetrics, fractions and its bounds."""

import math
from inspect import unwrap

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric
from torchmetrics.image.inception import InceptionScore as Peer

from genimg_ref.metrics.inception_score import inception_score


def draw(count, classes, seed=0, scale=3.0):
    rng = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, classes, generator=rng, dtype=torch.float64) + 5


@pytest.mark.parametrize(
    ("count", "classes", "splits"), [(100, 10, 10), (103, 7, 4), (50, 1000, 1), (2, 3, 1)]
)
def test_against_torch_fidelity(count, classes, splits):
    logits = draw(count, classes)
    peer = isc_features_to_metric(logits, splits=splits, shuffle=False)
    ours = inception_score(logits, splits)
    assert ours.mean == pytest.approx(peer["inception_score_mean"], rel=1e-12)
    if splits > 1:
        assert ours.std == pytest.approx(peer["inception_score_std"], rel=1e-9)


class AsTheyAre(torch.nn.Module):
    """A feature extractor for torchmetrics which takes logits for images."""

    num_features = 10

    def forward(self, logits):
        return logits


@pytest.mark.filterwarnings("ignore::UserWarning:torchmetrics")
def test_against_torchmetrics(monkeypatch):
    """Its standard deviation divides by one less than the splits. It shuffles; the score of 1 split does not
    mind, and for more the order is held still."""
    logits = draw(60, 10)
    monkeypatch.setattr(torch, "randperm", torch.arange)
    for splits in (1, 5):
        peer = Peer(feature=AsTheyAre(), splits=splits).set_dtype(torch.float64)
        peer.update(logits)
        mean, std = (value.item() for value in peer.compute())
        ours = inception_score(logits, splits)
        assert ours.mean == pytest.approx(mean, rel=1e-6)
        if splits > 1:
            assert ours.std * math.sqrt(splits / (splits - 1)) == pytest.approx(std, rel=1e-6)


def test_by_hand():
    """``p(y) = (3/8, 5/8)``."""
    p = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64)
    kl = 0.5 * (
        0.5 * math.log(4 / 3) + 0.5 * math.log(4 / 5) + 0.25 * math.log(2 / 3) + 0.75 * math.log(6 / 5)
    )
    assert inception_score(p.log(), splits=1).mean == pytest.approx(math.exp(kl), rel=1e-14)


def test_logits_and_log_probabilities_are_the_same():
    logits = draw(40, 6)
    shifted = logits + torch.arange(40)[:, None]
    expected = inception_score(logits, 4)
    assert inception_score(logits.log_softmax(dim=1), 4) == pytest.approx(expected, rel=1e-12)
    assert inception_score(shifted, 4) == pytest.approx(expected, rel=1e-12)


def test_bounds():
    certain = torch.eye(5, dtype=torch.float64).repeat(8, 1)
    assert inception_score(1000 * certain, 2).mean == pytest.approx(5, rel=1e-12)
    assert inception_score(draw(1, 5).expand(40, 5), 4) == (1.0, 0.0)
    assert inception_score(draw(20, 1000, scale=500), 1).mean <= 20


def test_probability_zero_counts_nothing():
    logp = torch.eye(4, dtype=torch.float64).repeat(5, 1).log()  # zeros and minus infinities
    assert inception_score(logp, 1).mean == pytest.approx(4, rel=1e-14)
    some = torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.75, 0.0]], dtype=torch.float64).log()
    assert inception_score(some, 1).mean == pytest.approx(inception_score(some[:, :2], 1).mean, rel=1e-14)


def test_probabilities_too_small_for_their_logarithm():
    """exp(-1000) is zero in the computer, and would make nan of ``0 log 0`` without logarithms."""
    logits = torch.tensor([[0.0, -1000.0, 0.0], [0.0, -3000.0, -1000.0]], dtype=torch.float64)
    expected = math.exp(math.log(4 / 3) / 2 + math.log(2 / 3) / 4 + math.log(2) / 4)
    assert inception_score(logits, 1).mean == pytest.approx(expected, rel=1e-14)


def test_small_probabilities_are_exact():
    """Adding 1e-6 before the logarithm, as some code does, would be seen here."""
    p = torch.tensor([[1.0 - 1e-6, 1e-6], [1e-6, 1.0 - 1e-6]], dtype=torch.float64)
    expected = 2 * (1 - 1e-6) ** (1 - 1e-6) * 1e-6**1e-6
    assert inception_score(p.log(), 1).mean == pytest.approx(expected, rel=1e-13)


def test_huge_logits_do_not_overflow():
    logits = torch.tensor([[3e4, 0.0], [0.0, 6e4]]).half()
    assert inception_score(logits, 1).mean == pytest.approx(2, rel=1e-12)
    assert inception_score(logits.float() * 1e30, 1).mean == pytest.approx(2, rel=1e-12)


def test_one_split_has_no_spread():
    assert math.isnan(inception_score(draw(9, 3), 1).std)


def test_splits_are_runs_of_images():
    logits = torch.cat([draw(30, 4, 0), draw(31, 4, 1)])
    first, second = (inception_score(part, 1).mean for part in (logits[:30], logits[30:]))
    assert inception_score(logits, 2) == pytest.approx(((first + second) / 2, abs(first - second) / 2))


def test_probabilities_are_refused():
    """A second softmax would give 1.03 here, and nobody would notice."""
    for p in (draw(40, 6).softmax(dim=1), draw(40, 6).float().softmax(dim=1), torch.eye(6).repeat(7, 1)):
        with pytest.raises(
            ValueError, match="logits must be logits or log-probabilities; got rows of numbers"
        ):
            inception_score(p, 2)
    assert inception_score(draw(40, 6).softmax(dim=1).log(), 2).mean > 1.5


@pytest.mark.parametrize(("bad", "told"), [(math.nan, "nan"), (math.inf, "inf")])
def test_bad_numbers_are_named(bad, told):
    logits = draw(20, 3)
    logits[4, 1] = bad
    with pytest.raises(ValueError, match=f"logits must be finite, or minus infinity but not .*; got {told}"):
        inception_score(logits, 2)


def test_bad_input_is_named():
    logits = draw(20, 3)
    logits[5] = -math.inf
    with pytest.raises(ValueError, match="minus infinity but not in all of a row; got -inf"):
        inception_score(logits, 2)
    logits = draw(19, 3)
    with pytest.raises(ValueError, match="at least 2 rows for each of 10 splits, 20; got 19"):
        inception_score(logits)
    with pytest.raises(ValueError, match="splits must be at least 1; got 0"):
        inception_score(logits, 0)
    with pytest.raises(ValueError, match=r"logits must have shape \(count, classes\).*; got \(19, 1\)"):
        inception_score(logits[:, :1], 2)
    with pytest.raises(ValueError, match=r"logits must have shape .*; got \(2, 19, 3\)"):
        unwrap(inception_score)(torch.stack([logits, logits]), 2)
    with pytest.raises(ValueError, match=r"logits must have a floating dtype; got torch\.uint8"):
        unwrap(inception_score)(torch.from_numpy(np.ones((20, 3), np.uint8)), 2)
