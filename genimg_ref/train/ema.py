"""Exponential moving average of a model's weights.

Chapter: dcgan. Papers: Yazıcı et al. (2019), The Unusual Effectiveness of Averaging in GAN Training,
arXiv:1806.04498, equation 5 (there for the generator); Polyak and Juditsky (1992).
"""

from copy import deepcopy
from typing import Any

import torch
from torch import nn

__all__ = ["EMA"]


class EMA:
    """A copy of a model whose weights follow it as ``average = decay * average + (1 - decay) * weight``.

    Floating-point buffers (the running mean and variance of batch normalisation) are averaged like the
    weights, so that they fit them; other buffers, such as counters, are copied. In the first steps the
    decay is held to ``(1 + n) / (10 + n)``, n being the number of updates before, so that the random
    initial weights are soon forgotten.

    Attributes:
        model: the averaged copy, in evaluation mode, without gradients.
        updates: how many updates it has had.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1), near 1 for a long memory; got {decay}")
        self.decay = decay
        self.updates = 0
        self.model = deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average one step towards ``model``, which is left as it is."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for average, current in zip(_tensors(self.model), _tensors(model), strict=True):
            if average.is_floating_point():
                average.lerp_(current, 1 - decay)
            else:
                average.copy_(current)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """All that :meth:`load_state_dict` needs to go on."""
        return {"decay": self.decay, "updates": self.updates, "model": self.model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the average, its decay and its count of updates."""
        self.model.load_state_dict(state["model"])
        self.decay, self.updates = state["decay"], state["updates"]


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    """Parameters, then buffers, in the order in which both copies have them."""
    return [*model.parameters(), *model.buffers()]
