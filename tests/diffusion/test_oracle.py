"""Densities against torch.distributions, scores against autograd, means against brute force."""

import math
from inspect import unwrap
from typing import get_args

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.testing import assert_close

from genimg_ref.data.toy2d import ring
from genimg_ref.diffusion.forward import diffuse, noise_like
from genimg_ref.diffusion.oracle import GaussianMixture, gaussian_flow
from genimg_ref.diffusion.predict import Kind, interpret
from genimg_ref.diffusion.schedule import Level, exploding, straight, vp_cosine

D = torch.float64
SCHEDULES = {"cosine": vp_cosine, "straight": straight, "exploding": exploding}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=D)


def mixture(shape=(3,)):
    return GaussianMixture(
        normal(4, *shape),
        torch.tensor([0.1, 0.5, 0.3, 1.2], dtype=D),
        torch.tensor([1.0, 2.0, 0.5, 4.0], dtype=D),
        torch.tensor([0, 1, 1, 2]),
    )


def of_torch(mix, level, modes=slice(None)):
    """The noisy mixture of vectors at one level."""
    width = (level.alpha**2 * mix.std**2 + level.sigma**2).sqrt()[modes, None]
    return MixtureSameFamily(
        Categorical(mix.weights[modes]), Independent(Normal(level.alpha * mix.means[modes], width), 1)
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_density_against_torch(name):
    mix, x = mixture(), normal(5, 3, seed=1)
    times = torch.tensor([0.05, 0.3, 0.5, 0.8, 1.0], dtype=D)
    level = SCHEDULES[name](times)
    found = mix.log_prob(x, level)
    for i in range(5):
        one = Level(level.alpha[i], level.sigma[i])
        assert_close(found[i], of_torch(mix, one).log_prob(x[i]))
        assert_close(mix.log_prob(x, one)[i], found[i])


def test_labels_pick_their_modes():
    mix, x, level = mixture(), normal(4, 3, seed=1), vp_cosine(torch.tensor(0.3, dtype=D))
    labels = torch.tensor([0, 1, 2, 3])  # 3, the number of classes, means none
    found = mix.log_prob(x, level, labels)
    for i, modes in enumerate(([0], [1, 2], [3], [0, 1, 2, 3])):
        assert_close(found[i], of_torch(mix, level, modes).log_prob(x[i]))
    model = mix.model(vp_cosine)
    t = torch.full((4,), 0.3, dtype=D)
    assert_close(model(x, t, labels), mix.predict(x, vp_cosine(t), labels).eps)
    assert_close(model(x, t, labels)[3], model(x, t)[3])
    with pytest.raises(ValueError, match="labels must be None"):
        GaussianMixture(mix.means, 0.1).log_prob(x, level, labels)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4)])
@pytest.mark.parametrize("name", SCHEDULES)
def test_score_is_the_gradient(name, shape):
    mix = mixture(shape)
    level = SCHEDULES[name](torch.tensor([0.05, 0.4, 0.9], dtype=D))
    x = normal(3, *shape, seed=1).requires_grad_()
    labels = torch.tensor([1, 3, 2])
    (gradient,) = torch.autograd.grad(mix.log_prob(x, level, labels).sum(), x)
    assert_close(mix.score(x.detach(), level, labels), gradient)


@pytest.mark.parametrize("name", SCHEDULES)
def test_prediction_mixes_to_x(name):
    """``alpha E[x_0 | x] + sigma E[eps | x] = x``."""
    mix, x = mixture(), normal(3, 3, seed=1)
    level = SCHEDULES[name](torch.tensor([0.05, 0.4, 0.9], dtype=D))
    assert_close(diffuse(*mix.predict(x, level), level), x)


def test_posterior_mean_by_brute_force():
    """Draws of ``x_0`` weighted by ``q(x | x_0)``."""
    mix, level = mixture((2,)), vp_cosine(torch.tensor(0.5, dtype=D))
    x, x0 = torch.tensor([[0.3, -0.2]], dtype=D), mix.sample(200_000, seeded(3))
    weight = Normal(level.alpha * x0, level.sigma).log_prob(x).sum(1).softmax(0)
    assert_close(mix.predict(x, level).x0[0], weight @ x0, rtol=0, atol=0.01)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_model_says_its_kind(kind):
    mix, x, t = mixture(), normal(3, 3, seed=1), torch.tensor([0.2, 0.5, 0.9], dtype=D)
    output = mix.model(vp_cosine, kind)(x, t)
    expected = mix.predict(x, vp_cosine(t))
    for got, part in zip(interpret(output, x, vp_cosine(t), kind), expected, strict=True):
        assert_close(got, part)


def test_no_prediction_has_a_smaller_error():
    """Of the noise, over many draws: moving or scaling the exact answer costs."""
    mix = GaussianMixture.of(ring())
    x0 = mix.sample(20_000, seeded())
    eps, t = noise_like(x0, seeded(1)), torch.full((20_000,), 0.4)
    exact = mix.model(vp_cosine)(diffuse(x0, eps, vp_cosine(t)), t)
    best = (exact - eps).square().mean()
    for other in (1.05 * exact, 0.95 * exact, exact + 0.05, exact - 0.05):
        assert (other - eps).square().mean() > best


def test_the_perfect_model_of_points_repeats_them():
    """At little noise the answer is the nearest point; at much noise it is the mean of all."""
    points = normal(6, 1, 4, 4)
    mix = GaussianMixture(points, 0.0)
    x = diffuse(points[:3], normal(3, 1, 4, 4, seed=1), vp_cosine(torch.tensor(0.02, dtype=D)))
    assert_close(mix.predict(x, vp_cosine(torch.tensor(0.02, dtype=D))).x0, points[:3])
    far = mix.predict(1e4 * normal(2, 1, 4, 4), exploding(torch.tensor(1e6, dtype=D))).x0
    assert_close(far, points.mean(0).expand_as(far), rtol=0, atol=0.05)


def test_draws_have_the_moments():
    mix = mixture((2,))
    x = mix.sample(100_000, seeded())
    w = mix.weights / mix.weights.sum()
    mean = w @ mix.means
    variance = w @ (mix.std[:, None] ** 2 + mix.means**2) - mean**2
    assert_close(x.mean(0), mean, rtol=0, atol=0.02)
    assert_close(x.var(0), variance, rtol=0.03, atol=0)
    assert torch.equal(mix.sample(5, seeded()), mix.sample(5, seeded()))


def test_float32_far_from_all_modes():
    mix = GaussianMixture(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), 0.01)
    x = torch.tensor([[40.0, 30.0]])
    level = straight(torch.tensor(0.05))
    exact = GaussianMixture(mix.means.double(), 0.01).predict(
        x.double(), straight(torch.tensor(0.05, dtype=D))
    )
    found = mix.predict(x, level)
    assert found.eps.dtype == torch.float32
    assert_close(found.eps.double(), exact.eps, rtol=1e-4, atol=0)
    assert_close(found.x0.double(), exact.x0, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["cosine", "straight"])
def test_gaussian_flow_solves_its_equation(name):
    """It starts at ``x``, composes, carries the marginals over, and its slope is the flow's."""
    schedule, mean, std = SCHEDULES[name], normal(3), 0.3
    r, s, t = (schedule(torch.tensor(time, dtype=D)) for time in (0.1, 0.5, 0.8))
    x = normal(2, 3, seed=1)
    assert_close(gaussian_flow(x, mean, std, t, t), x)
    through = gaussian_flow(gaussian_flow(x, mean, std, s, t), mean, std, r, s)
    assert_close(through, gaussian_flow(x, mean, std, r, t))
    mix = GaussianMixture(mean[None], std)
    time = torch.tensor(0.8, dtype=D)
    _, direction = torch.func.jvp(
        lambda s: gaussian_flow(x, mean, std, schedule(s), t), (time,), (torch.ones_like(time),)
    )
    found = mix.predict(x, t)
    rate = {"cosine": (-t.sigma * math.pi / 2, t.alpha * math.pi / 2), "straight": (-1, 1)}[name]
    assert_close(direction, rate[0] * found.x0 + rate[1] * found.eps)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((torch.zeros(0, 2), 0.1), "means must be one or more vectors or images; got"),
        ((torch.zeros(2, 2), -0.1), "std must be 0 or more; got -0.1"),
        ((torch.zeros(2, 2), 0.1, torch.tensor([1.0, 0.0])), "weights must be above zero"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(*arguments)
    with pytest.raises(ValueError, match="count must be 1 or more; got 0"):
        mixture().sample(0, seeded())
    with pytest.raises(ValueError, match="weights must be 2, one a mode"):
        unwrap(GaussianMixture.__post_init__)(Loose(torch.zeros(2, 2), 0.1, torch.ones(3), None))


class Loose:
    """The fields of a mixture, unchecked."""

    def __init__(self, means, std, weights, labels):
        self.means, self.std, self.weights, self.labels = means, std, weights, labels
