"""Let the page's tests import the modules beside them, and share a browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import browser as chromium
import canned
from viewing import NOW_MS


@pytest.fixture(scope="module")
def shared() -> Iterator[Any]:
    with chromium.Browser(chromium.executable() or "") as browser:
        yield browser


@pytest.fixture
def browser(shared: Any) -> Any:
    # The last test's page misses its server and says so: it goes before anything is listened to.
    shared.open("about:blank")
    shared.until("location.href === 'about:blank' && document.readyState === 'complete'")
    shared.size(1440, 1000)
    shared.prefer(prefers_color_scheme="light", prefers_reduced_motion="reduce")
    shared.said.clear()
    shared.requested.clear()
    return shared


@pytest.fixture
def site() -> Iterator[Any]:
    with canned.Server(now_ms=NOW_MS) as server:
        yield server
