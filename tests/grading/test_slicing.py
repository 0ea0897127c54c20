import textwrap

import pytest

from genimg_ref.grading.inside import slicing


def needed(name, *cells):
    """The statements that an answer needs, each by its first line."""
    notebook = slicing.read(textwrap.dedent(cell) for cell in cells)
    return [s.source.strip().splitlines()[0] for s in slicing.needed(notebook, name)]


def test_an_answer_needs_its_imports_helpers_and_constants_and_nothing_else() -> None:
    cells = [
        "import torch, math\nfrom torch import nn\nimport matplotlib.pyplot as plt",
        "EPS = 1e-8\nOTHER = 2",
        "images = load()\nplt.imshow(images[0])\nmodel = train(images)",
        "def helper(x):\n    return math.log(x + EPS)",
        "def f(x):\n    model = 3\n    return helper(x)",
        "print(f(1))",
    ]
    assert needed("f", *cells) == ["import torch, math", "EPS = 1e-8", "def helper(x):", "def f(x):"]


def test_local_names_and_parameters_are_not_looked_up() -> None:
    cells = ["x = slow()\ny = slow()\nz = slow()", "def f(x):\n    y = [z for z in x]\n    return y"]
    assert needed("f", *cells) == ["def f(x):"]


def test_a_class_needs_its_base_and_what_its_methods_use() -> None:
    cells = [
        "class Net(Base):\n    def forward(self, x):\n        return act(x)",
        "class Base: pass",
        "act = abs",
    ]
    assert needed("Net", *cells) == ["class Net(Base):", "class Base: pass", "act = abs"]


@pytest.mark.parametrize(
    "cells, kept",
    [
        (["def f(): return 1", "def f(): raise NotImplementedError"], ["def f(): return 1"]),
        (["def f(): raise NotImplementedError", "def f(): return 1"], ["def f(): return 1"]),
        (["def f(): return 1", "def f(): return 2"], ["def f(): return 1", "def f(): return 2"]),
        (["def f(): return 1", "f = twice(f)"], ["def f(): return 1", "f = twice(f)"]),
        (["def f(): return 1", "f.author = 'me'"], ["def f(): return 1", "f.author = 'me'"]),
        (
            ["class f: pass", "f.forward = g", "def g(self): pass"],
            ["class f: pass", "f.forward = g", "def g(self): pass"],
        ),
        (["f = lambda x: x"], ["f = lambda x: x"]),
        (["if True:\n    def f(): return 1"], ["if True:"]),
    ],
)
def test_which_statements_make_an_answer(cells, kept) -> None:
    assert needed("f", *cells) == kept


def test_what_changes_a_needed_object_is_needed() -> None:
    cells = ["table = {}", "table['a'] = 1", "other['a'] = 1", "for k in range(3):\n    table[k] = k"]
    assert needed("f", *cells, "def f(): return table") == [
        "table = {}",
        "table['a'] = 1",
        "for k in range(3):",
        "def f(): return table",
    ]


def test_what_adds_to_a_needed_object_is_needed() -> None:
    cells = ["terms = []", "terms.append(0)", "terms.sort()", "other.append(1)", "def f(): return terms"]
    assert needed("f", *cells) == ["terms = []", "terms.append(0)", "def f(): return terms"]
    cells = ["W = []", "for k in range(2):\n    W.append(k)", "H = zeros(1)", "H[0].fill_(5)", "H.mean()"]
    kept = [*cells[:1], "for k in range(2):", *cells[2:4], "def f(): return W, H"]
    assert needed("f", *cells, "def f(): return W, H") == kept


def test_a_call_of_a_function_that_changes_a_needed_object_is_needed() -> None:
    cells = [
        "W = []\nN = 0",
        "def fill():\n    W.append(1)",
        "def count():\n    global N\n    N = 7",
        "def show():\n    print(W)",
        "fill()\ncount()\nshow()",
        "def f(): return W, N",
    ]
    firsts = ["W = []", "N = 0", "def fill():", "def count():", "fill()", "count()", "def f(): return W, N"]
    assert needed("f", *cells) == firsts


def test_what_is_made_from_the_reference_is_refused() -> None:
    notebook = slicing.read(["from genimg_ref import device\ndev = device()\nimages = load(dev)"])
    assert notebook.refused == {"device", "dev", "images"}


def test_star_imports_are_kept_and_the_reference_is_refused() -> None:
    notebook = slicing.read(
        [
            "from torch.nn import *\nfrom genimg_ref.gan import losses as L, steps",
            "import genimg_ref.data, os\ndef f(): pass",
        ]
    )
    assert [s.source for s in slicing.needed(notebook, "f")] == ["from torch.nn import *", "def f(): pass"]
    assert notebook.refused == {"L", "steps", "genimg_ref"}
    assert any("os" in s.defines for s in notebook.statements)


MAGICS = {
    "line magics": "%matplotlib inline\n%load_ext autoreload\ndef f(): return 1",
    "shell escapes": "!pip install torch \\\n  numpy\nfiles = !ls\ndef f(): return 1",
    "help": "torch.where?\n??f\ndef f(): return 1",
    "indented": "if colab:\n    !pip install torch\ndef f(): return 1",
    "cell timing": "%%time\ndef f(): return 1",
    "capture": "%%capture out --no-stderr\ndef f(): return 1",
    "line timing": "%time x = 3\ndef f(): return 1",
    "assignment": "x = %timeit -o g()\ndef f(): return 1",
}


@pytest.mark.parametrize("kind", MAGICS)
def test_magics_and_shell_escapes_are_tolerated(kind) -> None:
    assert needed("f", MAGICS[kind]) == ["def f(): return 1"]


def test_timing_a_statement_keeps_the_statement() -> None:
    assert needed("f", "%time EPS = 3\ndef f(): return EPS") == ["EPS = 3", "def f(): return EPS"]


def test_cells_in_other_languages_are_left_out() -> None:
    assert needed("f", "%%bash\ndef f(): return 1") == []


def test_percent_signs_in_python_stay() -> None:
    assert needed("f", "def f(a, b):\n    return (a\n        % b)") == ["def f(a, b):"]


def test_a_broken_cell_loses_only_what_it_defines() -> None:
    notebook = slicing.read(["def f(): return 1", "def g(:\n  pass", "def h(): return 2"])
    assert set(notebook.broken) == {"g"}
    assert slicing.definition(notebook, "f") and slicing.definition(notebook, "h")


HURTING = ["(" * 10_000, "-" * 100_000 + "1", "\0", "a" * 100_000, "if 1:\n" * 10, "x = " + "[" * 300]


@pytest.mark.parametrize("cell", HURTING)
def test_cells_that_hurt_the_parser_are_only_broken(cell) -> None:
    assert needed("f", "def f(): return 1", cell) == ["def f(): return 1"]


def test_many_magics_are_quick_to_take_out() -> None:
    # each of these once took time that grew with the square of their number
    cell = "!echo\n" * 20_000 + "x?\n" * 20_000 + "def f(): return 1"
    assert needed("f", cell) == ["def f(): return 1"]


def test_several_statements_on_a_line() -> None:
    notebook = slicing.read(["a = 1; b = 2\n'''\n'''; c = 3\ndef f(): return a + b + c"])
    namespace: dict[str, object] = {}
    for statement in slicing.needed(notebook, "f"):
        exec(compile(slicing.as_module(statement), "<cell>", "exec"), namespace)
    assert namespace["f"]() == 6


def fingerprint(cell):
    notebook = slicing.read([cell])
    return slicing.fingerprint(slicing.needed(notebook, "f"))


def test_a_fingerprint_forgets_names_layout_comments_and_docstrings() -> None:
    one = 'def f(real, fake):\n    """Text."""\n    # a remark\n    s = real + fake\n    return torch.log(s)'
    two = "def f(a,b):\n  s=(a+\n    b)\n  return torch.log( s )"
    other = "def f(a,b):\n  s=(a-\n    b)\n  return torch.log( s )"
    assert fingerprint(one) == fingerprint(two) != fingerprint(other)
    assert fingerprint(one) == "def v0 ( v1 , v2 ) : v3 = v1 + v2 return torch . log ( v3 )"


def test_a_fingerprint_covers_helpers() -> None:
    assert "v0" in fingerprint("def helper(x): return x\ndef f(y): return helper(y)")
    assert fingerprint("k = 2\ndef f(y): return k") != fingerprint("k = 3\ndef f(y): return k")


def test_names_are_those_that_the_cell_of_the_answer_sees() -> None:
    cells = [
        "def scale(x): return 1",
        "def f(x): return scale(x)",
        "def scale(x): return 2",
        "def g(x): return scale(x)",
    ]
    assert needed("f", *cells) == ["def scale(x): return 1", "def f(x): return scale(x)"]
    assert needed("g", *cells)[-2:] == ["def scale(x): return 2", "def g(x): return scale(x)"]
    assert needed("f", "def f(): return K", "K = 1") == ["def f(): return K", "K = 1"]


def test_a_modulo_beside_a_magic_stays() -> None:
    assert needed("f", "%matplotlib inline\nN = (7\n% 4)\n!ls\ndef f(): return N") == [
        "N = (7",
        "def f(): return N",
    ]


def test_ends_of_lines_that_are_none_for_python() -> None:
    assert needed("f", "# a\u2028b\x0c\x85\nK = 1\ndef f(): return K") == ["K = 1", "def f(): return K"]


def test_names_declared_global_are_needed() -> None:
    cell = "count = 0\ndef f():\n    global count\n    count = 5\n    return 1"
    assert needed("f", cell) == ["count = 0", "def f():"]


def test_imports_from_the_future_hold_for_the_notebook() -> None:
    import __future__

    notebook = slicing.read(["from __future__ import annotations, no_such_thing", "def f(): pass"])
    assert notebook.future == __future__.annotations.compiler_flag
