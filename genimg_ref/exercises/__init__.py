"""The exercises of the course: one module a chapter, found by the name of the function or class."""

import dataclasses
import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from genimg_ref.exercises import engine
from genimg_ref.exercises.engine import Exercise, Verdict

__all__ = ["chapter", "chapters", "check", "find"]
MACHINERY = {"compare", "engine", "limits", "mutants", "probe"}


def chapters() -> list[str]:
    """The slugs of the chapters that have exercises."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in MACHINERY)


@functools.cache
def chapter(slug: str) -> dict[str, Exercise]:
    """The exercises of one chapter by name, in the order of the text."""
    contents = vars(importlib.import_module(f"{__name__}.{slug}"))
    return {
        name: dataclasses.replace(x, name=name) for name, x in contents.items() if isinstance(x, Exercise)
    }


def find(name: str) -> Exercise:
    """The exercise called ``name``; a ValueError tells the names there are, nearest first."""
    known = {n: exercise for slug in chapters() for n, exercise in chapter(slug).items()}
    if name in known:
        return known[name]
    nearest = difflib.get_close_matches(name, known, n=len(known), cutoff=0.0)
    raise ValueError(f"no exercise is called {name!r}; the exercises, nearest first: {', '.join(nearest)}")


def check(answer: Callable[..., Any]) -> None:
    """Check ``answer`` on the public cases of the exercise with its name, and show the verdict."""
    name = getattr(answer, "__name__", None)
    if not callable(answer) or not isinstance(name, str):
        raise TypeError(f"check expects the function or class that you wrote; got {type(answer).__name__}")
    show(engine.diagnose(find(name), answer))


def show(verdict: Verdict) -> None:
    """Rich in a notebook, plain elsewhere."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        print(verdict)
        return
    if get_ipython() is None:
        print(verdict)
    else:
        display(verdict)
