"""Keep asyncio out of a process that has no use for it.

APScheduler 3 imports ``asyncio.iscoroutinefunction`` to tell coroutines from functions. Here no job
is a coroutine, and asyncio with all that it loads takes 1.4 MiB. While APScheduler is imported,
``asyncio`` is a module with that one function; where that is not enough, or asyncio is loaded
anyway, the real one is used.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

#: Everything of APScheduler that reaches asyncio.
REACHES = "apscheduler.util"


@contextmanager
def without_asyncio() -> Iterator[None]:
    """Import APScheduler inside of it."""
    if "asyncio" not in sys.modules:
        stand_in = ModuleType("asyncio")
        stand_in.iscoroutinefunction = inspect.iscoroutinefunction  # type: ignore[attr-defined]
        sys.modules["asyncio"] = stand_in
        try:
            import_module(REACHES)
        except ImportError:  # it needs more of asyncio than that: let it have all
            sys.modules.pop("apscheduler", None)
        finally:
            if sys.modules.get("asyncio") is stand_in:
                del sys.modules["asyncio"]
    yield
