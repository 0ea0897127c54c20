"""Probabilistic PCA against scikit-learn, and as the oracle for everything that bounds a likelihood."""

from inspect import unwrap
from itertools import pairwise

import pytest
import torch
from sklearn.decomposition import PCA
from torch.distributions import Independent, Normal, kl_divergence
from torch.testing import assert_close

from genimg_ref.vae.elbo import active_units, elbo, gaussian_log_likelihood, iwae_bound
from genimg_ref.vae.ppca import fit, log_likelihood, posterior
from genimg_ref.vae.vae import evaluate, log_weights, mlp_vae, train

D = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def data():
    """400 points of 6 numbers, far along two directions and a bit along all; the mean is not zero."""
    rng = seeded()
    mix = torch.randn(2, 6, generator=rng, dtype=D)
    z = torch.randn(400, 2, generator=rng, dtype=D)
    return z @ mix + 0.4 * torch.randn(400, 6, generator=rng, dtype=D) + torch.arange(6, dtype=D)


def linear_vae(model, shift=0.0, log_scale=0.0):
    """The linear VAE with the decoder of ``model`` and its exact posterior, or one beside it."""
    dim, latent = model.weight.shape
    vae = mlp_vae((1, 2, dim // 2), latent, (), likelihood="gaussian", std=1.0, learn_std=False).double()
    slope, covariance = posterior(model, model.mean + torch.eye(dim, dtype=D))
    with torch.no_grad():
        vae.log_std.copy_(model.variance.log() / 2)
        vae.decoder.body[0].weight.copy_(model.weight)
        vae.decoder.body[0].bias.copy_(model.mean)
        vae.encoder.head[0].weight[:latent] = slope.T
        vae.encoder.head[0].bias[:latent] = -model.mean @ slope + shift
        vae.encoder.head[0].weight[latent:] = 0
        vae.encoder.head[0].bias[latent:] = covariance.diagonal().log() + log_scale
    return vae


def as_images(data):
    return data.view(-1, 1, 2, data.shape[1] // 2)


@pytest.mark.parametrize("latent", [1, 2, 4])
def test_likelihood_against_scikit_learn(data, latent):
    theirs = PCA(latent, svd_solver="full").fit(data.numpy())
    # scikit-learn divides by count - 1, maximum likelihood by count
    scaled = (data - data.mean(0)) * (400 / 399) ** 0.5 + data.mean(0)
    model = fit(scaled, latent)
    assert_close(model.variance.item(), theirs.noise_variance_)
    expected = torch.from_numpy(theirs.score_samples(data.numpy()))
    assert_close(log_likelihood(model, data), expected)


def test_the_fit_is_a_maximum(data):
    model = fit(data, 2)
    best = log_likelihood(model, data).mean()
    for k in range(3):
        for factor in (0.95, 1.05):
            changed = [part * factor if i == k else part for i, part in enumerate(model)]
            assert log_likelihood(type(model)(*changed), data).mean() < best - 1e-4


def test_posterior_by_bayes(data):
    """p(z | x) p(x) = p(x | z) p(z), at any z."""
    model = fit(data, 2)
    mean, covariance = posterior(model, data)
    z = torch.randn(400, 2, generator=seeded(3), dtype=D)
    normal = torch.distributions.MultivariateNormal
    left = normal(mean, covariance).log_prob(z) + log_likelihood(model, data)
    prior = Independent(Normal(torch.zeros_like(z), 1.0), 1).log_prob(z)
    right = gaussian_log_likelihood(model.mean + z @ model.weight.T, data, model.variance.sqrt()) + prior
    assert_close(left, right)
    assert_close(covariance, covariance.diagonal().diag())


def test_at_the_exact_posterior_every_weight_is_the_likelihood(data):
    model = fit(data, 2)
    weights = log_weights(linear_vae(model), as_images(data), 3, seeded(4))
    assert_close(weights.detach(), log_likelihood(model, data).expand(3, -1))


def expected_bound(model, mean, std, data):
    """The bound without any draw, by torch.distributions: ``E |x - W z - m|^2`` has a closed form."""
    inner = gaussian_log_likelihood(model.mean + mean @ model.weight.T, data, model.variance.sqrt())
    spread = (model.weight.square().sum(0) * std.square()).sum(1) / (2 * model.variance)
    return elbo(inner - spread, mean, 2 * std.log()).bound


def test_the_bound_touches_the_likelihood_at_the_posterior_and_nowhere_else(data):
    model = fit(data, 2)
    exact = log_likelihood(model, data)
    mean, covariance = posterior(model, data)
    std = covariance.diagonal().sqrt().expand_as(mean)
    bound = expected_bound(model, mean, std, data)
    assert_close(bound, exact)
    for other_mean, other_std in ((mean + 0.1, std), (0.9 * mean, std), (mean, 1.3 * std), (mean, 0.8 * std)):
        bound = expected_bound(model, other_mean, other_std, data)
        assert (bound < exact).all()
        gap = kl_divergence(Normal(other_mean, other_std), Normal(mean, std)).sum(1)
        assert_close(exact - bound, gap)  # log p(x) - bound = KL(q || p(z | x))


def test_the_model_s_bound_is_the_one_without_draws(data):
    model = fit(data, 2)
    vae = linear_vae(model, shift=0.3, log_scale=0.5)
    mean, covariance = posterior(model, data)
    std = (covariance.diagonal().sqrt() * torch.tensor(0.25).exp()).expand_as(mean)
    expected = expected_bound(model, mean + 0.3, std, data)
    draws = torch.stack([evaluate(vae, as_images(data), seeded(k)).bound for k in range(300)])
    error = draws.std(0) / 300**0.5
    assert ((draws.mean(0) - expected).abs() < 5 * error).all() and (error < 0.3).all()


def test_the_importance_weighted_bound_rises_to_the_likelihood(data):
    model = fit(data, 2)
    exact = log_likelihood(model, data)[:50]
    vae = linear_vae(model, shift=0.1, log_scale=0.7)
    weights = log_weights(vae, as_images(data[:50]), 40_000, seeded(5)).detach()
    gaps = []
    for k in (1, 4, 16, 64, 1024):
        bounds = iwae_bound(weights[: 40_000 // k * k].view(k, -1, 50))
        error = bounds.std(0) / len(bounds) ** 0.5
        assert (bounds.mean(0) < exact + 4 * error).all()
        gaps.append((exact - bounds.mean(0)).mean().item())
    assert all(later < 0.6 * sooner for sooner, later in pairwise(gaps))
    assert gaps[0] > 0.2 and abs(gaps[-1]) < 3e-3


def test_a_linear_vae_learns_it(data):
    """The bound climbs to the exact maximum of the likelihood, and does not pass it."""
    data = (data - data.mean(0)).float()
    vae = mlp_vae((1, 2, 3), 2, (), likelihood="gaussian", std=1.0, rng=seeded())
    optimiser = torch.optim.Adam(vae.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 1500)
    steps = train(vae, optimiser, as_images(data), steps=1500, rng=seeded(1), batch_size=100, progress=False)
    for _ in steps:
        schedule.step()
    best = log_likelihood(fit(data, 2), data).mean().item()
    mean = torch.stack([evaluate(vae, as_images(data), seeded(k)).bound.mean() for k in range(100)]).mean()
    assert best - 0.1 < mean.item() < best + 0.03
    assert vae.log_std.exp().item() == pytest.approx(fit(data, 2).variance.sqrt().item(), rel=0.05)


def test_directions_below_the_noise_collapse(data):
    values = torch.linalg.eigvalsh(data.T.cov(correction=0)).flip(0)
    between = ((values[1] + values[2]) / 2).item()
    model = fit(data, 4, variance=between)
    assert (model.weight.norm(dim=0) > 0).tolist() == [True, True, False, False]
    means, covariance = posterior(model, data)
    assert active_units(means).tolist() == [True, True, False, False]
    assert_close(covariance.diagonal()[2:], torch.ones(2, dtype=D))


def test_bad_input(data):
    for latent in (0, 6):
        with pytest.raises(ValueError, match=rf"latent must lie in 1 ... 5; got {latent}"):
            fit(data, latent)
    with pytest.raises(ValueError, match="variance must be above zero; got 0"):
        unwrap(fit)(data, 2, variance=0.0)
