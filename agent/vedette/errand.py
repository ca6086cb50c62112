"""Have something done on another thread while who asked waits for the answer.

What could not be begun in time is withdrawn, so that a command that reported failure never takes
effect later.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

from vedette.control import ControlError

#: How long the pipeline may be busy; who asks waits 5 s.
PATIENCE_S = 3.0

_Answer = TypeVar("_Answer")


def run(submit: Callable[[Callable[[], None]], None], errand: Callable[[], _Answer]) -> _Answer:
    """Return what ``errand`` returns where ``submit`` runs it, on the pipeline's thread.

    Raises what it raises, and ``ControlError`` when the pipeline takes too long.
    """
    future: Future[_Answer] = Future()

    def act() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(errand())
        except Exception as error:  # noqa: BLE001 - told to who asked, below
            future.set_exception(error)

    submit(act)
    try:
        return future.result(PATIENCE_S)
    except FutureTimeoutError:
        if future.cancel():
            raise ControlError("the pipeline is busy; nothing was done, try again") from None
    try:
        return future.result(PATIENCE_S)
    except FutureTimeoutError:
        if future.done():  # the errand's own
            raise
        raise ControlError("the pipeline has begun it and is not done yet") from None
