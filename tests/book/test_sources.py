"""What can be said of the book's sources without building it."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from genimg_ref.viz import style

ROOT = Path(__file__).resolve().parents[2]
CSS = (ROOT / "book/_static/course.css").read_text()
CHAPTERS = [
    chapter["file"].removeprefix("notebooks/")
    for part in yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    for chapter in part["chapters"]
    if chapter["file"].startswith("notebooks/")
]


def tracked_files() -> list[Path]:
    answer = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if answer.returncode:
        pytest.skip("not a git checkout, so nothing says which files belong to the repository")
    return [ROOT / name for name in answer.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_address_of_the_repository_is_set_in_one_place() -> None:
    address = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"].encode()
    holders = {path.relative_to(ROOT).as_posix() for path in tracked_files() if address in path.read_bytes()}
    assert "_config.yml" in holders
    assert not [name for name in holders - {"_config.yml"} if not name.endswith(".ipynb")]


@pytest.mark.parametrize("name", ["PAPER", "INK", "MUTED", "REAL", "FAKE", "ACCENT", "GOLD", "PLUM"])
def test_pages_and_plots_share_the_palette(name: str) -> None:
    declared = re.search(rf"--{name.lower()}: (#[0-9A-F]{{6}});", CSS)
    assert declared and declared[1] == getattr(style, name)


def test_style_sheet_names_no_other_host() -> None:
    assert "//" not in CSS and "@import" not in CSS


@pytest.mark.parametrize("slug", CHAPTERS)
@pytest.mark.parametrize("page", ["index", "for_instructors"])
def test_pages_repeat_the_chapter_faithfully(page: str, slug: str) -> None:
    """Times and points on the landing page and for instructors are those of the chapter's own second line."""
    chapter = (ROOT / f"book/{slug}.md").read_text()
    title = re.search(r"^# (.+)$", chapter, re.MULTILINE)
    facts = re.search(r"^\*\*(About [^·]+ · \d+ points)", chapter, re.MULTILINE)
    assert title and facts, f"book/{slug}.md does not open with a title and `**About … · … points`"
    text = (ROOT / f"book/{page}.md").read_text()
    after_link = text[text.index(f"notebooks/{slug}") :]
    assert title[1] in text
    assert re.search(r"About [^·]+ · \d+ points", after_link)[0] == facts[1]


def test_vendored_files_are_unchanged() -> None:
    spec = importlib.util.spec_from_file_location("vendor", ROOT / "tools/vendor.py")
    vendor = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(vendor)
    assert vendor.faults() == []
    assert set(vendor.expected()) == {
        target for package in vendor.PACKAGES for target in package.files.values()
    }
