"""The grader on honest and on mistaken submissions; hostile ones are in test_redteam."""

import dataclasses
import inspect
import json
import textwrap

import honest
import numpy as np
import pytest
from honest import SIZE, SLERP, assignment, submission

from genimg_ref.exercises import engine, find
from genimg_ref.exercises.compare import Outcome
from genimg_ref.grading import grade as grading
from genimg_ref.grading import notebook, sandbox, warm
from genimg_ref.grading.grade import grade
from genimg_ref.grading.results import Result, Source, Submission


@pytest.fixture(autouse=True)
def _sandbox():
    honest.need_sandbox()


def only_mark(given, exercise="conv_transpose_output_size", **changes):
    """The mark of a submission on one exercise."""
    (mark,) = grade(given, assignment(exercise, **changes)).marks
    return mark


@pytest.mark.parametrize("slug", ["gan_math", "dcgan"])
def test_model_answers_get_full_marks_and_stubs_none(slug) -> None:
    wanted = dataclasses.replace(honest.DCGAN, chapters=(slug,), draws=2)
    results = {}
    for folder in ("solutions", "notebooks"):
        path = honest.ROOT / folder / f"{slug}.ipynb"
        source = notebook.read(path.name, path.read_bytes())
        results[folder] = grade(Submission("alice", "Alice", (source,)), wanted)
    assert [m.outcome for m in results["solutions"].marks] == [Outcome.RIGHT] * len(wanted.specs())
    assert results["solutions"].earned == results["solutions"].possible > 10
    assert [m.outcome for m in results["notebooks"].marks] == [Outcome.NOT_ATTEMPTED] * len(wanted.specs())
    assert results["notebooks"].earned == 0


def test_every_known_mistake_is_recognised_behind_the_walls() -> None:
    exercise = find("conv_transpose_output_size")
    for mistake in exercise.mistakes:
        text = textwrap.dedent(inspect.getsource(mistake.answer))
        text = text[text.index("def ") :].replace(f"def {mistake.name}(", "def conv_transpose_output_size(")
        if "genimg_ref" in text or "size." in text:
            continue
        mark = only_mark(submission(text))
        assert (mark.outcome, mark.hint, mark.mistake) == (Outcome.WRONG_VALUE, mistake.hint, mistake.name)
        assert mark.earned == 0 and mark.shown_by_check is True


def test_the_same_submission_gives_the_same_bytes() -> None:
    given = submission(SIZE, SLERP, "def ema_update(average, model, decay):\n    return 1 / 0")
    wanted = assignment("conv_transpose_output_size", "slerp", "ema_update")
    first, again = (json.dumps(grade(given, wanted).to_json()) for _ in range(2))
    grading.close()  # and with another warm parent
    assert first == again == json.dumps(grade(given, wanted).to_json())
    result = Result.from_json(json.loads(first))
    assert [m.outcome for m in result.marks] == [Outcome.RIGHT, Outcome.RAISED, Outcome.RIGHT]
    assert "ZeroDivisionError" in result.marks[1].message and "`return 1 / 0`" in result.marks[1].message


def test_a_result_survives_json() -> None:
    result = grade(submission(SIZE), assignment("conv_transpose_output_size"))
    again = Result.from_json(json.loads(json.dumps(result.to_json())))
    without_cells = tuple(dataclasses.replace(source, cells=()) for source in result.sources)
    assert again == dataclasses.replace(result, sources=without_cells)


def test_names_decide_and_not_places() -> None:
    cells = [
        "x = [",  # no Python at all
        "def conv_transpose_output_size(size, kernel, stride, padding):\n    raise NotImplementedError",
        SIZE.replace("(size - 1) * stride - 2 * padding + kernel", "helper(size, kernel, stride, padding)"),
        "conv_transpose_output_size(1)",
        "raise SystemExit",
        "def conv_transpose_output_size(size, kernel, stride, padding):\n    raise NotImplementedError",
        "def helper(n, k, s, p):\n    return (n - ONE) * s - 2 * p + k",
        "%%time\nONE = 1",
    ]
    assert only_mark(submission(*cells)).outcome is Outcome.RIGHT


def test_the_answer_may_be_in_any_of_several_files() -> None:
    stub = "def slerp(a, b, t):\n    raise NotImplementedError"
    sources = (
        Source("a.ipynb", "0" * 64, (SLERP,)),
        Source("b.ipynb", "1" * 64, (SIZE, stub)),
        Source("c.ipynb", "2" * 64, problem="It is no JSON."),
    )
    result = grade(Submission("alice", "Alice", sources), assignment("slerp", "conv_transpose_output_size"))
    assert [mark.outcome for mark in result.marks] == [Outcome.RIGHT, Outcome.RIGHT]


def test_nothing_handed_in_and_nothing_readable() -> None:
    nothing = grade(Submission("bob", "Bob"), assignment("slerp"))
    assert (nothing.marks[0].outcome, nothing.earned) == (Outcome.NOT_ATTEMPTED, 0)
    broken = Submission("bob", "Bob", (Source("bob.ipynb", "0" * 64, problem="It is no JSON."),))
    mark = grade(broken, assignment("slerp")).marks[0]
    assert mark.outcome is Outcome.UNREADABLE and "It is no JSON." in mark.message


def test_a_syntax_error_is_told_with_its_line() -> None:
    mark = only_mark(submission("def conv_transpose_output_size(size, kernel stride):\n    return 0"))
    assert mark.outcome is Outcome.RAISED
    assert "SyntaxError" in mark.message and "kernel stride" in mark.message


def test_using_the_reference_is_named_as_such() -> None:
    cells = [
        "from genimg_ref.nn.interpolate import slerp as theirs",
        "def slerp(a, b, t):\n    return theirs(a, b, t)",
    ]
    mark = only_mark(submission(*cells), "slerp")
    assert mark.outcome is Outcome.FORBIDDEN and "`theirs`" in mark.message


def test_check_shows_what_fails_on_public_cases_alone() -> None:
    exercise = find("conv_transpose_output_size")
    table = {}
    for seed in engine.PUBLIC_SEEDS:
        for case in exercise.cases(np.random.default_rng(seed)):
            arguments = tuple(case.request["args"].values())
            table[arguments] = exercise.reference(*arguments)
    looked_up = f"{table}.get((size, kernel, stride, padding), 0)"
    mark = only_mark(submission(SIZE.replace("(size - 1) * stride - 2 * padding + kernel", looked_up)))
    assert mark.outcome is Outcome.WRONG_VALUE and mark.earned == 0
    assert mark.shown_by_check is False


def test_a_fault_of_the_machinery_is_tried_again_and_is_never_a_zero(monkeypatch) -> None:
    real, calls = warm.Warm.__init__, []

    def fails_once(self, level):
        calls.append(level)
        if len(calls) == 1:
            raise warm.Fault("the warm parent has ended.")
        real(self, level)

    grading.close()
    monkeypatch.setattr(warm.Warm, "__init__", fails_once)
    assert only_mark(submission(SIZE)).outcome is Outcome.RIGHT

    def fails(self, level):
        raise warm.Fault("the warm parent has ended.")

    grading.close()
    monkeypatch.setattr(warm.Warm, "__init__", fails)
    result = grade(submission(SIZE), assignment("conv_transpose_output_size"))
    assert result.marks[0].outcome is Outcome.GRADER_FAULT
    assert result.marks[0].earned is None and result.earned is None


def test_a_warm_parent_that_was_killed_is_replaced() -> None:
    assert only_mark(submission(SIZE)).outcome is Outcome.RIGHT
    grading._parents["sandbox"].process.kill()
    assert only_mark(submission(SIZE)).outcome is Outcome.RIGHT


@pytest.mark.parametrize("level", ["user", "plain"])
def test_weaker_levels_work_and_are_stated(level) -> None:
    if why := sandbox.available(level):
        pytest.skip(why)
    result = grade(submission(SIZE, SLERP), assignment("conv_transpose_output_size", "slerp"), level)
    assert [mark.outcome for mark in result.marks] == [Outcome.RIGHT] * 2
    assert result.isolation == level


def test_levels_that_are_not_to_be_had_say_why(monkeypatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "bubblewrap is not installed" in sandbox.available("sandbox")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "root" in sandbox.available("user")
    assert "no isolation level" in sandbox.available("docker")
    with pytest.raises(sandbox.Unavailable):
        warm.Warm("sandbox")
