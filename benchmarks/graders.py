"""The graders that are compared: for each what it needs, and the command that grades a batch."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import nbformat
import submissions
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from submissions import ROOT, Handed

from genimg_ref.exercises import chapter

SLUG = "gan_math"
SEED, DRAWS = 20261, 3
# less time than usual, or those of the class who hang would take most of the benchmark
ASSIGNMENT = f"""\
title = "Benchmark"
chapters = ["{SLUG}"]
seed = {SEED}
draws = {DRAWS}

[limits]
call_seconds = 2.0
submission_seconds = 15.0
"""
POINTS = {name: exercise.points for name, exercise in chapter(SLUG).items()}
VARIANTS = {"whole": "as handed in", "stripped": "imports and answers only"}
ENVIRONMENTS = ROOT / ".venv-bench"


class Grader(Protocol):
    """Something with a command that grades a batch."""

    def prepare(self, students: list[Handed], variant: str) -> list[Any]:
        """Lay out what the students hand in; return the command that grades it."""

    def points(self, printed: str) -> dict[str, float | None]:
        """Student -> points, after the command has run and has ``printed`` something."""


class Ours:
    """This course's grader."""

    def __init__(self, work: Path, workers: int) -> None:
        self.work, self.workers = work / f"ours{workers}", workers
        self.work.mkdir()
        (self.work / "assignment.toml").write_text(ASSIGNMENT)

    def prepare(self, students: list[Handed], variant: str) -> list[Any]:
        for folder in ("in", "out"):
            shutil.rmtree(self.work / folder, ignore_errors=True)
        submissions.write(SLUG, students, self.work / "in", variant == "stripped")
        command = [sys.executable, "-m", "genimg_ref.grading", self.work / "in", "--out", self.work / "out"]
        return [*command, "--assignment", self.work / "assignment.toml", "--workers", self.workers]

    def rows(self) -> dict[str, dict[str, Any]]:
        """Student -> everything that is reported of them."""
        data = json.loads((self.work / "out" / "results.json").read_text("utf-8"))
        return {row["student"]: row for row in (data["results"] if isinstance(data, dict) else data)}

    def points(self, printed: str) -> dict[str, float | None]:
        return {student: row["earned"] for student, row in self.rows().items()}


class Nbgrader:
    """nbgrader: an assignment with a locked test cell behind each answer, made by ``generate_assignment``."""

    def __init__(self, work: Path) -> None:
        self.course = work / "course"
        self.program = [*activated("nbgrader"), "nbgrader"]
        for variant in VARIANTS:
            model = Handed("instructor", "model", submissions.model_answers(SLUG))
            source = with_tests(submissions.notebook(SLUG, model, variant == "stripped"))
            (self.course / "source" / variant).mkdir(parents=True)
            nbformat.write(source, self.course / "source" / variant / f"{SLUG}.ipynb")
            run([*self.program, "generate_assignment", variant], self.course)

    def prepare(self, students: list[Handed], variant: str) -> list[Any]:
        shutil.rmtree(self.course / "submitted", ignore_errors=True)
        self.handed_in = {(variant, student.student) for student in students}
        for student in students:
            made = nbformat.read(self.course / "release" / variant / f"{SLUG}.ipynb", 4)
            submissions.fill(made, student)
            folder = self.course / "submitted" / student.student / variant
            folder.mkdir(parents=True)
            nbformat.write(made, folder / f"{SLUG}.ipynb")
        return [*self.program, "autograde", variant, "--force", f"--CourseDirectory.root={self.course}"]

    def points(self, printed: str) -> dict[str, float | None]:
        run([*self.program, "export", "--to", "grades.csv"], self.course)
        with open(self.course / "grades.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        mine = [row for row in rows if (row["assignment"], row["student_id"]) in self.handed_in]
        return {row["student_id"]: float(row["score"]) for row in mine}


def with_tests(source: NotebookNode) -> NotebookNode:
    """Mark the cells of the exercises as answers, and put a test cell behind each."""
    stubs = {cell.id: name for name, cell in submissions.stub_cells(source)}
    cells = []
    for cell in source.cells:
        cells.append(cell)
        if name := stubs.get(cell.id):
            common = {"schema_version": 3, "locked": False, "task": False}
            cell.metadata.nbgrader = common | {"grade": False, "solution": True, "grade_id": name}
            test = new_code_cell(
                f"import instructor\ninstructor.test({name}, {name!r})", id=f"test-{len(cells)}"
            )
            graded = {"grade": True, "solution": False, "locked": True, "points": POINTS[name]}
            test.metadata.nbgrader = common | graded | {"grade_id": f"test_{name}"}
            cells.append(test)
    source.cells = cells
    return source


class Otter:
    """otter without Docker: ``otter.api.grade_submission``, tests in a zip made by ``otter generate``."""

    def __init__(self, work: Path) -> None:
        self.work = work / "otter"
        self.activated = activated("otter")
        (self.work / "tests").mkdir(parents=True)
        for name, points in POINTS.items():
            (self.work / "tests" / f"{name}.py").write_text(
                "from otter.test_files import test_case\n\nimport instructor\n\n"
                f"OK_FORMAT = False\nname = {name!r}\npoints = {points}\n\n\n"
                f"@test_case()\ndef test({name}):\n    instructor.test({name}, {name!r})\n"
            )
        run([*self.activated, "otter", "generate", "-t", "tests"], self.work)

    def prepare(self, students: list[Handed], variant: str) -> list[Any]:
        shutil.rmtree(self.work / "in", ignore_errors=True)
        submissions.write(SLUG, students, self.work / "in", variant == "stripped")
        script = Path(__file__).with_name("run_otter.py")
        return [
            *self.activated,
            "python",
            script,
            self.work / "autograder.zip",
            *sorted((self.work / "in").iterdir()),
        ]

    def points(self, printed: str) -> dict[str, float | None]:
        return {Path(path).stem: points for path, points in json.loads(printed.splitlines()[-1]).items()}


def activated(tool: str) -> list[str]:
    """The start of a command that runs in the environment of ``tool``, which is made if it is not there."""
    folder = ENVIRONMENTS / tool
    if not (folder / "ready").exists():
        print(f"Making {folder}, once ...", file=sys.stderr)
        pins = Path(__file__).with_name(f"requirements-{tool}.txt")
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", pins], check=True)
        (folder / "ready").touch()
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    modules = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])
    return ["env", f"PATH={path}", f"PYTHONPATH={modules}"]


def run(command: list[Any], folder: Path = ROOT) -> str:
    """Run a command that has to succeed; return what it prints."""
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def timed(grader: Grader, students: list[Handed], variant: str) -> tuple[float, dict[str, float | None]]:
    """Seconds from the start of the command to its end, and everybody's points."""
    command = grader.prepare(students, variant)
    start = time.perf_counter()
    printed = run(command)
    return time.perf_counter() - start, grader.points(printed)
