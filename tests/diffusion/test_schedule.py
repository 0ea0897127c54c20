"""Where schedules begin and end, that the signal falls, and that other people's numbers are the same."""

import math

import pytest
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_ddpm import rescale_zero_terminal_snr
from torch.testing import assert_close

from genimg_ref.diffusion.schedule import (
    Discrete,
    cosine_betas,
    exploding,
    karras_sigmas,
    linear_betas,
    log_snr,
    shifted,
    snr,
    straight,
    vp_cosine,
    vp_linear,
    zero_terminal_snr,
)

D = torch.float64
DISCRETE = {
    "linear": Discrete(linear_betas(1000)),
    "cosine": Discrete(cosine_betas(50)),
    "zero": Discrete(zero_terminal_snr(linear_betas(100))),
}
CONTINUOUS = {"linear": vp_linear, "cosine": vp_cosine, "straight": straight, "exploding": exploding}


@pytest.mark.parametrize("name, theirs", [("linear", "linear"), ("cosine", "squaredcos_cap_v2")])
@pytest.mark.parametrize("steps", [1, 10, 1000])
def test_betas_against_diffusers(name, theirs, steps):
    ours = Discrete({"linear": linear_betas, "cosine": cosine_betas}[name](steps))
    other = DDPMScheduler(num_train_timesteps=steps, beta_schedule=theirs)
    assert_close(ours.beta[1:], other.betas.double(), rtol=1e-4, atol=1e-7)
    assert_close(ours.alpha_bar[1:], other.alphas_cumprod.double(), rtol=1e-3, atol=1e-7)


def test_zero_terminal_snr_against_diffusers():
    betas = linear_betas(100)
    assert_close(zero_terminal_snr(betas), rescale_zero_terminal_snr(betas), rtol=1e-9, atol=1e-12)
    end = Discrete(zero_terminal_snr(betas))
    assert end.alpha_bar[-1] == 0 and end.beta[-1] == 1
    assert_close(end.alpha_bar[1], 1 - betas[0])


@pytest.mark.parametrize("name", DISCRETE)
def test_time_0_is_data_and_the_signal_falls(name):
    schedule = DISCRETE[name]
    assert schedule.alpha_bar[0] == 1 and schedule.beta[0] == 0
    assert len(schedule.alpha_bar) == len(schedule.beta) == schedule.steps + 1
    t = torch.arange(schedule.steps + 1, dtype=D) / schedule.steps
    level = schedule(t)
    assert level.alpha[0] == 1 and level.sigma[0] == 0 and level.alpha[-1] < 0.3
    assert_close(level.alpha.square() + level.sigma.square(), torch.ones_like(t))
    assert_close(level.alpha.square(), schedule.alpha_bar)
    assert (snr(level).diff()[1:] < 0).all() and snr(level)[0] == math.inf
    assert_close(log_snr(level)[1:-1].exp(), snr(level)[1:-1])


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_schedules(name):
    schedule, t = CONTINUOUS[name], torch.linspace(0, 1, 101, dtype=D)
    level = schedule(t)
    assert level.alpha[0] == 1 and level.sigma[0] == 0
    assert (log_snr(level).diff()[1:-1] < 0).all()
    total = {"straight": level.alpha + level.sigma, "exploding": level.alpha}.get(
        name, level.alpha.square() + level.sigma.square()
    )
    assert_close(total, torch.ones_like(t))
    for part in schedule(t[:, None].float()):
        assert part.dtype == torch.float32 and part.shape == (101, 1)


def test_the_linear_betas_tend_to_the_continuous_schedule():
    """``beta_k = beta(k / T) / T``, with an error that falls as ``1 / T``."""
    errors = []
    for steps in (1000, 2000):
        schedule = Discrete(linear_betas(steps, 0.1 / steps, 20 / steps))
        t = torch.arange(steps + 1, dtype=D) / steps
        errors.append((schedule.alpha_bar - vp_linear(t).alpha.square()).abs().max().item())
    assert errors[0] < 0.01
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)


def test_discrete_takes_k_over_t():
    schedule = DISCRETE["cosine"]
    t = torch.tensor([[0.0, 0.02], [0.5, 1.0]])
    level = schedule(t)
    assert level.alpha.shape == (2, 2) and level.alpha.dtype == torch.float32
    assert_close(level.alpha.double().square(), schedule.alpha_bar[torch.tensor([[0, 1], [25, 50]])])
    assert schedule.step_of(torch.arange(51) / 50).tolist() == list(range(51))


def test_times_go_down_to_0():
    schedule = Discrete(linear_betas(10))
    assert_close(schedule.times(), torch.arange(10, -1, -1, dtype=D) / 10)
    assert_close(schedule.times(4) * 10, torch.tensor([10.0, 8, 5, 2, 0], dtype=D))
    for count in (0, 11):
        with pytest.raises(ValueError, match=rf"count must lie in 1 ... 10; got {count}"):
            schedule.times(count)


def test_karras_sigmas():
    sigmas = karras_sigmas(18)
    assert len(sigmas) == 19 and sigmas[-1] == 0
    assert_close(sigmas[[0, -2]], torch.tensor([80.0, 0.002], dtype=D))
    i = torch.arange(18, dtype=D)
    formula = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert_close(sigmas[:-1], formula)
    other = EulerDiscreteScheduler(use_karras_sigmas=True, sigma_min=0.002, sigma_max=80.0)
    other.set_timesteps(18)
    assert_close(sigmas, other.sigmas.double(), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: linear_betas(0), "steps must be 1 or more; got 0"),
        (lambda: cosine_betas(-1), "steps must be 1 or more; got -1"),
        (lambda: linear_betas(5, first=0.0), r"first must lie in \(0, 1\); got 0.0"),
        (lambda: linear_betas(5, last=1.0), r"last must lie in \(0, 1\); got 1.0"),
        (lambda: Discrete(torch.tensor([0.1, 1.5])), r"betas must be a row of numbers in \(0, 1\]"),
        (lambda: Discrete(torch.tensor([0.1, math.nan])), "betas must be"),
        (lambda: DISCRETE["cosine"](torch.tensor([3.0, 50.0])), r"t must lie in \[0, 1\].*got 3 to 50"),
        (lambda: karras_sigmas(1), "steps must be 2 or more; got 1"),
        (lambda: karras_sigmas(5, low=0.0), "expected 0 < low < high and rho > 0; got low 0.0"),
        (lambda: karras_sigmas(5, rho=0.0), "rho > 0; got low 0.002, high 80.0, rho 0"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("factor", [1.0, 3.0, 0.5])
def test_shifted_times_against_diffusers(factor):
    plain, moved = (FlowMatchEulerDiscreteScheduler(shift=by).sigmas.double() for by in (1.0, factor))
    assert_close(shifted(plain, factor), moved, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("factor", [3.0, 0.5])
def test_a_shift_multiplies_the_noise_on_the_straight_path(factor):
    t = torch.tensor([0.1, 0.4, 0.9], dtype=D)
    before, after = straight(t), straight(shifted(t, factor))
    assert_close(after.sigma / after.alpha, factor * before.sigma / before.alpha)
    assert_close(shifted(torch.tensor([0.0, 1.0]), factor), torch.tensor([0.0, 1.0]))


def test_a_shift_by_nothing_is_refused():
    with pytest.raises(ValueError, match="factor must be above zero; got 0"):
        shifted(torch.ones(2), 0.0)
