"""The fully connected models: shapes, ranges, sizes, and that every weight takes part."""

import pytest
import torch
from torch import nn

from genimg_ref.gan import mlp


def test_image_models_fit_each_other():
    generator, discriminator = mlp.MLPGenerator(16, (1, 28, 28)), mlp.MLPDiscriminator((1, 28, 28))
    images = generator(3 * torch.randn(5, 16))
    assert images.shape == (5, 1, 28, 28)
    assert images.abs().max() <= 1 and images.std() > 0
    assert discriminator(images).shape == (5,)


def test_images_need_not_be_square_nor_grey():
    images = mlp.MLPGenerator(4, (3, 6, 8), hidden=(10,))(torch.randn(2, 4))
    assert images.shape == (2, 3, 6, 8)
    assert mlp.MLPDiscriminator((3, 6, 8), hidden=(10,))(images).shape == (2,)


def test_point_models_fit_each_other():
    generator = mlp.PointGenerator(3, hidden=(7, 9))
    points = generator(torch.randn(4, 3))
    assert generator.latent == 3 and points.shape == (4, 2)
    assert mlp.PointDiscriminator(hidden=(7,))(points).shape == (4,)
    assert mlp.PointDiscriminator(hidden=(7,))(points[:1]).shape == (1,)


def test_number_of_parameters():
    def count(module):
        return sum(p.numel() for p in module.parameters())

    assert count(mlp.PointGenerator(3, hidden=(5,))) == 3 * 5 + 5 + 5 * 2 + 2
    assert count(mlp.MLPDiscriminator((1, 2, 3), hidden=(4,))) == 6 * 4 + 4 + 4 * 1 + 1


@pytest.mark.parametrize("model", [mlp.MLPGenerator(8), mlp.PointGenerator(8)])
def test_every_parameter_takes_part(model):
    model(torch.randn(64, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.norm() > 0 for p in model.parameters())


def test_logits_are_not_squashed():
    discriminator = mlp.PointDiscriminator()
    logits = discriminator(100 * torch.randn(50, 2))
    assert logits.min() < 0 < logits.max() or logits.abs().max() > 1


def test_dropout_only_while_training():
    discriminator = mlp.MLPDiscriminator((1, 4, 4), dropout=0.5)
    x = torch.randn(3, 1, 4, 4)
    assert not torch.equal(discriminator(x), discriminator(x))
    discriminator.eval()
    assert torch.equal(discriminator(x), discriminator(x))
    assert not any(isinstance(m, nn.Dropout) for m in mlp.MLPDiscriminator(dropout=0.0).modules())


def test_batch_normalisation_on_demand():
    generator = mlp.MLPGenerator(4, (1, 2, 2), hidden=(5, 6), batch_norm=True)
    assert [m.num_features for m in generator.modules() if isinstance(m, nn.BatchNorm1d)] == [5, 6]
    assert not any(isinstance(m, nn.BatchNorm1d) for m in mlp.MLPGenerator().modules())
    assert generator(torch.randn(3, 4)).shape == (3, 1, 2, 2)


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match="latent must hold whole numbers of 1 or more; got 0"):
        mlp.MLPGenerator(latent=0)
    with pytest.raises(ValueError, match=r"hidden must hold whole numbers of 1 or more; got \(8, -1\)"):
        mlp.PointDiscriminator(hidden=(8, -1))
    with pytest.raises(ValueError, match=r"shape must hold"):
        mlp.MLPDiscriminator(shape=(1, 0, 28))
