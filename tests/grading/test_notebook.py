"""Code is found in every notebook there is, and no bytes whatever disturb the reader."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import nbformat
import pytest

from genimg_ref.grading import notebook
from genimg_ref.grading.results import Source

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def code(source: Any) -> dict[str, Any]:
    return {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": source}


def dumped(*cells: Any, **changed: Any) -> bytes:
    return json.dumps(
        {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)} | changed
    ).encode()


def read(content: bytes) -> Source:
    return notebook.read("alice.ipynb", content)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_it_agrees_with_nbformat_on_the_notebooks_of_the_book(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    source = notebook.read(path.name, path.read_bytes())
    assert source.cells == tuple(cell.source for cell in cells if cell.cell_type == "code")
    assert source.problem == ""
    assert source.name == path.name
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_format_3_is_read_as_nbformat_converts_it() -> None:
    cells = [
        {
            "cell_type": "code",
            "input": ["a = 1\n", "b = 2"],
            "language": "python",
            "outputs": [],
            "collapsed": False,
        },
        {"cell_type": "markdown", "source": "text"},
        {"cell_type": "code", "input": "c = 3", "language": "python", "outputs": [], "collapsed": False},
    ]
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {},
        "worksheets": [{"cells": cells, "metadata": {}}],
    }
    source = read(json.dumps(old).encode())
    converted = nbformat.reads(json.dumps(old), as_version=4).cells
    assert source.cells == ("a = 1\nb = 2", "c = 3")
    assert source.cells == tuple(cell.source for cell in converted if cell.cell_type == "code")


def test_source_is_text_or_lines_and_only_code_counts() -> None:
    markdown = {"cell_type": "markdown", "source": "import this"}
    assert read(dumped(code("a = 1"), markdown, code(["b = 2\n", "c = 3"]))).cells == (
        "a = 1",
        "b = 2\nc = 3",
    )


def test_magics_are_text_like_any_other() -> None:
    assert read(dumped(code("!rm -rf /\n%time x = 1"))).cells == ("!rm -rf /\n%time x = 1",)


def test_a_script_is_one_cell() -> None:
    text = "# %%\nx = 'ü'\n\n# %%\ny = 2\n"
    source = notebook.read("some/folder/answers.py", text.encode())
    assert (source.name, source.cells, source.problem) == ("answers.py", (text,), "")


def test_what_python_cannot_parse_is_no_concern_here() -> None:
    hostile = "(" * 100_000
    assert notebook.read("a.py", hostile.encode()).cells == (hostile,)
    assert read(dumped(code(hostile))).cells == (hostile,)


@pytest.mark.parametrize("name", ["a.ipynb", "a.IPYNB", "x" * 500 + ".ipynb"])
def test_a_byte_order_mark_and_other_line_ends_are_taken_off(name: str) -> None:
    content = b"\xef\xbb\xbf" + dumped(code("a = 1\r\nb = 2\rc = 3"))
    assert notebook.read(name, content).cells == ("a = 1\nb = 2\nc = 3",)
    assert notebook.read("a.py", b"\xef\xbb\xbfa = 1\r\n").cells == ("a = 1\n",)


def test_fifty_megabytes_of_outputs_are_fine() -> None:
    cell = code("x = 1") | {
        "outputs": [{"output_type": "stream", "name": "stdout", "text": "y" * 50_000_000}]
    }
    assert read(dumped(cell)).cells == ("x = 1",)


def test_characters_that_no_file_can_store_are_replaced() -> None:
    content = b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": ["x = \'\\ud800\'"]}]}'
    assert read(content).cells == ("x = '?'",)
    assert notebook.read("\udcff\n\u202e.py", b"x").name == "\ufffd\ufffd\ufffd.py"


BROKEN = {
    "no bytes": (b"", "The file is empty"),
    "blanks": (b" \n ", "The file is empty"),
    "a web page": (b"<!DOCTYPE html><html>", "not a notebook but a web page"),
    "other text": (b"PK is not a zip", "no JSON from line 1 on"),
    "cut in a text": (dumped(code("x = 1"))[:-20], "breaks off before its end"),
    "cut between": (dumped(code("x = 1"))[:-1], "breaks off before its end"),
    "Latin-1": ('{"nbformat": "ü"}'.encode("latin-1"), "not text in UTF-8 (from byte 14 on)"),
    "UTF-16": (json.dumps({"cells": []}).encode("utf-16"), "not text in UTF-8"),
    "a list": (b"[1, 2]", "JSON but has no cells"),
    "a number": (b"7", "JSON but has no cells"),
    "other JSON": (b'{"login": "alice"}', "JSON but has no cells"),
    "no cells": (dumped(), "has no cells: was it handed in before it was saved?"),
    "cells that are text": (dumped(cells="code"), "Its cells are not a list"),
    "cells that are null": (dumped(cells=None), "Its cells are not a list"),
    "worksheets that are text": (b'{"nbformat": 3, "worksheets": "x"}', "Its worksheets are not a list"),
    "worksheets of text": (b'{"nbformat": 3, "worksheets": ["x"]}', "has no cells"),
    "no code": (dumped({"cell_type": "markdown", "source": "x"}), "has no code cells"),
    "a cell that is text": (dumped(code("x"), "y"), "Cell 2 is damaged"),
    "lines that are numbers": (dumped(code(["x", 1])), "Cell 1 is damaged"),
    "source that is a table": (dumped(code({"x": 1})), "Cell 1 is damaged"),
    "source that is null": (dumped(code(None)), "Cell 1 is damaged"),
    "nbformat 5": (dumped(code("x"), nbformat=5), "(nbformat) is 5; format 4"),
    "nbformat 2": (dumped(code("x"), nbformat=2), "(nbformat) is 2"),
    "nbformat in words": (dumped(code("x"), nbformat="four\n"), "(nbformat) is four\ufffd;"),
    "nbformat true": (dumped(code("x"), nbformat=True), "(nbformat) is missing"),
    "no nbformat": (b'{"cells": [{}]}', "(nbformat) is missing"),
    "deep": (b"[" * 100_000, "nested more deeply"),
    "deep and closed": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested more deeply"),
    "digits": (b'{"cells": [' + b"7" * 10_000 + b"]}", "thousands of digits"),
    "much code": (dumped(code("x" * 1_000_001), code("y" * 1_000_000)), "more than 2 MB of code"),
    "many cells": (dumped(*[code("")] * 5_001), "more than 5000 cells"),
}


@pytest.mark.parametrize(("content", "told"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_said(content: bytes, told: str) -> None:
    source = read(content)
    assert told in source.problem
    assert source.cells == ()
    assert source.sha256 == hashlib.sha256(content).hexdigest()


def test_what_is_wrong_with_a_script_is_said() -> None:
    assert "empty" in notebook.read("a.py", b"").problem
    assert "not text in UTF-8" in notebook.read("a.py", b"\xff\xfe").problem
    assert "more than 2 MB of code" in notebook.read("a.py", b"#" * 2_000_001).problem


def test_exactly_as_much_as_is_allowed_is_read() -> None:
    assert read(dumped(code("x" * 1_000_000), code("y" * 1_000_000))).problem == ""
    assert len(read(dumped(*[code("x")] * 5_000)).cells) == 5_000


def test_a_file_over_the_bound_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "MAX_BYTES", 1_000_000)
    assert read(b"\xff" * 1_000_000).problem.startswith("It is not text")
    assert read(b"\xff" * 1_000_001).problem.startswith("It is larger than 1 MB: clear the outputs")


@pytest.mark.parametrize(
    "values",
    [
        b"[]," * 300,
        b"{}," * 300,
        b"1," * 300,
        b'"a",' * 300,
        b'"' * 601,
        b'{"k":0,' + b'"k":0,' * 60 + b'"k":0},',
    ],
)
def test_millions_of_tiny_values_are_refused_before_they_take_memory(
    values: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "MAX_VALUES", 250)
    monkeypatch.setattr(notebook, "MAX_KEYS", 50)
    assert "millions of values" in read(b'{"nbformat":4,"cells":[' + values + b"0]}").problem


def test_what_looks_like_values_inside_a_text_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "MAX_VALUES", 50)
    monkeypatch.setattr(notebook, "MAX_KEYS", 50)
    text = 'print("[[0, 1], {2: 3}]")\\\\"' * 100
    assert read(dumped(code(text))).cells == (text,)


def test_no_bytes_make_it_raise() -> None:
    rng = random.Random(0)
    good = dumped(
        code("def f(x):\n    return x"), code(["a\n", "b"]), {"cell_type": "markdown", "source": "ü"}
    )
    for _ in range(3_000):
        content = bytearray(good[: rng.randrange(len(good))] if rng.random() < 0.3 else good)
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(content) + 1)
            content[at : at + rng.randrange(6)] = rng.choice(
                [
                    rng.randbytes(rng.randrange(4)),
                    b"null",
                    b"[",
                    b"}",
                    b'"',
                    b"\\ud800",
                    b"1e999",
                    b"NaN",
                    b"\x00",
                ]
            )
        for name in ("a.ipynb", "a.py"):
            source = notebook.read(name, bytes(content))
            assert bool(source.cells) != bool(source.problem)
            assert all(isinstance(cell, str) for cell in source.cells)
            "".join([source.problem, *source.cells]).encode()
    for _ in range(300):
        noise = rng.randbytes(rng.randrange(200))
        assert isinstance(read(noise), Source)


def test_no_value_in_any_place_makes_it_raise() -> None:
    rng = random.Random(1)
    odd = [
        None,
        True,
        -1,
        1.5,
        float("nan"),
        "",
        "code",
        [],
        {},
        [[]],
        [None],
        {"cells": []},
        {"source": [1]},
    ]
    keys = ["nbformat", "cells", "worksheets", "metadata", "cell_type", "source", "input"]
    for _ in range(3_000):
        table = {key: rng.choice([*odd, 3, 4]) for key in rng.sample(keys, rng.randrange(len(keys)))}
        table["cells"] = [{rng.choice(keys): rng.choice(odd) for _ in range(3)} for _ in range(2)]
        content = json.dumps({"nbformat": rng.choice([3, 4])} | table).encode()
        assert isinstance(read(content), Source)
