"""What the tests of drills share: incidents, a clock, a load that starts nothing, the options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from vedette.api import Incident, Suspect
from vedette.drills.load import Load
from vedette.drills.plan import Drill

S = 1_000_000_000
#: A moment to begin at, so that seconds read well.
BEGAN = 1_800_000_000 * S


def incident(
    id: str,
    opened_s: float,
    *,
    resource: str = "cpu",
    resolved_s: float | None = None,
    suspects: tuple[Suspect, ...] = (),
) -> Incident:
    opened = BEGAN + int(opened_s * S)
    return Incident(
        id=id,
        state="open" if resolved_s is None else "resolved",
        severity="warning",
        resource=resource,
        title=f"{resource} is unusually busy",
        onset_ns=opened - 3 * S,
        opened_ns=opened,
        updated_ns=opened,
        resolved_ns=None if resolved_s is None else BEGAN + int(resolved_s * S),
        series=(f"system.{resource}.something",),
        suspects=suspects,
    )


class FakeLoad(Load):
    """A load that lasts by the test's clock and starts no process."""

    def __init__(self, clock: Clock, seconds: float = 10, name: str = "cpu") -> None:
        super().__init__(Drill(name, seconds, 1, ""))
        self.clock = clock
        self.stopped = False
        self.began_s = -1.0

    def _start(self) -> None:
        pass

    def begin(self) -> None:
        self.began_s = self.clock.now_s

    def stop(self) -> None:
        self.stopped = True

    def running(self) -> bool:
        return self.clock.now_s < self.lasts_s


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def ns(self) -> int:
        return BEGAN + int(self.now_s * S)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class WrongUsageError(Exception):
    """What argparse does with wrong usage."""


def usage_error(text: str) -> NoReturn:
    raise WrongUsageError(text)


def options(state_dir: Path, *names: str, **changes: Any) -> argparse.Namespace:
    given: dict[str, Any] = {
        "names": list(names),
        "list": False,
        "duration": "5s",
        "path": None,
        "log": None,
        "port": 0,
        "no_wait": True,
        "series": False,
        "pairs": False,
        "repeat": 1,
        "seed": 1,
        "gap": "1s..2s",
        "out": None,
        "state_dir": state_dir,
        "json": False,
        "usage_error": usage_error,
    }
    return argparse.Namespace(**{**given, **changes})
