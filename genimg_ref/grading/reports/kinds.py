"""Outcomes, sorted into the few kinds that a reader tells apart at a glance."""

from dataclasses import dataclass

from genimg_ref.exercises.compare import Outcome


@dataclass(frozen=True)
class Kind:
    """A kind of outcome: its name (a class in the style sheet, too), its sign, and its word."""

    name: str
    sign: str
    word: str


RIGHT = Kind("right", "✓", "right")
WRONG = Kind("wrong", "✗", "wrong")
STOPPED = Kind("stopped", "■", "stopped")
UNREADABLE = Kind("unreadable", "?", "unreadable")
OPEN = Kind("open", "–", "not attempted")
FAULT = Kind("fault", "!", "grader fault")
KINDS = (RIGHT, WRONG, STOPPED, UNREADABLE, OPEN, FAULT)

OTHER_THAN_WRONG = {
    Outcome.RIGHT: RIGHT,
    Outcome.NOT_ATTEMPTED: OPEN,
    Outcome.GRADER_FAULT: FAULT,
    Outcome.UNREADABLE: UNREADABLE,
    Outcome.FORBIDDEN: STOPPED,
    Outcome.OUT_OF_MEMORY: STOPPED,
    Outcome.TOO_MANY_PROCESSES: STOPPED,
    Outcome.TOO_LARGE_FILE: STOPPED,
    Outcome.TOO_MUCH_OUTPUT: STOPPED,
    Outcome.KILLED: STOPPED,
    Outcome.TIMED_OUT: STOPPED,
}


def kind_of(outcome: Outcome) -> Kind:
    return OTHER_THAN_WRONG.get(outcome, WRONG)
