"""Reports on what was graded: files for people, for learning-management systems and for other programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from genimg_ref.grading.assignment import Assignment
from genimg_ref.grading.reports import table, web
from genimg_ref.grading.reports.gradescope import gradescope
from genimg_ref.grading.reports.junit import junit
from genimg_ref.grading.results import Result
from genimg_ref.grading.similar import Pair

__all__ = ["gradescope", "write"]


def write(results: list[Result], assignment: Assignment, out: Path, pairs: Sequence[Pair] = ()) -> None:
    """Write all reports into the folder ``out``. The same results give the same bytes.

    ``index.html``, ``grades.csv``, ``canvas.csv`` and ``results.json`` are for the instructor alone, each
    file in ``students/`` for the one student, and ``junit.xml`` for a continuous integration server.
    """
    results = sorted(results, key=lambda result: result.student)
    files = {
        "grades.csv": table.grades(results, assignment).encode(),
        "canvas.csv": table.canvas(results, assignment).encode(),
        "results.json": as_json(results, assignment, pairs),
        "junit.xml": junit(results, assignment),
    }
    files |= {path: page.encode() for path, page in web.pages(results, assignment, list(pairs)).items()}
    (out / "students").mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        (out / path).write_bytes(content)


def as_json(results: list[Result], assignment: Assignment, pairs: Sequence[Pair]) -> bytes:
    """Everything but the text of the files; `Result.from_json` reads each of the ``results``."""
    data = {
        "assignment": {
            "title": assignment.title,
            "digest": assignment.digest(),
            "seed": assignment.seed,
            "draws": assignment.draws,
            "exercises": {name: exercise.points for name, (_, exercise) in assignment.specs().items()},
        },
        "results": [result.to_json() for result in results],
        "similar": [asdict(pair) for pair in pairs],
    }
    text = json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True)
    return text.encode("utf-8", "replace") + b"\n"  # half a surrogate pair cannot be encoded
