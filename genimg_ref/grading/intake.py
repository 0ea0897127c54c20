"""From what a learning-management system exports to one submission for each student.

Whatever a student handed in, and be it a broken zip or a link, there is a submission; what could not be read
says why. Two students are never taken for one because their names are alike.
"""

import dataclasses
import datetime
import functools
import hashlib
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from genimg_ref.grading import layouts, notebook
from genimg_ref.grading.files import Budget, Entry, Refused, entries_in_zip, entries_of
from genimg_ref.grading.layouts import Owner
from genimg_ref.grading.notebook import printable
from genimg_ref.grading.results import Source, Submission
from genimg_ref.grading.roster import Row, marks_of, rows, squeezed, time_of

MAX_FILES = 100  # that are read of one student, notebooks first
MAX_KEY = 60  # characters

log = logging.getLogger(__name__)


@dataclass
class _Draft:
    """A submission in the making; `_name_apart` gives the keys."""

    owner: Owner
    sources: tuple[Source, ...] = ()
    key: str = ""
    name: str = ""
    identifiers: dict[str, str] = field(default_factory=dict)
    submitted: datetime.datetime | None = None
    row: Row | None = None

    def __post_init__(self) -> None:
        self.name = self.owner.name
        self.identifiers = dict(self.owner.identifiers)
        self.submitted = self.owner.submitted

    def submission(self) -> Submission:
        identifiers = {kind: printable(text) for kind, text in self.identifiers.items()}
        return Submission(self.key, printable(self.name), self.sources, self.submitted, identifiers)


def collect(
    path: Path | str,
    pattern: str | None = None,
    roster: Path | str | None = None,
    times: Path | str | None = None,
) -> list[Submission]:
    """The submissions in a folder, a zip or a single file, sorted by the students' keys.

    Args:
        path: as Canvas, Moodle, Gradescope or GitHub Classroom export it, or a folder for each student, or
            files called after the students; `layouts` has the names.
        pattern: a regular expression with a group ``student`` and perhaps a group ``name``, searched in the
            path of each file below ``path``; only the files in which it is found count.
        roster: a CSV with everybody in the course; who handed in nothing gets an empty submission.
        times: a CSV with columns ``student`` (or another identifier) and ``time`` (ISO 8601 with zone).

    Raises:
        ValueError: a table or the pattern is wrong; the sentence says where.
    """
    drafts = _handed_in(Path(path), pattern)
    _name_apart(drafts)
    if roster is not None:
        drafts += _absent(rows(Path(roster)), drafts)
        _name_apart(drafts)
    if times is not None:
        _set_times(Path(times), drafts)
    if late := [d.owner.name for d in drafts if d.owner.late and d.submitted is None]:
        told = "Canvas marks these as late, but not how late; give --times, or nothing is deducted: %s"
        log.warning(told, ", ".join(sorted(late)))
    return sorted((draft.submission() for draft in drafts), key=lambda submission: submission.student)


# --- What was handed in -------------------------------------------------------------------------------


def _handed_in(path: Path, pattern: str | None) -> list[_Draft]:
    try:
        with entries_of(path) as entries:
            return _drafts(path, entries, pattern)
    except Refused as error:  # of a zip as a whole
        (owner,) = layouts.by_name(path.stem, [], {})(Entry((path.name,), path.read_bytes))
        return [_Draft(owner, (_problem(path.name, str(error)),))]


def _drafts(path: Path, entries: list[Entry], pattern: str | None) -> list[_Draft]:
    claims: dict[Owner, list[Entry]] = {}
    if pattern is None:
        entries = _without_wrapper(entries, path)
        submitters = _submitters(entries)
        root = path.resolve().name if path.is_dir() else path.stem
        owners_of = layouts.by_name(root, entries, submitters)
        claims = {owner: [] for owners in submitters.values() for owner in owners}
    else:
        owners_of = layouts.by_pattern(pattern)
    for entry in entries:
        for owner in owners_of(entry):
            claims.setdefault(owner, []).append(entry)
    if pattern is not None and entries and not claims:
        seen = ", ".join("/".join(entry.path) for entry in entries if not entry.folder)
        raise ValueError(f"the pattern {pattern!r} is found in none of the paths: {printable(seen)}")
    read = functools.cache(_sources)  # the files of a group once
    return [_Draft(owner, read(tuple(entries))) for owner, entries in claims.items()]


def _without_wrapper(entries: list[Entry], path: Path) -> list[Entry]:
    """The entries as if the folder around all of them, if there is one, was not there."""
    stem = path.stem if path.suffix.lower() == ".zip" and not path.is_dir() else ""
    if not layouts.wrapper([entry.path for entry in entries], stem):
        return entries
    return [dataclasses.replace(entry, path=entry.path[1:]) for entry in entries if len(entry.path) > 1]


def _submitters(entries: list[Entry]) -> dict[str, list[Owner]]:
    for entry in entries:
        if entry.path == (layouts.METADATA,):
            try:
                return layouts.gradescope(entry.read())
            except Refused as error:
                raise ValueError(f"{layouts.METADATA}: {error}") from None
    return {}


def _sources(entries: tuple[Entry, ...]) -> tuple[Source, ...]:
    """The files of one student, in the order of their paths."""
    readable = [entry for entry in entries if entry.readable]
    if not readable:
        others = [entry.path[-1] for entry in entries if not entry.folder]
        return (_problem(others[0], "It is no notebook, no .py file and no zip."),) if others else ()
    budget = Budget()
    sources = [source for entry in _chosen(readable) for source in _read(entry, budget)]
    sources = sources[:MAX_FILES] + _too_many(max(len(readable), len(sources)))
    return tuple(_within_bounds(sources))


def _too_many(files: int) -> list[Source]:
    told = f"Only {MAX_FILES} files are read, and there are more."
    return [_problem("other files", told)] if files > MAX_FILES else []


def _chosen(entries: list[Entry]) -> list[Entry]:
    """As many as are read, in order; if there are more, notebooks go first, then what lies high up."""
    first = sorted(entries, key=lambda e: (not e.path[-1].lower().endswith(".ipynb"), len(e.path), e.path))
    return sorted(first[:MAX_FILES], key=lambda entry: [_by_age(part) for part in entry.path])


def _by_age(name: str) -> tuple[str, int, str]:
    """A sorting key: ``a.ipynb`` comes before its later versions ``a-1.ipynb`` and ``a (2).ipynb``."""
    stem, dot, suffix = name.rpartition(".")
    version = re.fullmatch(r"(.+?)(?:[-_ ]| ?\()(\d{1,3})\)?", stem if dot else name)
    return (version[1], int(version[2]), suffix) if version else (stem if dot else name, 0, suffix)


def _within_bounds(sources: list[Source]) -> Iterator[Source]:
    """The sources until together they hold more code than one file may."""
    total = 0
    for source in sources:
        total += sum(map(len, source.cells))
        if total <= notebook.MAX_TEXT:
            yield source
        else:
            yield Source(source.name, source.sha256, problem="The files hold too much code together.")


def _read(entry: Entry, budget: Budget) -> list[Source]:
    """The file, or those in the zip that it is."""
    name = entry.path[-1]
    try:
        content = entry.read()
        if not name.lower().endswith(".zip"):
            return [notebook.read(name, content)]
        digest = hashlib.sha256(content).hexdigest()
        inside = [member for member in entries_in_zip(content, budget) if member.readable]
    except Refused as error:
        return [_problem(name, str(error))]
    if not inside:
        return [Source(printable(name), digest, problem="There is no notebook and no .py file in this zip.")]
    return [_read_member(member) for member in _chosen(inside)] + _too_many(len(inside))


def _read_member(entry: Entry) -> Source:
    name = entry.path[-1]
    try:
        if name.lower().endswith(".zip") and not entry.refused:
            raise Refused("It is a zip in a zip, which is not opened.")
        return notebook.read(name, entry.read())
    except Refused as error:
        return _problem(name, str(error))


def _problem(name: str, told: str) -> Source:
    return Source(printable(name), "", problem=told)


# --- Keys ---------------------------------------------------------------------------------------------


def _name_apart(drafts: list[_Draft]) -> None:
    """Give everybody a key of their own that can be the name of a file, in lower case, too."""
    for make in (_key, _key_with_id, _key_with_hash):
        held = Counter(draft.key.lower() for draft in drafts)
        for draft in drafts:
            if make is _key or held[draft.key.lower()] > 1:
                draft.key = make(draft.owner)
    taken: set[str] = set()
    for draft in drafts:
        wanted, number = draft.key, 1
        while draft.key.lower() in taken:
            number += 1
            draft.key = f"{wanted}-{number}"
        taken.add(draft.key.lower())


def _key(owner: Owner) -> str:
    return _slug(owner.handle) or f"student-{_hash(owner)}"


def _key_with_id(owner: Owner) -> str:
    return f"{_key(owner)}-{_slug(owner.id)}" if _slug(owner.id) else _key_with_hash(owner)


def _key_with_hash(owner: Owner) -> str:
    return f"{_key(owner)}-{_hash(owner)}"


def _slug(text: str) -> str:
    """Letters, digits, ``-``, ``_`` and ``.`` of ASCII; what an accent stands on is kept."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", ascii_only).strip("-_.")[:MAX_KEY].strip("-_.")


def _hash(owner: Owner) -> str:
    said = f"{owner.handle}\0{owner.id}"
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:8]


# --- Tables -------------------------------------------------------------------------------------------


def _absent(table: list[Row], drafts: list[_Draft]) -> list[_Draft]:
    """Tell the drafts what the roster knows of them; returns drafts for those who handed in nothing."""
    finder = _Finder(drafts)
    rest = []
    for row in table:
        found = finder.by_marks(row)
        for draft in found:
            if draft.row is None:
                _enrol(draft, row)
        if all(draft.row is not row for draft in found):
            rest.append(row)
    absent: dict[tuple[str, ...], _Draft] = {}
    for row in rest:
        named = [draft for draft in finder.by_name(row) if draft.row is None]
        if len(named) == 1:
            _enrol(named[0], row)
        elif not any(draft.row and draft.row.marks() == row.marks() for draft in finder.by_marks(row)):
            known = [value for key, value in row.identifiers.items() if key != "section"]
            handle, number = (row.student or row.name or known[0]), (known or [""])[0]
            draft = _Draft(Owner(handle, number, row.name or handle, row.identifiers))
            absent.setdefault((handle, number, row.name), draft)
    return list(absent.values())


def _enrol(draft: _Draft, row: Row) -> None:
    draft.row = row
    draft.name = row.name or draft.name
    draft.identifiers = row.identifiers | draft.identifiers


def _set_times(path: Path, drafts: list[_Draft]) -> None:
    """The time of each student, the last if there are several."""
    finder = _Finder(drafts)
    times: dict[str, datetime.datetime] = {}
    for row in rows(path):
        if not row.time:
            continue
        time = time_of(row, path)
        found = finder.by_marks(row)
        named = finder.by_name(row)
        if not found and len(named) == 1:
            found = named
        if not found:
            who = ", ".join(sorted(row.names() or {value for _, value in row.marks()}))
            log.warning("%s, line %d: nobody is called %s; the time is not used", path, row.line, who)
        for draft in found:
            times[draft.key] = max(time, times.get(draft.key, time))
    for draft in drafts:
        draft.submitted = times.get(draft.key, draft.submitted)


class _Finder:
    """Finds the drafts that a row of a table is about."""

    def __init__(self, drafts: list[_Draft]) -> None:
        self._by_mark: dict[tuple[str, str], list[_Draft]] = {}
        self._by_name: dict[str, list[_Draft]] = {}
        for draft in drafts:
            for mark in marks_of({draft.key, draft.owner.handle, draft.name}, draft.identifiers):
                self._by_mark.setdefault(mark, []).append(draft)
            self._by_name.setdefault(squeezed(draft.name), []).append(draft)

    def by_marks(self, row: Row) -> list[_Draft]:
        found = {id(draft): draft for mark in sorted(row.marks()) for draft in self._by_mark.get(mark, [])}
        return list(found.values())

    def by_name(self, row: Row) -> list[_Draft]:
        found = {id(draft): draft for name in sorted(row.names()) for draft in self._by_name.get(name, [])}
        return list(found.values())
