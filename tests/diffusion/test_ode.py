"""Solvers of the probability flow: orders of convergence, other people's steps, and added noise."""

import math

import numpy as np
import pytest
import torch
from diffusers import (
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
)
from torch import nn
from torch.testing import assert_close

from genimg_ref.diffusion import ode
from genimg_ref.diffusion.edm import Preconditioned
from genimg_ref.diffusion.oracle import GaussianMixture, gaussian_flow
from genimg_ref.diffusion.predict import Prediction
from genimg_ref.diffusion.sample import last
from genimg_ref.diffusion.schedule import (
    Discrete,
    Level,
    exploding,
    karras_sigmas,
    linear_betas,
    straight,
    vp_cosine,
    vp_linear,
)

D = torch.float64
METHODS = {"euler": (ode.euler, 1), "heun": (ode.heun, 2), "midpoint": (ode.midpoint, 2)}
SCHEDULES = {"cosine": vp_cosine, "linear": vp_linear, "straight": straight}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def orders(errors):
    return torch.stack(errors).log2().diff().neg()


def at(time):
    return torch.tensor(time, dtype=D)


def test_rates():
    t = at(0.3)
    turn = math.pi / 2
    level = vp_cosine(t)
    assert_close(torch.stack(ode.rates(vp_cosine, t)), torch.stack([-turn * level.sigma, turn * level.alpha]))
    assert_close(torch.stack(ode.rates(straight, t)), torch.tensor([-1.0, 1.0], dtype=D))
    assert_close(torch.stack(ode.rates(exploding, t)), torch.tensor([0.0, 1.0], dtype=D))
    with pytest.raises(ValueError, match="schedule must be differentiable, as vp_linear is; got"):
        ode.rates(Discrete(linear_betas(10)), t)


def test_slopes_are_the_velocity_and_the_noise():
    x0, eps = normal(2, 3), normal(2, 3, seed=1)
    t = at(0.3)
    assert_close(ode.slope(Prediction(x0, eps), ode.rates(straight, t)), eps - x0)
    assert_close(ode.slope(Prediction(x0, eps), ode.rates(exploding, t)), eps)
    for schedule in (*SCHEDULES.values(), exploding):
        rate = ode.rates(schedule, t)
        ahead, behind = schedule(t + 1e-4), schedule(t - 1e-4)
        path = [(part.alpha * x0 + part.sigma * eps).float() for part in (ahead, behind)]
        assert_close(ode.slope(Prediction(x0, eps), rate), (path[0] - path[1]) / 2e-4, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_orders_on_a_gaussian(name, schedule):
    """Half the step, half or a quarter of the error. On the straight path the midpoint method does better:

    for a Gaussian the term of its error that falls squared is 0.
    """
    method, order = METHODS[name]
    order += (name, schedule) == ("midpoint", "straight")
    schedule = SCHEDULES[schedule]
    mean, std = torch.tensor([0.5, -0.3], dtype=D), 0.4
    model = GaussianMixture(mean[None], std).model(schedule)
    x = normal(5, 2, dtype=D)
    exact = gaussian_flow(x, mean, std, schedule(at(0.3)), schedule(at(0.9)))
    errors = [
        (
            last(method(model, x, torch.linspace(0.9, 0.3, n + 1, dtype=D), schedule, kind="eps")) - exact
        ).norm()
        for n in (16, 32)
    ]
    assert_close(orders(errors).item(), float(order), rtol=0, atol=0.08)


@pytest.mark.parametrize("name", METHODS)
def test_orders_on_a_mixture(mixture, flowed, name):
    method, order = METHODS[name]
    x, exact = flowed
    errors = [
        (
            last(method(mixture.model(vp_cosine), x, torch.linspace(0.9, 0.3, n + 1), vp_cosine, kind="eps"))
            - exact
        ).norm()
        for n in (20, 40)
    ]
    assert_close(orders(errors).item(), float(order), rtol=0, atol=0.15)


def test_the_straight_path_to_one_point_takes_one_step():
    point = torch.tensor([[0.3, -0.7]], dtype=D)
    model = GaussianMixture(point, 0.0).model(straight, "velocity")
    x = normal(4, 2, dtype=D)
    for method, _ in METHODS.values():
        (state,) = method(model, x, torch.tensor([1.0, 0.0]), straight, kind="velocity")
        assert_close(state.x, point.expand(4, -1))
        assert_close(state.x0, point.expand(4, -1))


def exploded(network):
    """How diffusers hands its networks a noisy image: scaled to unit variance."""
    return lambda x, sigma: network(x / (sigma.reshape(-1, 1, 1, 1) ** 2 + 1).sqrt(), sigma)


def test_euler_against_diffusers(network):
    scheduler = EulerDiscreteScheduler(1000, timestep_spacing="trailing")
    scheduler.set_timesteps(12)
    x = normal(2, 3, 4, 5) * scheduler.sigmas[0]
    ours = ode.euler(exploded(network), x, scheduler.sigmas, exploding, kind="eps")
    for state, t, sigma in zip(ours, scheduler.timesteps, scheduler.sigmas, strict=False):
        output = network(scheduler.scale_model_input(x, t), sigma.expand(2))
        x = scheduler.step(output, t, x).prev_sample
        assert_close(state.x, x, rtol=1e-3, atol=1e-4)
    assert state.t == 0


def test_heun_against_diffusers(network):
    """Theirs takes each step in two calls, the last in one."""
    scheduler = HeunDiscreteScheduler(1000, use_karras_sigmas=True)
    scheduler.set_timesteps(9)
    sigmas = torch.cat([scheduler.sigmas[:1], scheduler.sigmas[1:-1:2], scheduler.sigmas[-1:]])
    x = start = normal(2, 3, 4, 5) * sigmas[0]
    theirs = []
    for i, t in enumerate(scheduler.timesteps):
        output = network(scheduler.scale_model_input(x, t), scheduler.sigmas[i].expand(2))
        x = scheduler.step(output, t, x).prev_sample
        theirs.append(x)
    ours = ode.heun(exploded(network), start, sigmas, exploding, kind="eps")
    for state, expected in zip(ours, [*theirs[1::2], theirs[-1]], strict=True):
        assert_close(state.x, expected, rtol=1e-3, atol=1e-4)


class Network(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, t):
        return self.function(x, t)


def test_edm_euler_against_diffusers(network):
    scheduler = EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5, rho=7.0)
    scheduler.set_timesteps(10)
    sigmas, x = karras_sigmas(10), normal(2, 3, 4, 5) * 80
    assert_close(scheduler.sigmas.double(), sigmas, rtol=1e-4, atol=0)
    ours = ode.euler(Preconditioned(Network(network)), x, scheduler.sigmas, exploding, kind="x0")
    for state, t in zip(ours, scheduler.timesteps, strict=True):
        output = network(scheduler.scale_model_input(x, t), t.expand(2))
        x = scheduler.step(output, t, x).prev_sample
        assert_close(state.x, x, rtol=1e-3, atol=1e-4)


def test_flow_euler_against_diffusers(network):
    scheduler = FlowMatchEulerDiscreteScheduler(1000)
    scheduler.set_timesteps(10)
    x = normal(2, 3, 4, 5)
    ours = ode.euler(network, x, scheduler.sigmas, straight, kind="velocity")
    for state, t in zip(ours, scheduler.timesteps, strict=True):
        x = scheduler.step(network(x, t.expand(2) / 1000), t, x).prev_sample
        assert_close(state.x, x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, calls", [("euler", 5), ("heun", 9), ("midpoint", 10)])
def test_how_often_the_model_is_asked(network, name, calls):
    seen = []

    def model(x, t):
        seen.append(t[0].item())
        return network(x, t)

    list(METHODS[name][0](model, normal(2, 3), torch.linspace(1, 0, 6), straight, kind="velocity"))
    assert len(seen) == calls and min(seen) > 0


def test_without_churn_it_is_heun(network):
    model, sigmas = Preconditioned(Network(network)), karras_sigmas(8)
    x = normal(2, 3, 4, 5) * 80
    one = list(ode.edm_stochastic(model, x, sigmas, seeded()))
    other = list(ode.heun(model, x, sigmas, exploding, kind="x0"))
    outside = list(ode.edm_stochastic(model, x, sigmas, seeded(), churn=20.0, low=100.0))
    for a, b, c in zip(one, other, outside, strict=True):
        assert torch.equal(a.x, b.x) and torch.equal(a.x0, b.x0) and a.t == b.t
        assert torch.equal(c.x, b.x)


def test_churn_goes_back_and_forgets(mixture):
    """The added noise has the right variance, and the samples still follow the data."""
    x, level = ode.churned(torch.zeros(20_000, 2, dtype=D), at(2.0), 0.3, seeded(), inflate=1.01)
    assert level == pytest.approx(2.6)
    assert_close(x.std().item(), math.sqrt(2.6**2 - 4) * 1.01, rtol=0.02, atol=0)
    model, sigmas = mixture.model(exploding, "x0"), karras_sigmas(40, high=20.0)
    start = normal(3000, 2, dtype=D) * 20
    drawn = last(ode.edm_stochastic(model, start, sigmas, seeded(1), churn=30.0))
    plain = last(ode.edm_stochastic(model, start, sigmas, seeded(1)))
    truth = mixture.sample(3000, seeded(2))
    assert_close(drawn.T.cov(), truth.T.cov(), rtol=0.08, atol=0.05)
    assert_close(drawn.mean(0), truth.mean(0), rtol=0, atol=0.07)
    assert (drawn - plain).abs().mean() > 0.3
    with pytest.raises(ValueError, match="churn must be 0 or more; got -1"):
        ode.edm_stochastic(model, start, sigmas, seeded(), churn=-1.0)


def test_steps_are_what_they_are_called():
    """On ``dx/dt = x`` from 1 back to 0.5: the Taylor terms by hand."""
    x, t, s = torch.ones(1, 1, dtype=D), at(1.0), at(0.5)
    assert ode.euler_step(x, t, s, x).item() == 0.5
    assert ode.heun_step(lambda x, t: x, x, t, s, x).item() == 1 - 0.5 + 0.125
    assert ode.midpoint_step(lambda x, t: x, x, t, s, x).item() == 1 - 0.5 + 0.125
    asked = []
    ode.midpoint_step(lambda x, t: asked.append((x.item(), t.item())) or x, x, t, s, x)
    ode.heun_step(lambda x, t: asked.append((x.item(), t.item())) or x, x, t, s, x)
    assert asked == [(0.75, 0.75), (0.5, 0.5)]
    assert isinstance(ode.rates(straight, t), Level)


@pytest.mark.parametrize("power", [1.0, 2.0, -0.5])
def test_orders_are_found(power):
    steps = torch.tensor([64, 8, 16, 48])
    assert_close(ode.convergence_order(steps, 7 * steps.double() ** -power), torch.tensor(power, dtype=D))


def test_a_fitted_order_is_numpys():
    steps, errors = torch.tensor([8, 16, 32, 64]), torch.tensor([0.1, 0.02, 0.03, 0.004], dtype=D)
    expected = -np.polyfit(np.log(steps.numpy()), np.log(errors.numpy()), 1)[0]
    assert_close(ode.convergence_order(steps, errors), torch.tensor(expected, dtype=D))


def test_noises_between_noises():
    first, second = normal(2, 3, 4, dtype=D), normal(2, 3, 4, seed=1, dtype=D)
    between = ode.interpolate_noise(first, second, torch.tensor([0.0, 1.0, 0.5, 0.2], dtype=D))
    assert_close(between[0], first)
    assert_close(between[1], second)
    assert_close(between[2], (first + second) / math.sqrt(2))
    assert_close(between[3], (4 * first + second) / math.sqrt(17))


def test_noises_between_noises_keep_their_variance():
    share = torch.linspace(0, 1, 7, dtype=D)
    between = ode.interpolate_noise(normal(100_000, dtype=D), normal(100_000, seed=1, dtype=D), share)
    assert_close(between.var(dim=1), torch.ones(7, dtype=D), atol=0.02, rtol=0)
