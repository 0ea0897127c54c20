"""Fetch the files that the book and its tests carry with them: MathJax, fonts, axe-core.

    python tools/vendor.py            # remake them all (needs npm and a network)
    python tools/vendor.py --check    # compare the files that are here with their checksums (needs neither)

Every file comes from an npm package of a fixed version, and tools/vendor.sha256 holds its checksum (in the
format of `sha256sum`), so a copy that differs is refused. To move to another version, change it here, run the
script, and copy the checksums that it reports.
"""

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
STATIC = "book/_static"
CHECKSUMS = ROOT / "tools/vendor.sha256"
MATHJAX_FONTS = [
    *("AMS-Regular", "Calligraphic-Bold", "Calligraphic-Regular", "Fraktur-Bold", "Fraktur-Regular"),
    *("Main-Bold", "Main-Italic", "Main-Regular", "Math-BoldItalic", "Math-Italic", "Math-Regular"),
    *("SansSerif-Bold", "SansSerif-Italic", "SansSerif-Regular", "Script-Regular", "Size1-Regular"),
    *(
        "Size2-Regular",
        "Size3-Regular",
        "Size4-Regular",
        "Typewriter-Regular",
        "Vector-Bold",
        "Vector-Regular",
    ),
    "Zero",
]


class Package(NamedTuple):
    """One npm package: its name, its version, and which of its files go where in this repository."""

    name: str
    version: str
    files: dict[str, str]


VARIABLE = ("latin-wght-normal", "latin-wght-italic", "greek-wght-normal")


def font(package: str, version: str, parts: tuple[str, ...]) -> Package:
    """A typeface's files and licence, named after the package."""
    name = package.split("/")[1]
    files = {f"files/{name}-{part}.woff2": f"{STATIC}/fonts/{name}-{part}.woff2" for part in parts}
    return Package(package, version, files | {"LICENSE": f"{STATIC}/fonts/{name}-LICENSE"})


PACKAGES = [
    Package(
        "mathjax",
        "3.2.2",
        {
            "es5/tex-chtml-full.js": f"{STATIC}/mathjax/tex-chtml-full.js",
            "LICENSE": f"{STATIC}/mathjax/LICENSE",
        }
        | {
            f"es5/output/chtml/fonts/woff-v2/MathJax_{font}.woff": (
                f"{STATIC}/mathjax/output/chtml/fonts/woff-v2/MathJax_{font}.woff"
            )
            for font in MATHJAX_FONTS
        },
    ),
    font("@fontsource-variable/source-serif-4", "5.3.1", VARIABLE),
    font("@fontsource-variable/source-sans-3", "5.3.0", VARIABLE),
    font("@fontsource/jetbrains-mono", "5.3.0", ("latin-400-normal", "latin-700-normal", "greek-400-normal")),
    Package(
        "axe-core",
        "4.14.1",
        {
            "axe.min.js": "tests/book/vendor/axe.min.js",
            "LICENSE": "tests/book/vendor/axe-LICENSE",
            "LICENSE-3RD-PARTY.txt": "tests/book/vendor/axe-LICENSE-3RD-PARTY.txt",
        },
    ),
]


def expected() -> dict[str, str]:
    """The SHA-256 of each vendored file, by its place in this repository."""
    lines = (line.split(maxsplit=1) for line in CHECKSUMS.read_text().splitlines())
    return {target: checksum for checksum, target in lines}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def faults() -> list[str]:
    """What is wrong with the vendored files that are here: one line per file that is missing or differs."""
    lines, checksums = [], expected()
    for package in PACKAGES:
        for target in package.files.values():
            path = ROOT / target
            if not path.is_file():
                lines.append(f"{target}: missing")
            elif digest(path.read_bytes()) != checksums.get(target):
                lines.append(f"{target}: checksum differs from tools/vendor.sha256")
    return lines


def fetch(package: Package, folder: Path) -> dict[str, bytes]:
    """Download one package with npm; return the wanted files by their place in this repository."""
    command = [
        "npm",
        "pack",
        "--silent",
        "--pack-destination",
        str(folder),
        f"{package.name}@{package.version}",
    ]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    with tarfile.open(folder / answer.stdout.split()[-1]) as archive:
        members = {source: archive.extractfile(f"package/{source}") for source in package.files}
        return {package.files[source]: member.read() for source, member in members.items() if member}


def remake() -> list[str]:
    """Fetch all packages; write each file whose checksum is the one expected, return a line for any other."""
    refused, checksums = [], expected()
    with tempfile.TemporaryDirectory() as folder:
        for package in PACKAGES:
            for target, data in fetch(package, Path(folder)).items():
                if digest(data) != checksums.get(target):
                    refused.append(f"{digest(data)}  {target}")
                    continue
                (ROOT / target).parent.mkdir(parents=True, exist_ok=True)
                (ROOT / target).write_bytes(data)
    return refused


def main() -> int:
    parser = argparse.ArgumentParser(description="Remake or check the vendored files.")
    parser.add_argument("--check", action="store_true", help="only compare what is here with the checksums")
    if parser.parse_args().check:
        lines = faults()
    else:
        lines = remake()
        if lines:
            lines.insert(
                0, "not written, for their checksums are not those in tools/vendor.sha256; they are:"
            )
    print("\n".join(lines) or "all vendored files are as expected")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
