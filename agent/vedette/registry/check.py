"""Say why a class that a plugin registers cannot be used, in words its author understands."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from vedette.api import Collector, Detector, Isolation, Output, Stability, StateArray
from vedette.config.schema import fields, unsupported
from vedette.config.settings import CORE_KEYS

__all__ = ["KINDS", "class_problem", "error_text"]

#: What each registering hook returns classes of.
KINDS: Mapping[str, type[Collector | Detector | Output]] = {
    "collectors": Collector,
    "detectors": Detector,
    "outputs": Output,
}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_REASON_MAX = 300


def class_problem(kind: str, class_: Any) -> str:
    """Return what is wrong with one registered object; empty when it can be used."""
    expected = KINDS[kind]
    if not isinstance(class_, type) or not issubclass(class_, expected):
        return f"register_{kind}() returned {class_!r}, which is no {expected.__name__} class"
    name = getattr(class_, "name", None)
    if not isinstance(name, str):
        return f"class {class_.__name__} has no name"
    if not _NAME.fullmatch(name):
        return f"class {class_.__name__}: name {name!r} must be lower_snake_case"
    missing = sorted(getattr(class_, "__abstractmethods__", ()))
    if inspect.isabstract(class_):
        return f"class {class_.__name__} does not define {', '.join(missing)}()"
    problem = _config_problem(kind, class_) or _declaration_problem(class_)
    return f"class {class_.__name__}: {problem}" if problem else ""


def error_text(error: BaseException, near: str = "") -> str:
    """Return an exception with the file and line it came from, in ``near`` when it passed there."""
    message = str(error).partition("\n")[0]
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    text = text[:_REASON_MAX]
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({error.filename}:{error.lineno})"
    place, traceback = "", error.__traceback__
    is_near = False
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith("<frozen") and (file == near or not is_near):
            place, is_near = f" ({file}:{traceback.tb_lineno})", file == near
        traceback = traceback.tb_next
    return text + place


def _config_problem(kind: str, class_: Any) -> str:
    config = class_.Config
    if not isinstance(config, type) or not issubclass(config, msgspec.Struct):
        return "Config must be a msgspec.Struct"
    try:
        known = fields(config)
    except (NameError, TypeError) as error:  # annotations that cannot be resolved
        return f"Config: {error}"
    taken = sorted(known.keys() & {"id", *fields(CORE_KEYS[kind])})
    if taken:
        return f"Config field {taken[0]!r} is a key that Vedette keeps for itself"
    required = [key for key, field in known.items() if field.required]
    if required:
        return f"Config field {required[0]!r} needs a default"
    problem = unsupported(config)
    if problem:
        return f"Config {problem}"
    if getattr(class_, "default", False):
        try:
            config()
        except Exception as error:  # noqa: BLE001 - the author's own check
            return f"is on by default, but Config() fails: {error_text(error)}"
    return ""


def _declaration_problem(class_: Any) -> str:
    if class_.stability not in get_args(Stability):
        return f"stability {class_.stability!r} must be one of {', '.join(get_args(Stability))}"
    if issubclass(class_, Collector):
        return _collector_problem(class_)
    if issubclass(class_, Detector):
        return _detector_problem(class_)
    return ""


def _collector_problem(class_: type[Collector]) -> str:
    if not _is_positive(class_.interval_s):
        return f"interval_s {class_.interval_s!r} must be more than 0"
    if class_.timeout_s is not None and not _is_positive(class_.timeout_s):
        return f"timeout_s {class_.timeout_s!r} must be more than 0, or None"
    if class_.isolation not in get_args(Isolation):
        return f"isolation {class_.isolation!r} must be one of {', '.join(get_args(Isolation))}"
    return ""


def _detector_problem(class_: type[Detector]) -> str:
    if class_.scale not in ("strangeness", "level"):
        return f"scale {class_.scale!r} must be strangeness or level"
    if not isinstance(class_.lookback, int) or class_.lookback < 1:
        return f"lookback {class_.lookback!r} must be 1 or more ticks"
    if not isinstance(class_.state, Mapping) or not all(
        isinstance(array, StateArray) for array in class_.state.values()
    ):
        return "state must map names to StateArray"
    return ""


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0
