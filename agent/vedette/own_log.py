"""Log to stderr as ``key=value`` lines: one event, one line, whatever a message holds."""

from __future__ import annotations

import logging
import sys
import time


class _LogfmtFormatter(logging.Formatter):
    """Write ``time=... level=info part=spool ...``; control characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(record.created))
        text = record.getMessage()
        if record.exc_info:
            text += " trace=" + self.formatException(record.exc_info)
        name = record.name.removeprefix("vedette.")
        return f"time={stamp} level={record.levelname.lower()} part={name} {_one_line(text)}"


def set_up(level: str) -> None:
    """Send everything at or above ``level`` (a name of logging) to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LogfmtFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Their every run and request is an event at info; ours are changes of state.
    for chatty in ("apscheduler", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _one_line(text: str) -> str:
    return text.encode("unicode_escape").decode() if not text.isprintable() else text
