"""How fast this course's grader is, beside nbgrader and otter, and whether it marks a large class rightly.

    python benchmarks/grading.py [--quick] [--only speed|class|cheats] [...]

Three questions are asked, and each is answered by tables:

- speed: seconds a submission. Honest notebooks of one chapter are graded in rounds by every grader in turn.
  nbgrader and otter start a kernel and run the whole notebook for every student, so they get a sample; the
  exercises, the cases and the notebooks are the same. And how much of our time is not the students' own code?
- class: a large mixed class on two workers: a row for everybody, no wrong mark, peak memory.
- cheats: what three classic cheats are worth with each grader.

The other graders live in environments of their own under ``.venv-bench/``, made by the first run; after that
no network is needed. Everything else happens in a temporary folder. For figures to quote, the machine has to
be idle: the table of facts tells the load at the start.
"""

import argparse
import collections
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import instructor
import numpy as np
import psutil
import submissions
import torch
from graders import DRAWS, POINTS, SEED, SLUG, VARIANTS, Grader, Nbgrader, Otter, Ours, run, timed
from submissions import Handed

from genimg_ref.exercises import chapter, probe

# ---- speed -----------------------------------------------------------------------------------------------


ONE, TWO = "this grader, 1 worker", "this grader, 2 workers"
SAMPLE = f"{ONE}, the sample alone"


def speed(work: Path, options: argparse.Namespace) -> None:
    """Question 1: seconds a submission, in rounds; every figure is of a whole command, its start included."""
    students = submissions.honest(SLUG, options.honest)
    ours = Ours(work, 1)
    batches: dict[str, tuple[Grader, int]] = {
        ONE: (ours, options.honest),
        TWO: (Ours(work, 2), options.honest),
        SAMPLE: (ours, options.sample),
        "nbgrader": (Nbgrader(work), options.sample),
        "otter": (Otter(work), options.sample),
    }
    for grader, _ in batches.values():  # the first run fills caches of files and fonts
        timed(grader, students[:1], "stripped")
    seconds = collections.defaultdict(list)
    full = collections.Counter[tuple[str, str]]()
    own = []
    for number in range(options.rounds):
        own.append(own_seconds(students))
        for variant in VARIANTS:
            order = list(batches.items())
            for name, (grader, count) in order if number % 2 == 0 else reversed(order):
                # another sample in every round
                batch = [students[(number * count + k) % len(students)] for k in range(count)]
                taken, points = timed(grader, batch, variant)
                seconds[variant, name].append(taken)
                full[variant, name] += sum(points.get(s.student) == sum(POINTS.values()) for s in batch)
                note(f"round {number + 1}, {VARIANTS[variant]}, {name}: {taken / count:.2f} s a submission")
    for variant in VARIANTS:
        each = {name: [t / count for t in seconds[variant, name]] for name, (_, count) in batches.items()}
        rows = [
            [
                name,
                count,
                spread(each[name]),
                spread(quotients(each[name], each[ONE]), 1),
                spread(quotients(each[name], each[TWO]), 1),
                f"{full[variant, name]} of {count * options.rounds}",
            ]
            for name, (_, count) in batches.items()
        ]
        head = ["grader", "batch", "seconds a submission", f"÷ {ONE}", f"÷ {TWO}", "with full marks"]
        table(f"Notebooks: {VARIANTS[variant]}", head, rows)
    print(
        f"\nMedians of {options.rounds} rounds, in parentheses least and greatest. nbgrader and otter "
        f"graded {options.sample} submissions a round, not {options.honest}, one after the other, as they do."
    )
    more = options.honest - options.sample
    further = [(a - b) / more for a, b in zip(seconds["whole", ONE], seconds["whole", SAMPLE], strict=True)]
    whole = [taken / options.honest for taken in seconds["whole", ONE]]
    rows = [
        ["the student's own code, in a warm process", spread(own, 3)],
        ["a submission, the start of the command shared among all", spread(whole, 3)],
        ["beyond the student's own code", spread([a - b for a, b in zip(whole, own, strict=True)], 3)],
        ["a further submission, without the start of the command", spread(further, 3)],
        ["beyond the student's own code", spread([a - b for a, b in zip(further, own, strict=True)], 3)],
    ]
    table(f"Where the time goes: {ONE}", ["", "seconds"], rows)


def quotients(values: list[float], by: list[float]) -> list[float]:
    return [a / b for a, b in zip(values, by, strict=True)]


def own_seconds(students: list[Handed]) -> float:
    """Seconds that one student's answers take for the same cases, in a process that is warm."""
    requests = {name: [case.request for case in found] for name, found in cases().items()}
    taken = []
    for student in [students[0], *students]:
        scope: dict[str, Any] = {}
        start = time.perf_counter()
        exec(submissions.IMPORTS, scope)
        for name, code in student.answers.items():
            exec(code, scope)
            for request in requests[name]:
                probe.run(scope[name], request)
        taken.append(time.perf_counter() - start)
    return statistics.mean(taken[1:])  # the first was for warming up


def spread(values: list[float], digits: int = 2) -> str:
    """The median, and from where to where the rounds go."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


# ---- a large class ---------------------------------------------------------------------------------------


def large_class(work: Path, options: argparse.Namespace) -> None:
    """Question 2: is everybody there, with the right marks, and how much memory does it take?"""
    students = submissions.mixed(SLUG, options.students)
    grader = Ours(work, 2)
    command = grader.prepare(students, "whole")
    start = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    memory = Memory(process.pid)
    code = process.wait()
    taken = time.perf_counter() - start
    memory.stop()
    if code not in (0, 1):  # all graded; some with a fault of the grader
        raise SystemExit(f"the grader ended with exit code {code}")
    rows = grader.rows()
    by_kind = collections.defaultdict(list)
    for student in students:
        by_kind[student.kind].append(student)
    body, wrong = [], []
    for kind, members in by_kind.items():
        present = [student for student in members if student.student in rows]
        faults = [fault for student in present for fault in wrong_marks(student, rows[student.student])]
        outcomes = collections.Counter(
            mark["outcome"] for s in present for mark in rows[s.student]["marks"] if not mark["earned"]
        )
        told = ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common())
        body.append([kind, len(members), len(present), len(faults), told])
        wrong += faults
    table(
        "A mixed class",
        ["kind", "handed in", "rows", "wrong marks", "outcomes of exercises without points"],
        body,
    )
    facts = [
        ["students", len(students)],
        ["exit code of the command", code],
        ["seconds", f"{taken:.0f}"],
        ["seconds a submission", f"{taken / len(students):.3f}"],
        ["peak memory of all processes, shared pages counted once", f"{memory.together / 2**20:.0f} MiB"],
        ["peak memory of the largest process", f"{memory.largest / 2**20:.0f} MiB"],
        ["most processes at a time", memory.processes],
    ]
    table("The run", ["", ""], facts)
    for fault in wrong[:20]:
        print(f"- {fault}")


def wrong_marks(student: Handed, row: dict[str, Any]) -> list[str]:
    """What is not as the student deserves it."""
    found = []
    for mark in row["marks"]:
        deserved = mark["points"] if mark["exercise"] in student.right else 0
        if mark["earned"] != deserved and mark["exercise"] not in student.unjudged:
            told = f"{mark['outcome']}, {mark['message']}"
            found.append(f"{student.student}, {mark['exercise']}: {mark['earned']} for {deserved} ({told})")
    return found


class Memory(threading.Thread):
    """Samples the memory of a process and of all that descends from it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.root = psutil.Process(pid)
        self.together = self.largest = self.processes = 0
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.over.wait(0.2):
            try:
                family = [self.root, *self.root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            sizes = [size for process in family if (size := proportional_size(process))]
            self.together = max(self.together, sum(sizes))
            self.largest = max(self.largest, *sizes, 0)
            self.processes = max(self.processes, len(family))

    def stop(self) -> None:
        self.over.set()
        self.join()


def proportional_size(process: psutil.Process) -> int:
    """Bytes, a page shared by n processes counted as an n-th in each."""
    try:
        return process.memory_full_info().pss
    except psutil.Error:
        return 0  # it has ended


# ---- cheats ----------------------------------------------------------------------------------------------


def cheats(work: Path, options: argparse.Namespace) -> None:
    """Question 3: what a cheat is worth. Right answers and untouched stubs are there for comparison."""
    students = [
        *submissions.honest(SLUG, 1),
        *submissions.unfinished(SLUG, 1),
        *submissions.cheats(SLUG),
    ]
    graders: dict[str, Grader] = {
        "this grader": Ours(work, 1),
        "nbgrader": Nbgrader(work),
        "otter": Otter(work),
    }
    points = {name: timed(grader, students, "stripped")[1] for name, grader in graders.items()}
    body = [[s.kind, *(points[name].get(s.student, "no row") for name in graders)] for s in students]
    table(f"Points, of {sum(POINTS.values())}", ["handed in", *graders], body)


# ---- the whole -------------------------------------------------------------------------------------------


def cases() -> dict[str, list[Any]]:
    """Exercise -> its cases, as many as the grader draws."""
    return {
        name: [case for draw in range(DRAWS) for case in exercise.cases(np.random.default_rng((SEED, draw)))]
        for name, exercise in chapter(SLUG).items()
    }


def store_cases(path: Path) -> None:
    """Keep what the reference does in each case, for the tests of the other graders."""
    stored: instructor.Stored = {}
    for name, found in cases().items():
        reference = chapter(SLUG)[name].reference
        requests = [as_tensors(case.request) for case in found]
        # a copy for each call, since nets and tensors are made of what the request holds
        stored[name] = [
            (r, instructor.act(reference, as_tensors(c.request)))
            for r, c in zip(requests, found, strict=True)
        ]
    torch.save(stored, path)


def as_tensors(value: Any) -> Any:
    """Arrays, wherever they are, to tensors of their own."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, dict):
        return {key: as_tensors(item) for key, item in value.items()}
    return [as_tensors(item) for item in value] if isinstance(value, list) else value


def set_environment(work: Path) -> None:
    """The same conditions for every grader; nothing of the user's own settings is read or written."""
    os.environ |= {
        "GENIMG_BUDGET": "smoke",
        "OMP_NUM_THREADS": "1",
        "BENCH_CASES": str(work / "cases.pt"),
        "MPLCONFIGDIR": str(work / "matplotlib"),
        "IPYTHONDIR": str(work / "ipython"),
        "JUPYTER_CONFIG_DIR": str(work / "jupyter"),
        "JUPYTER_DATA_DIR": str(work / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(work / "jupyter"),
    }
    torch.set_num_threads(1)


def machine() -> None:
    """What the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    table(
        "The machine",
        ["", ""],
        [
            ["processor", f"{model[0] if model else platform.processor()}, {os.cpu_count()} cores"],
            ["memory", f"{psutil.virtual_memory().total / 2**30:.0f} GiB"],
            ["system", platform.platform()],
            ["Python, PyTorch", f"{platform.python_version()}, {torch.__version__}"],
            ["load at the start", " ".join(f"{load:.2f}" for load in os.getloadavg())],
            ["commit", run(["git", "describe", "--always", "--dirty"]).strip()],
        ],
    )


def table(title: str, head: list[str], rows: Iterable[list[Any]]) -> None:
    """Print a Markdown table."""
    print(f"\n**{title}**\n")
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(map(str, row)) + " |")
    sys.stdout.flush()


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


QUESTIONS: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "speed": speed,
    "class": large_class,
    "cheats": cheats,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=QUESTIONS, help="ask one question (default: all)")
    parser.add_argument("--honest", type=int, default=200, help="honest submissions in a batch of ours")
    parser.add_argument("--sample", type=int, default=10, help="submissions in a batch of the others")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--students", type=int, default=1000, help="students in the mixed class")
    parser.add_argument("--quick", action="store_true", help="all of it small: 10, 2, 1 and 40")
    options = parser.parse_args()
    if options.quick:
        options.honest, options.sample, options.rounds, options.students = 10, 2, 1, 40
    machine()
    for name, question in QUESTIONS.items():
        if options.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="bench-grading-") as folder:
                set_environment(Path(folder))
                store_cases(Path(folder) / "cases.pt")
                question(Path(folder), options)


if __name__ == "__main__":
    main()
