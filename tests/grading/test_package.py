"""The zip for Gradescope, run as Gradescope runs it, and the workflow for GitHub."""

import importlib.metadata
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from genimg_ref.grading import package

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "classroom" / "grade.yml"
SCRIPTS = ("run_autograder", "setup.sh")

ASSIGNMENT = """
title = "One exercise"
chapters = ["gan_math"]
exercises = ["optimal_discriminator", "jensen_shannon"]
seed = 7
deadline = 2026-12-01T23:59:00Z
late = { per_day = 0.5 }
"""
ANSWER = """
import torch

def optimal_discriminator(p_data, p_g):
    total = p_data + p_g
    return torch.where(total > 0, p_data / total, torch.full_like(total, 0.5))
"""


@pytest.fixture
def assignment(tmp_path):
    path = tmp_path / "assignment.toml"
    path.write_text(ASSIGNMENT)
    return path


@pytest.fixture
def archive(tmp_path, assignment):
    package.gradescope(assignment, tmp_path / "autograder.zip")
    with zipfile.ZipFile(tmp_path / "autograder.zip") as opened:
        yield opened


def test_the_same_bytes_every_time(tmp_path, assignment):
    for name in ("first.zip", "second.zip"):
        package.gradescope(assignment, tmp_path / name)
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def test_what_gradescope_wants_lies_at_the_root_and_can_be_executed(archive):
    for name in SCRIPTS:
        assert archive.getinfo(name).external_attr >> 16 == stat.S_IFREG | 0o755
        assert archive.read(name).startswith(b"#!/usr/bin/env bash\n")
    assert archive.read("assignment.toml").decode() == ASSIGNMENT
    assert "genimg_ref/grading/__main__.py" in archive.namelist()
    assert any(name.startswith("genimg_ref/data/files/") for name in archive.namelist())


def test_tests_notebooks_and_model_answers_stay_at_home(archive):
    folders = {name.split("/")[0] for name in archive.namelist() if "/" in name}
    assert folders == {"genimg_ref"}
    assert not [name for name in archive.namelist() if re.search(r"\.ipynb|\.pyc|__pycache__", name)]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_are_sound(name):
    script = package.TEMPLATES / name
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", script], check=True)


def test_every_needed_package_is_pinned(archive):
    pinned = {line.split("==")[0] for line in archive.read("constraints.txt").decode().splitlines()}
    assert set(archive.read("requirements.txt").decode().split()) <= pinned


def test_grading_imports_nothing_else():
    code = (
        "import sys, genimg_ref.grading.__main__, genimg_ref.exercises as e\n"
        "[e.chapter(slug) for slug in e.chapters()]\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    owners = importlib.metadata.packages_distributions()
    imported = {owner.lower() for name in done.stdout.split() for owner in owners.get(name, [])}
    assert "torch" in imported
    # what torch and jaxtyping bring along
    brought = {"typing_extensions", "setuptools", "wadler-lindig", "wadler_lindig", "genimg-ref"}
    brought |= {"sympy", "mpmath", "networkx", "fsspec", "filelock", "triton", "packaging"}
    assert {name for name in imported - brought if "cuda" not in name} <= set(package.NEEDED)


@pytest.mark.parametrize(
    ("text", "said"), [('title = "x"\n', "assignment.toml"), (ASSIGNMENT + "sead = 1\n", "sead")]
)
def test_a_wrong_assignment_is_refused(tmp_path, capsys, text, said):
    path, out = tmp_path / "assignment.toml", tmp_path / "autograder.zip"
    path.write_text(text)
    assert package.main(["gradescope", "--assignment", str(path), "--out", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_without_the_pins_nothing_is_written(tmp_path, assignment):
    with pytest.raises(ValueError, match="exact versions"):
        package.gradescope(assignment, tmp_path / "autograder.zip", pins=tmp_path / "nowhere.txt")


# --- As Gradescope does it ----------------------------------------------------------------------------


@pytest.fixture
def container(tmp_path, assignment):
    """What Gradescope's harness lays out, below a folder of its own; the interpreter is that of the tests."""
    out, autograder = tmp_path / "autograder.zip", tmp_path / "autograder"
    assert package.main(["gradescope", "--assignment", str(assignment), "--out", str(out)]) == 0
    for folder in ("source", "submission", "results"):
        (autograder / folder).mkdir(parents=True)
    subprocess.run(["unzip", "-q", out, "-d", autograder / "source"], check=True)
    shutil.copy(autograder / "source" / "run_autograder", autograder)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "venv").symlink_to(sys.prefix)
    return autograder


def run(autograder: Path, isolation: str) -> subprocess.CompletedProcess:
    variables = {"AUTOGRADER": str(autograder), "GENIMG_HOME": str(autograder.parent / "home")}
    return subprocess.run(
        [autograder / "run_autograder"],
        env={**os.environ, **variables, "GENIMG_ISOLATION": isolation},
        cwd=autograder,
        capture_output=True,
        text=True,
    )


needs_unzip = pytest.mark.skipif(not shutil.which("unzip"), reason="unzip is not installed")


@needs_unzip
def test_a_submission_is_graded_as_gradescope_does_it(container):
    (container / "submission" / "my answers.py").write_text(ANSWER)
    facts = {"id": 1, "created_at": "2026-12-02T12:00:00.123456-08:00", "users": []}
    (container / "submission_metadata.json").write_text(json.dumps(facts))
    level = "user" if os.geteuid() == 0 else "plain"
    done = run(container, level)
    assert done.returncode == 0, done.stderr
    told = json.loads((container / "results" / "results.json").read_text())
    assert told["score"] == 0.5  # one of one point for the first exercise, half of it lost by lateness
    assert [(test["name"], test["score"], test["max_score"]) for test in told["tests"]] == [
        ("optimal_discriminator", 1.0, 1),
        ("jensen_shannon", 0.0, 2),
    ]
    assert level in told["output"]
    for folder in ("source", "results", "submission"):
        assert stat.S_IMODE((container / folder).stat().st_mode) == 0o700


@needs_unzip
def test_a_fault_of_the_grader_leaves_no_result(container):
    (container / "submission" / "answers.py").write_text(ANSWER)
    (container / "results" / "results.json").write_text('{"score": 100}')
    (container / "source" / "assignment.toml").write_text("nonsense")
    done = run(container, "plain")
    assert done.returncode == 2
    assert "assignment.toml" in done.stderr
    assert not (container / "results" / "results.json").exists()


# --- GitHub -------------------------------------------------------------------------------------------


def steps() -> list[dict]:
    return yaml.safe_load(WORKFLOW.read_text())["jobs"]["grade"]["steps"]


def test_the_workflow_takes_its_tests_from_the_private_repository_alone():
    student, course = (step["with"] for step in steps() if "checkout" in step.get("uses", ""))
    assert "repository" not in student
    assert course["repository"] == "${{ vars.COURSE_REPOSITORY }}"
    ran = [step for step in steps() if "python" in step.get("run", "")]
    assert {step["working-directory"] for step in ran} == {course["path"]} != {student["path"]}


def test_the_workflow_leaves_no_token_behind():
    assert WORKFLOW.read_text().count("secrets.") == 1
    for step in steps():
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
