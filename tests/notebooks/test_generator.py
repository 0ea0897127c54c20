"""The notebook generator on a course of one tiny chapter, made anew for each test."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import notebooks
from notebooks import Job, NotebookError

CHAPTER = '''\
---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
---

# A tiny chapter

Prose.

```{code-cell} ipython3
:tags: [setup]

# set-up
```

```{code-cell} ipython3
import os

from genimg_ref.a import one

print(one(), os.environ["GENIMG_BUDGET"])
```

```{code-cell} ipython3
:tags: [exercise]

def double(x: int) -> int:
    """Twice x."""
    raise NotImplementedError
```

```{code-cell} ipython3
print(double)
```

```{code-cell} ipython3
print(double)
```
'''

SOLUTIONS = """\
# %% [markdown]
# # Answers

# %%
from operator import mul

# %%
def double(x: int) -> int:
    return mul(2, x)
"""

FILES = {
    "_toc.yml": "root: book/index\nchapters:\n  - file: notebooks/tiny\n  # - file: notebooks/later\n",
    "_config.yml": "repository:\n  url: https://example.org/course/\n",
    "book/tiny.md": CHAPTER,
    "solutions/tiny.py": SOLUTIONS,
    "genimg_ref/__init__.py": "def check():\n    from genimg_ref.exercises import run\n    run()\n",
    "genimg_ref/a.py": '"""Numbers."""\nfrom .b import two\n\ndef one():\n    return two() - 1\n',
    "genimg_ref/b.py": "from genimg_ref.data import shapes\n\ndef two():\n    return 2\n",
    "genimg_ref/unused.py": "",
    "genimg_ref/data/__init__.py": "",
    "genimg_ref/data/shapes.py": "",
    "genimg_ref/data/files/shapes_train.bin": "abc",
    "genimg_ref/exercises/__init__.py": "from .engine import run\nfrom . import tiny\n",
    "genimg_ref/exercises/engine.py": "def run():\n    return 1\n",
    "genimg_ref/exercises/tiny.py": "",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        write(tmp_path, name, content)
    return tmp_path


def write(root: Path, name: str, content: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content, encoding="utf-8")


def edit(root: Path, name: str, old: str, new: str) -> None:
    content = (root / name).read_text(encoding="utf-8")
    assert old in content
    write(root, name, content.replace(old, new))


def student(root: Path) -> Job:
    return Job(root, "tiny", solved=False)


def solved(root: Path) -> Job:
    return Job(root, "tiny", solved=True)


def pretend_run(job: Job) -> None:
    """Store the notebook as if it had been run, so that tests of freshness need no kernel."""
    notebook = notebooks.build(job)
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
        cell.execution_count = count
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=f"output {count}\n")]
    job.target.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, job.target)


# ---- from text to cells ------------------------------------------------------------------------------------


def test_the_same_text_makes_the_same_bytes(root: Path) -> None:
    first, second = (nbformat.writes(notebooks.build(student(root))) for _ in range(2))
    assert first == second
    nbformat.validate(nbformat.reads(first, as_version=4))


def test_cell_ids_follow_content_and_are_unique(root: Path) -> None:
    ids = [cell.id for cell in notebooks.build(student(root)).cells]
    assert len(set(ids)) == len(ids)
    assert ids[-1] == f"{ids[-2]}-1"  # the last two cells have one content
    edit(root, "book/tiny.md", "Prose.", "Other prose.")
    assert [cell.id for cell in notebooks.build(student(root)).cells][1:] == ids[1:]


def test_no_version_is_stored(root: Path) -> None:
    metadata = notebooks.build(student(root)).metadata
    assert set(metadata) == {"kernelspec", "language_info", "genimg"}
    assert metadata.language_info == {"name": "python"}


def test_setup_cell_takes_the_address_from_the_config(root: Path) -> None:
    cell = next(c for c in notebooks.build(student(root)).cells if "setup" in notebooks.tags(c))
    assert '"git+https://example.org/course"' in cell.source
    assert len(cell.source.splitlines()) <= 12
    compile(cell.source, "set-up", "exec")
    write(root, "_config.yml", "title: no address\n")
    with pytest.raises(NotebookError, match=r"_config\.yml has no repository\.url"):
        notebooks.build(student(root))


def test_stubs_stay_in_one_notebook_and_are_answered_in_the_other(root: Path) -> None:
    open_stub = "\n".join(cell.source for cell in notebooks.build(student(root)).cells)
    assert "NotImplementedError" in open_stub and "mul" not in open_stub
    cells = notebooks.build(solved(root)).cells
    sources = [cell.source for cell in cells]
    assert "pictures are rough" in sources[1]
    assert "NotImplementedError" not in "\n".join(sources)
    answer = next(n for n, source in enumerate(sources) if "return mul(2, x)" in source)
    assert sources[answer - 1] == "from operator import mul"
    assert "# Answers" not in sources


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("solutions/tiny.py", "def double", "def _double", "has no answer for double"),
        ("solutions/tiny.py", "# %%\nfrom", "# %%\ndef triple(): ...\n\n# %%\nfrom", "triple, for"),
        (
            "solutions/tiny.py",
            "def double",
            "def triple(): ...\n\ndef double",
            "one cell answers triple and double",
        ),
        ("solutions/tiny.py", "# %%\nfrom", "# %%\ndef double(): ...\n\n# %%\nfrom", "defines double twice"),
        ("book/tiny.md", "def double", "def triple(): ...\n\ndef double", "defines triple and double"),
        ("book/tiny.md", "def double(x: int) -> int:", "if True:", "defines nothing"),
        ("book/tiny.md", "import os", "import os os", "this is not Python"),
        ("_toc.yml", "notebooks/tiny", "notebooks/gone", "book/gone.md does not exist"),
    ],
)
def test_what_does_not_fit_is_named(root: Path, name: str, old: str, new: str, message: str) -> None:
    edit(root, name, old, new)
    with pytest.raises(NotebookError, match=message):
        for job in notebooks.jobs(root):
            notebooks.build(job)


def test_solutions_may_be_withheld(root: Path) -> None:
    assert [job.name for job in notebooks.jobs(root)] == ["notebooks/tiny.ipynb", "solutions/tiny.ipynb"]
    (root / "solutions/tiny.py").unlink()
    (root / "solutions").rmdir()
    assert [job.name for job in notebooks.jobs(root)] == ["notebooks/tiny.ipynb"]
    notebooks.build(student(root))


def test_an_unknown_chapter_is_named(root: Path) -> None:
    with pytest.raises(NotebookError, match="no chapter is called 'tinny'; the chapters are tiny"):
        notebooks.jobs(root, ["tinny"])


def test_without_a_table_of_contents_the_chapters_are_the_texts(root: Path) -> None:
    (root / "_toc.yml").unlink()
    write(root, "book/welcome.md", "# Welcome\n")
    assert notebooks.chapters(root) == ["tiny"]


# ---- freshness ---------------------------------------------------------------------------------------------


def test_what_was_just_made_is_fresh(root: Path) -> None:
    for job in (student(root), solved(root)):
        assert notebooks.check(job) == f"{job.name} does not exist"
        pretend_run(job)
        assert notebooks.check(job) == ""


@pytest.mark.parametrize(
    ("name", "old", "new", "part", "student_stale", "solution_stale"),
    [
        ("book/tiny.md", "Prose.", "Other prose.", "prose", True, True),
        ("book/tiny.md", "print(one(),", "print(0, one(),", "code", True, True),
        ("book/tiny.md", '"""Twice x."""', '"""Two x."""', "stubs", True, False),
        ("solutions/tiny.py", "mul(2, x)", "mul(x, 2)", "solutions", False, True),
        ("_config.yml", "example.org", "example.com", "set-up cell", True, True),
        ("genimg_ref/a.py", "- 1", "- 2", "genimg_ref.a", True, True),
        ("genimg_ref/b.py", "return 2", "return 3", "genimg_ref.b", True, True),
        ("genimg_ref/exercises/engine.py", "return 1", "return 2", "genimg_ref.exercises.engine", True, True),
        ("genimg_ref/exercises/tiny.py", "", "x = 1\n", "genimg_ref.exercises.tiny", True, True),
        ("genimg_ref/data/files/shapes_train.bin", "abc", "abd", "shapes_train.bin", True, True),
    ],
)
def test_the_part_that_moved_on_is_named(
    root: Path, name: str, old: str, new: str, part: str, student_stale: bool, solution_stale: bool
) -> None:
    pretend_run(student(root))
    pretend_run(solved(root))
    edit(root, name, old, new)
    for job, stale in ((student(root), student_stale), (solved(root), solution_stale)):
        reason = notebooks.check(job)
        assert (f"moved on: {part})" in reason or f": {part})" in reason) if stale else reason == ""


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("genimg_ref/a.py", "    return", "    # a remark\n\n    return"),
        ("genimg_ref/a.py", "two() - 1", "(two()  -  1)"),
        ("genimg_ref/a.py", '"""Numbers."""', '"""A few numbers."""'),
        ("genimg_ref/unused.py", "", "x = 1\n"),
        ("_toc.yml", "  # - file: notebooks/later", ""),
    ],
)
def test_what_cannot_change_an_output_does_not_count(root: Path, name: str, old: str, new: str) -> None:
    pretend_run(student(root))
    edit(root, name, old, new)
    assert notebooks.check(student(root)) == ""


def test_exercises_of_other_chapters_do_not_count(root: Path) -> None:
    edit(root, "_toc.yml", "# - file", "- file")
    write(root, "book/later.md", CHAPTER)
    edit(root, "genimg_ref/exercises/__init__.py", "tiny", "later, tiny")
    write(root, "genimg_ref/exercises/later.py", "")
    pretend_run(student(root))
    write(root, "genimg_ref/exercises/later.py", "x = 1\n")
    assert notebooks.check(student(root)) == ""


def test_a_notebook_edited_by_hand_is_stale(root: Path) -> None:
    pretend_run(student(root))
    edit(root, "notebooks/tiny.ipynb", "Prose.", "Edited.")
    assert "the notebook itself" in notebooks.check(student(root))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (nbformat.v4.new_output("error", ename="E", evalue="e", traceback=[]), "it holds an error"),
        (nbformat.v4.new_output("stream", name="stderr", text="warning"), "it holds a stderr stream"),
    ],
)
def test_stored_outputs_must_be_clean(root: Path, output: nbformat.NotebookNode, message: str) -> None:
    pretend_run(student(root))
    notebook = nbformat.read(student(root).target, as_version=4)
    notebook.cells[-1].outputs = [output]
    nbformat.write(notebook, student(root).target)
    assert message in notebooks.check(student(root))


def test_a_notebook_that_was_not_run_is_stale(root: Path) -> None:
    student(root).target.parent.mkdir()
    nbformat.write(notebooks.build(student(root)), student(root).target)
    assert "it lacks outputs" in notebooks.check(student(root))


def test_new_prose_keeps_the_outputs(root: Path) -> None:
    pretend_run(student(root))
    before = student(root).target.read_text(encoding="utf-8")
    edit(root, "book/tiny.md", "Prose.", "Prose.\n\n+++\n\nMore.")
    assert "outputs kept" in notebooks.make(student(root))
    assert "in step" in notebooks.make(student(root))
    after = student(root).target.read_text(encoding="utf-8")
    assert "More." in after and before.count("output ") == after.count("output ") > 0


# ---- running -----------------------------------------------------------------------------------------------


def outputs(job: Job) -> str:
    cells = nbformat.read(job.target, as_version=4).cells
    return "".join(out.text for cell in cells if cell.cell_type == "code" for out in cell.outputs)


def test_both_notebooks_run_at_their_budget_and_repeat_to_the_byte(root: Path) -> None:
    lines = [notebooks.make(job) for job in notebooks.jobs(root)]
    assert all("run in" in line and "it is new" in line for line in lines)
    assert outputs(student(root)).startswith("1 book\n<function double at 0x…>")
    assert outputs(solved(root)).startswith("1 smoke\n")
    assert all(notebooks.check(job) == "" for job in notebooks.jobs(root))
    before = [job.target.read_bytes() for job in notebooks.jobs(root)]
    assert "in step" in notebooks.make(student(root))
    for job in notebooks.jobs(root):
        notebooks.make(job, force=True)
    assert [job.target.read_bytes() for job in notebooks.jobs(root)] == before


def test_a_cell_that_fails_is_shown_and_nothing_is_stored(root: Path) -> None:
    edit(root, "book/tiny.md", "print(one(),", "1 / 0  # the culprit\nprint(one(),")
    with pytest.raises(NotebookError, match=r"(?s)this cell failed:.*# the culprit.*ZeroDivisionError"):
        notebooks.make(student(root))
    assert not student(root).target.exists()


def test_a_cell_that_kills_the_kernel_is_shown(root: Path) -> None:
    edit(root, "book/tiny.md", "print(one(),", "os.kill(os.getpid(), 9)  # the culprit\nprint(one(),")
    with pytest.raises(NotebookError, match=r"(?s)this cell failed:.*# the culprit.*[Kk]ernel died"):
        notebooks.make(student(root))


def test_a_progress_bar_that_clears_itself_leaves_nothing_but_a_warning_is_an_error(root: Path) -> None:
    bar = "from tqdm import tqdm\nfor _ in tqdm(range(9), leave=False): pass\nprint(one(),"
    edit(root, "book/tiny.md", "print(one(),", bar)
    notebooks.make(student(root))
    assert outputs(student(root)).startswith("1 book\n")
    edit(root, "book/tiny.md", "leave=False", "leave=True")
    with pytest.raises(NotebookError, match=r"(?s)a cell writes to stderr:.*leave=True.*100%"):
        notebooks.make(student(root))


def run_setup_cell(cwd: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """Run the set-up cell in a fresh Python without this repository's package, then import the package."""
    source = notebooks.SETUP_CELL.format(package="genimg_ref", repository="https://example.org/course")
    script = "\n".join([*before, source, "import genimg_ref; print(genimg_ref.__file__)"])
    command = [sys.executable, "-I", "-S", "-c", script]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ, check=False)


def test_setup_cell_finds_the_clone_above_the_notebook(root: Path) -> None:
    result = run_setup_cell(root / "book")
    assert result.stdout.strip() == str(root / "genimg_ref/__init__.py"), result.stderr


def test_setup_cell_is_content_with_an_installed_package(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    result = run_setup_cell(elsewhere, f"import sys; sys.path.append({str(root)!r})")
    assert result.stdout.strip() == str(root / "genimg_ref/__init__.py"), result.stderr


def test_setup_cell_says_what_to_do_where_nothing_is_found(tmp_path: Path) -> None:
    last = run_setup_cell(tmp_path).stderr.strip().splitlines()[-1]
    assert "genimg_ref is missing: run `pip install git+https://example.org/course`" in last


def test_setup_cell_installs_in_colab(tmp_path: Path) -> None:
    in_colab = "import sys, subprocess; sys.modules['google.colab'] = sys"
    record = "subprocess.run = lambda command, **options: print(command[1:], options)"
    result = run_setup_cell(tmp_path, in_colab, record)
    expected = "['-m', 'pip', 'install', '--quiet', 'git+https://example.org/course'] {'check': True}"
    assert result.stdout.strip() == expected
