"""Both estimators against a case in closed form: f(z) = z^2, whose mean is m^2 + v."""

import pytest
import torch
from torch.testing import assert_close

from genimg_ref.vae.estimators import pathwise, score_function

D = torch.float64
MEAN = torch.tensor([1.5, -0.5], dtype=D)
LOG_VARIANCE = torch.tensor([0.4, -1.0], dtype=D)
DRAWS = 100_000


def noise(seed=0):
    return torch.randn(DRAWS, 2, generator=torch.Generator().manual_seed(seed), dtype=D)


def squares(z):
    return z.square().sum(dim=1)


@pytest.mark.parametrize("estimate", [pathwise, score_function])
@pytest.mark.parametrize("baseline", [0.0, 3.0])
def test_unbiased(estimate, baseline):
    """d/dm (m^2 + v) = 2 m and d/dlog v = v."""
    extra = {"baseline": baseline} if estimate is score_function else {}
    gradients = estimate(squares, MEAN, LOG_VARIANCE, noise(), **extra)
    for got, expected in zip(gradients, (2 * MEAN, LOG_VARIANCE.exp()), strict=True):
        error = got.std(0) / DRAWS**0.5
        assert ((got.mean(0) - expected).abs() < 4 * error).all() and (error < 0.05).all()


def test_pathwise_draw_by_draw():
    """f' = 2 z; dz/dlog v = std noise / 2."""
    e = noise()[:5]
    std = (LOG_VARIANCE / 2).exp()
    z = MEAN + std * e
    gradients = pathwise(squares, MEAN, LOG_VARIANCE, e)
    assert_close(gradients.mean, 2 * z)
    assert_close(gradients.log_variance, z * std * e)


def test_score_function_is_the_derivative_of_the_log_density():
    e = noise()[:5]
    mean, log_variance = MEAN.clone().requires_grad_(), LOG_VARIANCE.clone().requires_grad_()
    z = (MEAN + (LOG_VARIANCE / 2).exp() * e).detach()
    gradients = score_function(squares, MEAN, LOG_VARIANCE, e, baseline=1.0)
    for k in range(5):
        log_density = torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(z[k]).sum()
        expected = torch.autograd.grad((squares(z[k : k + 1])[0] - 1.0) * log_density, [mean, log_variance])
        assert_close(gradients.mean[k], expected[0])
        assert_close(gradients.log_variance[k], expected[1])


def test_the_variances_are_the_known_ones():
    """With f = z^2 in one dimension: Var(2 z) = 4 v along the path; the score function's is many times that.

    ``E ((z^2 e) / s)^2 - (2 m)^2`` with z = m + s e, by the moments 1, 3, 15 of a Gaussian.
    """
    m, v = MEAN[:1], LOG_VARIANCE[:1].exp()
    e = noise()[:, :1]
    path = pathwise(squares, m, v.log(), e).mean.var(0)
    score = score_function(squares, m, v.log(), e).mean.var(0)
    assert_close(path, 4 * v, rtol=0.02, atol=0)
    expected = (m**4 + 18 * m**2 * v + 15 * v**2) / v - 4 * m**2
    assert_close(score, expected, rtol=0.05, atol=0)
    assert (score > 7 * path).all()
    lower = score_function(squares, m, v.log(), e, baseline=(m**2 + v).item()).mean.var(0)
    assert (lower < 0.8 * score).all()
