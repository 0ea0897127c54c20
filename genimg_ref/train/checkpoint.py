"""Checkpoints from which training goes on to the same weights, bit for bit.

Chapter: dcgan. A checkpoint is one file: a line with the SHA-256 of the rest, then what ``torch.save``
writes. It is written beside its place and moved there, so that a run killed while saving leaves the
previous file whole.
"""

import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

__all__ = ["CheckpointError", "load", "save"]

MAGIC = b"genimg-checkpoint-1 "


class CheckpointError(ValueError):
    """A checkpoint file is missing, damaged, or holds other things than were asked for."""


@runtime_checkable
class Stateful(Protocol):
    """Models, optimisers and averages: whatever can hand out its state and take it back."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


def save(path: str | Path, *, step: int, rng: torch.Generator, **parts: Stateful) -> None:
    """Write ``step``, the state of ``rng`` and that of every named part (models, optimisers, averages)."""
    state = {
        "step": step,
        "rng": rng.get_state(),
        "parts": {name: part.state_dict() for name, part in parts.items()},
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    path = Path(path)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
    os.replace(unfinished, path)


def load(path: str | Path, *, rng: torch.Generator, **parts: Stateful) -> int:
    """Put the saved states back into ``rng`` and the named parts; return the step at which they were saved.

    Nothing is changed before the file has been verified and its parts have the names asked for.

    Raises:
        CheckpointError: names the file and says whether it is missing, damaged or of another make-up.
    """
    state = _read(Path(path))
    saved, wanted = set(state["parts"]), set(parts)
    if saved != wanted:
        raise CheckpointError(f"checkpoint {path} holds {sorted(saved)}; asked for {sorted(wanted)}")
    for name, part in parts.items():
        try:
            part.load_state_dict(state["parts"][name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"checkpoint {path}: its {name!r} does not fit: {error}") from error
    rng.set_state(state["rng"])
    return int(state["step"])


def _read(path: Path) -> dict[str, Any]:
    """The verified content of a checkpoint file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    header, _, payload = content.partition(b"\n")
    if not header.startswith(MAGIC):
        raise CheckpointError(f"{path} is not a checkpoint of this package, or its beginning is damaged")
    if hashlib.sha256(payload).hexdigest().encode() != header[len(MAGIC) :]:
        raise CheckpointError(f"checkpoint {path} is damaged: its content does not match its checksum")
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be understood: {error}") from error
    return state
