"""Speak with the service manager: readiness, status text, watchdog (sd_notify(3) of systemd)."""

from __future__ import annotations

import os
import socket


class ServiceManager:
    """Send notifications to the socket in ``NOTIFY_SOCKET``; does nothing when there is none."""

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        #: Seconds within which the manager wants a sign of life; None when it does not ask.
        self.watchdog_s: float | None = None
        if not address:
            return
        if address.startswith("@"):  # an abstract socket
            address = "\0" + address[1:]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(1.0)
        self._address = address
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        owner = os.environ.get("WATCHDOG_PID", str(os.getpid()))
        if microseconds.isdigit() and owner == str(os.getpid()):
            self.watchdog_s = int(microseconds) / 1e6

    def notify(self, *assignments: str) -> None:
        """Send ``KEY=value`` assignments (``READY=1``, ``STATUS=...``); never raises."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(assignments).encode(), self._address)
        except OSError:
            # A manager that went away must not take the service with it.
            return
