"""Train versions in the background: one thread while there is work, within a share of a core.

Jobs wait in line, one for each detector at most. What a job needs of the pipeline's arrays is
copied into it; what comes of it is handed back through ``submit``, on the pipeline's thread.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.api import Detector, Series
from vedette.models import state, training
from vedette.models.readings import PERIOD_NS, KeptReadings
from vedette.models.rules import Rang
from vedette.models.shadow import Shadow
from vedette.models.state import Saved
from vedette.models.version import Data, Origin, Version

log = logging.getLogger(__name__)

#: Makes a detector from plain options; returns it and their digest. Raises ``ValueError`` for
#: options that it does not take.
Make = Callable[[str, Mapping[str, Any]], tuple[Detector, str]]

#: Share of a core when somebody waits for it.
SHARE_NOW = 0.5
#: Seconds that the end of the agent waits for a job to notice.
STOP_S = 1.0


class Job(msgspec.Struct, frozen=True, eq=False):
    """What is to be trained on what. Without ``time`` on the kept minutes, else on ``values``.

    ``time`` is int64 ``(ticks,)``, ``values`` float32 ``(series, ticks)``, ``step_ns`` apart.
    """

    version: Version
    series: tuple[Series, ...]
    path: Path
    share: float
    step_ns: int = PERIOD_NS
    time: NDArray[np.int64] | None = None
    values: NDArray[np.float32] | None = None


class Result(msgspec.Struct, frozen=True, eq=False):
    """What came of a job: the state, or why there is none."""

    version: Version
    data: Data = Data()
    saved: Saved | None = None
    rang: tuple[Rang, ...] = ()
    cpu_s: float = 0.0
    failed: str = ""


class Workshop:
    """The line of jobs and the thread that does them. ``add`` from one thread."""

    def __init__(
        self,
        make: Make,
        readings: KeptReadings,
        done: Callable[[Result], None],
        *,
        run: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """``done`` is called from the working thread; ``run`` runs it (default: a new thread)."""
        self._make = make
        self._readings = readings
        self._done = done
        self._run = run or self._start
        self._lock = threading.Lock()
        self._jobs: deque[Job] = deque()
        self._busy: Version | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, job: Job) -> bool:
        """Take a job; False when one of its detector is there already."""
        with self._lock:
            waiting = [one.version.detector for one in self._jobs]
            if self._busy is not None:
                waiting.append(self._busy.detector)
            if job.version.detector in waiting or self._stopping.is_set():
                return False
            self._jobs.append(job)
            idle = self._busy is None
            self._busy = self._busy or job.version
        if idle:
            self._run(self._work)
        return True

    @property
    def working(self) -> tuple[str, ...]:
        """The ids that are trained now or wait for it."""
        with self._lock:
            busy = [self._busy.id] if self._busy is not None else []
            return tuple(dict.fromkeys([*busy, *(one.version.id for one in self._jobs)]))

    def stop(self) -> None:
        """Give up what is being done."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def _start(self, work: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=work, name="training", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs or self._stopping.is_set():
                    self._busy = None
                    return
                job = self._jobs.popleft()
                self._busy = job.version
            result = self._result(job)
            if result is not None:
                self._done(result)

    def _result(self, job: Job) -> Result | None:
        pace = training.Pace(job.share, self._stopping)
        try:
            return self._trained(job, pace)
        except training.Cancelled:  # the version stays a candidate; the next start clears it away
            return None
        except (ValueError, OSError) as error:
            return Result(job.version, cpu_s=pace.used_s, failed=str(error))
        except Exception as error:
            log.exception("training failed version=%s", job.version.id)
            return Result(job.version, cpu_s=pace.used_s, failed=f"internal error: {error!r}")

    def _trained(self, job: Job, pace: training.Pace) -> Result:
        detector, digest = self._make(job.version.detector, job.version.options)
        shadow = Shadow(job.version, detector, len(job.series))
        data = training.train(
            shadow, job.series, self._columns(job), job.step_ns, _origin(job), pace
        )
        shadow.write(job.path, job.series, data.last_ns)
        saved = state.load(
            job.path, [detector], {detector.name: digest}, {detector.name: job.version.id}
        )
        if saved is None:
            raise ValueError("what was learned cannot be read again")
        return Result(job.version, data, saved, tuple(shadow.rung(data.last_ns)), pace.used_s)

    def _columns(self, job: Job) -> training.Columns:
        if job.time is None or job.values is None:
            return training.from_kept(self._readings.chunks(), job.series)
        return _columns(job.time.tolist(), job.values)


def _origin(job: Job) -> Origin:
    return "kept readings" if job.time is None else "last minutes"


def _columns(time: Sequence[int], values: NDArray[np.float32]) -> training.Columns:
    for place, tick_ns in enumerate(time):
        yield tick_ns, values[:, place].astype(np.float64)
