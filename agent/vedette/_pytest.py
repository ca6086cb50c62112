"""Offer the test kit as pytest fixtures; loaded by pytest itself wherever Vedette is installed.

Everything of the product is imported inside the fixtures, so that a project that only happens to
have Vedette installed pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vedette.api import Host


@pytest.fixture
def check_collector() -> Callable[..., Any]:
    """Return ``vedette.testing.check_collector``."""
    from vedette import testing

    return testing.check_collector


@pytest.fixture
def check_detector() -> Callable[..., Any]:
    """Return ``vedette.testing.check_detector``."""
    from vedette import testing

    return testing.check_detector


@pytest.fixture
def make_window() -> Callable[..., Any]:
    """Return ``vedette.testing.window``."""
    from vedette import testing

    return testing.window


@pytest.fixture
def fake_proc(tmp_path: Path) -> Callable[[Mapping[str, str | bytes]], Host]:
    """Return a function that writes files under ``tmp_path`` and returns the Host they make."""
    from vedette import testing

    return lambda files: testing.fake_proc(tmp_path, files)
