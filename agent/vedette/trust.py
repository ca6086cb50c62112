"""Say whether a file may decide what the agent does: sshd's rule for its own files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["distrust", "open_to_everyone"]


def distrust(status: os.stat_result, uid: int) -> str:
    """Return why code from this file or folder must not be run by ``uid``; empty when it may be.

    Trusted is what root or ``uid`` owns and neither group nor others may write.
    """
    if status.st_uid not in (0, uid):
        return f"is owned by uid {status.st_uid}, must be owned by root or uid {uid}"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode)
        return f"is writable by its group or by others (mode {mode:04o}): chmod go-w"
    return ""


def open_to_everyone(path: Path) -> bool:
    """Say whether any user may replace what lies at ``path``; True too when it cannot be seen.

    A sticky folder such as /tmp does not count: there only the owner may replace an entry.
    """
    for folder in path.resolve().parents:
        try:
            mode = folder.stat().st_mode
        except OSError:
            return True
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            return True
    return False
