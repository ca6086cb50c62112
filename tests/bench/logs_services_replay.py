"""Play a capture to the collector, hours of it, by a clock of its own.

A capture is some minutes; hours are made of it. The normal run is cut, where it is quiet, into
pieces of about ``PIECE_S``; pieces are played in random order, each at a speed of its own about
that of the hour, thinned out by up to a fifth (whole requests, whole connections). So no hour is
another, but nothing comes in them that was not in the capture: rates and vocabulary are as varied
as minutes are, not as weeks are, and figures are to be read so. Benign changes (a reload, a backup)
come now and then, the first of each within five hours. What only grows (process numbers, ports,
counters) goes on growing, or each piece would be told by its numbers. Stamps are the clock's.
"""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from vedette.api import Event, Host
from vedette.logs.collector import Logs
from vedette.logs.options import LogsConfig
from vedette.logs.signals import KINDS

S = 1_000_000_000
#: A Tuesday, 06:00:00 UTC.
BEGIN_NS = 1_795_154_400 * S
PIECE_S, LOOP_S = 20.0, 6.0
#: How far a cut may be moved to where it is quiet.
AROUND_S = 2.5
HOUR = 3600
#: A file is rotated so often.
ROTATE_S = 2 * HOUR

_STAMPS = (
    (re.compile(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d"), "%d/%b/%Y:%H:%M:%S"),
    (re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d"), "%Y/%m/%d %H:%M:%S"),
    (re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "%Y-%m-%d %H:%M:%S"),
    (re.compile(r" \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d"), " %d %b %Y %H:%M:%S"),
    (re.compile(r"^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"), "%b %e %H:%M:%S"),
)  # fmt: skip
#: What only grows, and after what it begins anew.
_GROWS = (
    ("pid", 4_194_304, re.compile(
        r"(?<=sshd\[)\d+|(?<=UTC \[)\d+|(?<=by pid )\d+|(?<=[Pp]rocess )\d+"
        r"|(?<=PID )\d+|(?<=-bg-)\d+|(?<=temp-)\d+(?=\.rdb)")),
    ("port", 60_000, re.compile(r"(?<=port[ =])\d+")),
    ("connection", 0, re.compile(r"(?<=: \*)\d+(?= )")),
    ("file", 0, re.compile(r"(?<=aof\.)\d+|(?<=body/)\d{10}")),
    ("transaction", 0, re.compile(r"(?<=cutoff: )\d+|(?<=transaction )\d+")),
)  # fmt: skip
#: What is left out as a whole when a piece is thinned.
_UNITS = {
    "nginx": re.compile(r"rid=(\w+)"),
    "postgres": re.compile(r"\[(\d+)\] \S+@"),
}

Line = tuple[float, str, str]


def read(path: Path) -> list[Line]:
    """Return a run's lines: seconds, file, text; without what no service but a bench writes."""
    with path.open() as file:
        rows = [json.loads(one) for one in file]
    return [(at, name, text) for at, name, text in rows if name != "app/app.log"]


def cut(lines: Sequence[Line], begin: float, end: float, length: float) -> list[list[Line]]:
    """Cut a run into pieces where it is quiet; seconds count from each piece's beginning."""
    borders = [begin]
    while borders[-1] + 1.5 * length < end:
        middle = borders[-1] + length
        times = [middle - AROUND_S]
        times += [at for at, *_ in lines if abs(at - middle) < AROUND_S]
        times.append(middle + AROUND_S)
        gap, at = max((b - a, (a + b) / 2) for a, b in pairwise(times))
        borders.append(at if gap > 0 else middle)
    borders.append(end)
    pieces = []
    for low, high in pairwise(borders):
        piece = [(at - low, name, text) for at, name, text in lines if low <= at < high]
        pieces.append([*piece, (high - low, "", "")])
    return pieces


@dataclass
class Told:
    """What the collector told: second, signal, words."""

    at: int
    source: str
    kind: str
    score: float
    text: str


@dataclass
class Player:
    """Writes lines as a service does, and lets the collector read after each second."""

    root: Path
    service: str
    rng: random.Random
    at: int = 0
    told: list[Told] = field(default_factory=list)
    #: The strangest of each kind since ``forget``, rung or not: source, kind, nats.
    strange: dict[tuple[str, str], float] = field(default_factory=dict)
    #: Only then the strangest is looked for.
    looks: bool = False

    def __post_init__(self) -> None:
        (self.root / "var/log").mkdir(parents=True, exist_ok=True)
        self._due: dict[int, list[tuple[str, str]]] = defaultdict(list)
        #: How far each kind of what only grows has come.
        self.highest: dict[str, int] = {}
        self.begin()

    def begin(self) -> None:
        """Begin with the collector, as an agent does."""
        config: dict[str, Any] = {"begin": "beginning", "journal": False}
        self.logs = Logs(LogsConfig(**config))
        self.logs.host = Host(root=str(self.root))
        self.logs.state_dir = str(self.root / "state")
        self.logs.wall_ns = lambda: BEGIN_NS + self.at * S
        self.logs.monotonic = lambda: float(self.at)

    def play(self, piece: Sequence[Line], speed: float = 1.0, thin: float = 0.0) -> None:
        """Let a piece pass."""
        unit, left_out = _UNITS.get(self.service), set[str]()
        seen = set[str]()
        offsets: dict[str, int] = {}
        for at, name, text in piece:
            if not name:
                continue
            found = unit.search(text) if unit and thin else None
            if found:
                if found[1] not in seen:
                    seen.add(found[1])
                    if self.rng.random() < thin:
                        left_out.add(found[1])
                if found[1] in left_out:
                    continue
            second = self.at + 1 + int(at / speed)
            self._due[second].append((name, self._grown(text, offsets)))
        self.pass_time(round(piece[-1][0] / speed))

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.at += 1
            self._write(self._due.pop(self.at, ()))
            self._collect()

    def forget(self) -> None:
        """Begin to look for the strangest anew, and let go of what is due."""
        self._due.clear()
        self.told, self.strange, self.looks = [], {}, True

    def _collect(self) -> None:
        events = [one for one in self.logs.collect() if isinstance(one, Event)]
        watches = self.logs._digest.watches
        for one in events:
            # The words are what is told; which signal they are of is looked up.
            said = {
                self.logs._teller.event(signal).text: signal
                for watch in watches.values()
                for signal in watch.ringing.began
            }
            signal = said[one.text]
            source, text = (each.replace(str(self.root), "") for each in (one.entity, one.text))
            self.told.append(Told(self.at, source, signal.kind, round(signal.score, 1), text))
        if not self.looks:
            return
        for source, watch in watches.items():
            source = source.replace(str(self.root), "")
            for kind in KINDS:
                found = watch.strangeness(kind)
                if found > self.strange.get((source, kind), 1.0):
                    self.strange[source, kind] = round(found, 1)

    def _write(self, lines: Iterable[tuple[str, str]]) -> None:
        by_name: dict[str, list[str]] = {}
        for name, text in lines:
            by_name.setdefault(name, []).append(self._stamped(text))
        for name, texts in by_name.items():
            path = self.root / "var/log" / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write("\n".join(texts) + "\n")
        if self.at % ROTATE_S == 0:
            for path in [*(self.root / "var/log").rglob("*.log")]:
                path.rename(path.with_suffix(".log.1"))

    def _stamped(self, text: str) -> str:
        now = time.gmtime(BEGIN_NS // S + self.at)
        for pattern, form in _STAMPS:
            found = pattern.search(text, 0, 120)
            if found:
                return text[: found.start()] + time.strftime(form, now) + text[found.end() :]
        return text

    def _grown(self, text: str, offsets: dict[str, int]) -> str:
        """Return a line with numbers that go on from those of the piece before."""
        for kind, most, pattern in _GROWS:

            def moved(found: re.Match[str], kind: str = kind, most: int = most) -> str:
                value = int(found[0])
                if kind not in offsets:
                    offsets[kind] = self.highest.get(kind, value) + 1 - value
                value += offsets[kind]
                self.highest[kind] = max(self.highest.get(kind, 0), value)
                value = max(value, 1)
                if most and value > most:
                    value = most // 2 + value % (most // 2)
                return f"{value:0{len(found[0])}}" if found[0][0] == "0" else str(value)

            text = pattern.sub(moved, text)
        return text


class Normal:
    """A service's ordinary hours."""

    def __init__(self, directory: Path, player: Player) -> None:
        lines = read(directory / "normal.jsonl")
        self.player, self.rng = player, player.rng
        self._pieces = cut(lines, 0.0, lines[-1][0], PIECE_S)
        self._order: list[list[Line]] = []
        self._benign = {
            path.stem.removeprefix("benign-"): [*read(path), (12.0, "", "")]
            for path in sorted(directory.glob("benign-*.jsonl"))
        }
        self._due = {one: round(self.rng.uniform(0.3, 5) * HOUR) for one in self._benign}
        #: When which benign change came.
        self.changes: list[tuple[int, str]] = []

    def until(self, at: int, *, benign: bool = True) -> None:
        """Let ordinary time pass."""
        while self.player.at < at:
            name = next((one for one, due in self._due.items() if due <= self.player.at), None)
            if benign and name is not None:
                self._due[name] = self.player.at + round(self.rng.uniform(1.5, 3) * HOUR)
                self.changes.append((self.player.at, name))
                self.player.play(self._benign[name])
                continue
            if not self._order:
                self._order = self.rng.sample(self._pieces, len(self._pieces))
            hour = self.player.at / HOUR
            usual = 1 + 0.35 * math.sin(2 * math.pi * (hour + 2) / 24)
            speed = usual * self.rng.uniform(0.75, 1.3)
            self.player.play(self._order.pop(), speed, self.rng.uniform(0, 0.2))


def broken(directory: Path, name: str, player: Player, lasts_s: int) -> dict[str, Any]:
    """Play a broken run from its onset on; return its label, and when its own first line came."""
    label: dict[str, Any] = json.loads((directory / f"{name}.label.json").read_text())
    lines = read(directory / f"{name}.jsonl")
    onset, ends = label["onset"], label["end"]
    first = [(at - onset, file, text) for at, file, text in lines if at >= onset]
    own = re.compile(label["own"] or "$^", re.IGNORECASE)
    own_at = [at for at, _, text in first if own.search(text)]
    label["own_after"] = own_at[0] if own_at else None
    began = player.at
    player.play([*first, (ends - onset, "", "")])
    if not label["lasting"]:
        return label
    loops = cut(lines, onset + 0.4 * (ends - onset), ends, LOOP_S)
    while player.at < began + lasts_s:
        player.play(player.rng.choice(loops), player.rng.uniform(0.85, 1.15))
    return label
