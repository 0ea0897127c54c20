"""Compare what an answer did with what was expected of it, and put the gravest difference into words."""

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np

Response = dict[str, Any]


class Outcome(enum.Enum):
    """What came of an answer. Of several faults the one that stands first here is told."""

    RIGHT = "right"
    NOT_ATTEMPTED = "not attempted"
    # these can only come of grading
    GRADER_FAULT = "grader fault"
    UNREADABLE = "unreadable"
    FORBIDDEN = "forbidden"
    OUT_OF_MEMORY = "out of memory"
    TOO_MANY_PROCESSES = "too many processes"
    TOO_LARGE_FILE = "file too large"
    TOO_MUCH_OUTPUT = "too much output"
    KILLED = "killed"
    # these, in a notebook too
    TIMED_OUT = "timed out"
    RAISED = "raised"
    WRONG_TYPE = "wrong type"
    WRONG_SHAPE = "wrong shape"
    CHANGED_INPUT = "changed its input"
    NOT_FINITE = "not finite"
    WRONG_VALUE = "wrong value"
    WRONG_GRADIENT = "wrong gradient"


ORDER = list(Outcome)
# the parts of a response whose values are compared, in words for the student
VALUES = {
    "returned": "what it returns",
    "initial": "the initial parameters",
    "nets": "the parameters after the call",
    "buffers": "the buffers after the call",
}
GRADIENTS = {
    "gradients": "the gradient with regard to",
    "input_gradients": "the gradient with regard to input",
    "parameter_gradients": "the gradient with regard to parameter",
    "net_gradients": "the gradient left in",
}


@dataclass(frozen=True)
class Finding:
    """One fault of one answer in one case."""

    outcome: Outcome
    message: str


@dataclass(frozen=True)
class Tolerance:
    """How far a number may lie from the expected one: ``atol + rtol * |expected|``."""

    rtol: float
    atol: float


def compare(expected: Response, got: Response, tolerance: Tolerance) -> Finding | None:
    """The gravest difference between two responses to one case."""
    if "raised" in expected or "raised" in got:
        return _compare_raised(expected.get("raised"), got.get("raised"))
    if "parameter_shapes" in expected and expected["parameter_shapes"] != got.get("parameter_shapes"):
        return _compare_shapes(expected["parameter_shapes"], got.get("parameter_shapes"))
    findings = [_compare_mutated(expected.get("mutated", []), got.get("mutated", []))]
    if "net_state" in expected:
        findings.append(_compare_net_state(expected["net_state"], got.get("net_state", {})))
    if "generators" in expected:
        findings.append(_compare_randomness(expected, got))
    for part, what in VALUES.items():
        if part in expected:
            findings.append(_difference(expected[part], got.get(part), what, tolerance))
    for part, what in GRADIENTS.items():
        if part in expected and (part in got or not got.get("mutated")):  # no gradients of a changed input
            findings.append(_difference_of_gradients(expected[part], got.get(part), what, tolerance))
    return min((f for f in findings if f), key=lambda f: ORDER.index(f.outcome), default=None)


def _compare_raised(expected: dict[str, Any] | None, got: dict[str, Any] | None) -> Finding | None:
    if expected and got:
        if expected["type"] == got["type"]:
            return None
        told = f"it raised {got['type']} where {expected['type']} is asked for."
    elif expected:
        told = f"it returned where {expected['type']} should be raised."
    else:
        assert got is not None
        line = f", in `{got['line']}`" if got["line"] else ""
        told = f"it raised {got['type']}: {got['message'].rstrip('.')}{line}."
    return Finding(Outcome.RAISED, told)


def _compare_shapes(expected: list[list[int]], got: list[list[int]] | None) -> Finding:
    if got is None:
        return Finding(Outcome.WRONG_TYPE, "it is not an `nn.Module`.")
    if sorted(got) == sorted(expected):
        told = (
            "its parameters have the right shapes in another order: create the layers in the order in which"
        )
        return Finding(Outcome.WRONG_SHAPE, f"{told} they are applied.")
    pairs = enumerate(zip(expected, got, strict=False))
    k = next((k for k, pair in pairs if pair[0] != pair[1]), min(len(got), len(expected)))
    if len(got) != len(expected):
        told = (
            f"it has {len(got)} parameter tensors, expected {len(expected)}; the first that differs is number"
        )
        return Finding(Outcome.WRONG_SHAPE, f"{told} {k + 1}.")
    told = f"parameter {k + 1} of {len(got)} has shape {tuple(got[k])}, expected {tuple(expected[k])}."
    return Finding(Outcome.WRONG_SHAPE, told)


def _compare_mutated(expected: list[str], got: list[str]) -> Finding | None:
    if expected == got:
        return None
    changed = ", ".join(f"`{name}`" for name in got) or "nothing"
    wanted = ", ".join(f"`{name}`" for name in expected)
    told = f"it should change {wanted} in place" if wanted else "leave the arguments as they were"
    return Finding(Outcome.CHANGED_INPUT, f"it changed {changed} in place; {told}.")


def _compare_net_state(
    expected: dict[str, dict[str, bool]], got: dict[str, dict[str, bool]]
) -> Finding | None:
    """Whether each net is in the condition in which the reference leaves it."""
    told = {
        "training mode": "it left `{}` in another training mode (`train()` or `eval()`).",
        "requires_grad": "it left `requires_grad` of parameters of `{}` changed: they will not be trained.",
        "parameters": "it put new parameters into `{}` instead of changing those that are there.",
    }
    for net, conditions in expected.items():
        for condition, kept in conditions.items():
            if kept != got.get(net, {}).get(condition):
                message = (
                    told[condition].format(net) if kept else f"it left the {condition} of `{net}` alone."
                )
                return Finding(Outcome.CHANGED_INPUT, message)
    return None


def _compare_randomness(expected: Response, got: Response) -> Finding | None:
    """Whether random numbers come from the generator that was given, and from no other."""
    moved = got.get("generators") or {}
    for name, drawn in expected["generators"].items():
        if drawn != moved.get(name):
            told = (
                f"it does not draw its random numbers from `{name}`." if drawn else f"it draws from `{name}`."
            )
            return Finding(Outcome.WRONG_VALUE, told)
    if expected.get("global_random") != got.get("global_random"):
        return Finding(Outcome.CHANGED_INPUT, "it draws from PyTorch's global generator, or seeds it.")
    return None


def _difference(expected: Any, got: Any, what: str, tolerance: Tolerance) -> Finding | None:
    """The first difference between two plain values; ``what`` names the place for the student."""
    if isinstance(expected, dict) and isinstance(got, dict) and "$type" not in expected | got:
        if expected.keys() != got.keys():
            told = f"{what} has the keys {sorted(got)}, expected {sorted(expected)}."
            return Finding(Outcome.WRONG_TYPE, told)
        inner = (_difference(expected[k], got[k], f"{what}, `{k}`", tolerance) for k in expected)
        return next((finding for finding in inner if finding), None)
    if isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            return Finding(Outcome.WRONG_TYPE, f"{what} has {len(got)} elements, expected {len(expected)}.")
        pairs = enumerate(zip(expected, got, strict=True), start=1)
        count = len(expected)
        inner = (_difference(e, g, f"{what}, value {k} of {count}", tolerance) for k, (e, g) in pairs)
        return next((finding for finding in inner if finding), None)
    if _is_number(expected) and isinstance(got, np.ndarray) and got.ndim == 0:
        got = got.item()  # a tensor without dimensions may stand for a number
    if _is_number(expected) and _is_number(got):
        return _difference_of_arrays(np.array(expected, float), np.array(got, float), what, tolerance)
    if isinstance(expected, np.ndarray) and isinstance(got, np.ndarray):
        if expected.dtype != got.dtype:
            told = f"{what} has dtype {got.dtype}, expected {expected.dtype}."
            return Finding(Outcome.WRONG_TYPE, told)
        return _difference_of_arrays(expected, got, what, tolerance)
    if type(expected) is not type(got) or isinstance(expected, np.ndarray) or "$type" in _keys(got):
        same = _keys(expected) == _keys(got) == {"$type"} and expected == got
        told = f"{what} is {_kind(got)}, expected {_kind(expected)}."
        return None if same else Finding(Outcome.WRONG_TYPE, told)
    told = f"{what} is {got!r}, which is not the right answer here."
    return None if expected == got else Finding(Outcome.WRONG_VALUE, told)


def _difference_of_gradients(expected: Any, got: Any, what: str, tolerance: Tolerance) -> Finding | None:
    """As `_difference`, but no gradient and a gradient of zeros are the same."""
    if isinstance(expected, dict) and isinstance(got, dict):
        pairs = [(expected[k], got.get(k), f"{what} `{k}`") for k in expected]
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        place = f"{what}, parameter" if what.endswith("`") else what
        both = enumerate(zip(expected, got, strict=True), start=1)
        pairs = [(e, g, f"{place} {k}") for k, (e, g) in both]
    elif expected is None or got is None:
        present = got if expected is None else expected
        if present is None or not np.any(present):
            return None
        told = "should be absent or zero, but there is one" if expected is None else "is missing"
        return Finding(Outcome.WRONG_GRADIENT, f"{what} {told}.")
    else:
        finding = _difference(expected, got, what, tolerance)
        return Finding(Outcome.WRONG_GRADIENT, finding.message) if finding else None
    inner = (_difference_of_gradients(*pair, tolerance) for pair in pairs)
    return next((finding for finding in inner if finding), None)


def _difference_of_arrays(
    expected: np.ndarray, got: np.ndarray, what: str, tolerance: Tolerance
) -> Finding | None:
    if expected.shape != got.shape:
        return Finding(Outcome.WRONG_SHAPE, f"{what} has shape {got.shape}, expected {expected.shape}.")
    near = np.isclose(got, expected, rtol=tolerance.rtol, atol=tolerance.atol, equal_nan=True)
    if near.all():
        return None
    strange = ~np.isfinite(got) & np.isfinite(expected)
    if strange.any():
        kind = "NaN" if np.isnan(got[strange]).any() else "infinite"
        share = f" in {strange.sum()} of {strange.size} places" if strange.size > 1 else ""
        return Finding(Outcome.NOT_FINITE, f"{what} is {kind}{share}.")
    with np.errstate(invalid="ignore"):
        gap = np.where(near, 0.0, np.abs(got.astype(float) - expected.astype(float)))
    at = np.unravel_index(int(np.argmax(np.nan_to_num(gap, nan=np.inf))), gap.shape)
    place = f" at index {tuple(int(i) for i in at)}" if gap.ndim else ""
    many = f"; {(~near).sum()} of {near.size} values differ" if near.size > 1 else ""
    ours, theirs = _apart(got[at], expected[at])
    told = f"{what} is {ours}{place}, expected {theirs}{many}."
    return Finding(Outcome.WRONG_VALUE, told)


def _apart(one: Any, other: Any) -> tuple[str, str]:
    """Two numbers that differ, in as few digits, four or more, as show it."""
    for digits in range(4, 18):
        texts = _number(one, digits), _number(other, digits)
        if texts[0] != texts[1]:
            break
    return texts


def _number(value: Any, digits: int) -> str:
    return f"{value:.{digits}g}" if np.issubdtype(np.asarray(value).dtype, np.floating) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _keys(value: Any) -> set[str]:
    return set(value) if isinstance(value, dict) else set()


def _kind(value: Any) -> str:
    """What a plain value stands for, in words."""
    if "$type" in _keys(value):
        return str(value["$type"]) if " " in value["$type"] else f"a {value['$type']}"
    if isinstance(value, np.ndarray):
        return f"a tensor of shape {value.shape}"
    words = {bool: "a bool", int: "an int", float: "a float", str: "a string", list: "a list or tuple"}
    return "None" if value is None else words.get(type(value), "a dict")
