import hashlib

import pytest
import torch
from safetensors.torch import save

from genimg_ref.train import weights

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "a.count": torch.tensor(3)}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(save(TENSORS))
    return path


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_was_saved_is_loaded(file):
    loaded = weights.load(file, digest(file))
    assert loaded.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        torch.testing.assert_close(loaded[name], value, rtol=0, atol=0)


def test_a_missing_file_is_named(file):
    wanted = digest(file)
    file.unlink()
    with pytest.raises(RuntimeError, match=r"net\.safetensors is missing from .* install the package again"):
        weights.load(file, wanted)


def test_one_changed_bit_is_noticed(file):
    wanted, content = digest(file), bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(RuntimeError, match=r"net\.safetensors is damaged"):
        weights.load(file, wanted)
