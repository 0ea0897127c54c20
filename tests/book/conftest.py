"""The built book, shared by the tests of this folder: built anew only if its sources have changed."""

import fcntl
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build/html"
STAMP = ROOT / "_build/tested.sha256"


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let one test process in; the others wait for it."""
    STAMP.parent.mkdir(exist_ok=True)
    with open(STAMP.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def digest_of_sources() -> str:
    """One checksum over everything that the book is made from."""
    files = [
        ROOT / "_config.yml",
        ROOT / "_toc.yml",
        *(ROOT / "book").rglob("*"),
        *ROOT.glob("notebooks/*.ipynb"),
    ]
    digest = hashlib.sha256()
    for path in sorted(path for path in files if path.is_file()):
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def is_fresh() -> bool:
    """Whether the last build by these tests succeeded, from these sources, and nobody has built since."""
    index = HTML / "index.html"
    if not (index.is_file() and STAMP.is_file()) or index.stat().st_mtime > STAMP.stat().st_mtime:
        return False
    return STAMP.read_text() == digest_of_sources()


@pytest.fixture(scope="session")
def html() -> Path:
    """The folder of the built book; it fails on the first warning, as `make book` does."""
    with one_at_a_time():
        if not is_fresh():
            command = ["jupyter-book", "build", str(ROOT), "--all", "-W", "--keep-going", "-n"]
            command[0] = str(Path(sys.executable).with_name(command[0]))
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                lines = (done.stdout + done.stderr).splitlines()
                told = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-20:]
                pytest.fail("the book does not build without warnings:\n" + "\n".join(told), pytrace=False)
            STAMP.write_text(digest_of_sources())
    return HTML
