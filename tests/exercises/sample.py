"""Three small exercises with which the tests try the engine."""

import torch
from torch import nn

from genimg_ref.exercises.engine import Exercise, call, module, net, optimiser


def scale_cases(rng):
    yield call("three by four", x=rng.normal(size=(3, 4)).astype("float32"), factor=2.5, gradients=["x"])
    yield call("one row", x=rng.normal(size=(1, 7)).astype("float32"), factor=-1.0, gradients=["x"])


def _scale(x, factor):
    return x * factor


scale = Exercise(points=1, minutes=5, reference=_scale, cases=scale_cases, name="scale")


@scale.mistake("Multiply by the factor; do not add it.")
def scale_added(x, factor):
    return x + factor


def step_cases(rng):
    yield one_step(rng, repeat=2)


def one_step(rng, **options):
    x = rng.normal(size=(5, 3)).astype("float32")
    model = net(rng, ["Linear", 3, 4], ["Tanh"], ["Linear", 4, 1])
    return call("one step", model=model, optimiser=optimiser("model"), x=x, **options)


def stale_cases(rng):
    yield one_step(rng, stale=["model"])


def _step(model, optimiser, x):
    loss = model(x).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


step = Exercise(points=1, minutes=5, reference=_step, cases=step_cases, name="step")


@step.mistake("Gradients add up: empty them before every step.")
def step_without_zero_grad(model, optimiser, x):
    loss = model(x).square().mean()
    loss.backward()
    optimiser.step()
    return loss.item()


class _Doubler(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)

    def forward(self, x):
        return torch.tanh(self.linear(x))


def doubler_cases(rng):
    parameters = [rng.normal(size=(6, 3)).astype("float32"), rng.normal(size=6).astype("float32")]
    x = rng.normal(size=(4, 3)).astype("float32")
    yield module("width 3", init={"width": 3}, inputs=[x], parameters=parameters)


doubler = Exercise(points=1, minutes=5, reference=_Doubler, cases=doubler_cases, name="doubler")


@doubler.mistake("The hyperbolic tangent is missing at the end.")
class DoublerWithoutTanh(_Doubler):
    def forward(self, x):
        return self.linear(x)
