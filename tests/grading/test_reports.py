"""Every report, read back by the parsers that its readers use; hostile text wherever text is taken."""

import base64
import csv
import dataclasses
import datetime
import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest

from genimg_ref.exercises.compare import Outcome
from genimg_ref.grading import reports
from genimg_ref.grading.assignment import Assignment
from genimg_ref.grading.reports import code, kinds, overview, table, text
from genimg_ref.grading.results import Mark, Result, Source
from genimg_ref.grading.similar import Pair
from genimg_ref.viz import style

AXE = Path(__file__).parents[1] / "book/vendor/axe.min.js"
SEED = 7319024
ASSIGNMENT = Assignment("Sheet 2: adversarial nets", ("gan_math",), seed=SEED)
SPECS = ASSIGNMENT.specs()
NOON = datetime.datetime(2026, 11, 30, 12, 0, tzinfo=datetime.timezone.utc)
EVIL = {
    "markup": '</script></pre><script>alert(1)</script><img src="//x.example/y" onerror=alert(2)>&amp;<!--',
    "attribute": '" onmouseover="alert(3)" x=\'',
    "template": "{{ 7 * 6 }}{% raw %}${1}",
    "controls": "a\x00b\x07c\x1b[31md\x7fe\x85f\x0bg",
    "surrogate": "half \ud800 a pair \udfff",
    "noncharacter": "\ufffe \uffff \U0001fffe",
    "bidi": "\u202e} ;nruter\u2066 x \u2069\u200f",
    "separators": "one\u2028two\u2029three\rfour\r\nfive",
    "formula": '=HYPERLINK("http://x.example", "marks")',
    "cdata": "]]> <![CDATA[ <?xml ?> &bogus; %",
    "points": "Points  Possible",
    "quotes": 'a,"b";c\n\n=1+1',
    "backticks": "one `<b>` two ``` three `",
    "long": "x" * 100_000,
}


def mark(exercise: str, outcome: Outcome = Outcome.RIGHT, **changes: Any) -> Mark:
    points = SPECS[exercise][1].points
    earned = {Outcome.RIGHT: float(points), Outcome.GRADER_FAULT: None}.get(outcome, 0.0)
    values = {"message": f"it is {outcome.value}.", "code": f"def {exercise}(x):\n    return x\n"} | changes
    return Mark("gan_math", exercise, points, earned, outcome, **values)


def result(student: str = "ada", outcomes: dict[str, Outcome] | None = None, **changes: Any) -> Result:
    """A result with full marks but for the ``outcomes``."""
    values: dict[str, Any] = {
        "name": student.title(),
        "sources": (
            Source("gan_math.ipynb", hashlib.sha256(student.encode("utf-8", "replace")).hexdigest()),
        ),
        "submitted": NOON,
        "identifiers": {"email": f"{student}@example.edu", "canvas_id": "17"},
        "marks": tuple(mark(name, (outcomes or {}).get(name, Outcome.RIGHT)) for name in SPECS),
        "deduction": 0.0,
        "lateness": "",
        "isolation": "sandbox",
        "version": "0.1.0",
        "assignment": ASSIGNMENT.digest(),
        "seed": SEED,
    }
    return Result(student, **(values | changes))


def hostile(what: str) -> Result:
    """A result with the text in every place that a student has a hand in."""
    evil = EVIL[what]
    marks = [
        mark(name, Outcome.RAISED, message=evil, hint=evil, mistake="known", code=evil) for name in SPECS
    ]
    return result(
        f"evil-{what}",
        name=evil,
        sources=(Source(evil, "0" * 64, problem=evil),),
        identifiers=dict.fromkeys(("email", "login", "canvas_id", "sis_id", "section"), evil),
        marks=tuple(marks),
        lateness=evil,
    )


def every_outcome() -> list[Result]:
    """For each outcome a student whose second exercise has it, and one who handed in nothing."""
    several = [
        result(outcome.name.lower().replace("_", "-"), {"jensen_shannon": outcome}) for outcome in Outcome
    ]
    marks = tuple(mark(name, Outcome.NOT_ATTEMPTED, code="") for name in SPECS)
    return [*several, result("nobody", marks=marks, sources=(), submitted=None)]


def written(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def rows(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reports on a class in which everything happens."""
    results = [*every_outcome(), *map(hostile, EVIL)]
    out = tmp_path_factory.mktemp("reports")
    pairs = [Pair("evil-markup", "right", 0.91, ("jensen_shannon",)), Pair("gone", "raised", 0.5, ())]
    reports.write(results, ASSIGNMENT, out, pairs)
    return out


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, bytes]:
    return written(folder)


class Page(HTMLParser):
    """What a page consists of; raises where a tag is closed that is not open."""

    VOID = {"meta", "br", "img", "link", "input", "wbr"}  # noqa: RUF012

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(content.decode("utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open[-1:] == ["script"] else self.texts).append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def values(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]


def pages(files: dict[str, bytes]) -> dict[str, Page]:
    return {path: Page(content) for path, content in files.items() if path.endswith(".html")}


# --- All of them ---------------------------------------------------------------------------------------


def test_everybody_has_a_row_a_suite_and_a_page(files: dict[str, bytes]) -> None:
    students = sorted([*(r.student for r in every_outcome()), *(f"evil-{what}" for what in EVIL)])
    assert {path for path in files if "/" in path} == {f"students/{student}.html" for student in students}
    assert [row[0] for row in rows(files["grades.csv"])[1:]] == students
    assert [suite.get("name") for suite in ET.fromstring(files["junit.xml"])] == students
    assert [one["student"] for one in json.loads(files["results.json"])["results"]] == students
    assert len(rows(files["canvas.csv"])) == len(students) + 2
    assert set(files) - {f"students/{s}.html" for s in students} == {
        "index.html",
        "grades.csv",
        "canvas.csv",
        "results.json",
        "junit.xml",
    }


def test_the_same_results_give_the_same_bytes_in_whatever_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = [*every_outcome(), *map(hostile, EVIL)]
    reports.write(results, ASSIGNMENT, tmp_path / "a")
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.chdir(tmp_path)
    upside_down = [
        dataclasses.replace(one, identifiers=dict(reversed(one.identifiers.items()))) for one in results[::-1]
    ]
    reports.write(upside_down, ASSIGNMENT, Path("b"))
    assert written(tmp_path / "a") == written(tmp_path / "b")


def test_nobody(tmp_path: Path) -> None:
    reports.write([], ASSIGNMENT, tmp_path)
    files = written(tmp_path)
    assert len(rows(files["grades.csv"])) == 1
    assert len(rows(files["canvas.csv"])) == 2
    assert ET.fromstring(files["junit.xml"]).get("tests") == "0"
    assert json.loads(files["results.json"])["results"] == []
    assert "There are none." in Page(files["index.html"]).text


def test_a_thousand_students(tmp_path: Path) -> None:
    results = [result(f"s{k:04}", {"modes_covered": list(Outcome)[k % len(Outcome)]}) for k in range(1000)]
    reports.write(results, ASSIGNMENT, tmp_path)
    files = written(tmp_path)
    assert len(files) == 1005
    assert len(rows(files["grades.csv"])) == 1001
    assert ET.fromstring(files["junit.xml"]).get("tests") == str(1000 * len(SPECS))
    assert sum(href.startswith("students/") for href in Page(files["index.html"]).values("href")) >= 1000


def test_no_student_sees_the_seed_or_what_tells_it(tmp_path: Path) -> None:
    """A seed is a small number: whoever has a hash of it can try them all."""
    one = result()
    other = Assignment(ASSIGNMENT.title, ASSIGNMENT.chapters, seed=SEED + 1)
    reports.write([one], ASSIGNMENT, tmp_path / "a")
    reports.write([dataclasses.replace(one, seed=SEED + 1, assignment=other.digest())], other, tmp_path / "b")
    a, b = written(tmp_path / "a"), written(tmp_path / "b")
    assert {path for path in a if a[path] != b[path]} == {"index.html", "results.json"}
    assert str(SEED).encode() in a["index.html"]
    assert str(SEED) not in json.dumps(reports.gradescope(one, ASSIGNMENT))
    assert ASSIGNMENT.digest() not in json.dumps(reports.gradescope(one, ASSIGNMENT))


@pytest.mark.parametrize(
    "student",
    ["../../etc/passwd", "/etc/passwd", "a/b", "..", "", "con", "NUL.txt", "a\x00b", "\ud800", "é" * 300],
)
def test_no_page_is_written_outside_of_its_folder(tmp_path: Path, student: str) -> None:
    reports.write([result(student), result("ada")], ASSIGNMENT, tmp_path / "out")
    outside = [path for path in written(tmp_path) if not path.startswith("out/")]
    assert outside == []
    pages = {path.name for path in (tmp_path / "out/students").iterdir()}
    assert len(pages) == 2 and "ada.html" in pages
    assert all(re.fullmatch(r"[a-z0-9-]{1,60}\.html", name) for name in pages)


def test_names_of_files_keep_apart_what_only_differs_in_case() -> None:
    names = text.file_names(["Ada", "ada", "Bob", "a/b", "a-b"])
    assert names["Bob"] == "Bob" and names["a-b"] == "a-b"
    assert len({name.casefold() for name in names.values()}) == 5


# --- Tables --------------------------------------------------------------------------------------------


def test_grades_have_the_same_columns_whatever_happened(files: dict[str, bytes], tmp_path: Path) -> None:
    reports.write([], ASSIGNMENT, tmp_path)
    header = rows(files["grades.csv"])[0]
    assert header == rows((tmp_path / "grades.csv").read_bytes())[0]
    assert len(header) == len(set(header))
    assert [name for name in header if name in SPECS] == list(SPECS)
    assert {len(row) for row in rows(files["grades.csv"])} == {len(header)}


def test_a_fault_of_the_grader_is_an_empty_cell_and_shouted(files: dict[str, bytes]) -> None:
    header, *body = rows(files["grades.csv"])
    records = {row[0]: dict(zip(header, row, strict=True)) for row in body}
    faulty = records["grader-fault"]
    assert (faulty["jensen_shannon"], faulty["total"], faulty["optimal_discriminator"]) == ("", "", "1")
    assert faulty["outcomes"].startswith("GRADER FAULT: jensen_shannon")
    assert (records["raised"]["jensen_shannon"], records["raised"]["total"]) == ("0", "12")
    assert records["nobody"]["total"] == "0" and records["nobody"]["sha256"] == ""
    canvas = {row[0]: row[-1] for row in rows(files["canvas.csv"])}
    assert canvas["Grader-Fault"] == "" and canvas["Nobody"] == "0" and canvas["Right"] == "14"


def test_canvas_finds_its_columns_and_its_row(files: dict[str, bytes]) -> None:
    header, possible, *body = rows(files["canvas.csv"])
    assert header == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", ASSIGNMENT.title]
    assert possible == ["Points Possible", "", "", "", "", "14"]
    assert not [row for row in body if "Points Possible" in row[0]], "a student can pose as that row"
    assert {row[1] for row in body if not row[0].startswith("Evil")} >= {"17"}


@pytest.mark.parametrize("name", ["grades.csv", "canvas.csv"])
def test_no_cell_is_a_formula(files: dict[str, bytes], name: str) -> None:
    cells = [cell for row in rows(files[name]) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert any(cell.startswith("'=HYPERLINK") for cell in cells)
    assert not [cell for cell in cells if re.search(r"[\x00-\x1f\x7f\u202e]", cell)]


@pytest.mark.parametrize("start", ["=1", "+1", "-1", "@A1", " =1", "\t=1", "\n=1", "\u00a0=1", "＝1"])
def test_formulas_are_defused_behind_space(start: str) -> None:
    assert text.cell(start)[0] == "'"


def test_a_deduction_is_told_and_applied(tmp_path: Path) -> None:
    late = result("ada", deduction=0.1, lateness="Handed in late: 10 % of the marks are deducted.")
    header, row = rows(table.grades([late], ASSIGNMENT).encode())
    record = dict(zip(header, row, strict=True))
    assert (record["total"], record["possible"], record["deduction"]) == ("12.6", "14", "0.1")
    reports.write([late], ASSIGNMENT, tmp_path)
    page = Page((tmp_path / "students/ada.html").read_bytes()).text
    assert "12.6 of 14 points" in page and late.lateness in page
    assert "−10 %" in Page((tmp_path / "index.html").read_bytes()).text


# --- JSON ----------------------------------------------------------------------------------------------


def test_results_can_be_read_back(files: dict[str, bytes]) -> None:
    data = json.loads(files["results.json"])
    expected = {one.student: one for one in [*every_outcome(), *map(hostile, EVIL)]}
    assert len(data["results"]) == len(expected)
    for one in data["results"]:
        if one["student"] != "evil-surrogate":  # UTF-8 has no such characters
            assert Result.from_json(one) == expected[one["student"]]
    assert (data["assignment"]["seed"], data["assignment"]["title"]) == (SEED, ASSIGNMENT.title)
    assert data["similar"][0]["score"] == 0.91


@pytest.mark.parametrize("outcome", Outcome)
def test_gradescope(outcome: Outcome) -> None:
    data = reports.gradescope(result("ada", {"jensen_shannon": outcome}), ASSIGNMENT)
    assert json.loads(json.dumps(data)) == data
    tests = {one["name"]: one for one in data["tests"]}
    assert list(tests) == list(SPECS)
    if outcome is Outcome.GRADER_FAULT:
        assert "score" not in data and not any("score" in one for one in tests.values())
        assert "The grader failed" in data["output"]
        return
    right = outcome is Outcome.RIGHT
    assert data["score"] == (14 if right else 12)
    assert tests["jensen_shannon"]["score"] == (2 if right else 0)
    assert tests["jensen_shannon"]["status"] == ("passed" if right else "failed")
    assert {one["max_score"] for one in tests.values()} == {1, 2}


def test_gradescope_keeps_to_its_format() -> None:
    """The fields of https://gradescope-autograders.readthedocs.io/en/latest/specs/ and what they may hold."""
    top = {"score", "execution_time", "output", "output_format", "test_output_format", "test_name_format"}
    top |= {"visibility", "stdout_visibility", "extra_data", "tests", "leaderboard"}
    test = {
        "score",
        "max_score",
        "status",
        "name",
        "name_format",
        "number",
        "output",
        "output_format",
        "tags",
    }
    test |= {"visibility", "extra_data"}
    for one in [*every_outcome(), *map(hostile, EVIL)]:
        data = reports.gradescope(one, ASSIGNMENT)
        assert data.keys() <= top
        assert data["output_format"] == data["test_output_format"] == data["test_name_format"] == "text"
        assert {data["visibility"], data["stdout_visibility"]} == {"visible", "hidden"}
        assert all(entry.keys() <= test for entry in data["tests"])
        json.dumps(data, ensure_ascii=False).encode("utf-8")
        assert len(json.dumps(data)) < 100_000


def test_gradescope_tells_lateness() -> None:
    data = reports.gradescope(result(deduction=0.5, lateness="Two days late."), ASSIGNMENT)
    assert data["score"] == 7
    assert "Two days late." in data["output"]


# --- JUnit ---------------------------------------------------------------------------------------------


def test_junit_tells_the_kinds_apart(files: dict[str, bytes]) -> None:
    root = ET.fromstring(files["junit.xml"])
    found = {
        suite.get("name"): next(
            case for case in suite.iter("testcase") if case.get("name") == "jensen_shannon"
        )
        for suite in root
    }
    for outcome in Outcome:
        case = found[outcome.name.lower().replace("_", "-")]
        expected = {Outcome.RIGHT: [], Outcome.NOT_ATTEMPTED: ["skipped"], Outcome.GRADER_FAULT: ["error"]}
        assert [child.tag for child in case] == expected.get(outcome, ["failure"])
        if len(case):
            assert (
                outcome.value in (case[0].text or "") and case[0].get("message") == f"it is {outcome.value}."
            )
    keys = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert len(keys) == len(set(keys)), "GitLab shows one of each class and name"


def test_junit_counts_what_it_holds(files: dict[str, bytes]) -> None:
    root = ET.fromstring(files["junit.xml"])
    for element in [root, *root]:
        assert element.get("tests") == str(len(list(element.iter("testcase"))))
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert element.get(attribute) == str(len(list(element.iter(tag))))


@pytest.mark.parametrize("low", range(0, 0x110000, 0x10000))
def test_xml_takes_every_character(low: int) -> None:
    everything = "".join(map(chr, range(low, low + 0x10000)))
    element = ET.Element("x", {"y": text.visible(everything)})
    element.text = text.visible(everything)
    parsed = ET.fromstring(ET.tostring(element, encoding="utf-8"))
    assert parsed.text == text.visible(everything) and parsed.get("y") == parsed.text


# --- Pages ---------------------------------------------------------------------------------------------


def test_pages_are_whole_and_load_nothing(files: dict[str, bytes]) -> None:
    for path, page in pages(files).items():
        tags = [tag for tag, _ in page.tags]
        assert not {"img", "link", "iframe", "object", "embed", "form", "base"} & set(tags), path
        assert not page.values("src") and not [
            name for _, a in page.tags for name in a if name.startswith("on")
        ]
        folder = Path(path).parent
        for href in page.values("href"):
            target, _, anchor = href.partition("#")
            assert not target or (folder / unquote(target)).as_posix() in files, (path, href)
            assert not anchor or anchor in page.values("id"), (path, href)
        assert len(page.values("id")) == len(set(page.values("id")))
        assert "lang" in page.tags[0][1] and tags.count("title") == tags.count("h1") == 1
        source = files[path].decode()
        assert "url(" not in source and "@import" not in source


def test_only_the_one_script_may_run(files: dict[str, bytes]) -> None:
    for path, page in pages(files).items():
        policy = next(a["content"] for tag, a in page.tags if "http-equiv" in a)
        assert policy is not None and policy.startswith("default-src 'none';")
        if path == "index.html":
            [script] = page.scripts
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            assert f"script-src 'sha256-{digest}'" in policy
        else:
            assert page.scripts == [] and "script-src 'none'" in policy


@pytest.mark.parametrize("what", EVIL)
def test_hostile_text_is_shown_and_does_nothing(files: dict[str, bytes], what: str) -> None:
    page = Page(files[f"students/evil-{what}.html"])
    honest = Page(files["students/raised.html"])
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in honest.tags} | {
        "mark",
        "span",
        "div",
        "section",
    }
    seen = "".join(page.texts)
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff]", seen
    )
    for word in re.findall(r"\w{4,}", text.visible(EVIL[what])[:200]):
        assert word in seen
    if what == "bidi":
        assert "⟨U+202E⟩} ;nruter" in seen


def test_code_is_highlighted_and_long_code_cut_with_a_note(files: dict[str, bytes]) -> None:
    assert 'class="k"' in str(code.as_html("def f(x):\n    return x\n"))
    assert (
        "Only the first 20,000 characters are shown; 80,000 more follow."
        in Page(files["students/evil-long.html"]).text
    )
    assert len(files["students/evil-long.html"]) < len(SPECS) * 25_000 + 50_000


@pytest.mark.parametrize(
    "slow",
    [" \n" * 10_000, "case" + "\n " * 9000, "match" + " " * 19_000 + "x", "x" * 19_000, "\u202e" * 9000],
)
def test_a_highlighter_gets_no_text_that_keeps_it_busy(slow: str) -> None:
    html = str(code.as_html(slow))
    assert "<span" not in html
    assert text.visible(slow) == re.sub("</?mark[^>]*>", "", html)


@pytest.mark.parametrize(
    "source", ["def f():\n    return '<b>' & 1\n", "x = 'é'\n\n\n", "\n\n  a", "if (", "\t1"]
)
def test_highlighting_changes_no_character(source: str) -> None:
    assert "".join(Page(str(code.as_html(source)).encode()).texts) == source


def test_backticks_become_code() -> None:
    assert str(text.rich("one `<b>` two")) == "one <code>&lt;b&gt;</code> two"


def test_a_student_sees_their_own_answers_only(files: dict[str, bytes]) -> None:
    others = [one.student for one in every_outcome()]
    page = files["students/right.html"].decode()
    assert not [student for student in others if f"{student}@" in page or f"{student}.html" in page]
    assert "index.html" not in page


def test_a_student_sees_what_came_of_each_exercise(tmp_path: Path) -> None:
    answers = (
        mark("optimal_discriminator"),
        mark("jensen_shannon", Outcome.WRONG_VALUE, hint="Halve the `sum`.", shown_by_check=True),
        mark("gan_objective", Outcome.WRONG_GRADIENT, shown_by_check=False, code=""),
    )
    one = result(
        marks=(*answers, *(mark(name) for name in list(SPECS)[3:])), sources=(Source("a.py", "f" * 64),)
    )
    reports.write([one], ASSIGNMENT, tmp_path)
    page = Page((tmp_path / "students/ada.html").read_bytes()).text
    assert "10 of 14 points" in page
    assert "✗ wrong value" in page and "Halve the sum." in page and "It is wrong value." in page
    assert "The cases of check(jensen_shannon) show a fault, too." in page
    assert "The cases of check(gan_objective) do not show this" in page
    assert "check(optimal_discriminator)" not in page
    assert (
        "a.py" in page
        and "f" * 64 in page
        and "genimg_ref 0.1.0" in page
        and "2026-11-30 12:00+00:00" in page
    )


def test_a_fault_of_the_grader_is_no_zero_on_a_page(files: dict[str, bytes]) -> None:
    page = Page(files["students/grader-fault.html"]).text
    assert "No total yet" in page and "The grader failed, not you" in page and "of 14 points" not in page
    index = Page(files["index.html"]).text
    assert "Grader fault: 1 mark is missing" in index
    assert index.index("Grader fault: 1 mark") < index.index("The class")


@pytest.mark.parametrize("level", ["user", "plain"])
def test_weaker_isolation_is_marked(tmp_path: Path, level: str) -> None:
    reports.write([result("ada", isolation=level), result("bob")], ASSIGNMENT, tmp_path)
    index = Page((tmp_path / "index.html").read_bytes()).text
    assert f"Isolation {level} is weaker than sandbox" in index and "1 of 2 students" in index
    assert f"{level}: as " in Page((tmp_path / "students/ada.html").read_bytes()).text
    for name in ("grades.csv", "junit.xml", "results.json"):
        assert level in (tmp_path / name).read_text()


def test_full_isolation_is_stated_without_a_warning(tmp_path: Path) -> None:
    reports.write([result("ada")], ASSIGNMENT, tmp_path)
    index = Page((tmp_path / "index.html").read_bytes()).text
    assert "weaker" not in index and "sandbox: each submission in a sandbox" in index


def test_marks_that_were_not_made_alike_are_told(tmp_path: Path) -> None:
    reports.write([result("ada"), result("bob", version="0.0.9")], ASSIGNMENT, tmp_path)
    assert "These marks were not all made alike" in Page((tmp_path / "index.html").read_bytes()).text


def test_pairs_are_linked_and_an_unknown_student_is_only_named(files: dict[str, bytes]) -> None:
    index = Page(files["index.html"])
    assert "91 %" in index.text and "50 %" in index.text
    assert "students/evil-markup.html" in index.values("href") and "students/gone.html" not in index.values(
        "href"
    )


def test_the_look_is_that_of_the_book(files: dict[str, bytes]) -> None:
    palette = dict(re.findall(r"--(\w+): (#[0-9A-F]{6});", files["index.html"].decode()))
    for name in ("PAPER", "INK", "MUTED", "REAL", "FAKE", "ACCENT", "GOLD", "PLUM"):
        assert palette[name.lower()] == getattr(style, name)


def test_each_kind_has_a_sign_and_a_word_of_its_own() -> None:
    assert (
        len({kind.sign for kind in kinds.KINDS})
        == len({kind.word for kind in kinds.KINDS})
        == len(kinds.KINDS)
    )
    assert kinds.kind_of(Outcome.RIGHT) is kinds.RIGHT and kinds.kind_of(Outcome.WRONG_VALUE) is kinds.WRONG


# --- The class -----------------------------------------------------------------------------------------


def test_the_class_is_counted() -> None:
    wrong = mark("jensen_shannon", Outcome.WRONG_VALUE, mistake="not_halved", hint="Halve it.")
    marks = tuple(wrong if one.exercise == "jensen_shannon" else one for one in result().marks)
    results = [
        result("ada"),
        result("bob", marks=marks),
        result("cy", marks=marks, deduction=0.5),
        result("dee", {"modes_covered": Outcome.GRADER_FAULT}),
        *(one for one in every_outcome() if one.student == "nobody"),
    ]
    view = overview.overview(results, ASSIGNMENT)
    assert (view.students, view.absent, view.possible) == (5, ["nobody"], 14)
    assert view.mean == pytest.approx((14 + 12 + 6) / 3) and view.median == 12
    assert {bar.low: bar.count for bar in view.bars if bar.count} == {14: 1, 12: 1, 6: 1}
    row = view.rows[1]
    assert (row.exercise, row.mean, row.told) == ("jensen_shannon", 1.0, "2 right, 2 wrong")
    assert [(one.mistake, one.students) for one in view.known] == [("not_halved", ["bob", "cy"])]
    assert view.wrong == 2
    assert [(one.student, fault.exercise) for one, fault in view.faults] == [("dee", "modes_covered")]


@pytest.mark.parametrize("possible", [1, 14, 19, 20, 21, 40, 137])
def test_bars_are_few_cover_all_totals_and_are_equally_wide(possible: int) -> None:
    bars = overview._bars([k / 2 for k in range(2 * possible + 1)], possible)
    assert len(bars) <= overview.BARS and sum(bar.count for bar in bars) == 2 * possible + 1
    assert len({bar.high - bar.low for bar in bars[:-1]}) <= 1
    assert bars[0].low == 0 and bars[-1].high == possible


# --- In a browser --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    driver = pytest.importorskip("playwright.sync_api", reason="playwright for Python is not installed")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no browser found")
    with driver.sync_playwright() as started:
        chromium = started.chromium.launch(
            executable_path=path, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    "path", ["index", "students/evil-markup", "students/evil-long", "students/grader-fault"]
)
def test_page_in_a_browser(browser: Any, folder: Path, path: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, bypass_csp=True)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda one: complaints.append(one.url) if not one.url.startswith("file:") else None)
    page.goto((folder / f"{path}.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
    page.add_script_tag(path=AXE)
    found = page.evaluate(
        "async () => (await axe.run(document)).violations.map(v => [v.id, v.nodes[0].html].join(' '))"
    )
    page.close()
    assert (found, complaints) == ([], [])


@pytest.mark.browser
def test_the_policy_lets_the_sorting_run_and_nothing_else(browser: Any, folder: Path) -> None:
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto((folder / "index.html").as_uri())
    totals = "[...document.querySelectorAll('.students tbody tr')].map(row => +row.cells[2].dataset.key)"
    before = page.evaluate(totals)
    page.click(".students th:nth-child(3) button")
    rising = page.evaluate(totals)
    page.click(".students th:nth-child(3) button")
    falling = page.evaluate(totals)
    page.close()
    assert complaints == [] and before != rising
    assert rising == sorted(before) and falling == sorted(before, reverse=True)
