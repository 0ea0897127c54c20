"""Pairs of students whose answers are suspiciously alike: whom to look at, no proof of anything.

Short exercises are honestly alike in a class. So an answer is cut into runs of eight tokens, as in
winnowing (Schleimer, Wilkerson and Aiken, SIGMOD 2003), and a run weighs as much as it is rare: 1 if two
students have it, next to nothing if many do, nothing if it stands in the text of the course. The score of two
students is the cosine similarity of their weighted runs over all exercises, drawn towards 0 where there is
little to go by. Names, comments and layout do not matter, the order of lines and small changes matter little.

How good is it? Made-up classes of 60 to 200 students choose between the few right and wrong answers that
the exercises know, and each student writes these with lasting habits; some submissions are copied. In 24 such
classes, with 230,000 pairs, no honest pair reached `AT_LEAST` (the highest had 0.39). All 24 copies that were
renamed and reordered did, with 0.64 or more; so did 127 of 168 pairs with the same work, rewritten at every
seventh place where that can be done; but only 1 of 24 copies of half of the exercises.
``tests/grading/test_similar.py`` repeats this with fewer classes. Real answers vary more than these.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genimg_ref.grading.results import Result

RUN = 8
# the score is half of the likeness if two students have so much to compare: the square root of the rare runs
# of an answer, added up over the exercises
ENOUGH = 8.0
AT_LEAST = 0.4


@dataclass(frozen=True)
class Pair:
    """Two students to look at together.

    Attributes:
        first, second: the students' keys, in alphabetical order.
        score: from 0, nothing in common but what everybody writes, to 1, the same rare code throughout.
        exercises: the ones that are alike, in alphabetical order.
    """

    first: str
    second: str
    score: float
    exercises: tuple[str, ...]


def pairs(
    results: Iterable[Result], at_least: float = AT_LEAST, known: Mapping[str, Iterable[str]] | None = None
) -> list[Pair]:
    """The pairs of students with a score of ``at_least``, most alike first.

    known: fingerprints of the course's own text for each exercise, such as stub and model answer: what an
        answer shares with these says nothing.
    """
    by_student = sorted(results, key=lambda result: result.student)
    if len(by_student) < 2:
        return []
    names = sorted({name for result in by_student for name in result.fingerprints})
    shared = {
        name: _shared([r.fingerprints.get(name, "") for r in by_student], [*(known or {}).get(name, ())])
        for name in names
    }
    score = _cosine(sum(shared.values(), np.zeros((len(by_student), len(by_student)))), ENOUGH)
    alike = {name: _cosine(common, ENOUGH / len(names)) >= at_least for name, common in shared.items()}
    found = [
        Pair(
            by_student[i].student,
            by_student[j].student,
            round(float(score[i, j]), 3),
            tuple(name for name in names if alike[name][i, j]),
        )
        for i, j in np.argwhere(np.triu(score >= at_least, k=1))
    ]
    return sorted(found, key=lambda pair: (-pair.score, pair.first, pair.second))


def _runs(answer: str) -> list[str]:
    """Every run of tokens in an answer, whatever its variables are called."""
    tokens = re.sub(r"\bv\d+\b", "v", answer).split()
    return [" ".join(tokens[k : k + RUN]) for k in range(len(tokens) - RUN + 1)]


def _shared(answers: Sequence[str], known: Sequence[str]) -> Any:
    """How much that is rare two answers to one exercise have in common; the diagonal: how much each has."""
    # imported late: of all that grades and reports, this alone needs it
    from sklearn.feature_extraction.text import CountVectorizer

    count = sum(map(bool, answers))
    if count < 2 or not any(map(_runs, answers)):
        return np.zeros((len(answers), len(answers)))
    vectorizer = CountVectorizer(analyzer=_runs, binary=True)
    has = vectorizer.fit_transform(answers)
    writers = np.asarray(has.sum(axis=0)).ravel()
    rarity = np.minimum(1.0, np.log((1 + count) / writers) / np.log((1 + count) / 2))
    if known:
        rarity[vectorizer.transform(known).indices] = 0.0
    weighted = has.multiply(rarity).tocsr()
    shared = (weighted @ weighted.T).toarray()
    length = np.sqrt(np.diag(shared))
    # the square root, so that one long exercise does not decide alone
    return shared / np.sqrt(np.maximum(np.outer(length, length), 1.0))


def _cosine(shared: Any, enough: float) -> Any:
    """Cosine similarity from inner products; at most half of it where there are no more than ``enough``."""
    length = np.sqrt(np.diag(shared))
    return shared / (np.outer(length, length) + enough)
