"""Say once that something began to fail, and once that it works again.

What is done again and again, like a write each minute to a disk that is full, would fill the log
that somebody has to read because of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable


class Trouble:
    """Whether something fails; a line in ``log`` each time that changes. Not thread-safe."""

    def __init__(
        self, log: logging.Logger, failing: str, works: str, *, level: int = logging.WARNING
    ) -> None:
        """``failing`` is said with the reason and at ``level``, ``works`` as information."""
        self._log = log
        self._failing = failing
        self._works = works
        self._level = level
        #: Whether it fails now.
        self.lasts = False

    def met(self, reason: object) -> None:
        """Hear that it failed."""
        if not self.lasts:
            self._log.log(self._level, "%s reason=%s", self._failing, reason)
        self.lasts = True

    def over(self) -> None:
        """Hear that it worked."""
        if self.lasts:
            self._log.info("%s", self._works)
        self.lasts = False

    def attempt(self, write: Callable[[], object]) -> bool:
        """Write something and return whether that worked; an ``OSError`` goes no further."""
        try:
            write()
        except OSError as error:
            self.met(error)
            return False
        self.over()
        return True
