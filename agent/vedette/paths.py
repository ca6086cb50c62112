"""Say where Vedette's files lie: for root in the system's places, for a user after XDG."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["CONTROL_SOCKET", "DEVELOPMENT_STATE_DIR", "INCIDENTS_FILE", "Places", "places"]

#: Names inside a state directory.
CONTROL_SOCKET = "control.sock"
INCIDENTS_FILE = "incidents.json"

#: Where ``vedette up`` keeps the agent's state, relative to the directory it is started in.
DEVELOPMENT_STATE_DIR = Path(".run") / "agent"


class Places(NamedTuple):
    """Default locations; each can be overridden by an option or in agent.toml."""

    config: Path
    state_dir: Path
    plugins_dir: Path
    receiver_state_dir: Path


SYSTEM = Places(
    config=Path("/etc/vedette/agent.toml"),
    state_dir=Path("/var/lib/vedette"),
    plugins_dir=Path("/etc/vedette/plugins.d"),
    receiver_state_dir=Path("/var/lib/vedette-receiver"),
)


def places(uid: int | None = None, environ: Mapping[str, str] | None = None) -> Places:
    """Return the defaults for a user id (default: the effective one) and environment.

    Raises ``LookupError`` for a user without a home directory and without XDG variables.
    """
    uid = os.geteuid() if uid is None else uid
    if uid == 0:
        return SYSTEM
    environ = os.environ if environ is None else environ
    config = _xdg(uid, environ, "XDG_CONFIG_HOME", ".config") / "vedette"
    state = _xdg(uid, environ, "XDG_STATE_HOME", ".local/state")
    return Places(
        config=config / "agent.toml",
        state_dir=state / "vedette",
        plugins_dir=config / "plugins.d",
        receiver_state_dir=state / "vedette-receiver",
    )


def _xdg(uid: int, environ: Mapping[str, str], name: str, otherwise: str) -> Path:
    """Return an XDG directory; a relative value is invalid by the specification and ignored."""
    value = environ.get(name, "")
    if value.startswith("/"):
        return Path(value)
    home = environ.get("HOME", "")
    if home.startswith("/"):
        return Path(home) / otherwise
    try:  # a service user may have no HOME: the user database knows
        return Path(pwd.getpwuid(uid).pw_dir) / otherwise
    except KeyError:
        raise LookupError(
            f"user {uid} has no home directory; set {name}, or give --config and --state-dir"
        ) from None
