"""What is known of a submission before and after it is graded; every report is made from these."""

import dataclasses
import datetime
from dataclasses import dataclass, field
from typing import Any

from genimg_ref.exercises.compare import Outcome


@dataclass(frozen=True)
class Source:
    """One file that a student handed in, as text.

    Attributes:
        name: the file's name, without folders.
        sha256: of the file's bytes.
        cells: the text of its code cells, in order; a ``.py`` file is one cell.
        problem: why it could not be read, in words for student and instructor; empty if it could.
    """

    name: str
    sha256: str
    cells: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Submission:
    """All that one student handed in.

    Attributes:
        student: the key, unique in a batch; also the name of the student's files among the reports.
        name: for display.
        sources: the files; none if the roster names the student and nothing came.
        submitted: when, with its time zone; None if that is not known.
        identifiers: what learning-management systems know the student by, such as ``canvas_id`` or ``email``.
    """

    student: str
    name: str
    sources: tuple[Source, ...] = ()
    submitted: datetime.datetime | None = None
    identifiers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Mark:
    """What came of one exercise.

    Attributes:
        points: what the exercise is worth.
        earned: what the answer gets, before any deduction for lateness; None for a fault of the grader.
        message: the verdict in one or two sentences, plain text with code between backticks.
        hint: the sentence of the known mistake that the answer makes.
        mistake: that mistake's name.
        code: the student's own definition, as far as it was found.
        shown_by_check: whether the check in the student's notebook shows the fault, too; None if not asked.
    """

    chapter: str
    exercise: str
    points: int
    earned: float | None
    outcome: Outcome
    message: str
    hint: str | None = None
    mistake: str | None = None
    code: str = ""
    shown_by_check: bool | None = None


@dataclass(frozen=True)
class Result:
    """The marks of one student, and where they come from.

    Attributes:
        marks: one for each exercise of the assignment, in its order, always.
        deduction: the share of the marks that is lost for lateness, in [0, 1].
        lateness: the reason for it in words; empty if there is none.
        isolation: the level that held the answers: ``sandbox``, ``user`` or ``plain``.
        version: of this package.
        assignment: the hash of what decides about marks: exercises, seed, draws, limits, late rule.
        seed: from which the cases were drawn.
        fingerprints: for each answered exercise its code with names and layout taken out.
    """

    student: str
    name: str
    sources: tuple[Source, ...]
    submitted: datetime.datetime | None
    identifiers: dict[str, str]
    marks: tuple[Mark, ...]
    deduction: float
    lateness: str
    isolation: str
    version: str
    assignment: str
    seed: int
    fingerprints: dict[str, str] = field(default_factory=dict)

    @property
    def possible(self) -> int:
        return sum(mark.points for mark in self.marks)

    @property
    def earned(self) -> float | None:
        """The points after the deduction; None while any exercise waits for the grader to be mended."""
        earned = [mark.earned for mark in self.marks]
        if any(points is None for points in earned):
            return None
        return round(sum(points for points in earned if points is not None) * (1 - self.deduction), 2)

    def to_json(self) -> dict[str, Any]:
        """Plain data, without the text of the files."""
        data = dataclasses.asdict(self)
        data["sources"] = [{k: v for k, v in source.items() if k != "cells"} for source in data["sources"]]
        data["submitted"] = self.submitted.isoformat() if self.submitted else None
        for mark in data["marks"]:
            mark["outcome"] = mark["outcome"].value
        return data | {"earned": self.earned, "possible": self.possible}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Result":
        """The inverse of `to_json`, but for the text of the files."""
        known = {f.name: data[f.name] for f in dataclasses.fields(cls)}
        known["sources"] = tuple(Source(**source) for source in data["sources"])
        known["submitted"] = data["submitted"] and datetime.datetime.fromisoformat(data["submitted"])
        marks = (mark | {"outcome": Outcome(mark["outcome"])} for mark in data["marks"])
        known["marks"] = tuple(Mark(**mark) for mark in marks)
        return cls(**known)
