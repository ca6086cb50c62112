"""`vedette record`: what this host's collectors read, as a file that `vedette backtest` replays."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
import time
from array import array
from pathlib import Path

import numpy as np
import pytest

from vedette.api import Frame, counter, gauge
from vedette.backtest import columns_of, series_of
from vedette.cli import main
from vedette.commands import record as module
from vedette.commands.record import _Rows
from vedette.config import Config
from vedette.csv_series import read
from vedette.terminal import CommandError

S = 1_000_000_000
LEVEL = gauge("test.level", "1", "A level.", ("of", "by"))
TOTAL = counter("test.total", "By", "A total.")

#: Collectors in a file: one of three series, one with a series more at each reading.
TIDE = """
from vedette.api import Collector, gauge, hookimpl

class Tide(Collector):
    name = "tide"
    interval_s = 0.1
    may_block = False
    level = gauge("tide.level", "m", "Water.", ("place",))
    def collect(self):
        return [self.level(place + 0.5, str(place)) for place in range(3)]

class Flood(Tide):
    name = "flood"
    places = 0
    def collect(self):
        self.places += 1
        return [self.level(1.0, str(place)) for place in range(self.places)]

@hookimpl
def register_collectors():
    return [Tide, Flood]
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Return an agent.toml with the collector of the file and a tick of 100 ms."""
    plugins = tmp_path / "plugins.d"
    plugins.mkdir(mode=0o755)
    (plugins / "tide.py").write_text(TIDE)
    (plugins / "tide.py").chmod(0o644)
    path = tmp_path / "agent.toml"
    path.write_text(f'[agent]\ninterval = "100ms"\nplugins_dir = "{plugins}"\n')
    path.chmod(0o640)
    return path


def recorded(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text())))


def frame(tick: int, readings: dict[object, float], collector: str = "test") -> Frame:
    at = tick * S
    return Frame(collector, at, at, tuple(readings), array("d", readings.values()))  # type: ignore[arg-type]


# ---------------------------------------------------------------- the rows


def test_a_row_is_a_tick_and_a_counter_its_rate() -> None:
    file = io.StringIO()
    rows = _Rows(file, None, Config())
    level, total = LEVEL.series("a", "b"), TOTAL.series()
    rows.table.put(frame(100, {level: 0.25, total: 5000.0}))
    rows.close(100 * S)
    rows.settle()
    rows.table.put(frame(101, {total: 5010.0}, "other"))
    rows.close(101 * S + S // 2)
    rows.table.put(frame(102, {level: float("nan"), total: 5070.0}))
    rows.close(102 * S)
    assert file.getvalue().splitlines() == [
        'timestamp,"test.level{of=a,by=b}",test.total',
        "100,0.25,",
        "101.5,,10",
        "102,,60",
    ]
    assert rows.count == 3


def test_series_that_come_late_are_counted_and_rows_stay_as_wide() -> None:
    file = io.StringIO()
    rows = _Rows(file, None, Config())
    rows.table.put(frame(1, {LEVEL.series("a", ""): 1.0}))
    rows.close(1 * S)
    rows.settle()
    many = {LEVEL.series("b", str(place)): 2.0 for place in range(300)}  # the table grows
    rows.table.put(frame(2, {**many, LEVEL.series("a", ""): 3.0}))
    rows.close(2 * S)
    assert [line.count(",") for line in file.getvalue().splitlines()] == [2, 1, 1]
    assert file.getvalue().endswith("\n2,3\n")
    assert rows.late == 300


def test_rows_before_the_columns_are_known_are_not_lost() -> None:
    file = io.StringIO()
    rows = _Rows(file, None, Config())
    for tick in range(1, 4):
        many = {LEVEL.series(str(place), ""): float(tick) for place in range(200 * tick)}
        rows.table.put(frame(tick, many))
        rows.close(tick * S)
    assert file.getvalue() == ""
    rows.settle()
    lines = file.getvalue().splitlines()
    assert [line.count(",") for line in lines[1:]] == [600] * 3
    assert [sum(cell != "" for cell in line.split(",")) - 1 for line in lines[1:]] == [
        200,
        400,
        600,
    ]


def test_globs_choose_series_by_their_keys() -> None:
    file = io.StringIO()
    rows = _Rows(file, ["test.level{of=a,*", "test.t?tal"], Config())
    series = [LEVEL.series("a", "x"), LEVEL.series("b", "x"), TOTAL.series()]
    rows.table.put(frame(1, dict.fromkeys(series, 1.0)))
    rows.close(1 * S)
    rows.settle()
    assert rows.columns == ("test.level{of=a,by=x}", "test.total")
    assert rows.late == 0


def test_nothing_to_record_is_an_error_that_names_the_globs() -> None:
    with pytest.raises(CommandError, match=r"no series matches nothing\.\*"):
        _Rows(io.StringIO(), ["nothing.*"], Config()).settle()


# ---------------------------------------------------------------- the verb


def test_what_was_recorded_is_replayed(
    host: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "host.csv"
    options = ["--out", str(out), "--config", str(host), "--collector", "tide"]
    assert main(["record", *options, "--for", "1s", "--every", "100ms"]) == 0
    told = capsys.readouterr().out
    rows = recorded(out)
    count = len(rows) - 1
    assert 1 < count <= 10  # fewer when this machine is too busy for 100 ms
    assert f"{count} rows of 3 series" in told
    assert "came later" not in told
    assert rows[0] == ["timestamp", *(f"tide.level{{place={place}}}" for place in range(3))]
    assert rows[-1][1:] == ["0.5", "1.5", "2.5"]
    readings = read(out)
    assert readings.taken.all()
    assert set(np.round(np.diff(readings.time) / (S / 10), 3) % 1) == {0.0}
    assert main(["backtest", str(out), "--out", str(tmp_path / "scores.csv")]) == 0
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 1 + count * 3


def test_series_after_the_first_seconds_are_told(
    host: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "SETTLE_S", 0.3)
    out = tmp_path / "host.csv"
    options = ["--out", str(out), "--config", str(host), "--collector", "flood", "--every", "100ms"]
    assert main(["record", *options, "--for", "1s"]) == 0
    told = capsys.readouterr().out
    columns = len(recorded(out)[0]) - 1
    late = re.search(r"^(\d+) series came later than the first 0\.3 s", told, re.MULTILINE)
    assert late
    assert columns + int(late[1]) > columns >= 1


@pytest.mark.slow
def test_this_host_is_recorded_and_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("")
    out = tmp_path / "host.csv"
    options = ["--out", str(out), "--config", str(config), "--for", "4s"]
    assert main(["record", *options, "--series", "system.*", "vedette.cpu.*"]) == 0
    told = capsys.readouterr().out
    readings = read(out)
    assert 3 <= len(readings.time) <= 4
    assert f"{len(readings.time)} rows of {len(readings.columns)} series" in told
    assert len(readings.columns) > 20
    assert readings.step_ns == S
    assert readings.columns == tuple(sorted(readings.columns))
    assert all(name.startswith(("system.", "vedette.cpu.")) for name in readings.columns)
    busy = readings.values[1:, readings.columns.index("vedette.cpu.busy")]
    assert ((busy >= 0) & (busy <= 1)).any()
    assert main(["backtest", str(out), "--plot", str(tmp_path / "plot.svg")]) == 0
    assert f" rows of {len(readings.columns)} series" in capsys.readouterr().out


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_the_file_is_complete_when_the_recording_is_interrupted(
    host: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    out = tmp_path / "host.csv"
    program = (
        "import sys; from vedette.cli import main; from vedette.commands import record\n"
        "record.SETTLE_S = 0.5\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    options = ["--out", str(out), "--config", str(host), "--collector", "tide", "--every", "100ms"]
    child = subprocess.Popen(
        [sys.executable, "-c", program, "record", *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and (not out.exists() or out.read_text().count("\n") < 4):
            time.sleep(0.05)
        child.send_signal(sent)
        told, _ = child.communicate(timeout=30)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0
    rows = recorded(out)
    assert out.read_text().endswith("\n")
    assert len(rows) >= 4
    assert {len(row) for row in rows} == {4}
    assert f"{len(rows) - 1} rows of 3 series" in told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--for", "soon"], "--for: 'soon' is no duration"),
        (["--every", "1ms"], "--every 1ms is less than 100ms"),
        (["--for", "1s", "--every", "2s"], "--for 1s is less than 2s"),
        (["--collector", "oracle"], "there is no collector 'oracle'"),
    ],
)
def test_what_cannot_be_recorded_is_told(
    host: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    told: str,
) -> None:
    out = tmp_path / "host.csv"
    assert main(["record", "--out", str(out), "--config", str(host), *options]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_a_file_that_cannot_be_written_is_told(
    host: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "no" / "host.csv"
    assert main(["record", "--out", str(out), "--config", str(host)]) == 2
    assert "no/host.csv: No such file" in capsys.readouterr().err


def test_two_instruments_of_one_name_are_told_apart_when_it_is_replayed() -> None:
    calm = gauge("test.kind", "1", "A kind.", ["of"], alarm="never")
    grave = gauge("test.kind", "1", "A kind.", ["of"], alarm="high")
    alone = gauge("test.alone", "1", "Alone.", ["of"], alarm="low")
    known = (calm, grave, alone)
    series = (calm.series("a"), grave.series("b @never"), alone.series("c @high"))
    columns = columns_of(series, known)
    assert columns == [
        "test.kind{of=a} @never",
        "test.kind{of=b @never} @high",
        "test.alone{of=c @high}",
    ]
    found = series_of([*columns, "test.kind{of=d}"], known)
    assert [one.values for one in found] == [("a",), ("b @never",), ("c @high",), ("d",)]
    assert [one.instrument.alarm for one in found] == ["never", "high", "low", "high"]
