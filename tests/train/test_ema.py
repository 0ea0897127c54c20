import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.testing import assert_close

from genimg_ref.train.ema import EMA


def move(model, rng):
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(torch.randn(tensor.shape, generator=rng).abs())
            else:
                tensor.add_(1)


def test_a_constant_model_is_its_own_average():
    model = nn.Linear(3, 2)
    ema = EMA(model, 0.9)
    for _ in range(5):
        ema.update(model)
    assert_close(ema.model.weight, model.weight)


def test_closed_form_after_the_warm_up():
    """From zero, n updates with a constant 1 leave 1 - product of the decays."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema = EMA(model, 0.3)
    nn.init.ones_(model.weight)
    for _ in range(6):
        ema.update(model)
    left = 1.0
    for n in range(6):
        left *= min(0.3, (1 + n) / (10 + n))
    assert_close(ema.model.weight.item(), 1 - left, rtol=1e-5, atol=0)


def test_against_torch_s_own_average():
    rng = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    ours = EMA(model, 0.8)
    ours.updates = 10_000  # past the warm-up, which torch does not have
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True)
    theirs.update_parameters(model)  # its first call copies
    for _ in range(5):
        move(model, rng)
        ours.update(model)
        theirs.update_parameters(model)
    for mine, other in zip(ours.model.parameters(), theirs.module.parameters(), strict=True):
        assert_close(mine, other.detach())
    assert_close(ours.model[1].running_var, theirs.module[1].running_var)
    assert ours.model[1].num_batches_tracked == model[1].num_batches_tracked == 5


def test_the_model_is_left_alone_and_the_average_is_not_trained():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ema = EMA(model)
    ema.update(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training and not ema.model.training
    assert all(p.requires_grad for p in model.parameters())
    assert not any(p.requires_grad for p in ema.model.parameters())


@pytest.mark.parametrize("decay", [-0.1, 1.0, 99.9])
def test_a_decay_outside_its_range_is_refused(decay):
    with pytest.raises(ValueError, match="decay must lie in"):
        EMA(nn.Linear(1, 1), decay)
