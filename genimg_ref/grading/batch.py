"""Grade many submissions: in parallel, with progress, and so that an interrupted batch can go on."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm import tqdm

from genimg_ref.grading.assignment import Assignment
from genimg_ref.grading.grade import faulty, grade
from genimg_ref.grading.results import Result, Submission
from genimg_ref.grading.sandbox import Unavailable

STORE = "results"  # the folder with a file for each student that is done


@contextlib.contextmanager
def executor(workers: int = 1, scheduler: str | None = None) -> Iterator[Executor]:
    """Processes of this machine, or of a Dask cluster whose scheduler is at a place like tcp://host:8786."""
    if scheduler:
        from distributed import Client

        with Client(scheduler) as client:
            yield client.get_executor(pure=False)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts_to_the_parent)
    try:
        yield pool
    except KeyboardInterrupt:
        print("\nstopping, after the students in hand ...", file=sys.stderr)
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run(
    submissions: Iterable[Submission],
    assignment: Assignment,
    isolation: str,
    out: Path,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    again: Iterable[str] = (),
    quiet: bool = False,
) -> list[Result]:
    """Grade what is not graded yet and give the results of all, in the order of ``submissions``.

    Each result is stored under ``out`` as soon as it is there. A stored one is taken if it comes from the
    same files, assignment and isolation, unless ``again`` names the student. Where ``again`` names an
    exercise, that exercise is graded anew for everybody, and the other marks stay.
    """
    submissions = list(submissions)
    again = set(again)
    exercises = tuple(name for name in assignment.specs() if name in again)
    done: dict[str, Result] = {}
    todo: list[tuple[Submission, Assignment]] = []
    for submission in submissions:
        stored = None if submission.student in again else _load(out, submission, assignment, isolation)
        if stored is None:
            todo.append((submission, assignment))
            continue
        done[submission.student] = stored
        if exercises:
            todo.append((submission, dataclasses.replace(assignment, exercises=exercises)))
    finished = len(submissions) - len(todo)
    with tqdm(total=len(submissions), initial=finished, desc="graded", unit="", disable=quiet) as progress:
        for submission, part, result in _graded(todo, isolation, workers, scheduler):
            if part is not assignment:
                result = _merged(done[submission.student], result)
            done[submission.student] = result
            _save(out, submission, assignment, isolation, result)
            progress.update()
    return [done[submission.student] for submission in submissions]


Work = tuple[Submission, Assignment]


def _graded(
    todo: list[Work], isolation: str, workers: int, scheduler: str | None
) -> Iterator[tuple[Submission, Assignment, Result]]:
    """Results as they come. Should the pool itself break, what it left is tried once more in a new one."""
    left = todo
    for last in (False, True):
        if not left:
            return
        broken: list[Work] = []
        with executor(min(workers, len(left)), scheduler) as pool:
            futures = {pool.submit(grade, *work, isolation): work for work in left}
            for future in concurrent.futures.as_completed(futures):
                submission, part = futures[future]
                try:
                    yield submission, part, future.result()
                except Unavailable:
                    raise
                except BrokenProcessPool as error:
                    if last:
                        yield submission, part, faulty(submission, part, isolation, f"{error}")
                    broken.append((submission, part))
                except Exception as error:
                    why = f"{type(error).__name__}: {error}"
                    yield submission, part, faulty(submission, part, isolation, why)
        left = broken


def stored(
    submissions: Iterable[Submission], assignment: Assignment, isolation: str, out: Path
) -> list[Result]:
    """The results that are there already."""
    found = (_load(out, submission, assignment, isolation, whole=False) for submission in submissions)
    return [result for result in found if result is not None]


def _merged(old: Result, new: Result) -> Result:
    """``old`` with those marks that ``new`` has."""
    newer = {mark.exercise: mark for mark in new.marks}
    marks = tuple(newer.get(mark.exercise, mark) for mark in old.marks)
    return dataclasses.replace(old, marks=marks, fingerprints=old.fingerprints | new.fingerprints)


def _key(submission: Submission, assignment: Assignment, isolation: str) -> str:
    """A hash of all that a result comes from."""
    parts = [assignment.digest(), isolation, submission.name, str(submission.submitted)]
    parts += [json.dumps(submission.identifiers, sort_keys=True)]
    parts += [f"{source.name} {source.sha256} {source.problem}" for source in submission.sources]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "backslashreplace")).hexdigest()


def _load(
    out: Path, submission: Submission, assignment: Assignment, isolation: str, *, whole: bool = True
) -> Result | None:
    """The stored result, if it is one of just this and, for a ``whole`` one, has all of its marks."""
    try:
        stored = json.loads((out / STORE / f"{submission.student}.json").read_text(encoding="utf-8"))
        result = Result.from_json(stored["result"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    same = stored["key"] == _key(submission, assignment, isolation)
    return result if same and (result.earned is not None or not whole) else None


def _save(out: Path, submission: Submission, assignment: Assignment, isolation: str, result: Result) -> None:
    """Store a result under its final name only when it is written whole."""
    (out / STORE).mkdir(parents=True, exist_ok=True)
    path = out / STORE / f"{submission.student}.json"
    key = _key(submission, assignment, isolation)
    text = json.dumps({"key": key, "result": result.to_json()}, indent=1, ensure_ascii=True)
    partial = path.with_suffix(".part")
    partial.write_text(text + "\n", encoding="utf-8")
    os.replace(partial, path)
