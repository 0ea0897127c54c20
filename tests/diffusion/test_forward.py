"""The moments of the forward process, step by step and at once, and the posterior by Bayes' rule."""

import pytest
import torch
from diffusers import DDPMScheduler
from torch.distributions import Normal
from torch.testing import assert_close

from genimg_ref.diffusion.forward import (
    Gaussian,
    diffuse,
    draw,
    like,
    marginal,
    noise_like,
    posterior,
    transition,
)
from genimg_ref.diffusion.schedule import Discrete, cosine_betas, exploding, linear_betas, straight, vp_cosine

D = torch.float64
SCHEDULES = {"cosine": vp_cosine, "straight": straight, "exploding": exploding}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=D)


def at(*times):
    return torch.tensor(times, dtype=D)


def test_diffuse_takes_each_image_to_its_own_level():
    x0, noise, t = normal(3, 2, 4, 5), normal(3, 2, 4, 5, seed=1), at(0.0, 0.4, 1.0)
    x = diffuse(x0, noise, straight(t))
    assert_close(x[0], x0[0])
    assert_close(x[1], 0.6 * x0[1] + 0.4 * noise[1])
    assert_close(x[2], noise[2])
    assert_close(diffuse(x0, noise, straight(at(0.4)[0]))[2], 0.6 * x0[2] + 0.4 * noise[2])


def test_diffuse_against_diffusers():
    schedule, other = Discrete(linear_betas(1000)), DDPMScheduler(1000)
    x0, noise = normal(4, 3, 6, 5).float(), normal(4, 3, 6, 5, seed=1).float()
    k = torch.tensor([1, 17, 500, 1000])
    assert_close(
        diffuse(x0, noise, schedule(k / 1000)), other.add_noise(x0, noise, k - 1), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_draws_have_the_moments_of_the_marginal(name):
    x0, level = normal(1, 3), SCHEDULES[name](at(0.7)[0])
    gaussian = marginal(x0, level)
    drawn = draw(gaussian._replace(mean=gaussian.mean.expand(40_000, -1)), seeded(2))
    exact = diffuse(x0.expand(40_000, -1), normal(40_000, 3, seed=3), level)
    for x in (drawn, exact):
        assert_close(x.mean(0), gaussian.mean[0], rtol=0, atol=0.02)
        assert_close(x.var(0), gaussian.variance.expand(3), rtol=0.03, atol=0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_transitions_compose(name):
    """From s to t and on to u is from s to u; from data it is the marginal."""
    x = normal(2, 3)
    s, t, u = (SCHEDULES[name](at(time, time + 0.05)) for time in (0.2, 0.5, 0.8))
    first = transition(x, s, t)
    second = transition(first.mean, t, u)
    whole = transition(x, s, u)
    assert_close(second.mean, whole.mean)
    assert_close(second.variance + (u.alpha / t.alpha).square() * first.variance, whole.variance)
    data = SCHEDULES[name](at(0.0, 0.0))
    for got, expected in zip(transition(x, data, t), marginal(x, t), strict=True):
        assert_close(got, expected)


def test_a_step_of_ddpm_adds_beta():
    schedule, x = Discrete(cosine_betas(40)), normal(5, 3)
    k = torch.tensor([1, 2, 20, 39, 40])
    mean, variance = transition(x, schedule((k.to(D) - 1) / 40), schedule(k.to(D) / 40))
    assert_close(variance, schedule.beta[k])
    assert_close(mean, (1 - schedule.beta[k]).sqrt()[:, None] * x)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_posterior_is_bayes_rule(name):
    """``q(x_s | x_t, x_0)`` is ``q(x_t | x_s) q(x_s | x_0) / q(x_t | x_0)`` at any ``x_s``."""
    s, t = SCHEDULES[name](at(0.3)), SCHEDULES[name](at(0.6))
    x0, xt, xs = normal(1, 4), normal(1, 4, seed=1), normal(1, 4, seed=2)

    def log_density(gaussian, x):
        return Normal(gaussian.mean, gaussian.variance.sqrt()).log_prob(x)

    bayes = (
        log_density(transition(xs, s, t), xt)
        + log_density(marginal(x0, s), xs)
        - log_density(marginal(x0, t), xt)
    )
    assert_close(log_density(posterior(xt, x0, s, t), xs), bayes)


def test_the_posterior_of_ddpm_is_equations_6_and_7():
    schedule = Discrete(linear_betas(60, 1e-3, 0.2))
    x, x0, k = normal(4, 2, 3, 5), normal(4, 2, 3, 5, seed=1), torch.tensor([1, 2, 30, 60])
    beta, bar, before = schedule.beta[k], schedule.alpha_bar[k], schedule.alpha_bar[k - 1]
    of_x0 = before.sqrt() * beta / (1 - bar)
    of_x = (1 - beta).sqrt() * (1 - before) / (1 - bar)
    mean, variance = posterior(x, x0, schedule((k.to(D) - 1) / 60), schedule(k.to(D) / 60))
    assert_close(mean, of_x0[:, None, None, None] * x0 + of_x[:, None, None, None] * x)
    assert_close(variance, (1 - before) / (1 - bar) * beta)
    assert_close(mean[0], x0[0])
    assert variance[0] == 0


def test_walking_back_with_the_image_known_gives_the_marginal():
    """Draw x_t, then x_s from the posterior: its moments are those of ``q(x_s | x_0)``."""
    s, t = vp_cosine(at(0.3)[0]), vp_cosine(at(0.8)[0])
    x0 = normal(1, 2).expand(40_000, -1)
    xs = draw(posterior(draw(marginal(x0, t), seeded(1)), x0, s, t), seeded(2))
    assert_close(xs.mean(0), s.alpha * x0[0], rtol=0, atol=0.02)
    assert_close(xs.var(0), s.sigma.square().expand(2), rtol=0.03, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_dtype_follows_the_input(dtype):
    x = torch.zeros(2, 1, 3, 4, dtype=dtype)
    s, t = straight(at(0.1, 0.2)), straight(at(0.5, 0.6))
    assert noise_like(x, seeded()).dtype == diffuse(x, x, t).dtype == dtype
    assert posterior(x, x, s, t).mean.dtype == draw(transition(x, s, t), seeded()).dtype == dtype


def test_noise_is_the_generator_s():
    x = torch.zeros(3, 4)
    before = torch.get_rng_state()
    assert torch.equal(noise_like(x, seeded()), noise_like(x, seeded()))
    assert not torch.equal(noise_like(x, seeded()), noise_like(x, seeded(1)))
    assert len({tuple(row) for row in noise_like(x, seeded()).tolist()}) == 3
    assert torch.equal(before, torch.get_rng_state())


def test_levels_must_fit_the_batch():
    for wrong in (torch.zeros(4), torch.zeros(1), torch.zeros(3, 1)):
        with pytest.raises(ValueError, match="one or 3, as there are images; got shape"):
            like(wrong, torch.zeros(3, 4))
    assert isinstance(marginal(normal(3, 4), straight(at(0.1, 0.2, 0.3))), Gaussian)
