"""What the engine says of each kind of answer."""

import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sample import DoublerWithoutTanh, _Doubler, _scale, _step, doubler, one_step, scale, stale_cases, step
from torch import nn

from genimg_ref.exercises.engine import Exercise, Outcome, call, diagnose, generator, module, net


def _in_place(x, factor):
    return x.mul_(factor)


def _bad_dtype(x, factor):
    return (x * factor).double()


def _nan(x, factor):
    return x * factor + float("nan")


def _raises(x, factor):
    raise KeyError("no such thing")


def _exits(x, factor):
    raise SystemExit(0)


def _too_few_parameters(x):
    return x


def _close_but_wrong(x, factor):
    return x * factor + 1e-3


@pytest.mark.parametrize(
    ("answer", "outcome", "told"),
    [
        (_scale, Outcome.RIGHT, "right."),
        (lambda x, f: (x.double() * f).float(), Outcome.RIGHT, "right."),
        (lambda x, f: [x * f], Outcome.WRONG_TYPE, "what it returns is a list or tuple, expected a tensor"),
        (lambda x, f: (x * f).tolist(), Outcome.WRONG_TYPE, "is a list or tuple, expected a tensor"),
        (lambda x, f: (x * f).detach().numpy(), Outcome.WRONG_TYPE, "is a NumPy array, expected a tensor"),
        (lambda x, f: None, Outcome.WRONG_TYPE, "what it returns is None, expected a tensor"),
        (lambda x, f: nn.Tanh(), Outcome.WRONG_TYPE, "is a torch.nn.modules.activation.Tanh"),
        (
            lambda x, f: 1.0,
            Outcome.WRONG_TYPE,
            "what it returns is a float, expected a tensor of shape (3, 4)",
        ),
        (_bad_dtype, Outcome.WRONG_TYPE, "what it returns has dtype float64, expected float32"),
        (lambda x, f: (x * f).bfloat16(), Outcome.WRONG_TYPE, "is a bfloat16 tensor"),
        (
            lambda x, f: (x * f).mean(0),
            Outcome.WRONG_SHAPE,
            "what it returns has shape (4,), expected (3, 4)",
        ),
        (_in_place, Outcome.CHANGED_INPUT, "it changed `x` in place; leave the arguments as they were"),
        (_nan, Outcome.NOT_FINITE, "what it returns is NaN in 12 of 12 places"),
        (lambda x, f: x / 0 * f, Outcome.NOT_FINITE, "what it returns is infinite"),
        (_close_but_wrong, Outcome.WRONG_VALUE, "12 of 12 values differ"),
        (lambda x, f: (x * f).detach(), Outcome.WRONG_GRADIENT, "the gradient with regard to `x` is missing"),
        (
            lambda x, f: x * f + 2 * x.detach() - 2 * x,
            Outcome.WRONG_GRADIENT,
            "the gradient with regard to `x` is",
        ),
        (_raises, Outcome.RAISED, "it raised KeyError: 'no such thing', in `raise KeyError("),
        (_exits, Outcome.RAISED, "it raised SystemExit"),
        (_too_few_parameters, Outcome.RAISED, "takes 1 positional argument but 2 were given"),
    ],
)
def test_each_fault_has_its_name(answer, outcome, told):
    verdict = diagnose(scale, answer)
    assert verdict.outcome is outcome
    assert told in verdict.message


@pytest.mark.parametrize(
    ("factor", "told"),
    [
        (1.01, "what it returns is 75.84, expected 75.09."),
        (1 + 2e-4, "what it returns is 75.11, expected 75.09."),
        (1 + 2e-5, "what it returns is 75.092, expected 75.09."),
        (1 + 2e-8, "what it returns is 75.090002, expected 75.09."),
    ],
)
def test_numbers_that_differ_are_told_in_as_many_digits_as_show_it(factor, told):
    exercise = Exercise(1, 5, lambda x: x * 75.09, lambda rng: [call("one", x=1.0)], rtol=0.0, atol=1e-9)
    assert told in diagnose(exercise, lambda x: x * 75.09 * factor).message


def test_a_known_mistake_gets_its_sentence():
    verdict = diagnose(scale, lambda x, f: f + x)
    assert verdict.outcome is Outcome.WRONG_VALUE
    assert verdict.hint == "Multiply by the factor; do not add it."
    assert diagnose(scale, lambda x, f: x - f).hint is None


def test_a_known_mistake_of_another_type_does_not_stand_in_the_way():
    def in_numpy(x, factor):
        return _scale(x, factor).detach().numpy()

    exercise = replace(scale, mistakes=[])
    exercise.mistake("That is a NumPy array.")(in_numpy)
    assert diagnose(exercise, in_numpy, [0]).hint == "That is a NumPy array."
    verdict = diagnose(exercise, lambda x, factor: 5 * _scale(x, factor), [0])
    assert verdict.outcome is Outcome.WRONG_VALUE and verdict.hint is None


def test_the_gravest_fault_of_all_cases_is_told():
    def answer(x, factor):
        if len(x) == 1:
            raise ValueError("one row is too few")
        return x

    verdict = diagnose(scale, answer)
    assert verdict.outcome is Outcome.RAISED
    assert verdict.message.endswith("(Case: one row.)")


def test_a_stub_is_not_attempted():
    def stub(x, factor):
        raise NotImplementedError

    assert str(diagnose(scale, stub)) == "· scale: not attempted yet."


def test_a_module_without_forward_is_not_attempted():
    class Empty(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.linear = nn.Linear(width, 2 * width)

    assert diagnose(doubler, Empty).outcome is Outcome.NOT_ATTEMPTED


def _hang(x, factor):
    while True:
        time.sleep(0.01)


def _hang_and_swallow(x, factor):
    while True:
        try:
            time.sleep(0.01)
        except:  # noqa: E722
            return x


@pytest.mark.parametrize("answer", [_hang, _hang_and_swallow])
def test_a_hanging_answer_is_stopped(answer):
    verdict = diagnose(scale, answer, seconds=0.3)
    assert verdict.outcome in (Outcome.TIMED_OUT, Outcome.WRONG_VALUE)
    assert (answer is _hang) == (verdict.outcome is Outcome.TIMED_OUT)


def test_a_hanging_answer_is_stopped_in_a_thread_too():
    done = threading.Event()

    def wait(x, factor):
        done.wait(20)
        return x

    verdicts = []
    thread = threading.Thread(target=lambda: verdicts.append(diagnose(scale, wait, seconds=0.3)))
    thread.start()
    thread.join(10)
    done.set()
    assert [v.outcome for v in verdicts] == [Outcome.TIMED_OUT]


def test_a_step_is_compared_by_the_parameters_after_it():
    assert diagnose(step, _step).outcome is Outcome.RIGHT

    def never_steps(model, optimiser, x):
        return model(x).square().mean().item()

    def half_a_step(model, optimiser, x):
        loss = model(x).square().mean()
        optimiser.zero_grad()
        (loss / 2).backward()
        optimiser.step()
        return loss.item()

    assert "what it returns" in diagnose(step, never_steps).message
    assert diagnose(step, half_a_step).outcome is Outcome.WRONG_VALUE
    mistake = step.mistakes[0]
    assert diagnose(step, mistake.answer).hint == mistake.hint


def test_a_step_starts_with_what_an_earlier_one_left():
    stale = replace(step, cases=stale_cases)
    assert diagnose(stale, _step).outcome is Outcome.RIGHT

    def clears_afterwards(model, optimiser, x):
        loss = model(x).square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        return loss.item()

    assert diagnose(step, clears_afterwards).outcome is Outcome.RIGHT
    assert diagnose(stale, clears_afterwards).outcome is Outcome.WRONG_VALUE


def test_a_net_is_left_in_its_condition():
    def evaluates(model, optimiser, x):
        result = _step(model, optimiser, x)
        model[1].eval()
        return result

    def freezes(model, optimiser, x):
        result = _step(model, optimiser, x)
        model[0].weight.requires_grad_(False)
        return result

    def replaces(model, optimiser, x):
        result = _step(model, optimiser, x)
        model[0].weight = nn.Parameter(model[0].weight.detach().clone())
        return result

    once = replace(step, cases=lambda rng: [one_step(rng)])
    for answer, told in (
        (evaluates, "left `model` in another training mode"),
        (freezes, "left `requires_grad` of parameters of `model` changed"),
        (replaces, "put new parameters into `model`"),
    ):
        verdict = diagnose(once, answer)
        assert verdict.outcome is Outcome.CHANGED_INPUT and told in verdict.message


def test_random_numbers_come_from_the_generator_that_is_given():
    def cases(rng):
        yield call("five", n=5, rng=generator(3))

    noise = Exercise(1, 5, lambda n, rng: torch.randn(n, generator=rng), cases, observe=without_values)
    assert diagnose(noise, lambda n, rng: torch.rand(n, generator=rng)).outcome is Outcome.RIGHT
    global_draw = diagnose(noise, lambda n, rng: torch.rand(n))
    assert "does not draw its random numbers from `rng`" in global_draw.message
    both = diagnose(noise, lambda n, rng: torch.rand(n) + torch.rand(n, generator=rng))
    assert "draws from PyTorch's global generator" in both.message


def without_values(response):
    return {**response, "returned": None}


def test_nets_may_be_nested():
    drawn = net(np.random.default_rng(0), ["Sequential", ["Linear", 2, 3], ["Sequential", ["Linear", 3, 1]]])
    exercise = Exercise(
        1,
        5,
        lambda model, x: model(x),
        lambda rng: [call("nested", model=drawn, x=np.ones((4, 2), "float32"))],
    )
    assert diagnose(exercise, lambda model, x: model[0][1](model[0][0](x))).outcome is Outcome.RIGHT
    assert diagnose(exercise, lambda model, x: model[0][0](x)).outcome is Outcome.WRONG_SHAPE


def test_modules():
    class Reversed(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(2 * width))
            self.weight = nn.Parameter(torch.zeros(2 * width, width))

        def forward(self, x):
            return torch.tanh(x @ self.weight.T + self.bias)

    class Square(_Doubler):
        def __init__(self, width):
            super().__init__(width)
            self.linear = nn.Linear(width, width)

    class Biasless(_Doubler):
        def __init__(self, width):
            super().__init__(width)
            self.linear = nn.Linear(width, 2 * width, bias=False)

    class Detached(_Doubler):
        def forward(self, x):
            return super().forward(x.detach())

    assert diagnose(doubler, _Doubler).outcome is Outcome.RIGHT
    assert diagnose(doubler, DoublerWithoutTanh).hint == "The hyperbolic tangent is missing at the end."
    assert "another order" in diagnose(doubler, Reversed).message
    assert "parameter 1 of 2 has shape (3, 3), expected (6, 3)" in diagnose(doubler, Square).message
    assert (
        "it has 1 parameter tensors, expected 2; the first that differs is number 2."
        in diagnose(doubler, Biasless).message
    )
    assert "gradient with regard to input 1 is missing" in diagnose(doubler, Detached).message
    assert "not an `nn.Module`" in diagnose(doubler, lambda width: 3).message


class Recalling(nn.Module):
    """Batch normalisation by hand; it remembers what it saw in training, or does not."""

    def __init__(self, width, share):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.share = share

    def forward(self, x):
        mean, variance = self.mean, self.variance
        if self.training:
            mean, variance = x.mean(dim=0), x.var(dim=0)
            self.mean.lerp_(mean.detach(), self.share)
            self.variance.lerp_(variance.detach(), self.share)
            variance = x.var(dim=0, correction=0)
        return (x - mean) / (variance + 1e-5).sqrt()


def test_a_module_may_have_seen_something_before():
    x, before = (np.random.default_rng(k).normal(3, 2, size=(4, 5)).astype("float32") for k in (0, 1))

    def verdict(answer, **options):
        case = module("five", init={"width": 5}, inputs=[x], **options)
        exercise = Exercise(1, 5, lambda width: nn.BatchNorm1d(width, affine=False), lambda rng: [case])
        return diagnose(exercise, answer).outcome

    for training in (True, False):
        options = {"training": training, "seen": [before]}
        assert verdict(lambda width: Recalling(width, 0.1), **options) is Outcome.RIGHT
    for share in (0.0, 0.9):
        answer = partial(Recalling, share=share)
        assert verdict(answer, training=False) is Outcome.RIGHT
        assert verdict(answer, training=False, seen=[before]) is Outcome.WRONG_VALUE


def test_checking_leaves_the_global_random_state_alone():
    def noisy(x, factor):
        return x * factor + torch.randn(()) * 0

    before = torch.random.get_rng_state()
    diagnose(scale, noisy)
    diagnose(step, _step)
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_answer_is_checked_with_gradients_even_if_they_were_switched_off():
    with torch.no_grad():
        assert diagnose(scale, _scale).outcome is Outcome.RIGHT


def test_every_seed_draws_other_cases():
    first, second = ([c.request["args"]["x"] for c in scale.cases(np.random.default_rng(s))] for s in (0, 1))
    assert not np.allclose(first[0], second[0])


def test_a_verdict_in_html_is_escaped_and_names_its_kind():
    page = diagnose(scale, lambda x, f: {"<script>": x}).as_html()
    assert "genimg-wrong" in page and "<script>" not in page
    bundle = diagnose(scale, _scale)._repr_mimebundle_()
    assert bundle["text/plain"] == "✓ scale: right." and "genimg-right" in bundle["text/html"]
