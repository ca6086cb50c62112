"""Train a version here and now on a CSV, and hand it to the running agent to be tried."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vedette import assembly
from vedette.api import Detector, Series
from vedette.backtest import series_of
from vedette.commands.loading import instruments_of, required
from vedette.commands.locate import ask_running
from vedette.config.units import format_duration
from vedette.csv_series import CsvError, Readings, read
from vedette.models import Data, Overview, Version
from vedette.models.catalogue import DIRECTORY, INCOMING, STATE
from vedette.models.readings import PERIOD_NS
from vedette.models.shadow import Shadow
from vedette.models.training import from_rows, train
from vedette.terminal import CommandError

__all__ = ["train_on_file"]

#: A detector that looks at each tick is not trained on ticks of another length than this factor.
FACTOR = 1.5


def train_on_file(
    state_dir: Path, name: str, changed: Mapping[str, Any], path: Path, view: Overview
) -> str:
    """Train a detector on a file; return the id of the version that the agent tries."""
    if name not in view.options:
        known = ", ".join(view.options)
        raise CommandError(f"no detector {name!r} runs", f"There are: {known}.")
    loaded, _ = required(None)
    options = {**view.options[name], **changed}
    try:
        detector, digest = assembly.maker(loaded.registry)(name, options)
        readings = read(path)
    except CsvError as error:
        raise CommandError(str(error)) from None
    except ValueError as error:
        raise CommandError(f"{name} cannot be made with these options: {error}") from None
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None
    if not detector.state:
        raise CommandError(f"{name} learns nothing: there is nothing to train")
    series = series_of(readings.columns, instruments_of(loaded.registry))
    shadow, data = _trained(detector, digest, readings, series, view)
    place = state_dir / DIRECTORY / f"{INCOMING}{os.getpid()}{STATE}"
    try:
        shadow.write(place, series, data.last_ns)
        _give_away(place)
        _, answer = ask_running(
            state_dir,
            "model",
            action="take-in",
            detector=name,
            options=options,
            file=place.name,
            data=data,
        )
        return str(answer["id"])
    except OSError as error:
        raise CommandError(f"cannot write {place}: {error.strerror}") from None
    finally:
        place.unlink(missing_ok=True)


def _trained(
    detector: Detector,
    digest: str,
    readings: Readings,
    series: tuple[Series, ...],
    view: Overview,
) -> tuple[Shadow, Data]:
    step_ns, slow = readings.step_ns, bool(detector.cadence_s)
    period_ns = PERIOD_NS if slow and step_ns < PERIOD_NS else 0
    apart = max(step_ns, view.interval_ns) / max(min(step_ns, view.interval_ns), 1)
    if not slow and apart > FACTOR:
        raise CommandError(
            f"the rows are {format_duration(step_ns / 1e9)} apart, the agent reads each "
            f"{format_duration(view.interval_ns / 1e9)}: {detector.name} would learn another scale",
            "Record a file with `vedette record --every`.",
        )
    # The agent gives it its id; only the digest of the options goes with what it learned.
    version = Version("", detector.name, "candidate", digest, "", "", 0, "", 0)
    shadow = Shadow(version, detector, len(series))
    taken = readings.taken
    columns = from_rows(readings.time[taken], readings.values[taken], step_ns, period_ns)
    try:
        return shadow, train(shadow, series, columns, period_ns or step_ns, "file")
    except ValueError as error:
        raise CommandError(f"the file is too short to train on: {error}") from None


def _give_away(place: Path) -> None:
    """Give a file to whom its directory belongs: the agent may be another user than root."""
    owner = place.parent.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(place, owner.st_uid, owner.st_gid)
