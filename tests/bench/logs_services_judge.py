"""Judge what the collector told of a replay: recall, false alarms, delay."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from logs_services_replay import HOUR, Normal, Player, Told, broken
from logs_services_tries import TRIES

#: A fault is found when something is told within so many seconds; a lasting one lasts ``LASTS_S``.
FOUND_S, LASTS_S = 120, 600
#: Ordinary time before and after a fault, and the hours that are told apart.
BEFORE_S, AFTER_S, EARLY_H = 90, 180, 2
#: What is told so soon after a benign change began is laid to it.
OF_CHANGE_S = 90

Found = dict[str, Any]


def judge(
    captured: Path,
    services: Sequence[str],
    seeds: Sequence[int],
    hours: float,
    only: str,
    settings: Sequence[str],
) -> Found:
    """Judge all services and seeds, two at a time."""
    work = [
        (captured / service, seed, hours, only, tuple(settings))
        for seed in seeds
        for service in services
    ]
    with multiprocessing.Pool(2) as pool:
        found = pool.starmap(judged, work, chunksize=1)
    faults = [one for part in found for one in part["faults"]]
    quiet = [part["quiet"] for part in found]
    return {"hours": hours, "seeds": list(seeds), "faults": faults, "quiet": quiet}


def judged(directory: Path, seed: int, hours: float, only: str, settings: Sequence[str]) -> Found:
    """Let a service run for hours, then break it in each way, each time from the same state."""
    apply(settings)
    os.fsync = lambda fd: None  # the state need not outlive this
    began = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="vedette-replay-"))
    try:
        player = Player(root, directory.name, random.Random(f"{directory.name}/{seed}"))
        normal = Normal(directory, player)
        normal.until(round(hours * HOUR))
        quiet = _quiet(directory.name, seed, hours, player.told, normal.changes)
        quiet["templates"] = len(player.logs._digest.miner)
        player.logs.close()
        state = root / "state"
        shutil.copytree(state, root / "kept")
        sizes = {one: one.stat().st_size for one in (root / "var/log").rglob("*.log")}
        ended, highest = player.at, dict(player.highest)
        faults = []
        for path in sorted(directory.glob("fault-*.jsonl")):
            if only not in path.stem:
                continue
            shutil.rmtree(state)
            shutil.copytree(root / "kept", state)
            for one in (root / "var/log").rglob("*.log"):
                with open(one, "r+b") as file:
                    file.truncate(sizes.get(one, 0))
            player.at, player.highest = ended, dict(highest)
            player.rng.seed(f"{path.stem}/{seed}")
            faults.append(_fault(directory, path.stem, player, normal, seed))
        print(f"{directory.name} {seed}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        return {"quiet": quiet, "faults": faults}
    finally:
        shutil.rmtree(root, ignore_errors=True)


def apply(settings: Sequence[str]) -> None:
    """Set constants of modules, ``blocks.LONGEST_TIMES=2``, or try a change by its name."""
    for one in settings:
        if one in TRIES:
            TRIES[one]()
            continue
        name, _, value = one.partition("=")
        module, _, constant = name.rpartition(".")
        of = import_module(f"vedette.logs.{module}")
        if not hasattr(of, constant):
            raise SystemExit(f"no {constant} in vedette.logs.{module}")
        setattr(of, constant, type(getattr(of, constant))(float(value)))


def _quiet(
    service: str, seed: int, hours: float, told: Sequence[Told], changes: Sequence[tuple[int, str]]
) -> Found:
    alarms = []
    for one in told:
        change = next((name for at, name in changes if 0 <= one.at - at < OF_CHANGE_S), "")
        times = sum(name == change and at <= one.at for at, name in changes)
        alarms.append(
            {
                "hour": round(one.at / HOUR, 2),
                "source": one.source,
                "kind": one.kind,
                "score": one.score,
                "text": one.text[:240],
                "change": f"{change} no. {times}" if change else "",
            }
        )
    return {"service": service, "seed": seed, "hours": hours, "alarms": alarms}


def _fault(directory: Path, name: str, player: Player, normal: Normal, seed: int) -> Found:
    player.forget()
    player.begin()
    normal._order = []
    normal.until(player.at + BEFORE_S, benign=False)
    before = len(player.told)
    onset, player.told, player.strange = player.at, [], {}
    label = broken(directory, name, player, LASTS_S)
    told, strange = player.told, dict(player.strange)
    player.told = []
    normal.until(player.at + AFTER_S, benign=False)
    after = len(player.told)
    player.logs.close()
    own = re.compile(label["own"] or "$^", re.IGNORECASE)
    soon = [one for one in told if one.at - onset <= FOUND_S]
    named = next((one for one in told if own.search(one.text)), None)
    return {
        "service": directory.name,
        "fault": name.removeprefix("fault-"),
        "seed": seed,
        "own_after": label["own_after"],
        "delay": told[0].at - onset if told else None,
        "named_after": named.at - onset if named else None,
        "named_kind": named.kind if named else "",
        "kinds": dict(Counter(one.kind for one in soon)),
        "before": before,
        "after": after,
        "told": [[one.at - onset, one.source, one.kind, one.score, one.text[:240]] for one in told],
        "strange": sorted([nats, *key] for key, nats in strange.items())[::-1][:8],
    }


# ---------------------------------------------------------------- tables


def table(found: Found) -> str:
    """Return the figures as text."""
    lines = [
        "\nservice   fault             own line  found  named  delay s  (named)  by",
    ]
    names = dict.fromkeys((one["service"], one["fault"]) for one in found["faults"])
    for service, fault in names:
        runs = [
            one for one in found["faults"] if (one["service"], one["fault"]) == (service, fault)
        ]
        lines.append(_row(service, fault, runs))
    for service in (*dict.fromkeys(one["service"] for one in found["faults"]), "all"):
        runs = [one for one in found["faults"] if service in (one["service"], "all")]
        lines.append(_summary(service, runs))
    lines.append("\nservice   false alarms a day: first 2 h, later (all, but for benign changes)")
    for service in (*dict.fromkeys(one["service"] for one in found["quiet"]), "all"):
        quiet = [one for one in found["quiet"] if service in (one["service"], "all")]
        lines.append(_alarms(service, quiet))
    return "\n".join(lines)


def _row(service: str, fault: str, runs: Sequence[Found]) -> str:
    kinds = Counter(kind for one in runs for kind in one["kinds"])
    shown = ", ".join(f"{kind} {times}" for kind, times in kinds.most_common())
    own = [one["own_after"] for one in runs if one["own_after"] is not None]
    return (
        f"{service:9} {fault:16} {f'{own[0]:7.1f}' if own else '      -'}"
        f"  {_within(runs, 'delay'):7.2f}{_within(runs, 'named_after'):7.2f}"
        f"  {_middle(runs, 'delay'):>7}  {_middle(runs, 'named_after'):>7}  {shown}"
    )


def _within(runs: Sequence[Found], what: str, most: int = FOUND_S) -> float:
    hits = [one for one in runs if one[what] is not None and one[what] <= most]
    return len(hits) / max(len(runs), 1)


def _middle(runs: Sequence[Found], what: str) -> str:
    some = [one[what] for one in runs if one[what] is not None]
    return f"{statistics.median(some):.0f}" if some else "-"


def _summary(service: str, runs: Sequence[Found]) -> str:
    delays = sorted(
        one["delay"] for one in runs if one["delay"] is not None and one["delay"] <= FOUND_S
    )
    seen = [one for one in runs if one["own_after"] is not None]
    return (
        f"{service:9} recall {_within(runs, 'delay'):.2f}, named {_within(runs, 'named_after'):.2f}"
        f" in {FOUND_S} s, {_within(runs, 'delay', LASTS_S):.2f} in {LASTS_S} s of {len(runs)} runs"
        f"; where there is a line of its own {_within(seen, 'named_after'):.2f} of {len(seen)}"
        f"; delay median {statistics.median(delays) if delays else 0:.0f}"
        f", p90 {delays[int(0.9 * (len(delays) - 1))] if delays else 0} s"
    )


def _alarms(service: str, quiet: Sequence[Found]) -> str:
    alarms = [one for part in quiet for one in part["alarms"]]
    early = [one for one in alarms if one["hour"] < EARLY_H]
    late = [one for one in alarms if one["hour"] >= EARLY_H]
    plain = [one for one in late if not one["change"]]
    hours = max(sum(one["hours"] - EARLY_H for one in quiet), 0.1)
    kinds = dict(Counter(one["kind"] for one in late))
    return (
        f"{service:9} {24 * len(early) / (EARLY_H * max(len(quiet), 1)):8.2f}"
        f"  {24 * len(late) / hours:8.2f} {24 * len(plain) / hours:8.2f}   {kinds}"
    )
