"""Pairs of students whose answers are suspiciously alike."""

from collections.abc import Iterable
from dataclasses import dataclass

from genimg_ref.grading.results import Result


@dataclass(frozen=True)
class Pair:
    """Two students to look at together.

    Attributes:
        first, second: the students' keys, in alphabetical order.
        score: from 0, nothing in common but what everybody writes, to 1, the same rare code throughout.
        exercises: the ones that are alike, in the order of the text.
    """

    first: str
    second: str
    score: float
    exercises: tuple[str, ...]


def pairs(results: Iterable[Result], at_least: float = 0.5) -> list[Pair]:
    """The pairs of students with a score of ``at_least``, most alike first."""
    return []
