"""The documentation site is built without a warning, is complete, and opens without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from helpers.documented_code import DOCS

pytest.importorskip("sphinx")
pytest.importorskip("furo")
pytestmark = [pytest.mark.slow, pytest.mark.ci]  # the build takes about 15 s

# Attributes that make a browser load a file, by the tag that has them.
LOADS = {"img": "src", "script": "src", "iframe": "src", "link": "href", "source": "src"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q"]
    done = subprocess.run([*command, DOCS, out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


class Page(HTMLParser):
    """The addresses that a page loads and links to, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found: dict[str, Any] = dict(attrs)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if found.get(LOADS.get(tag, "")) and found.get("rel") not in ("next", "prev", "search"):
            self.loaded.append(found[LOADS[tag]])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])


parsed = cache(Page)


def pages_of(site: Path) -> list[Path]:
    return [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]


def test_every_page_is_in_the_navigation(site: Path) -> None:
    links = {unquote(link.partition("#")[0]) for link in parsed(site / "index.html").links}
    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS).with_suffix(".html").as_posix()
        assert name in links or name == "index.html", name


def test_nothing_is_loaded_from_the_network(site: Path) -> None:
    for page in pages_of(site):
        for address in parsed(page).loaded:
            assert not re.match(r"(?:https?:)?//", address), f"{page.name}: {address}"
    for sheet in site.rglob("*.css"):
        addresses = re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", sheet.read_text("utf-8"))
        for address in ("".join(found).strip("\"'") for found in addresses):
            assert not re.match(r"(?:https?:)?//", address), f"{sheet.name}: {address}"


def test_links_and_anchors_within_the_site_exist(site: Path) -> None:
    for page in pages_of(site):
        for link in [*parsed(page).links, *parsed(page).loaded]:
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            path = unquote(path.partition("?")[0])
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page.relative_to(site)}: {link}"
            if anchor and target.suffix == ".html":
                assert unquote(anchor) in parsed(target).anchors, (
                    f"{page.relative_to(site)}: {link}"
                )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])


def test_pages_open_without_errors_and_without_a_network(site: Path, browser: Any) -> None:
    for width in (390, 1280):
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
        for path in pages_of(site):
            page, problems = context.new_page(), []
            page.on("console", lambda said, p=problems: p.append(said.text))
            page.on("pageerror", lambda error, p=problems: p.append(str(error)))
            page.on("requestfailed", lambda request, p=problems: p.append(request.url))
            page.goto(path.as_uri())
            assert not problems, f"{path.relative_to(site)}: {problems}"
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{path.relative_to(site)} is {wide} pixels wide"
            page.close()


def test_the_search_finds_a_page_from_disk(site: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto((site / "search.html").as_uri() + "?q=coherency")
    page.wait_for_selector("#search-results li a")
    assert page.locator("#search-results li a").count() > 3
