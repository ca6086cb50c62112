"""The fleet page in a real browser against a made-up fleet; skipped without Chromium."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import browser as chromium
import canned
import pytest
from viewing import CHARTS, REFRESH, ROUTES, open_view, text_of, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.executable() is None, reason="no Chromium on PATH"),
]


def _names(browser: Any) -> list[str]:
    found: list[str] = browser.evaluate(
        "[...document.querySelectorAll('.row-name')].map((a) => a.textContent)"
    )
    return found


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_fits_a_small_phone_and_breaks_no_policy(
    browser: Any, site: Any, route: str, theme: str
) -> None:
    browser.size(360, 740)
    browser.prefer(prefers_color_scheme=theme)
    open_view(browser, site, route)
    assert browser.evaluate("document.documentElement.dataset.theme") == theme
    assert browser.evaluate("document.documentElement.scrollWidth") == 360
    assert browser.said == []


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_hostile_names_staytext_of(browser: Any, site: Any, route: str) -> None:
    open_view(browser, site, route)
    assert browser.evaluate("typeof window.hacked") == "undefined"
    assert (
        browser.evaluate("document.querySelectorAll('main script, main img, main b > i').length")
        == 0
    )
    assert site.url + "api/v1/" in "".join(browser.requested)
    outside = [
        url for url in browser.requested if not url.startswith(("http://127.0.0.1:", "about:"))
    ]
    assert outside == []


def test_hostile_names_are_shown_as_they_are_without_reversing_the_text_around_them(
    browser: Any, site: Any
) -> None:
    open_view(browser, site)
    assert "<script>window.hacked=1</script>" in text_of(browser)
    assert "\u202e" not in text_of(browser)
    assert "\\u202ereversed" in text_of(browser)


def test_the_fleet_says_what_is_wrong_worst_first(browser: Any, site: Any) -> None:
    open_view(browser, site)
    sentences = browser.evaluate(
        "[...document.querySelectorAll('.incident-title')].map((a) => a.textContent)"
    )
    assert sentences[0].startswith("CPU is 98 % busy")
    assert len(sentences) == 3
    assert _names(browser)[0] == "db-primary"
    assert "4\xa0missing" in text_of(browser, ".hosts")
    assert re.search(r"1\s+silent", text_of(browser, ".strip"))


def test_hosts_can_be_found_filtered_and_sorted(browser: Any, site: Any) -> None:
    open_view(browser, site)
    browser.key("/")
    assert browser.evaluate("document.activeElement.id") == "find"
    browser.call("Input.insertText", text="region=eu-west")
    assert _names(browser) == ["web-01.example.net"]
    browser.key("Escape")
    assert len(_names(browser)) == 3
    browser.evaluate(
        "[...document.querySelectorAll('.segment')].find((b) => b.textContent === 'Silent').click()"
    )
    assert len(_names(browser)) == 1
    browser.evaluate(
        "[...document.querySelectorAll('.segment')].find((b) => b.textContent === 'All').click()"
    )
    browser.evaluate("document.querySelector('.head-name button').click()")
    assert [name[:3] for name in _names(browser)] == ["db-", "gpu", "web"]
    assert (
        browser.evaluate("document.querySelector('.head-name').getAttribute('aria-sort')")
        == "ascending"
    )


def test_an_empty_fleet_teaches_how_to_start(browser: Any, site: Any) -> None:
    site.empty = True
    open_view(browser, site)
    assert "No host has reported yet" in text_of(browser)
    assert "\n$ vedette run" in text_of(browser)
    assert "\\u000a" not in text_of(browser)
    assert site.url.rstrip("/") in text_of(browser)


def test_an_outage_keeps_the_last_data_and_says_so(browser: Any, site: Any) -> None:
    open_view(browser, site)
    site.broken = True
    browser.evaluate(REFRESH)
    browser.until("!document.getElementById('outage').hidden")
    assert "cannot be reached" in text_of(browser, "#outage")
    assert "503" in text_of(browser, "#outage")
    assert len(_names(browser)) == 3
    site.broken = False
    browser.evaluate("document.querySelector('#outage button').click()")
    browser.until("document.getElementById('outage').hidden")


def test_an_outage_at_first_sight_is_no_empty_fleet(browser: Any, site: Any) -> None:
    site.broken = True
    open_view(browser, site, until="!document.getElementById('outage').hidden")
    assert "No host has reported yet" not in text_of(browser)


def test_a_stopped_host_is_neither_healthy_nor_silent(browser: Any, site: Any) -> None:
    site.fleet.hosts[canned.WEB].reasons = ["stopped"]
    open_view(browser, site)
    assert "3\nhosts, 1 stopped" in text_of(browser, ".strip")
    assert re.search(r"0\s+healthy", text_of(browser, ".strip"))
    open_view(browser, site, ROUTES["host"])
    assert "The agent was stopped" in text_of(browser)


def test_an_unknown_host_is_said_to_be_unknown(browser: Any, site: Any) -> None:
    open_view(browser, site, "#/host/nobody")
    assert "Not known here" in text_of(browser)


def test_only_charts_in_view_are_fetched_and_then_only_what_is_new(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["host"], CHARTS)
    asked = [path for path in site.asked if "/metrics?" in path]
    assert any("name=vedette.cpu.busy" in path for path in asked)
    assert not any("vedette.agent.memory" in path for path in asked)
    browser.evaluate("document.getElementById('section-agent').scrollIntoView()")
    browser.until("document.querySelector('#section-agent .line') !== null")
    assert any("vedette.agent.memory" in path for path in site.asked)
    browser.evaluate("scrollTo(0, 0)")
    site.asked.clear()
    site.fleet.now += 60_000
    browser.evaluate(REFRESH)
    busy = wait_for(browser, site, "name=vedette.cpu.busy")
    start, end = (int(re.search(rf"{word}=(\d+)", busy)[1]) for word in ("from_ms", "to_ms"))  # type: ignore[index]
    assert end - start < 6 * 60_000


def test_a_refresh_without_a_new_window_asks_for_no_points(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["host"], CHARTS)
    browser.evaluate("new Promise((resolve) => setTimeout(resolve, 300))")
    site.asked.clear()
    browser.evaluate(REFRESH)
    wait_for(browser, site, "/api/v1/incidents")
    browser.evaluate("new Promise((resolve) => setTimeout(resolve, 300))")
    assert [path for path in site.asked if "/metrics?" in path] == []


def test_missing_windows_are_a_gap_in_the_line(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["host"] + "?range=1h", CHARTS)
    path = browser.evaluate("document.querySelector('.card .line').getAttribute('d')")
    assert path.count("M") == 2
    assert (
        browser.evaluate("document.querySelectorAll('.card')[0].querySelectorAll('.void').length")
        == 1
    )


def test_pointing_at_one_chart_reads_all_of_them(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["host"], CHARTS)
    box = browser.evaluate("document.querySelector('.plot').getBoundingClientRect().toJSON()")
    browser.mouse("mouseMoved", box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    browser.until("document.querySelectorAll('.chart.pointed').length > 3")
    assert browser.evaluate("document.querySelectorAll('.flag[visibility=visible]').length") == 1


def test_dragging_over_a_chart_shows_that_time(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["host"], CHARTS)
    box = browser.evaluate("document.querySelector('.plot').getBoundingClientRect().toJSON()")
    y = box["y"] + box["height"] / 2
    browser.mouse("mouseMoved", box["x"] + box["width"] * 0.5, y)
    browser.mouse("mousePressed", box["x"] + box["width"] * 0.5, y, buttons=1)
    browser.mouse("mouseMoved", box["x"] + box["width"] * 0.7, y, buttons=1)
    browser.mouse("mouseReleased", box["x"] + box["width"] * 0.7, y)
    browser.until("location.hash.includes('from=')")
    browser.until("document.querySelector('.segment.fixed') !== null")


def test_a_chart_can_be_read_with_the_keyboard(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["host"], CHARTS)
    browser.evaluate("document.querySelector('.plot').focus()")
    browser.key("ArrowLeft")
    browser.key("ArrowLeft")
    assert re.search(
        r"\d\d:\d\d:\d\d: .+ \d", browser.evaluate("document.getElementById('spoken').textContent")
    )
    assert "between" in browser.evaluate(
        "document.querySelector('.plot').getAttribute('aria-label')"
    )


def test_metrics_nobody_knows_appear_under_everything_else(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["hostile host"])
    browser.evaluate("document.getElementById('section-more').scrollIntoView()")
    browser.until("document.querySelectorAll('#section-more .line').length === 4")
    titles = text_of(browser, "#section-more")
    assert "vllm.time_to_first_token" in titles
    assert "custom.__proto__.rows" in titles


def test_a_large_section_of_detail_is_closed_and_asks_for_nothing(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["host"], CHARTS)
    fold = "document.querySelector('#section-connections details')"
    assert browser.evaluate(f"{fold}.open") is False
    assert "Connections and protocols\n8\xa0charts" in text_of(browser, "#section-connections")
    browser.evaluate("document.getElementById('section-connections').scrollIntoView()")
    browser.until("document.querySelector('#section-services .line') !== null")
    assert not any("name=vedette.tcp" in path for path in site.asked)
    browser.evaluate(f"{fold}.open = true")
    browser.until("document.querySelector('#section-connections .line') !== null")
    assert any("name=vedette.tcp" in path for path in site.asked)
    browser.evaluate(REFRESH)
    assert browser.evaluate(f"{fold}.open") is True


def test_the_filter_finds_charts_in_closed_sections(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["host"], CHARTS)
    browser.key("/")
    browser.call("Input.insertText", text="vedette.ip.forwarded")
    browser.until("document.querySelectorAll('.card:not([hidden]) .line').length === 1")
    assert "IP forwarded" in text_of(browser, "#section-connections")
    browser.key("Escape")
    assert browser.evaluate("document.querySelector('#section-connections details').open") is False


def test_a_link_to_a_metric_opens_the_section_it_is_in(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["host"] + "?metric=vedette.tcp.prunes")
    browser.until("document.querySelector('#section-connections .card.called .line') !== null")


def test_a_chart_of_many_lines_shows_the_largest(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["host"], CHARTS)
    browser.evaluate("document.getElementById('section-services').scrollIntoView()")
    browser.until("document.querySelector('#section-services .line') !== null")
    lines = "document.querySelectorAll('#section-services .line').length"
    assert browser.evaluate(lines) <= 12
    assert "24 largest of 90" in text_of(browser, "#section-services")
    (asked,) = [path for path in site.asked if "name=vedette.service.memory.usage" in path]
    assert asked.count("key=") == 24
    assert "unit-89.service" in text_of(browser, "#section-services")
    browser.evaluate("document.querySelector('#section-services .legend-more').click()")
    assert browser.evaluate(lines) <= 30


def test_the_inventory_is_closed_until_somebody_asks(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["host"])
    browser.until("!document.getElementById('section-inventory').hidden")
    text = text_of(browser, "#section-inventory")
    assert "21\xa0items, changed 3\xa0h ago: disk nvme14n1 appeared" in text
    assert "AMD EPYC" not in text
    browser.evaluate("document.querySelector('#section-inventory summary').click()")
    text = text_of(browser, "#section-inventory")
    for words in (
        "Processors\nAMD EPYC 7543",
        "64\xa0GiB",
        "3.64\xa0TiB",
        "10\xa0Gbit/s",
        "3 more",
    ):
        assert words in text
    assert re.search(r"Rotational\s+no", text)
    assert "\u202e" not in text
    browser.evaluate("document.querySelector('#section-inventory .items button').click()")
    assert "nvme14n1" in text_of(browser, "#section-inventory .items:has(li:nth-child(15))")
    assert browser.evaluate("typeof window.hacked") == "undefined"
    assert browser.evaluate("document.querySelectorAll('main img, main b > b').length") == 0
    assert sum(path.endswith("/inventory") for path in site.asked) == 1


def test_a_host_without_an_inventory_shows_none(browser: Any, site: Any) -> None:
    open_view(browser, site, ROUTES["hostile host"], CHARTS)
    assert browser.evaluate("document.getElementById('section-inventory').hidden") is True
    assert "Inventory" not in text_of(browser, ".anchors")
    assert not any(path.endswith("/inventory") for path in site.asked)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_open_inventory_fits_a_small_phone_and_is_readable(
    browser: Any, site: Any, theme: str
) -> None:
    browser.size(360, 740)
    browser.prefer(prefers_color_scheme=theme)
    open_view(browser, site, ROUTES["host"])
    browser.until("!document.getElementById('section-inventory').hidden")
    browser.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert browser.evaluate("document.documentElement.scrollWidth") == 360
    assert browser.evaluate(CONTRAST) == []
    assert browser.said == []


def test_an_incident_shows_evidence_outside_the_expected_band(browser: Any, site: Any) -> None:
    open_view(
        browser, site, ROUTES["incident"], "document.querySelectorAll('.tracks .line').length === 4"
    )
    assert "CPU is 98 % busy" in text_of(browser, "h1")
    assert "stress-ng" in text_of(browser, ".suspects")
    assert "found 9\xa0s after the onset" in text_of(browser, ".steps")
    assert browser.evaluate("document.querySelectorAll('rect.expected').length") >= 3
    assert browser.evaluate("document.querySelector('path.outside').getAttribute('d').length") > 100
    links = browser.evaluate(
        "[...document.querySelectorAll('.keys a')].map((a) => a.getAttribute('href'))"
    )
    assert all(re.match(rf"#/host/{canned.DB}\?from=\d+&to=\d+&metric=", link) for link in links)


def test_incidents_can_be_filtered(browser: Any, site: Any) -> None:
    open_view(browser, site, "#/incidents?state=resolved&severity=critical")
    assert browser.evaluate("document.querySelectorAll('.incident').length") == 1
    assert "/var is 99 % full" in text_of(browser)


def test_the_chosen_theme_is_kept(browser: Any, site: Any) -> None:
    open_view(browser, site)
    toggle = "document.querySelector('.icon-button').click()"
    browser.evaluate(toggle)
    browser.evaluate(toggle)
    assert browser.evaluate("document.documentElement.dataset.theme") == "dark"
    open_view(browser, site)
    assert browser.evaluate("document.documentElement.dataset.theme") == "dark"


def test_a_hidden_page_asks_for_nothing(browser: Any, site: Any) -> None:
    open_view(browser, site)
    browser.evaluate("Object.defineProperty(document, 'hidden', {value: true})")
    site.asked.clear()
    browser.evaluate(REFRESH)
    browser.evaluate("new Promise((resolve) => setTimeout(resolve, 200))")
    assert [path for path in site.asked if "/api/" in path] == []


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_everything_that_can_be_used_has_a_name(browser: Any, site: Any, route: str) -> None:
    open_view(browser, site, route)
    usable = {
        "button",
        "link",
        "searchbox",
        "combobox",
        "heading",
        "navigation",
        "region",
        "img",
        "group",
    }
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"]
        and node["role"]["value"] in usable
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []


CONTRAST = (Path(__file__).with_name("contrast.js")).read_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_text_is_readable_on_its_ground(browser: Any, site: Any, route: str, theme: str) -> None:
    browser.prefer(prefers_color_scheme=theme)
    open_view(browser, site, route)
    assert browser.evaluate(CONTRAST) == []


FORMATS = [
    ("f.quantity(0.342, f.measure('1', 'gauge'))", "34.2\xa0%"),
    ("f.quantity(20.8, f.measure('1', 'gauge', 'system.cpu.load_average.1m'))", "20.8"),
    ("f.quantity(3 * 2 ** 30, f.measure('By', 'updown'))", "3\xa0GiB"),
    ("f.quantity(1536, f.measure('By/s', 'counter'))", "1.5\xa0KiB/s"),
    ("f.quantity(1, f.measure('1', 'gauge', 'vedette.network.link.up'))", "1"),
    ("f.quantity(0.25, f.measure('s', 'counter'))", "25\xa0%"),
    ("f.quantity(0.0042, f.measure('s', 'gauge'))", "4.2\xa0ms"),
    ("f.quantity(41, f.measure('ms', 'gauge'))", "41\xa0ms"),
    ("f.quantity(12500, f.measure('{packet}', 'counter'))", "12.5\xa0k/s"),
    ("f.measure('{query}', 'counter').word", "queries/s"),
    ("f.quantity(64.25, f.measure('Cel', 'gauge'))", "64.3\xa0°C"),
    ("f.quantity(null, f.measure('By', 'gauge'))", "–"),
    ("f.quantity(Infinity, f.measure('By', 'gauge'))", "–"),
    ("f.duration(7_500_000)", "2\xa0h 5\xa0min"),
    ("f.duration(42_000)", "42\xa0s"),
    ("f.ago(1000, 5200)", "4\xa0s ago"),
    ("f.ago(0, 5200)", "never"),
    (
        "f.valueTicks(0, 1e8, 3, f.measure('By', 'gauge')).ticks.map((v) => v / 2 ** 20)",
        [0, 32, 64, 96],
    ),
]


@pytest.mark.parametrize(("call", "expected"), FORMATS)
def test_numbers_read_well(browser: Any, site: Any, call: str, expected: object) -> None:
    assert _module(browser, site, "format", call.replace("f.", "m.")) == expected


SEGMENTS = [
    pytest.param([0, 60, 120, 420, 480], [3, 2], id="an outage of five minutes is a gap"),
    pytest.param([10, 20, 30, 60, 120], [5], id="windows that grow after a start are none"),
    pytest.param([2, 10, 20, 60, 120], [5], id="a very short first window is none"),
    pytest.param([0, 300, 600, 900], [4], id="windows of five minutes are none"),
]


@pytest.mark.parametrize(("seconds", "expected"), SEGMENTS)
def test_a_gap_is_where_windows_are_missing(
    browser: Any, site: Any, seconds: list[int], expected: list[int]
) -> None:
    rows = [[second * 1000, 1, 1, 1, 1] for second in seconds]
    found = _module(browser, site, "points", f"m.segments(m.fromRows({rows})).map((x) => x.length)")
    assert found == expected


POINTS = [
    ("m.segments(m.fromRows([[1, 1], [2, null], [3, 1]])).length", 2),
    (
        "m.merge(m.fromRows([[1, 1], [2, 2]]), m.fromRows([[2, 5], [3, 3]]), 0).map((x) => x.v)",
        [1, 5, 3],
    ),
    ("m.at(m.fromRows([[60000, 1], [120000, 2], [600000, 3]]), 300000)", None),
    ("m.at(m.fromRows([[60000, 1], [120000, 2]]), 90000).v", 2),
    (
        "m.decimate(m.fromRows([[1, 2, 0, 9, 3], [2, 4, 1, 5, 5], [3, 6, 2, 7, 7], [40]]), 20)[0]",
        {"t": 3, "v": 4, "lo": 0, "hi": 9, "mean": 5},
    ),
    ("m.stack([[{t: 1, v: 1, mean: 2}], [{t: 1, v: 1, mean: 3}]])[1][0].top", 5),
]


@pytest.mark.parametrize(("call", "expected"), POINTS)
def test_points_are_merged_thinned_and_stacked(
    browser: Any, site: Any, call: str, expected: object
) -> None:
    assert _module(browser, site, "points", call) == expected


def _module(browser: Any, site: Any, name: str, call: str) -> Any:
    if browser.evaluate("location.origin") != site.url.rstrip("/"):
        open_view(browser, site)
    return browser.evaluate(f"import('/static/{name}.js').then((m) => {call})")
