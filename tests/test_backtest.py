"""`vedette backtest`: a file of readings through the daemon's own detection."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.api import counter, gauge
from vedette.backtest import VALUE, Outcome, assess, openings, replay, series_of
from vedette.cli import main
from vedette.commands import loading
from vedette.commands.backtest import chosen, configured, picture, scores_csv
from vedette.csv_series import CsvError, Readings, read
from vedette.judgement import OPEN_P
from vedette.plot import NAME, TOP, draw

S = 1_000_000_000
START_S = 1_795_183_200
#: A level shift in the made data, labelled, and a single strange reading that nobody labelled.
STEP, SPIKE = slice(400, 460), 300

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wrap, whatever terminal the tests run in."""
    monkeypatch.setenv("COLUMNS", "1000")


def made(rows: int = 700, columns: int = 1, seed: int = 1) -> np.ndarray:
    """Return float64 (rows, columns): noise around 10; the first column has a spike and a step."""
    values = np.random.default_rng(seed).normal(10, 1, (rows, columns))
    values[STEP, 0] += 40
    values[SPIKE : SPIKE + 1, 0] += 40
    return values


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a data.csv of values, or of given lines; return its path."""

    def writer(
        values: np.ndarray | None = None,
        *,
        lines: Sequence[str] = (),
        names: Sequence[str] = (),
        stamps: Sequence[object] = (),
        labels: Sequence[int] | None = None,
        name: str = "data.csv",
    ) -> Path:
        path = tmp_path / name
        if values is None:
            path.write_text("".join(f"{line}\n" for line in lines))
            return path
        names = names or [f"s{column}" for column in range(values.shape[1])]
        with open(path, "w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["timestamp", *names, *(["label"] if labels is not None else [])])
            for row, cells in enumerate(values.tolist()):
                stamp = stamps[row] if stamps else START_S + row
                label = [labels[row]] if labels is not None else []
                rows.writerow([stamp, *("" if math.isnan(c) else c for c in cells), *label])
        return path

    return writer


def backtest(path: Path, *options: object) -> int:
    return main(["backtest", str(path), *(str(option) for option in options)])


def scored(path: Path, *options: object) -> list[dict[str, str]]:
    """Return the rows of SCORES.csv."""
    out = path.with_name("scores.csv")
    assert backtest(path, "--out", out, *options) == 0
    return list(csv.DictReader(io.StringIO(out.read_text())))


def step_labels(rows: int = 700) -> list[int]:
    return [int(STEP.start <= row < STEP.stop) for row in range(rows)]


# ---------------------------------------------------------------- what comes out


def test_a_step_is_a_finding_and_an_incident(write: Write, tmp_path: Path) -> None:
    path = write(made(), names=["load"])
    rows = scored(path, "--incidents", tmp_path / "incidents.json")
    assert list(rows[0]) == ["timestamp", "series", "score", "p", "finding"]
    assert [row["timestamp"] for row in rows] == [str(START_S + i) for i in range(700)]
    assert {row["series"] for row in rows} == {"load"}
    found = [place for place, row in enumerate(rows) if row["finding"] == "1"]
    assert STEP.start < found[0] <= STEP.start + 10
    assert all(STEP.start <= place < STEP.stop + 30 for place in found)
    first = rows[STEP.start + 1]
    ratio = math.log10(float(first["p"])) / math.log10(OPEN_P)
    assert float(first["score"]) == pytest.approx(ratio, rel=1e-5)
    assert float(first["score"]) > 1  # strange, and a finding once it is confirmed
    (incident,) = json.loads((tmp_path / "incidents.json").read_text())["incidents"]
    assert incident["opened_ns"] // S == START_S + found[0] + 3  # gathered for 3 s
    assert incident["title"].startswith("backtest.value (load) was unusually high")


def test_there_is_no_opinion_while_a_series_is_new(write: Write) -> None:
    rows = scored(write(made()))
    assert (rows[0]["score"], rows[0]["p"], rows[0]["finding"]) == ("", "", "0")
    assert rows[-1]["p"]


def test_a_row_of_several_series_is_a_line_for_each_in_input_order(write: Write) -> None:
    names = ["b", 'system.disk.io{device="x",n=1}', "a, with comma"]
    rows = scored(write(made(70, 3), names=names))
    assert [row["series"] for row in rows] == names * 70
    assert [row["timestamp"] for row in rows[:6]] == [str(START_S)] * 3 + [str(START_S + 1)] * 3


def test_the_same_file_gives_the_same_bytes(write: Write, tmp_path: Path) -> None:
    path = write(made(columns=3), labels=step_labels())
    outputs = []
    for turn in ("one", "two"):
        files = [tmp_path / f"{turn}.{kind}" for kind in ("csv", "json", "svg")]
        options = zip(("--out", "--incidents", "--plot"), files, strict=True)
        assert backtest(path, *(one for pair in options for one in pair)) == 0
        outputs.append([file.read_bytes() for file in files])
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("rows", [1, 61, SPIKE + 1, STEP.start + 7, 699])
def test_what_comes_later_changes_nothing_before(write: Write, tmp_path: Path, rows: int) -> None:
    values = made(columns=2)
    whole, part = tmp_path / "whole.scores", tmp_path / "part.scores"
    assert backtest(write(values), "--out", whole) == 0
    assert backtest(write(values[:rows]), "--out", part) == 0
    assert whole.read_text().startswith(part.read_text())


def test_a_replay_says_what_the_agent_would_have(
    write: Write, simulated_host: type[Any], tmp_path: Path
) -> None:
    values = made(columns=2)
    path = write(values)
    config, registry = configured(None)
    series = [VALUE.series(name) for name in ("s0", "s1")]
    host = simulated_host(tmp_path, chosen(config, registry), start_s=START_S - 1)
    for row in values.tolist():
        host.tick(dict(zip(series, row, strict=True)))
    outcome = replay(read(path), chosen(config, registry))
    assert [
        (one.onset_ns, one.opened_ns, one.resolved_ns, one.series, one.severity)
        for one in outcome.incidents
    ] == [
        (one.onset_ns, one.opened_ns, one.resolved_ns, one.series, one.severity)
        for one in host.incidents
    ]
    assert len(outcome.incidents) == 1
    newest = host.pipeline.detection.decider.p("robust")[:2]
    assert outcome.p[-1].tolist() == newest.tolist()
    asked = {head.name for one in chosen(config, registry) for head in one.all_heads()}
    assert {"onset", "novelty", "robust"} <= asked


def test_nothing_is_kept_beside_what_was_asked_for(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(made())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert backtest(path) == 0
    assert list(tmp_path.iterdir()) == [path]


def test_the_named_detector_runs_alone_and_its_own_score_is_told(write: Write) -> None:
    path = write(made())
    rows = scored(path, "--detector", "robust")
    place = STEP.start + 1
    assert float(rows[place]["score"]) > 20  # scales, where -log10 p is less
    assert {row["p"] for row in scored(path, "--detector", "level")} == {""}


def test_a_head_that_has_nothing_to_say_does_not_hide_what_another_makes_of_it(
    write: Write,
) -> None:
    path = write(made(400), stamps=[START_S + 600 * row for row in range(400)])
    every = [float(row["score"] or "nan") for row in scored(path)]
    onset = [float(row["score"] or "nan") for row in scored(path, "--detector", "onset")]
    novelty = [float(row["score"] or "nan") for row in scored(path, "--detector", "novelty")]
    calm = [row for row in range(400) if onset[row] < 0 and novelty[row] == 0]
    assert len(calm) > 50
    assert [every[row] for row in calm] == pytest.approx([onset[row] / 26 for row in calm])
    assert every[SPIKE] > 1


def test_an_unknown_detector_is_told_which_there_are(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backtest(write(made(3)), "--detector", "oracle") == 2
    told = capsys.readouterr().err
    assert "there is no detector 'oracle'" in told
    assert (
        "known: ensemble, forecast, lasting, level, log_signal, model_health, novelty, onset"
        in told
    )


def test_the_hosts_own_configuration_is_not_read(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(explicit: Path | None) -> None:
        raise AssertionError("it was")

    monkeypatch.setattr(loading, "config_path", never)
    assert scored(write(made(3)))


def test_a_rule_of_the_given_configuration_has_p_zero(write: Write, tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        '[[detectors.level.rules]]\nmetric = "backtest.value"\nabove = 30.0\nhold = "5s"\n'
    )
    config.chmod(0o640)
    rows = scored(write(made()), "--config", config)
    found = [place for place, row in enumerate(rows) if row["finding"] == "1"]
    assert rows[STEP.start + 10]["p"] == "0"
    assert float(rows[STEP.start + 10]["score"]) >= 1
    assert found[0] <= STEP.start + 5


# ---------------------------------------------------------------- what goes in


def test_times_may_be_dates_and_begin_at_zero(write: Write) -> None:
    values = made()
    dates = [str(np.datetime64(row * 60, "s")).replace("T", " ") for row in range(700)]
    dates[1] += "+00:00"
    zoned = "1970-01-01T02:02:00+02:00"
    by_date = scored(write(values, stamps=[*dates[:2], zoned, *dates[3:]]))
    by_number = scored(write(values, stamps=[row * 60.0 for row in range(700)]))
    assert [row["timestamp"] for row in by_date[:3]] == [dates[0], dates[1], zoned]
    keys = ("score", "p", "finding")
    assert [[row[k] for k in keys] for row in by_date] == [
        [row[k] for k in keys] for row in by_number
    ]
    assert any(row["finding"] == "1" for row in by_date)


def test_what_was_not_read_has_no_opinion(write: Write) -> None:
    values = made(columns=2)
    values[200:210, 0] = np.nan
    rows = scored(write(values))
    gap = [row for row in rows if row["series"] == "s0"][200:210]
    assert {(row["score"], row["p"]) for row in gap} == {("", "")}
    assert all(row["p"] for row in [row for row in rows if row["series"] == "s1"][200:210])


def test_rows_that_go_back_in_time_are_passed_over_and_counted(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    values = made()
    stamps = [START_S + row for row in range(700)]
    clean = scored(write(values, stamps=stamps))
    repeated = np.insert(values, 101, 1e9, axis=0)
    path = write(repeated, stamps=[*stamps[:101], stamps[50], *stamps[101:]])
    rows = scored(path)
    assert (rows[101]["score"], rows[101]["p"], rows[101]["finding"]) == ("", "", "0")
    assert [*rows[:101], *rows[102:]] == clean
    assert backtest(path) == 0
    assert "1 row skipped, not after the one before (the first in line 103)" in (
        capsys.readouterr().out
    )


def test_infinite_values_are_not_read_and_counted(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(lines=["timestamp,a,b", "1,inf,2", "2,-Infinity,3", "3,1,nan"])
    assert np.isnan(read(path).values).tolist() == [[True, False], [True, False], [False, True]]
    assert backtest(path) == 0
    assert "2 infinite values taken for not read" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], ":1: the header begins with nothing, not 'timestamp'"),
        (["time,a"], ":1: the header begins with 'time', not 'timestamp'"),
        (["timestamp"], ":1: the header names no value column"),
        (["timestamp,label"], ":1: the header names no value column"),
        (["timestamp,a,"], ":1: column 3 has no name"),
        (["timestamp,a,b,a"], ":1: there are two columns 'a'"),
        (["timestamp,label,a"], ":1: 'label' is column 2, it must be the last"),
        (["timestamp,a"], "data.csv: has no rows"),
        (["timestamp,a", "1,2", "2"], ":3: has 1 field, the header has 2"),
        (["timestamp,a", "1,2", "", "2,3,4"], ":4: has 3 fields, the header has 2"),
        (["timestamp,a", "1,2", "2,x"], ":3: a is 'x', which is no number"),
        (["timestamp,a,b", "1,2,", "2,,-"], ":3: b is '-', which is no number"),
        (["timestamp,a", "noon,2"], ":2: timestamp is 'noon', neither Unix seconds nor an ISO"),
        (["timestamp,a", "2014-13-01,2"], ":2: timestamp is '2014-13-01', neither"),
        (["timestamp,a", ",2"], ":2: timestamp is '', neither"),
        (["timestamp,a", "nan,2"], ":2: timestamp is 'nan', neither"),
        (["timestamp,a", "-5,2"], ":2: timestamp is '-5', before 1970"),
        (["timestamp,a", "1530626400000,2"], ":2: timestamp is '1530626400000', too large"),
        (["timestamp,a,label", "1,2,yes"], ":2: label is 'yes', not 0 or 1"),
        (["timestamp,a", "4,1", "3,1", "2,1", "1,1"], ":3: 3 of 4 rows are not after the one"),
        (["timestamp,a", '1,"2'], ":2: unexpected end of data"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(
    write: Write, capsys: pytest.CaptureFixture[str], lines: list[str], told: str
) -> None:
    assert backtest(write(lines=lines)) == 2
    assert told in capsys.readouterr().err


def test_what_is_no_text_or_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.csv").write_bytes(b"timestamp,a\n1,\xff\xfe\n")
    assert backtest(tmp_path / "data.csv") == 2
    assert "data.csv: is no UTF-8 text" in capsys.readouterr().err
    assert backtest(tmp_path / "none.csv") == 2
    assert "none.csv: No such file" in capsys.readouterr().err
    assert backtest(tmp_path / "data.csv", "--out", tmp_path / "no" / "scores.csv") == 2
    assert "there is no directory" in capsys.readouterr().err


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9 * 10**9 - 1),
            st.one_of(st.just(math.nan), st.floats(allow_nan=False, allow_infinity=False)),
        ),
        min_size=1,
        max_size=20,
        unique_by=lambda row: row[0],
    )
)
def test_every_number_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, float]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    path.write_text("timestamp,a\n" + "".join(f"{t},{v!r}\n" for t, v in sorted(rows)))
    readings = read(path)
    assert readings.time.tolist() == [time * S for time, _ in sorted(rows)]
    np.testing.assert_array_equal(readings.values[:, 0], [value for _, value in sorted(rows)])
    assert readings.taken.all()


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    path.write_bytes(b"timestamp,a\n" + raw)
    told = ""
    try:
        readings = read(path)
    except CsvError as error:
        told = str(error)
    assert path.name in told or len(readings.stamps) == len(readings.values) == len(readings.time)


# ---------------------------------------------------------------- what columns are


def test_a_recorded_series_keeps_what_its_instrument_means() -> None:
    known = [
        gauge("a.level", "1", "A.", ("of", "by"), resource="cpu", alarm="high", limit=1.0),
        counter("a.time", "s", "A.", alarm="never"),
        counter("a.io", "By", "A.", ("device",)),
    ]
    columns = ["a.level{of=x,y,by=z}", "a.time", "a.io{device=vda}", "a.io{disk=vda}", "plain"]
    level, time, io_, other, plain = series_of(columns, known)
    assert level.values == ("x,y", "z")
    assert (level.instrument.resource, level.instrument.alarm) == ("cpu", "high")
    assert level.instrument.limit == 1.0
    assert (time.instrument.kind, time.instrument.unit, time.instrument.alarm) == (
        "gauge",
        "1",
        "never",
    )
    assert (io_.instrument.kind, io_.instrument.unit) == ("gauge", "By/s")
    assert [one.key for one in (level, time, io_)] == columns[:3]
    assert {other.instrument, plain.instrument} == {VALUE}
    assert plain.instrument.alarm == "both"


def test_a_recorded_detail_is_not_judged(write: Write) -> None:
    _, registry = configured(None)
    declared = [one for kind in registry.collectors.values() for one in kind.instruments()]
    detail = next(one for one in declared if one.alarm == "never" and not one.attributes)
    rows = scored(write(made(columns=2), names=[detail.name, "plain"]))
    assert {row["p"] for row in rows if row["series"] == detail.name} == {""}
    assert any(row["p"] for row in rows if row["series"] == "plain")


# ---------------------------------------------------------------- agreement with labels


def outcome_of(finding: np.ndarray) -> Outcome:
    none = np.full(finding.shape, np.nan, dtype=np.float32)
    return Outcome(none, none, finding, ())


def readings_of(labels: Sequence[int], columns: int = 1, step_s: int = 3600) -> Readings:
    rows = len(labels)
    return Readings(
        columns=tuple(f"s{column}" for column in range(columns)),
        stamps=tuple(str(row) for row in range(rows)),
        time=np.arange(rows) * step_s * S,
        values=np.zeros((rows, columns)),
        labels=np.array(labels, dtype=bool),
        taken=np.ones(rows, dtype=bool),
        step_ns=step_s * S,
    )


def test_an_event_is_found_by_what_opens_within_it_or_just_before() -> None:
    labels = np.zeros(96, dtype=int)
    labels[20:24] = labels[50:60] = labels[80:82] = 1
    finding = np.zeros((96, 2), dtype=bool)
    finding[5:7, 0] = True  # false
    finding[15:30, 0] = True  # 5 rows before the first event
    finding[14, 1] = True  # false: 6 rows before it
    finding[52:54, 0] = finding[54:70, 1] = True  # the second event, twice
    finding[60, 0] = True  # false: it is over
    found = assess(readings_of(labels.tolist(), columns=2), outcome_of(finding))
    assert (found.events, found.found) == (3, 2)
    assert (found.findings, found.right) == (6, 3)
    assert found.precision == 0.5
    assert found.recall == pytest.approx(2 / 3)
    assert found.f1 == pytest.approx(4 / 7)
    assert found.delay_rows == (-5 + 2) / 2
    assert found.delay_ns == -1.5 * 3600 * S
    assert found.series_days == 8.0  # 2 series, 4 days
    assert found.false_per_series_day == 3 / 8


def test_an_event_that_rings_from_long_before_is_not_found() -> None:
    labels = [0] * 10 + [1] * 3 + [0] * 10
    finding = np.zeros((23, 1), dtype=bool)
    finding[2:20] = True
    found = assess(readings_of(labels), outcome_of(finding))
    assert (found.found, found.right, found.f1) == (0, 0, 0.0)
    assert math.isnan(found.delay_rows)


def test_without_events_there_is_no_recall_and_without_labels_no_assessment() -> None:
    quiet = assess(readings_of([0] * 5), outcome_of(np.zeros((5, 1), dtype=bool)))
    assert math.isnan(quiet.recall)
    assert math.isnan(quiet.precision)
    assert math.isnan(quiet.f1)
    assert quiet.false_per_series_day == 0.0
    with pytest.raises(ValueError, match="no labels"):
        assess(
            Readings(("a",), (), np.zeros(0, np.int64), np.zeros((0, 1)), None, np.zeros(0), 1),
            outcome_of(np.zeros((0, 1), dtype=bool)),
        )


def test_findings_open_at_their_first_row() -> None:
    finding = np.array([[1, 0], [1, 1], [0, 1], [1, 1]], dtype=bool)
    rows, columns = openings(outcome_of(finding))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 0), (1, 1), (3, 0)]


def test_the_summary_tells_findings_incidents_and_agreement(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backtest(write(made(columns=2), labels=step_labels())) == 0
    told = capsys.readouterr().out
    assert "700 rows of 2 series, one every 1s, from 2026-11-20 14:00:00" in told
    assert "1 finding on 1 series, 1 incident\n" in told
    assert "1 labelled event, 1 found; 0 of the findings false, 0 per series-day" in told
    assert "precision 100 %, recall 100 %, F1 100 %" in told
    assert "after the onset in the median" in told
    assert "2026-11-20 14:06:" in told
    assert "info      backtest.value (s0) was unusually high" in told


def test_with_scores_in_a_file_nothing_is_printed(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backtest(write(made(70)), "--out", tmp_path / "scores.csv") == 0
    assert capsys.readouterr() == ("", "")


def test_a_score_in_the_file_is_the_number_that_was_computed() -> None:
    scores = np.array([[0.1], [1e-30], [123456.79], [np.nan]], dtype=np.float32)
    readings = readings_of([0] * 4)
    outcome = Outcome(scores, scores, np.zeros((4, 1), dtype=bool), ())
    lines = scores_csv(readings, outcome).splitlines()[1:]
    cells = [line.split(",") for line in lines]
    assert [np.float32(cell[2]) for cell in cells[:3]] == scores[:3, 0].tolist()
    assert cells[3] == ["3", "s0", "", "", "0"]


# ---------------------------------------------------------------- the plot


def drawn(path: Path) -> tuple[list[str], list[str], str]:
    """Return the texts and the classes of the shapes of a plot, and its source."""
    plot = path.with_name("plot.svg")
    assert backtest(path, "--plot", plot, "--out", path.with_name("scores.csv")) == 0
    source = plot.read_text()
    elements = list(ElementTree.fromstring(source).iter())
    texts = ["".join(one.itertext()) for one in elements if one.tag.endswith("text")]
    return texts, [one.get("class", "") for one in elements], source


def test_a_plot_shows_line_band_finding_label_and_incident(write: Write) -> None:
    texts, shapes, _ = drawn(write(made(), names=["load"], labels=step_labels()))
    # Each stands in the legend, too.
    assert [shapes.count(kind) for kind in "vfl"] == [2, 2, 2]
    assert shapes.count("b") >= 2
    assert shapes.count("i") == 1
    assert "load" in texts
    assert any("backtest.value (load) was unusually high" in text for text in texts)
    assert "2026-11-20 14:00:00 to 2026-11-20 14:11:39 UTC, 700 rows" in texts


def test_a_plot_of_many_series_shows_the_strangest_and_says_so(write: Write) -> None:
    values = made(columns=30)
    values[:, [0, 29]] = values[:, [29, 0]]
    texts, shapes, _ = drawn(write(values))
    assert any("the 12 strangest series, 18 left out" in text for text in texts)
    assert shapes.count("a") == 12
    assert "s29" in texts


def test_a_plot_of_many_readings_is_small_and_keeps_the_spike() -> None:
    values = np.random.default_rng(1).normal(5, 1, (100_000, 1))
    values[77_777] = 905.0
    readings = msgspec.structs.replace(readings_of([0] * 100_000), values=values)
    source = draw(picture("many", readings, outcome_of(np.zeros((100_000, 1), dtype=bool))))
    assert ">905<" in source
    assert len(source) < 60_000
    panel = TOP + NAME
    assert re.search(rf"L[0-9.]+ {panel + 3}\.0L", source)  # it reaches the panel's upper edge


def test_a_plot_survives_names_that_are_markup_and_constant_or_empty_series(write: Write) -> None:
    values = np.full((70, 3), 4.0)
    values[:, 1] = np.nan
    texts, shapes, _ = drawn(write(values, names=["<b>&", "a\x1b[2J", "c"]))
    assert {"<b>&", "a?[2J", "c"} <= set(texts)
    assert shapes.count("a") == 3


def test_a_file_of_one_row_is_a_plot_and_a_summary(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(np.array([[3.0]]), labels=[1])
    _, shapes, _ = drawn(path)
    assert shapes.count("a") == 1
    assert backtest(path) == 0
    assert "1 row of 1 series, one every 1s" in capsys.readouterr().out
