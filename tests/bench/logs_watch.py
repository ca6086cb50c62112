"""What the watch over log templates finds, how often it errs, and what it costs.

    PYTHONPATH=agent python tests/bench/logs_watch.py [quiet] [faults] [sessions] [cost]
        [--days 3] [--seeds 1,2] [--trials 10]

quiet     false signals a day on streams without a fault (``logs_watch_streams``), after an hour
faults    faults laid over a host's journal two days old: recall, delay, and what a control rang
sessions  sessions of three kinds (``logs_watch_sessions``): 5,000 to learn, none, 1 % or 3 % of
          them broken and not labelled, then 20,000 to judge of which 3 % are
cost      per tick with 100 of 2,000 templates, per line of a session, bytes of state

Simulated streams flatter whoever wrote them; the figures say what the thresholds are good for, not
what a host will see.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import logs_watch_streams as streams
import numpy as np
from logs_watch_sessions import KINDS, many

from vedette.logs.entry import Severity
from vedette.logs.sessions import SessionModel
from vedette.logs.signals import Fresh, LogSignal, SlotSeen, Step
from vedette.logs.watch import Watch

S = 1_000_000_000
BEGIN = 1_700_000_000 * S
HOUR = 3600
#: Age of the host in ``faults``.
WARM_S = 48 * HOUR


# ---------------------------------------------------------------- streams without a fault


def quiet(days: float, seeds: Sequence[int]) -> None:
    """Print false signals per day of each stream."""
    print("stream     seed  false/day after 1 h   kinds")
    for kind in streams.STREAMS:
        for seed in seeds:
            found = watched(kind(seed), int(days * streams.DAY))
            late = [one for second, one in found if second >= HOUR]
            kinds = dict(Counter(one.kind for one in late))
            early = len(found) - len(late)
            rate = len(late) / (days - 1 / 24)
            print(
                f"{kind.name:10} {seed:4}  {rate:6.2f} {len(late):6}       {kinds}, before: {early}"
            )


def watched(stream: streams.Stream, seconds: int) -> list[tuple[int, LogSignal]]:
    """Return what rang in so many seconds of a stream, and when."""
    watch, known = Watch("stream"), {one.id: one for one in stream.templates}
    seen: set[int] = set()
    found = []
    for second, counts in enumerate(stream.seconds(seconds)):
        fresh = [Fresh(*known[one]) for one in counts if one not in seen]
        seen.update(counts)
        found += [(second, one) for one in watch.observe(BEGIN + second * S, counts, fresh)]
    return found


# ---------------------------------------------------------------- faults


class Host:
    """A journal with a heartbeat, a job that reports when it is ready, and two slots."""

    BEAT, START, READY, REQUEST = 9000, 9001, 9002, 9003

    def __init__(self, seed: int) -> None:
        self.journal = streams.Services(seed)
        self.rng = np.random.default_rng(seed + 99)
        self.ready_at = self.beat_at = self.start_at = 0
        self.slow, self.state = 1.0, b"OK"
        self.beats = self.readies = True

    def second(self, at: int) -> tuple[streams.Counts, list[SlotSeen]]:
        """Return the lines of a second, and what slots held."""
        counts = self.journal.of(at)
        if at >= self.beat_at:
            self.beat_at = at + int(self.rng.integers(29, 32))
            if self.beats:
                counts[self.BEAT] = 1
        if at == self.ready_at and self.readies:
            counts[self.READY] = 1
        if at >= self.start_at:
            counts[self.START] = 1
            self.start_at = at + int(self.rng.integers(700, 1200))
            self.ready_at = at + int(self.rng.integers(2, 7))
        requests = int(self.rng.poisson(8))
        if not requests:
            return counts, []
        counts[self.REQUEST] = requests
        latency = self.slow * np.exp(self.rng.normal(3, 0.8, requests))
        states = self.rng.choice([b"OK", b"OK", b"OK", b"STALE", self.state], requests)
        slots = [
            SlotSeen(self.REQUEST, 0, numbers=tuple(latency.tolist())),
            SlotSeen(self.REQUEST, 1, values=tuple(states.tolist())),
        ]
        return counts, slots


def burst(host: Host, after: int, counts: streams.Counts) -> list[Fresh]:
    """A known error that came now and then comes 214 times in three seconds."""
    if after < 3:
        errors = [one.id for one in host.journal.templates if one.severity >= Severity.ERROR]
        counts[errors[0]] = counts.get(errors[0], 0) + 71 + (after == 0)
    return []


def new_error(host: Host, after: int, counts: streams.Counts) -> list[Fresh]:
    """An error never seen before."""
    return fresh(counts, 9100, "cannot reach the replica", Severity.ERROR) if not after else []


def out_of_memory(host: Host, after: int, counts: streams.Counts) -> list[Fresh]:
    """A text that never means well, logged as information."""
    text = "CUDA out of memory. Tried to allocate 2.00 GiB"
    return fresh(counts, 9101, text, Severity.INFO) if not after else []


def silent(host: Host, after: int, counts: streams.Counts) -> list[Fresh]:
    """The heartbeat stops."""
    host.beats = False
    return []


def not_ready(host: Host, after: int, counts: streams.Counts) -> list[Fresh]:
    """A job starts and does not become ready."""
    host.readies = False
    if not after:
        host.start_at = 0
    return []


def errors(host: Host, after: int, counts: streams.Counts) -> list[Fresh]:
    """All known errors and warnings come more often: ten lines a second, one of each at most."""
    grave = [one.id for one in host.journal.templates if one.severity >= Severity.WARN]
    for template in host.rng.choice(grave, 10, replace=False).tolist():
        counts[template] = counts.get(template, 0) + 1
    return []


def slow(host: Host, after: int, counts: streams.Counts) -> list[Fresh]:
    """The latency of requests is five times what it was."""
    host.slow = 5.0
    return []


def degraded(host: Host, after: int, counts: streams.Counts) -> list[Fresh]:
    """A state is reported that never was."""
    host.state = b"DEGRADED"
    return []


def control(host: Host, after: int, counts: streams.Counts) -> list[Fresh]:
    """Nothing happens."""
    return []


Fault = Callable[[Host, int, streams.Counts], list[Fresh]]
FAULTS: tuple[tuple[Fault, str], ...] = (
    (burst, "burst"),
    (new_error, "new_template"),
    (out_of_memory, "new_template"),
    (silent, "silence"),
    (not_ready, "missing"),
    (errors, "mix"),
    (slow, "slot"),
    (degraded, "slot"),
    (control, ""),
)


def fresh(counts: streams.Counts, template: int, text: str, severity: Severity) -> list[Fresh]:
    """Add one line of a template that is new."""
    counts[template] = 1
    return [Fresh(template, text, severity)]


def faults(trials: int, seconds: int = 400) -> None:
    """Print recall and delay per fault, and what else rang."""
    host, seen, saved = Host(5), set[int](), b""
    watch, known = Watch("host"), {one.id: one for one in host.journal.templates}
    for at in range(WARM_S):
        counts, slots = host.second(at)
        new = [Fresh(*known.get(one, (one, "", 9))) for one in counts if one not in seen]
        seen.update(counts)
        watch.observe(BEGIN + at * S, counts, new, slots=slots)
    saved = watch.save()
    print(f"\nfault            recall  delay s (median, most)  other signals in {trials} trials")
    for fault, kind in FAULTS:
        delays: list[int] = []
        others: Counter[str] = Counter()
        for trial in range(trials):
            found = tried(fault, copy.deepcopy(host), saved, seen, trial, seconds)
            hits = [after for after, one in found if one == kind]
            delays += hits[:1]
            others.update(one for _, one in found if one != kind)
        middle = f"{np.median(delays):6.0f} {max(delays):6}" if delays else "     -      -"
        print(
            f"{fault.__name__:16} {len(delays) / trials:5.2f}  {middle}             {dict(others)}"
        )


def tried(
    fault: Fault, host: Host, saved: bytes, seen: set[int], trial: int, seconds: int
) -> list[tuple[int, str]]:
    """Return what rang after a fault began, and when."""
    watch = Watch("host")
    if not watch.restore(saved):
        raise SystemExit("the state was not taken")
    host.rng = np.random.default_rng(trial)
    for part in host.journal.parts:
        part.rng = np.random.default_rng(trial)
    known, seen = {one.id: one for one in host.journal.templates}, set(seen)
    found = []
    for after in range(-60, seconds):
        at = WARM_S + 60 + after + 977 * trial % 300
        counts, slots = host.second(at)
        new = fault(host, after, counts) if after >= 0 else []
        new += [Fresh(*known[one]) for one in counts if one not in seen and one in known]
        seen.update(counts)
        told = watch.observe(BEGIN + at * S, counts, new, slots=slots)
        found += [(after, str(one.kind)) for one in told]
    return found


# ---------------------------------------------------------------- sessions


def sessions() -> None:
    """Print recall and false positives per kind of session."""
    print(
        "\nsessions  broken/learned  shipped: recall    fpr     F1  recall at fpr .01  best F1 (at)"
    )
    for kind in KINDS:
        for broken in (0.0, 0.01, 0.03):
            session_kind(kind, broken)


def session_kind(kind: str, broken: float, seed: int = 1) -> None:
    """Print one line: what a model makes of sessions that it has not seen."""
    model = SessionModel(65_536, trusted=not broken)
    model.fit_stream(one for _, one in many(kind, 5000, broken, seed))
    judged = [(bool(what), model.judge(one)) for what, one in many(kind, 20_000, 0.03, seed + 100)]
    bad = np.array([one for one, _ in judged])
    odd = np.array([one.is_odd for _, one in judged])
    score = np.array([one.score for _, one in judged])
    limit = np.quantile(score[~bad], 0.99)
    best = max((f1(score >= at, bad), at) for at in np.arange(1, 15, 0.25))
    print(
        f"{kind:9} {broken:10.0%} {(odd & bad).sum() / bad.sum():19.3f} {odd[~bad].mean():8.4f} "
        f"{f1(odd, bad):6.3f} {(score[bad] > limit).mean():12.3f} {best[0]:16.3f} ({best[1]:.2f})"
    )


def f1(told: np.ndarray, true: np.ndarray) -> float:
    """Return the harmonic mean of precision and recall."""
    return float(2 * (told & true).sum() / max(told.sum() + true.sum(), 1))


# ---------------------------------------------------------------- cost


def cost() -> None:
    """Print what a tick costs, and what is kept."""
    rng = np.random.default_rng(1)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    watch, at = Watch("cost"), 0
    for start in range(0, 2000, 100):
        new = [Fresh(one, "text", Severity.INFO) for one in range(start, start + 100)]
        watch.observe(BEGIN + at * S, {one.template_id: 1 for one in new}, new)
        at += 1
    for _ in range(1000):
        watch.observe(BEGIN + at * S, ticked(rng, 100))
        at += 1
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    for templates in (0, 10, 100):
        rounds = []
        for _ in range(10):
            ticks = [ticked(rng, templates) for _ in range(200)]
            began = time.process_time()
            for counts in ticks:
                watch.observe(BEGIN + at * S, counts)
                at += 1
            rounds.append(1000 * (time.process_time() - began) / len(ticks))
        middle = sorted(rounds)[5]
        print(f"tick with {templates:3} of 2,000 templates: {min(rounds):.3f} ms, mid {middle:.3f}")
    print(
        f"state: {len(watch.save()) / 2000:.0f} bytes a template saved, {kept / 2000:.0f} in memory"
    )
    lines = [
        (f"k{one}".encode(), step)
        for one, (_, s) in enumerate(many("blocks", 3000, 0.01, 3))
        for step in s
    ]
    watch = Watch("sessions", idle_s=5)
    began = time.process_time()
    for at in range(0, len(lines), 300):
        watch.observe(BEGIN + at // 300 * S, {}, steps=[Step(*one) for one in lines[at : at + 300]])
    spent = time.process_time() - began
    print(f"line of a session, with its share of the verdict: {1e6 * spent / len(lines):.1f} us")


def ticked(rng: np.random.Generator, templates: int) -> streams.Counts:
    """Return lines of so many of 2,000 templates."""
    some = rng.choice(2000, templates, replace=False).tolist()
    return dict(zip(some, rng.integers(1, 20, templates).tolist(), strict=True))


def main() -> None:
    """Run what was asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["quiet", "faults", "sessions", "cost"])
    parser.add_argument("--days", type=float, default=1.0)
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--trials", type=int, default=10)
    given = parser.parse_args()
    if "quiet" in given.what:
        quiet(given.days, [int(one) for one in given.seeds.split(",")])
    if "faults" in given.what:
        faults(given.trials)
    if "sessions" in given.what:
        sessions()
    if "cost" in given.what:
        cost()


if __name__ == "__main__":
    main()
