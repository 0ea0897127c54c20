"""Files that are broken or set a trap, through the whole command: everybody has a row, nobody is harmed."""

import csv
import hashlib
import io
import json
import os
import pty
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from honest import need_sandbox
from hostile import HONEST, IMPORTS, POINTS

from genimg_ref.exercises.compare import Outcome
from genimg_ref.grading.assignment import load
from genimg_ref.grading.grade import grade
from genimg_ref.grading.intake import collect
from genimg_ref.grading.results import Result

ROOT = Path(__file__).parents[2]
EXERCISES = ("optimal_discriminator", "modes_covered")
ASSIGNMENT = f"""
title = "Red team"
chapters = ["gan_math"]
exercises = {list(EXERCISES)}
seed = 11
draws = 1
[limits]
call_seconds = 2.0
submission_seconds = 6.0
memory_mb = 512
output_kb = 64
"""
CELLS = [IMPORTS, *(HONEST[name] for name in EXERCISES)]
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def notebook(cells: list[str] = CELLS, outputs: list[object] = (), **other: object) -> bytes:  # type: ignore[assignment]
    made = [
        {"cell_type": "code", "source": cell, "metadata": {}, "outputs": outputs, "execution_count": None}
        for cell in cells
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5} | other).encode()


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def link_in_zip(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info, target.encode()


def encrypted() -> bytes:
    """A zip that says that its only member is encrypted."""
    content = bytearray(zipped(("work.ipynb", notebook())))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    return bytes(content)


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("../../escaped.ipynb")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
    return buffer.getvalue()


OUTPUT = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "A" * 1_000_000}}
# for each student the file that was handed in: its name, its content, and whether it is right all the same
FILES: dict[str, tuple[str, bytes, bool]] = {
    "empty": ("work.ipynb", b"", False),
    "no json": ("work.ipynb", b"\x93NUMPY", False),
    "a web page": ("work.ipynb", b"<!DOCTYPE html><html>" + MARKUP.encode(), False),
    "cut short": ("work.ipynb", notebook()[:-200], False),
    "null": ("work.ipynb", b"null", False),
    "a list": ("work.ipynb", b"[1, 2]", False),
    "no cells": ("work.ipynb", b'{"nbformat": 4, "metadata": {}}', False),
    "cells of another kind": ("work.ipynb", b'{"cells": {"a": 1}, "nbformat": 4}', False),
    "a cell that is a number": ("work.ipynb", b'{"cells": [7], "nbformat": 4}', False),
    "source of another kind": ("work.ipynb", notebook([{"a": 1}, 5, None]), False),  # type: ignore[list-item]
    "format 99": ("work.ipynb", notebook(nbformat=99), False),
    "format of another kind": ("work.ipynb", notebook(nbformat=[4]), False),
    "no utf-8": ("work.ipynb", b'{"cells": "\xff\xfe\xfa"}', False),
    "utf-16": ("work.ipynb", notebook().decode().encode("utf-16"), False),
    "nested": ("work.ipynb", b"[" * 200_000 + b"]" * 200_000, False),
    "nested in a notebook": ("work.ipynb", b'{"cells": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000, False),
    "digits": ("work.ipynb", b'{"nbformat": ' + b"4" * 1_000_000 + b', "cells": []}', False),
    "halves of characters": ("work.ipynb", notebook([*CELLS, "x = '\\ud800'", "y = '\ud800'"]), True),
    "outputs": ("work.ipynb", notebook(outputs=[OUTPUT] * 17), True),
    "two of each key": ("work.ipynb", b'{"cells": [], ' + notebook()[1:], True),
    "nan": ("work.ipynb", notebook(metadata={"x": float("nan")}), True),
    "mark": ("work.ipynb", b"\xef\xbb\xbf" + notebook(), True),
    "script": ("work.py", b"\xef\xbb\xbf" + "\r\n".join(CELLS).replace("\n", "\r\n").encode(), True),
    "script of zeros": ("work.py", bytes(100_000), False),
    "script of brackets": ("work.py", b"(" * 1_000_000, False),
    "no zip": ("work.zip", b"PK\x03\x04 and no more", False),
    "zip": ("work.zip", zipped(("work.ipynb", notebook())), True),
    "bomb": ("work.zip", zipped(("work.ipynb", bytes(90_000_000))), False),
    "bomb of bombs": ("work.zip", zipped(("more.zip", zipped(("work.ipynb", bytes(90_000_000))))), False),
    "dots in a zip": ("work.zip", zipped(("../../escaped.ipynb", notebook())), False),
    "root in a zip": ("work.zip", zipped(("/tmp/escaped.ipynb", notebook())), False),
    "backslashes in a zip": ("work.zip", zipped(("..\\..\\escaped.ipynb", notebook())), False),
    "link in a zip": ("work.zip", zipped(link_in_zip("work.ipynb", "../alice/work.ipynb")), False),
    "encrypted": ("work.zip", encrypted(), False),
    "tar": ("work.tar.gz", tarred(), False),
    "=cmd|'calc'!A0": ("work.ipynb", notebook(), True),
    "-rf": ("work.ipynb", notebook(), True),
    "<b onmouseover=alert(1)>": ("work.ipynb", notebook(), True),
    "%s%n{0}$HOME`id`": ("work.ipynb", notebook(), True),
    "tab\tline\nbell\a\x1b[2J": ("work.ipynb", notebook(), True),
    "index.html": ("work.ipynb", notebook(), True),
    "results": ("work.ipynb", notebook(), True),
    "x" * 250: ("work.ipynb", notebook(), True),
    "\u202egnol": ("work.ipynb", notebook(), True),
    "markup": (f"{MARKUP.replace('/', '')}.ipynb", notebook([f"raise ValueError({MARKUP!r})", *CELLS]), True),
    "error": (
        "work.py",
        f"def optimal_discriminator(a, b):\n    raise ValueError({MARKUP!r} + '\\x00\\x1b[2J]]>')".encode(),
        False,
    ),
    "killer": (
        "work.py",
        b"import os\nos._exit(0)\nX = os._exit(0)\ndef optimal_discriminator(a, b):\n    return X",
        False,
    ),
    "sleeper": (
        "work.py",
        b"import time\ndef optimal_discriminator(a, b):\n    while True:\n        time.sleep(9)",
        False,
    ),
    "alice": ("work.ipynb", notebook(), True),
    "zoe": ("work.ipynb", notebook(), True),
}


def make_folder(folder: Path) -> Path:
    for student, (name, content, _) in FILES.items():
        (folder / student).mkdir(parents=True)
        (folder / student / name).write_bytes(content)
    (folder / "linker").mkdir()
    (folder / "linker" / "work.ipynb").symlink_to(folder / "alice" / "work.ipynb")
    (folder / "linked").symlink_to(folder / "alice")
    (folder / "around").mkdir()
    (folder / "around" / "again").symlink_to(folder / "around")
    (folder / "around" / "work.ipynb").symlink_to("work.ipynb")
    (folder / "piper").mkdir()
    os.mkfifo(folder / "piper" / "work.ipynb")
    (folder / "folder" / "work.ipynb").mkdir(parents=True)
    return folder


EXTRA = ("linker", "linked", "around", "piper", "folder")


def state(folder: Path) -> dict[str, str]:
    """Every file and folder, and what is in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        plain = path.is_file() and not path.is_symlink()
        found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if plain else ""
    return found


class Batch:
    """The command, run once over all of the files, on a terminal."""

    def __init__(self, folder: Path) -> None:
        self.submissions = make_folder(folder / "submissions")
        self.out = folder / "out"
        (folder / "canary").write_text("untouched")
        (folder / "assignment.toml").write_text(ASSIGNMENT)
        before = {**state(self.submissions), **state(ROOT / "solutions"), **state(folder / "canary")}
        arguments = ["--out", self.out, "--assignment", folder / "assignment.toml", "--workers", "2"]
        command = [sys.executable, "-m", "genimg_ref.grading", self.submissions, *arguments]
        ours, terminal = pty.openpty()
        self.done = subprocess.run(
            list(map(str, command)), stdin=terminal, capture_output=True, text=True, timeout=150, cwd=ROOT
        )
        os.set_blocking(ours, False)
        os.close(terminal)
        with pytest.raises(OSError):  # nobody wrote to the terminal
            assert not os.read(ours, 1)
        os.close(ours)
        assert before == {**state(self.submissions), **state(ROOT / "solutions"), **state(folder / "canary")}
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            ["submissions", "out", "canary", "assignment.toml"]
        )
        self.results = {}
        for path in (self.out / "results").iterdir():
            result = Result.from_json(json.loads(path.read_text())["result"])
            self.results[result.name] = result

    def of(self, student: str) -> Result:
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in student)[:200]
        return self.results[shown]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    need_sandbox()
    return Batch(tmp_path_factory.mktemp("batch"))


def test_the_command_comes_to_its_end(batch: Batch) -> None:
    assert batch.done.returncode == 0, batch.done.stderr
    assert "Traceback" not in batch.done.stderr
    assert "\x1b[2J" not in batch.done.stdout + batch.done.stderr


@pytest.mark.parametrize("student", FILES, ids=lambda name: name.encode("ascii", "replace").decode()[:40])
def test_each_file_gets_what_it_deserves(student: str, batch: Batch) -> None:
    result = batch.of(student)
    outcomes = [mark.outcome for mark in result.marks]
    assert Outcome.GRADER_FAULT not in outcomes
    if FILES[student][2]:
        assert outcomes == [Outcome.RIGHT] * 2, [mark.message for mark in result.marks]
        assert result.earned == sum(POINTS[name] for name in EXERCISES)
    else:
        assert result.earned == 0
        assert all(mark.message for mark in result.marks)


@pytest.mark.parametrize("student", EXTRA)
def test_links_pipes_and_folders_are_nobodys_work(student: str, batch: Batch) -> None:
    result = batch.of(student)
    assert result.earned == 0
    assert {mark.outcome for mark in result.marks} <= {Outcome.UNREADABLE, Outcome.NOT_ATTEMPTED}


def test_everybody_has_one_row(batch: Batch) -> None:
    with open(batch.out / "grades.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(batch.results) == len(FILES) + len(EXTRA)
    assert not any(
        cell.startswith(("=", "+", "-", "@")) and len(cell) > 1 for row in rows for cell in row.values()
    )


def test_the_reports_are_whole(batch: Batch) -> None:
    suite = ElementTree.parse(batch.out / "junit.xml").getroot()
    assert len(list(suite.iter("testcase"))) == 2 * len(batch.results)
    json.loads((batch.out / "results.json").read_text())
    pages = list((batch.out / "students").glob("*.html"))
    assert len(pages) == len(batch.results)
    for page in [*pages, batch.out / "index.html"]:
        text = page.read_text()
        assert "<script>alert" not in text and "<img src=x" not in text and "<b onmouseover" not in text


def test_a_second_run_changes_no_byte(batch: Batch, tmp_path: Path) -> None:
    before = state(batch.out)
    arguments = ["--out", batch.out, "--assignment", batch.out.parent / "assignment.toml", "--quiet"]
    command = [sys.executable, "-m", "genimg_ref.grading", batch.submissions, *arguments]
    subprocess.run(list(map(str, command)), check=True, timeout=150, cwd=ROOT)
    assert state(batch.out) == before


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "that is none": lambda: b"PK\x05\x06 no",
    "with names that lead out": lambda: zipped(
        ("alice/work.ipynb", notebook()),
        ("../../mallory/work.ipynb", notebook()),
        ("/etc/mallory/work.ipynb", notebook()),
        ("..", b"x"),
    ),
    "with links": lambda: zipped(
        ("alice/work.ipynb", notebook()), link_in_zip("mallory/work.ipynb", "../alice/work.ipynb")
    ),
    "with a bomb": lambda: zipped(
        ("alice/work.ipynb", notebook()), ("mallory/work.ipynb", bytes(90_000_000))
    ),
    "with every name twice": lambda: zipped(
        ("alice/work.ipynb", notebook()), ("mallory/work.ipynb", b"{}"), ("mallory/work.ipynb", b"[]")
    ),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive(kind: str, tmp_path: Path) -> None:
    need_sandbox()
    (tmp_path / "in" / "deep").mkdir(parents=True)
    export = tmp_path / "in" / "deep" / "export.zip"
    export.write_bytes(ARCHIVES[kind]())
    (tmp_path / "assignment.toml").write_text(ASSIGNMENT)
    asked = load(tmp_path / "assignment.toml")
    earned = {result.student: result.earned for result in (grade(s, asked) for s in collect(export))}
    assert earned.pop("alice", 2) == 2
    assert set(earned.values()) <= {0}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["assignment.toml", "in"]
    assert [path.name for path in (tmp_path / "in").rglob("*")] == ["deep", "export.zip"]
    assert not Path("/etc/mallory").exists()
