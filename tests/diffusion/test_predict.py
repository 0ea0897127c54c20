"""Every prediction becomes every other, and each agrees with the noise and image that were mixed."""

from inspect import unwrap
from typing import get_args

import pytest
import torch
from diffusers import DDPMScheduler
from torch.testing import assert_close

from genimg_ref.diffusion import predict as p
from genimg_ref.diffusion.forward import diffuse
from genimg_ref.diffusion.predict import Kind, Prediction, call, express, interpret, predict
from genimg_ref.diffusion.schedule import Discrete, Level, exploding, linear_betas, straight, vp_cosine

D = torch.float64
KINDS = get_args(Kind)
SCHEDULES = {"cosine": vp_cosine, "straight": straight, "exploding": exploding}


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=D)


@pytest.fixture(params=SCHEDULES)
def mixed(request):
    x0, eps = normal(4, 3, 2, 5), normal(4, 3, 2, 5, seed=1)
    level = SCHEDULES[request.param](torch.tensor([0.05, 0.3, 0.6, 0.95], dtype=D))
    return x0, eps, diffuse(x0, eps, level), level


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(mixed, kind):
    x0, eps, x, level = mixed
    output = express(Prediction(x0, eps), level, kind)
    found = interpret(output, x, level, kind)
    assert_close(found.x0, x0)
    assert_close(found.eps, eps)
    assert_close(express(found, level, kind), output)


def test_definitions(mixed):
    """By hand for one pixel of the third image; any swap of alpha and sigma would show."""
    x0, eps, x, level = (part[2] if i < 3 else Level(*(v[2] for v in part)) for i, part in enumerate(mixed))
    a, s = level
    both = Prediction(x0, eps)
    assert_close(express(both, level, "v"), a * eps - s * x0)
    assert_close(express(both, level, "velocity"), eps - x0)
    assert_close(express(both, level, "score"), -(x - a * x0) / s**2)


def test_v_against_diffusers():
    schedule, other = Discrete(linear_betas(1000)), DDPMScheduler(1000)
    x0, eps = normal(4, 3, 6, 5).float(), normal(4, 3, 6, 5, seed=1).float()
    k = torch.tensor([1, 17, 500, 1000])
    ours = express(Prediction(x0, eps), schedule(k / 1000), "v")
    assert_close(ours, other.get_velocity(x0, eps, k - 1), rtol=1e-4, atol=1e-5)


def test_score_is_the_gradient_of_the_log_density():
    """Of ``q(x | x_0)``, by autograd."""
    x0, eps = normal(2, 3), normal(2, 3, seed=1)
    level = vp_cosine(torch.tensor([0.3, 0.7], dtype=D))
    x = diffuse(x0, eps, level).requires_grad_()
    density = torch.distributions.Normal(level.alpha[:, None] * x0, level.sigma[:, None])
    density.log_prob(x).sum().backward()
    assert_close(p.score_from_eps(eps, level), x.grad)
    assert_close(p.x0_from_score(x.grad, x.detach(), level), x0)


def test_velocity_is_the_derivative_of_the_straight_path():
    x0, eps, t = normal(2, 3), normal(2, 3, seed=1), torch.tensor(0.4, dtype=D)
    _, slope = torch.func.jvp(lambda t: diffuse(x0, eps, straight(t)), (t,), (torch.ones_like(t),))
    assert_close(p.velocity_from_both(x0, eps), slope)


def test_call_hands_a_time_to_each_row():
    seen = []

    def model(*arguments):
        seen.append(arguments)
        return arguments[0]

    x, labels = torch.zeros(3, 1, 2, 2), torch.tensor([2, 0, 1])
    call(model, x, torch.tensor(0.5, dtype=D))
    call(model, x, torch.tensor([0.1, 0.2, 0.3]), labels)
    assert [len(arguments) for arguments in seen] == [2, 3]
    assert seen[0][1].tolist() == [0.5] * 3 and seen[0][1].dtype == torch.float32
    assert_close(seen[1][1], torch.tensor([0.1, 0.2, 0.3]))
    assert seen[1][2] is labels


def test_clipping_moves_image_and_noise_together():
    level = vp_cosine(torch.tensor(0.5, dtype=D))
    x = normal(3, 8)
    wild = 5 * normal(3, 8, seed=1)
    for kind in KINDS:
        found = predict(lambda x, t: wild, x, torch.tensor(0.5, dtype=D), vp_cosine, kind, clip=1.0)
        free = predict(lambda x, t: wild, x, torch.tensor(0.5, dtype=D), vp_cosine, kind)
        assert free.x0.abs().max() > 1
        assert_close(found.x0, free.x0.clamp(-1, 1))
        for part in (found, free):
            assert_close(level.alpha * part.x0 + level.sigma * part.eps, x)


def test_bad_input_is_named():
    x, level = torch.zeros(2, 3), straight(torch.tensor([0.2, 0.3]))
    for call_it in (
        lambda: unwrap(p.require_kind)("noise"),
        lambda: unwrap(interpret)(x, x, level, "noise"),
        lambda: unwrap(express)(Prediction(x, x), level, "noise"),
    ):
        with pytest.raises(ValueError, match="kind must be one of eps, x0, v, score, velocity; got 'noise'"):
            call_it()
    with pytest.raises(ValueError, match=r"model must answer with the shape of x \(2, 3\); got \(2, 1\)"):
        call(lambda x, t: x[:, :1], x, torch.tensor(0.1))
