"""One student's submission, an exercise a test; only collected with ``--submission`` (see conftest.py)."""

import pytest

from genimg_ref.exercises.compare import Outcome


def test_exercise(mark, record_property):
    record_property("earned", mark.earned)
    record_property("points", mark.points)
    if mark.outcome is not Outcome.RIGHT:
        told = [mark.message, mark.hint, f"({mark.outcome.value}, 0 of {mark.points} points)"]
        pytest.fail("\n".join(line for line in told if line), pytrace=False)
