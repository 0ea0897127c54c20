"""`check` as a student meets it."""

import pytest

import genimg_ref
from genimg_ref import exercises


@pytest.fixture
def scale(monkeypatch):
    from sample import scale

    monkeypatch.setattr(exercises, "chapters", lambda: ["sample"])
    monkeypatch.setattr(exercises, "chapter", lambda slug: {"scale": scale, "rotate": scale})


def test_the_exercise_is_found_by_the_name_and_the_verdict_printed(scale, capsys):
    def scale(x, factor):
        return factor * x

    genimg_ref.check(scale)
    assert capsys.readouterr().out == "✓ scale: right.\n"


def test_an_unknown_name_tells_the_known_ones_nearest_first(scale):
    def rotat(x):
        return x

    with pytest.raises(ValueError, match=r"no exercise is called 'rotat'; .* nearest first: rotate, scale"):
        genimg_ref.check(rotat)


def test_something_without_a_name_is_refused(scale):
    with pytest.raises(Exception, match=r"answer|function or class that you wrote; got int"):
        genimg_ref.check(3)


def test_budget(monkeypatch):
    for name, value in (("smoke", 1), ("book", 2), ("full", 3)):
        monkeypatch.setenv("GENIMG_BUDGET", name)
        assert genimg_ref.budget(smoke=1, book=2, full=3) == value
    monkeypatch.delenv("GENIMG_BUDGET")
    assert genimg_ref.budget(smoke=1, book=2, full=3) == 2
    monkeypatch.setenv("GENIMG_BUDGET", "huge")
    with pytest.raises(ValueError, match="must be one of smoke, book, full; got 'huge'"):
        genimg_ref.budget(smoke=1, book=2, full=3)
