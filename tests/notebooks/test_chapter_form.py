"""Every chapter keeps the form that students, the checks and the book rely on."""

import ast
import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbformat import NotebookNode

import notebooks
from genimg_ref.exercises import chapter
from notebooks import Job

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = notebooks.chapters(ROOT)
JOBS = notebooks.jobs(ROOT)
HEADING = re.compile(r"^### Exercise: (.*)$", re.MULTILINE)
HEADING_FORM = re.compile(r"`(\w+)` \((\d+) points?, (\d+) minutes?\)")
EQUATIONS = re.compile(r"[Ee]quations? ((?:\(\d+\)(?:, and |, | and | to |–)?)+)")
STORED_LIMIT = 2.5e6  # bytes; Colab and GitHub show larger notebooks slowly or not at all

each_chapter = pytest.mark.parametrize("slug", CHAPTERS)
each_notebook = pytest.mark.parametrize("job", JOBS, ids=[job.name for job in JOBS])


def text_cells(slug: str) -> list[NotebookNode]:
    return jupytext.read(ROOT / "book" / f"{slug}.md", fmt="md:myst").cells


def prose(slug: str) -> str:
    return "\n\n".join(cell.source for cell in text_cells(slug) if cell.cell_type == "markdown")


def stored(job: Job) -> list[NotebookNode]:
    return nbformat.read(job.target, as_version=4).cells


def test_there_are_chapters() -> None:
    assert CHAPTERS


# ---- the text ----------------------------------------------------------------------------------------------


@each_chapter
def test_headings_state_the_points_and_minutes_of_the_exercises(slug: str) -> None:
    headings = HEADING.findall(prose(slug))
    stated = [HEADING_FORM.fullmatch(heading) for heading in headings]
    assert all(stated), f"these do not read `name` (P points, M minutes): {headings}"
    expected = [(name, str(x.points), str(x.minutes)) for name, x in chapter(slug).items()]
    assert [match.groups() for match in stated if match] == expected


@each_chapter
def test_the_line_under_the_title_states_the_sum_of_the_points(slug: str) -> None:
    title, line = [line for line in prose(slug).splitlines() if line][:2]
    assert title.startswith("# ")
    assert re.match(r"\*\*About [\d.½]+ hours? · (\d+) points\b.*\*\*$", line), line
    assert f" {sum(x.points for x in chapter(slug).values())} points" in line


@each_chapter
def test_each_exercise_is_a_heading_then_its_stub_then_its_check(slug: str) -> None:
    found = []
    for cell in text_cells(slug):
        if cell.cell_type == "markdown":
            found += [("heading", name) for name in re.findall(r"^### Exercise: `(\w+)`", cell.source, re.M)]
        elif notebooks.STUB in notebooks.tags(cell):
            found.append(("stub", notebooks.stub_name(cell, Job(ROOT, slug, solved=False))))
        elif check := re.fullmatch(r"check\((\w+)\)", cell.source.strip()):
            assert "nbval-check-output" in notebooks.tags(cell), cell.source
            found.append(("check", check[1]))
    assert found == [(kind, name) for name in chapter(slug) for kind in ("heading", "stub", "check")]


@each_chapter
def test_stubs_are_open_typed_and_documented(slug: str) -> None:
    for cell in text_cells(slug):
        if notebooks.STUB not in notebooks.tags(cell):
            continue
        [stub] = ast.parse(cell.source).body
        assert isinstance(stub, (ast.FunctionDef, ast.ClassDef))
        assert ast.get_docstring(stub), f"{stub.name} has no docstring"
        functions = [node for node in ast.walk(stub) if isinstance(node, ast.FunctionDef)]
        for function in functions:
            untyped = [a.arg for a in function.args.args if a.annotation is None and a.arg != "self"]
            assert not untyped, f"{stub.name}: {untyped} have no type"
        raised = [ast.unparse(node) for node in ast.walk(stub) if isinstance(node, ast.Raise)]
        assert any(line.startswith("raise NotImplementedError") for line in raised), stub.name


@each_chapter
def test_the_first_code_cell_is_the_set_up(slug: str) -> None:
    first, *others = [cell for cell in text_cells(slug) if cell.cell_type == "code"]
    assert notebooks.SETUP in notebooks.tags(first) and first.source.strip() == "# set-up"
    assert not any(notebooks.SETUP in notebooks.tags(cell) for cell in others)


@each_chapter
def test_equations_are_numbered_in_order_and_those_mentioned_exist(slug: str) -> None:
    numbers = [int(n) for n in re.findall(r"\\tag\{(\d+)\}", prose(slug))]
    assert numbers == list(range(1, len(numbers) + 1))
    mentioned = {int(n) for group in EQUATIONS.findall(prose(slug)) for n in re.findall(r"\d+", group)}
    assert mentioned <= set(numbers)


@each_chapter
def test_prose_reads_well_in_colab(slug: str) -> None:
    roles = re.findall(r"\{(?:eq|cite|ref|numref|doc|term|math)[^}]*\}`[^`]*`", prose(slug))
    assert not roles, "Colab shows these raw"
    images = re.findall(r"!\[\s*\]\([^)]*\)", prose(slug))
    assert not images, "these images lack an alternative text"


# ---- the notebooks -----------------------------------------------------------------------------------------


@each_chapter
def test_no_line_of_a_paragraph_is_taken_for_a_list(slug: str) -> None:
    """A formula that is wrapped before its minus would be."""
    paragraphs = [p.splitlines() for p in re.split(r"\n\s*\n", prose(slug))]
    item = re.compile(r"\s*([-+*]|\d+[.)]) ")
    assert [lines for lines in paragraphs if not item.match(lines[0]) and any(map(item.match, lines))] == []


@each_notebook
def test_stored_notebooks_are_in_step(job: Job) -> None:
    assert notebooks.check(job) == ""


@each_notebook
def test_verdicts_are_right_in_solutions_and_open_elsewhere(job: Job) -> None:
    expected = "✓ {}: right." if job.solved else "· {}: not attempted yet."
    checks = {
        re.fullmatch(r"check\((\w+)\)", cell.source.strip())[1]: cell.outputs
        for cell in stored(job)
        if cell.cell_type == "code" and re.fullmatch(r"check\((\w+)\)", cell.source.strip())
    }
    shown = {name: [out.data["text/plain"] for out in outputs] for name, outputs in checks.items()}
    assert shown == {name: [expected.format(name)] for name in chapter(job.slug)}


@each_notebook
def test_pictures_have_an_alternative_text(job: Job) -> None:
    for cell in stored(job):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if any(kind.startswith("image/") for kind in data):
                alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
                assert len(alt) > 10, f"no alternative text:\n{cell.source}"
            for tag in re.findall(r"<(?:img|canvas|svg|video)\b[^>]*>", data.get("text/html", "")):
                assert re.search(r'(?:alt|aria-label)="[^"]{10,}"', tag), f"no alternative text: {tag[:80]}"


@each_notebook
def test_stored_notebooks_are_small(job: Job) -> None:
    assert job.target.stat().st_size < STORED_LIMIT
