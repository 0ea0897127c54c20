from pathlib import Path

import pytest
import torch

from genimg_ref.data import fashion


@pytest.mark.parametrize(("split", "each"), [("train", 1500), ("test", 500)])
def test_embedded_images_are_balanced_and_in_range(split: str, each: int) -> None:
    images, labels = fashion.load(split)
    assert images.shape == (10 * each, 1, 28, 28)
    assert images.dtype == torch.float32 and labels.dtype == torch.int64
    assert images.min() == -1.0 and images.max() == 1.0
    assert torch.bincount(labels).tolist() == [each] * 10


def test_embedded_files_are_small() -> None:
    assert sum(path.stat().st_size for path in fashion.FILES.iterdir()) <= 8 * 2**20


def test_labels_belong_to_their_images() -> None:
    """A nearest-mean classifier reads two thirds of the labels; shuffled ones, a tenth."""
    train, test = fashion.load("train"), fashion.load("test")
    means = torch.stack([train.images[train.labels == c].mean(0).flatten() for c in range(10)])
    nearest = torch.cdist(test.images.flatten(1), means).argmin(1)
    assert (nearest == test.labels).float().mean() > 0.6


def test_no_held_out_image_is_a_training_image() -> None:
    train = {image.numpy().tobytes() for image in fashion.load("train").images}
    shared = sum(image.numpy().tobytes() in train for image in fashion.load("test").images)
    assert shared == 0


def test_size_32_adds_a_background_border() -> None:
    small, large = fashion.load("test").images, fashion.load("test", size=32).images
    assert large.shape[-2:] == (32, 32)
    torch.testing.assert_close(large[..., 2:-2, 2:-2], small)
    border = large.clone()
    border[..., 2:-2, 2:-2] = -1
    assert (border == -1).all()


def test_a_damaged_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "fashion_test.npy.xz"
    content = bytearray((fashion.FILES / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(fashion, "FILES", tmp_path)
    with pytest.raises(RuntimeError, match=rf"{name} is damaged"):
        fashion.load("test")
    with pytest.raises(RuntimeError, match=r"fashion_train\.npy\.xz is missing"):
        fashion.load("train")


@pytest.mark.parametrize(
    ("arguments", "message"), [({"split": "val"}, "split"), ({"size": 64}, "size must be 28 or 32; got 64")]
)
def test_bad_input_is_named(arguments: dict, message: str) -> None:
    with pytest.raises(Exception, match=message):
        fashion.load(**arguments)


def test_full_without_a_network_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(datasets.FashionMNIST, "download", refuse)
    with pytest.raises(RuntimeError, match="is there a network"):
        fashion.load(full=True, root=tmp_path)
