"""Muon: singular values near one, torch's Muon and Adam step by step, and the convolution as a matrix."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from genimg_ref.train.muon import Muon, orthogonalise


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (9, 9)])
def test_singular_values_are_pushed_towards_one(shape):
    u, _, v = torch.linalg.svd(torch.randn(*shape, generator=seeded()).double(), full_matrices=False)
    values = torch.logspace(0, -2, min(shape)).double()
    result = u.T @ orthogonalise(u * values @ v) @ v.T
    assert_close(result, result.diag().diag(), atol=1e-10, rtol=0)  # directions stay
    low, high = result.diag().aminmax()
    assert low > 0.65 and high < 1.25
    assert torch.equal(orthogonalise(torch.zeros(shape)), torch.zeros(shape))


def test_the_scale_of_a_gradient_does_not_matter():
    matrix = torch.randn(5, 7, generator=seeded()).double()
    assert_close(orthogonalise(1e4 * matrix), orthogonalise(matrix), atol=1e-5, rtol=0)


def pair(shapes):
    first = [nn.Parameter(torch.randn(shape, generator=seeded(i))) for i, shape in enumerate(shapes)]
    return first, [nn.Parameter(p.detach().clone()) for p in first]


def gradients(parameters, step):
    for i, p in enumerate(parameters):
        p.grad = torch.randn(p.shape, generator=seeded(100 * step + i))


def test_it_is_torch_s_muon_up_to_rounding():
    """Torch iterates in bfloat16, hence the tolerance."""
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("torch has no Muon before 2.9")
    ours, theirs = pair([(6, 20), (20, 6)])
    a = Muon(ours, [], lr=0.1, momentum=0.8)
    b = torch.optim.Muon(theirs, lr=0.1, momentum=0.8, weight_decay=0.0)
    for step in range(1, 5):
        gradients(ours, step), gradients(theirs, step)
        a.step(), b.step()
    for p, q in zip(ours, theirs, strict=True):
        assert_close(p, q, atol=0.02, rtol=0)


def test_others_get_adam():
    ours, theirs = pair([(6,), (3, 4)])
    a = Muon([], ours, adam_lr=0.1, betas=(0.8, 0.95))
    b = torch.optim.Adam(theirs, lr=0.1, betas=(0.8, 0.95))
    for step in range(1, 5):
        gradients(ours, step), gradients(theirs, step)
        a.step(), b.step()
    for p, q in zip(ours, theirs, strict=True):
        assert_close(p, q)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_is_a_matrix_with_a_row_for_each_output(layout):
    (kernel,), (matrix,) = pair([(4, 3, 2, 2)])[0], pair([(4, 3, 2, 2)])[1]
    kernel.data = kernel.data.contiguous(memory_format=layout)
    matrix = nn.Parameter(matrix.detach().flatten(1))
    optimisers = Muon([kernel], []), Muon([matrix], [])
    for step in range(1, 4):
        gradients([kernel], step)
        matrix.grad = kernel.grad.flatten(1)
        for optimiser in optimisers:
            optimiser.step()
    assert_close(kernel.detach().flatten(1), matrix.detach())


def test_it_descends_and_resumes_where_it_was():
    target = torch.randn(8, 5, generator=seeded(1))

    def run(steps, resume_at=None):
        weight, bias = nn.Parameter(torch.zeros(8, 5)), nn.Parameter(torch.zeros(8))
        optimiser = Muon([weight], [bias], lr=0.1, adam_lr=0.1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda n: 1 - n / steps)
        losses = []
        for number in range(steps):
            if number == resume_at:
                saved = optimiser.state_dict()
                optimiser = Muon([weight], [bias], lr=0.1, adam_lr=0.1)
                optimiser.load_state_dict(saved)
                schedule.optimizer = optimiser
            loss = (weight + bias[:, None] - target).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        return losses

    losses = run(60)
    assert losses[-1] < 0.01 * losses[0]
    assert run(60, resume_at=20) == losses


def test_parameters_without_gradient_stay():
    weight, bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    optimiser = Muon([weight], [bias])
    assert optimiser.step(lambda: 7.0) == 7.0
    assert torch.equal(weight, torch.ones(2, 2)) and torch.equal(bias, torch.ones(2))


def test_odd_settings_are_refused():
    with pytest.raises(ValueError, match=r"hidden must have two or more axes each; got shape \(3,\)"):
        Muon([nn.Parameter(torch.zeros(3))], [])
    with pytest.raises(ValueError, match=r"lr and adam_lr must be 0 or more; got -1.0 and 0.005"):
        Muon([nn.Parameter(torch.zeros(3, 3))], [], lr=-1.0)
