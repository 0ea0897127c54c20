"""A training loop that yields: callers watch, plot, save or stop by iterating.

Chapter: dcgan. One step of an algorithm is a function of its own; this is only the loop around it.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from jaxtyping import Shaped
from torch import Tensor
from tqdm import tqdm

__all__ = ["minibatch", "run"]

Step = TypeVar("Step")


def minibatch(
    data: Shaped[Tensor, "data *shape"], size: int, rng: torch.Generator
) -> Shaped[Tensor, "batch *shape"]:
    """``size`` rows of ``data`` drawn uniformly with replacement."""
    rows = torch.randint(len(data), (size,), generator=rng, device=rng.device)
    return data[rows.to(data.device)]


def run(
    update: Callable[[int], Step],
    *,
    steps: int,
    start: int = 0,
    describe: Callable[[Step], str] | None = None,
) -> Iterator[Step]:
    """Call ``update(number)`` for number = start + 1 ... steps and yield what each call returns.

    ``update`` does one whole step of an algorithm, optimisers included, so whoever iterates sees the
    models as the step left them. With ``describe``, which turns a step into a few words, a progress bar
    of one line shows them and is removed at the end.

    Raises:
        ValueError: at once, if ``start`` does not lie between 0 and ``steps``.
    """
    if not 0 <= start <= steps:
        raise ValueError(f"start must lie between 0 and steps = {steps}; got {start}")
    return _run(update, steps, start, describe)


def _run(
    update: Callable[[int], Step], steps: int, start: int, describe: Callable[[Step], str] | None
) -> Iterator[Step]:
    with tqdm(
        total=steps, initial=start, disable=describe is None, leave=False, mininterval=0.5, ncols=90
    ) as bar:
        for number in range(start + 1, steps + 1):
            step = update(number)
            if describe is not None and number % 10 == 0:
                bar.set_postfix_str(describe(step), refresh=False)
            bar.update()
            yield step
