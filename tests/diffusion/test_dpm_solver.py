"""DPM-Solver++(2M): against diffusers, DDIM as its first order, and its order of convergence."""

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from torch.testing import assert_close

from genimg_ref.diffusion.dpm_solver import dpm_solver, extrapolated, first_order_step
from genimg_ref.diffusion.oracle import GaussianMixture, gaussian_flow
from genimg_ref.diffusion.predict import Prediction, eps_from_x0
from genimg_ref.diffusion.sample import ddim, ddim_step, last
from genimg_ref.diffusion.schedule import (
    Discrete,
    cosine_betas,
    linear_betas,
    straight,
    vp_cosine,
    vp_linear,
    zero_terminal_snr,
)

D = torch.float64


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("kind, theirs", [("eps", "epsilon"), ("x0", "sample"), ("v", "v_prediction")])
@pytest.mark.parametrize("count", [2, 6, 20])
def test_against_diffusers(network, kind, theirs, count):
    scheduler = DPMSolverMultistepScheduler(
        1000, prediction_type=theirs, algorithm_type="dpmsolver++", solver_type="midpoint",
        timestep_spacing="trailing", lower_order_final=False, final_sigmas_type="zero",
    )  # fmt: skip
    scheduler.set_timesteps(count)
    times = torch.cat([(scheduler.timesteps.double() + 1) / 1000, torch.zeros(1, dtype=D)])
    x = normal(3, 2, 4, 5)
    ours = dpm_solver(network, x, times, Discrete(linear_betas(1000)), kind=kind)
    for state, t in zip(ours, scheduler.timesteps, strict=True):
        output = network(x, torch.full((3,), (t.item() + 1) / 1000))
        x = scheduler.step(output, t, x).prev_sample
        assert_close(state.x, x, rtol=3e-3, atol=1e-3)


def test_first_order_is_ddim():
    s, t = vp_cosine(torch.tensor(0.2, dtype=D)), vp_cosine(torch.tensor(0.6, dtype=D))
    x, x0 = normal(2, 3, dtype=D), normal(2, 3, seed=1, dtype=D)
    expected = ddim_step(Prediction(x0, eps_from_x0(x0, x, t)), s, t).mean
    assert_close(first_order_step(x, x0, s, t), expected)
    h = (s.alpha / s.sigma).log() - (t.alpha / t.sigma).log()
    formula = s.sigma / t.sigma * x - s.alpha * (-h).expm1() * x0
    assert_close(first_order_step(x, x0, s, t), formula)


def test_extrapolation_goes_half_way():
    """An image that moves steadily by 2 a unit of lambda; the last step was 1 long, the next is 4."""
    x0, before = torch.full((1, 1), 2.0), torch.zeros(1, 1)
    assert_close(extrapolated(x0, before, torch.tensor(1 / 4)), torch.full((1, 1), 2.0 + 4.0))


def test_few_steps_are_ddim(network):
    """Neither the first step nor the one to data has a second order."""
    schedule, x = Discrete(cosine_betas(50)), normal(2, 3, dtype=D)
    for count in (1, 2):
        times = schedule.times(count)
        a, b = (last(f(network, x, times, schedule, kind="v")) for f in (dpm_solver, ddim))
        assert_close(a, b)
    assert not torch.allclose(
        *(last(f(network, x, schedule.times(3), schedule, kind="v")) for f in (dpm_solver, ddim))
    )


@pytest.mark.parametrize("schedule", [vp_cosine, vp_linear, straight])
def test_order_on_a_gaussian(schedule):
    mean, std = torch.tensor([0.5, -0.3], dtype=D), 0.4
    model = GaussianMixture(mean[None], std).model(schedule)
    x, ends = normal(5, 2, dtype=D), torch.tensor([0.9, 0.3], dtype=D)
    exact = gaussian_flow(x, mean, std, *(schedule(t) for t in ends.flip(0)))
    errors = []
    for count in (16, 32, 64):
        times = torch.linspace(*ends, count + 1, dtype=D)
        errors.append((last(dpm_solver(model, x, times, schedule)) - exact).norm())
    orders = torch.stack(errors).log2().diff().neg()
    assert_close(orders, torch.full((2,), 2.0, dtype=D), rtol=0, atol=0.08)


def test_order_on_a_mixture(mixture, flowed):
    x, exact = flowed
    errors = [
        (
            last(dpm_solver(mixture.model(vp_cosine), x, torch.linspace(0.9, 0.3, n + 1), vp_cosine)) - exact
        ).norm()
        for n in (20, 40, 80)
    ]
    orders = torch.stack(errors).log2().diff().neg()
    assert_close(orders, torch.full((2,), 2.0, dtype=D), rtol=0, atol=0.15)


def test_from_pure_noise():
    """Where nothing is left of the image, ``lambda`` is minus infinity; nothing else is."""
    schedule = Discrete(zero_terminal_snr(linear_betas(60, 1e-3, 0.2)))
    mix = GaussianMixture(torch.tensor([[0.5, -0.3]], dtype=D), 0.4)
    x = normal(2000, 2, dtype=D)
    drawn = last(dpm_solver(mix.model(schedule, "v"), x, schedule.times(), schedule, kind="v"))
    assert_close(drawn.std(0), torch.full((2,), 0.4, dtype=D), rtol=0.1, atol=0)
    assert_close(drawn.mean(0), mix.means[0], rtol=0, atol=0.04)
