"""Answer for the models at the control socket: tell how they are, carry wishes to the pipeline.

One verb, ``model``, with an ``action``. To look takes nothing but the view; what is to be done is
done on the pipeline's thread, between two ticks, while the control thread waits. A wish that could
not be looked at in time is withdrawn, so that a command that reported failure never takes effect
later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import msgspec

from vedette.control import ControlError
from vedette.models import Data, Lifecycle, ModelError

#: How long the pipeline may be busy; who asks waits 5 s.
PATIENCE_S = 3.0


class Look(msgspec.Struct, frozen=True, tag_field="action", tag="list"):
    """Tell the versions and how those do that are tried."""


class Train(msgspec.Struct, frozen=True, tag_field="action", tag="train"):
    """Train a version; ``options`` None: with those of agent.toml."""

    detector: str
    options: dict[str, Any] | None = None
    hurry: bool = False


class TakeIn(msgspec.Struct, frozen=True, tag_field="action", tag="take-in"):
    """Try what was trained on a file; ``file`` lies in the directory of the models."""

    detector: str
    options: dict[str, Any]
    file: str
    data: Data


class Try(msgspec.Struct, frozen=True, tag_field="action", tag="shadow"):
    """Begin to try a version, or end that."""

    id: str
    stop: bool = False


class Promote(msgspec.Struct, frozen=True, tag_field="action", tag="promote"):
    """Make a version the champion."""

    id: str
    force: bool = False


class RollBack(msgspec.Struct, frozen=True, tag_field="action", tag="rollback"):
    """Put the champion before this one back."""

    detector: str


Wish = Look | Train | TakeIn | Try | Promote | RollBack


class ModelDesk:
    """Answer the verb ``model``. ``submit`` runs a function on the pipeline's thread."""

    def __init__(self, models: Lifecycle, submit: Callable[[Callable[[], None]], None]) -> None:
        self._models = models
        self._submit = submit

    def handle(self, request: dict[str, Any]) -> Mapping[str, Any]:
        """Do what a request asks for; on the control thread. Raises ``ControlError``."""
        try:
            wish = msgspec.convert(request, Wish)
        except msgspec.ValidationError as error:
            raise ControlError(f"not understood: {error}") from None
        if isinstance(wish, Look):
            return {"models": msgspec.to_builtins(self._models.view)}
        future: Future[str] = Future()

        def act() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(self._do(wish))
            except Exception as error:  # noqa: BLE001 - told to who asked, below
                future.set_exception(error)

        self._submit(act)
        try:
            return {"id": self._result(future)}
        except ModelError as error:
            raise ControlError(f"{error}. {error.remedy}".removesuffix(". ")) from None

    def _result(self, future: Future[str]) -> str:
        try:
            return future.result(PATIENCE_S)
        except FutureTimeoutError:
            if future.cancel():
                raise ControlError("the pipeline is busy; nothing was done, try again") from None
            return future.result(PATIENCE_S)

    def _do(self, wish: Train | TakeIn | Try | Promote | RollBack) -> str:
        """Do what is wished, on the pipeline's thread; return the id of the version it is about."""
        models = self._models
        if isinstance(wish, Train):
            return models.train(wish.detector, wish.options, hurry=wish.hurry)
        if isinstance(wish, TakeIn):
            return models.take_in(wish.detector, wish.options, wish.file, wish.data)
        if isinstance(wish, RollBack):
            return models.roll_back(wish.detector)
        if isinstance(wish, Promote):
            models.promote(wish.id, force=wish.force)
        elif wish.stop:
            models.stop_shadow(wish.id)
        else:
            models.shadow(wish.id)
        return wish.id
