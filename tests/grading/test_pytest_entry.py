"""``pytest tests/grading --submission``: what a student or a workflow sees of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from genimg_ref.grading import sandbox

ROOT = Path(__file__).parents[2]
LEVEL = "plain" if sandbox.available("sandbox") else "sandbox"

ANSWERS = """
import torch

def optimal_discriminator(p_data, p_g):
    total = p_data + p_g
    return torch.where(total > 0, p_data / total, torch.full_like(total, 0.5))

def generator_logit_gradients(logits):
    return torch.stack([torch.sigmoid(logits), torch.sigmoid(-logits)])
"""
ASSIGNMENT = """
title = "Three exercises"
chapters = ["gan_math"]
exercises = ["optimal_discriminator", "generator_logit_gradients", "jensen_shannon"]
seed = 7
"""
BROKEN = """
from genimg_ref.grading import grade

def broken(submission, assignment, isolation):
    return grade.faulty(submission, assignment, isolation, "the worker never started.")

grade.grade = broken
"""


@pytest.fixture
def alice(tmp_path) -> Path:
    path = tmp_path / "alice.py"
    path.write_text(ANSWERS)
    return path


@pytest.fixture
def assignment(tmp_path) -> Path:
    path = tmp_path / "assignment.toml"
    path.write_text(ASSIGNMENT)
    return path


def run(*options: str | Path, plugins: Path | None = None) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    if plugins:
        environment["PYTHONPATH"] = str(plugins)
    command = [sys.executable, "-m", "pytest", "tests/grading", "-p", "no:cacheprovider", *map(str, options)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_an_exercise_is_a_test_and_fails_with_the_verdict(alice, assignment):
    done = run("--submission", alice, "--assignment", assignment, "--isolation", LEVEL, "-v")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"\[optimal_discriminator\] PASSED", done.stdout)
    assert re.search(r"\[generator_logit_gradients\] FAILED", done.stdout)
    assert re.search(r"\[jensen_shannon\] FAILED", done.stdout)
    assert "1 passed" in done.stdout and "2 failed" in done.stdout and "error" not in done.stdout
    assert "(wrong value, 0 of 2 points)" in done.stdout
    assert "(not attempted, 0 of 2 points)" in done.stdout
    assert "1 of 5 points" in done.stdout
    assert "Traceback" not in done.stdout and "pytest.fail" not in done.stdout
    assert f"isolation {LEVEL}" in done.stdout


def test_without_an_assignment_the_chapter_is_graded_with_a_secret_seed(alice):
    done = run("--submission", alice, "--isolation", "plain")
    assert "7 failed, 1 passed" in done.stdout
    assert "1 of 14 points" in done.stdout
    (seed,) = re.findall(r"submission: alice; gan_math, seed (\d+);", done.stdout)
    other = run("--submission", alice, "--isolation", "plain", "--collect-only")
    assert f"seed {seed};" not in other.stdout


def test_a_seed_can_be_repeated(alice):
    done = run("--submission", alice, "--isolation", "plain", "--submission-seed", "12", "--collect-only")
    assert "gan_math, seed 12;" in done.stdout


def test_a_fault_of_the_grader_is_an_error_and_no_failure(tmp_path, alice, assignment):
    (tmp_path / "broken.py").write_text(BROKEN)
    options = ("--submission", alice, "--assignment", assignment, "--isolation", "plain", "-p", "broken")
    done = run(*options, plugins=tmp_path)
    assert done.returncode == 1
    assert "3 errors" in done.stdout and "failed" not in done.stdout
    assert "the worker never started" in done.stdout
    assert "no of 5 points" not in done.stdout
    assert "not graded" in done.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [("print('nothing here')", "no exercise of the course"), (None, "nowhere.py")],
    ids=["nothing to grade", "no such file"],
)
def test_wrong_usage_is_told_in_a_sentence(tmp_path, content, said):
    path = tmp_path / "nowhere.py"
    if content:
        path.write_text(content)
    done = run("--submission", path, "--isolation", "plain")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_submission_the_tests_of_the_grader_are_collected():
    done = run("--collect-only", "-q", "--deselect", "tests/grading/test_redteam.py")
    assert "test_pytest_entry.py" in done.stdout
    assert "test_submission.py" not in done.stdout
