"""Plain data through a pipe: a JSON header and the raw bytes of its arrays, both bounded.

A frame is a number, which tells what response answers what request, the lengths of header and body (three
big-endian integers of four bytes), the header, the body. The header holds the data, in which
``{"$array": k}`` stands for the k-th array, and the dtype and shape of each array; the body holds their
bytes, one after the other. Nothing is unpickled, and nothing is looked up by a name that came through.
"""

import json
import math
import os
import struct
from typing import Any

import numpy as np

PREFIX = struct.Struct(">III")
LENGTHS = struct.Struct(">II")
MAX_HEADER = 4 << 20
MAX_BODY = 64 << 20
MAX_RANK = 8
MAX_ARRAYS = 10_000
DTYPES = {
    np.dtype(name).name: np.dtype(name)
    for name in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
}


class Malformed(ValueError):
    """What came through the pipe is no frame."""


def pack(data: Any) -> bytes:
    """Plain data as a frame without its number.

    Plain are None, numbers, strings, arrays, lists and string-keyed dictionaries of these. A ValueError says
    that the frame would be larger than one may be.
    """
    arrays: list[np.ndarray] = []

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            arrays.append(np.asarray(value))
            return {"$array": len(arrays) - 1}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if isinstance(value, dict):
            return {name: plain(item) for name, item in value.items()}
        return value

    contents = plain(data)
    kinds = [[array.dtype.name, list(array.shape)] for array in arrays]
    header = json.dumps({"data": contents, "arrays": kinds}).encode()
    body = b"".join(array.tobytes() for array in arrays)
    if len(header) > MAX_HEADER or len(body) > MAX_BODY or len(arrays) > MAX_ARRAYS:
        raise ValueError(f"a frame of {len(header):,} + {len(body):,} bytes is too large")
    return LENGTHS.pack(len(header), len(body)) + header + body


def numbered(number: int, packed: bytes) -> bytes:
    """A frame that can be sent; the packed data may be sent again under another number."""
    return number.to_bytes(4, "big") + packed


def prefix(start: bytes, max_header: int = MAX_HEADER, max_body: int = MAX_BODY) -> tuple[int, int, int]:
    """The number of a frame and the lengths of its header and body, if they are allowed."""
    number, header, body = PREFIX.unpack(start)
    if header > max_header or body > max_body:
        raise Malformed(f"a frame of {header:,} + {body:,} bytes")
    return number, header, body


def unpack(header: bytes, body: bytes) -> Any:
    """The data of a frame, checked in every respect that matters; `Malformed` if anything is amiss."""
    try:
        contents = json.loads(header, parse_int=_integer)
        kinds = contents["arrays"]
        if len(kinds) > MAX_ARRAYS:
            raise Malformed("too many arrays")
        arrays, start = [], 0
        for name, shape in kinds:
            dtype = DTYPES[name]
            if len(shape) > MAX_RANK or not all(type(n) is int and n >= 0 for n in shape):
                raise Malformed(f"an array of shape {shape}")
            size = math.prod(shape) * dtype.itemsize
            if start + size > len(body):
                raise Malformed("arrays larger than the body")
            # a copy, since arrays on foreign bytes cannot be written to
            arrays.append(np.frombuffer(body, dtype, math.prod(shape), start).reshape(shape).copy())
            start += size
        if start != len(body):
            raise Malformed("a body larger than its arrays")
        return _filled(contents["data"], arrays)
    except Malformed:
        raise
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        raise Malformed(f"{type(error).__name__}: {str(error)[:200]}") from None


def _integer(digits: str) -> int:
    if len(digits) > 40:
        raise Malformed("a number of too many digits")
    return int(digits)


def _filled(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, dict) and value.keys() == {"$array"}:
        index = value["$array"]
        if type(index) is not int or index < 0:
            raise Malformed("an array without a number")
        return arrays[index]
    if isinstance(value, dict):
        return {_text(name): _filled(item, arrays) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, arrays) for item in value]
    return _text(value) if isinstance(value, str) else value


def _text(value: str) -> str:
    """Text that can be written to a file: halves of characters are replaced."""
    return value.encode("utf-8", "replace").decode()


def send(fd: int, frame: bytes) -> None:
    """Write a whole frame."""
    view = memoryview(frame)
    while view:
        view = view[os.write(fd, view) :]


def receive(fd: int) -> tuple[int, Any] | None:
    """Read one frame: its number and its data; None at the end of the pipe."""
    start = _exactly(fd, PREFIX.size)
    if not start:
        return None
    number, header, body = prefix(start)
    return number, unpack(_exactly(fd, header), _exactly(fd, body))


def _exactly(fd: int, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = os.read(fd, min(count - len(parts), 1 << 20))
        if not part:
            return b""
        parts += part
    return bytes(parts)
