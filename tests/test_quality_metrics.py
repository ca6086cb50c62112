"""The quality bench's measures (tests/bench/quality*.py), by hand and against slow definitions."""

from __future__ import annotations

import json
import math
import re
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "bench"))

from quality import of_host
from quality_files import labelled_files
from quality_metrics import (
    Scored,
    SeriesSet,
    auc_pr,
    best,
    carried,
    events_of,
    recall_within,
    rules_for,
    tail_shares,
    thinned,
    vus_pr,
)
from quality_peers import (
    _median_distance,
    ewma_z,
    in_time,
    netdata_bit,
    netdata_soft,
    peers,
    robust_z,
)

BENCH = Path(__file__).parent / "bench"
NAN, INF = math.nan, math.inf
MINUTE, HOUR = 60.0, 3_600.0

labels_and_scores = st.integers(2, 60).flatmap(
    lambda rows: st.tuples(
        st.lists(st.booleans(), min_size=rows, max_size=rows),
        st.lists(st.integers(0, 6), min_size=rows, max_size=rows),
    )
)


def mask(rows: int, *events: tuple[int, int]) -> np.ndarray:
    """Return labels with these first and last rows."""
    labels = np.zeros(rows, dtype=bool)
    for first, last in events:
        labels[first : last + 1] = True
    return labels


def spikes(rows: int, *places: int) -> np.ndarray:
    """Return scores that are 1 at these rows, 0 elsewhere."""
    scores = np.zeros(rows)
    scores[list(places)] = 1
    return scores


def judged(scores, labels, step_s=MINUTE, first=0, threshold=0.5):
    return SeriesSet([Scored(np.array(scores, float), labels, step_s, first)]).at(threshold)


# ---------------------------------------------------------------- areas


def test_average_precision_is_the_mean_precision_at_each_positive():
    # Positives at ranks 1 and 3: (1/1 + 2/3) / 2.
    assert auc_pr(mask(4, (0, 0), (2, 2)), np.array([9.0, 8, 7, 1])) == pytest.approx(5 / 6)


def test_equal_scores_come_to_the_share_of_labels():
    assert auc_pr(mask(8, (3, 4)), np.ones(8)) == pytest.approx(2 / 8)


def test_areas_without_labels_are_nan():
    assert math.isnan(auc_pr(mask(5), np.arange(5.0)))
    assert math.isnan(vus_pr(mask(5), np.arange(5.0), 4))


@given(labels_and_scores)
def test_average_precision_depends_on_the_order_of_scores_only(drawn):
    labels, scores = np.array(drawn[0]), np.array(drawn[1], float)
    if labels.any():
        assert auc_pr(labels, np.exp(scores)) == pytest.approx(auc_pr(labels, scores))
        assert auc_pr(labels, labels * 1.0) == pytest.approx(1)


@pytest.mark.parametrize(
    ("buffer", "volume"),
    [
        (0, 0.22817460317460317),
        (1, 0.22817460317460317),
        (2, 0.3508072424793193),
        (4, 0.474634796808148),
        (6, 0.5280462587592061),
        (12, 0.6318694206877998),
    ],
)
def test_the_volume_is_what_tsb_ad_computes(buffer, volume):
    # Computed once with RangeAUC_volume_opt of TheDatumOrg/TSB-AD at 16e14dd, 250 thresholds.
    labels = mask(16, (3, 4), (10, 10))
    scores = np.array([1.0, 2, 9, 3, 8, 7, 1, 2, 1, 6, 1, 5, 1, 1, 2, 10])
    assert vus_pr(labels, scores, buffer) == pytest.approx(volume, abs=1e-15)


def test_the_volume_at_few_thresholds_is_what_tsb_ad_computes():
    labels = mask(16, (3, 4), (10, 10))
    scores = np.array([1.0, 2, 9, 3, 8, 7, 1, 2, 1, 6, 1, 5, 1, 1, 2, 10])
    assert vus_pr(labels, scores, 4, thresholds=5) == pytest.approx(0.4269125330627295, abs=1e-15)


def slow_volume(labels: list[bool], scores: list[float], buffer: int, thresholds: int) -> float:
    """Return VUS-PR row by row, as it is defined."""
    rows = range(len(labels))
    runs = [list(run) for run in events_of(np.array(labels)).tolist()]
    places = [math.floor(k * (len(labels) - 1) / (thresholds - 1)) for k in range(thresholds)]
    falling = sorted(scores, reverse=True)
    areas = []
    for width in range(buffer + 1):
        reach = width // 2

        def flank(row, width=width, reach=reach):
            away = [max(first - row, row - last) for first, last in runs]
            return min(1, sum(math.sqrt(1 - d / width) for d in away if 1 <= d <= reach))

        wide: list[list[int]] = []
        for first, last in runs:
            if wide and first - reach <= wide[-1][1]:
                wide[-1][1] = last + reach
            else:
                wide.append([first - reach, last + reach])
        area = before = 0.0
        for place in places:
            said = [row for row in rows if scores[row] >= falling[place]]
            beside = sum(flank(row) for row in said if not labels[row])
            true = sum(labels[row] for row in said) + beside
            touched = sum(any(a <= row <= b for row in said) for a, b in wide) / len(wide)
            recall = min(1, true / (sum(labels) + beside / 2)) * touched
            area += (recall - before) * true / len(said)
            before = recall
        areas.append(area)
    return statistics.fmean(areas)


@given(labels_and_scores, st.integers(0, 15), st.integers(2, 12))
@settings(max_examples=60, deadline=None)
def test_the_volume_is_what_the_definition_says_row_by_row(drawn, buffer, thresholds):
    labels, scores = drawn
    if any(labels):
        fast = vus_pr(np.array(labels), np.array(scores, float), buffer, thresholds)
        assert fast == pytest.approx(slow_volume(labels, scores, buffer, thresholds), abs=1e-12)


def test_scores_beside_an_event_count_for_the_volume_and_not_for_the_average_precision():
    labels = mask(200, (100, 105))
    near, far = spikes(200, 106, 107), spikes(200, 150, 151)
    assert auc_pr(labels, near) == auc_pr(labels, far)
    assert vus_pr(labels, near, 12) > 2 * vus_pr(labels, far, 12)


# ---------------------------------------------------------------- events


def test_events_are_runs_of_labels_up_to_the_edges():
    labels = np.array([1, 1, 0, 1, 0, 0, 1], dtype=bool)
    assert events_of(labels).tolist() == [[0, 1], [3, 3], [6, 6]]
    assert events_of(mask(4)).tolist() == []


def test_an_edge_within_the_refractory_rows_is_no_alarm_and_silences_nothing():
    edges = np.array([0, 4, 6, 7, 12, 13])
    assert thinned(edges, np.full(6, 6)).tolist() == [0, 7]
    assert thinned(edges, np.full(6, 5)).tolist() == [0, 6, 12]
    assert thinned(edges[:0], edges[:0]).tolist() == []


@pytest.mark.parametrize(
    ("step_s", "rules"),
    [(1, (1_800, 5, 60)), (MINUTE, (30, 5, 60)), (300, (6, 5, 12)), (HOUR, (6, 2, 12))],
)
def test_the_rules_follow_the_sampling_step(step_s, rules):
    assert rules_for(step_s) == rules


def test_a_sampling_step_of_nothing_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"must be positive, got 0"):
        rules_for(0)


def test_labels_and_scores_of_different_length_are_an_error_that_names_both():
    with pytest.raises(ValueError, match=r"\(3,\) and scores \(4,\)"):
        auc_pr(mask(3), np.zeros(4))


@pytest.mark.parametrize(
    ("step_s", "place", "found"),
    [
        (MINUTE, 94, 0),
        (MINUTE, 95, 1),
        (MINUTE, 115, 1),
        (MINUTE, 116, 0),
        (HOUR, 97, 0),
        (HOUR, 98, 1),
        (HOUR, 112, 1),
        (HOUR, 113, 0),
    ],
)
def test_an_alarm_finds_an_event_it_starts_in_or_a_few_rows_around(step_s, place, found):
    outcome = judged(spikes(300, place), mask(300, (100, 110)), step_s)
    assert (outcome.found, outcome.false) == (found, 1 - found)


def test_what_was_ringing_before_finds_nothing():
    scores = np.ones(300)
    outcome = judged(scores, mask(300, (100, 110), (200, 210)))
    assert (outcome.found, outcome.false, outcome.true) == (0, 1, 0)


def test_a_detector_that_keeps_ringing_anew_pays_for_it():
    scores = np.tile([1.0, 0.0], 150)  # an edge every other row, an alarm every 32
    outcome = judged(scores, mask(300, (96, 100)))
    assert (outcome.found, outcome.true, outcome.false) == (1, 1, 9)
    assert outcome.precision == pytest.approx(1 / 10)


def test_several_alarms_in_one_event_find_it_once():
    outcome = judged(spikes(400, 100, 140, 180, 300), mask(400, (100, 200), (350, 360)))
    assert (outcome.true, outcome.found, outcome.false) == (3, 1, 1)
    assert (outcome.precision, outcome.recall, outcome.f1) == (0.5, 0.5, 0.5)


def test_the_delay_is_from_the_start_of_the_event_and_an_early_alarm_has_none():
    labels = mask(600, (100, 120), (300, 320), (500, 520))
    outcome = judged(spikes(600, 97, 303, 520), labels)
    assert outcome.delays.tolist() == [0, 3, 20]
    assert (outcome.delay(0.5), outcome.delay(0.9)) == (3, pytest.approx(16.6))
    assert math.isnan(judged(spikes(600, 200), labels).delay(0.5))


def test_the_unscored_part_has_neither_events_nor_alarms():
    labels = mask(1_440, (10, 20), (95, 105), (700, 710))
    outcome = judged(spikes(1_440, 12, 50, 99, 103, 702, 900), labels, first=100)
    # The event that began before the scored part is no one's, and neither are alarms in it.
    assert (outcome.events, outcome.found, outcome.false) == (1, 1, 1)
    assert outcome.days == pytest.approx(1_340 / 1_440)


def test_rates_are_per_series_and_day():
    day = Scored(spikes(1_440, 100, 200), mask(1_440), MINUTE)
    hours = Scored(spikes(48, 20), mask(48), HOUR)
    outcome = SeriesSet([day, hours]).at(0.5)
    assert outcome.days == pytest.approx(3)
    assert outcome.false_per_day == pytest.approx(1)
    assert math.isnan(outcome.recall)


def test_no_opinion_leaves_the_last_one_and_is_calm_before_the_first():
    assert carried(np.array([NAN, 2, NAN, NAN, 1])).tolist() == [-INF, 2, 2, 2, 1]
    held = spikes(300, 100)
    held[101:200] = NAN  # still 1: no second edge at 200
    held[200] = 1
    assert judged(held, mask(300)).false == 1


def slow_outcome(one: Scored, threshold: float) -> tuple[int, int]:
    """Return found and false, row by row."""
    rules, alarms, silent_until, before = rules_for(one.step_s), [], -1, False
    for row, score in enumerate(one.scores.tolist()):
        above = score > threshold
        if above and not before and row > silent_until:
            alarms.append(row)
            silent_until = row + rules.refractory
        before = above
    reaches = [(a - rules.tolerance, b + rules.tolerance) for a, b in events_of(one.labels)]
    found = sum(any(a <= row <= b for row in alarms) for a, b in reaches)
    return found, sum(not any(a <= row <= b for a, b in reaches) for row in alarms)


@given(st.lists(labels_and_scores, min_size=1, max_size=4), st.data())
@settings(deadline=None)
def test_a_set_is_the_sum_of_its_series_row_by_row(drawn, data):
    steps = [data.draw(st.sampled_from([300.0, HOUR])) for _ in drawn]
    series = [
        Scored(np.array(scores, float), np.array(labels), step_s)
        for (labels, scores), step_s in zip(drawn, steps, strict=True)
    ]
    for outcome in SeriesSet(series).sweep():
        slow = [slow_outcome(one, outcome.threshold) for one in series]
        assert outcome.found == sum(found for found, _ in slow)
        assert outcome.false == sum(false for _, false in slow)


def test_every_score_is_tried_when_they_are_few_and_many_are_thinned_with_the_largest_kept():
    few = SeriesSet([Scored(np.array([1.0, 3, 2, 3, -1]), mask(5), MINUTE)])
    assert few.thresholds().tolist() == [3, 2, 1, -1]
    scores = np.append(np.full(500, 1_000.0), np.arange(600.0))
    many = SeriesSet([Scored(scores, mask(1_100), MINUTE)]).thresholds(50)
    assert len(many) <= 50
    assert many[0] == 599  # above it there are only the 500 equal ones
    assert many[-1] == 0


def test_the_best_of_a_sweep_and_the_recall_at_a_budget():
    labels = mask(2_880, (100, 110), (1_000, 1_010))
    scores = np.zeros(2_880)
    scores[[100, 500, 600, 700, 1_000]] = [9, 5, 5, 5, 4]
    outcomes = SeriesSet([Scored(scores, labels, MINUTE)]).sweep()
    assert (best(outcomes).threshold, best(outcomes).f1) == (5, pytest.approx(2 / 3))
    assert recall_within(outcomes, 1.0) == 0.5
    assert recall_within(outcomes, 1.5) == 1.0
    assert recall_within([], 1.0) == 0


def test_false_alarms_are_told_by_the_age_of_the_series():
    scores = spikes(3 * 1_440, 30, 120, 2_000, 3_000, 4_000)
    whole = SeriesSet([Scored(scores, mask(3 * 1_440, (2_990, 3_010)), MINUTE, first=2_500)])
    counts = list(whole.false_by_age(0.5, [HOUR, 86_400.0]))
    assert [false for false, _ in counts] == [1, 1, 2]
    assert [days for _, days in counts] == pytest.approx([1 / 24, 23 / 24, 2])


def test_the_share_of_small_p_is_of_those_that_are_known():
    p = np.array([NAN, 0.5, 0.005, 0.0005, NAN, 1])
    assert tail_shares(p, [0.01, 0.001, 0.0001]) == [0.5, 0.25, 0]
    assert math.isnan(tail_shares(np.array([NAN]), [0.01])[0])


def test_an_empty_set_is_an_error():
    with pytest.raises(ValueError, match="at least one series"):
        SeriesSet([])


# ---------------------------------------------------------------- hosts and peers


def test_a_host_is_as_strange_as_the_mean_of_its_strangest_fifth():
    scores = np.array([[1.0, 5, 3, 2, 4, 0, 0, 0, 0, 0], [NAN] * 10, [7.0] + [NAN] * 9])
    assert of_host(scores[:, :], "fifth").tolist() == pytest.approx([4.5, 4.5, 6])
    assert of_host(scores, "mean").tolist()[0] == 1.5
    assert math.isnan(of_host(scores[1:2], "fifth")[0])
    assert of_host(scores[:, :1], "fifth").tolist()[0] == 1


def walk(rows: int = 600, series: int = 2, seed: int = 4) -> np.ndarray:
    """Return noisy series with a few readings missing."""
    random = np.random.default_rng(seed)
    values = random.normal(10, 1, (rows, series)) + np.sin(np.arange(rows) / 30)[:, None]
    values[random.random((rows, series)) < 0.01] = NAN
    return values


@pytest.mark.parametrize("peer", peers(), ids=lambda peer: peer.name)
def test_a_peer_does_not_look_ahead(peer):
    values = walk()
    whole, cut = peer.score(values, MINUTE), peer.score(values[:400], MINUTE)
    np.testing.assert_array_equal(whole[:400], cut)
    assert whole.shape == values.shape


@pytest.mark.parametrize("peer", peers(), ids=lambda peer: peer.name)
def test_a_peer_sees_a_spike_at_once(peer):
    values = walk()
    values[500] = 60
    scores = peer.score(values, MINUTE)
    assert (scores[500] > 0.9).all()
    # Of its first hours, which are all it then knows, Netdata's method thinks more strangely.
    assert (scores[500] >= np.nanmax(scores[200:500], axis=0)).all()


@pytest.mark.parametrize("peer", peers(), ids=lambda peer: peer.name)
def test_a_constant_series_is_never_strange_to_a_peer(peer):
    scores = peer.score(np.full((400, 1), 0.1), MINUTE)
    assert (np.nan_to_num(scores) == 0).all()


def test_the_robust_z_is_that_of_the_last_readings():
    values = np.random.default_rng(1).normal(1e6, 1, 120)
    scores = robust_z(values[:, None], 40)[:, 0]
    last = values[60:100]
    away = np.sort(np.abs(last - np.median(last)))
    assert np.isnan(scores[:20]).all()
    expected = abs(values[100] - np.median(last)) / (1.4826 * away[20])
    assert scores[100] == pytest.approx(expected, rel=1e-2)  # less the guard of 1e-9 of the level


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=30), st.integers(-10, 10))
def test_the_median_distance_is_the_middle_of_the_sorted_ones(values, centre):
    expected = sorted(abs(value - centre) for value in values)[len(values) // 2]
    assert _median_distance(sorted(map(float, values)), float(centre)) == expected


def test_the_weighted_z_begins_as_the_plain_one():
    values = np.random.default_rng(2).normal(0, 1, 40)
    expected = abs(values[30] - values[:30].mean()) / values[:30].std()
    assert ewma_z(values[:, None], 500)[30, 0] == pytest.approx(expected)


def test_netdata_learns_from_a_quarter_of_an_hour_on_and_never_from_hourly_readings():
    assert in_time(1.0) == (21_600, 10_800, 900, 3)
    assert in_time(MINUTE) == (360, 180, 15, 1)
    soft = netdata_soft(np.random.default_rng(1).normal(10, 1, (30, 1)), MINUTE)
    assert np.isnan(soft[:15]).all()
    assert not np.isnan(soft[15])
    assert np.isnan(netdata_soft(walk(), HOUR)).all()


def test_netdata_is_silent_after_ringing_for_half_of_its_window():
    values = np.random.default_rng(3).normal(0, 1, 4_000)
    values[1_000:] *= 1_000
    bits = netdata_bit(values[:, None], 1.0)[:, 0]
    rang = np.flatnonzero(bits)
    assert rang[0] in range(1_000, 1_003)
    # It learned at 900; 450 anomalies of 900 predictions are there at 1,799.
    assert bits[1_100:1_799].mean() > 0.9
    assert rang[-1] == 1_799


# ---------------------------------------------------------------- the bench itself


def write_set(folder: Path) -> None:
    """Write two single series and one host of six, with a labelled step each."""
    random = np.random.default_rng(7)
    for name, columns in (("a", 1), ("b", 1), ("host", 6)):
        values = random.normal(50, 1, (900, columns))
        values[700:730, : max(1, columns // 2)] += 40
        labels = mask(900, (700, 729))
        names = ",".join(f"m{number}" for number in range(columns))
        lines = [f"timestamp,{names},label"]
        for row in range(900):
            cells = ",".join(f"{value:.3f}" for value in values[row])
            lines.append(f"{1_700_000_040 + 60 * row},{cells},{labels[row]:d}")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    (folder / "unlabelled.csv").write_text("timestamp,value\n0,1\n")
    (folder / "meta.json").write_text('{"host": 400}')
    (folder / "interpretation").mkdir()
    (folder / "interpretation" / "host.txt").write_text("300-329:1,2,3\n")


def run_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCH / "quality.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_the_bench_judges_the_daemon_and_its_peers_on_a_folder(tmp_path):
    write_set(tmp_path)
    told = tmp_path / "told.json"
    done = run_bench("--data", str(tmp_path), "--jobs", "1", "--peers", "--json", str(told))
    assert done.returncode == 0, done.stderr
    assert "left out, has no label column" in done.stderr
    assert "3 files, 8 series, 7200 values, 3 events" in done.stdout
    methods = {one["name"]: one for one in json.loads(told.read_text())["methods"]}
    assert list(methods) == ["vedette", *(peer.name for peer in peers())]
    # The agent is about onsets: what lasts it takes for usual before long, and that it is over is
    # one as well. Chance is 0.03.
    for name, least in (("vedette", 0.2), ("robust z, 1440", 0.8)):
        assert methods[name]["best"]["f1"] == 1
        assert methods[name]["auc_pr"] > least
        assert re.search(rf"^{name} +1\.000 +1\.000 +1$", done.stdout, re.MULTILINE)
    assert methods["vedette"]["own"]["found"] == 3
    assert methods["robust z, 1440"]["own"] is None


def test_the_bench_says_what_is_wrong_with_a_folder(tmp_path):
    done = run_bench("--data", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path}: there is no CSV with a label column in it" in done.stderr
    (tmp_path / "a.csv").write_text("timestamp,value,label\n0,1,0\n60,one,0\n")
    done = run_bench("--data", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path}/a.csv:3: value is 'one', which is no number" in done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1-2", "'1-2' is not FIRST-LAST:COLUMN,..."),
        ("1-x:1", "'1-x:1' is not FIRST-LAST:COLUMN,..."),
        ("8-9:1", "'8-9:1' is not within a.csv, (10, 1)"),
        ("1-2:2", "'1-2:2' is not within a.csv, (10, 1)"),
    ],
)
def test_what_an_event_is_said_to_be_about_must_be_within_the_file(tmp_path, line, said):
    rows = "".join(f"{60 * row},1,0\n" for row in range(10))
    (tmp_path / "a.csv").write_text("timestamp,value,label\n" + rows)
    (tmp_path / "interpretation").mkdir()
    (tmp_path / "interpretation" / "a.txt").write_text(line + "\n")
    with pytest.raises(ValueError, match=re.escape(f"a.txt:1: {said}")):
        labelled_files(tmp_path, 0.2)


def test_the_unscored_part_is_that_of_meta_json_or_a_share_of_the_rows(tmp_path):
    rows = "".join(f"{3600 * row},1,,{row % 2}\n" for row in range(10))
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("timestamp,one,two,label\n" + rows)
    (tmp_path / "meta.json").write_text('{"b": 5}')
    first, second = labelled_files(tmp_path, 0.25)
    assert (first.first, second.first) == (2, 5)
    assert (first.step_s, first.values.shape, int(first.labels.sum())) == (HOUR, (10, 2), 5)
    (tmp_path / "meta.json").write_text('{"b": 10}')
    with pytest.raises(ValueError, match="b is 10, the file has 10 rows"):
        labelled_files(tmp_path, 0.25)
