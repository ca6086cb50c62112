"""Judge connections and requests of a capture as sessions, by ``vedette logs mine --session``.

Six tenths of the normal run are given as normal; what is judged is the rest of it and, of each
broken run, what came after the onset. A session is broken when one of its lines is the fault's own
(``own`` of the label); the others of a broken run may be either and are left out.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: The key in a line, and the faults whose lines are of sessions.
KEYS = {
    "nginx": (
        r"(?:rid=|\[)([0-9a-f]{32})",
        ("app_500", "upstream_hangs", "upstream_killed", "disk_full"),
    ),
    "postgres": (
        r"\[(\d+)\] \S+@",
        (
            "connections",
            "disk_full",
            "deadlocks",
            "missing_column",
            "lock_pile",
            "no_login",
        ),
    ),
    "sshd": (
        r"sshd\[(\d+)\]",
        ("brute_force", "invalid_users", "bad_permissions", "old_clients"),
    ),
}
SHARE = 0.6

Rows = list[tuple[float, str, str]]


def sessions(captured: Path, services: Sequence[str]) -> list[dict[str, Any]]:
    """Judge all services that have sessions."""
    return [
        _judged(captured / service, fault, key)
        for service, (key, faults) in KEYS.items()
        if service in services
        for fault in ("", *faults)
    ]


def _judged(directory: Path, fault: str, key: str) -> dict[str, Any]:
    pattern = re.compile(key)
    normal = _read(directory, "normal", 0.0, pattern, 1)
    border = normal[-1][0] * SHARE
    learned = {pattern.search(text)[1] for at, _, text in normal if at < border}  # type: ignore[index]
    train = [text for _, _, text in normal if pattern.search(text)[1] in learned]  # type: ignore[index]
    test = [text for _, _, text in normal if pattern.search(text)[1] not in learned]  # type: ignore[index]
    bad: set[str] = set()
    others: set[str] = set()
    if fault:
        label = json.loads((directory / f"fault-{fault}.label.json").read_text())
        rows = _read(directory, f"fault-{fault}", label["onset"], pattern, 2)
        own = re.compile(label["own"], re.IGNORECASE)
        test += [text for _, _, text in rows]
        for _, _, text in rows:
            found = pattern.search(text)
            if found:
                (bad if own.search(text) else others).add(found[1])
    verdicts = _mined(train, test, key)
    fine = [one for session, one in verdicts.items() if session not in bad | others]
    wrong = [one for session, one in verdicts.items() if session in bad]
    return {
        "service": directory.name,
        "fault": fault or "(normal)",
        "broken": len(wrong),
        "recall": sum(wrong) / max(len(wrong), 1),
        "normal": len(fine),
        "fpr": sum(fine) / max(len(fine), 1),
    }


def _read(directory: Path, run: str, begin: float, key: re.Pattern[str], number: int) -> Rows:
    """Return the lines of a run that are of sessions, with keys that are this run's own."""
    rows: Rows = []
    with (directory / f"{run}.jsonl").open() as file:
        for line in file:
            at, name, text = json.loads(line)
            found = key.search(text)
            if at >= begin and found is not None:
                if found[1].isdigit():
                    text = f"{text[: found.start(1)]}{number}{text[found.start(1) :]}"
                rows.append((at, name, text))
    return rows


def _mined(train: list[str], test: list[str], key: str) -> dict[str, bool]:
    with tempfile.TemporaryDirectory() as place:
        paths = [Path(place) / one for one in ("train.log", "test.log", "verdicts.csv")]
        for path, lines in zip(paths, (train, test), strict=False):
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "vedette.cli", "logs", "mine", str(paths[1])]
        command += ["--normal", str(paths[0]), "--session", key, "--verdicts", str(paths[2])]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with paths[2].open(newline="", encoding="utf-8") as file:
            return {one["session"]: one["abnormal"] == "1" for one in csv.DictReader(file)}


def table(found: list[dict[str, Any]]) -> str:
    """Return the figures as text."""
    lines = ["\nsessions of  fault             broken  recall   normal     fpr"]
    lines += [
        f"{one['service']:12} {one['fault']:16} {one['broken']:7} {one['recall']:7.2f} "
        f"{one['normal']:8} {one['fpr']:7.4f}"
        for one in found
    ]
    return "\n".join(lines)
