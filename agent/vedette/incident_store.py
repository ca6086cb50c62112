"""Keep the host's incidents in one JSON file, so that they survive a restart."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from vedette.api import Incident

log = logging.getLogger(__name__)

FILE_NAME = "incidents.json"


class _File(msgspec.Struct, frozen=True):
    incidents: tuple[Incident, ...]


def save(directory: Path, incidents: Sequence[Incident]) -> None:
    """Write the incidents atomically; raises ``OSError``, the old file stays then."""
    path = directory / FILE_NAME
    temporary = path.with_name(path.name + ".new")
    with open(temporary, "wb") as file:
        file.write(msgspec.json.encode(_File(tuple(incidents))))
        file.flush()
        os.fdatasync(file.fileno())
    temporary.replace(path)


def load(directory: Path) -> tuple[Incident, ...]:
    """Read the incidents of earlier runs; a damaged file is set aside and said, never fatal."""
    path = directory / FILE_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File).incidents
    except FileNotFoundError:
        return ()
    except OSError as error:
        log.warning("incidents cannot be read path=%s reason=%s", path, error.strerror)
        return ()
    except msgspec.DecodeError as error:
        aside = path.with_name(path.name + ".damaged")
        log.warning("incidents are damaged, set aside as=%s reason=%s", aside, error)
        path.replace(aside)
        return ()
