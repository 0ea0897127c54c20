"""``pytest tests/grading --submission alice.ipynb``: grade one student, an exercise a test.

Without ``--submission`` the tests of the grader itself are collected, and `test_submission.py` is not; with
it, that file alone is. Without ``--assignment`` all exercises of the chapters are graded of which the
notebook defines any, with a seed that nobody knows; ``--submission-seed`` repeats an earlier one.
"""

import secrets
from pathlib import Path

import pytest

from genimg_ref.exercises.compare import Outcome
from genimg_ref.grading import __main__ as command
from genimg_ref.grading import assignment as assignments
from genimg_ref.grading import grade, sandbox
from genimg_ref.grading.assignment import Assignment
from genimg_ref.grading.intake import collect
from genimg_ref.grading.results import Mark, Result, Submission

ENTRY = Path(__file__).with_name("test_submission.py")
WHAT = pytest.StashKey[tuple[Submission, Assignment]]()
RESULT = pytest.StashKey[Result]()


def pytest_addoption(parser):
    group = parser.getgroup("grading", "grade a submission (pytest tests/grading --submission FILE)")
    group.addoption("--submission", type=Path, metavar="FILE", help="what one student handed in")
    group.addoption("--assignment", type=Path, metavar="TOML", help="what is graded")
    group.addoption("--isolation", default="sandbox", choices=sandbox.LEVELS, help="weaker walls, by name")
    group.addoption("--submission-seed", type=int, metavar="N", help="without --assignment: not a fresh seed")


def pytest_configure(config):
    # these options are unknown when the whole of tests/ is run
    if config.getoption("submission", None) is not None:
        config.stash[WHAT] = _asked_for(config.option)


def _asked_for(options) -> tuple[Submission, Assignment]:
    if why := sandbox.available(options.isolation):
        raise pytest.UsageError(f"isolation {options.isolation!r}: {why}")
    try:
        submissions = collect(options.submission)
        if len(submissions) != 1:
            raise ValueError(f"--submission is what one student handed in; here are {len(submissions)}")
        if options.assignment is not None:
            return submissions[0], assignments.load(options.assignment)
        chapters = tuple(command.answered_chapters(submissions))
        if problems := [source.problem for source in submissions[0].sources if source.problem]:
            raise ValueError(" ".join(problems))
        if not chapters:
            raise ValueError("the submission defines no exercise of the course; name an --assignment")
        if options.submission_seed is None:  # workers of pytest-xdist get it with the other options
            options.submission_seed = secrets.randbelow(2**31)
        return submissions[0], Assignment(" and ".join(chapters), chapters, options.submission_seed)
    except (ValueError, OSError) as error:
        raise pytest.UsageError(str(error)) from None


def pytest_ignore_collect(collection_path, config):
    """Collect either the submission or the tests of the grader."""
    if collection_path.suffix == ".py" and collection_path.parent == ENTRY.parent:
        return (collection_path == ENTRY) != (WHAT in config.stash) or None
    return None


def pytest_generate_tests(metafunc):
    if "mark" in metafunc.fixturenames and metafunc.definition.path == ENTRY:
        _, assignment = metafunc.config.stash[WHAT]
        metafunc.parametrize("mark", assignment.specs(), indirect=True)


def pytest_report_header(config):
    if WHAT not in config.stash:
        return None
    submission, assignment = config.stash[WHAT]
    told = "" if config.option.assignment else f", seed {assignment.seed}"
    return f"submission: {submission.student}; {assignment.title}{told}; isolation {config.option.isolation}"


def pytest_terminal_summary(terminalreporter, config):
    result = config.stash.get(RESULT, None)
    if result is not None:
        points = "not graded" if result.earned is None else f"{result.earned:g} of {result.possible} points"
        terminalreporter.write_line(f"{points}. {result.lateness}".strip())


@pytest.fixture(scope="session")
def result(pytestconfig) -> Result:
    """All marks of the submission."""
    try:
        done = grade.grade(*pytestconfig.stash[WHAT], pytestconfig.option.isolation)
    finally:
        grade.close()
    pytestconfig.stash[RESULT] = done
    return done


@pytest.fixture
def mark(request, result) -> Mark:
    """The mark of one exercise; an error, and no failure, if the grader failed."""
    mark = next(mark for mark in result.marks if mark.exercise == request.param)
    if mark.outcome is Outcome.GRADER_FAULT:
        pytest.fail(mark.message, pytrace=False)
    return mark
