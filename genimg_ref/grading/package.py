"""``python -m genimg_ref.grading.package gradescope``: the grader as a zip that Gradescope can run.

Source: Gradescope's autograder specification, https://gradescope-autograders.readthedocs.io/en/latest/specs/.
"""

import argparse
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from genimg_ref.grading import assignment as assignments

PACKAGE = Path(__file__).parents[1]
TEMPLATES = Path(__file__).parent / "gradescope"
PINS = PACKAGE.parent / "requirements.txt"
# what grading imports; the versions of these, and of all that they need, are those of `PINS`
NEEDED = ("jaxtyping", "jinja2", "markupsafe", "numpy", "pygments", "pyyaml", "torch", "tqdm")
SCRIPTS = ("run_autograder", "setup.sh")
LEFT_OUT = {"__pycache__", ".ipynb_checkpoints"}
EPOCH = (1980, 1, 1, 0, 0, 0)


def gradescope(assignment: Path, out: Path, pins: Path = PINS) -> None:
    """Write ``out``, a zip for Gradescope that grades ``assignment``; the same input gives the same bytes.

    It holds the package, the assignment with its seed, and the reference with it: it is for Gradescope alone.
    pins: a file of requirements with exact versions.
    """
    assignments.load(assignment)
    if not pins.is_file():
        raise ValueError(f"{pins} with the exact versions is missing: call this from the course's repository")
    contents = dict(_package()) | {
        "assignment.toml": assignment.read_bytes(),
        "constraints.txt": pins.read_bytes(),
        "requirements.txt": "".join(f"{name}\n" for name in NEEDED).encode(),
        **{name: (TEMPLATES / name).read_bytes() for name in SCRIPTS},
    }
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system = 3  # Unix, so that the modes count
            entry.external_attr = (0o100755 if name in SCRIPTS else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, contents[name])


def _package() -> Iterator[tuple[str, bytes]]:
    """The files of the package with their names in the zip."""
    for path in PACKAGE.rglob("*"):
        inside = path.relative_to(PACKAGE.parent)
        if path.is_file() and not LEFT_OUT & set(inside.parts) and path.suffix != ".pyc":
            yield inside.as_posix(), path.read_bytes()


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m genimg_ref.grading.package", description="Package the grader for a platform."
    )
    platforms = parser.add_subparsers(dest="platform", required=True)
    command = platforms.add_parser("gradescope", help="write the autograder zip")
    command.add_argument("--assignment", type=Path, required=True, help="what is graded (TOML)")
    command.add_argument("--out", type=Path, default=Path("autograder.zip"), help="the zip to write")
    options = parser.parse_args(arguments)
    try:
        gradescope(options.assignment, options.out)
    except (ValueError, OSError) as error:
        print(f"package: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: upload it as the autograder of the assignment, and keep it to yourself")
    return 0


if __name__ == "__main__":
    sys.exit(main())
