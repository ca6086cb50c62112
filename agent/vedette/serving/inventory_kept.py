"""Keep inventories over a restart of the agent, so that what changed meanwhile is told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from vedette import whole_file
from vedette.serving.inventory import Inventory
from vedette.trouble import Trouble

log = logging.getLogger(__name__)

FILE_NAME = "inventories.json"
ENDPOINTS_MAX = 64
_BYTES_MAX = 8 << 20


class Kept:
    """The file; ``directory`` is None where nothing is kept."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._written = b""
        self._writing = Trouble(log, "inventories cannot be saved", "inventories are saved again")

    def load(self) -> dict[str, Inventory]:
        """Return what an earlier run knew, by endpoint; nothing where that cannot be read."""
        if self._directory is None:
            return {}
        try:
            with (self._directory / FILE_NAME).open("rb") as file:
                return msgspec.json.decode(file.read(_BYTES_MAX), type=dict[str, Inventory])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("inventories of model servers are begun anew: %s", error)
            return {}

    def save(self, known: Mapping[str, Inventory]) -> None:
        """Write what is known, the newest endpoints of too many; a failure is said."""
        body = msgspec.json.encode(dict(list(known.items())[-ENDPOINTS_MAX:]))
        directory = self._directory
        if directory is None or body == self._written:
            return
        if self._writing.attempt(lambda: _write(directory, body)):
            self._written = body


def _write(directory: Path, body: bytes) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    whole_file.put(directory / FILE_NAME, body, mode=0o600)
