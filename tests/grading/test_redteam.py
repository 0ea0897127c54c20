"""No submission forges, reads, breaks or outlives its way to a mark, and none harms another."""

import functools
import hashlib
import os
import re
import secrets
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from string import Template

import pytest
from hostile import CHAPTERS, HONEST, IMPORTS, PAYLOADS, POINTS, Payload

from genimg_ref.exercises.compare import Outcome
from genimg_ref.grading import grade, sandbox
from genimg_ref.grading.assignment import Assignment, Limits
from genimg_ref.grading.inside import confine
from genimg_ref.grading.results import Result, Source, Submission

ROOT = Path(__file__).parents[2]
LIMITS = Limits(
    call_seconds=1.5,
    submission_seconds=4.0,
    cpu_seconds=5,
    memory_mb=512,
    processes=32,
    file_mb=8,
    output_kb=64,
)
PATIENT = replace(LIMITS, call_seconds=20.0, submission_seconds=30.0, cpu_seconds=20, memory_mb=1024)
HANG_SECONDS = 120
# threads and a child of its own must work beside a fork bomb, too
NEIGHBOUR = """
def optimal_discriminator(p_data, p_g):
    assert SECRET is not None
    with ThreadPoolExecutor(2) as pool:
        share = pool.submit(lambda: p_data / (p_data + p_g)).result()
    return torch.where(p_data + p_g > 0, share, torch.full_like(share, 0.5))
"""


@pytest.fixture(scope="module", autouse=True)
def _sandbox() -> None:
    """Everything here needs bubblewrap; where the tests are run for good it has to be there."""
    if why := sandbox.available("sandbox"):
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)


@pytest.fixture(autouse=True)
def _alarm() -> Iterator[None]:
    """A grader that hangs fails a test instead of stopping all of them."""

    def ring(*_: object) -> None:
        pytest.fail("the grader hangs")

    previous = signal.signal(signal.SIGALRM, ring)
    signal.alarm(HANG_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@functools.cache
def assignment(chapter: str, *exercises: str, limits: Limits = LIMITS) -> Assignment:
    return Assignment("Red team", (chapter,), seed=9, draws=1, exercises=exercises, limits=limits)


def submission(student: str, cells: list[str]) -> Submission:
    digest = hashlib.sha256("\n".join(cells).encode(errors="replace")).hexdigest()
    return Submission(student, student.title(), (Source(f"{student}.ipynb", digest, tuple(cells)),))


NEIGHBOURS = [
    IMPORTS + "from concurrent.futures import ThreadPoolExecutor",
    NEIGHBOUR,
    HONEST["modes_covered"],
    HONEST["diagnose_run"],
]


def grade_neighbour(secret: str = "") -> Result:
    """Grade an honest student whose notebook holds a word that nobody else should come to know."""
    names = ("optimal_discriminator", "modes_covered", "diagnose_run")
    cells = [*NEIGHBOURS, f"SECRET = {secret!r}"]
    return grade.grade(submission("bob", cells), assignment("gan_math", *names, limits=PATIENT))


def assert_all_right(result: Result) -> None:
    wrong = [(m.exercise, m.outcome.name, m.message) for m in result.marks if m.outcome is not Outcome.RIGHT]
    assert wrong == []
    assert result.earned == result.possible == sum(POINTS[m.exercise] for m in result.marks)


@pytest.fixture(scope="module")
def beside() -> Iterator[ProcessPoolExecutor]:
    """Another process that grades at the same time."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        first = pool.submit(grade_neighbour)
        grade_neighbour()  # starts the warm parent of this process
        first.result()  # and that of the other
        yield pool


class Surroundings:
    """What a payload is told of the world outside, and the proof that it came no closer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marker = f"marker-{secrets.token_hex(8)}"
        self.secret = secrets.token_hex(12)
        (folder / "reports").mkdir(parents=True)
        (folder / "reports" / "grades.csv").write_text(f"bob,3,{self.secret}\n")
        (folder / "bob.ipynb").write_text(self.secret)
        for path in (folder, folder / "reports", *folder.rglob("*")):
            path.chmod(0o777)  # so that not even file permissions protect them
        self.calls: list[str] = []
        self.sockets = [
            self._listen(socket.AF_INET, ("127.0.0.1", 0)),
            self._listen(socket.AF_UNIX, f"\0{self.marker}"),
            self._listen(socket.AF_UNIX, os.path.relpath(folder / "socket")),
        ]
        (folder / "socket").chmod(0o777)
        self.before = self.state()

    def _listen(self, family: socket.AddressFamily, address: tuple[str, int] | str) -> socket.socket:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.bind(address)
        listening.listen()
        listening.setblocking(False)
        return listening

    def fill_in(self, cell: str) -> str:
        values = {
            "marker": self.marker,
            "outside": str(self.folder),
            "port": str(self.sockets[0].getsockname()[1]),
            "socket": self.marker,
            "secret": self.secret[::-1],
            "root": str(ROOT),
        }
        return Template(cell).safe_substitute(values)

    def state(self) -> dict[str, str]:
        """What the folder and the solutions hold."""
        paths = sorted([*self.folder.rglob("*"), *(ROOT / "solutions").glob("*")])
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in paths
        }

    def survivors(self) -> list[str]:
        """Command lines of processes, of whomever, that carry the marker."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                line = Path("/proc", pid, "cmdline").read_bytes()
            except OSError:
                continue
            if self.marker.encode() in line and int(pid) != os.getpid():
                found.append(line.decode(errors="replace"))
        return found

    def close(self) -> None:
        for listening in self.sockets:
            with pytest.raises(BlockingIOError):  # nobody has called
                listening.accept()
            listening.close()
        assert self.state() == self.before
        assert self.survivors() == []


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Surroundings]:
    monkeypatch.chdir(tmp_path)
    around = Surroundings(tmp_path / "outside")
    monkeypatch.setenv("GENIMG_TOKEN", around.secret)
    yield around
    around.close()


def family() -> tuple[int, set[int]]:
    """The warm parent of this process, and the processes that come of it."""
    parent = grade._parents["sandbox"].process.pid
    return parent, confine.descendants(parent)


@pytest.mark.parametrize("payload", PAYLOADS, ids=str)
def test_payload(payload: Payload, surroundings: Surroundings, beside: ProcessPoolExecutor) -> None:
    if payload.patient:  # it has the time to look for what an earlier submission left
        assert_all_right(grade_neighbour(surroundings.secret))
    before = family()
    neighbour = beside.submit(grade_neighbour)

    cells = [surroundings.fill_in(cell) for cell in payload.submission]
    fills = Outcome.OUT_OF_MEMORY in payload.outcomes and Outcome.TIMED_OUT not in payload.outcomes
    limits = PATIENT if payload.patient or payload.right or fills else LIMITS
    asked = assignment(payload.chapter, payload.attacks, payload.bystander, limits=limits)
    result = grade.grade(submission("mallory", cells), asked)

    assert family() == before
    assert surroundings.survivors() == []
    assert_all_right(neighbour.result())
    assert_all_right(grade_neighbour())
    assert_fair(payload, result)


def assert_fair(payload: Payload, result: Result) -> None:
    marks = {mark.exercise: mark for mark in result.marks}
    mark, bystander = marks[payload.attacks], marks[payload.bystander]
    told = f"{mark.outcome.name} ({mark.earned}): {mark.message}"
    assert mark.outcome in payload.outcomes, told
    assert mark.earned == (POINTS[payload.attacks] if payload.right else 0)
    assert payload.says in mark.message
    assert len(mark.message) < 1000 and mark.message.isprintable()
    assert all(len(text) <= 100_000 for text in (mark.code, *result.fingerprints.values()))
    assert Outcome.GRADER_FAULT not in (mark.outcome, bystander.outcome)
    if payload.spares:
        assert bystander.outcome is Outcome.RIGHT, f"{bystander.outcome.name}: {bystander.message}"


WRITER = """
@functools.cache
def leave():
    places = ["/dev/shm", "/run", "/var/tmp", "/tmp", os.getcwd()]
    for folder, folders, files in os.walk("/"):
        places.append(folder)
        if "/torch/" in folder or folder.startswith(("/usr", "/lib")):
            folders.clear()
    for place in places:
        try:
            open(os.path.join(place, "$marker"), "w").close()
        except OSError:
            pass
    import mmap, torch.nn.functional
    torch.nn.functional.secret_of_marker = builtins.secret_of_marker = os.environ["MARKER"] = "$marker"

def optimal_discriminator(p_data, p_g):
    leave()
    return p_data
"""
READER = """
@functools.cache
def look():
    import torch.nn.functional
    found = [x for x in (torch.nn.functional, builtins) if hasattr(x, "secret_of_marker")]
    found += [name for name in os.environ if name == "MARKER"]
    for folder, folders, files in os.walk("/"):
        found += [folder] if "$marker" in files else []
        if "/torch/" in folder or folder.startswith(("/usr", "/lib")):
            folders.clear()
    return found or "nothing"

def optimal_discriminator(p_data, p_g):
    raise RuntimeError(f"found {look()}")
"""


def test_a_message_for_the_next_student_does_not_arrive(surroundings: Surroundings) -> None:
    asked = assignment("gan_math", "optimal_discriminator", limits=PATIENT)
    messages = []
    for student, cell in (("mallory", WRITER), ("eve", READER)):
        cells = [IMPORTS, surroundings.fill_in(cell)]
        (mark,) = grade.grade(submission(student, cells), asked).marks
        messages.append((mark.outcome, mark.message))
    assert messages[0][0] is Outcome.WRONG_VALUE
    assert "found nothing" in messages[1][1]


DICE = """
import random

def optimal_discriminator(p_data, p_g):
    thrown = random.random(), np.random.rand(), torch.rand(1).item(), hash("a"), list({"a", "b", "c"})
    raise RuntimeError(f"threw {thrown}")
"""


def test_the_same_submission_is_given_the_same_dice() -> None:
    asked = assignment("gan_math", "optimal_discriminator")
    first, again = (grade.grade(submission("mallory", [IMPORTS, DICE]), asked) for _ in range(2))
    grade.close()
    later = grade.grade(submission("mallory", [IMPORTS, DICE]), asked)
    assert "threw (0." in first.marks[0].message
    assert first == again == later


def test_a_long_helper_of_all_answers_costs_nobody_a_mark() -> None:
    """Its text is reported with each of the answers, and that report has bounds."""
    helper = 'def same(x):\n    """' + "\u5b57" * 95_000 + '"""\n    return x\n'
    asked = assignment("gan_math", limits=PATIENT)
    solutions = (ROOT / "solutions" / "gan_math.py").read_text()
    wordy = re.sub(r"^    return (.*)$", r"    return same((\1))", solutions, flags=re.MULTILINE)
    result = grade.grade(submission("bob", [helper, wordy]), asked)
    assert result.earned == result.possible == 14


def test_a_reference_that_fails_is_the_graders_fault_and_nobodys_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("getpwuid(): uid not found")

    asked = replace(assignment("gan_math", "optimal_discriminator"), seed=10)
    exercise = asked.specs()["optimal_discriminator"][1]
    monkeypatch.setattr(exercise, "reference", broken)
    for answer in (
        HONEST["optimal_discriminator"],
        "def optimal_discriminator(a, b):\n    raise KeyError('x')",
    ):
        result = grade.grade(submission("bob", [IMPORTS, answer]), asked)
        assert [(mark.outcome, mark.earned) for mark in result.marks] == [(Outcome.GRADER_FAULT, None)]


EYES = [payload for payload in PAYLOADS if payload.looks]


@pytest.mark.parametrize("payload", EYES, ids=str)
def test_what_looks_around_would_see_something(payload: Payload, surroundings: Surroundings) -> None:
    """Without walls it finds a lot; so it is the walls that hide it. These only read."""
    cells = [surroundings.fill_in(cell) for cell in payload.submission]
    asked = assignment(payload.chapter, payload.attacks, limits=PATIENT)
    (mark,) = grade.grade(submission("mallory", cells), asked, "plain").marks
    assert "raised RuntimeError: found " in mark.message and "found nothing" not in mark.message


def test_the_time_that_the_grader_takes_to_start_is_not_the_students() -> None:
    hasty = replace(LIMITS, submission_seconds=1.5)
    grade.close()
    result = grade.grade(submission("bob", NEIGHBOURS), assignment("gan_math", "modes_covered", limits=hasty))
    assert_all_right(result)


LOOSE = [
    payload
    for payload in PAYLOADS
    if payload.name
    in {
        "endless loop that ignores signals and errors",
        "daemon behind a crash",
        "fork bomb of daemons",
        "memory of many children",
        "wire: a verdict, and then an answer",
        "kill everything that can be seen",
        "patched builtins",
    }
]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give the answers a user of their own")
@pytest.mark.parametrize("payload", LOOSE, ids=str)
def test_behind_weaker_walls_nothing_survives_either(payload: Payload, surroundings: Surroundings) -> None:
    cells = [surroundings.fill_in(cell) for cell in payload.submission]
    asked = assignment(payload.chapter, payload.attacks)
    for _ in range(2):
        (mark,) = grade.grade(submission("mallory", cells), asked, "user").marks
        assert mark.earned == 0 and mark.outcome is not Outcome.GRADER_FAULT
        assert confine.descendants(grade._parents["user"].process.pid) == set()
    honest = [IMPORTS, HONEST["modes_covered"]]
    result = grade.grade(submission("bob", honest), assignment("gan_math", "modes_covered"), "user")
    assert_all_right(result)


def test_the_red_team_is_large_enough() -> None:
    assert len({payload.name for payload in PAYLOADS}) == len(PAYLOADS) >= 60
    assert {payload.attacks for payload in PAYLOADS} <= set().union(*CHAPTERS.values())
