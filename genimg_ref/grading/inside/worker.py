"""The warm parent, which has imported torch once, and its forks, each of which runs one student's answers.

The warm parent is told over a socket to fork, and hands on the two pipes and the output that it is given. It
never reads from those pipes, so nothing of a student's reaches it. A fork confines itself, says so, and then
answers requests: ``open`` a notebook, ``prepare`` an exercise, ``call`` its answer.
"""

import contextlib
import gc
import json
import linecache
import os
import random
import select
import signal
import socket
import sys
import tempfile
import traceback
import types
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from genimg_ref.exercises import probe
from genimg_ref.grading.inside import confine, slicing, wire

TICK_MS = 100
HELLO = {"confined": True}


# --- The warm parent ----------------------------------------------------------------------------------


def main() -> None:
    """Serve until the socket closes."""
    control = socket.socket(fileno=int(sys.argv[1]))
    torch.set_num_threads(1)
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])  # imports, at last, what every optimiser imports
    confine.adopt_orphans()
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    gc.freeze()  # pages that no collection touches stay shared with the forks
    control.send(json.dumps({"ready": torch.__version__}).encode())
    while True:
        message, fds, _, _ = socket.recv_fds(control, 1 << 16, 3)
        if not message:
            return
        order = json.loads(message)
        if "fork" not in order:  # the end of a fork that has ended by itself
            continue
        with _home(order["fork"]) as limits:
            child = _fork(limits, fds, own)
            for fd in fds:
                os.close(fd)
            ending = _watch(child, limits, control)
        control.send(json.dumps(ending).encode())


@contextlib.contextmanager
def _home(limits: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An empty folder for a fork; behind the walls of the sandbox it makes one of its own."""
    if limits["level"] == "sandbox":
        yield limits | {"home": "/tmp"}
        return
    with tempfile.TemporaryDirectory(prefix="answer-", ignore_cleanup_errors=True) as folder:
        if limits["user"] is not None:
            os.chown(folder, limits["user"], limits["user"])
        yield limits | {"home": folder}


def _fork(limits: dict[str, Any], fds: list[int], own: int) -> int:
    walls = limits["level"] == "sandbox"
    if walls:
        confine.new_process_namespace()
    child = os.fork()
    if child == 0:
        try:
            os.close(own)
            _inside(limits, *fds)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(0)
    if walls:
        confine.back_to_process_namespace(own)
    return child


def _watch(child: int, limits: dict[str, Any], control: socket.socket) -> dict[str, Any]:
    """Wait for a fork to end, end it when asked to or when it takes too much, and leave nothing of it."""
    pidfd = os.pidfd_open(child)
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    waiting.register(control, select.POLLIN)
    why = ""
    while True:
        ready = {fd for fd, _ in waiting.poll(TICK_MS)}
        if pidfd in ready:
            break
        if control.fileno() in ready:
            why = "told to"
            closed = not control.recv(1 << 16)
            if closed:
                why = "left alone"
        elif not ready and _memory_of(child) > limits["memory_mb"] << 20:
            why = "memory"
        if why:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            break
    _, status, used = os.wait4(child, 0)  # returns when all of its namespace has ended
    os.close(pidfd)
    _sweep()
    if why in ("", "told to") and used.ru_utime + used.ru_stime >= limits["cpu_seconds"]:
        why = "processor time"
    if why == "left alone":
        sys.exit()
    return {"why": why, "exit": os.waitstatus_to_exitcode(status), "peak_kb": used.ru_maxrss}


def _memory_of(child: int) -> int:
    return sum(map(confine.own_memory, {child, *confine.descendants(os.getpid())}))


def _sweep() -> None:
    """End what has outlived its parent; without a process namespace there may be something."""
    while left := confine.descendants(os.getpid()):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


# --- A fork -------------------------------------------------------------------------------------------


def _inside(limits: dict[str, Any], requests: int, responses: int, output: int) -> None:
    """Confine this process, then answer requests until there are no more."""
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    confine.keep_only(requests, responses)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    confine.first_victim()
    confine.limit(limits)
    if limits["level"] == "sandbox":
        confine.hide_files(limits["disk_mb"], limits["below_tmp"])
    os.chdir(limits["home"])
    os.environ["HOME"] = os.environ["TMPDIR"] = limits["home"]
    confine.drop_privileges(limits["user"])
    confine.forbid_calls()
    sys.modules["genimg_ref"] = None  # type: ignore[assignment]  # so that importing it fails
    wire.send(responses, wire.numbered(0, wire.pack(HELLO)))
    serve(requests, responses)


def serve(requests: int, responses: int) -> None:
    """Answer requests. Each response carries the number of its request."""
    student = Student()
    while received := wire.receive(requests):
        number, request = received
        response = student.respond(request["do"], request["with"])
        try:
            packed = wire.pack(response)
        except (ValueError, TypeError):
            packed = wire.pack(TOO_MUCH)
        wire.send(responses, wire.numbered(number, packed))


TOO_MUCH = {"returned": {"$type": "more data than an answer may return"}}


class Student:
    """The answers of one student."""

    def __init__(self) -> None:
        self.notebooks: list[slicing.Notebook] = []
        self.answer: Any = None
        self.kept: dict[Any, Any] = {}

    def respond(self, verb: str, argument: Any) -> Any:
        """Carry out one request; whatever the student's code raises is part of the response."""
        try:
            verbs: dict[str, Any] = {"open": self.open, "prepare": self.prepare, "call": self.call}
            return verbs[verb](argument)
        except BaseException as error:
            return {"raised": probe.describe(error)}

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        """Read notebooks and say what is in them of each exercise. Nothing is run."""
        several = len(request["notebooks"]) > 1
        self.notebooks = [
            slicing.read(cells, f"{name}, cell" if several else "cell")
            for name, cells in request["notebooks"]
        ]
        return {name: self._found(name) for name in request["exercises"]}

    def _notebook(self, name: str) -> slicing.Notebook | None:
        """The notebook in which an exercise is answered: the last one in which it is attempted."""
        found = [(slicing.definition(notebook, name), notebook) for notebook in self.notebooks]
        defined = [(chosen, notebook) for chosen, notebook in found if chosen]
        attempted = [notebook for chosen, notebook in defined if not slicing.untouched(chosen)]
        return attempted[-1] if attempted else defined[-1][1] if defined else None

    def _found(self, name: str) -> dict[str, Any]:
        notebook = self._notebook(name)
        if notebook is None:
            errors = [n.broken[name] for n in self.notebooks if name in n.broken]
            return {"found": False, "error": _syntax_error(errors[-1]) if errors else ""}
        statements = slicing.needed(notebook, name)
        chosen = slicing.definition(notebook, name)
        assert chosen is not None
        own = [s for s in statements if not slicing.is_import(s)]
        return {
            "found": True,
            "code": "\n\n\n".join(s.source for s in own)[:MAX_TEXT],
            "fingerprint": "" if slicing.untouched(chosen) else slicing.fingerprint(own)[:MAX_TEXT],
            "refused": sorted(notebook.refused & {used for s in statements for used in s.uses}),
        }

    def prepare(self, name: str) -> dict[str, Any]:
        """Run what the answer needs, in a namespace of its own. What fails loses what it would have bound."""
        notebook = self._notebook(name)
        assert notebook is not None
        for filename, text in notebook.texts.items():
            lines = [f"{line}\n" for line in text.split("\n")]
            linecache.cache[filename] = (len(text), None, lines, filename)
        random.seed(0)  # the generators from which answers may draw; `probe` sees to torch's
        np.random.seed(0)  # noqa: NPY002
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        errors = list(_run(slicing.needed(notebook, name), vars(module), notebook.future))
        self.answer, self.kept = vars(module).get(name), {}
        if name not in vars(module):
            return {"raised": probe.describe(errors[-1])}
        return {"prepared": True}

    def call(self, request: dict[str, Any]) -> dict[str, Any]:
        torch.set_default_dtype(torch.float32)
        return probe.run(self.answer, request, self.kept)


MAX_TEXT = 20_000


def _run(
    statements: Iterable[slicing.Statement], namespace: dict[str, Any], flags: int
) -> Iterator[BaseException]:
    """Run statements in order; those that fail once more after the others, as long as that helps.

    So a helper may stand below what needs it.
    """
    waiting = list(statements)
    while waiting:
        failed = []
        for statement in waiting:
            try:
                program = slicing.as_module(statement)
                exec(compile(program, statement.filename, "exec", flags, dont_inherit=True), namespace)
            except BaseException as error:
                failed.append((statement, error))
        if len(failed) == len(waiting):
            yield from (error for _, error in failed)
            return
        waiting = [statement for statement, _ in failed]


def _syntax_error(error: SyntaxError) -> str:
    where = f", line {error.lineno} of its cell: `{(error.text or '').strip()[:100]}`" if error.lineno else ""
    return f"{type(error).__name__}: {error.msg}{where}"


if __name__ == "__main__":
    main()
