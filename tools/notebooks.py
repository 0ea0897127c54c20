"""Write the course's notebooks: the only program that makes an .ipynb here.

    python tools/notebooks.py [--check] [--force] [SLUG ...]

``book/<slug>.md`` becomes ``notebooks/<slug>.ipynb``, the student's notebook, run at the budget ``book``.
With ``solutions/<slug>.py`` it becomes ``solutions/<slug>.ipynb``, in which the model answers stand in the
place of the stubs, run at the budget ``smoke``. Notebooks are made from text, never the other way round.

Each notebook carries in its metadata a fingerprint of every part it was made from. Only those whose parts
have moved on are run again, and ``--check`` runs nothing: it says which notebooks are stale, and why.
"""

import argparse
import ast
import hashlib
import importlib.util
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat
import yaml
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

PACKAGE = "genimg_ref"
SETUP, STUB, ANSWER = "setup", "exercise", "solution"  # the tags of the cells that are replaced and inserted
PARTS = {SETUP: "set-up cell", STUB: "stubs", ANSWER: "solutions"}  # what the freshness check calls them
CELL_TIMEOUT = 900  # seconds

SETUP_CELL = """\
# Set-up: find the course's package, which a clone holds and Colab has to install.
import importlib.util, subprocess, sys
from pathlib import Path

clones = [str(p) for p in Path.cwd().parents if (p / "{package}/__init__.py").is_file()]
sys.path[:0] = clones[:1]
if not importlib.util.find_spec("{package}"):
    source = "git+{repository}"
    if "google.colab" not in sys.modules:
        raise ModuleNotFoundError(f"{package} is missing: run `pip install {{source}}` first.")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source], check=True)"""

ROUGH = """\
> **Model answers.** Made by `make notebooks` from `book/{slug}.md` and `solutions/{slug}.py`, at the budget
> `smoke`, which trains for a few steps only: the pictures are rough; the chapter shows better ones."""


class NotebookError(Exception):
    """Something in the text, the solutions or their run that has to be put right by hand."""


class Job(NamedTuple):
    """One notebook to be made."""

    root: Path
    slug: str
    solved: bool  # the solution notebook, not the student's

    @property
    def text(self) -> Path:
        return self.root / "book" / f"{self.slug}.md"

    @property
    def solutions(self) -> Path:
        return self.root / "solutions" / f"{self.slug}.py"

    @property
    def target(self) -> Path:
        return self.root / ("solutions" if self.solved else "notebooks") / f"{self.slug}.ipynb"

    @property
    def budget(self) -> str:
        return "smoke" if self.solved else "book"

    @property
    def name(self) -> str:
        return str(self.target.relative_to(self.root))


def jobs(root: Path, slugs: list[str] | None = None) -> list[Job]:
    """What there is to make: two notebooks a chapter, or one where the solutions are withheld."""
    known = chapters(root)
    for slug in slugs or []:
        if slug not in known:
            raise NotebookError(
                f"no chapter is called {slug!r}; the chapters are {', '.join(known) or 'none'}"
            )
    all_jobs = [Job(root, slug, solved) for slug in slugs or known for solved in (False, True)]
    return [job for job in all_jobs if not job.solved or (root / "solutions").is_dir()]


def chapters(root: Path) -> list[str]:
    """The slugs of the chapters in the order of ``_toc.yml``: its pages in ``notebooks/``."""
    toc = root / "_toc.yml"
    if toc.exists():
        return re.findall(r"^[ -]*file: *notebooks/([\w-]+)", toc.read_text("utf-8"), re.MULTILINE)
    return sorted(
        page.stem for page in (root / "book").glob("*.md") if "\njupytext:" in page.read_text("utf-8")
    )


# ---- from text to cells ----------------------------------------------------------------------------------


def build(job: Job) -> NotebookNode:
    """The notebook without outputs, with the fingerprints of its parts."""
    if not job.text.exists():
        raise NotebookError(f"_toc.yml lists {job.slug}, but {job.text.relative_to(job.root)} does not exist")
    source = jupytext.read(job.text, fmt="md:myst")
    cells = with_answers(source.cells, answers(job), job) if job.solved else source.cells
    cells = [with_setup(cell, job.root) if SETUP in tags(cell) else cell for cell in cells]
    notebook = nbformat.v4.new_notebook(cells=name_cells(cells))
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        genimg=fingerprints(job, cells),
    )
    return notebook


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def with_setup(cell: NotebookNode, root: Path) -> NotebookNode:
    config = root / "_config.yml"
    settings = yaml.safe_load(config.read_text("utf-8")) if config.exists() else {}
    address = (settings.get("repository") or {}).get("url")
    if not address:
        raise NotebookError("_config.yml has no repository.url, from which the set-up cell is made")
    source = SETUP_CELL.format(package=PACKAGE, repository=address.rstrip("/"))
    return new_code_cell(source, metadata=cell.metadata)


def name_cells(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Give each cell an id that follows from its content, so that the same text makes the same bytes."""
    seen: Counter[str] = Counter()
    for cell in cells:
        digest = fingerprint(cell.cell_type + cell.source)[:8]
        cell.id = f"{digest}-{seen[digest]}" if seen[digest] else digest
        seen[digest] += 1
    return cells


def defined(source: str) -> list[str]:
    """The functions and classes that a cell defines at its top level."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node.name for node in parse(source).body if isinstance(node, kinds)]


def parse(source: str) -> ast.Module:
    """Parse a cell or a module, leaving out what only IPython understands."""
    if source.startswith("%%"):
        return ast.Module(body=[], type_ignores=[])
    try:
        return ast.parse(re.sub(r"^( *)[%!].*", r"\1pass", source, flags=re.MULTILINE))
    except SyntaxError as error:
        raise NotebookError(f"this is not Python ({error.msg}, line {error.lineno}):\n\n{source}") from None


def stub_name(cell: NotebookNode, job: Job) -> str:
    names = defined(cell.source)
    if len(names) != 1:
        found = " and ".join(names) or "nothing"
        raise NotebookError(
            f"{job.text.name}: a stub defines one function or class, but this one defines {found}"
        )
    return names[0]


def answers(job: Job) -> dict[str, list[NotebookNode]]:
    """For each public definition its cell, after the imports, helpers and remarks that precede it."""
    if not job.solutions.exists():
        raise NotebookError(f"solutions/{job.slug}.py does not exist")
    found: dict[str, list[NotebookNode]] = {}
    waiting: list[NotebookNode] = []
    for cell in jupytext.read(job.solutions, fmt="py:percent").cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            continue  # the title of the file
        waiting.append(cell)
        if cell.cell_type == "markdown":
            continue
        cell.metadata = NotebookNode(tags=[ANSWER])
        names = [name for name in defined(cell.source) if not name.startswith("_")]
        if len(names) > 1:
            raise NotebookError(f"solutions/{job.slug}.py: one cell answers {' and '.join(names)}: split it")
        for name in names:
            if name in found:
                raise NotebookError(f"solutions/{job.slug}.py defines {name} twice")
            found[name], waiting = waiting, []
    return found


def with_answers(
    cells: list[NotebookNode], solved: dict[str, list[NotebookNode]], job: Job
) -> list[NotebookNode]:
    """Put the answers in the place of the stubs, and a note below the title."""
    stubs = {stub_name(cell, job): cell for cell in cells if STUB in tags(cell)}
    if missing := [name for name in stubs if name not in solved]:
        raise NotebookError(f"solutions/{job.slug}.py has no answer for {', '.join(missing)}")
    if orphans := [name for name in solved if name not in stubs]:
        raise NotebookError(
            f"solutions/{job.slug}.py defines {', '.join(orphans)}, for which book/{job.slug}.md has no stub "
            "(the name of a helper begins with an underscore)"
        )
    result = []
    for cell in cells:
        result.extend(solved[stub_name(cell, job)] if STUB in tags(cell) else [cell])
    result.insert(1, new_markdown_cell(ROUGH.format(slug=job.slug)))
    return result


# ---- what a notebook was made from -----------------------------------------------------------------------


def fingerprint(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:16]


def fingerprints(job: Job, cells: list[NotebookNode]) -> dict[str, str]:
    """What the notebook depends on, part by part: prose, code, answers, modules and data of the package."""
    code = [cell for cell in cells if cell.cell_type == "code"]
    prose = [f"{cell.metadata}{'' if cell.cell_type == 'code' else cell.source}" for cell in cells]
    parts = {"prose": fingerprint("\0".join(prose))}
    for part in {part_of(cell) for cell in code}:
        parts[part] = fingerprint("\0".join(cell.source if part_of(cell) == part else "" for cell in code))
    modules = closure(job, [cell.source for cell in code])
    parts.update(
        {name: fingerprint(essence(parse(path.read_text("utf-8")))) for name, path in modules.items()}
    )
    for name, path in modules.items():
        # files/fashion_… and files/fashion.… belong to the module fashion
        for data in sorted(path.parent.glob(f"files/{path.stem}[._]*")):
            parts[f"{name}: {data.name}"] = fingerprint(data.read_bytes())
    return dict(sorted(parts.items()))


def part_of(cell: NotebookNode) -> str:
    return next((PARTS[tag] for tag in tags(cell) if tag in PARTS), "code")


def closure(job: Job, code: list[str]) -> dict[str, Path]:
    """The modules of the package that the code imports, also through others, and the chapter's exercises.

    ``check`` loads the exercises of every chapter; those of the other chapters are left out.
    """
    others = {f"{PACKAGE}.exercises.{slug}" for slug in chapters(job.root) if slug != job.slug}
    found: dict[str, Path] = {}
    waiting = [
        f"{PACKAGE}.exercises.{job.slug}",
        *(name for source in code for name in imports(parse(source), "")),
    ]
    while waiting:
        name = waiting.pop()
        path = module_file(job.root, name)
        if path is None or name in found or name in others:
            continue
        found[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [name.rpartition(".")[0], *imports(parse(path.read_text("utf-8")), package)]
    return found


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Every dotted name that may be a module imported anywhere in the tree, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(relative, package) if node.level else relative
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def module_file(root: Path, name: str) -> Path | None:
    if name.partition(".")[0] != PACKAGE:
        return None
    path = root.joinpath(*name.split("."))
    return next((p for p in (path / "__init__.py", path.with_suffix(".py")) if p.is_file()), None)


def essence(node: object) -> str:
    """The syntax tree without comments and docstrings, written alike by every version of Python."""
    if isinstance(node, list):
        return f"[{','.join(essence(item) for item in node)}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
        fields["body"] = node.body[1:]
    return f"{type(node).__name__}({','.join(f'{name}={essence(value)}' for name, value in fields.items())})"


def moved_on(stored: NotebookNode, fresh: NotebookNode) -> list[str]:
    """The parts that differ between a stored notebook and one made now."""
    old, new = stored.metadata.get("genimg", {}), fresh.metadata.genimg
    parts = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return parts or (
        [] if skeleton(stored) == skeleton(fresh) else ["the notebook itself, which is generated"]
    )


def skeleton(notebook: NotebookNode) -> NotebookNode:
    """The notebook without what running it adds."""
    bare = nbformat.from_dict(notebook)
    for cell in bare.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    return bare


# ---- running ---------------------------------------------------------------------------------------------


def execute(notebook: NotebookNode, job: Job) -> None:
    """Run every cell in this environment's Python, and keep the outputs that belong on a page."""
    # no kernel folders: whatever is registered on the machine, "python3" is the Python of this program
    kernels = KernelSpecManager(kernel_dirs=[])
    started: list[NotebookNode] = []
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=kernels),
        timeout=CELL_TIMEOUT,
        resources={"metadata": {"path": str(job.target.parent)}},
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=False,
        on_cell_start=lambda cell, cell_index: started.append(cell),
        extra_arguments=["--log-level=ERROR"],
    )
    try:
        client.execute(cleanup_kc=True, env=os.environ | {"GENIMG_BUDGET": job.budget, "PYTHONHASHSEED": "0"})
    except (CellExecutionError, CellTimeoutError, RuntimeError) as error:
        tail = "\n".join(re.sub(r"\x1b\[[\d;]*m", "", str(error)).strip().splitlines()[-12:])
        source = started[-1].source if started else "(none was reached: the kernel did not start)"
        raise NotebookError(f"{job.name}: this cell failed:\n\n{source}\n\n{tail}") from None
    notebook.metadata.language_info = {"name": "python"}  # not this Python's version
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [tidy(output) for output in cell.outputs if not is_noise(output, cell, job)]


def is_noise(output: NotebookNode, cell: NotebookNode, job: Job) -> bool:
    """Whether an output is a progress bar that has cleared itself; anything else on stderr is an error."""
    if output.get("name") != "stderr":
        return False
    last_written = [[part for part in line.split("\r") if part][-1:] for line in output.text.split("\n")]
    left = "".join(part for line in last_written for part in line).strip()
    if left:
        raise NotebookError(f"{job.name}: a cell writes to stderr:\n\n{cell.source}\n\n{left}")
    return True


def tidy(output: NotebookNode) -> NotebookNode:
    """Replace memory addresses, which differ from run to run."""
    text = output if output.output_type == "stream" else output.get("data", {})
    for key in {"text", "text/plain"} & text.keys():
        text[key] = re.sub(r"\b0x[0-9a-f]{6,16}\b", "0x…", text[key])
    return output


def faults(notebook: NotebookNode) -> list[str]:
    """What a stored notebook must not look like."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    found = []
    if any(cell.execution_count is None for cell in code):
        found.append("it lacks outputs")
    if any(output.output_type == "error" for output in outputs):
        found.append("it holds an error")
    if any(output.get("name") == "stderr" for output in outputs):
        found.append("it holds a stderr stream")
    return found


# ---- the two commands ------------------------------------------------------------------------------------


def check(job: Job) -> str:
    """Why a stored notebook has to be made again; an empty string if it need not."""
    fresh = build(job)
    if not job.target.exists():
        return f"{job.name} does not exist"
    stored = nbformat.read(job.target, as_version=4)
    moved = moved_on(stored, fresh)
    reasons = [f"moved on: {', '.join(moved)}"] if moved else []
    reasons += faults(stored)
    return f"{job.name} is stale ({'; '.join(reasons)})" if reasons else ""


def make(job: Job, force: bool = False) -> str:
    """Make one notebook unless it is in step. Where only prose moved on, the outputs stay."""
    fresh = build(job)
    stored = nbformat.read(job.target, as_version=4) if job.target.exists() else None
    moved = moved_on(stored, fresh) if stored else ["it is new"]
    if stored and not force and not faults(stored):
        if not moved:
            return f"{job.name}: in step"
        if moved == ["prose"]:
            return keep_outputs(stored, fresh, job)
    start = time.perf_counter()
    job.target.parent.mkdir(exist_ok=True)
    execute(fresh, job)
    nbformat.write(fresh, job.target)
    size = job.target.stat().st_size / 1e6
    took = f"run in {time.perf_counter() - start:.0f} s, {size:.1f} MB"
    return f"{job.name}: {took} ({', '.join(moved) or 'forced'})"


def keep_outputs(stored: NotebookNode, fresh: NotebookNode, job: Job) -> str:
    was, now = ([cell for cell in book.cells if cell.cell_type == "code"] for book in (stored, fresh))
    for old, new in zip(was, now, strict=True):
        new.update(outputs=old.outputs, execution_count=old.execution_count)
    nbformat.write(fresh, job.target)
    return f"{job.name}: prose renewed, outputs kept"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("slugs", nargs="*", metavar="SLUG", help="only these chapters")
    parser.add_argument(
        "--check", action="store_true", help="run nothing; fail if a stored notebook is stale"
    )
    parser.add_argument("--force", action="store_true", help="run also what is in step")
    options = parser.parse_args()
    root = Path(__file__).resolve().parent.parent
    failed = False
    try:
        work = jobs(root, options.slugs)
    except NotebookError as error:
        sys.exit(str(error))
    for job in work:
        try:
            line = check(job) if options.check else make(job, options.force)
        except NotebookError as error:
            line, failed = str(error), True
        failed = failed or (options.check and bool(line))
        if line:
            print(line, flush=True)
    if options.check:
        print("run `make notebooks`" if failed else f"{len(work)} notebooks are in step")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
