"""The exercises of every chapter: right answers pass, known mistakes get their sentence, stubs are open."""

import ast
import base64
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import jupytext
import numpy as np
import pytest

from genimg_ref.exercises import chapter, chapters, engine, mutants, probe
from genimg_ref.exercises.engine import Outcome, diagnose

ROOT = Path(__file__).parents[2]
SEEDS = range(5)  # `make mutants` tries 20
EXERCISES = [(slug, name) for slug in chapters() for name in chapter(slug)]
each_exercise = pytest.mark.parametrize(("slug", "name"), EXERCISES)
each_chapter = pytest.mark.parametrize("slug", chapters())


@each_exercise
def test_right_answers_are_accepted(slug, name):
    exercise = chapter(slug)[name]
    assert len(exercise.others) >= 2
    assert mutants.right_accepted(exercise, SEEDS) == []


@each_exercise
def test_known_mistakes_are_rejected_with_their_own_sentence(slug, name):
    exercise = chapter(slug)[name]
    assert len(exercise.mistakes) >= 5
    assert len({mistake.hint for mistake in exercise.mistakes}) == len(exercise.mistakes)
    assert mutants.wrong_rejected(exercise, SEEDS) == ([], [])


@each_exercise
def test_hints_read_well_as_plain_text(slug, name):
    for mistake in chapter(slug)[name].mistakes:
        assert not re.search(r"\$|\\|(?<![\w`])\*[a-z]+\*(?![\w`])", mistake.hint), mistake.hint
        assert mistake.hint[-1] in ".?!", mistake.hint


@each_chapter
def test_model_answers_are_accepted(slug):
    path = ROOT / "solutions" / f"{slug}.py"
    if not path.parent.exists():
        pytest.skip("the solutions are withheld")
    solutions = types.ModuleType("solutions")
    exec(compile(path.read_text(), path, "exec"), vars(solutions))
    for name, exercise in chapter(slug).items():
        verdict = diagnose(exercise, getattr(solutions, name), SEEDS, seconds=60.0)
        assert verdict.outcome is Outcome.RIGHT, str(verdict)


@each_chapter
def test_untouched_stubs_are_not_attempted(slug):
    cells = jupytext.read(ROOT / "book" / f"{slug}.md").cells
    stubs = [cell.source for cell in cells if "exercise" in cell.metadata.get("tags", [])]
    imports = [
        node
        for cell in cells
        if cell.cell_type == "code"
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    page: dict = {}
    exec(ast.unparse(ast.Module(imports, [])), page)
    for stub in stubs:
        exec(stub, page)
    for name, exercise in chapter(slug).items():
        verdict = diagnose(exercise, page[name], SEEDS)
        assert verdict.outcome is Outcome.NOT_ATTEMPTED, str(verdict)


WORKER = """
import base64, json, sys
import numpy as np
sys.modules["genimg_ref"] = None  # importing the reference fails here
here = {"__file__": sys.argv[1]}
exec(open(sys.argv[1]).read(), here)  # probe.py, alone
answers = {}
exec(open(sys.argv[2]).read(), answers)
def read(x):
    if "$array" not in x:
        return x
    dtype, shape, data = x["$array"]
    return np.frombuffer(base64.b64decode(data), dtype).reshape(shape).copy()
def write(x):
    return {"$array": [str(x.dtype), list(x.shape), base64.b64encode(x.tobytes()).decode()]}
for line in sys.stdin:
    name, request = json.loads(line, object_hook=read)
    print(json.dumps(here["run"](answers[name], request), default=write), flush=True)
"""


def _write(value):
    assert isinstance(value, np.ndarray), f"{type(value)} is not plain data"
    return {"$array": [str(value.dtype), list(value.shape), base64.b64encode(value.tobytes()).decode()]}


def _read(value):
    if "$array" not in value:
        return value
    dtype, shape, data = value["$array"]
    return np.frombuffer(base64.b64decode(data), dtype).reshape(shape).copy()


@each_chapter
def test_answers_can_run_in_a_process_that_has_only_the_probe(slug):
    """The oracle stays here; only plain data crosses."""
    solutions = ROOT / "solutions" / f"{slug}.py"
    if not solutions.exists():
        pytest.skip("the solutions are withheld")
    cases = {name: list(exercise.cases(np.random.default_rng(7))) for name, exercise in chapter(slug).items()}
    lines = [json.dumps([name, case.request], default=_write) for name in cases for case in cases[name]]
    command = [sys.executable, "-c", WORKER, probe.__file__, str(solutions)]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True)
    responses = iter([json.loads(line, object_hook=_read) for line in done.stdout.splitlines()])
    for name, exercise in chapter(slug).items():
        expected = engine.respond(exercise, exercise.reference, cases[name])
        got = [engine.observed(exercise, next(responses)) for _ in cases[name]]
        verdict = engine.judge(exercise, cases[name], expected, got)
        assert verdict.outcome is Outcome.RIGHT, str(verdict)
