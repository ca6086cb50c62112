"""The models of a fleet, one of them, and an incident's time axis, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import browser as chromium
import canned
import made_up_models
import pytest
from viewing import ROUTES, open_view, text_of, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.executable() is None, reason="no Chromium on PATH"),
]
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
ROWS = "document.querySelectorAll('.models .row').length > 30"


def test_models_stand_by_layer_with_what_is_not_told(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["models"], ROWS)
    sections = browser.evaluate(
        "[...document.querySelectorAll('section.block:not([hidden]) h2')].map((h) => h.innerText)"
    )
    assert sections == ["Gateways", "Engines", "Known by their logs alone, or telling nothing yet"]
    row = text_of(browser, "section[aria-label=Engines] .row")
    for words in ("llama-3.1-8b", "vllm 0.10.2", "12.4", "6.2\xa0%", "≤\u2009100\xa0ms", "p95 ≥"):
        assert words in row
    assert "1 of 3 down" in row
    assert "not told" in text_of(browser, "section[aria-label=Engines]")
    cells = "document.querySelectorAll('section[aria-label=Engines] .row .m-failed')[1].innerText"
    assert browser.evaluate(cells) == "not told"


@pytest.mark.parametrize("route", ["models", "model", "incident"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_can_be_read(browser: Any, site: Any, route: str, theme: str) -> None:
    browser.prefer(prefers_color_scheme=theme, prefers_reduced_motion="reduce")
    open_view(browser, site, ROUTES[route])
    assert browser.evaluate(CONTRAST) == []
    assert browser.said == []


def test_models_are_found_by_the_receiver(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["models"], ROWS)
    browser.evaluate("document.getElementById('find').focus()")
    for key in "llama":
        browser.key(key)
    browser.until("document.querySelectorAll('.models .row').length === 2")
    assert "text=llama" in wait_for(browser, site, "/models?text")


def test_a_hostile_model_leads_to_its_own_page(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["models"], ROWS)
    browser.evaluate(
        "[...document.querySelectorAll('.row-name')]"
        ".find((a) => a.innerText.includes('script')).click()"
    )
    browser.until("document.querySelector('.server-facts') !== null")
    text = text_of(browser)
    assert "window.hacked=8" in text
    assert made_up_models.HOSTILE_FACT in text
    assert "and 28 more" in text
    assert browser.evaluate("typeof window.hacked") == "undefined"


def test_a_model_shows_its_charts_events_and_facts(browser: Any, site: Any) -> None:
    open_view(
        browser, site, ROUTES["model"], "document.querySelectorAll('.model-grid .line').length >= 4"
    )
    titles = browser.evaluate(
        "[...document.querySelectorAll('.model-grid .chart-title')].map((h) => h.innerText)"
    )
    assert titles[:3] == ["Requests by outcome", "Time to first token", "Waiting"]
    assert browser.evaluate("document.querySelectorAll('.model-grid .mark.event').length") >= 3
    facts = text_of(browser, ".server-facts")
    assert re.search(r"Quantised\s+yes", facts)
    assert "131" in facts
    assert site.asked.count("/api/v1/hosts/" + canned.HOSTILE + "/series") == 1


def test_an_unknown_model_is_said_to_be_unknown(browser: Any, site: Any) -> None:
    open_view(browser, site, "#/model/nobody")
    assert "Not known here" in text_of(browser)


def test_an_incident_tells_how_bad_who_and_what_changed(browser: Any, site: Any) -> None:
    open_view(
        browser, site, ROUTES["incident"], "document.querySelector('.lane.of-change') !== null"
    )
    brief = text_of(browser, ".brief")
    assert "Worst reading" in brief
    assert "expected 12\xa0% to 38\xa0%" in brief
    assert "stress-ng" in brief
    assert "1\xa0min 10\xa0s before" in brief
    assert "2\xa0s before the onset" in text_of(browser, ".suspects")
    assert "2\xa0more events in that time" in text_of(browser, ".side")


def test_a_moment_stands_at_one_place_in_all_lanes_and_charts(browser: Any, site: Any) -> None:
    browser.size(1440, 1000)
    open_view(browser, site, ROUTES["incident"], "document.querySelector('.beside .line') !== null")
    places = browser.evaluate(
        "[...document.querySelectorAll('.aligned .mark.onset line')]"
        ".map((one) => Math.round(one.getBoundingClientRect().x))"
    )
    assert len(places) >= 5
    assert len(set(places)) == 1
    onset = "document.querySelector('.moment.onset').getBoundingClientRect()"
    edge = (
        browser.evaluate(f"Math.round({onset}.x)"),
        browser.evaluate(f"Math.round({onset}.right)"),
    )
    assert min(abs(one - places[0]) for one in edge) <= 2
    marks = browser.evaluate(
        "[...document.querySelectorAll('.lane.of-suspect .lane-mark')].map((one) => one.innerText)"
    )
    assert marks == ["1", "2", "3"]


def test_what_is_read_seldom_is_a_line_and_what_is_missing_a_gap(browser: Any, site: Any) -> None:
    open_view(browser, site)
    shape = (
        "import('/static/incident_axis.js').then((m) =>"
        " m.readings({ start_ms: 0, step_ms: 1000, values: %s }).map((p) => [p.t / 1000, p.v]))"
    )
    seldom = "[1, null, 2, null, 3, null, null, null, null, null, 4]"
    assert browser.evaluate(shape % seldom) == [
        [0, 1],
        [2, 2],
        [4, 3],
        [5, None],
        [10, 4],
    ]
    each = browser.evaluate(shape % "[1, 2, null, 3, 4]")
    assert each == [[0, 1], [1, 2], [2, None], [3, 3], [4, 4]]
