import math

import pytest
import torch
from torch.testing import assert_close

from genimg_ref.nn.interpolate import lerp, slerp


def pair(rows=5, dim=7, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(2, rows, dim, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("path", [lerp, slerp])
def test_ends_are_the_given_vectors(path):
    a, b = pair()
    assert_close(path(a, b, 0.0), a)
    assert_close(path(a, b, 1.0), b)


def test_lerp_against_torch():
    a, b = pair()
    assert_close(lerp(a, b, 0.3), torch.lerp(a, b, 0.3))


def test_slerp_on_the_plane_is_a_rotation():
    a = torch.tensor([3.0, 0.0], dtype=torch.float64)
    b = 3 * torch.tensor([math.cos(2.0), math.sin(2.0)], dtype=torch.float64)
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    assert_close(slerp(a, b, t), 3 * torch.stack([torch.cos(2 * t), torch.sin(2 * t)], dim=-1))


def test_slerp_keeps_the_length_and_lerp_loses_it():
    a, b = pair()
    a, b = (v / v.norm(dim=-1, keepdim=True) for v in (a, b))
    assert_close(slerp(a, b, 0.4).norm(dim=-1), torch.ones(5, dtype=torch.float64))
    assert (lerp(a, b, 0.4).norm(dim=-1) < 0.99).all()


def test_slerp_runs_at_constant_speed():
    a, b = pair(rows=1)
    a, b = a[0] / a.norm(), b[0] / b.norm()
    path = slerp(a, b, torch.linspace(0, 1, 9, dtype=torch.float64))
    hops = (path[1:] - path[:-1]).norm(dim=-1)
    assert_close(hops, hops[:1].expand(8))


def test_a_tensor_of_shares_adds_axes():
    a, b = pair(rows=3, dim=4)
    t = torch.linspace(0, 1, 6, dtype=torch.float64)
    for path in (lerp, slerp):
        whole = path(a[:, None], b[:, None], t)
        assert whole.shape == (3, 6, 4)
        assert_close(whole[2, 1], path(a[2], b[2], 0.2))


def test_parallel_vectors_give_the_straight_line():
    a = torch.tensor([[1.0, 2.0, 2.0], [0.5, 0.0, 0.0]])
    b = torch.stack([3 * a[0], a[1]])
    assert_close(slerp(a, b, 0.25), lerp(a, b, 0.25))


def test_nearly_parallel_vectors_keep_their_accuracy():
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    w = 2e-4
    b = torch.tensor([math.cos(w), math.sin(w)], dtype=torch.float64)
    assert_close(slerp(a, b, 0.5), torch.tensor([math.cos(w / 2), math.sin(w / 2)], dtype=torch.float64))


def test_gradients_are_finite_even_where_vectors_are_parallel():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    b = torch.tensor([[2.0, 0.1], [0.0, 1.0]])
    slerp(a, b, 0.3).sum().backward()
    assert a.grad.isfinite().all() and (a.grad != 0).any()


def test_gradcheck():
    a, b = pair(rows=2, dim=3)
    assert torch.autograd.gradcheck(
        lambda x, y: slerp(x, y, 0.3), (a.requires_grad_(), b.requires_grad_()), raise_exception=True
    )


def test_opposite_and_zero_vectors_are_named():
    a = torch.tensor([[1.0, 2.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match="opposite"):
        slerp(a, torch.stack([a[0] + 1, -2 * a[1]]), 0.5)
    with pytest.raises(ValueError, match="zero vector"):
        slerp(a, torch.zeros(2, 2), 0.5)
