"""An assignment says what it means, and a file with a mistake says where it is."""

import dataclasses
import datetime
from pathlib import Path

import pytest

import genimg_ref
from genimg_ref import exercises
from genimg_ref.grading import assignment
from genimg_ref.grading.assignment import Assignment, Late, Limits, load

EXAMPLE = Path(assignment.__file__).with_suffix(".toml")
BERLIN = datetime.timezone(datetime.timedelta(hours=1))
DUE = datetime.datetime(2026, 12, 1, 23, 59, tzinfo=BERLIN)
LEAST = 'title = "t"\nchapters = ["gan_math"]\nseed = 1\n'


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_is_read() -> None:
    example = load(EXAMPLE)
    assert example.chapters == ("gan_math", "dcgan")
    assert example.deadline == DUE
    assert example.late == Late(grace_minutes=15.0, per_day=0.1, at_most=0.5)


def test_the_example_shows_every_key_and_the_true_defaults() -> None:
    text = EXAMPLE.read_text()
    for kind in (Assignment, Late, Limits):
        for field in dataclasses.fields(kind):
            assert f"{field.name} = " in text or f"[{field.name}]" in text, field.name
    example = load(EXAMPLE)
    assert example.limits == Limits()
    assert example.draws == Assignment("t", ("gan_math",), 1).draws


def test_only_three_keys_are_needed(tmp_path: Path) -> None:
    assert load(written(tmp_path, LEAST)) == Assignment("t", ("gan_math",), 1)


def test_a_whole_number_will_do_for_a_number(tmp_path: Path) -> None:
    given = load(written(tmp_path, LEAST + "[late]\nper_day = 1\n[limits]\ncall_seconds = 3\n"))
    assert isinstance(given.late.per_day, float)
    assert (given.late.per_day, given.limits.call_seconds) == (1.0, 3.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seeds = 1", ["seeds is not a key", "seed"]),
        ("[limits]\nmemory = 1", ["limits.memory is not a key", "memory_mb"]),
        ("[late]\nper_days = 1", ["late.per_days is not a key", "per_day"]),
        ('draws = "3"', ["draws must be a whole number", "'3'"]),
        ("draws = true", ["draws must be a whole number", "True"]),
        ("draws = 3.0", ["draws must be a whole number", "3.0"]),
        ("draws = 0", ["draws must be 1 or more"]),
        ('exercises = "slerp"', ["exercises must be a list of texts"]),
        ("exercises = [1]", ["exercises must be a list of texts"]),
        (
            'exercises = ["jensen_shanon"]',
            ["exercises: there is no 'jensen_shanon'", "nearest: jensen_shannon"],
        ),
        ('exercises = ["slerp"]', ["exercises: there is no 'slerp'"]),
        ('exercises = ["gan_objective", "gan_objective"]', ["exercises: 'gan_objective' is there twice"]),
        ("late = 3", ["late must be a table"]),
        (
            "deadline = 2026-12-01T23:59:00",
            ["deadline needs a time zone", "2026-12-01T23:59:00+01:00", "UTC"],
        ),
        ("deadline = 2026-12-01", ["deadline must be a time such as 2026-12-01T23:59:00+01:00"]),
        ('deadline = "2026-12-01T23:59:00Z"', ["deadline must be a time such as"]),
        ("[late]\nper_day = 10", ["late.per_day", "from 0 to 1", "10"]),
        ("[late]\nat_most = nan", ["late.at_most", "from 0 to 1"]),
        ("[late]\ngrace_minutes = -1", ["late.grace_minutes"]),
        ("[limits]\ncall_seconds = inf", ["limits.call_seconds"]),
        ("[limits]\nprocesses = 0", ["limits.processes must be more than 0"]),
        ("draws = ", ["Invalid value"]),
    ],
)
def test_a_mistake_is_named_with_file_and_key(tmp_path: Path, text: str, told: list[str]) -> None:
    path = written(tmp_path, LEAST + text)
    with pytest.raises(ValueError) as error:
        load(path)
    for part in [str(path), *told]:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seed = 1\n", "", "seed is missing; it is a whole number"),
        ('chapters = ["gan_math"]\n', "", "chapters is missing"),
        ('title = "t"\n', "", "title is missing"),
        ("seed = 1", "seed = -1", "seed must be 0 or more"),
        ('["gan_math"]', "[]", "chapters names none"),
        ('["gan_math"]', '["gan_maths"]', "chapters: there is no 'gan_maths'; the nearest: gan_math"),
        ('["gan_math"]', '["engine"]', "chapters: there is no 'engine'"),
        ('["gan_math"]', '["gan_math", "gan_math"]', "chapters: 'gan_math' is there twice"),
    ],
)
def test_a_mistake_in_what_is_needed(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in LEAST
    with pytest.raises(ValueError, match=r"mine\.toml") as error:
        load(written(tmp_path, LEAST.replace(old, new)))
    assert told in str(error.value)


def test_two_chapters_with_an_exercise_of_one_name_cannot_be_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exercises, "chapter", lambda slug: {"same": None})
    with pytest.raises(ValueError, match="more than one of them has an exercise called 'same'"):
        Assignment("t", ("gan_math", "dcgan"), 1)


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes('title = "Übung"'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.toml"):
        load(path)


def test_specs_are_those_of_the_chapters_in_the_order_of_the_text() -> None:
    both = Assignment("t", ("gan_math", "dcgan"), 1).specs()
    assert list(both) == [*exercises.chapter("gan_math"), *exercises.chapter("dcgan")]
    slug, slerp = both["slerp"]
    assert slug == "dcgan"
    assert slerp.name == "slerp"


def test_specs_of_named_exercises_keep_the_order_of_the_text() -> None:
    some = Assignment("t", ("gan_math", "dcgan"), 1, exercises=("slerp", "jensen_shannon"))
    assert [(name, slug) for name, (slug, _) in some.specs().items()] == [
        ("jensen_shannon", "gan_math"),
        ("slerp", "dcgan"),
    ]


BASE = Assignment("t", ("gan_math",), 1, deadline=DUE)


@pytest.mark.parametrize(
    "changed",
    [
        {"chapters": ("dcgan",)},
        {"seed": 2},
        {"draws": 4},
        {"exercises": ("jensen_shannon",)},
        {"deadline": DUE + datetime.timedelta(minutes=1)},
        {"deadline": None},
        {"late": Late(per_day=0.1)},
        {"limits": Limits(memory_mb=1024)},
    ],
)
def test_the_digest_follows_what_decides_about_marks(changed: dict) -> None:
    assert dataclasses.replace(BASE, **changed).digest() != BASE.digest()


def test_the_digest_is_short_stable_and_ignores_the_title() -> None:
    assert len(BASE.digest()) == 16
    assert dataclasses.replace(BASE, title="another").digest() == BASE.digest()
    named = dataclasses.replace(BASE, exercises=tuple(exercises.chapter("gan_math")))
    assert named.digest() == BASE.digest()


def test_the_digest_follows_the_version_and_the_points(monkeypatch: pytest.MonkeyPatch) -> None:
    before = BASE.digest()
    monkeypatch.setattr(genimg_ref, "__version__", "999")
    other_version = BASE.digest()
    heavier = {
        n: dataclasses.replace(x, points=x.points + 1) for n, x in exercises.chapter("gan_math").items()
    }
    monkeypatch.setattr(exercises, "chapter", lambda slug: heavier)
    assert len({before, other_version, BASE.digest()}) == 3


@pytest.mark.parametrize(
    ("minutes", "share", "told"),
    [
        (-60.0, 0.0, ""),
        (0.0, 0.0, ""),
        (15.0, 0.0, ""),
        (15.1, 0.1, "1 day begun): 10 % of the marks are deducted"),
        (15.0 + 24 * 60, 0.1, "1 day begun"),
        (15.1 + 24 * 60, 0.2, "2 days begun): 20 %"),
        (15.1 + 2 * 24 * 60, 0.3, "3 days begun): 30 %"),
        (100 * 24 * 60.0, 0.5, "100 days begun): 50 %"),
    ],
)
def test_lateness(minutes: float, share: float, told: str) -> None:
    late = dataclasses.replace(BASE, late=Late(grace_minutes=15.0, per_day=0.1, at_most=0.5))
    lost, why = late.deduction(DUE + datetime.timedelta(minutes=minutes))
    assert lost == share
    assert told in why
    assert bool(why) == (minutes > 15)


def test_time_zones_are_heeded() -> None:
    late = dataclasses.replace(BASE, late=Late(per_day=0.1))
    in_utc = datetime.datetime(2026, 12, 1, 22, 59, tzinfo=datetime.timezone.utc)
    assert late.deduction(in_utc) == (0.0, "")
    assert late.deduction(in_utc + datetime.timedelta(seconds=1))[0] == 0.1


def test_lateness_that_is_free_is_stated() -> None:
    lost, why = BASE.deduction(DUE + datetime.timedelta(hours=30))
    assert lost == 0.0
    assert "2026-12-01 23:59+01:00 (2 days begun): nothing is deducted" in why


def test_what_is_not_known_is_not_deducted() -> None:
    strict = dataclasses.replace(BASE, late=Late(per_day=1.0))
    assert strict.deduction(None) == (0.0, "The time of submission is not known: nothing is deducted.")
    assert dataclasses.replace(strict, deadline=None).deduction(None) == (0.0, "")
