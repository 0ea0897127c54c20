"""Whose a file is, by the names that learning-management systems give to what they export.

- Canvas, "Download submissions" (https://github.com/instructure/canvas-lms, lib/content_zipper.rb): files
  ``lovelaceada_LATE_1234_56789_gan_math.ipynb``, which are the name without blanks, the mark of lateness, the
  numbers of student and file, and the file's own name; ``anon_x7Y2z_56789_gan_math.ipynb`` where grading is
  anonymous; ``lovelaceada_1234_text.html`` or ``_link.html`` for what is no file.
- Moodle, "Download all submissions" (https://github.com/moodle/moodle, mod/assign/classes/downloader.php):
  folders ``Ada Lovelace_1234_assignsubmission_file``, in older versions with a ``_`` more; or, without
  folders, files ``Ada Lovelace_1234_assignsubmission_file_gan_math.ipynb``. The number is the participant's
  in the grading worksheet.
- Gradescope, "Export submissions": ``assignment_123_export`` with a folder ``submission_456`` for each
  submission and ``submission_metadata.yml``, which names the submitters and the time.
- GitHub Classroom, ``gh classroom clone student-repos`` (https://github.com/github/gh-classroom): a folder
  ``hw1-submissions`` with a repository ``hw1-adalovelace`` for each student.
- Anything else: a folder for each student, or files that bear the student's name.
"""

import datetime
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import yaml

from genimg_ref import exercises
from genimg_ref.grading.files import Entry

METADATA = "submission_metadata.yml"
_CANVAS = re.compile(
    r"(?:(?P<name>.+?)_(?P<late>LATE_)?(?P<id>\d+)|(?P<anonymous_late>LATE_)?anon_(?P<anonymous>[A-Za-z0-9]+))"
    r"_(?:(?P<file>\d+)_.+|(?:text|link)\.html)"
)
_MOODLE = re.compile(r"(?P<name>.+?)(?:_(?P<id>\d+))?_assignsubmission_[a-z]+(?:_.*)?")


@dataclass(frozen=True)
class Owner:
    """A student as an export knows one; who differs in ``handle`` or ``id`` is somebody else.

    Attributes:
        handle: from which the student's key is made.
        id: tells students of one name apart; may be empty.
        name: for display.
        late: whether Canvas says so.
    """

    handle: str
    id: str = ""
    name: str = field(default="", compare=False)
    identifiers: dict[str, str] = field(default_factory=dict, compare=False)
    submitted: datetime.datetime | None = field(default=None, compare=False)
    late: bool = field(default=False, compare=False)


OwnerOf = Callable[[Entry], list[Owner]]


def by_pattern(pattern: str) -> OwnerOf:
    """The layout of the instructor's own regular expression; what it does not match is nobody's."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} is no regular expression: {error}") from None
    if "student" not in expression.groupindex:
        raise ValueError(f"the pattern {pattern!r} has no group (?P<student>...)")

    def owners(entry: Entry) -> list[Owner]:
        found = expression.search("/".join(entry.path))
        if entry.folder or not found or not found["student"]:
            return []
        named = found.groupdict().get("name")
        return [Owner(found["student"], name=named or found["student"])]

    return owners


def by_name(root: str, entries: Iterable[Entry], submitters: dict[str, list[Owner]]) -> OwnerOf:
    """The layouts of the systems above.

    Args:
        root: the name of what the grader was given, without suffix.
        entries: everything in it.
        submitters: what Gradescope says, by folder.
    """
    of_canvas = _is_canvas(entry.path[0] for entry in entries if len(entry.path) == 1 and not entry.folder)
    assignment = root.removesuffix("-submissions") if root.endswith("-submissions") else None

    def owners(entry: Entry) -> list[Owner]:
        top, is_file = entry.path[0], len(entry.path) == 1 and not entry.folder
        if top in submitters or (submitters and top == METADATA):
            return submitters.get(top, [])
        if found := _MOODLE.fullmatch(top):
            return [_on_moodle(found)]
        if of_canvas and is_file and (found := _CANVAS.fullmatch(top)):
            return [_on_canvas(found)]
        if is_file and not entry.readable:
            return []
        if assignment and not is_file and top.startswith(f"{assignment}-"):
            user = top.removeprefix(f"{assignment}-")
            return [Owner(user, "github", user, {"github": user})]
        name = unicodedata.normalize("NFC", (_without_chapter(top) or root) if is_file else top)
        return [Owner(name, name=name)]

    return owners


def _is_canvas(files: Iterable[str]) -> bool:
    """Canvas gives each file a number of its own: ``hw_1_2_ada.py`` beside ``hw_1_2_bob.py`` is not its."""
    numbers = [found["file"] for file in files if (found := _CANVAS.fullmatch(file)) and found["file"]]
    return len(numbers) == len(set(numbers))


def _on_canvas(found: re.Match[str]) -> Owner:
    if found["anonymous"]:
        number, name = found["anonymous"], f"anon_{found['anonymous']}"
        return Owner(name, number, name, {"canvas_anonymous_id": number}, late=bool(found["anonymous_late"]))
    return Owner(
        found["name"], found["id"], found["name"], {"canvas_id": found["id"]}, late=bool(found["late"])
    )


def _on_moodle(found: re.Match[str]) -> Owner:
    number = found["id"] or ""
    return Owner(found["name"], number, found["name"], {"moodle_id": number} if number else {})


def _without_chapter(file: str) -> str:
    """A file's name without its suffix, and without a chapter's slug in front or behind."""
    stem = file.rsplit(".", 1)[0] if "." in file else file
    slugs = "|".join(slug.replace("_", "[-_ ]?") for slug in exercises.chapters())
    stem = re.sub(rf"^(?:{slugs})(?:[-_ .]+|$)", "", stem, flags=re.IGNORECASE)
    return re.sub(rf"(?:[-_ .]+|^)(?:{slugs})$", "", stem, flags=re.IGNORECASE)


def wrapper(paths: list[tuple[str, ...]], zip_stem: str) -> str:
    """The one folder around all others that is no student's, or nothing.

    It is Gradescope's, or bears the name of the zip around it, as when a folder is compressed on a desktop.
    """
    tops = {path[0] for path in paths}
    if len(tops) != 1 or all(len(path) == 1 for path in paths):
        return ""
    top = tops.pop()
    unpacked_from = re.sub(r" ?\(\d+\)$", "", zip_stem)
    if top in (zip_stem, unpacked_from) and zip_stem:
        return top
    return top if re.fullmatch(r"assignment_(\d+_)?export", top) else ""


class _Yaml(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Plain data; Ruby's own objects, of which there might be some, are left out."""


_Yaml.add_multi_constructor("!ruby/", lambda loader, suffix, node: None)


def gradescope(content: bytes) -> dict[str, list[Owner]]:
    """The submitters of each folder that Gradescope's ``submission_metadata.yml`` names."""
    try:
        metadata = yaml.load(content, Loader=_Yaml)  # it is a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{METADATA} cannot be read: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(metadata, dict):
        raise ValueError(f"{METADATA} should list submissions, and does not")
    return {str(place): _submitters(str(place), about) for place, about in metadata.items()}


def _submitters(place: str, about: Any) -> list[Owner]:
    about = about if isinstance(about, dict) else {}
    people = about.get(":submitters")
    people = [person for person in people if isinstance(person, dict)] if isinstance(people, list) else []
    submitted = _time(about.get(":created_at"))
    return [_submitter(place, person, submitted) for person in people or [{}]]


def _submitter(place: str, person: dict[str, Any], submitted: datetime.datetime | None) -> Owner:
    known = {
        key: str(person.get(f":{said}") or "").strip()
        for key, said in (("sis_id", "sid"), ("email", "email"))
    }
    known = {key: value for key, value in known.items() if value}
    name = str(person.get(":name") or "").strip() or known.get("email") or place
    number = known.get("sis_id") or known.get("email") or place
    return Owner(name, number, name, known | {"gradescope_id": place.removeprefix("submission_")}, submitted)


def _time(value: Any) -> datetime.datetime | None:
    """YAML's times are UTC where they do not say otherwise."""
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(
                value.strip().replace(" UTC", "+00:00").replace("Z", "+00:00")
            )
        except ValueError:
            return None
    if not isinstance(value, datetime.datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
