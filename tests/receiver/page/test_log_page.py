"""The logs of a host, one template, and what an incident shows of them, in a real browser."""

from __future__ import annotations

import re
from typing import Any

import browser as chromium
import canned
import pytest
from viewing import APP, REFRESH, ROUTES, open_view, text_of, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.executable() is None, reason="no Chromium on PATH"),
]


def test_an_incident_shows_what_the_logs_said_around_it(browser: Any, site: Any) -> None:
    open_view(
        browser, site, ROUTES["incident"], "document.querySelector('.said .incident') !== null"
    )
    text = text_of(browser, ".said")
    assert "What the logs said around it" in text
    assert re.search(r"1\xa0event, usually none", text)
    assert "New" in text
    assert "Much more" in text
    links = (
        "[...document.querySelectorAll('.said .incident-title')].map((a) => a.getAttribute('href'))"
    )
    assert browser.evaluate(links)[0] == f"#/host/{canned.DB}/logs/{APP}/0a"


def _lines(browser: Any) -> list[str]:
    found: list[str] = browser.evaluate(
        "[...document.querySelectorAll('.line-text')].map((a) => a.textContent)"
    )
    return found


def test_the_host_leads_to_its_logs_where_it_has_some(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["host"])
    browser.evaluate("document.querySelector('.logs-link').click()")
    browser.until("document.querySelectorAll('.line-text').length > 40")
    assert browser.evaluate("location.hash") == ROUTES["logs"]
    open_view(browser, site, f"#/host/{canned.DB}")
    assert browser.evaluate("document.querySelector('.logs-link')") is None


def test_logs_show_counts_sources_and_what_was_masked(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["logs"])
    text = text_of(browser)
    for words in (
        "61\u2009000",
        "1\u2009406 not told by template",
        "88\ntexts masked",
        "4\xa0KiB\nlost unread",
        "kernel",
        "<b>own rule</b>",
    ):
        assert words in text
    assert browser.evaluate("document.querySelectorAll('.row .spark .line').length") > 40
    assert browser.evaluate("document.querySelector('.row .slot').textContent") == "<num>"
    assert _lines(browser)[2].startswith("<script>window.hacked=7</script>")


def test_logs_are_filtered_and_sorted_by_the_receiver(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["logs"])

    def choose(word: str) -> None:
        browser.evaluate(
            "[...document.querySelectorAll('.segment')]"
            f".find((a) => a.textContent === {word!r}).click()"
        )

    choose("Errors")
    browser.until("document.querySelectorAll('.line-text').length === 3")
    choose("New only")
    browser.until("document.querySelectorAll('.line-text').length === 1")
    assert _lines(browser) == ["out of memory: killed process <num>"]
    assert any("severity=error" in path and "new=1" in path for path in site.asked)
    browser.evaluate(f"location.hash = {ROUTES['logs'] + '?sort=count'!r}")
    browser.until("document.querySelectorAll('.line-text').length > 40")
    assert _lines(browser)[0].startswith("GET <path>")
    assert (
        browser.evaluate("document.querySelector('th.line-count').getAttribute('aria-sort')")
        == "descending"
    )
    browser.key("/")
    browser.call("Input.insertText", text="slow query")
    browser.until("document.querySelectorAll('.line-text').length === 1")
    browser.key("Escape")
    browser.until("document.querySelectorAll('.line-text').length > 40")
    browser.evaluate("document.querySelector('.line-name').click()")
    browser.until("document.querySelector('.chosen .segment') !== null")
    assert any("source=" in path for path in site.asked)


def test_logs_are_not_asked_for_while_nothing_new_arrived(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["logs"])
    site.asked.clear()
    browser.evaluate(REFRESH)
    wait_for(browser, site, f"hosts/{canned.WEB}")
    browser.evaluate("new Promise((resolve) => setTimeout(resolve, 200))")
    assert not any("/logs" in path for path in site.asked)


def test_a_host_without_logs_says_how_to_have_some(browser: Any, site: Any) -> None:
    open_view(browser, site, f"#/host/{canned.DB}/logs")
    assert "No logs yet" in text_of(browser)


def test_a_template_shows_its_history_an_example_and_its_slots(browser: Any, site: Any) -> None:
    open_view(
        browser, site, ROUTES["template"], "document.querySelectorAll('.tracks .line').length === 2"
    )
    path = "document.querySelector('.tracks .line').getAttribute('d')"
    assert browser.evaluate(path).count("M") == 1  # a quiet time is no gap
    example = text_of(browser, ".example")
    assert "\n    indented second one\nthird one" in example
    assert "\\u0007" in example
    slots = text_of(browser, "[aria-label='What stood in its slots']")
    assert "57\xa0numbers" in slots
    assert "Median\t28" in slots
    assert "about 55\xa0different values" in slots
    assert "(empty)" in slots


def test_a_template_nobody_knows_is_said_to_be_unknown(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["template"] + "b")
    assert "Not known here" in text_of(browser)
