"""The static files of the fleet page: what must hold without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[3] / "agent" / "vedette" / "receiver" / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
FIRST_VIEW = (
    "index.html", "style.css", "theme.js", "favicon.svg", "app.js", "api.js", "dom.js", "format.js",
    "words.js", "fleet.js", "spark.js", "points.js",
)  # fmt: skip
MARKUP_FROM_TEXT = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
    r"|DOMParser|setAttribute\(\s*[\"']style|createContextualFragment|setHTMLUnsafe"
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_turns_text_into_markup_or_code(script: Path) -> None:
    assert MARKUP_FROM_TEXT.findall(script.read_text()) == []


@pytest.mark.parametrize("file", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_no_file_names_another_site(file: Path) -> None:
    urls = re.findall(r"(?:https?:)?//[a-z0-9][\w.-]*\.[a-z]{2,}[^\s\"'`)]*", file.read_text())
    assert [url for url in urls if url != "http://www.w3.org/2000/svg"] == []


def test_the_document_has_no_inline_script_style_or_handler() -> None:
    html = (STATIC / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", html) == []


def test_every_import_and_every_file_of_the_document_exists() -> None:
    html = (STATIC / "index.html").read_text()
    named = re.findall(r"(?:src|href)=\"static/([^\"]+)\"", html)
    for script in SCRIPTS:
        named += re.findall(r"(?:from|import\()\s*\"\./([^\"]+)\"", script.read_text())
    assert {name for name in named if not (STATIC / name).is_file()} == set()


def test_the_first_view_stays_light() -> None:
    assert sum((STATIC / name).stat().st_size for name in FIRST_VIEW) < 120_000


def test_the_first_view_loads_only_what_the_budget_counts() -> None:
    reached = {"app.js"}
    while True:
        texts = [(STATIC / name).read_text() for name in reached]
        found = {name for text in texts for name in re.findall(r"from \"\./([^\"]+)\"", text)}
        if found <= reached:
            break
        reached |= found
    assert reached <= set(FIRST_VIEW)
