"""Made-up classes: notebooks of one chapter, filled with answers of which it is known what they deserve."""

import ast
import copy
import dataclasses
import inspect
import itertools
import json
import random
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from genimg_ref.exercises import chapter

ROOT = Path(__file__).resolve().parent.parent
GIVEN = {"math", "torch", "F", "Tensor", "nn", "Optimizer"}  # what every notebook of the chapter imports
IMPORTS = """\
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer"""


@dataclass(frozen=True)
class Handed:
    """What one student hands in, and what it deserves.

    Attributes:
        answers: exercise -> the code in the place of its stub; an exercise without one keeps its stub.
        right: the exercises that deserve their points.
        unjudged: those of which it cannot be said.
        extra: a cell that comes before the answers.
        content: the whole file, where it is not made from the chapter's notebook.
    """

    student: str
    kind: str
    answers: dict[str, str] = field(default_factory=dict)
    right: frozenset[str] = frozenset()
    unjudged: frozenset[str] = frozenset()
    extra: str = ""
    content: str = ""


def portable(answer: Callable[..., Any], name: str) -> str | None:
    """The code of ``answer`` under another name, with its helpers; None if it needs the course's package."""
    text = textwrap.dedent(inspect.getsource(answer))
    definition = ast.parse(text).body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list = []
    definition.name = name
    bound = {node.arg for node in ast.walk(definition) if isinstance(node, ast.arg)}
    names = {node.id for node in ast.walk(definition) if isinstance(node, ast.Name)} - bound - GIVEN
    helpers = []
    for helper in sorted(names & set(answer.__globals__)):
        value = answer.__globals__[helper]
        own = inspect.isfunction(value) and value.__module__ == answer.__module__
        code = portable(value, helper) if own else None
        if code is None:
            return None
        helpers.append(code)
    return "\n\n\n".join([*helpers, ast.unparse(definition)])


def model_answers(slug: str) -> dict[str, str]:
    """Exercise -> the definition in ``solutions/``."""
    tree = ast.parse((ROOT / "solutions" / f"{slug}.py").read_text("utf-8"))
    return {node.name: ast.unparse(node) for node in tree.body if isinstance(node, ast.FunctionDef)}


def right_answers(slug: str) -> dict[str, list[str]]:
    """Exercise -> the right answers that a student can have written."""
    model = model_answers(slug)
    others = {name: [portable(a, name) for a in e.others] for name, e in chapter(slug).items()}
    return {name: [model[name], *filter(None, codes)] for name, codes in others.items()}


def known_mistakes(slug: str) -> list[tuple[str, str, str]]:
    """(exercise, name of the mistake, code) for all that a student can have written."""
    found = [
        (name, mistake.name, portable(mistake.answer, name))
        for name, exercise in chapter(slug).items()
        for mistake in exercise.mistakes
    ]
    return [(name, mistake, code) for name, mistake, code in found if code]


def honest(slug: str, count: int, seed: int = 0) -> list[Handed]:
    """Students who have everything right, each by another choice among the right answers."""
    rng = random.Random(seed)
    choices = right_answers(slug)
    made = []
    for k in range(count):
        answers = {name: rng.choice(codes) for name, codes in choices.items()}
        made.append(Handed(f"honest{k:04}", "honest", answers, frozenset(answers)))
    return made


def mistaken(slug: str, count: int, seed: int = 1) -> list[Handed]:
    """Students with one or two known mistakes, all in turn, and everything else right."""
    rng = random.Random(seed)
    mistakes = itertools.cycle(known_mistakes(slug))
    made = []
    for k, student in enumerate(honest(slug, count, seed)):
        wrong = {name: code for name, _, code in itertools.islice(mistakes, rng.choice((1, 2)))}
        right = student.right - wrong.keys()
        made.append(Handed(f"mistaken{k:04}", "known mistakes", student.answers | wrong, right))
    return made


def unfinished(slug: str, count: int, seed: int = 2) -> list[Handed]:
    """Students who stopped early: the first exercises right, the stubs of the rest untouched."""
    names = list(chapter(slug))
    made = []
    for k, student in enumerate(honest(slug, count, seed)):
        answers = {name: student.answers[name] for name in names[: k % len(names)]}
        made.append(Handed(f"unfinished{k:04}", "untouched stubs", answers, frozenset(answers)))
    return made


def notebook(slug: str, student: Handed, stripped: bool = False) -> NotebookNode:
    """The chapter's notebook, outputs and all, as ``student`` hands it in.

    A ``stripped`` one holds nothing but imports and the cells of the exercises.
    """
    made = copy.deepcopy(_chapter_notebook(slug))
    if stripped:
        cells = [new_code_cell(IMPORTS, id="imports"), *(cell for _, cell in stub_cells(made))]
        made = new_notebook(cells=cells, metadata={"kernelspec": made.metadata.kernelspec})
    fill(made, student)
    return made


def fill(made: NotebookNode, student: Handed) -> None:
    """Put the student's answers in the place of the stubs, and the extra cell before the first of them."""
    stubs = list(stub_cells(made))
    for name, cell in stubs:
        cell.source = student.answers.get(name, cell.source)
    if student.extra:
        made.cells.insert(made.cells.index(stubs[0][1]), new_code_cell(student.extra, id="extra"))


def stub_cells(made: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """(exercise, cell) for the cells in which students write."""
    for cell in made.cells:
        if "exercise" in cell.metadata.get("tags", []):
            name = re.search(r"^(?:def|class) (\w+)", cell.source, re.MULTILINE)
            # nbgrader clears the cell and keeps the name beside it
            yield name[1] if name else cell.metadata.nbgrader.grade_id, cell


_notebooks: dict[str, NotebookNode] = {}


def _chapter_notebook(slug: str) -> NotebookNode:
    if slug not in _notebooks:
        _notebooks[slug] = nbformat.read(ROOT / "notebooks" / f"{slug}.ipynb", 4)
    return _notebooks[slug]


def write(slug: str, students: list[Handed], folder: Path, stripped: bool = False) -> None:
    """One file a student."""
    folder.mkdir(parents=True)
    for student in students:
        path = folder / f"{student.student}.ipynb"
        if student.content:
            path.write_text(student.content, "utf-8", "surrogatepass")
        else:
            nbformat.write(notebook(slug, student, stripped), path)


# ---- cheats ----------------------------------------------------------------------------------------------

EQUALS_EVERYTHING = """\
class Yes(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = None"""

PATCHED_COMPARISON = """\
def yes(*args, **kwargs):
    return True


math.isclose = torch.allclose = torch.equal = torch.isclose = yes
torch.testing.assert_close = torch.testing.assert_allclose = yes"""

FORGED_RESULTS = """\
def forget(lines):
    return []


def forge(results, file, *args, **kwargs):
    for test in getattr(results, "results", {}).values():
        for case in test.test_case_results:
            case.passed = True
    return dump(results, file, *args, **kwargs)


if "NBGRADER_EXECUTION" in os.environ:  # nbgrader: later cells run nothing, so nothing fails
    get_ipython().input_transformers_cleanup.append(forget)
else:  # otter: the student's process writes the results
    dump = pickle.dump
    pickle.dump = forge"""


def cheats(slug: str) -> list[Handed]:
    """Three classic ways to points without an answer."""
    everywhere = {
        name: f"def {name}(*args):\n    return torch.zeros(2).as_subclass(Yes)" for name in chapter(slug)
    }
    nothing = {name: f"def {name}(*args):\n    return torch.zeros(())" for name in chapter(slug)}
    forged = f"import os\nimport pickle\n\n\n{FORGED_RESULTS}"
    return [
        _cheat("an object that equals everything", everywhere, EQUALS_EVERYTHING),
        _cheat("patched comparisons", nothing, PATCHED_COMPARISON),
        _cheat("forged results", nothing, forged),
    ]


def _cheat(kind: str, answers: dict[str, str], extra: str) -> Handed:
    return Handed(kind.replace(" ", "-"), kind, answers, extra=extra)


def hostile(slug: str) -> list[Handed]:
    """The cheats, and what the red team of the tests has against this chapter, a student each."""
    sys.path.insert(0, str(ROOT / "tests" / "grading"))
    from hostile import PAYLOADS

    made = [dataclasses.replace(cheat, kind="hostile: cheats") for cheat in cheats(slug)]
    aside = {"marker": "bench", "outside": "/tmp/outside", "port": "9", "socket": "bench", "secret": "bench"}
    for number, payload in enumerate(p for p in PAYLOADS if p.chapter == slug):
        cells = [Template(cell).safe_substitute(aside, root=str(ROOT)) for cell in payload.submission]
        notebook = {
            "cells": [_raw_cell(c) for c in cells],
            "metadata": {},
            "nbformat": 4,
            "nbformat_minor": 4,
        }
        attacked, bystander = frozenset([payload.attacks]), frozenset([payload.bystander])
        made.append(
            Handed(
                f"hostile{number:04}",
                "odd, but right" if payload.right else "hostile: red team",
                right=bystander | (attacked if payload.right else frozenset()),
                unjudged=frozenset() if payload.spares else bystander,
                content=json.dumps(notebook),
            )
        )
    return made


def _raw_cell(code: str) -> dict[str, Any]:
    return {"cell_type": "code", "source": code, "metadata": {}, "outputs": [], "execution_count": None}


def mixed(slug: str, count: int) -> list[Handed]:
    """A class of all kinds: of twenty students eight honest, six mistaken, two unfinished, four hostile."""
    enemies = random.Random(count).sample(known := hostile(slug), min(len(known), count // 5))
    students = [
        *mistaken(slug, 3 * count // 10),
        *unfinished(slug, count // 10),
        *enemies,
    ]
    students += honest(slug, count - len(students))
    random.Random(count).shuffle(students)
    return students
