"""Weights that come with the package: read from a file whose checksum is known."""

import hashlib
from pathlib import Path

from jaxtyping import Shaped
from safetensors.torch import load as parse
from torch import Tensor

__all__ = ["load"]


def load(path: Path, sha256: str) -> dict[str, Shaped[Tensor, "..."]]:
    """The tensors in a file of the safetensors format, by name, after its checksum has been verified.

    Raises:
        RuntimeError: the file is missing or damaged.
    """
    if not path.exists():
        raise RuntimeError(f"the file {path.name} is missing from {path.parent}; install the package again")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise RuntimeError(f"the file {path} is damaged (its checksum differs); install the package again")
    tensors: dict[str, Tensor] = parse(content)
    return tensors
