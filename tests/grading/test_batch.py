"""Batches: executors, interruption, regrading, the command line."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import honest
import pytest
from honest import SIZE, SLERP, assignment, submission

from genimg_ref.exercises.compare import Outcome
from genimg_ref.grading import __main__ as command
from genimg_ref.grading import batch
from genimg_ref.grading.results import Result

TWO = assignment("conv_transpose_output_size", "slerp")
WRONG = "def slerp(a, b, t):\n    return (1 - t) * a + t * b"


@pytest.fixture(autouse=True)
def _sandbox():
    honest.need_sandbox()


def klass():
    return [
        submission(SIZE, SLERP, student="alice"),
        submission(SIZE, WRONG, student="bob"),
        submission(student="carol"),
    ]


def earned(results):
    return {result.student: result.earned for result in results}


FULL = {"alice": 2.0, "bob": 1.0, "carol": 0.0}


@pytest.fixture(scope="module")
def possible():
    return {name: spec.points for name, (_, spec) in TWO.specs().items()}


def expected(possible):
    size, slerp = possible["conv_transpose_output_size"], possible["slerp"]
    return {"alice": float(size + slerp), "bob": float(size), "carol": 0.0}


def test_two_processes_grade_a_class(tmp_path, possible) -> None:
    results = batch.run(klass(), TWO, "sandbox", tmp_path, workers=2, quiet=True)
    assert earned(results) == expected(possible)
    assert results[1].marks[1].outcome is Outcome.WRONG_VALUE and results[1].marks[1].hint


def test_a_stored_result_is_taken_only_if_it_is_of_the_same(tmp_path, monkeypatch, possible) -> None:
    graded = []
    monkeypatch.setattr(
        batch, "_graded", lambda todo, *_: graded.extend(todo) or real(todo, "sandbox", 1, None)
    )
    real = batch_graded
    run = lambda given, wanted=TWO, **more: batch.run(given, wanted, "sandbox", tmp_path, quiet=True, **more)  # noqa: E731
    run(klass())
    assert len(graded) == 3
    graded.clear()
    assert earned(run(klass())) == expected(possible) and graded == []
    changed = [submission(SIZE, student="alice"), *klass()[1:]]
    other = Path(changed[0].sources[0].name)
    assert other.name == "alice.ipynb"
    run(klass(), again=["bob"])
    assert [work[0].student for work in graded] == ["bob"]
    graded.clear()
    run(klass(), assignment("conv_transpose_output_size", "slerp", memory_mb=600))
    assert len(graded) == 3


batch_graded = batch._graded


def test_one_exercise_can_be_graded_anew(tmp_path) -> None:
    batch.run(klass(), TWO, "sandbox", tmp_path, quiet=True)
    path = tmp_path / "results" / "alice.json"
    stored = json.loads(path.read_text())
    for mark in stored["result"]["marks"]:
        mark["message"] = "old"
    path.write_text(json.dumps(stored))
    alice = batch.run(klass(), TWO, "sandbox", tmp_path, again=["slerp"], quiet=True)[0]
    assert [mark.message for mark in alice.marks] == ["old", "right."]
    assert Result.from_json(json.loads(path.read_text())["result"]).marks == alice.marks


def test_a_result_without_marks_is_graded_again(tmp_path, monkeypatch) -> None:
    fault = batch.faulty(klass()[0], TWO, "sandbox", "for the test")
    monkeypatch.setattr(batch, "_graded", lambda todo, *_: [(s, part, fault) for s, part in todo])
    assert batch.run(klass()[:1], TWO, "sandbox", tmp_path, quiet=True)[0].earned is None
    monkeypatch.undo()
    assert batch.run(klass()[:1], TWO, "sandbox", tmp_path, quiet=True)[0].earned is not None


class Broken(batch.ProcessPoolExecutor):
    """A pool whose processes die."""

    def submit(self, function, *arguments):
        return super().submit(os._exit, 3)


def test_a_pool_that_breaks_twice_is_a_fault_and_every_student_has_a_row(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(batch, "ProcessPoolExecutor", Broken)
    results = batch.run(klass(), TWO, "sandbox", tmp_path, quiet=True)
    assert earned(results) == {"alice": None, "bob": None, "carol": None}
    assert {mark.outcome for result in results for mark in result.marks} == {Outcome.GRADER_FAULT}


def test_a_dask_cluster_of_two_workers_gives_the_same(tmp_path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        there = batch.run(
            klass(), TWO, "sandbox", tmp_path / "a", scheduler=cluster.scheduler_address, quiet=True
        )
    here = batch.run(klass(), TWO, "sandbox", tmp_path / "b", quiet=True)
    assert [result.to_json() for result in there] == [result.to_json() for result in here]


# --- The command line ---------------------------------------------------------------------------------


def notebook(*cells: str) -> str:
    made = [{"cell_type": "code", "metadata": {}, "source": cell, "outputs": []} for cell in cells]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def handed_in(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "alice.ipynb").write_text(notebook(SIZE, SLERP))
    (folder / "bob.ipynb").write_text(notebook(SIZE, WRONG))
    (folder / "carol.ipynb").write_text("<html>log in</html>")
    return folder


def test_the_command_grades_a_folder_and_writes_every_report(tmp_path, handed_in, capsys) -> None:
    out = tmp_path / "out"
    assert command.main([str(handed_in), "--out", str(out), "--workers", "1"]) == command.ALL_GRADED
    with (out / "grades.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["student"] for row in rows] == ["alice", "bob", "carol"]
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written >= {
        "index.html",
        "grades.csv",
        "canvas.csv",
        "results.json",
        "junit.xml",
        "assignment.toml",
    }
    assert written >= {"students/alice.html", "students/carol.html"}
    assert "unreadable: carol" in capsys.readouterr().out
    # the seed that was drawn is kept, so another run gives the same bytes
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert command.main([str(handed_in), "--out", str(out), "--quiet", "--regrade", "alice"]) == 0
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


BAD_CALLS = [
    (["nowhere"], command.BAD_INPUT),
    (["in", "--only", "zoe"], command.BAD_INPUT),
    (["in", "--regrade", "zoe"], command.BAD_INPUT),
    (["in", "--assignment", "missing.toml"], command.BAD_INPUT),
    (["in", "--pattern", "("], command.BAD_INPUT),
]


@pytest.mark.parametrize("arguments, code", BAD_CALLS)
def test_bad_calls_say_what_is_wrong(arguments, code, tmp_path, handed_in, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main([*arguments, "--out", "out"]) == code
    told = capsys.readouterr().err
    assert told.startswith("grading: ") and "Traceback" not in told


def test_isolation_that_is_not_to_be_had_has_its_own_code(tmp_path, handed_in, monkeypatch, capsys) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert command.main([str(handed_in), "--out", str(tmp_path / "out")]) == command.NO_ISOLATION
    assert "--isolation plain" in capsys.readouterr().err


def test_an_interrupted_batch_goes_on_without_grading_twice(tmp_path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for k in range(12):
        (folder / f"student{k:02}.ipynb").write_text(
            notebook(SIZE, "import time; SLOW = time.sleep(0.3)", SLOWLY)
        )
    call = [sys.executable, "-m", "genimg_ref.grading", str(folder), "--out", str(out), "--workers", "1"]
    process = subprocess.Popen(call, cwd=honest.ROOT, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list((out / "results").glob("*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == command.INTERRUPTED, told
    done = {path.name: path.stat().st_mtime_ns for path in (out / "results").glob("*.json")}
    assert 2 <= len(done) < 12
    assert b"Traceback" not in told
    assert subprocess.run(call, cwd=honest.ROOT, capture_output=True).returncode == 0
    after = {path.name: path.stat().st_mtime_ns for path in (out / "results").glob("*.json")}
    assert len(after) == 12
    assert {name: after[name] for name in done} == done


SLOWLY = """
def slerp(a, b, t):
    return SLOW
"""
