"""Losses by hand, their weights, and where times are drawn from."""

from inspect import unwrap
from typing import get_args

import pytest
import torch
from torch.testing import assert_close

from genimg_ref.diffusion.forward import diffuse
from genimg_ref.diffusion.loss import (
    flow_matching_loss,
    logit_normal_times,
    min_snr_weight,
    simple_loss,
    squared_error,
    step_times,
    uniform_times,
    x0_slope,
)
from genimg_ref.diffusion.predict import Kind, Prediction, express, interpret
from genimg_ref.diffusion.schedule import Discrete, exploding, linear_betas, snr, straight, vp_cosine

D = torch.float64
KINDS = get_args(Kind)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=D)


def batch():
    return normal(3, 2, 4, 5), normal(3, 2, 4, 5, seed=1), torch.tensor([0.1, 0.5, 0.9], dtype=D)


def test_squared_error_is_of_each_image():
    output, target = normal(3, 2, 4, 5), normal(3, 2, 4, 5, seed=1)
    by_hand = torch.stack([(output[i] - target[i]).pow(2).sum() / 40 for i in range(3)])
    assert_close(squared_error(output, target), by_hand)
    with pytest.raises(ValueError, match=r"output must have the shape of target \(3, 2\); got \(3, 1\)"):
        unwrap(squared_error)(torch.zeros(3, 1), torch.zeros(3, 2))


def test_simple_loss_is_equation_14():
    """A model that halves what it sees: the loss of each image by hand, and its gradient."""
    schedule = Discrete(linear_betas(10, 0.01, 0.3))
    x0, eps, t = batch()
    weight = torch.tensor(0.5, dtype=D, requires_grad=True)
    loss = simple_loss(lambda x, t: weight * x + t[:, None, None, None], x0, t, eps, schedule)
    bar = schedule.alpha_bar[[1, 5, 9]].view(-1, 1, 1, 1)
    x = bar.sqrt() * x0 + (1 - bar).sqrt() * eps
    error = 0.5 * x + t.view(-1, 1, 1, 1) - eps
    assert_close(loss, error.square().mean((1, 2, 3)))
    loss.mean().backward()
    assert_close(weight.grad, (2 * error * x).mean())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("schedule", [vp_cosine, straight, exploding])
def test_the_truth_costs_nothing_and_no_other_kind_does(kind, schedule):
    x0, eps, t = batch()
    level = schedule(t)
    assert_close(
        simple_loss(lambda x, t: express(Prediction(x0, eps), level, kind), x0, t, eps, schedule, kind),
        torch.zeros(3, dtype=D),
    )
    for other in set(KINDS) - {kind}:
        answer = express(Prediction(x0, eps), level, other)
        assert (simple_loss(lambda x, t, a=answer: a, x0, t, eps, schedule, kind) > 1e-3).all()


def test_conditions_reach_the_model():
    x0, eps, t = batch()
    labels = torch.tensor([3.0, 4.0, 5.0], dtype=D)
    loss = simple_loss(lambda x, t, y: eps + y[:, None, None, None], x0, t, eps, vp_cosine, condition=labels)
    assert_close(loss, labels.square())
    loss = flow_matching_loss(lambda x, t, y: eps - x0 + y[:, None, None, None], x0, t, eps, labels)
    assert_close(loss, labels.square())


def test_flow_matching_loss():
    x0, eps, t = batch()
    column = t.view(-1, 1, 1, 1)
    loss = flow_matching_loss(lambda x, t: 2 * x, x0, t, eps)
    expected = (2 * ((1 - column) * x0 + column * eps) - (eps - x0)).square().mean((1, 2, 3))
    assert_close(loss, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("schedule", [vp_cosine, straight, exploding])
def test_slope_says_how_far_the_image_moves(kind, schedule):
    x0, eps, t = batch()
    level = schedule(t)
    x, output = diffuse(x0, eps, level), express(Prediction(x0, eps), level, kind)
    moved = interpret(output + 0.25, x, level, kind).x0 - x0
    assert_close(moved.abs().mean((1, 2, 3)), 0.25 * x0_slope(level, kind))


def test_min_snr_weights():
    level = vp_cosine(torch.linspace(0.01, 0.99, 50, dtype=D))
    ratio = snr(level)
    assert (ratio > 5).any() and (ratio < 5).any()
    low = ratio.clamp(max=5)
    assert_close(min_snr_weight(level, "x0"), low)
    assert_close(min_snr_weight(level, "eps"), low / ratio)
    assert_close(min_snr_weight(level, "v"), low / (ratio + 1))
    assert_close(min_snr_weight(level, "eps", gamma=1.0), ratio.clamp(max=1) / ratio)
    assert min_snr_weight(vp_cosine(torch.tensor(0.0)), "eps") == 0
    with pytest.raises(ValueError, match="gamma must be above zero; got 0"):
        min_snr_weight(level, gamma=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_weighted_losses_of_all_kinds_are_one(kind):
    """The same model, its answer expressed in each kind: the weighted loss is that of the image."""
    x0, eps, t = batch()
    level = vp_cosine(t)
    x = diffuse(x0, eps, level)
    guess = interpret(0.3 * x, x, level, "x0")
    loss = squared_error(express(guess, level, kind), express(Prediction(x0, eps), level, kind))
    assert_close(
        min_snr_weight(level, kind) * loss,
        min_snr_weight(level, "x0") * squared_error(guess.x0, x0),
    )


def test_times():
    steps = (step_times(4000, 5, seeded()) * 5).round()
    assert steps.unique().tolist() == [1, 2, 3, 4, 5]
    assert_close(steps.mean().item(), 3.0, rtol=0, atol=0.1)
    even = uniform_times(20_000, seeded())
    assert even.min() >= 0 and even.max() < 1
    assert_close(even.mean().item(), 0.5, rtol=0, atol=0.01)
    middle = logit_normal_times(20_000, seeded(), mean=-0.5, std=0.8)
    assert_close(middle.logit().mean().item(), -0.5, rtol=0, atol=0.03)
    assert_close(middle.logit().std().item(), 0.8, rtol=0, atol=0.03)
