"""Mine log files: their templates, which line is of which, and which sessions are abnormal."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self, TextIO

from vedette.commands.logs_mine_ledger import Ledger
from vedette.commands.logs_mine_report import (
    Report,
    in_words,
    json_of,
    write_assigned,
    write_templates,
    write_verdicts,
)
from vedette.commands.logs_mine_sessions import judge, key_of
from vedette.commands.logs_mine_source import STDIN, Source, batches
from vedette.logs.sessions import SessionKey
from vedette.terminal import CommandError, out

__all__ = ["mine"]


def mine(options: argparse.Namespace) -> int:
    """Mine the files named; everything that can be wrong before is told before."""
    key = _checked(options)
    began = time.monotonic()
    with ExitStack() as files:
        assign, templates, verdicts = (
            None if path is None else files.enter_context(_Output(path))
            for path in (options.assign, options.templates, options.verdicts)
        )
        ledger = _mined(options, key)
        found = ledger.templates()
        judged = None
        if key is not None:
            judged = judge(ledger, found, trusted=bool(options.normal))
        if assign:
            assign.write(lambda file: write_assigned(file, ledger))
        if templates:
            templates.write(lambda file: write_templates(file, found))
        if verdicts:
            verdicts.write(lambda file: write_verdicts(file, judged or ()))
        report = Report(ledger, found, judged, time.monotonic() - began)
    if options.json:
        out(json_of(report))
        return 0
    tables = not (assign or templates or verdicts)
    for line in in_words(report, tables=tables, everything=options.all):
        out(line)
    return 0


def _mined(options: argparse.Namespace, key: SessionKey | None) -> Ledger:
    ledger, now_ns = Ledger(lines=options.assign is not None, key=key), time.time_ns()
    for normal, names in ((True, options.normal), (False, options.files)):
        for name in names:
            ledger.begin(name, normal=normal)
            if options.body:
                _mine_bodies(ledger, name)
            else:
                _mine_lines(ledger, name, now_ns)
    return ledger


def _mine_bodies(ledger: Ledger, name: str) -> None:
    for lines in batches(name):
        start = ledger.read(lines)
        ledger.take(lines, [1] * len(lines), range(start, start + len(lines)))


def _mine_lines(ledger: Ledger, name: str, now_ns: int) -> None:
    source = Source(now_ns)
    for lines in batches(name):
        columns, numbers = source.feed(lines, ledger.read(lines))
        ledger.take(columns.bodies, columns.lines, numbers, columns.severities)
    for columns, numbers in source.end():
        ledger.take(columns.bodies, columns.lines, numbers, columns.severities)


# ---------------------------------------------------------------- what was asked for


def _checked(options: argparse.Namespace) -> SessionKey | None:
    """Return the key of sessions, if any; ends with the usage, or raises ``CommandError``."""
    key = None
    for option in ("normal", "verdicts"):
        if getattr(options, option) and options.session is None:
            options.usage_error(f"--{option} needs --session, which says what a session is")
    if options.session is not None:
        try:
            key = key_of(options.session)
        except ValueError as error:
            options.usage_error(f"--session: {error}")
    names = [*options.normal, *options.files]
    if names.count(STDIN) > 1:
        options.usage_error(f"{STDIN} (standard input) can be read once only")
    problems = [*_unreadable(names), *_overwriting(options, names)]
    if problems:
        raise CommandError("\n".join(problems))
    return key


def _unreadable(names: list[str]) -> Iterator[str]:
    """Yield what is wrong with files to read. They are not opened: a pipe can be but once."""
    for name in names:
        if name == STDIN:
            continue
        try:
            os.stat(name)
        except (OSError, ValueError) as error:
            yield f"cannot read {name}: {getattr(error, 'strerror', None) or error}"
            continue
        if Path(name).is_dir():
            yield f"cannot read {name}: it is a directory"
        elif not os.access(name, os.R_OK):
            yield f"cannot read {name}: Permission denied"


def _overwriting(options: argparse.Namespace, names: list[str]) -> Iterator[str]:
    """Yield which outputs would overwrite an input or each other."""
    taken = {os.path.realpath(name): name for name in names if name != STDIN}
    for option in ("assign", "templates", "verdicts"):
        path: Path | None = getattr(options, option)
        if path is None or (path.exists() and not path.is_file()):
            continue
        place = os.path.realpath(path)
        if place in taken:
            yield f"--{option} {path} would overwrite {taken[place]}"
        taken[place] = f"--{option} {path}"


class _Output:
    """A file to write: opened before the work, so that it is not in vain."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        try:
            # A name of a file may be of any bytes.
            self._file = open(
                self._path, "w", encoding="utf-8", errors="backslashreplace", newline=""
            )
        except OSError as error:
            raise self._failed(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise self._failed(error) from None

    def write(self, what: Callable[[TextIO], None]) -> None:
        """Write all of it."""
        try:
            what(self._file)
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> CommandError:
        return CommandError(f"cannot write {self._path}: {error.strerror}")
