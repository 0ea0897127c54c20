"""The text of the code cells of a file that nobody trusts.

Nothing of it is run or parsed as Python. The notebook is read by ``json`` and a few lines: nbformat would
also validate fifty megabytes of outputs that nobody asks for, and refuse notebooks good enough to grade.
"""

import hashlib
import json
import re
from typing import Any

from genimg_ref.grading.results import Source

MAX_BYTES = 100_000_000  # of a file
MAX_TEXT = 2_000_000  # characters of code in a file
MAX_CELLS = 5_000
# of what a notebook is made, outputs included; each costs memory, however short it is
MAX_VALUES = 5_000_000
MAX_KEYS = 500_000

_TEXT = re.compile(rb'"[^"]*"')


class _Unreadable(ValueError):
    """Carries the sentence that the student is told."""


def read(name: str, content: bytes) -> Source:
    """The code of a notebook or of a ``.py`` file, which is one cell; ``problem`` says why there is none."""
    cells_of = _notebook_cells if name.lower().endswith(".ipynb") else _script_cells
    name = printable(name.replace("\\", "/").split("/")[-1])
    digest = hashlib.sha256(content).hexdigest()
    try:
        cells = tuple(_tidy(cell) for cell in cells_of(content))
        if sum(map(len, cells)) > MAX_TEXT:
            raise _Unreadable(f"It holds more than {MAX_TEXT // 1_000_000} MB of code.")
    except _Unreadable as error:
        return Source(name, digest, problem=str(error))
    return Source(name, digest, cells)


def too_large(size: int) -> str:
    """The problem with a file of so many bytes, if it is one."""
    if size <= MAX_BYTES:
        return ""
    return (
        f"It is larger than {MAX_BYTES // 1_000_000} MB: clear the outputs of the notebook and save it again."
    )


def printable(text: str, limit: int = 200) -> str:
    """``text`` without characters that no file could store or that would disturb a line of a report."""
    kept = (c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:limit])
    return "".join(kept)


def _tidy(code: str) -> str:
    """Code with the line ends that Python sees, in characters that UTF-8 has."""
    return code.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode("utf-8")


def _decoded(content: bytes) -> str:
    if problem := too_large(len(content)):
        raise _Unreadable(problem)
    if not content.strip():
        raise _Unreadable("The file is empty: was it handed in before it was saved?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Unreadable(
            f"It is not text in UTF-8 (from byte {error.start} on): was another file given this name, or an "
            "editor set to another encoding?"
        ) from None


def _script_cells(content: bytes) -> list[str]:
    return [_decoded(content)]


def _notebook_cells(content: bytes) -> list[str]:
    """The source of the code cells of a notebook of format 3 or 4."""
    notebook = _parsed(content)
    if not isinstance(notebook, dict) or not ("cells" in notebook or "worksheets" in notebook):
        raise _Unreadable("It is JSON but has no cells: was another file, or a web page, saved in its place?")
    version = notebook.get("nbformat")
    if type(version) is not int or version not in (3, 4):
        said = str(version)[:20] if type(version) in (int, float, str) else "missing"
        raise _Unreadable(f"Its notebook format (nbformat) is {printable(said)}; format 4 is read.")
    cells = _listed(notebook, "cells") if version == 4 else _of_worksheets(notebook)
    if not cells:
        raise _Unreadable("The notebook has no cells: was it handed in before it was saved?")
    if len(cells) > MAX_CELLS:
        raise _Unreadable(f"It has more than {MAX_CELLS} cells.")
    sources = [_source(number, cell) for number, cell in enumerate(cells, 1) if _is_code(number, cell)]
    if not sources:
        raise _Unreadable("The notebook has no code cells.")
    return sources


def _of_worksheets(notebook: dict[str, Any]) -> list[Any]:
    """The cells of format 3, which were kept in worksheets."""
    sheets = [sheet for sheet in _listed(notebook, "worksheets") if isinstance(sheet, dict)]
    return [cell for sheet in sheets for cell in _listed(sheet, "cells")]


def _listed(table: dict[str, Any], key: str) -> list[Any]:
    values = table.get(key, [])
    if not isinstance(values, list):
        raise _Unreadable(
            f"Its {key} are not a list: the file was damaged, or not written by Jupyter or Colab."
        )
    return values


def _is_code(number: int, cell: Any) -> bool:
    if not isinstance(cell, dict):
        raise _damaged(number)
    return cell.get("cell_type") == "code"


def _source(number: int, cell: dict[str, Any]) -> str:
    """A cell's code; in format 3 it is called ``input``."""
    source = cell.get("source", cell.get("input", ""))
    lines = [source] if isinstance(source, str) else source
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise _damaged(number)
    return "".join(lines)


def _damaged(number: int) -> _Unreadable:
    return _Unreadable(f"Cell {number} is damaged: open the notebook in Jupyter or Colab and save it again.")


def _parsed(content: bytes) -> Any:
    text = _decoded(content)
    _bound_values(content)
    try:
        return json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        raise _Unreadable(_not_json(text, error)) from None
    except RecursionError:
        raise _Unreadable("It is nested more deeply than any notebook.") from None
    except ValueError:  # Python's limit on the digits of a number
        raise _Unreadable("It has a number of thousands of digits, which no notebook needs.") from None


def _not_json(text: str, error: json.JSONDecodeError) -> str:
    if text.lstrip().startswith("<"):
        return "It is not a notebook but a web page: download the notebook itself (File, Download .ipynb)."
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
        return "The notebook breaks off before its end: the upload or download was cut short."
    return f"It is not a notebook: no JSON from line {error.lineno} on. Was another file given this name?"


def _bound_values(content: bytes) -> None:
    """Refuse JSON of many tiny values, which would take dozens of times its size in memory."""
    content = content.replace(rb"\\", b"").replace(rb"\"", b"")  # what stands in a text and is not its end
    many = content.count(b'"') > 2 * MAX_VALUES
    if not many:
        structure = _TEXT.sub(b"", content)
        many = sum(map(structure.count, (b",", b"[", b"{"))) > MAX_VALUES or structure.count(b":") > MAX_KEYS
    if many:
        raise _Unreadable(
            "It is made of millions of values: clear the outputs of the notebook and save it again."
        )
