"""Say of saved pages of metrics which model server's they are, and what they mean.

The pages are read, recognised and mapped as an agent would at each scrape; here their time is their
order, so a rate is only told with ``--every``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vedette.commands.models_map_text import Told, as_json, as_text
from vedette.exposition.model import Caps
from vedette.exposition.page import Page
from vedette.exposition.reading import Reader
from vedette.serving.mapping import Mapper
from vedette.serving.recognise import Info, Recognition, declared, recognise
from vedette.serving.rows import Mapped
from vedette.terminal import CommandError, out, printable

__all__ = ["mapped"]

#: What an info endpoint may answer; more is no answer.
_INFO_BYTES = 4 * 1024 * 1024


def mapped(options: argparse.Namespace) -> int:
    """Map the pages of one server; 1 for a server that is not known."""
    if not options.pages and not options.info:
        raise CommandError("nothing to map", "name pages of metrics, or --info FILE")
    info = [_info(path) for path in options.info]
    bodies = [_body(path) for path in options.pages]
    caps = Caps()
    reader = Reader(caps=caps)
    pages = []
    for path, body in zip(options.pages, bodies, strict=True):
        page = reader.read(body)
        _faults(path, page, caps)
        if not page.sizes.series and not declared(body):
            raise CommandError(f"{path}: no metrics in it", "is it the body of GET /metrics?")
        pages.append(page)
    who = _who(options.pages, pages, bodies, info)
    found = [_mapped(one, pages, options.every) for one in (who, *who.beside)]
    if options.json:
        answer = as_json(found[0])
        answer["beside"] = [as_json(one) for one in found[1:]]
        out(json.dumps(answer, indent=2))
    else:
        for number, one in enumerate(found):
            if number:
                out()
                out("On the same page:")
                out()
            for line in as_text(one):
                out(line)
    return 0 if who.adapter is not None else 1


def _mapped(who: Recognition, pages: Sequence[Page], every_s: float) -> Told:
    steps: list[Mapped] = []
    if who.adapter is not None:
        mapper = Mapper(who.adapter, who.release)
        steps = [mapper.read(page, at * (every_s or 1.0)) for at, page in enumerate(pages)]
    return Told(who, steps, every_s)


def _who(
    paths: Sequence[Path], pages: Sequence[Page], bodies: Sequence[bytes], info: Sequence[Info]
) -> Recognition:
    """Return whose pages they are by the last; raise ``CommandError`` when they are of several."""
    if not pages:
        return recognise(None, (), info)
    alone = [recognise(Reader().read(body), declared(body), info) for body in bodies[:-1]]
    alone.append(recognise(pages[-1], declared(bodies[-1]), info))
    last = alone[-1]
    for path, one in zip(paths, alone, strict=True):
        if one.adapter is not None and last.adapter is not None and one.server != last.server:
            raise CommandError(
                f"{path}: a page of {one.server}, but {paths[-1]} is one of {last.server}",
                "give the pages of one server, the oldest first",
            )
    if last.adapter is None:
        return max(alone, key=lambda one: one.confidence)
    return last


def _body(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}") from None


def _info(path: Path) -> Info:
    """Read an answer. One that is no JSON (a bare health check) tells nothing."""
    body = _body(path)
    if len(body) > _INFO_BYTES:
        raise CommandError(f"{path}: {len(body)} bytes, an answer has {_INFO_BYTES} at most")
    if not body.strip():
        return Info(path.name, None)
    try:
        answer: Any = json.loads(body)
    except json.JSONDecodeError as error:
        raise CommandError(f"{path}:{error.lineno}: no JSON: {error.msg}") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise CommandError(f"{path}: no JSON: {error}") from None
    return Info(path.name, answer)


def _faults(path: Path, page: Page, caps: Caps) -> None:
    """Name what could not be read, by line; the rest counts."""
    for fault in page.faults:
        place = f"{path}:{fault.line}" if fault.line else str(path)
        text = f": {fault.text!r}" if fault.text else ""
        sys.stderr.write(printable(f"{place}: {fault.reason}{text}") + "\n")
    unnamed = sum(page.fault_counts.values()) - len(page.faults)
    if unnamed > 0:
        sys.stderr.write(printable(f"{path}: {unnamed} more lines that could not be read") + "\n")
    for cap, count in page.over.items():
        text = f"{path}: {count} left out, over the bound of {cap} ({getattr(caps, cap, '')})"
        sys.stderr.write(printable(text) + "\n")
