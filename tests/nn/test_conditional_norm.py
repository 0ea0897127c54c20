import torch
from torch import nn

from genimg_ref.nn.conditional_norm import ConditionalBatchNorm2d


def batch(seed=0, shape=(7, 3, 4, 5)):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng) * 2 + 1, torch.randint(4, shape[:1], generator=rng)


def random_layer(classes=4):
    layer = ConditionalBatchNorm2d(3, classes)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    return layer


def test_it_starts_as_batch_normalisation():
    x, y = batch()
    torch.testing.assert_close(ConditionalBatchNorm2d(3, 4)(x, y), nn.BatchNorm2d(3)(x))
    two = torch.stack([y, y % 2], dim=1)
    torch.testing.assert_close(ConditionalBatchNorm2d(3, (4, 2))(x, two), nn.BatchNorm2d(3)(x))


def test_each_class_is_a_batch_norm_of_its_own_gain_and_shift():
    """The statistics are those of all classes together: the oracle sees the whole batch for each class."""
    (x, y), layer = batch(), random_layer()
    out = layer(x, y)
    for label in range(4):
        oracle = nn.BatchNorm2d(3)
        oracle.weight.data, oracle.bias.data = layer.gain.weight[label], layer.shift.weight[label]
        torch.testing.assert_close(out[y == label], oracle(x)[y == label])


def test_running_statistics_are_those_of_batch_norm():
    (x, y), layer, oracle = batch(), random_layer(), nn.BatchNorm2d(3, affine=False)
    layer(x, y), oracle(x)
    torch.testing.assert_close(layer.norm.running_mean, oracle.running_mean)
    torch.testing.assert_close(layer.norm.running_var, oracle.running_var)
    layer.eval(), oracle.eval()
    gain, shift = layer.gain.weight[y], layer.shift.weight[y]
    expected = oracle(x) * gain[:, :, None, None] + shift[:, :, None, None]
    torch.testing.assert_close(layer(x, y), expected)


def test_only_classes_that_occur_learn():
    x, _ = batch()
    layer = random_layer()
    layer(x, torch.tensor([0, 2, 2, 0, 0, 2, 0])).square().sum().backward()
    for table in (layer.gain, layer.shift):
        assert (table.weight.grad.abs().sum(dim=1) > 0).tolist() == [True, False, True, False]


def test_attributes_add_up():
    x, y = batch()
    layer = ConditionalBatchNorm2d(3, (4, 2))
    with torch.no_grad():
        layer.gain.weight.normal_()
        layer.shift.weight.normal_()
    both = torch.stack([y, (y + 1) % 2], dim=1)
    rows = layer.gain.weight[both[:, 0]] + layer.gain.weight[4 + both[:, 1]]
    shifts = layer.shift.weight[both[:, 0]] + layer.shift.weight[4 + both[:, 1]]
    expected = nn.BatchNorm2d(3, affine=False)(x) * rows[..., None, None] + shifts[..., None, None]
    torch.testing.assert_close(layer(x, both), expected)
