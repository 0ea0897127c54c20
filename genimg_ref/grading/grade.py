"""Grade one submission: have its answers run behind the walls, and judge here what comes back."""

import atexit
import contextlib
import functools
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch

import genimg_ref
from genimg_ref.exercises import engine, probe
from genimg_ref.exercises.compare import Outcome, Response
from genimg_ref.exercises.engine import PUBLIC_SEEDS, Exercise, Misconception
from genimg_ref.grading import warm
from genimg_ref.grading.assignment import Assignment
from genimg_ref.grading.inside import wire
from genimg_ref.grading.results import Mark, Result, Submission

OPEN_SECONDS = 20.0  # to read notebooks of the largest size that is taken
MEANT = ("ValueError", "TypeError")  # errors that an exercise may ask for
MAX_MESSAGE = 600
MAX_HEADER = 1 << 18
NOT_YOURS = "not graded, through no fault of yours:"
_turn = threading.Lock()  # a warm parent has one fork at a time


def grade(submission: Submission, assignment: Assignment, isolation: str = "sandbox") -> Result:
    """The marks of one submission. The same submission and assignment always give the same result.

    Where the grader's own machinery fails twice there is no mark, which is not the same as none earned.
    """
    with _turn:
        marks, fingerprints = _marks(submission, assignment, isolation)
    return _result(submission, assignment, isolation, marks, fingerprints)


def faulty(submission: Submission, assignment: Assignment, isolation: str, why: str) -> Result:
    """A result without marks, for a submission that the grader failed to grade."""
    marks, fingerprints = _all_the_same(assignment, Outcome.GRADER_FAULT, f"{NOT_YOURS} {why}")
    return _result(submission, assignment, isolation, marks, fingerprints)


def _result(
    submission: Submission,
    assignment: Assignment,
    isolation: str,
    marks: list[Mark],
    fingerprints: dict[str, str],
) -> Result:
    deduction, lateness = assignment.deduction(submission.submitted) if submission.sources else (0.0, "")
    return Result(
        student=submission.student,
        name=submission.name,
        sources=submission.sources,
        submitted=submission.submitted,
        identifiers=submission.identifiers,
        marks=tuple(marks),
        deduction=float(deduction),
        lateness=lateness,
        isolation=isolation,
        version=genimg_ref.__version__,
        assignment=assignment.digest(),
        seed=assignment.seed,
        fingerprints=fingerprints,
    )


# --- What is asked ------------------------------------------------------------------------------------


class Paper:
    """The cases of one exercise: what is asked, what is expected, and what its known mistakes give."""

    def __init__(
        self, exercise: Exercise, seeds: Iterable[Any], order: np.random.Generator | None = None
    ) -> None:
        self.exercise = exercise
        self.cases = [case for seed in seeds for case in exercise.cases(np.random.default_rng(seed))]
        if order is not None:  # so that an answer cannot go by the number of times that it was called
            self.cases = [self.cases[k] for k in order.permutation(len(self.cases))]
        self.requests = [warm.request("call", case.request) for case in self.cases]
        raw = [probe.run(exercise.reference, case.request) for case in self.cases]
        for response in raw:  # for want of memory, or of something on this machine: no answer's fault
            if response.get("raised", {}).get("type") not in (None, *MEANT):
                raise warm.Fault(f"the reference raised {response['raised']}")
        self.expected = [engine.observed(exercise, response) for response in raw]
        # an answer may be wrong in size, but not so wrong that judging it would take the grader's memory
        self.most = [(MAX_HEADER, 4 * len(wire.pack(response)) + MAX_HEADER) for response in raw]
        self.of_mistake = functools.cache(self._of_mistake)

    def _of_mistake(self, name: str) -> list[Response]:
        mistake = next(m for m in self.exercise.mistakes if m.name == name)
        return engine.respond(self.exercise, mistake.answer, self.cases)

    def verdict(self, got: list[Response]) -> engine.Verdict:
        """What responses from outside are worth; those of no proper form are worth nothing."""
        observed = [engine.observed(self.exercise, response) for response in got]
        return engine.judge(self.exercise, self.cases, self.expected, observed, self._lazily)

    def _lazily(self, mistake: Misconception) -> list[Response]:
        return self.of_mistake(mistake.name)


@functools.lru_cache(maxsize=4)
def _papers(assignment: Assignment) -> dict[str, tuple[Paper, Paper]]:
    """For each exercise the cases of this assignment, and those that every student has."""
    torch.set_num_threads(1)
    os.environ.setdefault("USER", "grader")  # torch asks for it, and a container's user may have no name
    papers = {}
    for name, (_, exercise) in assignment.specs().items():
        of_name = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        seeds = [[assignment.seed, of_name, draw] for draw in range(assignment.draws)]
        order = np.random.default_rng([assignment.seed, of_name, assignment.draws])
        papers[name] = (Paper(exercise, seeds, order), Paper(exercise, PUBLIC_SEEDS))
    return papers


# --- Who is asked -------------------------------------------------------------------------------------

_parents: dict[str, warm.Warm] = {}


def _warm(isolation: str) -> warm.Warm:
    """The warm parent of this process, at the level that is asked for."""
    if isolation not in _parents:
        _parents[isolation] = warm.Warm(isolation)
    return _parents[isolation]


@atexit.register
def close() -> None:
    """End the warm parents of this process, if there are any."""
    while _parents:
        _parents.popitem()[1].close()


class Attendance:
    """One student's workers: where one was stopped the next exercise gets a fresh one."""

    def __init__(self, submission: Submission, assignment: Assignment, isolation: str) -> None:
        self.isolation = isolation
        self.limits = assignment.limits
        notebooks = [[s.name, list(s.cells)] for s in submission.sources if not s.problem]
        self.opening = warm.request("open", {"notebooks": notebooks, "exercises": list(assignment.specs())})
        self.left = self.limits.submission_seconds
        self.exits = ExitStack()
        self.worker: warm.Worker | None = None

    def __enter__(self) -> "Attendance":
        return self

    def __exit__(self, *_: object) -> None:
        self.exits.close()

    def start(self) -> Any:
        """A fresh worker that has read the notebooks, and what it found in them."""
        self.exits.close()
        self.worker = self.exits.enter_context(_warm(self.isolation).worker(self.limits))
        return self.worker.ask(self.opening, OPEN_SECONDS)

    def dismiss(self) -> None:
        """End the worker; the next exercise gets a fresh one."""
        self.exits.close()
        self.worker = None

    def ask(self, packed: bytes, most: tuple[int, int] = warm.MOST) -> Any:
        """Ask the worker, within the time that this student has left."""
        if self.left <= 0:
            told = f"stopped: the {self.limits.submission_seconds:g} seconds for all answers were used up."
            raise warm.Stopped(Outcome.TIMED_OUT, told)
        if self.worker is None or self.worker.ended is not None:
            self.start()
        assert self.worker is not None
        allowed = min(self.left, self.limits.call_seconds)
        begun = time.monotonic()  # what the grader needs to start or end a worker is not the student's time
        try:
            return self.worker.ask(packed, allowed, most)
        finally:
            self.left -= min(allowed, time.monotonic() - begun)

    @contextlib.contextmanager
    def in_our_time(self) -> Iterator[None]:
        """What is asked in this context takes nothing of the time for the other answers."""
        left = self.left
        self.left = min(left, self.limits.call_seconds)
        try:
            yield
        finally:
            self.left = left

    def responses(self, name: str, paper: Paper) -> list[Any]:
        """What an answer does in every case, up to one in which it is not attempted or meets a wall."""
        prepared = self.ask(warm.request("prepare", name), (MAX_HEADER, 0))
        if prepared != {"prepared": True}:
            raise NotPrepared(prepared)
        responses: list[Any] = []
        for packed, most in zip(paper.requests, paper.most, strict=True):
            responses.append(self.ask(packed, most))
            if _is_error(responses[-1]) and (engine.not_attempted(responses[-1]) or _cause(responses[-1])):
                break
        return responses


class NotPrepared(Exception):
    """An answer's definition fails."""

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.response = response


# --- What it is worth ---------------------------------------------------------------------------------


def _marks(
    submission: Submission, assignment: Assignment, isolation: str
) -> tuple[list[Mark], dict[str, str]]:
    """The marks of a submission and the fingerprints of its answers."""
    problems = [f"`{source.name}`: {source.problem}" for source in submission.sources if source.problem]
    if not submission.sources:
        return _all_the_same(assignment, Outcome.NOT_ATTEMPTED, "nothing was handed in.")
    if len(problems) == len(submission.sources):
        return _all_the_same(assignment, Outcome.UNREADABLE, " ".join(problems))
    try:
        return _judged(submission, assignment, isolation)
    except warm.Fault:  # once more, with a new warm parent
        close()
    try:
        return _judged(submission, assignment, isolation)
    except warm.Fault as fault:
        close()
        return _all_the_same(
            assignment, Outcome.GRADER_FAULT, f"not graded, through no fault of yours: {fault}"
        )


def _all_the_same(
    assignment: Assignment, outcome: Outcome, message: str
) -> tuple[list[Mark], dict[str, str]]:
    earned = None if outcome is Outcome.GRADER_FAULT else 0.0
    marks = [
        Mark(chapter, name, exercise.points, earned, outcome, _printable(message))
        for name, (chapter, exercise) in assignment.specs().items()
    ]
    return marks, {}


def _judged(
    submission: Submission, assignment: Assignment, isolation: str
) -> tuple[list[Mark], dict[str, str]]:
    papers = _papers(assignment)
    marks, fingerprints = [], {}
    with Attendance(submission, assignment, isolation) as attendance:
        try:
            found = attendance.start()
        except warm.Stopped as stopped:
            return _all_the_same(assignment, stopped.outcome, f"reading the notebook was {stopped.message}")
        if found.keys() != assignment.specs().keys():
            told = f"the notebook cannot be read: {found}"
            return _all_the_same(assignment, Outcome.UNREADABLE, told)
        for name, (chapter, exercise) in assignment.specs().items():
            answer = found[name]
            verdict, shown = _verdict(attendance, name, answer, papers[name])
            mistakes = (m.name for m in exercise.mistakes if m.hint == verdict.hint)
            marks.append(
                Mark(
                    chapter=chapter,
                    exercise=name,
                    points=exercise.points,
                    earned=float(exercise.points) if verdict.outcome is Outcome.RIGHT else 0.0,
                    outcome=verdict.outcome,
                    message=_printable(verdict.message),
                    hint=verdict.hint,
                    mistake=next(mistakes, None),
                    code=answer.get("code", ""),
                    shown_by_check=shown,
                )
            )
            if answer.get("fingerprint"):
                fingerprints[name] = answer["fingerprint"]
    return marks, fingerprints


def _printable(message: str) -> str:
    """A message of bounded length without characters that reorder, hide or break what is around them."""
    short = message if len(message) <= MAX_MESSAGE else message[:MAX_MESSAGE] + " …"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in short)


Papers = tuple[Paper, Paper]


def _verdict(
    attendance: Attendance, name: str, answer: dict[str, Any], papers: Papers
) -> tuple[engine.Verdict, bool | None]:
    """The verdict on one answer, and whether the student's own check shows its fault."""
    if not answer["found"]:
        if answer["error"]:
            told = f"the cell that defines it is no Python: {answer['error']}."
            return engine.Verdict(name, Outcome.RAISED, told), None
        told = f"there is no definition of `{name}` in what was handed in."
        return engine.Verdict(name, Outcome.NOT_ATTEMPTED, told), None
    ours, public = papers
    try:
        got = attendance.responses(name, ours)
        verdict = _safe_verdict(ours, got, answer["refused"])
        if verdict.outcome is Outcome.RAISED:
            error = next((response for response in got if _is_error(response)), None)
            if error and _lacking(error, answer["refused"]):
                verdict = _of_error(name, error, "it raised", answer["refused"])
    except warm.Stopped as stopped:
        return engine.Verdict(name, stopped.outcome, stopped.message), None
    except NotPrepared as wrong:
        verdict = _not_prepared(name, wrong.response, answer["refused"])
    if verdict.outcome in IN_NOTEBOOKS:
        return verdict, _shown_by_check(attendance, name, public)
    if verdict.outcome not in (Outcome.RIGHT, Outcome.NOT_ATTEMPTED):
        attendance.dismiss()  # who met a wall may have left something behind
    return verdict, None


TAMPERED = "what came back has not the form of an answer: something in the process was tampered with."
IN_NOTEBOOKS = {
    Outcome.RAISED,
    Outcome.WRONG_TYPE,
    Outcome.WRONG_SHAPE,
    Outcome.CHANGED_INPUT,
    Outcome.NOT_FINITE,
    Outcome.WRONG_VALUE,
    Outcome.WRONG_GRADIENT,
}


def _safe_verdict(paper: Paper, got: list[Any], refused: Iterable[str] = ()) -> engine.Verdict:
    """The verdict on responses that may be of any form."""
    last = got[-1]
    if _is_error(last) and _cause(last):
        return _of_error(paper.exercise.name, last, "it raised", refused)
    if all(isinstance(r, dict) and ("raised" not in r or _is_error(r)) for r in got):
        with contextlib.suppress(Exception):  # it may be of any form further in, too
            return paper.verdict(got)
    return engine.Verdict(paper.exercise.name, Outcome.FORBIDDEN, TAMPERED)


def _shown_by_check(attendance: Attendance, name: str, public: Paper) -> bool | None:
    with attendance.in_our_time():
        try:
            return _safe_verdict(public, attendance.responses(name, public)).outcome is not Outcome.RIGHT
        except warm.Stopped:
            return None
        except NotPrepared:
            return True


# how an error that the walls or a limit gave rise to is told from others: its type and message
CAUSES = [
    (Outcome.OUT_OF_MEMORY, r"^MemoryError|can't allocate memory|Cannot allocate memory"),
    (Outcome.TOO_MANY_PROCESSES, r"^BlockingIOError.*Errno 11|can't start new thread"),
    (Outcome.TOO_LARGE_FILE, r"File too large|No space left on device|Errno 24|Disk quota"),
    (
        Outcome.FORBIDDEN,
        r"^PermissionError|Read-only file system|Network is unreachable|^gaierror|name resolution"
        r"|(Import|ModuleNotFound)Error: .*genimg_ref|Operation not permitted",
    ),
]


def _cause(response: Response) -> Outcome | None:
    """The wall or the limit that gave rise to an error, if one did."""
    told = f"{response['raised']['type']}: {response['raised']['message']}"
    return next((outcome for outcome, pattern in CAUSES if re.search(pattern, told)), None)


def _lacking(response: Response, refused: Iterable[str]) -> str:
    """The name that an answer takes from the reference, if an error says that it is not there."""
    error = response["raised"]
    missing = re.match(r"name '(\w+)' is not defined", error["message"])
    return missing[1] if error["type"] == "NameError" and missing and missing[1] in refused else ""


def _of_error(name: str, response: Response, what: str, refused: Iterable[str]) -> engine.Verdict:
    """The verdict on an answer that raised an error, by what gave rise to it."""
    if lacking := _lacking(response, refused):
        reason = f"it needs `{lacking}` of `genimg_ref`, but an answer has to do without that package."
        return engine.Verdict(name, Outcome.FORBIDDEN, reason)
    error = response["raised"]
    outcome = _cause(response) or Outcome.RAISED
    line = f", in `{error['line']}`" if error["line"] else ""
    message = error["message"] if len(error["message"]) < 120 else error["message"][:120] + " …"
    told = f"{what} {error['type']}: {message.rstrip('.')}{line}."
    if outcome is Outcome.FORBIDDEN:
        told = f"it reached for what answers cannot have when graded, such as files or a network: {told}"
    return engine.Verdict(name, outcome, told)


def _not_prepared(name: str, response: Any, refused: list[str]) -> engine.Verdict:
    if not _is_error(response):
        return engine.Verdict(name, Outcome.FORBIDDEN, TAMPERED)
    return _of_error(name, response, "its definition raised", refused)


def _is_error(response: Any) -> bool:
    """Whether a response says, in the form that is agreed, that something was raised."""
    error = response.get("raised") if isinstance(response, dict) else None
    if not isinstance(error, dict) or error.keys() != {"type", "message", "line"}:
        return False
    return all(isinstance(text, str) for text in error.values())
