"""Tables about students: who is in the course, and when things were handed in."""

import csv
import datetime
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# how Canvas, Moodle, Gradescope and GitHub Classroom head the columns of their tables
COLUMNS = {
    "student": "student",
    "id": "id",
    "identifier": "identifier",
    "canvas_id": "canvas_id",
    "sis user id": "sis_id",
    "sis_id": "sis_id",
    "sid": "sis_id",
    "id number": "sis_id",
    "student id": "sis_id",
    "sis login id": "login",
    "login": "login",
    "username": "login",
    "email": "email",
    "email address": "email",
    "e-mail": "email",
    "moodle_id": "moodle_id",
    "github": "github",
    "github_username": "github",
    "section": "section",
    "name": "name",
    "full name": "name",
    "student name": "name",
    "first name": "first",
    "last name": "last",
    "surname": "last",
    "time": "time",
    "submitted": "time",
}
# what folders and files may be called by, and what finds a student
HANDLES = ("student", "identifier", "id", "login", "email", "github", "sis_id")


@dataclass(frozen=True)
class Row:
    """A student as a table describes one.

    Attributes:
        student: the key, where the table has one.
        handles: what a folder of this student may be called, the key included.
        identifiers: what systems know the student by.
        name: for display; may be empty.
        time: as it is written, if there is such a column.
        line: of the file.
    """

    student: str
    handles: tuple[str, ...]
    identifiers: dict[str, str]
    name: str
    time: str
    line: int

    def marks(self) -> set[tuple[str, str]]:
        """What a student is found by; see `marks_of`."""
        return marks_of(self.handles, {k: v for k, v in self.identifiers.items() if k != "section"})

    def names(self) -> set[str]:
        """The name in the ways in which it may be written, squeezed."""
        return {squeezed(written) for written in _written(self.name)} if self.name else set()


def marks_of(names: Iterable[str], identifiers: dict[str, str]) -> set[tuple[str, str]]:
    """Names of folders and files, and identifiers with their kind, in a form that can be compared."""
    named = {("", folded(name)) for name in names}
    return named | {(kind, folded(identifier)) for kind, identifier in identifiers.items()}


def folded(text: str) -> str:
    return text.strip().casefold()


def squeezed(name: str) -> str:
    """Letters and digits alone, as Canvas writes names into file names."""
    return "".join(filter(str.isalnum, name.casefold()))


def _written(name: str) -> list[str]:
    """``Ada Lovelace``, ``Lovelace, Ada``."""
    if "," in name:
        last, first = name.split(",", 1)
        return [name, f"{first} {last}"]
    *first_names, last = name.split()
    return [name, " ".join([last, *first_names])]


def rows(path: Path) -> list[Row]:
    """The rows of a table; a ValueError names the file if it is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        first = text.split("\n", 1)[0]
        delimiter = max(",;\t", key=first.count)
        table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        headed = {header: COLUMNS.get(folded(header), "") for header in table.fieldnames or []}
        if not set(headed.values()) & {*HANDLES, "canvas_id", "moodle_id", "name", "last"}:
            raise ValueError(
                "no column says who a student is; columns are called, for example, student, email, name"
            )
        found = [_row(cells, headed, table.line_num) for cells in table]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from None
    return [row for row in found if row is not None]


def _row(cells: dict[str, str], headed: dict[str, str], line: int) -> Row | None:
    """None for lines that are about nobody, such as Canvas' own line with the points that are possible."""
    said = {headed.get(h, ""): v.strip() for h, v in cells.items() if isinstance(v, str) and v.strip()}
    said.pop("", None)
    if "Points Possible" in said.get("student", ""):
        return None
    of_canvas = any(folded(header) == "sis login id" for header in headed)
    if of_canvas and "student" in said:  # the table of Canvas' gradebook
        said["name"] = said.pop("student")
        if "id" in said:
            said["canvas_id"] = said.pop("id")
    number = said.get("identifier", "").split()[-1:]
    if number and number[0].isdigit() and number[0] != said["identifier"]:  # Moodle: Participant 123
        said["moodle_id"] = number[0]
        del said["identifier"]
    name = said.pop("name", "") or " ".join(said[key] for key in ("first", "last") if key in said)
    handles = tuple(said[key] for key in HANDLES if key in said)
    identifiers = {key: v for key, v in said.items() if key not in ("student", "first", "last", "time")}
    if not handles and not name and identifiers.keys() <= {"section"}:
        return None
    return Row(said.get("student", ""), handles, identifiers, name, said.get("time", ""), line)


def time_of(row: Row, path: Path) -> datetime.datetime:
    """The time in a row, which has to say its zone."""
    try:
        time = datetime.datetime.fromisoformat(row.time.replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        wanted = "a time with its zone, such as 2026-12-01T23:59:00+01:00 or 2026-12-01T22:59:00Z"
        raise ValueError(f"{path}, line {row.line}: expected {wanted}; got {row.time!r}")
    return time
