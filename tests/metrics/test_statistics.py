"""Moments in one pass against numpy and exact fractions, and their merging."""

import io
import math
from fractions import Fraction
from inspect import unwrap

import numpy as np
import pytest
import torch

from genimg_ref.metrics.statistics import Moments, gather, moments


def draw(count, dim, seed=0, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=rng, dtype=dtype)
    return torch.randn(count, dim, generator=rng, dtype=dtype) @ mixing + torch.linspace(-3, 5, dim).to(dtype)


def assert_same(a: Moments, b: Moments, **tolerance):
    assert a.count == b.count
    torch.testing.assert_close(a.mean, b.mean, **tolerance)
    torch.testing.assert_close(a.scatter, b.scatter, **tolerance)


@pytest.mark.parametrize(("count", "dim"), [(2, 5), (40, 7), (1000, 3)])
def test_mean_and_covariance_are_numpys(count, dim):
    x = draw(count, dim)
    torch.testing.assert_close(moments(x).mean.numpy(), x.numpy().mean(axis=0))
    torch.testing.assert_close(moments(x).covariance().numpy(), np.cov(x.numpy(), rowvar=False))


@pytest.mark.parametrize("size", [1, 7, 64, 500])
def test_batches_of_any_size_make_the_same_moments(size):
    x = draw(200, 6)
    assert_same(gather(x.split(size)), moments(x))


def test_unequal_batches_and_processes_in_any_order():
    x = draw(200, 6)
    parts = [gather(part.split(9)) for part in x.split([1, 120, 30, 49])]
    a, b, c, d = parts
    assert_same(a.merge(b).merge(c).merge(d), moments(x))
    assert_same(d.merge(b).merge(a.merge(c)), moments(x))


def test_moments_travel_between_processes():
    sent, box = moments(draw(20, 3)), io.BytesIO()
    torch.save((sent.count, sent.mean, sent.scatter), box)
    box.seek(0)
    received = Moments(*torch.load(box, weights_only=True))
    assert_same(received, sent, rtol=0, atol=0)


def test_a_large_mean_costs_no_digits():
    """Sums of squares would lose every digit of the variance here."""
    values = [1e8 + k for k in (4.0, 7.0, 13.0, 16.0)]
    exact = [Fraction(v) for v in values]
    mean = sum(exact) / 4
    variance = sum((v - mean) ** 2 for v in exact) / 3
    for batches in ([4], [1, 3], [1, 1, 1, 1]):
        m = gather(torch.tensor(values, dtype=torch.float64)[:, None].split(batches))
        assert m.mean.item() == float(mean)
        assert m.covariance().item() == pytest.approx(float(variance), rel=1e-14)


def test_float32_features_are_gathered_in_float64():
    x = draw(3000, 4).float() + 1000
    m = gather(x.split(100))
    assert m.mean.dtype == m.scatter.dtype == torch.float64
    torch.testing.assert_close(m.covariance().numpy(), np.cov(x.double().numpy(), rowvar=False))


def test_constant_columns_have_exactly_no_scatter():
    x = draw(50, 3)
    x[:, 1] = 0.1
    m = gather(x.split(7))
    assert m.mean[1].item() == 0.1
    assert m.scatter[1].tolist() == [0.0, 0.0, 0.0]


def test_scatter_is_symmetric_and_positive():
    m = gather(draw(60, 8).split(11))
    torch.testing.assert_close(m.scatter, m.scatter.T, rtol=1e-14, atol=1e-12)
    assert torch.linalg.eigvalsh(m.scatter).min() > 0


def test_wide_features_are_put_together_from_panels():
    x = draw(30, 1100) / 30
    m = moments(x)
    torch.testing.assert_close(m.covariance().numpy(), np.cov(x.numpy(), rowvar=False), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(m.scatter, m.scatter.T, rtol=0, atol=1e-13)


def test_the_features_are_left_alone():
    x = draw(10, 3)
    before = x.clone()
    moments(x)
    torch.testing.assert_close(x, before, rtol=0, atol=0)


def test_a_batch_of_one_has_a_mean_but_no_covariance():
    m = moments(torch.tensor([[1.0, 2.0]]))
    assert m.mean.tolist() == [1.0, 2.0] and m.scatter.abs().sum() == 0
    with pytest.raises(ValueError, match="count must be at least 2 for a covariance; got 1"):
        m.covariance()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.1e24])
def test_a_bad_number_is_named(bad):
    x = draw(10, 3)
    x[4, 1] = bad
    with pytest.raises(ValueError, match=r"features must be finite and below 1e\+24 in size; got"):
        gather(x.split(5))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="features must hold at least 1 rows; got 0"):
        moments(torch.zeros(0, 3))
    with pytest.raises(ValueError, match=r"features must have shape \(count, dim\); got \(4, 0\)"):
        moments(torch.zeros(4, 0))
    with pytest.raises(ValueError, match=r"features must have shape \(count, dim\); got \(2, 3, 4\)"):
        unwrap(moments)(torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match=r"features must have a floating dtype; got torch.int64"):
        unwrap(moments)(torch.ones(4, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="batches must hold at least one batch of features; got none"):
        gather([])
    with pytest.raises(ValueError, match="batches must all be 3 wide; got one of 4"):
        gather([draw(5, 3), draw(5, 3), draw(5, 4)])
    with pytest.raises(ValueError, match="other must be 3 wide; got 4"):
        moments(draw(5, 3)).merge(moments(draw(5, 4)))
