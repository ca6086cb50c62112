"""Know all versions of all detectors, as the history tells them, and keep their files.

The history is what counts: a change of versions is one entry, written before anything acts on it,
so a crash leaves either the state before or the one after. ``versions.json`` only saves reading all
of it at each start, and holds the place up to which it was read. What an entry made superfluous is
removed after it; what a crash left of that is removed at the next start.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from vedette import whole_file
from vedette.models import sealed
from vedette.models.history import NOTHING, Anchor, Entry, Event, History, entries
from vedette.models.state import MAGIC
from vedette.models.version import FOLLOWS, Status, Version

log = logging.getLogger(__name__)

DIRECTORY = "models"
SNAPSHOT = "versions.json"
STATE = ".state"
#: What a training outside of the agent leaves for it.
INCOMING = "incoming-"


class _Snapshot(msgspec.Struct, frozen=True):
    """The versions after the entry ``seq``; ``numbers`` are the last ones that were given."""

    seq: int = 0
    hash: str = NOTHING
    numbers: Mapping[str, int] = {}
    versions: tuple[Version, ...] = ()


class Catalogue:
    """The versions in one state directory. ``open`` before anything is changed."""

    def __init__(self, state_dir: Path, keep: int = 5) -> None:
        self.directory = state_dir / DIRECTORY
        self.keep = keep
        self.history = History(self.directory)
        self.versions: dict[str, Version] = {}
        self._numbers: dict[str, int] = {}

    def open(self, now_ns: int) -> None:
        """Take up what earlier runs left and clear away what they did not finish."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        snapshot = _snapshot(self.directory)
        self._numbers = dict(snapshot.numbers)
        self.versions = {one.id: one for one in snapshot.versions}
        for entry in self.history.open(now_ns, Anchor(snapshot.seq, snapshot.hash)):
            self._follow(entry)
        for path in self.directory.iterdir():
            is_state = path.suffix == STATE and path.stem not in self.versions
            if is_state or path.suffix == whole_file.UNFINISHED:
                path.unlink(missing_ok=True)

    def of(self, detector: str) -> list[Version]:
        """Return the versions of a detector, newest first."""
        mine = [one for one in self.versions.values() if one.detector == detector]
        return sorted(mine, key=lambda one: one.number, reverse=True)

    def with_status(self, detector: str, status: Status) -> Version | None:
        """Return the newest version of a detector that has the status."""
        return next((one for one in self.of(detector) if one.status == status), None)

    def champion(self, detector: str) -> Version | None:
        """Return the version whose findings are told."""
        return self.with_status(detector, "champion")

    def path(self, version: str) -> Path:
        """Return where the state of a version is kept."""
        return self.directory / (version + STATE)

    def next_id(self, detector: str) -> str:
        """Return the id that the next version of a detector gets."""
        return f"{detector}-{self._numbers.get(detector, 0) + 1}"

    def commit(
        self,
        now_ns: int,
        event: Event,
        changed: Sequence[Version],
        *,
        why: str,
        figures: Mapping[str, Any] | None = None,
    ) -> None:
        """Write down a change; from here on it holds. Raises ``OSError``, nothing changed then.

        Of several versions the first is the one that the entry is about.
        """
        entry = self.history.append(
            now_ns,
            event,
            detector=changed[0].detector,
            version=changed[0].id,
            why=why,
            figures=figures,
            versions=changed,
        )
        self._follow(entry)
        log.info(
            "model event=%r detector=%s version=%s why=%r",
            event,
            entry.detector,
            entry.version,
            why,
        )
        if event != "forgotten":
            self._prune(now_ns, changed[0].detector)
            self._save()

    def moved(self, version: Version, status: Status, now_ns: int, **changes: Any) -> Version:
        """Return a version with another status; raises ``ValueError`` when it cannot get that."""
        if status not in FOLLOWS[version.status]:
            raise ValueError(f"{version.id} is {version.status} and cannot become {status}")
        state = sealed.digest(self.path(version.id), MAGIC)
        return msgspec.structs.replace(
            version, status=status, since_ns=now_ns, **({"state": state} | changes)
        )

    def anchor(self) -> Anchor:
        """Return the newest entry and its hash."""
        return self.history.last

    def _follow(self, entry: Entry) -> None:
        for version in entry.versions:
            number = self._numbers.get(version.detector, 0)
            self._numbers[version.detector] = max(number, version.number)
            if entry.event == "forgotten":
                self.versions.pop(version.id, None)
            else:
                self.versions[version.id] = version

    def _prune(self, now_ns: int, detector: str) -> None:
        """Forget the oldest versions beyond ``keep``; never champion, its parent, nor a shadow."""
        mine = self.of(detector)
        champion = self.champion(detector)
        needed = {one.id for one in mine if one.status in ("champion", "shadow", "candidate")}
        if champion is not None:
            needed.add(champion.parent)
        others = [one for one in mine if one.id not in needed]
        surplus = others[max(self.keep - (len(mine) - len(others)), 0) :]
        if not surplus:
            return
        names = ", ".join(one.id for one in surplus)
        self.commit(now_ns, "forgotten", surplus, why=f"more than {self.keep} versions: {names}")
        for one in surplus:
            self.path(one.id).unlink(missing_ok=True)

    def _save(self) -> None:
        last = self.history.last
        snapshot = _Snapshot(last.seq, last.hash, self._numbers, tuple(self.versions.values()))
        try:
            whole_file.put(self.directory / SNAPSHOT, msgspec.json.encode(snapshot))
        except OSError as error:  # the history has it all
            log.warning("versions cannot be saved reason=%s", error.strerror)


def read(state_dir: Path) -> tuple[list[Version], Anchor]:
    """Return the versions in a state directory, and the last known entry; writes nothing."""
    directory = state_dir / DIRECTORY
    snapshot = _snapshot(directory)
    known = {one.id: one for one in snapshot.versions}
    for entry in entries(directory):
        if entry.seq <= snapshot.seq:
            continue
        for version in entry.versions:
            if entry.event == "forgotten":
                known.pop(version.id, None)
            else:
                known[version.id] = version
    ordered = sorted(known.values(), key=lambda one: (one.detector, -one.number))
    return ordered, Anchor(snapshot.seq, snapshot.hash)


def _snapshot(directory: Path) -> _Snapshot:
    """Return what ``versions.json`` says; the start of all when it says nothing usable."""
    path = directory / SNAPSHOT
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Snapshot)
    except FileNotFoundError:
        return _Snapshot()
    except (OSError, msgspec.DecodeError) as error:
        log.warning("versions are read from the history path=%s reason=%s", path, error)
        return _Snapshot()
