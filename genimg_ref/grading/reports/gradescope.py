"""One student's ``results.json`` as Gradescope's autograder reads it.

The format is that of https://gradescope-autograders.readthedocs.io/en/latest/specs/.
"""

from typing import Any

from genimg_ref.exercises.compare import Outcome
from genimg_ref.grading.assignment import Assignment
from genimg_ref.grading.reports.text import brief, number
from genimg_ref.grading.results import Mark, Result


def gradescope(result: Result, assignment: Assignment) -> dict[str, Any]:
    """What to write to ``/autograder/results/results.json``.

    After a fault of the grader there is no ``score`` in it, neither at the top nor with a test. A caller that
    finds none should write no file at all: then Gradescope says that the autograder failed, and no mark is
    recorded. The seed is not in it, nor a hash that depends on it.
    """
    scored = result.earned is not None
    data: dict[str, Any] = {"score": result.earned} if scored else {}
    return data | {
        "output": _output(result),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {
            "deduction": result.deduction,
            "isolation": result.isolation,
            "version": result.version,
            "files": [{"name": brief(s.name), "sha256": s.sha256} for s in result.sources],
        },
        "tests": [_test(mark, scored) for mark in result.marks],
    }


def _output(result: Result) -> str:
    lines = [f"{brief(source.name)}: {brief(source.problem)}" for source in result.sources if source.problem]
    if result.earned is None:
        lines.append("The grader failed. This is not a mark: please tell your instructor.")
    else:
        lines.append(f"{number(result.earned)} of {result.possible} points.")
    if result.lateness:
        lines.append(brief(result.lateness))
    lines.append(f"Graded with isolation level “{result.isolation}” by genimg_ref {result.version}.")
    return "\n".join(lines)


def _test(mark: Mark, scored: bool) -> dict[str, Any]:
    told = [brief(mark.message), brief(mark.hint or "")]
    status = {"status": "passed" if mark.outcome == Outcome.RIGHT else "failed"}
    score = {"score": mark.earned, "max_score": mark.points} | status if scored else {}
    return score | {
        "name": brief(mark.exercise),
        "output": "\n".join(line for line in told if line),
        "extra_data": {"outcome": mark.outcome.value},
    }
