import pytest
import torch
from torch import nn

from genimg_ref.train.checkpoint import CheckpointError, load, save


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "run.pt"
    rng = torch.Generator().manual_seed(5)
    model = nn.Linear(3, 2)
    save(path, step=12, rng=rng, model=model)
    return path, model, rng


def test_round_trip(saved):
    path, model, rng = saved
    expected = torch.randn(4, generator=rng)
    other, restored = nn.Linear(3, 2), torch.Generator()
    assert load(path, rng=restored, model=other) == 12
    assert torch.equal(other.weight, model.weight)
    assert torch.equal(torch.randn(4, generator=restored), expected)


def test_no_unfinished_file_is_left(saved):
    path, _, _ = saved
    assert [p.name for p in path.parent.iterdir()] == ["run.pt"]


def test_a_killed_save_leaves_the_previous_file(saved, monkeypatch):
    path, model, rng = saved
    before = path.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save(path, step=13, rng=rng, model=model)
    assert path.read_bytes() == before


@pytest.mark.parametrize("where", [0, 30, 100, -1])
def test_one_flipped_byte_is_found_and_the_file_named(saved, where):
    path, model, rng = saved
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(bytes(content))
    state, weight = rng.get_state(), model.weight.clone()
    with pytest.raises(CheckpointError, match=r"run\.pt.*damaged"):
        load(path, rng=rng, model=model)
    assert torch.equal(rng.get_state(), state) and torch.equal(model.weight, weight)


def test_a_truncated_file_is_named(saved):
    path, model, rng = saved
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"run\.pt is damaged"):
        load(path, rng=rng, model=model)


def test_missing_files_other_parts_and_other_sizes_are_named(saved, tmp_path):
    path, model, rng = saved
    with pytest.raises(CheckpointError, match=r"none\.pt cannot be read: No such file"):
        load(tmp_path / "none.pt", rng=rng, model=model)
    with pytest.raises(CheckpointError, match=r"holds \['model'\]; asked for \['ema', 'model'\]"):
        load(path, rng=rng, model=model, ema=model)
    with pytest.raises(CheckpointError, match="'model' does not fit"):
        load(path, rng=rng, model=nn.Linear(4, 2))


def test_code_in_a_file_is_not_run(tmp_path):
    import hashlib
    import pickle

    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the file's code was run",))

    payload = pickle.dumps(Bomb(), protocol=2)
    path = tmp_path / "bomb.pt"
    digest = hashlib.sha256(payload).hexdigest().encode()
    path.write_bytes(b"genimg-checkpoint-1 " + digest + b"\n" + payload)
    with pytest.raises(CheckpointError, match="cannot be understood"):
        load(path, rng=torch.Generator(), model=nn.Linear(1, 1))
