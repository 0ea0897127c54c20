"""Muon: an optimiser that gives the update of a matrix the same length in every direction.

Chapter: ddpm

Papers:

- Jordan et al., *Muon: An Optimizer for Hidden Layers in Neural Networks*, 2024,
  https://kellerjordan.github.io/posts/muon/ (the algorithm and the coefficients)
- Bernstein and Newhouse, *Old Optimizer, New Norm: An Anthology*, 2024, arXiv:2409.20325 (why: it is steepest
  descent where a step's size is the spectral norm)
- Kingma and Ba, *Adam*, 2014, arXiv:1412.6980 (algorithm 1, for all that is no hidden matrix)

The gradient of a matrix has a few strong directions and many weak ones, and a step along it, even as Adam
scales it entry by entry, moves the weights along the strong ones alone. Muon replaces the singular values of
the averaged gradient by ones, or nearly so.
"""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["Muon", "orthogonalise"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrix: Float[Tensor, "rows columns"], steps: int = 5) -> Float[Tensor, "rows columns"]:
    """The matrix with its singular values pushed towards 1: within about 0.7 and 1.2, unless they are tiny.

    Newton-Schulz iteration: the polynomial ``a s + b s^3 + c s^5`` is applied ``steps`` times to all singular
    values, without computing them. Its coefficients lift small ones fast instead of settling at exactly 1.
    """
    if len(matrix) > matrix.shape[1]:
        return orthogonalise(matrix.T, steps).T
    a, b, c = COEFFICIENTS
    x = matrix / (matrix.norm() + 1e-7)  # no singular value is above 1
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


class Muon(Optimizer):
    """Orthogonal updates for ``hidden`` matrices, Adam's for ``others``.

    A convolution counts as the matrix of its output channels by all that reaches them. First and last layers
    and tables of embeddings belong to the others, as do all vectors.

    Args:
        hidden: parameters of two or more axes.
        others: all that remain.
        lr: learning rate of the hidden ones: about how far the singular values of a weight move in a step.
        adam_lr: that of the others.
        momentum: how much of the last averaged gradient a step keeps.
        betas: Adam's.

    Raises:
        ValueError: for hidden parameters with fewer than two axes, or learning rates below zero.
    """

    def __init__(
        self,
        hidden: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        lr: float = 0.02,
        adam_lr: float = 0.005,
        *,
        momentum: float = 0.9,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        matrices = list(hidden)
        for weight in matrices:
            if weight.ndim < 2:
                raise ValueError(f"hidden must have two or more axes each; got shape {tuple(weight.shape)}")
        if min(lr, adam_lr) < 0:
            raise ValueError(f"lr and adam_lr must be 0 or more; got {lr} and {adam_lr}")
        groups = [
            {"params": matrices, "lr": lr, "orthogonal": True},
            {"params": list(others), "lr": adam_lr, "orthogonal": False},
        ]
        super().__init__(groups, {"momentum": momentum, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move every parameter that has a gradient. With ``closure``, which computes the loss, return it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                if group["orthogonal"]:
                    self._orthogonal(weight, weight.grad, group["lr"], group["momentum"])
                else:
                    self._adam(weight, weight.grad, group["lr"], *group["betas"])
        return loss

    def _orthogonal(self, weight: Tensor, gradient: Tensor, lr: float, momentum: float) -> None:
        """Nesterov's momentum, then an update whose singular values are about ``sqrt(rows / columns)``, where
        that is above 1, or 1."""
        state = self.state[weight]
        if not state:
            state["average"] = torch.zeros_like(weight)
        average = state["average"].lerp_(gradient, 1 - momentum)
        ahead = torch.lerp(gradient, average, momentum).flatten(1)
        rows, columns = ahead.shape
        update = orthogonalise(ahead) * max(1.0, rows / columns) ** 0.5
        weight.sub_(update.view(weight.shape), alpha=lr)

    def _adam(self, weight: Tensor, gradient: Tensor, lr: float, beta_1: float, beta_2: float) -> None:
        state = self.state[weight]
        if not state:
            state.update(step=0, first=torch.zeros_like(weight), second=torch.zeros_like(weight))
        state["step"] += 1
        first = state["first"].lerp_(gradient, 1 - beta_1) / (1 - beta_1 ** state["step"])
        second = state["second"].lerp_(gradient.square(), 1 - beta_2) / (1 - beta_2 ** state["step"])
        weight.sub_(first / (second.sqrt() + 1e-8), alpha=lr)
