"""Copies are found among honest answers, in classes made up of the answers that the exercises know."""

import ast
import builtins
import collections
import functools
import inspect
import random
import textwrap

import pytest

from genimg_ref.exercises import chapter
from genimg_ref.grading.inside import slicing
from genimg_ref.grading.results import Result
from genimg_ref.grading.similar import Pair, pairs

LIBRARIES = {"torch", "F", "nn", "math", "np", "Tensor", "Optimizer", "pairwise", *dir(builtins)}
METHODS = {"mean", "sum", "log", "exp", "sqrt", "sigmoid", "abs", "flatten", "square", "clamp", "norm", "sin"}
MIRRORED = {ast.Gt: ast.Lt, ast.Lt: ast.Gt, ast.GtE: ast.LtE, ast.LtE: ast.GtE}
FILLERS = ("assert {} is not None", "eps = 1e-8", "count = len({})", "shape = {}.shape", "print({}.shape)")


# --- Made-up classes ----------------------------------------------------------------------------------


def printed(code: str) -> str:
    return slicing.fingerprint(slicing.read([code]).statements)


def code_of(answer, name: str) -> str | None:
    """The code of an answer that stands on its own, as a student would have written it."""
    node = ast.parse(textwrap.dedent(inspect.getsource(answer))).body[0]
    node.name, node.decorator_list = name, []
    (statement,) = slicing.read([ast.unparse(node)]).statements
    return None if statement.uses - LIBRARIES - {name} else statement.source


@functools.cache
def answers(slugs: tuple[str, ...]) -> dict[str, tuple[list[str], list[str]]]:
    """Right and wrong answers to each exercise of the chapters; at least four, and two of them right."""
    found = {}
    for slug in slugs:
        for name, exercise in chapter(slug).items():
            right = [code_of(answer, name) for answer in (exercise.reference, *exercise.others)]
            wrong = [code_of(mistake.answer, name) for mistake in exercise.mistakes]
            found[name] = [code for code in right if code], [code for code in wrong if code]
    return {
        name: (right, wrong)
        for name, (right, wrong) in found.items()
        if len(right) >= 2 and len(right) + len(wrong) >= 4
    }


KINDS = ("function", "order", "halves", "comparison", "filler", "part")


class Manner(ast.NodeTransformer):
    """Writes a definition anew: wherever that is a matter of taste, otherwise as often as the taste says."""

    def __init__(self, rng: random.Random, taste: dict[str, float]):
        self.rng, self.taste, self.names = rng, taste, 0

    def otherwise(self, kind: str) -> bool:
        return self.rng.random() < self.taste[kind]

    def visit_Call(self, node):
        self.generic_visit(node)
        function = node.func
        if not (
            isinstance(function, ast.Attribute) and function.attr in METHODS and self.otherwise("function")
        ):
            return node
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
        if owner == "torch":
            return ast.Call(ast.Attribute(node.args[0], function.attr), node.args[1:], node.keywords)
        if owner in LIBRARIES:
            return node
        return ast.Call(
            ast.Attribute(ast.Name("torch"), function.attr), [function.value, *node.args], node.keywords
        )

    def visit_BinOp(self, node):
        self.generic_visit(node)
        two = isinstance(node.right, ast.Constant) and node.right.value == 2
        if isinstance(node.op, ast.Mult | ast.Add) and self.otherwise("order"):
            return ast.BinOp(node.right, node.op, node.left)
        if isinstance(node.op, ast.Div) and two and self.otherwise("halves"):
            return ast.BinOp(ast.Constant(0.5), ast.Mult(), node.left)
        return node

    def visit_Compare(self, node):
        self.generic_visit(node)
        if len(node.ops) == 1 and type(node.ops[0]) in MIRRORED and self.otherwise("comparison"):
            return ast.Compare(node.comparators[0], [MIRRORED[type(node.ops[0])]()], [node.left])
        return node

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        node.body = [line for statement in node.body for line in self.lines(statement)]
        arguments = [argument.arg for argument in node.args.args if argument.arg != "self"]
        if arguments and self.otherwise("filler"):
            filler = self.rng.choice(FILLERS).format(self.rng.choice(arguments))
            node.body.insert(0, ast.parse(filler).body[0])
        for first, second in zip(range(len(node.body)), range(1, len(node.body)), strict=False):
            if independent(node.body[first], node.body[second]) and self.rng.random() < 0.3:
                node.body[first], node.body[second] = node.body[second], node.body[first]
        return node

    def lines(self, statement):
        """The statement, with a part of it named before if it so happens."""
        if not isinstance(statement, ast.Return | ast.Assign) or statement.value is None:
            return [statement]
        if any(isinstance(part, ast.GeneratorExp | ast.ListComp | ast.SetComp | ast.Lambda)
               for part in ast.walk(statement)):  # fmt: skip
            return [statement]
        parts = [part for part in ast.walk(statement.value) if isinstance(part, ast.Call | ast.BinOp)]
        if not parts or not self.otherwise("part"):
            return [statement]
        part, self.names = self.rng.choice(parts), self.names + 1
        name = f"part{self.names}"
        return [ast.Assign([ast.Name(name)], part), Named(part, name).visit(statement)]


class Named(ast.NodeTransformer):
    """Puts a name in the place of a part."""

    def __init__(self, part: ast.AST, name: str):
        self.part, self.name = part, name

    def visit(self, node):
        return ast.Name(self.name) if node is self.part else self.generic_visit(node)


def independent(first: ast.stmt, second: ast.stmt) -> bool:
    """Whether two assignments may change places."""

    def names(node):
        return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}

    def bound(node):
        return {name for target in node.targets for name in names(target)}

    both = isinstance(first, ast.Assign) and isinstance(second, ast.Assign)
    return both and not (bound(first) & names(second) or bound(second) & names(first))


def rewritten(code: str, rng: random.Random, taste: dict[str, float]) -> str:
    return ast.unparse(ast.fix_missing_locations(Manner(rng, taste).visit(ast.parse(code))))


def student(known: dict, rng: random.Random) -> dict[str, str]:
    """Independent work: mostly the obvious answers, some wrong ones, with lasting habits."""
    skill, done = rng.uniform(0.5, 1.0), {}
    taste = {kind: rng.uniform(0.15, 0.55) for kind in KINDS}
    for name, (right, wrong) in known.items():
        pool = wrong if wrong and rng.random() > skill else right
        chosen = rng.choices(pool, [1 / (k + 1) for k in range(len(pool))])[0]
        if rng.random() > 0.08:
            done[name] = rewritten(chosen, rng, taste)
    return done


def copied(
    work: dict[str, str], rng: random.Random, own: dict[str, str], often: float = 0.15, share: float = 1.0
) -> dict[str, str]:
    """Another's work, with some places rewritten, for a share of the exercises."""
    disguise = dict.fromkeys(KINDS, often)
    return own | {name: rewritten(c, rng, disguise) for name, c in work.items() if rng.random() < share}


def result(name: str, work: dict[str, str]) -> Result:
    fingerprints = {exercise: printed(code) for exercise, code in work.items()}
    return Result(name, name, (), None, {}, (), 0.0, "", "sandbox", "", "", 0, fingerprints)


@functools.cache
def made_up(size: int, seed: int, slugs: tuple[str, ...]) -> tuple[list[Result], dict]:
    """A class, and the pairs among it that copied, with what they did.

    Student 0 renames and reorders the work of 1; 2 rewrites that of 3 in places, 4 half of that of 5, and 7,
    8 and 9 that of 6.
    """
    rng, known = random.Random(seed), answers(slugs)
    works = [student(known, rng) for _ in range(size)]
    works[0] = copied(works[1], rng, works[0], often=0.0)
    works[2] = copied(works[3], rng, works[2])
    works[4] = copied(works[5], rng, works[4], share=0.5)
    works[7:10] = [copied(works[6], rng, work) for work in works[7:10]]
    truth = {(a, b): "rewritten" for a in range(6, 10) for b in range(a + 1, 10)}
    truth |= {(0, 1): "renamed", (2, 3): "rewritten", (4, 5): "half"}
    keys = [f"s{number:03}" for number in range(size)]
    shuffled = rng.sample([result(key, work) for key, work in zip(keys, works, strict=True)], size)
    return shuffled, {(keys[a], keys[b]): kind for (a, b), kind in truth.items()}


BOTH = ("dcgan", "gan_math")
CLASSES = [(60, 1, BOTH), (120, 2, BOTH), (200, 3, ("gan_math",)), (90, 4, ("gan_math",))]


# --- Tests --------------------------------------------------------------------------------------------


def test_a_class_is_made_of_different_answers_that_are_alike():
    results, _ = made_up(*CLASSES[0])
    work = [r.fingerprints["discriminator_step"] for r in results if "discriminator_step" in r.fingerprints]
    assert len(work) / 3 < len(set(work)) < len(work)


def test_precision_and_recall_at_the_default_threshold():
    found, planted, false = collections.Counter(), collections.Counter(), []
    for made in CLASSES:
        results, truth = made_up(*made)
        got = {(pair.first, pair.second) for pair in pairs(results)}
        planted.update(truth.values())
        found.update(kind for pair, kind in truth.items() if pair in got)
        false += got - truth.keys()
    assert false == []
    assert found["renamed"] == planted["renamed"] == len(CLASSES)
    assert found["rewritten"] / planted["rewritten"] > 0.6


@pytest.mark.parametrize("made", CLASSES)
def test_copies_stand_at_the_top(made):
    results, truth = made_up(*made)
    top = [(pair.first, pair.second) for pair in pairs(results, at_least=0.0)]
    assert top[0] == ("s000", "s001")
    assert truth.keys() >= set(top[:5])


def test_the_order_of_the_results_does_not_matter():
    results, _ = made_up(*CLASSES[0])
    found = pairs(results, at_least=0.1)
    assert len(found) > 10
    assert found == pairs(results[::-1], at_least=0.1)
    assert [pair.score for pair in found] == sorted((pair.score for pair in found), reverse=True)
    assert all(pair.first < pair.second and 0 <= pair.score <= 1 for pair in found)


ORIGINAL = """
def slerp(a, b, t):
    start, end = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    aside = F.normalize(end - (start * end).sum(-1, keepdim=True) * start, dim=-1, eps=1e-20)
    turn = 2 * torch.atan2((start - end).norm(dim=-1), (start + end).norm(dim=-1))[..., None]
    length = torch.lerp(a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True), t)
    return length * (start * torch.cos(t * turn) + aside * torch.sin(t * turn))
"""
RENAMED = '''
def slerp(x,y,w):
    """My own work."""
    u, v = F.normalize(x, dim=-1), F.normalize(y, dim=-1)  # directions
    r = torch.lerp(x.norm(dim=-1, keepdim=True), y.norm(dim=-1, keepdim=True), w)
    q = F.normalize(v - (u * v).sum(-1, keepdim=True) * u, dim=-1,
                    eps=1e-20)
    phi = 2 * torch.atan2((u - v).norm(dim=-1), (u + v).norm(dim=-1))[..., None]

    return r * (u * torch.cos(w * phi) + q * torch.sin(w * phi))
'''


def with_two_more(first: str, second: str) -> list[Result]:
    results, _ = made_up(*CLASSES[0])
    return [*results, result("x", {"slerp": first}), result("y", {"slerp": second})]


def test_renamed_and_moved_lines_are_found_even_in_a_single_exercise():
    (found,) = (pair for pair in pairs(with_two_more(ORIGINAL, RENAMED)) if pair.second == "y")
    assert found == Pair("x", "y", found.score, ("slerp",))
    assert found.score > 0.5


def test_what_stands_in_the_course_is_no_evidence():
    found = pairs(with_two_more(ORIGINAL, RENAMED), known={"slerp": [printed(ORIGINAL)]})
    assert ("x", "y") not in {(pair.first, pair.second) for pair in found}


def test_what_everybody_writes_is_no_evidence():
    everybody = [result(f"s{number}", {"slerp": ORIGINAL}) for number in range(30)]
    assert pairs(everybody) == []


@pytest.mark.parametrize("works", [[], [{}], [{"slerp": ORIGINAL}], [{}, {}], [{"slerp": ORIGINAL}, {}]])
def test_too_little_to_compare(works):
    assert pairs([result(f"s{number}", work) for number, work in enumerate(works)]) == []


def test_two_short_answers_that_are_the_same_are_no_evidence():
    short = "def generator_logit_gradients(x):\n    return torch.stack([-x.sigmoid(), -(-x).sigmoid()])"
    results, _ = made_up(*CLASSES[0])
    others = [result(name, {"generator_logit_gradients": short}) for name in "xy"]
    assert ("x", "y") not in {(pair.first, pair.second) for pair in pairs([*results, *others])}
