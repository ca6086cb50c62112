"""What a component is configured by, and how it says that something is not there."""

from __future__ import annotations

import os
from typing import Literal

import msgspec

Stability = Literal["stable", "beta", "experimental"]


class Unavailable(Exception):  # noqa: N818 - a state of the world, not an error
    """Say that what a collector reads does not exist on this host.

    Raised by ``probe()`` or ``collect()``: the collector rests and is probed again slowly. The
    text is shown to a person ("no NVIDIA driver").
    """


class Duration(float):
    """Seconds; a text with unit in agent.toml: ``"250ms"``, ``"10s"``, ``"5m"``, ``"2h"``."""


class Size(int):
    """Bytes; a number, or a text with unit in agent.toml: ``"512KiB"``, ``"64MiB"``."""


class Secret:
    """A credential never printed; in agent.toml ``{ file = "..." }`` or ``{ env = "..." }``.

    The source is read anew by each ``reveal()``, so a rotated credential is picked up.
    """

    __slots__ = ("env", "file")

    def __init__(self, *, file: str = "", env: str = "") -> None:
        self.file = file
        self.env = env

    def reveal(self) -> str:
        """Return the credential; raises ``Unavailable`` naming the source when there is none."""
        if self.env:
            value = os.environ.get(self.env, "")
            if not value:
                raise Unavailable(f"environment variable {self.env} is not set")
            return value
        try:
            with open(self.file, encoding="utf-8") as file:
                return file.read().strip()
        except OSError as error:
            raise Unavailable(f"cannot read {self.file}: {error.strerror}") from error

    def __repr__(self) -> str:
        return "Secret(***)"


class NoConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The configuration of a component that has nothing to configure."""


class Problem(msgspec.Struct, frozen=True):
    """Something ``vedette check`` found, with its place and a remedy in ``text``."""

    severity: Literal["error", "warning"]
    text: str
    file: str = ""
    line: int = 0
