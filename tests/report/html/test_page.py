"""The HTML page as a file: what it holds, and that names from files stay text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from helpers.stored_runs import three_methods, write_run

from adcc_onnx.report.rendering import render
from adcc_onnx.results.store import Store

HOSTILE = "</script><script>alert(1)</script>\x1b[31m<img src=x onerror=alert(2)>&amp;"


class Reader(HTMLParser):
    """A collector of all tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def page() -> str:
    store = Store.create(None)
    write_run(store, {HOSTILE: three_methods(3)["good"]}, model=HOSTILE)
    write_run(store, three_methods(40), model="second")
    return render([store], "html")


def data_of(page: str) -> list[dict[str, Any]]:
    """Return the data that the scripts of the page read, one object per run."""
    blocks = re.findall(r'<script type="application/json" class="run-data">(.*?)</script>', page)
    return [json.loads(block) for block in blocks]


def test_names_stay_text(page: str) -> None:
    read = Reader(page)
    # Two runs and five scripts: any other script would come from a name.
    assert read.tags.count("script") == 7 and "img" not in read.tags
    assert not any(key.startswith("on") for key, _ in read.attributes)
    assert "\x1b" not in page
    assert data_of(page)[0]["methods"][0]["name"] == HOSTILE


def test_nothing_is_loaded_and_only_own_scripts_may_run(page: str) -> None:
    read = Reader(page)
    links = [value for key, value in read.attributes if key in ("src", "href", "action", "data")]
    assert links and all(value is not None and value.startswith("#") for value in links)
    (policy,) = [v for k, v in read.attributes if k == "content" and v and "default-src" in v]
    assert policy.startswith("default-src 'none'; img-src data:;") and "http" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes


def test_the_data_are_the_results(page: str) -> None:
    run = data_of(page)[1]
    assert run["main"]["name"] in run["columns"] and run["alpha"] == pytest.approx(0.05)
    assert [m["name"] for m in run["methods"]] == list(run["values"])
    values = {name: found[run["main"]["name"]][0] for name, found in run["values"].items()}
    for i, j, difference, low, high, p in run["pairs"]["cells"]:
        first, second = (run["pairs"]["names"][place] for place in (i, j))
        assert difference == pytest.approx(values[first] - values[second], abs=1e-9)
        assert low <= difference <= high and 0 < p <= 1
