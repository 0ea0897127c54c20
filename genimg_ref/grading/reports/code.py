"""A student's code as HTML. It may be written to hide something, or to keep a highlighter busy for hours."""

import re

from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from genimg_ref.grading.reports.text import marked, visible

SHOWN = 20_000  # characters
LEXER = PythonLexer(stripnl=False, ensurenl=False)
FORMATTER = HtmlFormatter(nowrap=True)


def shown(code: str) -> str:
    """As much of the code as a page shows."""
    return code[:SHOWN]


def cut(code: str) -> str:
    """The sentence that says how much is left out; empty if nothing is."""
    left = len(code) - SHOWN
    return f"Only the first {SHOWN:,} characters are shown; {left:,} more follow." if left > 0 else ""


def as_html(code: str) -> Markup:
    """What `shown` leaves of the code, highlighted if that is sure to be quick."""
    text = visible(shown(code))
    if code != shown(code) or _is_slow(text):
        return marked(str(escape(text)))
    html = highlight(text, LEXER, FORMATTER)
    return marked(html if text.endswith("\n") else html.removesuffix("\n"))  # the formatter adds one


def _is_slow(text: str) -> bool:
    """Whether the lexer may need long: its patterns go over white space and within lines again and again."""
    longest = max(map(len, text.split("\n")))
    return len(text) > SHOWN or longest > 1000 or re.search(r"\s{200}", text) is not None
