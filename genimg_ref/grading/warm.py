"""The grader's side of a worker: start the warm parent, have it fork, ask, end what does not end itself."""

import contextlib
import json
import os
import selectors
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from genimg_ref.exercises.compare import Outcome
from genimg_ref.grading import sandbox
from genimg_ref.grading.assignment import Limits
from genimg_ref.grading.inside import wire

START_SECONDS = 120.0
MOST = (wire.MAX_HEADER, wire.MAX_BODY)
DISK_MB = 64
SIGNALS = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}


class Fault(RuntimeError):
    """The grader's own machinery failed; nobody's marks may suffer for it."""


class Stopped(Exception):
    """A worker came to its end, or was brought to it, before it answered."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message


def request(do: str, argument: Any) -> bytes:
    """A request to a worker, which may be sent to any number of them."""
    return wire.pack({"do": do, "with": argument})


class Warm:
    """A process that has imported torch and waits to be forked."""

    def __init__(self, level: str) -> None:
        if why := sandbox.available(level):
            raise sandbox.Unavailable(why)
        self.level = level
        self.below_tmp = sandbox.below_tmp() if level == "sandbox" else []
        self._exits = contextlib.ExitStack()
        files = self._exits.enter_context(sandbox.worker_files())
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._exits.callback(self.control.close)
        with theirs:
            self.process = subprocess.Popen(
                sandbox.command(level, files, theirs.fileno()),
                pass_fds=[theirs.fileno()],
                env=sandbox.ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        try:
            self.report(START_SECONDS)
        except Fault as fault:
            self.close()
            assert self.process.stderr is not None
            told = self.process.stderr.read().decode(errors="replace").strip()
            raise Fault(f"{fault} {told[-2000:]}".strip()) from None

    def report(self, seconds: float) -> dict[str, Any]:
        """The next message of the warm parent."""
        self.control.settimeout(seconds)
        try:
            message = self.control.recv(1 << 16)
        except TimeoutError:
            raise Fault(f"the warm parent said nothing for {seconds:g} seconds.") from None
        except OSError as error:
            raise Fault(f"the warm parent cannot be reached: {error}.") from None
        if not message:
            raise Fault("the warm parent has ended.")
        report: dict[str, Any] = json.loads(message)
        return report

    def close(self) -> None:
        """End the warm parent and all that came of it; bubblewrap dies with its first process."""
        self._exits.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @contextlib.contextmanager
    def worker(self, limits: Limits) -> Iterator["Worker"]:
        """A fork for one student, which is gone when the context is left."""
        worker = Worker(self, limits)
        try:
            yield worker
        finally:
            worker.close()


class Worker:
    """A confined process that runs the answers of one student."""

    def __init__(self, warm: Warm, limits: Limits) -> None:
        self.warm = warm
        self.limits = limits
        self.ended: dict[str, Any] | None = None
        self.printed = 0
        self.last_words = b""
        self._number = 0
        self._pending = bytearray()
        ours, theirs = [], []
        for outwards in (True, False, False):  # requests; responses, output
            read, write = os.pipe()
            ours.append(write if outwards else read)
            theirs.append(read if outwards else write)
        self.requests, self.responses, self.output = ours
        for fd in ours:
            os.set_blocking(fd, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.responses, selectors.EVENT_READ)
        self._selector.register(self.output, selectors.EVENT_READ)
        order = vars(limits) | {"level": warm.level, "user": _user(warm.level), "disk_mb": DISK_MB}
        order["below_tmp"] = warm.below_tmp
        try:
            socket.send_fds(warm.control, [json.dumps({"fork": order}).encode()], theirs)
        except OSError as error:
            self.ended = {"why": "fault", "exit": 0}
            self._close_files()
            raise Fault(f"the warm parent cannot be reached: {error}.") from None
        finally:
            for fd in theirs:
                os.close(fd)
        try:
            hello = self._frame(0, time.monotonic() + START_SECONDS, "")
        except Stopped as stopped:
            self.close()
            told = f"{stopped.message} {self.last_words.decode(errors='replace')}".strip()
            raise Fault(f"the worker did not start: {told}") from None
        if hello != {"confined": True}:
            self.close()
            raise Fault("the worker did not confine itself.")

    def ask(self, packed: bytes, seconds: float, most: tuple[int, int] = MOST) -> Any:
        """Have the worker carry out a request that `request` has made, or raise `Stopped`.

        ``most`` is how many bytes the header and the arrays of the response may have.
        """
        self._number += 1
        deadline = time.monotonic() + seconds
        told = f"stopped: it was still running after {seconds:g} seconds."
        self._send(wire.numbered(self._number, packed), deadline, told)
        return self._frame(self._number, deadline, told, most)

    def _send(self, frame: bytes, deadline: float, told: str) -> None:
        view = memoryview(frame)
        self._selector.register(self.requests, selectors.EVENT_WRITE)
        try:
            while view:
                for key in self._ready(deadline, told):
                    if key == self.requests:
                        view = view[self._write(view) :]
                    elif key == self.responses:
                        # nothing was asked yet: whatever comes was not called for, or it is the end
                        self._read_response()
        finally:
            if self.ended is None:
                self._selector.unregister(self.requests)

    def _write(self, view: memoryview) -> int:
        try:
            return os.write(self.requests, view)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise self._ending() from None

    def _frame(self, number: int, deadline: float, told: str, most: tuple[int, int] = MOST) -> Any:
        """The frame that answers request ``number``, as soon as all of it is there."""
        try:
            while True:
                if len(self._pending) >= wire.PREFIX.size:
                    answered, header, body = wire.prefix(bytes(self._pending[: wire.PREFIX.size]), *most)
                    if answered != number:
                        raise self._stop(Outcome.FORBIDDEN, FORGED)
                    middle = wire.PREFIX.size + header
                    if len(self._pending) >= middle + body:
                        frame = bytes(self._pending[: middle + body])
                        del self._pending[: middle + body]
                        return wire.unpack(frame[wire.PREFIX.size : middle], frame[middle:])
                if self.responses in self._ready(deadline, told):
                    self._read_response()
        except wire.Malformed:
            raise self._stop(Outcome.FORBIDDEN, FORGED) from None

    def _read_response(self) -> None:
        with contextlib.suppress(BlockingIOError):
            part = os.read(self.responses, 1 << 20)
            if not part:
                raise self._ending()
            self._pending += part
            if len(self._pending) > wire.MAX_HEADER + wire.MAX_BODY + (2 << 20):
                raise self._stop(Outcome.FORBIDDEN, FORGED)

    def _ready(self, deadline: float, told: str) -> list[int]:
        """Wait for pipes that can be used; count what is printed on the way."""
        left = deadline - time.monotonic()
        ready = [key.fd for key, _ in self._selector.select(left)] if left > 0 else []
        if not ready and time.monotonic() >= deadline:
            raise self._stop(Outcome.TIMED_OUT, told)
        if self.output in ready:
            ready.remove(self.output)
            self._count_output()
        return ready

    def _count_output(self) -> None:
        try:
            part = os.read(self.output, 1 << 16)
        except BlockingIOError:
            return
        if not part:
            self._selector.unregister(self.output)
        self.printed += len(part)
        self.last_words = part[-2000:]
        if self.printed > self.limits.output_kb << 10:
            told = f"stopped: it printed more than {self.limits.output_kb} kB."
            raise self._stop(Outcome.TOO_MUCH_OUTPUT, told)

    def _stop(self, outcome: Outcome, message: str) -> Stopped:
        """End the worker because of what it did."""
        ending = self.close()
        if outcome is Outcome.TIMED_OUT and ending["why"] in ("memory", "processor time"):
            return _of_ending(ending, self.limits)
        return Stopped(outcome, message)

    def _ending(self) -> Stopped:
        """The worker closed its pipe: why?"""
        if self.ended is None:
            with contextlib.suppress(BlockingIOError):
                self.last_words = os.read(self.output, 1 << 16)[-2000:]
        return _of_ending(self.close(), self.limits)

    def close(self) -> dict[str, Any]:
        """End the worker, if it is there, and wait until nothing of it is left."""
        if self.ended is None:
            self.ended = {"why": "fault", "exit": 0}  # unless there is a report
            self._close_files()
            with contextlib.suppress(OSError):
                self.warm.control.send(json.dumps({"end": True}).encode())
            self.ended = self.warm.report(START_SECONDS)
        return self.ended

    def _close_files(self) -> None:
        self._selector.close()
        for fd in (self.requests, self.responses, self.output):
            os.close(fd)


FORGED = "stopped: something wrote to the pipe that leads to the grader."


def _user(level: str) -> int | None:
    """The number of the unprivileged user; different warm parents have different ones."""
    return sandbox.UNPRIVILEGED + os.getpid() % 4096 if level != "plain" and os.geteuid() == 0 else None


def _of_ending(ending: dict[str, Any], limits: Limits) -> Stopped:
    """Why a worker came to its end, in words."""
    if ending["why"] == "memory":
        return Stopped(Outcome.OUT_OF_MEMORY, f"stopped: it used more than {limits.memory_mb} MB of memory.")
    if ending["why"] == "processor time":
        told = f"stopped: it used more than {limits.cpu_seconds} seconds of processor time."
        return Stopped(Outcome.TIMED_OUT, told)
    code = ending["exit"]
    how = f"by {SIGNALS.get(-code, f'signal {-code}')}" if code < 0 else f"with exit status {code}"
    return Stopped(Outcome.KILLED, f"the process in which it ran ended {how} before it answered.")
