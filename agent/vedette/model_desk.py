"""Answer for the models at the control socket: tell how they are, carry wishes to the pipeline.

One verb, ``model``, with an ``action``. To look takes nothing but the view; what is to be done is
done on the pipeline's thread, between two ticks, while the control thread waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from vedette import errand
from vedette.control import ControlError
from vedette.models import Data, Lifecycle, ModelError


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
        try:
            return {"id": errand.run(self._submit, lambda: self._do(wish))}
        except ModelError as error:
            raise ControlError(f"{error}. {error.remedy}".removesuffix(". ")) from None

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
