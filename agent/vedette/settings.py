"""What a configuration says of time, as the parts of the pipeline take it: all in ns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec


class Settings(msgspec.Struct, frozen=True):
    """The times the pipeline works by, in ns, and what is constant of its reports.

    Without ``state_dir`` nothing is taken up and nothing is kept.
    """

    interval_ns: int
    window_ns: int
    settle_ns: int
    resource: Mapping[str, str]
    state_dir: Path | None
    #: Digest of the configuration each detector runs under.
    digests: Mapping[str, str] = {}
    #: False incidents a week that are allowed.
    false_alarms: float = 1.0
