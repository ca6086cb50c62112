"""Open the views of the page and read them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import canned
import made_up_logs
import made_up_models

NOW_MS = 1_790_000_000_000
APP, HOSTILE = (quote(name, safe="") for name in (made_up_logs.APP, made_up_logs.HOSTILE_SOURCE))
ROUTES = {
    "fleet": "#/",
    "host": f"#/host/{canned.WEB}",
    "hostile host": f"#/host/{canned.HOSTILE}",
    "incidents": "#/incidents",
    "incident": f"#/incident/{canned.DB}/01JD8R3P6Q",
    "logs": f"#/host/{canned.WEB}/logs",
    "template": f"#/host/{canned.WEB}/logs/{APP}/0b",
    "models": "#/models",
    "model": "#/model/llama-3.1-8b",
    "hostile model": f"#/model/{quote(made_up_models.HOSTILE_MODEL, safe='')}",
    "nameless model": "#/model/?server=litserve",
    "hostile template": f"#/host/{canned.WEB}/logs/{HOSTILE}/0c",
}
LOADED = "!document.getElementById('main')?.hasAttribute('aria-busy')"
CHARTS = "document.querySelectorAll('.card .line').length > 4"
REFRESH = "dispatchEvent(new CustomEvent('vedette:refresh'))"


def open_view(browser: Any, site: Any, route: str = "#/", until: str = LOADED) -> None:
    browser.open(site.url + route)
    browser.until(f"document.getElementById('top')?.childElementCount > 0 && ({until})")


def text_of(browser: Any, selector: str = "main") -> str:
    return str(browser.evaluate(f"document.querySelector({selector!r}).innerText"))


def wait_for(browser: Any, site: Any, part: str) -> str:
    for _ in range(100):
        found = [path for path in site.asked if part in path]
        if found:
            return str(found[-1])
        browser.evaluate("new Promise((resolve) => setTimeout(resolve, 50))")
    raise AssertionError(f"never asked for {part}: {site.asked}")
