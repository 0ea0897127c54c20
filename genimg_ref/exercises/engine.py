"""What an exercise is, and how an answer to it is diagnosed.

An exercise is written like this, one after the other in ``genimg_ref/exercises/<chapter>.py``::

    def cases(rng):  # rng: numpy.random.Generator; arrays become tensors, in the order of the parameters
        yield call("five numbers", x=rng.normal(size=5).astype("float32"), gradients=["x"])

    softplus = Exercise(points=2, minutes=10, reference=losses.softplus, cases=cases)

    @softplus.mistake("The logarithm of a sum is not the sum of the logarithms: ...")
    def log_apart(x):
        return x

    @softplus.also_right
    def by_logaddexp(x):
        return torch.logaddexp(x, torch.zeros_like(x))

The name of the variable is the name of the exercise and of the function or class that the student writes. The
reference, the known mistakes and the other right answers are all called as the student's answer is: by
position, on fresh data, through `probe.run`. What comes of the reference is what is expected: returned
values, gradients with regard to the arguments in ``gradients``, parameters of the nets after the call. An
answer that is wrong and does the same as a known mistake in every case is told that mistake's sentence.
"""

import html
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from genimg_ref.exercises import probe
from genimg_ref.exercises.compare import ORDER, Outcome, Response, Tolerance, compare
from genimg_ref.exercises.limits import within

Answer = Callable[..., Any]
A = TypeVar("A", bound=Answer)

PUBLIC_SEEDS = (0, 1, 2)
SECONDS = 5.0


@dataclass(frozen=True)
class Case:
    """One request to an answer, and the words in which a student is told of it."""

    label: str
    request: dict[str, Any]


def call(
    label: str,
    *,
    gradients: Iterable[str] = (),
    net_gradients: Iterable[str] = (),
    buffers: Iterable[str] = (),
    stale: Iterable[str] = (),
    repeat: int = 1,
    **arguments: Any,
) -> Case:
    """A case that calls a function with ``arguments``, by position and in this order.

    Compared are what it returns, whether it leaves its tensors as they were, the parameters of every net
    among the arguments after the call, whether the net is still in the same mode, trainable and made of the
    same parameters, whether random numbers come from a generator that was given and from no other, and the
    gradients of what it returns with regard to the float tensors in ``gradients``, or the parameters of the
    nets that are named there. For the nets in ``net_gradients`` what is
    left in ``.grad`` is compared too, for those in ``buffers`` the buffers. The nets in ``stale`` start with
    gradients of an earlier step. With ``repeat`` the call is made that many times with the same nets and
    optimisers, and the last one is compared.
    """
    request = {
        "verb": "call",
        "args": arguments,
        "gradients": list(gradients),
        "net_gradients": list(net_gradients),
        "buffers": list(buffers),
        "stale": list(stale),
        "repeat": repeat,
    }
    return Case(label, request)


def module(
    label: str,
    *,
    init: dict[str, Any],
    inputs: list[Any] | None = None,
    parameters: list[np.ndarray] | None = None,
    training: bool = True,
    initial: bool = False,
    seen: list[Any] | None = None,
) -> Case:
    """A case that constructs a module with ``init``, by position, loads ``parameters`` and calls it.

    The parameters are taken in the order in which the module has them. Compared are their shapes, what the
    module returns for ``inputs``, and the gradients with regard to the inputs and the parameters; with
    ``initial`` also the values of the parameters at the start. With ``seen`` the module is first called with
    these inputs in training mode, so that what it keeps from call to call shows in evaluation mode.
    """
    request = {
        "verb": "module",
        "init": init,
        "inputs": inputs,
        "parameters": parameters,
        "training": training,
        "initial": initial,
        "seen": seen,
    }
    return Case(label, request)


def net(rng: np.random.Generator, *layers: list[Any], scale: float = 0.5) -> dict[str, Any]:
    """Plain data for an ``nn.Sequential`` with drawn weights: ``net(rng, ["Linear", 2, 8], ["Tanh"])``.

    ``["Sequential", ["Linear", 8, 8], ...]`` makes a block inside it.
    """
    with torch.random.fork_rng(devices=[]):
        built = nn.Sequential(*map(probe.layer, layers))
    state = [
        rng.normal(scale=scale, size=tuple(value.shape)).astype("float32")
        if value.is_floating_point() and "running_var" not in name
        else value.numpy()
        for name, value in built.state_dict().items()
    ]
    return {"$net": [list(layer) for layer in layers], "state": state}


def optimiser(of: str, lr: float = 0.1, kind: str = "SGD", **options: Any) -> dict[str, Any]:
    """Plain data for an optimiser of the net in the argument ``of``."""
    return {"$optimiser": [kind, {"lr": lr, **options}], "of": of}


def generator(seed: int) -> dict[str, int]:
    """Plain data for a ``torch.Generator``."""
    return {"$generator": int(seed)}


@dataclass(frozen=True)
class Misconception:
    """A wrong answer that students give, and the sentence that helps."""

    hint: str
    answer: Answer

    @property
    def name(self) -> str:
        return self.answer.__name__


@dataclass
class Exercise:
    """What is asked of an answer. See the module's docstring for how one is written.

    Attributes:
        points: the weight in grading.
        minutes: what a student may expect to need.
        reference: the right answer, or an oracle in closed form with the same parameters.
        cases: draws the cases from a random generator.
        rtol, atol: how far a number may lie from the reference.
        observe: reduces a response to what is compared, where answers may differ in the rest (for example
            drawn weights to their mean and spread); by default the whole response is compared.
    """

    points: int
    minutes: int
    reference: Answer
    cases: Callable[[np.random.Generator], Iterable[Case]]
    rtol: float = 1e-4
    atol: float = 1e-5
    observe: Callable[[Response], Response] = lambda response: response
    mistakes: list[Misconception] = field(default_factory=list)
    others: list[Answer] = field(default_factory=list)
    name: str = ""

    @property
    def tolerance(self) -> Tolerance:
        return Tolerance(self.rtol, self.atol)

    def mistake(self, hint: str) -> Callable[[A], A]:
        """Add a known mistake, with the sentence for the student who makes it."""

        def add(answer: A) -> A:
            self.mistakes.append(Misconception(hint, answer))
            return answer

        return add

    def also_right(self, answer: A) -> A:
        """Add another right answer."""
        self.others.append(answer)
        return answer


@dataclass(frozen=True)
class Verdict:
    """What a student is told."""

    exercise: str
    outcome: Outcome
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        mark = {Outcome.RIGHT: "✓", Outcome.NOT_ATTEMPTED: "·"}.get(self.outcome, "✗")
        hint = f"\n  {self.hint}" if self.hint else ""
        return f"{mark} {self.exercise}: {self.message}{hint}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """What a notebook shows: HTML where it can, plain text elsewhere."""
        return {"text/plain": str(self), "text/html": self.as_html()}

    def as_html(self) -> str:
        """The verdict as a fragment of HTML; the class names are styled by the book."""
        kind = {Outcome.RIGHT: "right", Outcome.NOT_ATTEMPTED: "open"}.get(self.outcome, "wrong")
        colour = {"right": "#2e7d5b", "open": "#8a8578", "wrong": "#b5473c"}[kind]
        mark, text = str(self).split("\n")[0].split(" ", 1)
        hint = f"<div>{_as_html(self.hint)}</div>" if self.hint else ""
        return (
            f'<div class="genimg-verdict genimg-{kind}" style="border-left: 4px solid {colour}; '
            f'padding: 0.4em 0.9em"><div><strong>{mark}</strong> {_as_html(text)}</div>{hint}</div>'
        )


def _as_html(text: str) -> str:
    """Escape, and set what stands between backticks as code."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if k % 2 else part for k, part in enumerate(parts))


def diagnose(
    exercise: Exercise, answer: Answer, seeds: Iterable[int] = PUBLIC_SEEDS, seconds: float = SECONDS
) -> Verdict:
    """Try ``answer`` on the cases of every seed; within ``seconds`` it has to be through with all of them."""
    cases = [case for seed in seeds for case in exercise.cases(np.random.default_rng(seed))]
    expected = respond(exercise, exercise.reference, cases)
    try:
        got = within(seconds, lambda: respond(exercise, answer, cases))
    except TimeoutError:
        message = f"stopped: it was still running after {seconds:g} seconds."
        return Verdict(exercise.name, Outcome.TIMED_OUT, message)
    return judge(exercise, cases, expected, got)


def respond(exercise: Exercise, answer: Answer, cases: list[Case]) -> list[Response]:
    """The observed responses of ``answer``, up to the first case in which it is not attempted."""
    responses = []
    kept: dict[Any, Any] = {}
    for case in cases:
        response = probe.run(answer, case.request, kept)
        responses.append(observed(exercise, response))
        if not_attempted(response):
            break
    return responses


def observed(exercise: Exercise, response: Response) -> Response:
    """Reduce a response by the exercise's own rule, if it is of a form that the rule can read."""
    if "raised" in response:
        return response
    try:
        return exercise.observe(response)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError):
        return response


def not_attempted(response: Response) -> bool:
    """Whether the answer is a stub still."""
    return response.get("raised", {}).get("type") == "NotImplementedError"


def judge(
    exercise: Exercise,
    cases: list[Case],
    expected: list[Response],
    got: list[Response],
    of_mistake: Callable[[Misconception], Iterable[Response]] | None = None,
) -> Verdict:
    """Compare responses and put the first and gravest fault into words.

    ``of_mistake`` gives the responses of a known mistake, for callers that have them already.
    """
    if any(map(not_attempted, got)):
        return Verdict(exercise.name, Outcome.NOT_ATTEMPTED, "not attempted yet.")
    pairs = zip(cases, expected, got, strict=True)
    findings = [(case, compare(e, g, exercise.tolerance)) for case, e, g in pairs]
    faults = [(case, finding) for case, finding in findings if finding]
    if not faults:
        return Verdict(exercise.name, Outcome.RIGHT, "right.")
    case, fault = min(faults, key=lambda pair: ORDER.index(pair[1].outcome))
    message = f"{fault.message} (Case: {case.label}.)"

    def respond_lazily(mistake: Misconception) -> Iterable[Response]:
        return (respond(exercise, mistake.answer, [case])[0] for case in cases)

    hint = _hint(exercise, got, of_mistake or respond_lazily)
    return Verdict(exercise.name, fault.outcome, message, hint)


def _hint(
    exercise: Exercise, got: list[Response], of_mistake: Callable[[Misconception], Iterable[Response]]
) -> str | None:
    """The sentence of the first known mistake that does the same in every case."""
    for mistake in exercise.mistakes:
        pairs = zip(of_mistake(mistake), got, strict=True)
        if all(compare(same, response, exercise.tolerance) is None for same, response in pairs):
            return mistake.hint
    return None
