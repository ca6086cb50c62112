"""Keep the host's incidents, and what they taught, in two JSON files that survive a restart."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from vedette import whole_file
from vedette.api import Incident

log = logging.getLogger(__name__)
Kept = TypeVar("Kept")

FILE_NAME = "incidents.json"
#: What turns strange together on this host: 2,000 pairs are about 150 KB.
LEARNED_NAME = "together.json"


class _File(msgspec.Struct, frozen=True):
    incidents: tuple[Incident, ...]


def save(directory: Path, incidents: Sequence[Incident]) -> None:
    """Write the incidents atomically; raises ``OSError``, the old file stays then."""
    _write(directory / FILE_NAME, msgspec.json.encode(_File(tuple(incidents))))


def load(directory: Path) -> tuple[Incident, ...]:
    """Read the incidents of earlier runs; a damaged file is set aside and said, never fatal."""
    kept = _read(directory / FILE_NAME, "incidents", _File)
    return kept.incidents if kept is not None else ()


def save_learned(directory: Path, learned: Mapping[str, object]) -> None:
    """Write what ``Together.export`` returned atomically; raises ``OSError``."""
    _write(directory / LEARNED_NAME, msgspec.json.encode(learned))


def load_learned(directory: Path) -> dict[str, object]:
    """Read what was learned of incidents; empty when there is nothing, or nothing sound."""
    kept = _read(directory / LEARNED_NAME, "learned relations", dict[str, object])
    return kept if kept is not None else {}


def _write(path: Path, data: bytes) -> None:
    whole_file.put(path, data)


def _read(path: Path, what: str, kind: type[Kept]) -> Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s cannot be read path=%s reason=%s", what, path, error.strerror)
        return None
    except msgspec.DecodeError as error:
        aside = path.with_name(path.name + ".damaged")
        log.warning("%s are damaged, set aside as=%s reason=%s", what, aside, error)
        path.replace(aside)
        return None
