"""The pages: one for the instructor, and one for each student that shows nothing of the others.

Each is one file that loads nothing. Everything that others wrote is escaped; should anything slip through all
the same, the page's content security policy lets no script run but the one that sorts the overview's tables.

A student's page holds neither the seed nor a hash of it: seeds are small numbers, which one can try.
"""

import base64
import dataclasses
import hashlib
import importlib.resources
from functools import cache

import jinja2
from markupsafe import Markup

from genimg_ref.grading.assignment import Assignment
from genimg_ref.grading.reports import code
from genimg_ref.grading.reports.kinds import KINDS, kind_of
from genimg_ref.grading.reports.overview import overview
from genimg_ref.grading.reports.text import brief, file_names, number, plain, rich
from genimg_ref.grading.results import Result
from genimg_ref.grading.similar import Pair

ISOLATION = {
    "sandbox": "each submission in a sandbox of its own, without network and without sight of any file "
    "of the course",
    "user": "as another user with limits, but in no sandbox: an answer could read what every user may read, "
    "and reach the network",
    "plain": "as processes of the grader's own user with limits, in no sandbox: an answer could read other "
    "submissions and the reference, reach the network, and meddle with the grader",
}


def pages(results: list[Result], assignment: Assignment, pairs: list[Pair]) -> dict[str, str]:
    """The text of each page, by its path."""
    files = {student: f"students/{name}.html" for student, name in _names(results).items()}
    index = _template("index.html").render(
        assignment=assignment,
        results=results,
        view=overview(results, assignment),
        pairs=pairs,
        files=files,
        names={result.student: result.name for result in results},
    )
    return {"index.html": index} | {
        files[result.student]: student_page(result, assignment) for result in results
    }


def _names(results: list[Result]) -> dict[str, str]:
    return file_names(result.student for result in results)


def student_page(result: Result, assignment: Assignment) -> str:
    """One student's page."""
    return _template("student.html").render(
        assignment=assignment, result=result, digest=_digest_without_seed(assignment)
    )


@cache
def _digest_without_seed(assignment: Assignment) -> str:
    return dataclasses.replace(assignment, seed=0).digest()


@cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "rich": rich,
        "plain": plain,
        "brief": brief,
        "sentence": lambda text: text[:1].upper() + text[1:],
        "number": number,
        "kind": kind_of,
        "code": code.as_html,
        "cut": code.cut,
    }
    script = _asset("sort.js")
    environment.globals |= {
        "css": Markup(_asset("report.css")),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "kinds": KINDS,
        "isolation_in_words": ISOLATION,
    }
    return environment.get_template(name)


def _asset(name: str) -> str:
    return (importlib.resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")
