"""Answers to exercises, gathered from all over a test module."""

from collections.abc import Callable
from typing import Any

Answer = Callable[..., Any]


class Collected(list[tuple[str, Answer]]):
    """Pairs of an exercise's name and an answer; called with the name, it is a decorator that adds one."""

    def __call__(self, name: str) -> Callable[[Answer], Answer]:
        def add(answer: Answer) -> Answer:
            self.append((name, answer))
            return answer

        return add
