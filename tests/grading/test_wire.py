import contextlib
import io
import json
import os
import random

import numpy as np
import pytest

from genimg_ref.grading.inside import wire


def through(data):
    """What arrives at the other end of a pipe."""
    read, write = os.pipe()
    try:
        wire.send(write, wire.numbered(7, wire.pack(data)))
        os.close(write)
        number, received = wire.receive(read)
        assert number == 7
        assert wire.receive(read) is None
    finally:
        os.close(read)
    return received


PLAIN = [
    None,
    True,
    -3,
    2.5,
    "é\n",
    [],
    [1, [2, [3]]],
    {"a": {"b": [None, 1.5]}},
]


@pytest.mark.parametrize("data", PLAIN, ids=repr)
def test_plain_data_arrives_as_it_was(data) -> None:
    assert through(data) == data


@pytest.mark.parametrize("dtype", sorted(wire.DTYPES))
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
def test_arrays_arrive_with_type_shape_and_values(dtype, shape) -> None:
    array = np.asarray(np.random.default_rng(0).normal(size=shape) * 50).astype(dtype)
    received = through({"x": [array, array]})
    for copy in received["x"]:
        assert copy.dtype == array.dtype and copy.shape == array.shape
        np.testing.assert_array_equal(copy, array)
        copy.fill(0)  # it can be written to


def test_numbers_that_json_does_not_know_arrive() -> None:
    received = through([float("inf"), float("-inf"), float("nan")])
    assert received[:2] == [float("inf"), float("-inf")] and received[2] != received[2]


def test_halves_of_characters_become_writable() -> None:
    assert through("\ud800").encode() == b"?"


def test_what_is_too_large_is_not_packed() -> None:
    with pytest.raises(ValueError, match="too large"):
        wire.pack(np.zeros(wire.MAX_BODY // 8 + 1))
    with pytest.raises(ValueError, match="too large"):
        wire.pack("x" * (wire.MAX_HEADER + 1))


def test_what_is_not_plain_is_not_packed() -> None:
    with pytest.raises(TypeError):
        wire.pack({"x": object()})
    with pytest.raises(TypeError):
        wire.pack({(1, 2): 3})


def header(data, arrays=()) -> bytes:
    return json.dumps({"data": data, "arrays": list(arrays)}).encode()


MALFORMED = {
    "no JSON": (b"\x80\x04\x95", b""),
    "a pickle": (b"cos\nsystem\n(S'true'\ntR.", b""),
    "no object": (b"[]", b""),
    "no data": (b'{"arrays": []}', b""),
    "not UTF-8": (b'{"data": "\xff", "arrays": []}', b""),
    "deep nesting": (b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b', "arrays": []}', b""),
    "a long number": (b'{"data": ' + b"9" * 100_000 + b', "arrays": []}', b""),
    "an array that is not there": (header({"$array": 0}), b""),
    "an array before the first": (header({"$array": -1}, [["float32", [1]]]), bytes(4)),
    "an array without a number": (header({"$array": "0"}, [["float32", [1]]]), bytes(4)),
    "an array called true": (header({"$array": True}, [["float32", [1]], ["float32", [1]]]), bytes(8)),
    "an array of objects": (header(0, [["object", [1]]]), bytes(8)),
    "a type by its module": (header(0, [["os.system", [1]]]), bytes(8)),
    "a negative size": (header(0, [["float32", [-1]]]), bytes(4)),
    "a size that is no number": (header(0, [["float32", ["4"]]]), bytes(16)),
    "a rank too high": (header(0, [["float32", [1] * 9]]), bytes(4)),
    "a huge product": (header(0, [["float64", [2**31, 2**31, 2**31]]]), bytes(8)),
    "more array than body": (header(0, [["float32", [5]]]), bytes(16)),
    "more body than array": (header(0, [["float32", [1]]]), bytes(16)),
    "too many arrays": (header(0, [["float32", [0]]] * (wire.MAX_ARRAYS + 1)), b""),
    "arrays that are no list": (b'{"data": 0, "arrays": 5}', b""),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_malformed_is_told_so_and_nothing_else_happens(case) -> None:
    with pytest.raises(wire.Malformed):
        wire.unpack(*MALFORMED[case])


def test_lengths_are_bounded_before_anything_is_read() -> None:
    assert wire.prefix(wire.PREFIX.pack(1, 2, 3)) == (1, 2, 3)
    for lengths in [(wire.MAX_HEADER + 1, 0), (0, wire.MAX_BODY + 1), (2**32 - 1, 2**32 - 1)]:
        with pytest.raises(wire.Malformed):
            wire.prefix(wire.PREFIX.pack(0, *lengths))
    with pytest.raises(wire.Malformed):
        wire.prefix(wire.PREFIX.pack(0, 100, 0), max_header=99)


def test_any_bytes_give_data_or_malformed() -> None:
    chance = random.Random(0)
    good = wire.pack({"x": np.arange(6.0).reshape(2, 3), "y": ["text", 1]})
    size = wire.PREFIX.size - 4
    for _ in range(2_000):
        bad = bytearray(good)
        for _ in range(chance.randint(1, 6)):
            bad[chance.randrange(size, len(bad))] = chance.randrange(256)
        length = int.from_bytes(good[:4], "big")
        stream = io.BytesIO(bytes(bad[size:]))
        with contextlib.suppress(wire.Malformed):
            wire.unpack(stream.read(length), stream.read())
