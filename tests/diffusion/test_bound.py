"""Terms of the variational bound: closed forms, what a perfect model pays, and the sum that bounds."""

import math
from inspect import unwrap

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence
from torch.testing import assert_close

from genimg_ref.diffusion.bound import Bound, bound, gaussian_kl, last_term, prior_term, step_back, step_term
from genimg_ref.diffusion.forward import Gaussian, diffuse, noise_like
from genimg_ref.diffusion.schedule import Discrete, cosine_betas, linear_betas
from genimg_ref.vae.elbo import LEVEL

D = torch.float64
SCHEDULE = Discrete(linear_betas(20, 1e-3, 0.4))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=D)


def images(count=3):
    grey = torch.randint(0, 256, (count, 2, 3, 4), generator=seeded(5))
    return grey.to(D) * LEVEL - 1


def knowing(x0):
    """A model that predicts the image because it has it."""
    return lambda x, t: x0


def test_kl_against_torch():
    p = Gaussian(normal(3, 2, 4), torch.tensor([0.1, 1.0, 3.0], dtype=D))
    q = Gaussian(normal(3, 2, 4, seed=1), torch.tensor([0.2, 0.5, 3.0], dtype=D))

    def of_torch(gaussian):
        return Independent(Normal(gaussian.mean, gaussian.variance.sqrt()[:, None, None]), 2)

    assert_close(gaussian_kl(p, q), kl_divergence(of_torch(p), of_torch(q)))
    assert_close(gaussian_kl(p, p), torch.zeros(3, dtype=D))


def test_prior_term():
    """A pixel of mean m and variance v costs ``(m^2 + v - 1 - log v) / 2``."""
    x0, bar = images(), SCHEDULE.alpha_bar[-1]
    expected = 0.5 * (bar * x0.square() - bar - (1 - bar).log()).sum((1, 2, 3))
    assert_close(prior_term(x0, SCHEDULE), expected)
    assert (prior_term(images().float(), Discrete(cosine_betas(1000))) < 1e-3).all()


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("step", [2, 9, 20])
def test_step_term_is_equation_8(step, variance):
    """``|mean - mean'|^2 / (2 v) + C``, with the weight of the noise's error written out by hand."""
    x0, eps = images(), normal(3, 2, 3, 4)
    error = normal(3, 2, 3, 4, seed=1)
    beta, bar, before = SCHEDULE.beta[step], SCHEDULE.alpha_bar[step], SCHEDULE.alpha_bar[step - 1]
    small = beta * (1 - before) / (1 - bar)
    v = small if variance == "small" else beta
    constant = 24 / 2 * (small / v - 1 - (small / v).log())
    weight = beta**2 / (2 * v * (1 - beta) * (1 - bar))  # Ho et al. (2020), equation 12
    term = step_term(lambda x, t: eps + error, x0, eps, SCHEDULE, step, variance=variance)
    assert_close(term, weight * error.square().sum((1, 2, 3)) + constant)


def test_a_model_that_knows_the_image_pays_only_for_the_levels():
    x0 = images()
    terms = bound(knowing(x0), x0, SCHEDULE, seeded(), kind="x0")
    assert_close(terms.steps, torch.zeros(19, 3, dtype=D))
    mean, spread = step_back(x0, x0, SCHEDULE, 1)
    assert_close(mean, x0)
    inner = math.erf(LEVEL / 2 / math.sqrt(2 * spread.item()))  # the mass of a level that is no end
    inside = (x0.abs() < 1 - LEVEL / 2).to(D).sum((1, 2, 3))
    outer = 0.5 + 0.5 * inner
    assert_close(terms.last, -(inside * math.log(inner) + (24 - inside) * math.log(outer)))
    assert_close(terms.total, terms.prior + terms.last)


def test_variances():
    x = images()
    assert_close(step_back(x, x, SCHEDULE, 7, "large").variance, SCHEDULE.beta[7])
    small = step_back(x, x, SCHEDULE, 7, "small").variance
    ratio = (1 - SCHEDULE.alpha_bar[6]) / (1 - SCHEDULE.alpha_bar[7])
    assert_close(small, SCHEDULE.beta[7] * ratio)
    first, second = (step_back(x, x, SCHEDULE, k, "small").variance for k in (1, 2))
    assert_close(first, second)
    assert first > 0


def test_the_bound_lies_above_the_true_code_length():
    """Data N(0, v) with the exact model: bound >= -log p, and with many steps little above it.

    Pixels are taken far from the ends, so the levels' probabilities are densities times their width. The
    exact noise of a Gaussian is linear in ``x``.
    """
    v = 0.04
    x0 = (torch.randn(2000, 1, generator=seeded(3), dtype=D) * v**0.5 / LEVEL).round() * LEVEL - LEVEL / 2
    exact = -(Normal(0.0, v**0.5).log_prob(x0) + math.log(LEVEL)).sum(1).mean()
    gaps = []
    for steps in (10, 100):
        schedule = Discrete(cosine_betas(steps))

        def model(x, t, schedule=schedule):
            alpha, sigma = schedule(t[:1])
            return sigma * x / (alpha**2 * v + sigma**2)

        total = bound(model, x0, schedule, seeded(4), variance="large").total
        gaps.append((total.mean() - exact).item())
    assert 0 < gaps[1] < gaps[0] / 2 < 1.5


def test_one_step_has_no_divergences():
    x0, one = images(), Discrete(torch.tensor([0.9]))
    terms = bound(knowing(x0), x0, one, seeded(), kind="x0")
    assert isinstance(terms, Bound) and terms.steps.shape == (0, 3)
    assert_close(terms.total, terms.prior + terms.last)


def test_each_term_sees_its_own_time():
    seen = []

    def model(x, t):
        seen.append(t)
        return x

    x0 = images(2)
    bound(model, x0, SCHEDULE, seeded())
    expected = [k / 20 for k in (*range(2, 21), 1)]
    assert_close(torch.stack(seen), torch.tensor(expected, dtype=D)[:, None].expand(-1, 2))
    x1 = diffuse(x0, noise_like(x0, seeded()), SCHEDULE(torch.tensor(0.05, dtype=D)))
    seen.clear()
    last_term(lambda x, t: seen.append(x) or x, x0, noise_like(x0, seeded()), SCHEDULE)
    assert_close(seen[0], x1)


def test_bad_input_is_named():
    x0 = images()
    with pytest.raises(ValueError, match=r"step must lie in 2 ... 20; got 1"):
        step_term(knowing(x0), x0, x0, SCHEDULE, 1)
    with pytest.raises(ValueError, match=r"step must lie in 1 ... 20; got 21"):
        step_back(x0, x0, SCHEDULE, 21)
    with pytest.raises(ValueError, match="variance must be 'small' or 'large'; got 'middle'"):
        unwrap(step_back)(x0, x0, SCHEDULE, 3, "middle")
