"""Reference implementations for the course on image generation.

Conventions, the same everywhere:

- Images are float32 ``(batch, channels, height, width)`` in [-1, 1].
- Adversarial losses take ``(real, fake)`` logits, in that order.
- Randomness is explicit: functions take a ``torch.Generator``; the global state is never seeded.
- Device and dtype of a result follow the input.
- In diffusion and flow, ``t = 0`` is data and the largest ``t`` is noise; guidance scale 1 is no guidance.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch

__all__ = ["budget", "check", "device"]
__version__ = "0.1.0"

BUDGETS = ("smoke", "book", "full")
T = TypeVar("T")


def budget(*, smoke: T, book: T, full: T) -> T:
    """Pick the value of the current budget, which the variable ``GENIMG_BUDGET`` sets (default ``book``).

    ``smoke`` is for tests (a notebook in seconds), ``book`` for the stored outputs (a notebook in less than
    four minutes on two CPU cores), ``full`` for a GPU.
    """
    name = os.environ.get("GENIMG_BUDGET", "book")
    if name not in BUDGETS:
        raise ValueError(f"GENIMG_BUDGET must be one of {', '.join(BUDGETS)}; got {name!r}")
    return {"smoke": smoke, "book": book, "full": full}[name]


def device() -> torch.device:
    """The fastest device present: cuda, then mps, then cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def check(answer: Callable[..., Any]) -> None:
    """Check ``answer`` against the exercise that bears its name, and print one short verdict."""
    from genimg_ref.exercises import check as check_answer  # imported late: it loads every chapter

    check_answer(answer)
