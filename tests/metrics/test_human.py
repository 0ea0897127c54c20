"""Two alternatives: scipy's exact interval and test, and the coverage that they promise."""

import math
from inspect import unwrap

import pytest
import torch
from scipy.stats import binom, binomtest

from genimg_ref.metrics.human import binomial_test, clopper_pearson, two_alternative

INTERVALS = [clopper_pearson(k, 20) for k in range(21)]
COUNTS = [(0, 1), (1, 1), (0, 40), (40, 40), (1, 40), (17, 40), (20, 40), (333, 1000), (3, 5000)]


@pytest.mark.parametrize("successes, trials", COUNTS)
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_interval_is_scipys(successes, trials, confidence):
    expected = binomtest(successes, trials).proportion_ci(confidence, method="exact")
    low, high = clopper_pearson(successes, trials, confidence)
    assert low == pytest.approx(expected.low, rel=1e-10)
    assert high == pytest.approx(expected.high, rel=1e-10)


@pytest.mark.parametrize("successes, trials", COUNTS)
@pytest.mark.parametrize("chance", [0.5, 0.25, 0.9])
def test_the_p_value_is_scipys(successes, trials, chance):
    expected = binomtest(successes, trials, chance).pvalue
    assert binomial_test(successes, trials, chance) == pytest.approx(expected, rel=1e-9)


def test_no_successes_have_a_closed_form():
    low, high = clopper_pearson(0, 50, 0.95)
    assert low == 0.0
    assert high == pytest.approx(1 - 0.025 ** (1 / 50), rel=1e-12)
    assert clopper_pearson(50, 50, 0.95) == pytest.approx((0.025 ** (1 / 50), 1.0), rel=1e-12)


def test_a_coin_by_hand():
    """Ten throws, eight heads: 2 (45 + 10 + 1) / 1024."""
    assert binomial_test(8, 10) == pytest.approx(112 / 1024, rel=1e-12)
    assert binomial_test(5, 10) == 1.0


@pytest.mark.parametrize("chance", [0.02, 0.3, 0.5, 0.77])
def test_the_interval_covers_at_least_as_often_as_it_says(chance):
    """The normal approximation would fail this: it covers 0.02 in 33 % of experiments with 20 trials."""
    covered = sum(
        binom.pmf(k, 20, chance) for k, (low, high) in enumerate(INTERVALS) if low <= chance <= high
    )
    assert covered >= 0.95


def test_the_interval_and_the_judgement_agree():
    judgement = two_alternative(70, 200)
    assert judgement.rate == 0.35
    assert (judgement.low, judgement.high) == clopper_pearson(70, 200)
    assert judgement.p_value == binomial_test(70, 200) < 0.001
    wider = two_alternative(70, 200, confidence=0.99)
    assert wider.low < judgement.low and judgement.high < wider.high


def test_many_trials_stay_exact():
    low, high = clopper_pearson(10_150, 20_000)
    expected = binomtest(10_150, 20_000).proportion_ci(0.95, method="exact")
    torch.testing.assert_close(torch.tensor([low, high]), torch.tensor([expected.low, expected.high]))
    assert binomial_test(10_150, 20_000) == pytest.approx(binomtest(10_150, 20_000).pvalue, rel=1e-7)


@pytest.mark.parametrize(
    "function, name",
    [(clopper_pearson, "successes"), (binomial_test, "successes"), (two_alternative, "fooled")],
)
def test_bad_counts_are_named(function, name):
    with pytest.raises(ValueError, match="trials must be 1 or more; got 0"):
        function(0, 0)
    with pytest.raises(ValueError, match=rf"{name} must lie in 0 ... trials = 3; got 4"):
        function(4, 3)
    with pytest.raises(ValueError, match=rf"{name} must lie in 0 ... trials = 3; got -1"):
        function(-1, 3)
    with pytest.raises(ValueError, match=rf"{name} must be a whole number; got 1\.5"):
        unwrap(function)(1.5, 3)
    with pytest.raises(ValueError, match=r"trials must be a whole number; got 10\.5"):
        unwrap(function)(3, 10.5)


def test_bad_probabilities_are_named():
    for confidence in (0.0, 1.0, 95.0, math.nan):
        with pytest.raises(ValueError, match=f"confidence must lie between 0 and 1, .*; got {confidence}"):
            clopper_pearson(1, 3, confidence)
    with pytest.raises(ValueError, match=r"chance must lie between 0 and 1; got 1.0"):
        binomial_test(1, 3, 1.0)
