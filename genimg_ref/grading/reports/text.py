"""Text that others wrote, made fit to be shown: nothing in it hides, runs, or breaks the file around it."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from markupsafe import Markup, escape

JOINERS = "\u200c\u200d"  # ordinary words of some scripts need them
UNUSUAL = re.compile(r"[^\t\n\x20-\x7e]")
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, formats such as bidi overrides, surrogates, separators
BRIEF = 2000
SHOWN = re.compile("⟨U\\+[0-9A-F]{4,6}⟩")


def visible(text: str) -> str:
    """``text`` with every character that one cannot see, or that XML forbids, spelled as ``⟨U+202E⟩``."""
    return UNUSUAL.sub(_spelled, text.replace("\r\n", "\n"))


def _spelled(found: re.Match[str]) -> str:
    return f"⟨U+{ord(found[0]):04X}⟩" if _is_hidden(found[0]) else found[0]


def _is_hidden(character: str) -> bool:
    code = ord(character)
    never_a_character = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    return never_a_character or (unicodedata.category(character) in HIDDEN and character not in JOINERS)


def brief(text: str) -> str:
    """``text`` as `visible` shows it, and not more of it than one reads."""
    return visible(text) if len(text) <= BRIEF else f"{visible(text[:BRIEF])} … ({len(text) - BRIEF:,} more)"


def rich(text: str) -> Markup:
    """``text`` as HTML, what stands between backticks as code and hidden characters marked."""
    parts = enumerate(str(escape(brief(text))).split("`"))
    return marked("".join(f"<code>{part}</code>" if k % 2 else part for k, part in parts))


def plain(text: str) -> Markup:
    """``text`` as HTML, hidden characters marked."""
    return marked(str(escape(brief(text))))


def marked(html: str) -> Markup:
    """HTML in which the names of hidden characters stand out."""
    return Markup(SHOWN.sub(r'<mark title="a character that cannot be seen">\g<0></mark>', html))


def cell(text: str) -> str:
    """``text`` for one cell of a CSV file: one line, and never a formula to a spreadsheet."""
    line = " ".join(visible(text).split())
    return f"'{line}" if line.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")) else line


def number(value: float) -> str:
    """At most two decimals, and none that say nothing: ``1.5``, ``2``."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def file_names(students: Iterable[str]) -> dict[str, str]:
    """For each student the name of a file, without ending: the key itself where that is safe and unique."""
    students = sorted(set(students))
    spellings = Counter(student.casefold() for student in students)  # some systems do not see the case
    return {
        student: student if _is_safe(student) and spellings[student.casefold()] == 1 else _safe(student)
        for student in students
    }


def _is_safe(key: str) -> bool:
    reserved = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", key, re.IGNORECASE)
    return bool(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,99}", key)) and not reserved


def _safe(key: str) -> str:
    readable = re.sub(r"[^a-z0-9]+", "-", key.lower())[:40].strip("-") or "student"
    return f"{readable}-{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
