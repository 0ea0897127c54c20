"""Stop work that takes too long."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


class _Late(BaseException):
    """Raised inside an answer that takes too long; no ``except Exception`` catches it."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """Do ``work``, or raise TimeoutError after ``seconds``."""
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        with _alarm(seconds):
            try:
                return work()
            except _Late:
                raise TimeoutError from None
    return _in_a_thread(seconds, work)


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise _Late

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)  # again and again: a bare except may swallow the first
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _in_a_thread(seconds: float, work: Callable[[], T]) -> T:
    """Where there is no alarm the answer is left to run on, in a thread that ends with the process."""
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    if not results:
        raise TimeoutError
    return results[0]
