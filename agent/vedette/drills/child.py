"""Make one bounded fault and end: the child processes of a drill.

Run as ``python -m vedette.drills.child``. Every child is named ``drill-FAULT``, ends with its
parent and at its own deadline even when nobody stops it, and carries limits the kernel enforces.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module

from vedette.drills.task import Task, confine, limit

__all__ = ["main"]

#: Where the work of each kind is done; a child imports no more than that.
_WORK = {
    "cpu": "machine:spin",
    "cpu-one": "machine:spin",
    "memory": "machine:leak",
    "files": "machine:open_files",
    "forks": "machine:fork",
    "stuck": "machine:stop",
    "disk": "storage:sync",
    "disk-fill": "storage:fill",
    "inodes": "storage:churn",
    "log": "storage:log",
    "network": "traffic:send",
    "network-receive": "traffic:receive",
    "sockets": "traffic:leak",
    "net-delay": "links:delay",
    "net-loss": "links:lose",
    "model": "model:serve",
}


def main() -> int:
    """Make the fault that the arguments describe."""
    parser = argparse.ArgumentParser(prog="vedette.drills.child")
    parser.add_argument("kind", choices=_WORK)
    parser.add_argument("--name", required=True, help="what it calls itself")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--amount", type=int, default=0)
    parser.add_argument("--rate", type=int, default=0, help="of the amount, a second")
    parser.add_argument("--path", default="")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--listener", type=int, default=-1, help="an inherited descriptor")
    parser.add_argument("--like", help="the server that it imitates, for whoever looks for one")
    options = parser.parse_args()
    confine(options.name, options.seconds, options.parent)
    module, _, function = _WORK[options.kind].partition(":")
    work = getattr(import_module(f"vedette.drills.{module}"), function)
    task = Task(
        deadline=time.monotonic() + options.seconds,
        seconds=options.seconds,
        amount=options.amount,
        rate=options.rate,
        path=options.path,
        port=options.port,
        listener=options.listener,
    )
    try:
        limit(options.kind, options.amount)
        work(task)
    except (OSError, MemoryError) as error:
        sys.stderr.write(f"{options.kind}: {error or 'no memory'}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
