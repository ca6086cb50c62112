"""The NAB scorer (tests/bench/nab_scorer.py), by hand, by a slow one, and by NAB's own words.

With the benchmark in the folder that ``NAB_DATA`` names, against published scores as well.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

BENCH = Path(__file__).parent / "bench"

with pytest.MonkeyPatch.context() as patch:
    # The benchmarks import each other by name, as scripts do.
    patch.syspath_prepend(str(BENCH))
    nab = importlib.import_module("nab")
    reference = importlib.import_module("nab_reference")
    scorer = importlib.import_module("nab_scorer")

STANDARD, LOW_FP, LOW_FN = scorer.PROFILES
ROWS = 100
#: The rows 0 to 14 are probation; the window has ten rows.
FIRST, LAST = 40, 49


def corpus(*windows: tuple[int, int], rows: int = ROWS, files: int = 1) -> Any:
    """Return a corpus of equal files named "0", "1", ... with the windows given by their rows."""
    times = np.arange(rows) * 300
    return scorer.Corpus([scorer.LabelledFile(str(n), times, windows) for n in range(files)])


def ringing(*rows: int, of: int = ROWS) -> dict[str, NDArray[np.float64]]:
    """Return scores for the file "0": 1 at the rows given, else 0."""
    scores = np.zeros(of)
    scores[list(rows)] = 1.0
    return {"0": scores}


def at_one(*rows: int, profile: Any = STANDARD) -> float:
    """Return the score of ringing at the rows given, in the corpus of one window."""
    score: float = scorer.score_at(corpus((FIRST, LAST)), ringing(*rows), 1.0, profile)
    return score


# ---------------------------------------------------------------- by hand


def test_a_detector_that_never_rings_scores_0_in_every_profile() -> None:
    silent = {"0": np.full(ROWS, np.nan)}
    for profile in scorer.PROFILES:
        assert at_one(profile=profile) == 0.0
        assert scorer.sweep(corpus((FIRST, LAST)), silent, profile) == (0.0, math.inf)


def test_ringing_once_on_the_first_row_of_every_window_scores_100_in_every_profile() -> None:
    two = corpus((30, 39), (60, 64), files=2)
    scores = {name: ringing(30, 60)["0"] for name in ("0", "1")}
    for profile in scorer.PROFILES:
        assert scorer.sweep(two, scores, profile) == (pytest.approx(100.0), 1.0)
        assert scorer.counts_at(two, scores, 1.0) == (4, 4, 0)


def test_a_window_is_worth_less_the_later_it_is_found() -> None:
    def worth(position: float) -> float:
        return (2 / (1 + math.exp(5 * position)) - 1) / (2 / (1 + math.exp(-5)) - 1)

    # From -1, the window lost, to 1, all there is: half of the distance per unit of worth.
    assert at_one(44) == pytest.approx(50 * (1 + worth(-6 / 10)))
    assert at_one(LAST) == pytest.approx(50 * (1 + worth(-1 / 10)))
    assert at_one(LAST) == pytest.approx(62.412, abs=1e-3)


def test_only_the_earliest_ring_in_a_window_counts() -> None:
    assert at_one(42, 43, LAST) == at_one(42)


def test_a_false_row_costs_its_weight_before_a_window_and_by_its_distance_behind_one() -> None:
    def cost(rows: float, weight: float) -> float:
        return weight * (2 / (1 + math.exp(5 * rows / 9)) - 1)

    assert at_one(30) == pytest.approx(50 * -0.11)
    assert at_one(30, 31) == pytest.approx(2 * at_one(30))
    assert at_one(LAST + 1) == pytest.approx(50 * cost(1, 0.11))
    assert at_one(LAST + 27) == pytest.approx(50 * cost(27, 0.11))
    assert at_one(LAST + 28) == pytest.approx(50 * -0.11)


def test_the_profiles_double_the_price_of_a_false_row_or_of_a_missed_window() -> None:
    assert at_one(30, profile=LOW_FP) == pytest.approx(2 * at_one(30))
    # What a found window is worth is the same, on a scale that is half as long again.
    assert at_one(30, profile=LOW_FN) == pytest.approx(at_one(30) * 2 / 3)
    assert at_one(LAST, profile=LOW_FN) > at_one(LAST)


def test_probation_rows_do_not_count() -> None:
    assert scorer.probation(ROWS) == 15
    assert scorer.probation(22_695) == 750
    assert at_one(*range(15)) == 0.0
    assert at_one(15) < 0.0


def test_a_window_within_the_probation_is_none_and_one_that_ends_after_it_is_one() -> None:
    early = corpus((5, 14), (FIRST, LAST))
    assert scorer.counts_at(early, ringing(7, FIRST), 1.0) == (1, 1, 0)
    assert scorer.score_at(early, ringing(FIRST), 1.0, STANDARD) == pytest.approx(100.0)
    # It still is what false rows are behind of.
    assert scorer.score_at(early, ringing(15), 1.0, STANDARD) > at_one(15)
    late = corpus((5, 24))
    assert scorer.counts_at(late, ringing(7), 1.0) == (0, 1, 0)
    assert 0 < scorer.score_at(late, ringing(15), 1.0, STANDARD) < 100


def test_a_row_without_an_opinion_never_rings() -> None:
    scores = {"0": np.where(ringing(FIRST)["0"] > 0, -3.0, np.nan)}
    assert scorer.sweep(corpus((FIRST, LAST)), scores, STANDARD) == (pytest.approx(100.0), -3.0)


# ---------------------------------------------------------------- properties


@given(st.integers(FIRST, LAST - 1))
def test_ringing_earlier_in_a_window_is_better(row: int) -> None:
    assert at_one(row) > at_one(row + 1)


@st.composite
def scored(draw: st.DrawFn) -> tuple[Any, dict[str, NDArray[np.float64]]]:
    """Draw up to three files of up to 60 rows, their windows, and few distinct scores."""
    files, scores = [], {}
    for number in range(draw(st.integers(1, 3))):
        rows = draw(st.integers(1, 60))
        limits = sorted(draw(st.sets(st.integers(0, rows - 1), max_size=6)))
        pairs = zip(limits[::2], limits[1::2], strict=False)
        name = str(number)
        files.append(scorer.LabelledFile(name, np.arange(rows), tuple(pairs)))
        score = st.sampled_from((math.nan, 0.0, 0.25, 0.5, 0.75, 1.0))
        scores[name] = np.array(draw(st.lists(score, min_size=rows, max_size=rows)))
    return scorer.Corpus(files), scores


def slowly(
    drawn: Any, scores: dict[str, NDArray[np.float64]], threshold: float, profile: Any
) -> float | None:
    """Score by the definition, row for row; None without windows."""

    def sigmoid(position: float) -> float:
        return -1.0 if position > 3 else 2 / (1 + math.exp(5 * position)) - 1

    total, windows = 0.0, 0
    for file in drawn.files:
        probation = min(int(0.15 * len(file.times)), 750)
        rings = [row for row, score in enumerate(scores[file.name]) if score >= threshold]
        rings = [row for row in rings if row >= probation]
        for first, last in file.windows:
            if last < probation:
                continue
            windows += 1
            inside = [row for row in rings if first <= row <= last]
            if inside:
                position = -(last - inside[0] + 1) / (last - first + 1)
                total += profile.found * sigmoid(position) / sigmoid(-1)
            else:
                total -= profile.missed
        for row in rings:
            if any(first <= row <= last for first, last in file.windows):
                continue
            before = [(first, last) for first, last in file.windows if last < row]
            if before:
                first, last = before[-1]
                total += profile.false * sigmoid((row - last) / max(last - first, 1))
            else:
                total -= profile.false
    if not windows:
        return None
    span = windows * (profile.found + profile.missed)
    score: float = 100 * (total + profile.missed * windows) / span
    return score


@given(scored(), st.sampled_from(scorer.PROFILES))
@settings(deadline=None)
def test_a_sweep_finds_what_trying_every_threshold_finds(
    case: tuple[Any, dict[str, NDArray[np.float64]]], profile: Any
) -> None:
    drawn, scores = case
    tried = {
        threshold: slowly(drawn, scores, threshold, profile)
        for threshold in (math.inf, 1.0, 0.75, 0.5, 0.25, 0.0)
    }
    if tried[math.inf] is None:
        with pytest.raises(ValueError, match="no windows"):
            scorer.sweep(drawn, scores, profile)
        return
    for threshold, score in tried.items():
        assert scorer.score_at(drawn, scores, threshold, profile) == pytest.approx(score)
    best = scorer.sweep(drawn, scores, profile)
    assert best.score == pytest.approx(max(one for one in tried.values() if one is not None))
    assert best.score == pytest.approx(tried[best.threshold])


def test_a_split_takes_the_threshold_of_one_half_to_the_other() -> None:
    # In file 0 the window is found at 2, and 1 rings falsely; in file 1 it is found at 1.
    files = corpus((FIRST, LAST), files=2)
    scores = {"0": np.zeros(ROWS), "1": np.zeros(ROWS)}
    scores["0"][[20, 21, FIRST]] = 1.0, 1.0, 2.0
    scores["1"][FIRST] = 1.0
    # Two thresholds, two scores: nothing found in file 1 at 2, two false rows in file 0 at 1.
    told = scorer.split_half(files, scores, STANDARD, splits=100, seed=3)
    high = 100 - 50 * 0.22
    assert (told.lower_quartile, told.upper_quartile) == pytest.approx((0.0, high))
    # The mean is that of a fair coin's throws: a whole number of them fell on one side.
    heads = told.mean / high * 100
    assert heads == pytest.approx(round(heads))
    assert 30 < heads < 70
    assert told == scorer.split_half(files, scores, STANDARD, splits=100, seed=3)


# ---------------------------------------------------------------- input


def made(folder: Path, windows: list[list[str]], rows: int = ROWS, cycle: int = 10) -> Path:
    """Write a benchmark of one file, a sawtooth with a step at row ``FIRST``; return its folder."""
    (folder / "labels").mkdir()
    name = "kind/some.csv"
    (folder / "labels" / "combined_windows.json").write_text(json.dumps({name: windows}))
    (folder / "kind").mkdir()
    values = [row % cycle + (50 if row >= rows // 2 else 0) for row in range(rows)]
    lines = [f"{stamp(row)},{value},0" for row, value in enumerate(values)]
    (folder / name).write_text("\n".join(("timestamp,value,label", *lines, "")))
    return folder


def stamp(row: int) -> str:
    """Return the time of a row; the rows 7 and 8 have the same."""
    minutes = 5 * (row - (row == 8))
    return f"2014-04-01 {minutes // 60:02}:{minutes % 60:02}:00"


def test_a_folder_is_read_and_a_window_begins_with_the_first_row_of_its_time(
    tmp_path: Path,
) -> None:
    limits = [[f"{stamp(7)}.000000", f"{stamp(20)}.000000"]]
    read = scorer.Corpus.read(made(tmp_path, limits))
    (file,) = read.files
    assert (file.name, file.windows) == ("kind/some.csv", ((7, 20),))
    assert file.times[:2].tolist() == [1_396_310_400, 1_396_310_700]
    checkout = tmp_path / "checkout"
    (checkout / "data").mkdir(parents=True)
    (tmp_path / "labels").rename(checkout / "labels")
    (tmp_path / "kind").rename(checkout / "data" / "kind")
    assert scorer.Corpus.read(checkout).files[0].windows == ((7, 20),)


def test_a_window_limit_that_is_no_time_of_the_file_is_named(tmp_path: Path) -> None:
    folder = made(tmp_path, [[stamp(20), "2015-01-01 00:00:00"]])
    with pytest.raises(ValueError, match=r"2015-01-01 00:00:00 is no timestamp of kind/some\.csv"):
        scorer.Corpus.read(folder)


@pytest.mark.parametrize("windows", [((20, 30), (30, 40)), ((40, 50), (20, 30)), ((90, 100),)])
def test_windows_that_overlap_or_leave_the_file_are_refused(
    windows: tuple[tuple[int, int], ...],
) -> None:
    with pytest.raises(ValueError, match=r"0: window of the rows .* is out of order"):
        corpus(*windows)


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ({}, "no scores for 0"),
        ({"0": np.zeros(99)}, r"0 has 100 rows, its scores are \(99,\)"),
        ({"0": np.where(np.arange(ROWS) == 31, -np.inf, 0.0)}, "0: infinite score in row 31"),
    ],
)
def test_scores_that_do_not_fit_are_refused_with_the_files_name(
    scores: dict[str, NDArray[np.float64]], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        scorer.sweep(corpus((FIRST, LAST)), scores, STANDARD)


def test_a_corpus_without_files_or_with_one_file_with_windows_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="needs a file"):
        scorer.Corpus([])
    with pytest.raises(ValueError, match="1 files with windows"):
        scorer.split_half(corpus((FIRST, LAST)), ringing(FIRST), STANDARD)


def test_replayed_scores_are_read_and_bad_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text('timestamp,series,score,p,finding\n0,"a,b",,,0\n300,"a,b",2.5,0.1,1\n')
    read = nab.read_replayed(path, 2)
    assert np.isnan(read.scores[0])
    assert (read.scores[1], read.finding.tolist()) == (2.5, [False, True])
    with pytest.raises(ValueError, match=r"scores\.csv has 2 rows of scores, 3 are wanted"):
        nab.read_replayed(path, 3)
    path.write_text("timestamp,series,score,p,finding\n0,a,much,,0\n")
    with pytest.raises(ValueError, match=r"scores\.csv: could not convert .*'much'"):
        nab.read_replayed(path, 1)


# ---------------------------------------------------------------- the bench


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCH / "nab.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def two_files(folder: Path) -> Path:
    """Write a benchmark of two equal files; return its folder."""
    folder = made(folder, [[stamp(48), stamp(60)]])
    again = folder / "kind" / "other.csv"
    again.write_bytes((folder / "kind" / "some.csv").read_bytes())
    labels = folder / "labels" / "combined_windows.json"
    (windows,) = json.loads(labels.read_text()).values()
    labels.write_text(json.dumps({"kind/other.csv": windows, "kind/some.csv": windows}))
    return folder


def test_the_table_of_given_scores_has_swept_scores_and_findings(tmp_path: Path) -> None:
    data, scores = two_files(tmp_path), tmp_path / "scores"
    (scores / "kind").mkdir(parents=True)
    # Both ring on the window's first row; the finding opens there and false ones do not begin.
    lines = [f"{stamp(row)},value,{float(row == 48)},,{int(48 <= row < 70)}" for row in range(ROWS)]
    for name in ("some.csv", "other.csv"):
        (scores / "kind" / name).write_text("\n".join(("head", *lines, "")))
    done = bench("--data", data, "--scores", scores, "--splits", 5)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if "standard" in line]
    assert rows[0][2:6] == ["standard", "100.00", "1", "100.00"]
    assert rows[1][2:5] == ["findings", "standard", "100.00"]


def test_what_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    done = bench("--data", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "combined_windows.json" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_replay_is_the_same_with_its_tail_cut_off_and_a_look_ahead_is_told(
    tmp_path: Path,
) -> None:
    data, kept = two_files(tmp_path), tmp_path / "kept"
    done = bench("--data", data, "--keep", kept, "--truncate", 2, "--splits", 5, "--jobs", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all detectors: 0 files change when their tail is cut off" in done.stdout
    # As if row 31 had known what comes: its score is another one with the tail than without.
    path = kept / "kind" / "some.csv"
    lines = path.read_text().splitlines(keepends=True)
    lines[32] = f"{stamp(31)},value,9,0.001,0\n"
    path.write_text("".join(lines))
    told = nab.truncation_test(scorer.Corpus.read(data), data, kept, None, 2)
    assert [*told] == ["kind/some.csv: line 33 differs when 40 rows are cut"]


# ---------------------------------------------------------------- published scores


@pytest.fixture(scope="module")
def benchmark() -> tuple[Any, Path]:
    """The Numenta Anomaly Benchmark itself."""
    folder = os.environ.get("NAB_DATA")
    if not folder:
        pytest.skip("NAB_DATA does not name the folder of the benchmark")
    return scorer.Corpus.read(Path(folder)), scorer.data_of(Path(folder))


@pytest.mark.slow
@pytest.mark.parametrize("one", reference.REFERENCES, ids=lambda one: one.name)
def test_published_scores_come_out(benchmark: tuple[Any, Path], one: Any) -> None:
    files, data = benchmark
    assert (len(files.files), len(files.window_file)) == (58, 116)
    scores = {
        file.name: one.detect(reference.read_values(data / file.name)) for file in files.files
    }
    told = [scorer.sweep(files, scores, profile).score for profile in scorer.PROFILES]
    # To the digits printed; the clock's are printed with one.
    assert told == pytest.approx(one.published, abs=0.06 if one.name == "clock" else 0.006)
    for profile, (threshold, published) in zip(scorer.PROFILES, one.committed, strict=False):
        score = scorer.score_at(files, scores, threshold, profile)
        assert score == pytest.approx(published, abs=0.006)


def test_the_references_know_a_step_from_a_quiet_series() -> None:
    random = np.random.default_rng(1)
    quiet = random.normal(10.0, 1.0, 400)
    step = np.where(np.arange(400) < 300, quiet, quiet + 30)
    gaussian = reference.windowed_gaussian(step)
    assert gaussian[300] == 1.0
    assert gaussian[100:300].max() < 1.0
    entropy = reference.relative_entropy(step)
    assert entropy[300:].any()
    assert not reference.relative_entropy(np.full(400, 45.0)).any()
    falls = reference.bayes_change_points(step)
    assert 300 <= int(falls[50:].argmax()) + 50 <= 302
