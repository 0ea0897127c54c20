"""Run an answer on plain data and report what it did as plain data.

The file needs nothing but NumPy and PyTorch and imports nothing of this package, so that it can also run
alone in a process that must not see the reference. A request says what to do, a response what came of it;
both consist of ``None``, numbers, strings, NumPy arrays, lists and string-keyed dictionaries of these.

Values in a request that stand for something else:

- an array becomes a tensor;
- ``{"$generator": 7}`` becomes a ``torch.Generator`` seeded with 7;
- ``{"$net": [["Linear", 2, 8], ["Tanh"]], "state": [array, ...]}`` becomes an ``nn.Sequential`` of those
  layers whose state dictionary holds the arrays, in order; ``["Sequential", [...], ...]`` is a layer, too;
- ``{"$optimiser": ["SGD", {"lr": 0.1}], "of": "generator"}`` becomes an optimiser of that argument's net.

In a response an array stands for a tensor, and ``{"$type": "..."}`` for a value of any other type.
"""

import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MAX_ELEMENTS = 10_000_000
MAX_ITEMS = 1_000
MAX_DEPTH = 5
MAX_CHARACTERS = 10_000
MAX_BITS = 128


def run(
    answer: Callable[..., Any], request: dict[str, Any], kept: dict[Any, Tensor] | None = None
) -> dict[str, Any]:
    """Carry out ``request`` with ``answer`` and report. Whatever the answer raises is part of the report.

    With ``kept``, the same dictionary for every request to one answer, arguments of the same name and shape
    are the same tensor with new contents, so that an answer that remembers tensors by identity is found out.
    """
    verb = {"call": _call, "module": _module}[request["verb"]]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.random.manual_seed(request.get("seed", 0))
        try:
            return verb(answer, request, {} if kept is None else kept)
        except (Exception, SystemExit) as error:
            return {"raised": describe(error)}


def _call(answer: Callable[..., Any], request: dict[str, Any], kept: dict[Any, Tensor]) -> dict[str, Any]:
    """Call a function, ``repeat`` times, with the arguments by position; report on the last call."""
    arguments = _decode_all(request["args"])
    arguments = {name: _again(name, value, kept) for name, value in arguments.items()}
    nets = {name: value for name, value in arguments.items() if isinstance(value, nn.Module)}
    for name in request.get("stale", []):
        for parameter in nets[name].parameters():
            parameter.grad = torch.full_like(parameter, 0.5)
    generators = {name: value for name, value in arguments.items() if isinstance(value, torch.Generator)}
    states = {name: value.get_state() for name, value in generators.items()}
    global_state = torch.get_rng_state()
    conditions = {name: _condition(value) for name, value in nets.items()}
    before = {name: value.clone() for name, value in arguments.items() if isinstance(value, Tensor)}
    wanted = request.get("gradients", [])
    leaves = {name: before[name].clone().requires_grad_() for name in wanted if name not in nets}
    for _ in range(request.get("repeat", 1)):
        # a copy of each leaf, so that changing it in place is seen below and not refused by autograd
        passed = {**arguments, **{name: leaf.clone() for name, leaf in leaves.items()}}
        returned = answer(*passed.values())
    response = {"returned": encode(returned)}
    response["mutated"] = [n for n in before if not _same(passed[n].detach(), before[n])]
    if wanted and not response["mutated"]:
        parameters = {name: [*nets[name].parameters()] for name in wanted if name in nets}
        every = [*leaves.values(), *(p for net in parameters.values() for p in net)]
        found = iter(_gradients(returned, every))
        response["gradients"] = {name: next(found) for name in leaves}
        response["gradients"] |= {name: [next(found) for _ in net] for name, net in parameters.items()}
    response["nets"] = {name: [encode(p) for p in net.parameters()] for name, net in nets.items()}
    response["net_state"] = {name: _kept(conditions[name], _condition(net)) for name, net in nets.items()}
    if generators:
        response["generators"] = {n: not _same(states[n], g.get_state()) for n, g in generators.items()}
        response["global_random"] = not _same(global_state, torch.get_rng_state())
    response["buffers"] = {n: [encode(b) for b in nets[n].buffers()] for n in request.get("buffers", [])}
    response["net_gradients"] = {
        name: [encode(p.grad) for p in nets[name].parameters()] for name in request.get("net_gradients", [])
    }
    return response


def _again(name: str, value: Any, kept: dict[Any, Tensor]) -> Any:
    """The tensor that an earlier call was given under this name, with new contents, if it is as it was."""
    if not isinstance(value, Tensor):
        return value
    old = kept.setdefault((name, value.shape, value.dtype), value)
    if old is value or old.requires_grad or old.shape != value.shape or old.dtype != value.dtype:
        return value
    return old.copy_(value)


def _condition(net: nn.Module) -> dict[str, list[Any]]:
    """What an answer that only moves or reads a net leaves as it is."""
    return {
        "training mode": [part.training for part in net.modules()],
        "requires_grad": [parameter.requires_grad for parameter in net.parameters()],
        "parameters": [id(parameter) for parameter in net.parameters()],
    }


def _kept(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> dict[str, bool]:
    return {name: before[name] == after[name] for name in before}


def _module(answer: Callable[..., Any], request: dict[str, Any], _: dict[Any, Tensor]) -> dict[str, Any]:
    """Construct a module, load parameters, show it what it should have seen, run forward and backward."""
    module = answer(*_decode_all(request["init"]).values())
    if not isinstance(module, nn.Module):
        return {"returned": encode(module)}
    shapes = [list(p.shape) for p in module.parameters()]
    response: dict[str, Any] = {"parameter_shapes": shapes}
    values = request.get("parameters")
    if values is not None:
        if shapes != [list(value.shape) for value in values]:
            return response
        with torch.no_grad():
            for parameter, value in zip(module.parameters(), values, strict=True):
                parameter.copy_(torch.from_numpy(value))
    if request.get("initial"):
        response["initial"] = [encode(p) for p in module.parameters()]
    if request.get("inputs") is None:
        return response
    if request.get("seen") is not None:
        module.train()
        module(*[_decode(value) for value in request["seen"]])
    module.train(request.get("training", True))
    inputs = [_decode(value) for value in request["inputs"]]
    leaves = [x.clone().requires_grad_() for x in inputs if isinstance(x, Tensor) and x.is_floating_point()]
    supply = iter(leaves)
    passed = [next(supply).clone() if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs]
    returned = module(*passed)
    response["returned"] = encode(returned)
    response["mutated"] = [
        f"input {k + 1}"
        for k, (x, y) in enumerate(zip(inputs, passed, strict=True))
        if isinstance(x, Tensor) and not _same(y.detach(), x)
    ]
    if not response["mutated"]:
        gradients = _gradients(returned, leaves + list(module.parameters()))
        response["input_gradients"] = gradients[: len(leaves)]
        response["parameter_gradients"] = gradients[len(leaves) :]
    return response


def _decode_all(arguments: dict[str, Any]) -> dict[str, Any]:
    decoded = {name: _decode(value) for name, value in arguments.items()}
    for name, value in arguments.items():
        if isinstance(value, dict) and "$optimiser" in value:
            kind, options = value["$optimiser"]
            decoded[name] = getattr(torch.optim, kind)(decoded[value["of"]].parameters(), **options)
    return decoded


def _decode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if isinstance(value, dict) and "$generator" in value:
        return torch.Generator().manual_seed(value["$generator"])
    if isinstance(value, dict) and "$net" in value:
        return _build(value["$net"], value["state"])
    if isinstance(value, dict):
        return {name: _decode(item) for name, item in value.items()}
    return value


def _build(layers: list[list[Any]], state: list[np.ndarray]) -> nn.Sequential:
    net = nn.Sequential(*map(layer, layers))
    names = list(net.state_dict())
    net.load_state_dict(dict(zip(names, map(torch.from_numpy, state), strict=True)))
    return net


def layer(description: list[Any]) -> nn.Module:
    """``["Linear", 2, 8]`` to a layer; those of a ``Sequential`` are described in the same way."""
    name, *arguments = description
    if name == "Sequential":
        arguments = [layer(inner) for inner in arguments]
    return getattr(nn, name)(*arguments)


def encode(value: Any, depth: int = 0) -> Any:
    """Turn what an answer returned into plain data; what cannot be, into the name of its type."""
    if isinstance(value, Tensor):
        return _encode_tensor(value)
    if isinstance(value, np.ndarray):
        return {"$type": "a NumPy array"}
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is str and len(value) > MAX_CHARACTERS:
        return {"$type": f"a string of {len(value):,} characters"}
    if type(value) is int and value.bit_length() > MAX_BITS:
        return {"$type": f"an int of {value.bit_length():,} bits"}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, list | tuple) and len(value) <= MAX_ITEMS and depth < MAX_DEPTH:
        return [encode(item, depth + 1) for item in value]
    if type(value) is dict and len(value) <= MAX_ITEMS and depth < MAX_DEPTH:
        return {str(name): encode(item, depth + 1) for name, item in value.items()}
    return {"$type": f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")}


def _encode_tensor(value: Tensor) -> Any:
    if value.numel() > MAX_ELEMENTS:
        return {"$type": f"a tensor of {value.numel():,} elements"}
    try:
        # a copy of its own: later steps of the same call must not change what is reported
        return Tensor.detach(value).cpu().numpy().copy()
    except (TypeError, RuntimeError):  # NumPy has no such type: bfloat16, sparse, quantised
        return {"$type": f"a {value.dtype} tensor".replace("torch.", "")}


def _gradients(returned: Any, leaves: list[Tensor]) -> list[Any]:
    """Gradients of a weighted sum of all that was returned; ``None`` where none arrives."""
    outputs = [x for x in _tensors(returned) if x.requires_grad]
    if not outputs:
        return [None] * len(leaves)
    # unequal weights, so that a sum over the batch cannot hide a wrong gradient
    total = sum((x.double() * _weights(x)).sum() for x in outputs)
    assert isinstance(total, Tensor)
    # a parameter that the answer froze has none
    found = iter(torch.autograd.grad(total, [x for x in leaves if x.requires_grad], allow_unused=True))
    gradients = [next(found) if x.requires_grad else None for x in leaves]
    return [None if gradient is None else encode(gradient) for gradient in gradients]


def _weights(x: Tensor) -> Tensor:
    return torch.arange(x.numel(), dtype=torch.float64).cos().add(1.5).reshape(x.shape)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
    return [tensor for item in items for tensor in _tensors(item)]


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)))


def describe(error: BaseException) -> dict[str, Any]:
    """The type and message of an error, and the line of the answer in which it arose."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    own = [f for f in frames if "site-packages" not in f.filename] or frames
    try:
        message = str(error)[:300]
    except Exception:  # the error is the answer's own, and may fail in turn
        message = "it cannot be told"
    return {
        "type": str(type(error).__name__),
        "message": message,
        "line": (own[-1].line or "").strip()[:120] if own else "",
    }
