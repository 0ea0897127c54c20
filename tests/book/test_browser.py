"""Every page in headless Chromium, at the width of a desktop and of a phone, in light and dark.

All must load without a script error and without asking another host, show their mathematics, not scroll
sideways, say what every picture shows, and pass the serious and critical rules of axe-core.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

playwright = pytest.importorskip("playwright.sync_api", reason="playwright for Python is not installed")

ROOT = Path(__file__).resolve().parents[2]
AXE = Path(__file__).parent / "vendor/axe.min.js"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
WIDTHS = {"desktop": 1280, "phone": 390}
MODES = {"desktop": ("light", "dark"), "phone": ("light",)}  # colours do not depend on the width
MATHS_IS_SET = "() => !window.MathJax || (MathJax.startup.promise || Promise.resolve()).then(() => true)"

pytestmark = pytest.mark.browser


def pages() -> list[str]:
    """The pages that the table of contents leads to, and those that Sphinx adds."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [f"{page}.html" for page in [toc["root"], *chapters, "search", "genindex"]]


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser found: none of {', '.join(BROWSERS)} is on the path")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


class Visit:
    """One page, opened; ``complaints`` are what the browser said while it loaded."""

    def __init__(self, browser: "playwright.Browser", url: str, width: int) -> None:
        self.complaints: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 900}, reduced_motion="reduce")
        self.page.on("pageerror", lambda error: self.complaints.append(f"script error: {error}"))
        self.page.on("console", self.hear)
        self.page.on("request", self.look_at)
        self.page.on("requestfailed", lambda request: self.complaints.append(f"not loaded: {request.url}"))
        self.page.goto(url)
        self.page.wait_for_function(MATHS_IS_SET)

    def hear(self, message: "playwright.ConsoleMessage") -> None:
        if message.type == "error":
            self.complaints.append(f"console: {message.text}")

    def look_at(self, request: "playwright.Request") -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.complaints.append(f"asks another host: {request.url}")

    def ask(self, script: str) -> list[str]:
        return self.page.evaluate(script)


# MathJax shows an undefined macro in red, other faults as an error
UNSET_MATHS = """() => [...document.querySelectorAll(".math")].filter(e => !e.querySelector("mjx-container")
    || e.querySelector("mjx-merror, [data-mjx-error], [style*='color: red']")).map(e => e.textContent)"""

OUT_OF_REACH = """() => {
    const left = e => e.getBoundingClientRect().left;
    const hidden = e => e.firstElementChild && left(e.firstElementChild) < left(e) - 1;
    return [...document.querySelectorAll("div.math")].filter(hidden).map(e => e.textContent);
}"""

SIDEWAYS = """() => {
    if (document.documentElement.scrollWidth <= window.innerWidth) return [];
    const wide = [...document.querySelectorAll("body *")]
        .filter(e => e.getBoundingClientRect().right > window.innerWidth + 1);
    return ["the page", ...wide.slice(0, 5).map(e => e.tagName + "." + e.className)];
}"""

UNTOLD_PICTURES = """() => [...document.querySelectorAll("img")]
    .filter(e => !(e.alt || "").trim()).map(e => e.src.slice(0, 100))"""

UNLOADED_FONTS = """() => document.fonts.ready.then(() =>
    [...document.fonts].filter(f => f.status === "error").map(f => f.family + " " + f.weight))"""

AXE_FAULTS = """async () => {
    const grave = violation => ["serious", "critical"].includes(violation.impact);
    const reasons = node => node.any.map(reason => reason.message).join(" ");
    const place = node => [node.target, node.html.slice(0, 120), reasons(node)].join(" ");
    const found = await axe.run(document, {resultTypes: ["violations"], preload: false});
    const tell = violation => [violation.id, violation.help, ...violation.nodes.slice(0, 3).map(place)];
    return found.violations.filter(grave).map(violation => tell(violation).join("\\n    "));
}"""

SET_MODE = "mode => Object.assign(document.documentElement.dataset, {mode, theme: mode})"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", pages())
def test_page(browser: "playwright.Browser", html: Path, page: str, width: str) -> None:
    visit = Visit(browser, (html / page).as_uri(), WIDTHS[width])
    try:
        faults = {
            "fonts that did not load": visit.ask(UNLOADED_FONTS),
            "mathematics that is not set": visit.ask(UNSET_MATHS),
            "equations whose beginning is out of reach": visit.ask(OUT_OF_REACH),
            "wider than the window": visit.ask(SIDEWAYS),
            "pictures without alternative text": visit.ask(UNTOLD_PICTURES),
        }
        visit.page.add_script_tag(path=AXE)
        for mode in MODES[width]:
            visit.page.evaluate(SET_MODE, mode)
            faults[f"axe-core, {mode}"] = visit.ask(AXE_FAULTS)
        faults["complaints"] = visit.complaints
        told = [f"{name}:\n  " + "\n  ".join(items) for name, items in faults.items() if items]
        assert not told, "\n" + "\n".join(told)
    finally:
        visit.page.close()


def test_no_page_is_left_out(html: Path) -> None:
    built = {
        path.relative_to(html).as_posix() for path in html.rglob("*.html") if "_static" not in path.parts
    }
    assert built == {*pages(), "index.html"}, "index.html is the redirection to the first page"


@pytest.mark.parametrize("page", [page for page in pages() if page.startswith("notebooks/")])
def test_chapter_has_its_buttons(browser: "playwright.Browser", html: Path, page: str) -> None:
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    name, notebook = settings["url"].removeprefix("https://github.com/"), page.replace(".html", ".ipynb")
    visit = Visit(browser, (html / page).as_uri(), WIDTHS["desktop"])
    links = visit.ask("() => [...document.querySelectorAll('.bd-header-article a')].map(a => a.href)")
    visit.page.close()
    place = f"{name}/blob/{settings['branch']}/{notebook}"
    assert f"https://colab.research.google.com/github/{place}" in links
    assert f"https://github.com/{place}?plain=1" in links, "no button to the source"
    assert (html / f"_sources/{notebook}").as_uri() in links, "no button to download the notebook"
