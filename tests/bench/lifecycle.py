"""Show the life of a detector's models on recorded data: trained, tried, promoted, taken back.

    python tests/bench/lifecycle.py FILE.csv [--detector NAME] [--tried 0.15]

The file is as ``vedette backtest`` reads it. Its readings go through the daemon's own pipeline, in
the time they are of: a third of them to begin with, then a version is trained on what was kept and
tried for a part of the file; then one that cries wolf is trained, tried and rejected, forced upon
the host all the same, and taken back. At last the history is proved, and the last tenth is scored
again and again from one saved state, as after a crash.
Ends with 1 when one of these did not come out as it should.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette import assembly
from vedette.api import Detector, Frame, Window
from vedette.backtest import series_of
from vedette.config import load
from vedette.correlate import Correlator
from vedette.csv_series import Readings, read
from vedette.detection import Judged
from vedette.models import Base, Lifecycle, Plan
from vedette.models.catalogue import DIRECTORY
from vedette.models.history import entries, verify
from vedette.pipeline import Pipeline
from vedette.registry import discover
from vedette.settings import Settings
from vedette.table import SeriesTable

#: An option that no detector has: this one cries wolf every so many ticks, for so many.
WOLF, EVERY, LONG = "wolf", 97, 12


class Host:
    """A host whose readings are a file's."""

    def __init__(self, readings: Readings, name: str, state_dir: Path, tried: float) -> None:
        registry = discover(plugins_dir=None)
        config, _ = load(None, registry)
        assert config is not None
        self.plain = assembly.models_plan(config, "bench").bases[name]
        self.make_plain = assembly.maker(registry)
        self.readings = readings
        self.name = name
        known = [one for kind in registry.collectors.values() for one in kind.instruments()]
        self.series = series_of(readings.columns, known)
        rows = np.flatnonzero(readings.taken)
        self.ticks = list(zip(rows.tolist(), readings.time[rows].tolist(), strict=True))
        whole_ns = self.ticks[-1][1] - self.ticks[0][1]
        self.plan = Plan(
            bases={name: Base(self.plain.digest, self.plain.options)},
            decide_after_ns=int(tried * whole_ns),
            budget=2.0,
        )
        self.state_dir = state_dir
        self.scores: list[tuple[int, str, bytes]] = []
        self.now_ns = self.ticks[0][1]
        self.start()

    def start(self) -> None:
        """Begin at what the state directory holds, as after a start of the agent."""
        self.later: list[Callable[[], None]] = []
        self.models = Lifecycle(
            self.state_dir, self.plan, self.make, run=lambda work: work(), cpu=time.thread_time
        )
        detector = self.make_plain(self.name, self.plain.options)[0]
        self.pipeline = Pipeline(
            Settings(
                self.readings.step_ns,
                self.readings.step_ns,
                0,
                {},
                self.state_dir,
                {self.name: self.plain.digest},
            ),
            [detector],
            table=SeriesTable(ticks=720, max_series=len(self.series), capacity=len(self.series)),
            correlator=Correlator(),
            spool=None,
            observe=self._observe,
            lifecycle=self.models,
            wall_ns=lambda: self.now_ns,
            monotonic=lambda: self.now_ns / 1e9,
        )
        self.pipeline.restore()

    def make(self, name: str, options: Mapping[str, Any]) -> tuple[Detector, str]:
        """Make the detector, or the one of it that cries wolf."""
        rest = {key: value for key, value in options.items() if key != WOLF}
        detector, digest = self.make_plain(name, rest)
        if WOLF not in options:
            return detector, digest
        return howling(type(detector), self.readings.step_ns)(detector.config), digest + WOLF

    def run(self, first: float, last: float) -> None:
        """Let a part of the file pass."""
        width = 8 * len(self.series)
        raw = self.readings.values.tobytes()
        count = len(self.ticks)
        for row, tick in self.ticks[int(first * count) : int(last * count)]:
            self.now_ns = tick
            values = array("d", raw[row * width : (row + 1) * width])
            self.pipeline.take((Frame("bench", tick, tick, self.series, values),))
            self.drain()

    def drain(self) -> None:
        """Let what a training handed back take place."""
        queue = self.pipeline._queue
        while not queue.empty():
            item = queue.get_nowait()
            if callable(item):
                item()

    def again(self, first: float, last: float) -> list[tuple[int, str, bytes]]:
        """Begin at what was saved last, as after a kill; return the scores of a part of the file.

        Nothing is saved on the way: whoever begins after this one begins at the same.
        """
        self.now_ns = self.ticks[int(first * len(self.ticks)) - 1][1]
        kept = shutil.copytree(self.state_dir, f"{self.state_dir}-begun")
        home, self.state_dir = self.state_dir, Path(kept)
        self.start()
        self.scores = []
        self.run(first, last)
        self.state_dir = home
        shutil.rmtree(kept)
        return self.scores

    def status(self, id_: str) -> str:
        version = next(one for one in self.models.view.versions if one.id == id_)
        return version.status + "".join(f"\n      {reason}" for reason in version.reasons)

    def _observe(self, judged: Judged) -> None:
        tick = int(judged.window.time[-1])
        self.scores.append((tick, judged.head.name, judged.scores.tobytes()))


def howling(kind: type[Detector], step_ns: int) -> type[Detector]:
    """Return a detector that now and then finds everything very strange."""

    def score(
        self: Detector, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        scores = kind.score(self, window, state)
        step = max(step_ns, self.cadence_s * 1_000_000_000)
        if int(window.time[-1]) // step % EVERY < LONG:
            return (scores + np.float32(1e3)).astype(np.float32)
        return scores

    return type(kind.__name__, (kind,), {"score": score})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--detector", default="ensemble")
    parser.add_argument("--tried", type=float, default=0.15, help="part of the file (0.15)")
    options = parser.parse_args()
    readings = read(options.data)
    with tempfile.TemporaryDirectory() as directory:
        return _life(Host(readings, options.detector, Path(directory), options.tried))


def _life(host: Host) -> int:
    good = True
    models, name = host.models, host.name

    def show(what: str, came_out: bool, text: str = "") -> None:
        nonlocal good
        good = good and came_out
        print(f"{'ok  ' if came_out else 'NOT '}{what}{': ' + text if text else ''}")

    began = time.process_time()
    host.run(0, 0.33)
    show("first start", models.champions()[name] == f"{name}-1", models.champions()[name])
    host.readings.values.flags.writeable = False
    models.readings.flush()
    before = time.process_time()
    better = models.train(name)
    spent = time.process_time() - before
    host.drain()
    show("trained", better in models.view.trials, f"{host.status(better)}, {spent:.2f} s of CPU")
    host.run(0.33, 0.55)
    show("better by rule", models.champions()[name] == better, host.status(better))
    champion = models.champions()[name]
    worse = models.train(name, {WOLF: True})
    host.drain()
    host.run(0.55, 0.78)
    show("wolf rejected", "rejected" in host.status(worse), host.status(worse))
    models.promote(worse, force=True)
    host.run(0.78, 0.9)
    show("wolf taken back", models.champions()[name] == champion, host.status(worse))
    host.pipeline.detection.save()
    with tempfile.TemporaryDirectory() as directory:
        shutil.copytree(host.state_dir, directory, dirs_exist_ok=True)
        host.scores.clear()
        host.run(0.9, 1)
        went_on, host.state_dir = list(host.scores), Path(directory)
        begun = [host.again(0.9, until) for until in (0.92, 1.0, 1.0)]
        show("scores after a crash", begun[1] == begun[2], "the same to the last bit, twice")
        same = sum(one == other for one, other in zip(went_on, begun[2], strict=True))
        print(f"      and those of the run that went on in {same} of {len(went_on)}; windows and")
        print("      what is transient begin anew after a start")
    proof = verify(models._ground.catalogue.directory)
    show("history", proof.broken is None, f"{proof.entries} entries, {proof.text or 'whole'}")
    for entry in entries(models._ground.catalogue.directory):
        print(f"      {entry.seq:3} {entry.event:12} {entry.version:14} {entry.why}")
    print(f"{time.process_time() - began:.1f} s of CPU; states in {DIRECTORY}/:")
    for path in sorted(models._ground.catalogue.directory.iterdir()):
        print(f"      {path.name:24} {path.stat().st_size} B")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
