"""The small classifier: its features, its training, and what augmentation does to an image."""

from inspect import unwrap

import pytest
import torch

from genimg_ref.metrics.classifier import ConvClassifier, augment, fit


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def stripes(count, seed=0):
    """Noisy colour images of 8 x 10 pixels with rows (0), columns (1) or a grey surface (2)."""
    labels = torch.randint(3, (count,), generator=rng(seed))
    images = 0.3 * torch.randn(count, 3, 8, 10, generator=rng(seed + 1))
    images[labels == 0, :, ::2] += 0.5
    images[labels == 1, :, :, ::2] += 0.5
    return images, labels


@pytest.fixture(scope="module")
def trained():
    return fit(ConvClassifier(3, 3, 4, 5, rng=rng()), *stripes(400), steps=60, batch=32, rng=rng(1))


def test_the_number_of_weights_that_the_docstring_states():
    assert sum(weight.numel() for weight in ConvClassifier().parameters()) == 80_018


def test_it_starts_as_he_et_al_say():
    last = [module for module in ConvClassifier(rng=rng()).body if isinstance(module, torch.nn.Conv2d)][-1]
    assert last.weight.std().item() == pytest.approx((2 / (48 * 9)) ** 0.5, rel=0.02)


def test_it_learns_what_it_has_not_seen(trained):
    images, labels = stripes(200, seed=5)
    assert not trained.training
    assert (trained(images).argmax(1) == labels).float().mean() > 0.97


def test_features_come_before_the_relu_and_are_standardised(trained):
    images, _ = stripes(400)
    features = trained.features(images)
    torch.testing.assert_close(trained(images), trained.head(features.relu()))
    assert features.shape == (400, 5) and (features < 0).any(dim=0).all()
    torch.testing.assert_close(features.mean(0), torch.zeros(5), rtol=0, atol=0.2)
    torch.testing.assert_close(features.std(0), torch.ones(5), rtol=0, atol=0.2)


def test_one_seed_one_classifier():
    nets = [fit(ConvClassifier(3, 3, 2, 4, rng=rng(7)), *stripes(50), steps=20, rng=rng(8)) for _ in "ab"]
    for a, b in zip(*(net.state_dict().values() for net in nets), strict=True):
        assert torch.equal(a, b)
    other = ConvClassifier(3, 3, 2, 4, rng=rng(9))
    assert not torch.equal(ConvClassifier(3, 3, 2, 4, rng=rng(7)).head.weight, other.head.weight)


def test_augmentation_moves_and_mirrors():
    """Every result is one of the 2 x 9 shifted and mirrored images, and all of them occur, about equally."""
    image = torch.randn(1, 2, 5, 7, generator=rng())
    wide = torch.nn.functional.pad(image, (1, 1, 1, 1), mode="replicate")
    moved = [wide[:, :, y : y + 5, x : x + 7] for y in range(3) for x in range(3)]
    expected = torch.cat([picture for m in moved for picture in (m, m.flip(3))])
    results = augment(image.expand(1800, -1, -1, -1), rng(), shift=1)
    same = (results[:, None] == expected[None]).flatten(2).all(dim=2)
    assert same.any(dim=1).all()
    assert same.sum(dim=0).min() > 60 and same.sum(dim=0).max() < 140  # 100 +- 4 standard deviations


def test_augmentation_can_be_none():
    images = torch.randn(6, 1, 4, 5, generator=rng())
    assert torch.equal(augment(images, rng(), shift=0, flip=False), images)


def test_bad_input_is_named():
    net = ConvClassifier(3, 3, 2, 4)
    images, labels = stripes(30)
    with pytest.raises(
        ValueError, match=r"images must have shape \(count, 3, height, width\), at least 8 .*"
    ):
        net.features(images[:, :1])
    with pytest.raises(ValueError, match=r"got \(30, 3, 7, 10\)"):
        net.features(images[:, :, :7])
    with pytest.raises(ValueError, match="labels must have one entry for each image"):
        unwrap(fit)(net, images, labels[:-1], steps=20, rng=rng())
    with pytest.raises(ValueError, match=r"labels must lie in 0 ... 2; got 1 to 3"):
        fit(net, images, labels + 1, steps=20, rng=rng())
    with pytest.raises(ValueError, match="steps must be 20 or more; got 19"):
        fit(net, images, labels, steps=19, rng=rng())
    with pytest.raises(ValueError, match="width must be a positive number; got 0"):
        ConvClassifier(width=0)
