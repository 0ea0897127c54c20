"""The rules of the house: who may import whom, who is documented, what is annotated."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "genimg_ref"
MODULES = sorted(PACKAGE.rglob("*.py"))
# a module imports from its own layer and those before it
LAYERS = [
    {"data", "nn", "viz", "train"},
    {"classical", "gan", "vae", "diffusion", "metrics"},
    {"exercises"},
    {"grading"},
]


def layer(module: str) -> int:
    """The layer of ``genimg_ref.x.y``; the package itself is below all."""
    parts = module.split(".")
    return next((k for k, names in enumerate(LAYERS) if len(parts) > 1 and parts[1] in names), -1)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST) -> Iterator[str]:
    """Names of the package's modules that are imported anywhere in ``tree``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.startswith("genimg_ref."))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    if path == PACKAGE / "__init__.py":  # offers `check`, imported when it is called
        return
    own = layer(name_of(path))
    upwards = [name for name in imports(ast.parse(path.read_text())) if layer(name) > own]
    assert upwards == []


def test_probe_needs_nothing_of_the_package() -> None:
    assert list(imports(ast.parse((PACKAGE / "exercises" / "probe.py").read_text()))) == []


def public_functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        owners = node.body if isinstance(node, ast.Module | ast.ClassDef) else []
        yield from (f for f in owners if isinstance(f, ast.FunctionDef) and not f.name.startswith("_"))


def bare_tensors(annotation: ast.expr) -> Iterator[ast.Name]:
    """``Tensor`` without a shape: neither in a jaxtyping annotation nor in the type of a callable."""
    shaped = {
        id(inner)
        for node in ast.walk(annotation)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple)
        if not (isinstance(node.value, ast.Name) and node.value.id in ("tuple", "dict"))
        for inner in (ast.walk(node) if ast.unparse(node.value) == "Callable" else node.slice.elts[:1])
    }
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name) and node.id == "Tensor" and id(node) not in shaped:
            yield node


# methods whose meaning PyTorch has fixed
TORCH_PROTOCOL = {"forward", "state_dict", "load_state_dict"}
REFERENCE = [path for path in MODULES if layer(name_of(path)) in (0, 1)]


@pytest.mark.parametrize("path", REFERENCE, ids=name_of)
def test_public_functions_are_documented_and_state_shapes(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module has a docstring"
    for function in public_functions(tree):
        if function.name not in TORCH_PROTOCOL:
            assert ast.get_docstring(function), f"{function.name} has no docstring"
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        annotations = [a.annotation for a in arguments if a.annotation] + [function.returns]
        bare = [node for a in annotations if a for node in bare_tensors(a)]
        assert not bare, f"{function.name} takes or returns a Tensor without a shape"


def chapters_of(path: Path) -> list[str]:
    """The slugs on the line ``Chapter: a, b`` of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    line = re.search(r"^Chapters?: ([^.(\n]*)", docstring, re.MULTILINE)
    return [slug.strip() for slug in line[1].split(",")] if line else []


def chapter_imports(slug: str) -> set[str]:
    """The package's modules that a chapter's code cells import."""
    text = (ROOT / "book" / f"{slug}.md").read_text()
    cells = re.findall(r"^```\{code-cell\}.*?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    code = "\n".join(re.sub(r"^(---\n.*?^---$|(:.*\n)+)", "", cell, flags=re.M | re.S) for cell in cells)
    lines = re.findall(r"^(?:from genimg_ref|import genimg_ref).*(?:\n    .*|\n\))*", code, re.MULTILINE)
    return set(imports(ast.parse("\n".join(lines))))


DOCUMENTED = [path for path in REFERENCE if chapters_of(path)]


@pytest.mark.parametrize("path", DOCUMENTED, ids=name_of)
def test_the_chapters_that_a_module_names_import_it(path: Path) -> None:
    for slug in chapters_of(path):
        assert any(name.startswith(name_of(path)) for name in chapter_imports(slug)), slug


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.md")), ids=lambda path: path.stem)
def test_the_families_that_a_chapter_imports_name_a_chapter(path: Path) -> None:
    for name in chapter_imports(path.stem):
        if layer(name) == 1:
            stem = ROOT / Path(*name.split("."))
            file = next(p for p in (stem.with_suffix(".py"), stem.parent.with_suffix(".py")) if p.exists())
            assert chapters_of(file), f"{name_of(file)} names no chapter"
