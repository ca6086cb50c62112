"""Say of incidents what was real and what was not, mute series, and look at what was said."""

from __future__ import annotations

import argparse
import os
import pwd
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from vedette import feedback_store
from vedette.commands.json_text import out_json
from vedette.commands.locate import ask, ask_running, candidates
from vedette.config.units import parse_duration
from vedette.control import REQUEST_MAX, NotRunning
from vedette.feedback import AnyMark, Marks, Mute
from vedette.feedback_effects import Effects
from vedette.terminal import CommandError, clock, hanging, out, paint, printable

__all__ = ["feedback", "judge", "mute", "undo", "unmute"]

_FOR_EVER = ("ever", "forever")
#: Bytes of marks in one request: with room for the rest of it.
_PIECE = REQUEST_MAX - 4096


def judge(options: argparse.Namespace) -> int:
    """Say that an incident was real (``ack``), or rang for nothing (``false-alarm``)."""
    answer = _ask(
        options, action="judge", word=options.action, id=options.id, by=_user(), note=options.note
    )
    return _told(options, answer)


def mute(options: argparse.Namespace) -> int:
    """Mute an incident's series, a pattern or a family."""
    if not (options.target or options.series or options.resource):
        raise CommandError(
            "mute what?", "An incident's ID, a pattern such as 'system.disk.*', or --resource NAME."
        )
    answer = _ask(
        options,
        action="mute",
        target=options.target,
        series=options.series,
        resource=options.resource,
        seconds=_seconds(options.duration),
        by=_user(),
        note=options.note,
    )
    return _told(options, answer)


def unmute(options: argparse.Namespace) -> int:
    """End a mute."""
    answer = _ask(options, action="unmute", target=options.target, by=_user())
    return _taken_back(options, answer)


def undo(options: argparse.Namespace) -> int:
    """Take a mark back."""
    answer = _ask(options, action="undo", number=options.number, by=_user())
    return _taken_back(options, answer)


def feedback(options: argparse.Namespace) -> int:
    """List all marks, newest first; or carry them to a file, or from one."""
    if options.import_ is not None:
        return _import(options, options.import_)
    host, known = _known(options.state_dir)
    if options.export is not None:
        return _export(options, host, [_mark(one) for one in known])
    known.reverse()
    if options.json:
        out_json({"host": host, "marks": known})
    elif not known:
        out("nothing was said so far")
    else:
        for one in known:
            _show(one)
    return 0


# ---------------------------------------------------------------- asking


def _ask(options: argparse.Namespace, **arguments: Any) -> dict[str, Any]:
    return ask_running(options.state_dir, "feedback", **arguments)[1]


def _known(explicit: Path | None) -> tuple[str, list[dict[str, Any]]]:
    """Return the host and its marks, oldest first; without an agent from its directory."""
    try:
        _, answer = ask(explicit, "feedback", action="list")
        return str(answer["host"]), list(answer["marks"])
    except NotRunning as error:
        refusal = error
    for state_dir in candidates(explicit):
        path = state_dir / feedback_store.FILE_NAME
        if path.exists() or (state_dir / "agent.json").exists():
            marks = _read(path) if path.exists() else Marks()
            effects = Effects(marks, time.time_ns())
            told = [msgspec.to_builtins(one) | {"effect": effects.of(one)} for one in marks.marks]
            return os.uname().nodename, told
    raise CommandError(str(refusal), refusal.remedy)


def _read(path: Path) -> Marks:
    try:
        return feedback_store.read(path)
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise CommandError(f"{path} is no file of feedback that this version knows: {error}") from (
            None
        )


def _user() -> str:
    """Return who says it: whoever called sudo, or the user."""
    uid = os.getuid()
    caller = os.environ.get("SUDO_USER", "") if uid == 0 else ""
    if caller:
        return caller
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _seconds(text: str) -> float | None:
    if text in _FOR_EVER:
        return None
    try:
        seconds = float(parse_duration(text))
    except ValueError as error:
        raise CommandError(f"--for: {error}, or `ever`") from None
    if seconds < 1:
        raise CommandError(f"--for: {text} is less than 1s")
    return seconds


# ---------------------------------------------------------------- to and from a file


def _export(options: argparse.Namespace, host: str, marks: Sequence[AnyMark]) -> int:
    try:
        feedback_store.export(options.export, Marks(marks=tuple(marks)), host)
    except OSError as error:
        raise CommandError(f"cannot write {options.export}: {error.strerror}") from None
    if options.json:
        out_json({"file": str(options.export), "exported": len(marks)})
    else:
        out(f"{_marks(len(marks))} written to {printable(options.export)}")
    return 0


def _import(options: argparse.Namespace, path: Path) -> int:
    marks = _read(path).marks
    added: list[dict[str, Any]] = []
    known = 0
    for piece in _pieces(marks, path):
        answer = _ask(options, action="import", marks=piece, by=_user())
        added += answer["marks"]
        known += int(answer["known"])
    if options.json:
        out_json({"file": str(path), "imported": len(added), "known": known, "marks": added})
    else:
        before = f"; {known} more known already" if known else ""
        out(f"{_marks(len(added))} taken over{before}")
    return 0


def _pieces(marks: Sequence[AnyMark], path: Path) -> Iterator[list[AnyMark]]:
    """Yield the marks in parts that fit into a request; what is known is not taken twice."""
    piece: list[AnyMark] = []
    used = 0
    for mark in marks:
        needed = len(msgspec.json.encode(mark)) + 1
        if needed > _PIECE:
            raise CommandError(f"mark {mark.number} of {path} is too long to be taken over")
        if used + needed > _PIECE:
            yield piece
            piece, used = [], 0
        piece.append(mark)
        used += needed
    if piece:
        yield piece


# ---------------------------------------------------------------- telling


def _told(options: argparse.Namespace, answer: Mapping[str, Any]) -> int:
    if options.json:
        out_json(answer)
        return 0
    for data in answer["marks"]:
        _show(data)
        out(f"    `vedette incidents undo {data['number']}` takes it back")
    return 0


def _taken_back(options: argparse.Namespace, answer: Mapping[str, Any]) -> int:
    if options.json:
        out_json(answer)
        return 0
    for data in answer["marks"]:
        out(f"taken back: {_headline(data)}")
    for data in answer["again"]:
        out("what was said before holds again:")
        _show(data)
    return 0


def _show(data: Mapping[str, Any]) -> None:
    out(_headline(data))
    for key in ("title", "note", "effect"):
        if data.get(key):
            lead = '    "{}"' if key == "note" else "    {}"
            out(hanging(lead.strip().format(printable(data[key])), 4, "    "))


def _headline(data: Mapping[str, Any]) -> str:
    mark = _mark(data)
    where = f" on {printable(mark.host)}" if mark.host else ""
    said = f"{mark.number}  {clock(mark.time_ns)}  {printable(mark.by)}{where}: "
    if not isinstance(mark, Mute):
        return f"{said}{paint(mark.word, 'bold')} {printable(mark.incident)}"
    until = f" until {clock(mark.expires_ns)}" if mark.expires_ns else ""
    return f"{said}{paint('mute', 'bold')} {printable(mark.meant)}{until}"


def _mark(data: Mapping[str, Any]) -> AnyMark:
    try:
        mark: AnyMark = msgspec.convert(data, AnyMark)
    except msgspec.ValidationError as error:
        raise CommandError(
            f"the agent describes a mark in a way this version does not know ({error})",
            "Use the same version of vedette as the running agent.",
        ) from None
    return mark


def _marks(count: int) -> str:
    return "1 mark" if count == 1 else f"{count} marks"
