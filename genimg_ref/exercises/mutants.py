"""Prove the checks: every right answer accepted, every known mistake rejected with its own sentence.

    python -m genimg_ref.exercises.mutants [chapter ...]

prints a line an exercise, over 20 seeds.
"""

import sys
from collections.abc import Iterable

import numpy as np

from genimg_ref.exercises import chapter, chapters
from genimg_ref.exercises.engine import Exercise, Misconception, Outcome, Verdict, diagnose, judge, respond

SEEDS = range(100, 120)


def right_accepted(exercise: Exercise, seeds: Iterable[int]) -> list[str]:
    """What went wrong with the right answers: a line for each that is not accepted."""
    verdicts = {
        (answer.__name__, seed): diagnose(exercise, answer, [seed], seconds=60.0)
        for seed in seeds
        for answer in (exercise.reference, *exercise.others)
    }
    return [
        f"{name}, seed {seed}: {v}" for (name, seed), v in verdicts.items() if v.outcome is not Outcome.RIGHT
    ]


def wrong_rejected(exercise: Exercise, seeds: Iterable[int]) -> tuple[list[str], list[str]]:
    """The known mistakes that are accepted, and those that are rejected without their own sentence."""
    accepted, misread = [], []
    for seed in seeds:
        for mistake, verdict in _verdicts_on_mistakes(exercise, seed):
            if verdict.outcome is Outcome.RIGHT:
                accepted.append(f"{mistake.name}, seed {seed}")
            elif verdict.hint != mistake.hint:
                misread.append(f"{mistake.name}, seed {seed}: {verdict}")
    return accepted, misread


def _verdicts_on_mistakes(exercise: Exercise, seed: int) -> list[tuple[Misconception, Verdict]]:
    """As `diagnose` would judge each mistake, but every one is called only once."""
    cases = list(exercise.cases(np.random.default_rng(seed)))
    expected = respond(exercise, exercise.reference, cases)
    done = {mistake.name: respond(exercise, mistake.answer, cases) for mistake in exercise.mistakes}
    return [
        (mistake, judge(exercise, cases, expected, done[mistake.name], lambda other: done[other.name]))
        for mistake in exercise.mistakes
    ]


def main(slugs: list[str]) -> int:
    """Print the table; the exit code says whether everything holds."""
    columns = "right accepted", "wrong rejected", "hints right"
    print(f"{f'{len(SEEDS)} seeds':34}{columns[0]:>16}{columns[1]:>16}{columns[2]:>13}")
    problems = []
    for slug in slugs or chapters():
        print(slug)
        for name, exercise in chapter(slug).items():
            refused = right_accepted(exercise, SEEDS)
            accepted, misread = wrong_rejected(exercise, SEEDS)
            problems += refused + accepted + misread
            right = len(SEEDS) * (1 + len(exercise.others))
            wrong = len(SEEDS) * len(exercise.mistakes)
            rejected, hinted = wrong - len(accepted), wrong - len(accepted) - len(misread)
            cells = (f"{right - len(refused)}/{right}", f"{rejected}/{wrong}", f"{hinted}/{wrong}")
            print(f"  {name:32}{cells[0]:>16}{cells[1]:>16}{cells[2]:>13}", flush=True)
    print("\n".join(problems))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
