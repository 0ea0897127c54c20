"""Tests of the same exercises as an instructor writes them for graders that run them beside the answers.

Stored arguments, stored numbers, `torch.allclose`. The other graders import this file into the student's
kernel, as their documentation has it; this course's own grader does not know it.
"""

import math
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Stored = dict[str, list[tuple[dict[str, Any], list[Any]]]]  # exercise -> (request, what comes of it)


def test(answer: Callable[..., Any], name: str) -> None:
    """Raise an AssertionError unless ``answer`` does in every stored case what the exercise asks for."""
    stored: Stored = torch.load(os.environ["BENCH_CASES"])
    for request, expected in stored[name]:
        got = act(answer, request)
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert same(one, other), f"{name}: expected {other}, got {one}"


def act(answer: Callable[..., Any], request: dict[str, Any]) -> list[Any]:
    """What is returned, its gradients, and the parameters and gradients of the nets after the call."""
    arguments = {name: build(value) for name, value in request["args"].items()}
    nets = {name: value for name, value in arguments.items() if isinstance(value, nn.Module)}
    for name, value in arguments.items():
        if isinstance(value, dict) and "$optimiser" in value:
            kind, options = value["$optimiser"]
            arguments[name] = getattr(torch.optim, kind)(nets[value["of"]].parameters(), **options)
    for name in request["stale"]:
        for parameter in nets[name].parameters():
            parameter.grad = torch.full_like(parameter, 0.5)
    leaves = [arguments[name].requires_grad_() for name in request["gradients"]]
    for _ in range(request["repeat"]):
        returned = answer(*arguments.values())
    results = [returned]
    if leaves:
        weights = torch.arange(1.0, returned.numel() + 1).reshape(returned.shape)
        results += torch.autograd.grad((returned * weights).sum(), leaves)
    results += [parameter.detach() for net in nets.values() for parameter in net.parameters()]
    results += [parameter.grad for name in request["net_gradients"] for parameter in nets[name].parameters()]
    return results


def build(value: Any) -> Any:
    """A net from its layers and weights; everything else is what it is."""
    if not isinstance(value, dict) or "$net" not in value:
        return value
    made = nn.Sequential(*(getattr(nn, kind)(*sizes) for kind, *sizes in value["$net"]))
    made.load_state_dict(dict(zip(made.state_dict(), value["state"], strict=True)))
    return made


def same(got: Any, expected: Any) -> bool:
    """Equal up to rounding."""
    if isinstance(expected, Tensor):
        return torch.allclose(got, expected, rtol=1e-4, atol=1e-5)
    if isinstance(expected, tuple | list):
        return len(got) == len(expected) and all(map(same, got, expected))
    if isinstance(expected, float):
        return math.isclose(got, expected, rel_tol=1e-4, abs_tol=1e-5)
    return got == expected
