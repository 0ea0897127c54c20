"""The marks as CSV: ``grades.csv`` for Moodle and everything else, ``canvas.csv`` for Canvas.

Moodle asks on import which column names the student and which one holds the marks: ``email`` or ``sis_id``
(its "ID number"), and ``total`` or any exercise. See https://docs.moodle.org/en/Grade_import. Canvas finds
the columns by their names, a student by ``ID``, else ``SIS User ID``, else ``SIS Login ID``, else the name,
and an assignment by its title; a row whose name holds "Points Possible" tells what it is worth
(https://github.com/instructure/canvas-lms, lib/gradebook_importer.rb).

A mark that waits for the grader to be mended is an empty cell, never a zero.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable

from genimg_ref.exercises.compare import Outcome
from genimg_ref.grading.assignment import Assignment
from genimg_ref.grading.reports.text import cell, number
from genimg_ref.grading.results import Result

IDENTIFIERS = ("email", "login", "sis_id", "canvas_id", "moodle_id", "section")


def grades(results: Iterable[Result], assignment: Assignment) -> str:
    """One row a student, and the same columns whatever happened."""
    results = list(results)
    exercises = list(assignment.specs())
    others = {key for result in results for key in result.identifiers}
    identifiers = [*IDENTIFIERS, *sorted(others - set(IDENTIFIERS))]
    header = ["student", "name", *identifiers, *exercises, "total", "possible", "deduction"]
    header += ["outcomes", "submitted", "lateness", "isolation", "sha256"]
    return _csv([header, *(_row(result, identifiers, exercises) for result in results)])


def _row(result: Result, identifiers: list[str], exercises: list[str]) -> list[str]:
    earned = {mark.exercise: mark.earned for mark in result.marks}
    return [
        result.student,
        result.name,
        *(result.identifiers.get(key, "") for key in identifiers),
        *(_points(earned.get(exercise)) for exercise in exercises),
        _points(result.earned),
        str(result.possible),
        number(result.deduction),
        summary(result),
        result.submitted.isoformat() if result.submitted else "",
        result.lateness,
        result.isolation,
        " ".join(source.sha256 for source in result.sources),
    ]


def summary(result: Result) -> str:
    """How often each outcome came; faults of the grader first, with the exercises they befell."""
    counts = Counter(mark.outcome for mark in result.marks)
    faults = [mark.exercise for mark in result.marks if mark.earned is None]
    shouted = [f"GRADER FAULT: {', '.join(faults)}"] if faults else []
    told = (outcome for outcome in Outcome if counts[outcome] and outcome != Outcome.GRADER_FAULT)
    return "; ".join([*shouted, *(f"{counts[outcome]} {outcome.value}" for outcome in told)])


def canvas(results: Iterable[Result], assignment: Assignment) -> str:
    """One column for the assignment, with the total after the deduction."""
    possible = sum(exercise.points for _, exercise in assignment.specs().values())
    header = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", assignment.title]
    rows = [
        [
            cell(result.name).replace("Points Possible", "Points-Possible"),  # no student is that row
            *(result.identifiers.get(key, "") for key in ("canvas_id", "sis_id", "login", "section")),
            _points(result.earned),
        ]
        for result in results
    ]
    return _csv([header, ["Points Possible", "", "", "", "", str(possible)], *rows])


def _points(earned: float | None) -> str:
    return "" if earned is None else number(earned)


def _csv(rows: Iterable[list[str]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerows([cell(text) for text in row] for row in rows)
    return file.getvalue()
