"""``python -m genimg_ref.grading SUBMISSIONS --out OUT``: grade a folder, a file or a zip, write reports."""

import argparse
import dataclasses
import datetime
import difflib
import json
import re
import secrets
import sys
from pathlib import Path

from genimg_ref import exercises
from genimg_ref.exercises.compare import Outcome
from genimg_ref.grading import assignment as assignments
from genimg_ref.grading import batch, reports, sandbox
from genimg_ref.grading.assignment import Assignment
from genimg_ref.grading.intake import collect
from genimg_ref.grading.results import Result, Submission
from genimg_ref.grading.similar import pairs

ALL_GRADED, FAULTS, BAD_INPUT, NO_ISOLATION, INTERRUPTED = 0, 1, 2, 3, 130
EXIT_CODES = f"""exit codes: {ALL_GRADED} everything is graded; {FAULTS} the grader failed on something, which
has no mark; {BAD_INPUT} something in the call or in the files that it names is wrong; {NO_ISOLATION} this
machine cannot have the isolation asked for; {INTERRUPTED} interrupted: the same command goes on from there"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    out = Path(options.out)
    if why := sandbox.available(options.isolation):
        return _fail(NO_ISOLATION, f"isolation {options.isolation!r}: {why}.{_weaker(options.isolation)}")
    try:
        _apart(options.submissions, out)
        submissions = collect(options.submissions, options.pattern, options.roster, options.times)
        if options.gradescope:
            submissions = [_of_one_student(submissions, options.submissions)]
        if not submissions:
            return _fail(BAD_INPUT, f"{options.submissions}: there is no submission in it")
        assignment = _assignment(options.assignment, out, submissions)
        wanted = _only(submissions, options.only)
        again = _again(options.regrade, assignment, submissions)
    except OSError as error:
        return _fail(BAD_INPUT, f"{error.filename}: {error.strerror}")
    except ValueError as error:
        return _fail(BAD_INPUT, str(error))
    try:
        results = batch.run(
            wanted,
            assignment,
            options.isolation,
            out,
            workers=options.workers,
            scheduler=options.scheduler,
            again=again,
            quiet=options.quiet,
        )
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, "stopped; the same command goes on from here")
    if options.gradescope:
        if results[0].earned is None:  # without a file Gradescope says that the autograder failed
            return _fail(FAULTS, results[0].marks[0].message)
        text = json.dumps(reports.gradescope(results[0], assignment), indent=1)
        Path(options.gradescope).write_text(text + "\n", encoding="utf-8")
    if len(wanted) < len(submissions):  # the reports are about everybody who is graded so far
        results = batch.stored(submissions, assignment, options.isolation, out)
    reports.write(results, assignment, out, pairs(results))
    if not options.quiet:
        print(_summary(results, assignment, options.isolation, out))
    return FAULTS if any(result.earned is None for result in results) else ALL_GRADED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m genimg_ref.grading",
        description="Grade submitted notebooks behind walls and write reports.",
        epilog=EXIT_CODES,
    )
    add = parser.add_argument
    add("submissions", type=Path, help="a folder, a file, or a zip as Canvas, Moodle or Gradescope export it")
    add("--out", required=True, help="the folder for results and reports")
    add(
        "--assignment",
        type=Path,
        help="what is graded (TOML); by default OUT/assignment.toml, made if need be",
    )
    add("--isolation", default="sandbox", choices=sandbox.LEVELS, help="a weaker level has to be asked for")
    add("--workers", type=_positive, default=2, help="processes on this machine (2)")
    add("--scheduler", help="the address of a Dask scheduler (tcp://host:8786), to use its machines instead")
    add("--pattern", help="regular expression with (?P<student>...) over the path of a file")
    add("--roster", type=Path, help="CSV with everybody who should have a row")
    add("--times", type=Path, help="CSV with the columns student, time: when they handed in")
    add("--only", nargs="+", metavar="STUDENT", default=[], help="grade these alone")
    add("--regrade", nargs="+", metavar="NAME", default=[], help="grade these students, or exercises, anew")
    add("--gradescope", type=Path, metavar="FILE", help="one student's folder; write results.json to FILE")
    add("--quiet", action="store_true", help="print nothing but errors")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _fail(code: int, message: str) -> int:
    print(f"grading: {message}", file=sys.stderr)
    return code


def _weaker(level: str) -> str:
    if level != "sandbox":
        return ""
    return " A weaker level can be asked for by name: --isolation user (as root) or --isolation plain."


def _assignment(path: Path | None, out: Path, submissions: list[Submission]) -> Assignment:
    """The assignment that is named, or that of an earlier run, or a new one with a seed that nobody knows."""
    if path is None:
        path = out / "assignment.toml"
        if not path.exists():
            chapters = answered_chapters(submissions)
            if not chapters:
                raise ValueError(
                    "no exercise of the course is defined in any submission; name an --assignment"
                )
            out.mkdir(parents=True, exist_ok=True)
            path.write_text(fresh(chapters), encoding="utf-8")
    return assignments.load(path)


def answered_chapters(submissions: list[Submission]) -> list[str]:
    """The chapters of whose exercises at least one is defined in a submission, going by the text."""
    cells = "\n".join(cell for s in submissions for source in s.sources for cell in source.cells)
    defined = set(re.findall(r"^(?:def|class)\s+(\w+)", cells, re.MULTILINE))
    return [slug for slug in exercises.chapters() if defined & exercises.chapter(slug).keys()]


def fresh(chapters: list[str]) -> str:
    """An assignment file with a seed of its own."""
    named = ", ".join(f'"{slug}"' for slug in chapters)
    return (
        "# Made by the grader, since none was named. Keep the seed to yourself.\n"
        f'title = "{" and ".join(chapters)}"\nchapters = [{named}]\nseed = {secrets.randbelow(2**31)}\n'
    )


def _apart(submissions: Path, out: Path) -> None:
    """Results among the submissions would be taken for a student's the next time."""
    one, other = submissions.resolve(), out.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise ValueError(
            f"the submissions ({submissions}) and --out ({out}) have to be apart from each other"
        )
    if other.exists() and not other.is_dir():
        raise ValueError(f"--out {out} is a file; it has to be a folder")


def _keys(option: str, wanted: list[str], submissions: list[Submission]) -> list[str]:
    """The keys of students, who may be called by their keys or by their names."""
    keys = {s.name.casefold(): s.student for s in submissions} | {s.student: s.student for s in submissions}
    found = []
    for name in wanted:
        key = keys.get(name) or keys.get(name.casefold())
        if key is None:
            nearest = difflib.get_close_matches(name, keys.values(), n=3, cutoff=0.0)
            raise ValueError(
                f"{option}: there is no {name!r}; the nearest: {', '.join(dict.fromkeys(nearest))}"
            )
        found.append(key)
    return found


def _only(submissions: list[Submission], students: list[str]) -> list[Submission]:
    wanted = _keys("--only", students, submissions)
    return [s for s in submissions if not students or s.student in wanted]


def _again(names: list[str], assignment: Assignment, submissions: list[Submission]) -> list[str]:
    exercises_named = [name for name in names if name in assignment.specs()]
    others = [name for name in names if name not in exercises_named]
    return exercises_named + _keys("--regrade", others, submissions)


def _of_one_student(submissions: list[Submission], folder: Path) -> Submission:
    """All files of a folder as one submission; Gradescope lays its facts beside the folder."""
    sources = tuple(source for submission in submissions for source in submission.sources)
    submission = Submission("submission", "submission", sources)
    facts = folder.parent / "submission_metadata.json"
    if facts.exists():
        created = json.loads(facts.read_text(encoding="utf-8")).get("created_at")
        if created:
            submission = dataclasses.replace(submission, submitted=datetime.datetime.fromisoformat(created))
    return submission


def _summary(results: list[Result], assignment: Assignment, isolation: str, out: Path) -> str:
    faults = [result.student for result in results if result.earned is None]
    whole = sum(result.earned == result.possible for result in results)
    lines = [
        f"{assignment.title}: {len(results)} students, {whole} with all {results[0].possible} points",
        f"isolation: {isolation}"
        + ("" if isolation == "sandbox" else " (weaker than sandbox, as asked for)"),
    ]
    unreadable = [r.student for r in results if any(m.outcome is Outcome.UNREADABLE for m in r.marks)]
    if unreadable:
        lines.append(f"unreadable: {', '.join(unreadable)}")
    if faults:
        lines.append(f"NOT GRADED, since the grader failed: {', '.join(faults)}")
    return "\n".join([*lines, f"reports: {out / 'index.html'}"])


if __name__ == "__main__":
    sys.exit(main())
