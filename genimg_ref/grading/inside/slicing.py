"""What of a notebook an answer needs: its definition and, transitively, all that binds the names it uses.

Cells are text that nobody has checked. They are parsed here, behind the walls, since Python's own parser can
be crashed by nesting. Nothing is run here.
"""

import __future__

import ast
import builtins
import dataclasses
import functools
import io
import operator
import re
import symtable
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

REFERENCE = "genimg_ref"
# cell magics whose body is ordinary code of the notebook
TRANSPARENT = re.compile(r"\A\s*%%(time|timeit|capture|prun|mypy|memray)\b[^\n]*\n")
OPAQUE = re.compile(r"\A\s*%%")
# lines that are magics or shell escapes, with what they continue on, alone or on the right of an assignment
TIMED = re.compile(r"^([ \t]*)%time[ \t]+", re.MULTILINE)
MAGIC = re.compile(r"^([ \t]*)(?:[\w, \t]+=[ \t]*)?[%!?](?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
HELP = re.compile(r"^([ \t]*)[\w.]+\?+[ \t]*$", re.MULTILINE)
ADDING = {"add", "append", "extend", "insert", "setdefault", "update"}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Statement:
    """A statement at the top level of a cell.

    Attributes:
        cell: its number, from 1.
        filename: of the cell, for tracebacks.
        defines: the global names that it binds.
        touches: the global names into whose value it stores something.
        uses: the global names that it, or a function defined in it, looks up.
        sets: the global names that a function defined in it binds when it is called.
    """

    node: ast.stmt
    source: str
    cell: int
    filename: str
    defines: frozenset[str]
    touches: frozenset[str]
    uses: frozenset[str]
    sets: frozenset[str]

    @property
    def binds(self) -> frozenset[str]:
        return self.defines | self.touches


@dataclass(frozen=True)
class Notebook:
    """The statements of a notebook in order, and what is wrong with the cells that could not be parsed.

    Attributes:
        texts: the cells after magics were taken out, by file name.
        broken: the error of each cell that is no Python, by the names that it would have defined.
        refused: names that the notebook takes from the reference, which is not there.
        future: the compiler's flags for the notebook's imports from ``__future__``.
    """

    statements: tuple[Statement, ...]
    texts: dict[str, str]
    broken: dict[str, SyntaxError]
    refused: frozenset[str]
    future: int


def read(cells: Iterable[str], label: str = "cell") -> Notebook:
    """Parse the cells, one by one: what is wrong with one of them is lost with it alone."""
    statements: list[Statement] = []
    texts: dict[str, str] = {}
    broken: dict[str, SyntaxError] = {}
    refused: set[str] = set()
    future = 0
    for number, cell in enumerate(cells, start=1):
        filename = f"<{label} {number}>"
        text, parsed = _parse(TRANSPARENT.sub("\n", cell), filename)
        texts[filename] = text
        if isinstance(parsed, SyntaxError):
            broken |= dict.fromkeys(_names_defined(text), parsed)
            continue
        lines = text.split("\n")  # as Python counts them
        for node in parsed.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                future |= _future(node)
                left, taken = _without_reference(node)
                refused |= taken
                if left is None:
                    continue
                node = left
            try:
                statements.append(_statement(node, lines, number, filename))
            except (SyntaxError, ValueError, RecursionError):  # parsed, and no program all the same
                broken |= dict.fromkeys(_names_defined(_text_of(node, lines)), SyntaxError("not a program"))
    for statement in statements:  # what is made from the reference is not there, either
        if not isinstance(statement.node, Definition) and statement.uses & refused:
            refused |= statement.defines
    return Notebook(tuple(_with_calls(statements)), texts, broken, frozenset(refused), future)


def _parse(cell: str, filename: str) -> tuple[str, ast.Module | SyntaxError]:
    """A cell as plain Python, and parsed. Magics and shell escapes are taken out; no answer needs them."""
    if OPAQUE.match(cell):
        return "", ast.Module([], [])
    parsed = _parsed(cell, filename)
    for _ in range(50):  # one after the other: a line that begins like a magic may be the middle of a sum
        line = parsed.lineno if isinstance(parsed, SyntaxError) else None
        if line is None:
            break
        start = sum(map(len, cell.split("\n")[: line - 1])) + line - 1
        plain = cell[:start] + _plain(cell[start:], count=1)
        if plain == cell:
            break
        cell, parsed = plain, _parsed(plain, filename)
    if isinstance(parsed, SyntaxError):
        plain = _plain(cell)
        parsed = _parsed(plain, filename)
        return plain, parsed
    return cell, parsed


def _plain(text: str, count: int = 0) -> str:
    """``text`` without magics, or without one on its first line."""
    if not count:
        return HELP.sub(r"\1pass", MAGIC.sub(_nothing, TIMED.sub(r"\1", text)))
    for pattern, instead in ((TIMED, r"\1"), (MAGIC, _nothing), (HELP, r"\1pass")):
        if found := pattern.match(text):
            return (found.expand(instead) if isinstance(instead, str) else instead(found)) + text[
                found.end() :
            ]
    return text


def _parsed(text: str, filename: str) -> ast.Module | SyntaxError:
    try:
        return ast.parse(text, filename)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError) as error:
        return SyntaxError(str(error))


def _nothing(magic: re.Match[str]) -> str:
    return f"{magic[1]}pass" + "\n" * magic[0].count("\n")


def _names_defined(text: str) -> list[str]:
    return re.findall(r"^(?:async\s+def|def|class)\s+(\w+)", text, re.MULTILINE)


def _future(node: ast.Import | ast.ImportFrom) -> int:
    """The compiler's flags for an import from ``__future__``."""
    if not isinstance(node, ast.ImportFrom) or node.module != "__future__":
        return 0
    features = [getattr(__future__, alias.name, None) for alias in node.names]
    return functools.reduce(operator.or_, (f.compiler_flag for f in features if f is not None), 0)


def _without_reference(
    node: ast.Import | ast.ImportFrom,
) -> tuple[ast.Import | ast.ImportFrom | None, set[str]]:
    """An import statement without what it takes from the reference, and the names of that."""

    def of_reference(module: str | None) -> bool:
        return (module or "").split(".")[0] == REFERENCE

    if isinstance(node, ast.ImportFrom):
        names = {alias.asname or alias.name for alias in node.names}
        return (None, names) if of_reference(node.module) else (node, set())
    taken = {a.asname or a.name.split(".")[0] for a in node.names if of_reference(a.name)}
    left = [alias for alias in node.names if not of_reference(alias.name)]
    return (ast.copy_location(ast.Import(left), node) if left else None), taken


def _statement(node: ast.stmt, lines: list[str], cell: int, filename: str) -> Statement:
    source = _text_of(node, lines)
    try:
        table = symtable.symtable(source, filename, "exec")
    except SyntaxError:  # the line began with the end of another statement
        table = symtable.symtable(ast.unparse(node), filename, "exec")
    touched = [] if isinstance(node, Definition) else _touched(node)
    names = (_defined(node, table), touched, _used(table), _set_as_global(table))
    return Statement(node, source, cell, filename, *map(frozenset, names))


def _text_of(node: ast.stmt, lines: list[str]) -> str:
    decorators = node.decorator_list if isinstance(node, Definition) else []
    first = min([node.lineno, *(d.lineno for d in decorators)])
    return "\n".join(lines[first - 1 : node.end_lineno])


def _defined(node: ast.stmt, table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace():
            yield symbol.get_name()
    if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
        yield "*"


def _touched(node: ast.AST) -> Iterator[str]:
    """Names of objects whose attributes or elements are set, or that are added to or changed in place."""
    for part in ast.walk(node):
        owner: ast.expr | None = None
        if isinstance(part, ast.Attribute | ast.Subscript) and isinstance(part.ctx, ast.Store):
            owner = part.value
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            name = part.func.attr
            if name in ADDING or (name.endswith("_") and not name.endswith("__")):
                owner = part.func.value
        while isinstance(owner, ast.Attribute | ast.Subscript):
            owner = owner.value
        if isinstance(owner, ast.Name):
            yield owner.id


def _called(node: ast.stmt) -> str:
    """The name of the function that a statement consists in calling, if it is one."""
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
    ):
        return node.value.func.id
    return ""


def _with_calls(statements: list[Statement]) -> Iterator[Statement]:
    """The same statements; one that calls a function of the notebook touches what that function changes."""
    changes: dict[str, set[str]] = {}
    for statement in statements:
        if isinstance(statement.node, ast.FunctionDef):
            outside = {name for name in _touched(statement.node) if name in statement.uses}
            changes[statement.node.name] = outside | statement.sets
    for statement in statements:
        more = changes.get(_called(statement.node), set())
        yield dataclasses.replace(statement, touches=statement.touches | more) if more else statement


def _used(table: symtable.SymbolTable) -> Iterator[str]:
    """Global names that the statement looks up, at once or when a function defined in it is called."""
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _used(child)
    yield from _set_as_global(table)  # which may be by +=


def _set_as_global(table: symtable.SymbolTable) -> Iterator[str]:
    """Names that functions declare global."""
    for child in table.get_children():
        yield from (symbol.get_name() for symbol in child.get_symbols() if symbol.is_declared_global())
        yield from _set_as_global(child)


def definition(notebook: Notebook, name: str) -> Statement | None:
    """The definition of ``name`` that counts: the last one that is more than an untouched stub."""
    found = [s for s in notebook.statements if name in s.defines and not is_import(s)]
    attempted = [s for s in found if not untouched(s)]
    return attempted[-1] if attempted else found[-1] if found else None


def is_import(statement: Statement) -> bool:
    return isinstance(statement.node, ast.Import | ast.ImportFrom)


def untouched(statement: Statement) -> bool:
    """Whether a statement is a stub that nobody has filled in."""
    return isinstance(statement.node, Definition) and is_stub(statement.node)


def as_module(statement: Statement) -> ast.Module:
    """A program of this statement alone."""
    return ast.Module([statement.node], [])


def is_stub(node: Definition) -> bool:
    """Whether a function, or a method of a class, begins by raising NotImplementedError or does nothing."""
    body = [part for part in node.body if not _is_text(part) and not isinstance(part, ast.Pass)]
    if isinstance(node, ast.ClassDef):
        return not body or any(isinstance(part, Definition) and is_stub(part) for part in body)
    return not body or (isinstance(body[0], ast.Raise) and _raises_not_implemented(body[0]))


def _is_text(node: ast.stmt) -> bool:
    """A docstring, or three dots."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _raises_not_implemented(node: ast.Raise) -> bool:
    error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return isinstance(error, ast.Name) and error.id == "NotImplementedError"


def needed(notebook: Notebook, name: str) -> list[Statement]:
    """The statements that the answer ``name`` needs, in the order of the notebook."""
    chosen = definition(notebook, name)
    if chosen is None:
        return []
    # an answer may be made in steps: f = wrapped(f), Net.forward = forward; a stub is none of them
    steps = [s for s in notebook.statements if name in s.binds and (s is chosen or not untouched(s))]
    kept = {id(s) for s in notebook.statements if "*" in s.defines or s in steps}
    open_names, known = {used for s in steps for used in s.uses}, {name}
    while open_names - known:
        wanted = (open_names - known).pop()
        known.add(wanted)
        for statement in _binders(notebook, wanted, steps[-1].cell):
            kept.add(id(statement))
            open_names |= statement.uses
    return [s for s in notebook.statements if id(s) in kept]


def _binders(notebook: Notebook, name: str, cell: int) -> list[Statement]:
    """The statements that give ``name`` its value in ``cell``, if all cells before it have been run.

    What is bound further down counts only if nothing is bound further up: another answer may have a helper of
    the same name.
    """
    binders = [s for s in notebook.statements if name in s.binds]
    before = [s for s in binders if s.cell <= cell]
    return before if any(name in s.defines for s in before) else binders


def fingerprint(statements: Iterable[Statement]) -> str:
    """The tokens of some statements without names, layout, comments and docstrings, separated by spaces.

    Names that are bound here become v0, v1 ... in the order in which they appear; names of libraries stay.
    """
    nodes = [_without_docstrings(s.node) for s in statements if not is_import(s)]
    tree = ast.parse(ast.unparse(ast.Module(nodes, [])))
    own = set(_own_names(tree))
    numbers: dict[str, str] = {}

    def shown(token: tokenize.TokenInfo, before: str) -> str:
        own_name = token.type == tokenize.NAME and token.string in own and before != "."
        if own_name and not token.string.startswith("__"):
            return numbers.setdefault(token.string, f"v{len(numbers)}")
        return token.string.replace(" ", "_")

    layout = {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(ast.unparse(tree)).readline)
        if token.type not in layout
    ]
    before = ["", *(token.string for token in tokens)]
    return " ".join(map(shown, tokens, before))


def _without_docstrings(node: ast.stmt) -> ast.stmt:
    copy = ast.parse(ast.unparse(node)).body[0]
    for part in ast.walk(copy):
        if isinstance(part, Definition) and len(part.body) > 1:
            part.body = [p for p in part.body if not _is_text(p)] or [ast.Pass()]
    return copy


def _own_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, Definition):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif (
            isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and not hasattr(builtins, node.id)
        ):
            yield node.id
