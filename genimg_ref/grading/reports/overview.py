"""What an instructor wants to know of a class, counted."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from genimg_ref.exercises.compare import Outcome
from genimg_ref.grading.assignment import Assignment
from genimg_ref.grading.reports.kinds import KINDS, WRONG, Kind, kind_of
from genimg_ref.grading.results import Mark, Result

BARS = 20  # at most, in the distribution of totals


@dataclass(frozen=True)
class Row:
    """One exercise: its number on the page, its mean, and how often each kind and each outcome came."""

    number: int
    chapter: str
    exercise: str
    points: int
    mean: float | None
    kinds: list[tuple[Kind, int]]
    outcomes: list[tuple[Outcome, int]]

    @property
    def told(self) -> str:
        """The kinds in words."""
        return ", ".join(f"{count} {kind.word}" for kind, count in self.kinds)


@dataclass(frozen=True)
class Known:
    """A known mistake, and the students who made it."""

    exercise: str
    mistake: str
    hint: str
    students: list[str]


@dataclass(frozen=True)
class Bar:
    """How many students have a total from ``low`` up to, but not including, the next bar's."""

    low: int
    high: int
    count: int

    @property
    def label(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}–{self.high}"


@dataclass(frozen=True)
class Overview:
    """A class. Means and bars are over those who handed in and have a total."""

    students: int
    absent: list[str]
    possible: int
    mean: float | None
    median: float | None
    bars: list[Bar]
    rows: list[Row]
    known: list[Known]
    wrong: int
    unread: list[Result]
    faults: list[tuple[Result, Mark]]
    weak: dict[str, list[str]]
    isolations: list[str]
    versions: list[str]
    digests: list[str]
    seeds: list[int]


def overview(results: list[Result], assignment: Assignment) -> Overview:
    handed_in = [result for result in results if result.sources]
    totals = [result.earned for result in handed_in if result.earned is not None]
    possible = sum(exercise.points for _, exercise in assignment.specs().values())
    marks = [mark for result in handed_in for mark in result.marks]
    weak = defaultdict(list)
    for result in results:
        if result.isolation != "sandbox":
            weak[result.isolation].append(result.student)
    return Overview(
        students=len(results),
        absent=[result.student for result in results if not result.sources],
        possible=possible,
        mean=statistics.fmean(totals) if totals else None,
        median=statistics.median(totals) if totals else None,
        bars=_bars(totals, possible),
        rows=_rows(handed_in, assignment),
        known=_known(handed_in),
        wrong=sum(kind_of(mark.outcome) is WRONG for mark in marks),
        unread=[result for result in results if any(source.problem for source in result.sources)],
        faults=[(result, mark) for result in results for mark in result.marks if mark.earned is None],
        weak=dict(sorted(weak.items())),
        isolations=sorted({result.isolation for result in results}),
        versions=sorted({result.version for result in results}),
        digests=sorted({result.assignment for result in results}),
        seeds=sorted({result.seed for result in results}),
    )


def _bars(totals: Iterable[float], possible: int) -> list[Bar]:
    """Bars as wide as whole points are, all alike but the last."""
    width = possible // BARS + 1
    counts = Counter(min(int(total), possible) // width for total in totals)
    lows = range(0, possible + 1, width)
    return [Bar(low, min(low + width - 1, possible), counts[low // width]) for low in lows]


def _rows(results: list[Result], assignment: Assignment) -> list[Row]:
    marks = defaultdict(list)
    for result in results:
        for mark in result.marks:
            marks[mark.exercise].append(mark)
    return [
        _row(k, chapter, name, exercise.points, marks[name])
        for k, (name, (chapter, exercise)) in enumerate(assignment.specs().items(), start=1)
    ]


def _row(number: int, chapter: str, exercise: str, points: int, marks: list[Mark]) -> Row:
    earned = [mark.earned for mark in marks if mark.earned is not None]
    outcomes = Counter(mark.outcome for mark in marks)
    kinds = Counter(kind_of(mark.outcome) for mark in marks)
    return Row(
        number=number,
        chapter=chapter,
        exercise=exercise,
        points=points,
        mean=statistics.fmean(earned) if earned else None,
        kinds=[(kind, kinds[kind]) for kind in KINDS if kinds[kind]],
        outcomes=sorted(outcomes.items(), key=lambda item: (-item[1], item[0].value)),
    )


def _known(results: list[Result]) -> list[Known]:
    """The known mistakes, most frequent first."""
    students = defaultdict(list)
    for result in results:
        for mark in result.marks:
            if mark.mistake:
                students[mark.exercise, mark.mistake, mark.hint or ""].append(result.student)
    known = [Known(*key, made_by) for key, made_by in students.items()]
    return sorted(known, key=lambda one: (-len(one.students), one.exercise, one.mistake))
