"""The files in a folder or a zip that nobody trusts, read into memory within bounds.

Nothing is ever unpacked to disk. Links are not followed, nothing but plain files is opened, and what a zip
says about its sizes is not believed.
"""

import contextlib
import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from genimg_ref.grading.notebook import MAX_BYTES, too_large

READABLE = (".ipynb", ".py", ".zip")
MAX_MEMBERS = 10_000  # of a zip that a student made
MAX_UNPACKED = 300_000_000  # bytes that the zips of one student may unpack to
MAX_RATIO = 200  # of what is unpacked to what is stored ...
SMALL = 16_000_000  # ... but so much is always allowed
CENTRAL_ENTRY = b"PK\x01\x02"  # one for each member, in the directory at the end of a zip


class Refused(ValueError):
    """A file that is not read; carries the sentence that the student is told."""


@dataclass(frozen=True)
class Entry:
    """A file or folder by its path below the root; ``read`` gives its bytes or raises `Refused`."""

    path: tuple[str, ...]
    read: Callable[[], bytes]
    folder: bool = False
    refused: bool = False

    @property
    def readable(self) -> bool:
        """Whether it may hold answers, or must be told of because it is not read."""
        return self.refused or (not self.folder and self.path[-1].lower().endswith(READABLE))


class Budget:
    """How many bytes may still be unpacked."""

    def __init__(self, left: int = MAX_UNPACKED) -> None:
        self.left = left


@contextlib.contextmanager
def entries_of(path: Path) -> Iterator[list[Entry]]:
    """All entries of a folder or of a zip, or the one of a single file; `Refused` if a zip is none."""
    if path.is_dir():
        yield list(_in_folder(path))
    elif path.suffix.lower() == ".zip":
        with _opened(path) as file, _zip(file) as archive:
            yield _members(archive, None)
    else:
        os.lstat(path)  # raises FileNotFoundError
        yield [Entry((path.name,), partial(read_file, path))]


def entries_in_zip(content: bytes, budget: Budget) -> list[Entry]:
    """The entries of a zip that a student handed in."""
    if content.count(CENTRAL_ENTRY) > MAX_MEMBERS:
        raise Refused(f"This zip has more than {MAX_MEMBERS} files in it.")
    return _members(_zip(io.BytesIO(content)), budget)


def read_file(path: Path) -> bytes:
    """The bytes of a plain file."""
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if problem := too_large(size):
            raise Refused(problem)
        return file.read(size)


def _opened(path: Path) -> io.BufferedReader:
    """Open without following a link and without waiting for the other end of a pipe."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink():
        raise _link()
    try:
        file = os.fdopen(os.open(path, flags), "rb")
    except OSError as error:
        raise Refused(f"It cannot be opened ({error.strerror}).") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Refused("It is not a plain file but a pipe, a device or the like.")
    return file


def _link() -> Refused:
    return Refused("It is a link to another place; links are not followed. Hand in the file itself.")


def _refuse(error: Refused) -> bytes:
    raise error


def _refused(path: tuple[str, ...], error: Refused) -> Entry:
    return Entry(path, partial(_refuse, error), refused=True)


def _ignored(name: str) -> bool:
    """Hidden files and folders, and what systems leave behind."""
    return name.startswith(".") or name in ("__MACOSX", "__pycache__")


def _in_folder(root: Path) -> Iterator[Entry]:
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root.joinpath(*folder)) as found:
                inside = sorted(found, key=lambda item: item.name)
        except OSError as error:
            yield _refused(folder or (root.name,), Refused(f"The folder cannot be read ({error.strerror})."))
            continue
        for item in inside:
            path = (*folder, item.name)
            if _ignored(item.name):
                continue
            if item.is_symlink():
                yield _refused(path, _link())
            elif item.is_dir(follow_symlinks=False):
                yield Entry(path, partial(read_file, Path(item.path)), folder=True)
                waiting.append(path)
            else:
                yield Entry(path, partial(read_file, Path(item.path)))


def _zip(file: io.BufferedReader | io.BytesIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except Exception as error:  # bytes chosen with care make zipfile raise almost anything
        raise Refused(f"It is not a zip, or a damaged one ({type(error).__name__}).") from None


def _members(archive: zipfile.ZipFile, budget: Budget | None) -> list[Entry]:
    return [entry for info in archive.infolist() for entry in _member(archive, info, budget)]


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget | None) -> Iterator[Entry]:
    """The entry of a member, unless it is one to ignore."""
    written = info.filename.replace("\\", "/")
    parts = tuple(part for part in written.split("/") if part not in ("", "."))
    path = tuple(part for part in parts if part != "..")
    if not path or any(map(_ignored, path)):
        return
    kind = stat.S_IFMT(info.external_attr >> 16)
    if written.startswith("/") or path != parts or path[0].endswith(":"):
        yield _refused(path, Refused("Its name in the zip leads out of the zip; it is not read."))
    elif kind == stat.S_IFLNK:
        yield _refused(path, _link())
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        yield _refused(path, Refused("It is not a plain file but a pipe, a device or the like."))
    else:
        yield Entry(path, partial(_unpacked, archive, info, budget), folder=written.endswith("/"))


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget | None) -> bytes:
    """The bytes of a member, as many as are allowed at most."""
    if info.flag_bits & 0x1:
        raise Refused("It is encrypted; hand it in without a password.")
    if info.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):  # bz2 and lzma unpack without bound
        raise Refused("It is packed in a way that is not read here; make an ordinary zip.")
    bomb = max(SMALL, MAX_RATIO * info.compress_size)
    limit = min(MAX_BYTES, bomb, MAX_BYTES if budget is None else budget.left)
    try:
        with archive.open(info) as member:
            content = member.read(limit + 1)
    except Exception as error:  # bytes chosen with care make zipfile raise almost anything
        raise Refused(f"It is damaged in the zip ({type(error).__name__}).") from None
    if budget is not None:
        budget.left -= min(len(content), limit)
    if len(content) <= limit:
        return content
    if limit == MAX_BYTES:
        raise Refused(too_large(len(content)))
    raise Refused("It unpacks to far more than a notebook needs, as a zip bomb does.")
