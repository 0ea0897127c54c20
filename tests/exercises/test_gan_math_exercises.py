"""Wrong answers that were once accepted are rejected, and unusual right ones accepted."""

import pytest
import torch
import torch.nn.functional as F
from collected import Collected
from torch import nn

from genimg_ref.exercises import find
from genimg_ref.exercises.engine import Outcome, diagnose

wrong, right = Collected(), Collected()


@wrong("optimal_discriminator")
def constant_of_1e_20(p_data, p_g):
    total = p_data + p_g
    return torch.where(total == 0, 0.5, p_data / (total + 1e-20))


@wrong("optimal_discriminator")
def constants_of_1e_30(p_data, p_g):
    return (p_data + 1e-30) / (p_data + p_g + 2e-30)


@wrong("optimal_discriminator")
def threshold(p_data, p_g):
    total = p_data + p_g
    return torch.where(total < 1e-30, 0.5, p_data / total)


@wrong("gan_objective")
def sum_over_length(real, fake):
    loss = F.softplus(-real).sum() / len(real) + F.softplus(fake).sum() / len(fake)
    return torch.stack([loss, -loss])


@wrong("generator_logit_gradients")
def squeezed(logits):
    return torch.stack([-torch.sigmoid(logits), -torch.sigmoid(-logits)]).squeeze()


def d_loss(d, real, fake):
    return F.softplus(-d(real)).mean() + F.softplus(d(fake)).mean()


def descend(optimiser, loss):
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


def by_hand(net, optimiser, loss):
    optimiser.zero_grad()
    loss.backward()
    with torch.no_grad():
        for p in net.parameters():
            p -= optimiser.param_groups[0]["lr"] * p.grad
    return loss.item()


@wrong("discriminator_step")
def d_cleared_afterwards(g, d, optimiser, real, z):
    loss = d_loss(d, real, g(z).detach())
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    return loss.item()


@wrong("discriminator_step")
def d_of_probabilities(g, d, optimiser, real, z):
    loss = d(real).sigmoid().log().mean() + (1 - d(g(z).detach()).sigmoid()).log().mean()
    return descend(optimiser, -loss)


@wrong("discriminator_step")
def d_cross_entropy_of_probabilities(g, d, optimiser, real, z):
    a, b = d(real).sigmoid(), d(g(z).detach()).sigmoid()
    loss = F.binary_cross_entropy(a, torch.ones_like(a)) + F.binary_cross_entropy(b, torch.zeros_like(b))
    return descend(optimiser, loss)


@wrong("discriminator_step")
def d_half_of_probabilities(g, d, optimiser, real, z):
    loss = F.softplus(-d(real)).mean() - (1 - d(g(z).detach()).sigmoid()).log().mean()
    return descend(optimiser, loss)


@wrong("discriminator_step")
def d_moved_by_hand(g, d, optimiser, real, z):
    return by_hand(d, optimiser, d_loss(d, real, g(z).detach()))


@wrong("discriminator_step")
def generator_left_frozen(g, d, optimiser, real, z):
    g.requires_grad_(False)
    return descend(optimiser, d_loss(d, real, g(z)))


@wrong("discriminator_step")
def generator_left_in_eval_mode(g, d, optimiser, real, z):
    g.eval()
    return descend(optimiser, d_loss(d, real, g(z).detach()))


@wrong("discriminator_step")
def discriminator_left_in_eval_mode(g, d, optimiser, real, z):
    loss = descend(optimiser, d_loss(d, real, g(z).detach()))
    d.eval()
    return loss


@wrong("generator_step")
def g_cleared_afterwards(g, d, optimiser, z):
    loss = F.softplus(-d(g(z))).mean()
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    return loss.item()


@wrong("generator_step")
def g_of_probabilities(g, d, optimiser, z):
    return descend(optimiser, -d(g(z)).sigmoid().log().mean())


@wrong("generator_step")
def g_propped_up(g, d, optimiser, z):
    return descend(optimiser, -(d(g(z)).sigmoid() + 1e-8).log().mean())


@wrong("generator_step")
def g_cross_entropy_of_probabilities(g, d, optimiser, z):
    verdict = d(g(z)).sigmoid()
    return descend(optimiser, F.binary_cross_entropy(verdict, torch.ones_like(verdict)))


@wrong("generator_step")
def g_moved_by_hand(g, d, optimiser, z):
    return by_hand(g, optimiser, F.softplus(-d(g(z))).mean())


@wrong("generator_step")
def judge_left_frozen(g, d, optimiser, z):
    d.requires_grad_(False)
    return descend(optimiser, F.softplus(-d(g(z))).mean())


@wrong("generator_step")
def judge_left_in_eval_mode(g, d, optimiser, z):
    d.eval()
    return descend(optimiser, F.softplus(-d(g(z))).mean())


@wrong("generator_step")
def player_left_in_eval_mode(g, d, optimiser, z):
    g.eval()
    return descend(optimiser, F.softplus(-d(g(z))).mean())


def counted(distance, nearest, good, at_least=1):
    counts = torch.bincount(nearest[good], minlength=distance.shape[1])
    return int((counts >= at_least).sum()), good.float().mean().item()


@wrong("modes_covered")
def strictly_less(samples, means, std):
    distance = torch.cdist(samples, means)
    return counted(distance, distance.argmin(1), distance.min(1).values < 3 * std)


@wrong("modes_covered")
def first_two_coordinates(samples, means, std):
    distance = torch.cdist(samples[:, :2], means[:, :2])
    return counted(distance, distance.argmin(1), distance.min(1).values <= 3 * std)


@wrong("modes_covered")
def tenth_of_a_fair_share(samples, means, std):
    distance = torch.cdist(samples, means)
    good = distance.min(1).values <= 3 * std
    return counted(distance, distance.argmin(1), good, at_least=len(samples) / len(means) / 10)


def judged(starved, covered):
    if starved:
        return "starved"
    return "collapsed" if covered[-16:].mean() < 0.5 else "healthy"


def died(gradient):
    return gradient[-16:].mean() < 0.1 * gradient[:16].mean()


@wrong("diagnose_run")
def sure_of_real_samples(real, fake, gradient, covered):
    return judged(real[-16:].mean() > 0.9 and died(gradient), covered)


@wrong("diagnose_run")
def sure_of_fakes(real, fake, gradient, covered):
    return judged(fake[-16:].mean() < 0.1 and died(gradient), covered)


@wrong("diagnose_run")
def once_sure(real, fake, gradient, covered):
    return judged((real > 0.9).any() and (fake < 0.1).any() and died(gradient), covered)


@wrong("diagnose_run")
def once_without_gradient(real, fake, gradient, covered):
    sure = real[-16:].mean() > 0.9 and fake[-16:].mean() < 0.1
    return judged(sure and gradient.min() < 0.1 * gradient[:16].mean(), covered)


@right("generator_logit_gradients")
def by_softmax(logits):
    return -torch.softmax(torch.stack([logits, torch.zeros_like(logits)]), 0)


@right("discriminator_step")
def by_closure(g, d, optimiser, real, z):
    fake = g(z).detach()

    def closure():
        optimiser.zero_grad()
        loss = d_loss(d, real, fake)
        loss.backward()
        return loss

    return optimiser.step(closure).item()


@right("discriminator_step")
def frozen_for_a_while(g, d, optimiser, real, z):
    g.requires_grad_(False)
    loss = descend(optimiser, d_loss(d, real, g(z)))
    g.requires_grad_(True)
    return loss


@right("generator_step")
def by_autograd_grad(g, d, optimiser, z):
    parameters = list(g.parameters())
    loss = nn.BCEWithLogitsLoss()(d(g(z)), torch.ones(len(z), 1))
    for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        p.grad = gradient
    optimiser.step()
    return loss.item()


@right("modes_covered")
def by_expanding_the_square(samples, means, std):
    squares = samples.square().sum(1, keepdim=True) - 2 * samples @ means.T + means.square().sum(1)
    distance = squares.clamp_min(0).sqrt()
    return counted(distance, distance.argmin(1), distance.min(1).values <= 3 * std)


def judge(sure, fallen, enough):
    def thresholds(real, fake, gradient, covered):
        certain = real[-16:].mean() > sure and fake[-16:].mean() < 1 - sure
        if certain and gradient[-16:].mean() < fallen * gradient[:16].mean():
            return "starved"
        return "healthy" if covered[-16:].mean() > enough else "collapsed"

    return thresholds


for thresholds in ((0.8, 0.1, 0.3), (0.95, 0.01, 0.5), (0.9, 0.3, 0.75), (0.7, 1e-3, 0.9)):
    right("diagnose_run")(judge(*thresholds))


@pytest.mark.parametrize(("name", "answer"), wrong, ids=[f"{n}-{a.__name__}" for n, a in wrong])
def test_wrong_answers_are_rejected(name, answer):
    exercise = find(name)
    for seed in range(5):
        verdict = diagnose(exercise, answer, [seed], seconds=60.0)
        assert verdict.outcome not in (Outcome.RIGHT, Outcome.RAISED), str(verdict)


@pytest.mark.parametrize(("name", "answer"), right, ids=[f"{n}-{a.__name__}" for n, a in right])
def test_right_answers_are_accepted(name, answer):
    verdict = diagnose(find(name), answer, range(5), seconds=60.0)
    assert verdict.outcome is Outcome.RIGHT, str(verdict)
