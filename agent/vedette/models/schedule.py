"""Say when detectors are trained by themselves: a cron expression, or nightly at a minute of the
host's own, so that a fleet does not train all at once.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, tzinfo

from vedette.lighter import lighter

with lighter():
    from apscheduler.triggers.cron import CronTrigger

#: Nightly trainings begin between these hours, local time.
FIRST_HOUR, HOURS = 1, 4


def nightly(host: str) -> str:
    """Return the cron expression of a host: always the same minute for the same host."""
    number = int.from_bytes(hashlib.sha256(host.encode()).digest()[:8], "big")
    hour, minute = divmod(number % (HOURS * 60), 60)
    return f"{minute} {FIRST_HOUR + hour} * * *"


def following(cron: str, now_ns: int, zone: tzinfo | None = None) -> int:
    """Return the Unix ns of the first time after ``now_ns``; 0: never.

    ``zone`` None is the host's. Raises ``ValueError`` for what is no cron expression.
    """
    trigger = CronTrigger.from_crontab(cron, timezone=zone)  # type: ignore[no-untyped-call]
    now = datetime.fromtimestamp(now_ns // 1_000_000_000 + 1, UTC)
    fire = trigger.get_next_fire_time(None, now)
    return 0 if fire is None else int(fire.timestamp()) * 1_000_000_000
