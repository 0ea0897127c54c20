"""What is graded, with which cases, until when and within which limits: read from a small TOML file.

``assignment.toml`` beside this file is an example with every key explained.
"""

import dataclasses
import datetime
import difflib
import hashlib
import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import genimg_ref
from genimg_ref import exercises
from genimg_ref.exercises.engine import Exercise

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DAY = datetime.timedelta(days=1)
IN_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    list: "a list of texts",
    dict: "a table",
    datetime.datetime: "a time such as 2026-12-01T23:59:00+01:00",
}


@dataclass(frozen=True)
class Limits:
    """What the answers of one student may use.

    Attributes:
        call_seconds: wall time of one call of an answer.
        submission_seconds: wall time of all calls together.
        cpu_seconds: processor time of one worker.
        memory_mb: memory.
        processes: processes and threads together.
        file_mb: size of a file that is written.
        output_kb: what is printed.
    """

    call_seconds: float = 10.0
    submission_seconds: float = 120.0
    cpu_seconds: int = 60
    memory_mb: int = 2048
    processes: int = 64
    file_mb: int = 32
    output_kb: int = 1024

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < math.inf:
                raise ValueError(f"limits.{name} must be more than 0; got {value}")


@dataclass(frozen=True)
class Late:
    """What lateness costs: ``per_day`` of the marks for each day begun, ``at_most`` in all.

    The days are counted from the deadline plus ``grace_minutes``.
    """

    grace_minutes: float = 0.0
    per_day: float = 0.0
    at_most: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.grace_minutes <= 60 * 24 * 366:
            raise ValueError(f"late.grace_minutes must be from 0 to a year; got {self.grace_minutes}")
        for name in ("per_day", "at_most"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"late.{name} is a share of the marks, from 0 to 1; got {getattr(self, name)}"
                )


@dataclass(frozen=True)
class Assignment:
    """What is asked of all students alike.

    Attributes:
        title: for the reports.
        chapters: slugs, in the order of the reports.
        seed: from which the cases are drawn; keep it to yourself.
        draws: how many times the cases of each exercise are drawn.
        exercises: their names; none means all of the chapters.
        deadline: with its time zone; None if there is none.
    """

    title: str
    chapters: tuple[str, ...]
    seed: int
    draws: int = 3
    exercises: tuple[str, ...] = ()
    deadline: datetime.datetime | None = None
    late: Late = Late()
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if not self.chapters:
            raise ValueError(f"chapters names none; there are {', '.join(exercises.chapters())}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more; got {self.seed}")
        if self.draws < 1:
            raise ValueError(f"draws must be 1 or more; got {self.draws}")
        if self.deadline is not None and self.deadline.tzinfo is None:
            zoned = f"{self.deadline.isoformat()}+01:00"
            raise ValueError(f"deadline needs a time zone; write it like {zoned} (or with Z for UTC)")
        _all_known("chapters", self.chapters, exercises.chapters())
        available = [name for slug in self.chapters for name in exercises.chapter(slug)]
        if twice := _repeated(available):
            raise ValueError(f"chapters: more than one of them has an exercise called {twice!r}")
        _all_known("exercises", self.exercises, available)

    def specs(self) -> dict[str, tuple[str, Exercise]]:
        """For each exercise's name its chapter and what it asks, in the order of the text."""
        return {
            name: (slug, exercise)
            for slug in self.chapters
            for name, exercise in exercises.chapter(slug).items()
            if not self.exercises or name in self.exercises
        }

    def digest(self) -> str:
        """A hash of all that decides about marks, this package's version included."""
        decisive = {
            "exercises": [(slug, name, spec.points) for name, (slug, spec) in self.specs().items()],
            "seed": self.seed,
            "draws": self.draws,
            "deadline": self.deadline and self.deadline.isoformat(),
            "late": dataclasses.asdict(self.late),
            "limits": dataclasses.asdict(self.limits),
            "version": genimg_ref.__version__,
        }
        canonical = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def deduction(self, submitted: datetime.datetime | None) -> tuple[float, str]:
        """The share of the marks that is lost for lateness, and the sentence that says why."""
        if self.deadline is None:
            return 0.0, ""
        if submitted is None:
            return 0.0, "The time of submission is not known: nothing is deducted."
        late = submitted - self.deadline - datetime.timedelta(minutes=self.late.grace_minutes)
        if late <= datetime.timedelta(0):
            return 0.0, ""
        days = math.ceil(late / DAY)
        share = round(min(days * self.late.per_day, self.late.at_most), 6)
        begun = "1 day begun" if days == 1 else f"{days} days begun"
        lost = f"{100 * share:g} % of the marks are" if share else "nothing is"
        due = self.deadline.isoformat(sep=" ", timespec="minutes")
        return share, f"Handed in after the deadline, {due} ({begun}): {lost} deducted."


def load(path: str | Path) -> Assignment:
    """Read an assignment; a ValueError names the file, the key and what was expected of it."""
    try:
        return _assignment(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except ValueError as error:  # what is not TOML, or not UTF-8, comes here too
        raise ValueError(f"{path}: {error}") from error


def _assignment(table: dict[str, Any]) -> Assignment:
    kinds = {
        "title": str,
        "chapters": list,
        "seed": int,
        "draws": int,
        "exercises": list,
        "deadline": datetime.datetime,
        "late": dict,
        "limits": dict,
    }
    values = _checked("", table, kinds)
    for key in ("title", "chapters", "seed"):
        if key not in values:
            raise ValueError(f"{key} is missing; it is {IN_WORDS[kinds[key]]}")
    for key, section in (("late", Late), ("limits", Limits)):
        if key in values:
            kinds_of_section = {field.name: field.type for field in dataclasses.fields(section)}
            values[key] = section(**_checked(f"{key}.", values[key], kinds_of_section))
    return Assignment(**values)


def _checked(prefix: str, table: dict[str, Any], kinds: dict[str, Any]) -> dict[str, Any]:
    """The values of ``table``, each of its kind; a list of texts becomes a tuple."""
    values = {}
    for key, value in table.items():
        if key not in kinds:
            raise ValueError(f"{prefix}{key} is not a key; {_nearest(key, kinds)}")
        kind = kinds[key]
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind or (kind is list and not all(isinstance(item, str) for item in value)):
            raise ValueError(f"{prefix}{key} must be {IN_WORDS[kind]}; got {value!r}")
        values[key] = tuple(value) if kind is list else value
    return values


def _all_known(key: str, names: Iterable[str], known: list[str]) -> None:
    """Raise unless every name is known and none comes twice."""
    for name in names:
        if name not in known:
            raise ValueError(f"{key}: there is no {name!r}; {_nearest(name, known)}")
    if twice := _repeated(names):
        raise ValueError(f"{key}: {twice!r} is there twice")


def _repeated(names: Iterable[str]) -> str:
    """A name that comes more than once, if any does."""
    names = list(names)
    return next((name for name in names if names.count(name) > 1), "")


def _nearest(name: str, known: Iterable[str]) -> str:
    return "the nearest: " + ", ".join(difflib.get_close_matches(name, list(known), n=3, cutoff=0.0))
