"""Ancestral sampling and DDIM: step for step as in diffusers, and what they do with perfect models."""

from inspect import unwrap

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch.testing import assert_close

from genimg_ref.diffusion.oracle import GaussianMixture, gaussian_flow
from genimg_ref.diffusion.predict import Prediction
from genimg_ref.diffusion.sample import (
    ancestral,
    ancestral_step,
    ddim,
    ddim_invert,
    ddim_step,
    last,
    walk,
)
from genimg_ref.diffusion.schedule import Discrete, cosine_betas, linear_betas, straight, vp_cosine

D = torch.float64
SCHEDULE = Discrete(linear_betas(1000))
PREDICTION = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def spaced(timesteps):
    """Our times of their steps, which count from 0, and data at the end."""
    return torch.cat([(timesteps.double() + 1) / 1000, torch.zeros(1, dtype=D)])


def theirs(scheduler, model, x, **options):
    """All states of their sampler."""
    for t in scheduler.timesteps:
        output = model(x, torch.full((len(x),), (t.item() + 1) / 1000))
        x = scheduler.step(output, t, x, **options).prev_sample
        yield x


@pytest.mark.parametrize("kind", PREDICTION)
@pytest.mark.parametrize("variance", ["small", "large"])
def test_ancestral_against_diffusers(network, kind, variance):
    scheduler = DDPMScheduler(
        1000, variance_type=f"fixed_{variance}", clip_sample=True, prediction_type=PREDICTION[kind]
    )
    scheduler.set_timesteps(50)
    x = normal(3, 2, 4, 5)
    ours = ancestral(
        network, x, spaced(scheduler.timesteps), SCHEDULE, seeded(1), kind=kind, variance=variance, clip=1.0
    )
    for state, expected in zip(ours, theirs(scheduler, network, x, generator=seeded(1)), strict=True):
        assert_close(state.x, expected, rtol=1e-3, atol=2e-4)
    assert state.t == 0


@pytest.mark.parametrize("kind", PREDICTION)
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_against_diffusers(network, kind, eta):
    scheduler = DDIMScheduler(1000, clip_sample=False, prediction_type=PREDICTION[kind])
    scheduler.set_timesteps(20)
    x = normal(3, 2, 4, 5)
    ours = ddim(network, x, spaced(scheduler.timesteps), SCHEDULE, seeded(1), kind=kind, eta=eta)
    for state, expected in zip(
        ours, theirs(scheduler, network, x, eta=eta, generator=seeded(1)), strict=True
    ):
        assert_close(state.x, expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("count", [7, 40])
def test_ddim_with_eta_1_is_ddpm(network, count):
    schedule, x = Discrete(cosine_betas(40)), normal(3, 2, 4, 5, dtype=D)
    one = ddim(network, x, schedule.times(count), schedule, seeded(1), eta=1.0, clip=1.0)
    other = ancestral(network, x, schedule.times(count), schedule, seeded(1), clip=1.0)
    for a, b in zip(one, other, strict=True):
        assert_close(a.x, b.x)
        assert_close(a.x0, b.x0)


def test_every_eta_keeps_the_marginal():
    """From ``q(x_t | x_0)`` and the true image one step leads to ``q(x_s | x_0)``: variances add up."""
    s, t = vp_cosine(torch.tensor(0.3, dtype=D)), vp_cosine(torch.tensor(0.7, dtype=D))
    zero, one = torch.zeros(1, 2, dtype=D), torch.ones(1, 2, dtype=D)
    for eta in (0.0, 0.3, 1.0):
        mean, variance = ddim_step(Prediction(zero, one), s, t, eta)
        assert_close(mean[0, 0] ** 2 + variance, s.sigma**2)
        assert_close(ddim_step(Prediction(one, zero), s, t, eta).mean, s.alpha * one)


def test_variances_of_the_ancestral_step():
    schedule, x = Discrete(linear_betas(60, 1e-3, 0.2)), normal(2, 3, dtype=D)
    s, t = schedule(torch.tensor(29 / 60, dtype=D)), schedule(torch.tensor(0.5, dtype=D))
    small, large = (ancestral_step(x, x, s, t, v).variance for v in ("small", "large"))
    assert_close(large, schedule.beta[30])
    assert_close(small, schedule.beta[30] * (1 - schedule.alpha_bar[29]) / (1 - schedule.alpha_bar[30]))
    data = schedule(torch.tensor(0.0, dtype=D))
    for variance in ("small", "large"):
        assert ancestral_step(x, x, data, t, variance).variance == 0


@pytest.mark.parametrize("sampler", ["small", "large", "ddim"])
def test_perfect_models_draw_from_the_data(mixture, sampler):
    """Moments that 8000 samples have."""
    x, schedule = normal(8000, 2, dtype=D), Discrete(cosine_betas(100))
    model = mixture.model(schedule)
    if sampler == "ddim":
        drawn = last(ddim(model, x, schedule.times(), schedule))
    else:
        drawn = last(ancestral(model, x, schedule.times(), schedule, seeded(1), variance=sampler))
    truth = mixture.sample(100_000, seeded(2))
    for function in (lambda x: x.mean(0), lambda x: x.T.cov(), lambda x: x.pow(4).mean(0)):
        assert_close(function(drawn), function(truth), rtol=0.06, atol=0.06)
    logs = [mixture.log_prob(x, schedule(torch.zeros(()))).mean().item() for x in (drawn, truth)]
    assert_close(logs[0], logs[1], rtol=0, atol=0.12)


def test_ddim_is_of_first_order():
    """On a Gaussian, where the flow is known: half the step, half the error."""
    mean, std = torch.tensor([0.5, -0.3], dtype=D), 0.4
    model = GaussianMixture(mean[None], std).model(vp_cosine)
    x, ends = normal(5, 2, dtype=D), torch.tensor([0.9, 0.3], dtype=D)
    exact = gaussian_flow(x, mean, std, *(vp_cosine(t) for t in ends.flip(0)))
    errors = []
    for count in (16, 32, 64):
        times = torch.linspace(*ends, count + 1, dtype=D)
        errors.append((last(ddim(model, x, times, vp_cosine)) - exact).norm())
    orders = torch.stack(errors).log2().diff().neg()
    assert_close(orders, torch.ones(2, dtype=D), rtol=0, atol=0.02)


@pytest.mark.parametrize("kind", ["eps", "x0", "v"])
def test_inversion_finds_the_noise(mixture, kind):
    """To the noise and back: the error falls with the steps, from images that include ``t = 0``."""
    model, x = mixture.model(vp_cosine, kind), mixture.sample(50, seeded(3))
    errors = []
    for count in (20, 40, 80):
        up = torch.linspace(0, 0.98, count + 1, dtype=D)
        noise = last(ddim_invert(model, x, up, vp_cosine, kind=kind))
        back = last(ddim(model, noise, up.flip(0), vp_cosine, kind=kind))
        errors.append((back - x).abs().mean().item())
    assert errors[2] < 0.6 * errors[1] < 0.36 * errors[0]
    assert errors[2] < 0.1
    assert noise.std().item() == pytest.approx(1, abs=0.1)


def test_inversion_is_ddim_backwards_for_a_constant_noise():
    x, eps = normal(2, 3, dtype=D), normal(2, 3, seed=1, dtype=D)
    times = torch.linspace(0, 0.9, 6, dtype=D)
    noise = last(ddim_invert(lambda x, t: eps, x, times, straight))
    assert_close(last(ddim(lambda x, t: eps, noise, times.flip(0), straight)), x)
    seen = []
    list(ddim_invert(lambda x, t: seen.append(t[0].item()) or eps, x, times, straight))
    assert_close(seen, [0.18, 0.18, 0.36, 0.54, 0.72])


def test_states_tell_where_they_are():
    x0 = normal(2, 3)
    times = torch.tensor([1.0, 0.6, 0.25, 0.0])
    states = list(ddim(lambda x, t: x0, normal(2, 3, seed=1), times, straight, kind="x0"))
    assert_close([state.t for state in states], [0.6, 0.25, 0.0], rtol=0, atol=1e-6)
    for state in states:
        assert_close(state.x0, x0)
    assert_close(states[-1].x, x0)
    assert not torch.allclose(states[0].x, x0)


def test_nothing_is_recorded_for_gradients(network):
    weight = torch.ones((), requires_grad=True)
    times = torch.tensor([1.0, 0.5, 0.0])
    for state in ddim(lambda x, t: weight * network(x, t), normal(2, 3), times, straight, kind="x0"):
        assert not state.x.requires_grad
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_dtype_and_randomness(network, dtype):
    x, times = normal(2, 3, dtype=dtype), SCHEDULE.times(5)
    before = torch.get_rng_state()
    one, two, three = (last(ancestral(network, x, times, SCHEDULE, seeded(k), clip=1.0)) for k in (0, 0, 1))
    assert one.dtype == last(ddim(network, x, times, SCHEDULE)).dtype == dtype
    assert torch.equal(one, two) and not torch.equal(one, three)
    assert torch.equal(before, torch.get_rng_state())


def test_bad_input_is_named(network):
    x = normal(2, 3)
    for times in (torch.tensor([0.0, 1.0]), torch.tensor([1.0]), torch.tensor([1.0, 0.5, 0.5])):
        with pytest.raises(ValueError, match="times must be 2 or more that fall; got"):
            ddim(network, x, times, straight)
    with pytest.raises(ValueError, match="times must be 2 or more that rise; got"):
        walk(lambda x, t, s: (x, x), x, torch.tensor([1.0, 0.0]), rising=True)
    with pytest.raises(ValueError, match=r"rng must be given where eta is above 0; got None and eta 0\.5"):
        ddim(network, x, SCHEDULE.times(3), SCHEDULE, eta=0.5)
    level = straight(torch.tensor(0.5))
    with pytest.raises(ValueError, match=r"eta must lie in \[0, 1\]; got 1.5"):
        ddim_step(Prediction(x, x), level, level, 1.5)
    with pytest.raises(ValueError, match="variance must be 'small' or 'large'; got 'none'"):
        unwrap(ancestral_step)(x, x, level, level, "none")
