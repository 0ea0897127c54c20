"""``junit.xml``: a test suite a student, a test case an exercise, for GitLab, Jenkins and GitHub's reporters.

A wrong answer is a failure; a fault of the grader is an error; what was not attempted is skipped, which all
three count apart from failures and from passes. GitLab shows the text inside the element, others the
attribute ``message``, so both are told. Time is always 0: the same marks give the same file.
"""

from collections import Counter
from collections.abc import Iterable
from xml.etree import ElementTree as ET

from genimg_ref.exercises.compare import Outcome
from genimg_ref.grading.assignment import Assignment
from genimg_ref.grading.reports.text import brief, number, visible
from genimg_ref.grading.results import Mark, Result

ELEMENTS = {Outcome.RIGHT: "", Outcome.NOT_ATTEMPTED: "skipped", Outcome.GRADER_FAULT: "error"}
COUNTS = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def junit(results: Iterable[Result], assignment: Assignment) -> bytes:
    results = list(results)
    marks = [mark for result in results for mark in result.marks]
    root = ET.Element("testsuites", {"name": visible(assignment.title), **_counts(marks)})
    for result in results:
        suite = ET.SubElement(root, "testsuite", {"name": visible(result.student), **_counts(result.marks)})
        properties = ET.SubElement(suite, "properties")
        for name, value in _properties(result).items():
            ET.SubElement(properties, "property", {"name": name, "value": visible(value)})
        for mark in result.marks:
            _add_case(suite, result.student, mark)
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _properties(result: Result) -> dict[str, str]:
    return {
        "earned": "" if result.earned is None else number(result.earned),
        "possible": str(result.possible),
        "deduction": number(result.deduction),
        "isolation": result.isolation,
        "version": result.version,
    }


def _counts(marks: Iterable[Mark]) -> dict[str, str]:
    found = Counter(map(_element, marks))
    counts = {"tests": found.total(), **{name: found[element] for name, element in COUNTS.items()}}
    return {name: str(count) for name, count in counts.items()} | {"time": "0"}


def _element(mark: Mark) -> str:
    return ELEMENTS.get(mark.outcome, "failure")


def _add_case(suite: ET.Element, student: str, mark: Mark) -> None:
    names = {"classname": visible(student), "name": visible(mark.exercise), "time": "0"}
    case = ET.SubElement(suite, "testcase", names)
    if element := _element(mark):
        told = brief(mark.message)
        attributes = (
            {"message": told} if element == "skipped" else {"message": told, "type": mark.outcome.value}
        )
        text = "\n".join(filter(None, [f"{mark.outcome.value}: {told}", brief(mark.hint or "")]))
        ET.SubElement(case, element, attributes).text = text
