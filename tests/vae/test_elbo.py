"""The terms of the bound against torch.distributions, against closed forms, and where each could go wrong."""

import math
from inspect import unwrap

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence
from torch.testing import assert_close

from genimg_ref.vae.elbo import (
    LEVEL,
    active_units,
    annealed,
    bernoulli_log_likelihood,
    binarise,
    bits_per_dimension,
    dequantise,
    discretised_gaussian_log_likelihood,
    elbo,
    free_bits,
    gaussian_log_likelihood,
    iwae_bound,
    kl_per_dimension,
    kl_to_standard_normal,
    normal_log_density,
    reparameterise,
    sample_kl,
    to_images,
    to_unit,
)

D = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=D)


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 20.0])
def test_kl_against_torch(shape, scale):
    mean, log_variance = scale * normal(*shape), scale * normal(*shape, seed=1)
    q = Normal(mean, (log_variance / 2).exp())
    expected = kl_divergence(q, Normal(torch.zeros_like(mean), 1.0))
    if scale > 0.01:  # torch's own formula loses its digits near 0
        assert_close(kl_per_dimension(mean, log_variance), expected)
        assert_close(kl_to_standard_normal(mean, log_variance), expected.sum(-1))
    assert (kl_per_dimension(mean, log_variance) >= 0).all()


def test_kl_keeps_its_digits_near_the_prior():
    """mean^2 / 2 + log_variance^2 / 4, to second order; in float32 ``exp(v) - 1 - v`` would be noise."""
    tiny = torch.tensor([[1e-3]])
    assert_close(kl_per_dimension(0 * tiny, tiny), tiny.square() / 4, rtol=1e-3, atol=0)
    assert kl_to_standard_normal(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0, 0]


def test_kl_of_extreme_values_is_finite():
    mean, log_variance = torch.tensor([[1e3, -1e3]]), torch.tensor([[-200.0, 30.0]])
    assert_close(
        kl_to_standard_normal(mean, log_variance)[0].item(),
        1e6 + (0 - 1 + 200) / 2 + (math.exp(30) - 1 - 30) / 2,
        rtol=1e-6,
        atol=0,
    )


def test_shapes_that_broadcast_are_refused():
    """With one row of variances for all images nothing would fail, and all would share it."""
    mean, log_variance = torch.zeros(3, 2), torch.zeros(1, 2)
    message = r"log_variance must have the shape of mean \(3, 2\); got \(1, 2\)"
    with pytest.raises(ValueError, match=message):
        unwrap(kl_per_dimension)(mean, log_variance)
    with pytest.raises(ValueError, match=message):
        unwrap(reparameterise)(mean, log_variance, seeded())


def test_density_against_torch():
    z, mean, log_variance = normal(4, 3, 5), normal(3, 5, seed=1), normal(3, 5, seed=2)
    expected = Independent(Normal(mean, (log_variance / 2).exp()), 1).log_prob(z)
    assert_close(normal_log_density(z, mean.expand(4, -1, -1), log_variance.expand(4, -1, -1)), expected)
    assert_close(normal_log_density(z, mean[None], log_variance[None]), expected)


def test_sampled_kl_is_unbiased():
    mean, log_variance = normal(3, 4), normal(3, 4, seed=1)
    count = 40_000
    z = reparameterise(mean.expand(count, -1, -1), log_variance.expand(count, -1, -1), seeded(2))
    draws = sample_kl(z, mean[None], log_variance[None])
    error = draws.std(0) / count**0.5
    assert ((draws.mean(0) - kl_to_standard_normal(mean, log_variance)).abs() < 4 * error).all()
    assert (error < 0.03).all()  # so the line above can fail
    assert (draws < 0).any()  # one draw may well be negative


def test_reparameterised_gradients_are_the_analytic_ones():
    """z = m + exp(v / 2) e, so dz/dm = 1 and dz/dv = (z - m) / 2."""
    mean, log_variance = normal(3, 4).requires_grad_(), normal(3, 4, seed=1).requires_grad_()
    z = reparameterise(mean, log_variance, seeded(2))
    pull = normal(3, 4, seed=3)
    (z * pull).sum().backward()
    assert_close(mean.grad, pull)
    assert_close(log_variance.grad, pull * (z - mean).detach() / 2)


def test_reparameterised_draws_have_the_stated_moments():
    mean, log_variance = torch.tensor([[2.0, -1.0]]), torch.tensor([[math.log(9.0), math.log(0.01)]])
    count = 50_000
    z = reparameterise(mean.expand(count, -1), log_variance.expand(count, -1), seeded())
    std = (log_variance[0] / 2).exp()
    assert ((z.mean(0) - mean[0]).abs() < 4 * std / count**0.5).all()
    assert_close(z.std(0), std, rtol=0.02, atol=0)


def test_every_image_has_noise_of_its_own():
    z = reparameterise(torch.zeros(6, 3), torch.zeros(6, 3), seeded())
    assert len({tuple(row) for row in z.tolist()}) == 6
    assert torch.equal(z, reparameterise(torch.zeros(6, 3), torch.zeros(6, 3), seeded()))
    assert not torch.equal(z, reparameterise(torch.zeros(6, 3), torch.zeros(6, 3), seeded(1)))


@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_dtype_follows_the_input(dtype):
    x = torch.zeros(2, 3, dtype=dtype)
    assert reparameterise(x, x, seeded()).dtype == dtype
    assert gaussian_log_likelihood(x, x, 0.5).dtype == dtype
    assert binarise(x, seeded()).dtype == dequantise(x, seeded()).dtype == dtype


@pytest.mark.parametrize("shape", [(1, 4, 3), (3, 2, 5)])
def test_bernoulli_against_torch(shape):
    logits = 3 * normal(2, *shape)
    x = (normal(2, *shape, seed=1) > 0).to(D)
    expected = Independent(Bernoulli(logits=logits), 3).log_prob(x)
    assert_close(bernoulli_log_likelihood(logits, x), expected)


def test_bernoulli_of_extreme_logits():
    logits = torch.tensor([[500.0, -500.0], [500.0, -500.0]])
    assert bernoulli_log_likelihood(logits, torch.tensor([[1.0, 0.0], [0.0, 1.0]])).tolist() == [0.0, -1000.0]


def test_bernoulli_of_grey_is_the_mean_over_binarisations():
    logits, images = 2 * normal(1, 1, 3, 4), normal(1, 1, 3, 4, seed=1).tanh()
    count = 40_000
    binary = to_unit(binarise(images.expand(count, -1, -1, -1), seeded(2)))
    draws = bernoulli_log_likelihood(logits.expand(count, -1, -1, -1), binary)
    error = (draws.std() / count**0.5).item()
    assert abs(draws.mean() - bernoulli_log_likelihood(logits, to_unit(images))).item() < 4 * error < 0.1


def test_bernoulli_refuses_images_that_were_not_mapped():
    with pytest.raises(ValueError, match=r"x must lie in \[0, 1\].*got values from -1 to 1"):
        bernoulli_log_likelihood(torch.zeros(1, 2), torch.tensor([[-1.0, 1.0]]))
    with pytest.raises(ValueError, match="x must lie"):
        bernoulli_log_likelihood(torch.zeros(1, 1), torch.tensor([[math.nan]]))
    with pytest.raises(ValueError, match=r"x must have the shape of logits \(2, 3\); got \(2, 1\)"):
        unwrap(bernoulli_log_likelihood)(torch.zeros(2, 3), torch.zeros(2, 1))


@pytest.mark.parametrize("std", [1e-3, 0.3, 1.0, 7.0])
def test_gaussian_against_torch(std):
    mean, x = normal(2, 3, 4, 5), normal(2, 3, 4, 5, seed=1)
    expected = Independent(Normal(mean, std), 3).log_prob(x)
    assert_close(gaussian_log_likelihood(mean, x, std), expected)
    assert_close(gaussian_log_likelihood(mean, x, torch.tensor(std, dtype=D)), expected)


def test_the_best_std_is_the_root_mean_square_error():
    mean, x = normal(1, 30), normal(1, 30, seed=1)
    std = (x - mean).square().mean().sqrt().requires_grad_()
    gaussian_log_likelihood(mean, x, std).sum().backward()
    assert_close(std.grad, torch.zeros((), dtype=D), rtol=0, atol=1e-9)


def test_std_has_to_be_positive():
    for function in (gaussian_log_likelihood, discretised_gaussian_log_likelihood):
        for std in (0.0, -1.0, math.nan):
            with pytest.raises(ValueError, match="std must be above zero"):
                function(torch.zeros(1, 2), torch.zeros(1, 2), std)


def levels(dtype=D):
    return torch.arange(256, dtype=dtype)[:, None] * LEVEL - 1


@pytest.mark.parametrize("mean, std", [(0.1, 0.3), (-1.0, 0.05), (0.9, 2.0), (3.0, 0.5)])
def test_the_levels_probabilities_add_up_to_one(mean, std):
    x = levels()
    log_mass = discretised_gaussian_log_likelihood(torch.full_like(x, mean), x, std)
    assert_close(log_mass.exp().sum().item(), 1.0)
    normal = Normal(torch.tensor(mean, dtype=D), std)
    inner = slice(1, 255)
    expected = normal.cdf(x + LEVEL / 2) - normal.cdf(x - LEVEL / 2)
    assert_close(log_mass.exp()[inner], expected[inner, 0], rtol=1e-6, atol=1e-12)
    assert_close(log_mass.exp()[0], normal.cdf(x[0, 0] + LEVEL / 2), rtol=1e-6, atol=1e-15)


def test_discretised_gaussian_far_out_in_float32():
    """200 standard deviations off, where both cumulative probabilities round to 0 or to 1."""
    x = levels(torch.float32).requires_grad_()
    for mean in (-1.0, 1.0):
        centre = torch.full_like(x, mean).requires_grad_()
        value = discretised_gaussian_log_likelihood(centre, x.detach(), 0.01)
        value.sum().backward()
        assert value.isfinite().all() and centre.grad.isfinite().all()
        exact = discretised_gaussian_log_likelihood(centre.detach().double(), levels(), 0.01)
        assert_close(value.detach().double(), exact, rtol=1e-3, atol=1e-3)


def test_dequantised_density_is_below_the_level_s_probability():
    """Jensen: mean of log density over the interval, plus log width <= log of the mass in it."""
    x = levels()[100:101].expand(20_000, -1)
    spread = dequantise(x, seeded())
    assert ((spread - x).abs() <= LEVEL / 2).all() and spread.std() == pytest.approx(
        LEVEL / 12**0.5, rel=0.02
    )
    mean, std = torch.full_like(x, -0.1), 0.02
    density = gaussian_log_likelihood(mean, spread, std).mean() + math.log(LEVEL)
    mass = discretised_gaussian_log_likelihood(mean[:1], x[:1], std)[0]
    assert mass - 0.5 < density < mass - 0.1


def test_maps_between_the_ranges():
    assert to_unit(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0.0, 0.5, 1.0]
    assert to_images(torch.tensor([0.0, 0.5, 1.0])).tolist() == [-1.0, 0.0, 1.0]


def test_binarise():
    grey = torch.tensor([-1.0, -0.5, 0.2, 1.0]).expand(20_000, -1)
    binary = binarise(grey, seeded())
    assert set(binary.unique().tolist()) == {-1.0, 1.0}
    assert_close(binary.mean(0), grey[0], rtol=0, atol=0.03)
    assert (binary[:, 0] == -1).all() and (binary[:, 3] == 1).all()
    assert torch.equal(binary, binarise(grey, seeded()))
    assert binarise(grey[:1]).tolist() == [[-1.0, -1.0, 1.0, 1.0]]


def test_elbo_puts_the_parts_together():
    mean, log_variance, likelihood = normal(3, 4), normal(3, 4, seed=1), normal(3, seed=2)
    kl = kl_to_standard_normal(mean, log_variance)
    for beta in (0.0, 1.0, 4.0):
        bound = elbo(likelihood, mean, log_variance, beta)
        assert_close(bound.bound, likelihood - beta * kl)
        assert_close(bound.reconstruction, likelihood)
        assert_close(bound.kl, kl)
    with pytest.raises(ValueError, match="beta must be 0 or more; got -1"):
        elbo(likelihood, mean, log_variance, -1.0)


def test_iwae_bound():
    log_weights = normal(7, 3)
    assert_close(iwae_bound(log_weights), log_weights.exp().mean(0).log())
    assert_close(iwae_bound(log_weights[:1]), log_weights[0])
    assert_close(iwae_bound(log_weights - 5000), iwae_bound(log_weights) - 5000)  # weights that underflow
    assert (iwae_bound(log_weights) >= log_weights.mean(0)).all()
    with pytest.raises(ValueError, match="log_weights must hold at least one sample"):
        iwae_bound(torch.zeros(0, 3))


def test_bits_per_dimension():
    """256 levels, all equally likely, take 8 bits, whether counted as probabilities or as a density."""
    nats = torch.tensor([-784 * math.log(256.0)], dtype=D)
    assert_close(bits_per_dimension(nats, 784).item(), 8.0)
    density = torch.tensor([-784 * math.log(256.0 * LEVEL)], dtype=D)
    assert_close(bits_per_dimension(density, 784, LEVEL).item(), 8.0)
    for bad in ((0, 1.0), (3, 0.0)):
        with pytest.raises(ValueError, match="dimensions and width must be positive"):
            bits_per_dimension(nats, *bad)


def test_free_bits_have_no_gradient_below_the_floor():
    """Columns: below the floor on average, although one image is above; above it; far above."""
    kl = torch.tensor([[0.1, 0.2, 3.0], [0.7, 1.2, 5.0]], dtype=D, requires_grad=True)
    value = free_bits(kl, 0.5)
    assert_close(value.item(), 0.5 + 0.7 + 4.0)
    value.backward()
    assert kl.grad.tolist() == [[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]
    assert_close(free_bits(kl, 0.0), kl.sum(1).mean())
    with pytest.raises(ValueError, match="minimum must be 0 nats or more"):
        free_bits(kl, -0.1)


def test_annealing():
    assert [annealed(step, 4) for step in range(7)] == [0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert annealed(0, 0) == annealed(3, 0) == 1.0
    for bad in ((-1, 2), (2, -1)):
        with pytest.raises(ValueError, match="step and warm_up must be 0 or more"):
            annealed(*bad)


def test_active_units():
    """Variances 0, 0.0099, 0.0101 and 1; a large mean is no activity."""
    wave = torch.tensor([1.0, -1.0] * 500)
    unit = wave / wave.std()
    means = unit[:, None] * torch.tensor([0.0, 0.0099, 0.0101, 1.0]).sqrt() + torch.tensor([9.0, 0, 0, 0])
    assert active_units(means).tolist() == [False, False, True, True]
    assert active_units(means, 0.5).tolist() == [False, False, False, True]
    with pytest.raises(ValueError, match="means must be of at least 2 images; got 1"):
        active_units(means[:1])
