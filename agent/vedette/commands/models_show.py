"""Show all that is known of the model servers of this host: models, files, digests, processes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import Any

from vedette.commands.json_text import out_json
from vedette.commands.locate import ask_running
from vedette.terminal import CommandError, age, hanging, out, paint, printable, size

__all__ = ["show"]

#: Facts of a model, in the order in which they are told.
_FACTS = (
    ("base", "base model"),
    ("root", "path"),
    ("revision", "revision"),
    ("digest", "digest"),
    ("architecture", "architecture"),
    ("parameters", "parameters"),
    ("format", "format"),
    ("quantisation", "quantisation"),
    ("dtype", "type of numbers"),
    ("context", "context length"),
    ("trained_context", "trained for"),
    ("runtime", "runtime"),
    ("devices", "devices"),
    ("license", "license"),
    ("task", "task"),
    ("tags", "tags"),
)
_SINCE = {
    "server": "as the server says",
    "seen": "as was seen",
    "process": "since its process was started, at the earliest",
}
_TOLD_BY = {
    "name": "asked for by its name; the server lists no models",
    "page": "named by the page of metrics alone",
    "files": "found on disk alone",
}


def show(options: argparse.Namespace) -> int:
    """Print servers, or those that a name or an endpoint is of; 1 when there is none."""
    _, answer = ask_running(
        options.state_dir, "collector", collector="model_servers", question="list"
    )
    servers = [one for one in answer["servers"] if _is_meant(one, options.what)]
    if options.what and not servers:
        raise CommandError(
            f"no model server or model is called {options.what!r}", "`vedette models` lists them."
        )
    if options.json:
        told = {"servers": servers, "digests_left": answer["digests_left"]}
        out_json(told)
        return 0
    for number, one in enumerate(servers):
        if number:
            out()
        for line in _server(one, options.what, time.time_ns()):
            out(line)
    if not servers:
        out("no model servers")
    if answer["digests_left"]:
        out()
        out(f"digests: {size(answer['digests_left'])} still to be read")
    return 0


def _is_meant(server: Mapping[str, Any], what: str) -> bool:
    return (
        not what
        or what == server["endpoint"]
        or what in server["models"]
        or any(what == model["name"] for model in server["inventory"]["models"])
    )


def _server(one: Mapping[str, Any], what: str, now_ns: int) -> Iterator[str]:
    inventory = one["inventory"]
    state = paint("up", "green") if one["up"] else paint(f"down: {one['reason']}", "red")
    yield f"{paint(one['endpoint'], 'bold')}  {printable(one['title'])}  {state}"
    holder = inventory.get("holder", {})
    if holder:
        words = f"{holder.get('name', '')} ({holder.get('pid', 0)})"
        for key in ("unit", "container"):
            if holder.get(key):
                words += f", {key} {holder[key]}"
        yield from _line("process", f"{words}, {_since(holder.get('started_ns', 0), now_ns)}")
        yield from _line("command", holder.get("command", ""))
    if inventory.get("kv_tokens"):
        yield from _line("KV cache", f"{inventory['kv_tokens']} tokens")
    yield from _line("devices", inventory.get("devices", ""))
    for path, end in sorted(inventory.get("asked", {}).items()):
        if end != "answered":
            yield from _line("no answer", f"{path}: {end}")
    for note in inventory.get("notes", ()):
        yield from _line("note", note)
    by_name = what and what != one["endpoint"]
    for model in inventory["models"]:
        title = f"{model['name']} {model.get('version', '')}".strip()
        if by_name and what not in (model["name"], title):
            continue
        yield ""
        yield from _model(model, title, now_ns)


def _model(model: Mapping[str, Any], title: str, now_ns: int) -> Iterator[str]:
    state = model.get("state", "")
    shown = "" if state in ("", "ready") else paint(state, "yellow")
    yield f"  {model['kind']} {paint(printable(title), 'bold')} {shown}".rstrip()
    yield from _line("reason", model.get("reason", ""))
    if model.get("since_ns"):
        how = _SINCE.get(model.get("since_by", ""), "")
        yield from _line("served", f"{_since(model['since_ns'], now_ns)} ({how})")
    yield from _line("known", _TOLD_BY.get(model["told_by"], ""))
    for key, words in _FACTS:
        yield from _line(words, str(model.get(key, "")))
    files = model.get("files", [])
    if files:
        yield from _line("files", f"{len(files)} in {model.get('path', '')}")
    for file in files:
        digest = file.get("sha256", "")
        end = f"sha256:{digest}" if digest else "digest not known yet"
        if file.get("source") == "name":
            end += " (as its store calls it)"
        note = f"  {file['note']}" if file.get("note") else ""
        yield f"    {printable(file['name'])}  {size(file.get('size', 0))}  {end}{printable(note)}"
    if model.get("omitted"):
        yield from _line("left out", f"{model['omitted']} more files")
    for note in model.get("notes", ()):
        yield from _line("note", note)


def _line(what: str, text: str) -> Iterator[str]:
    if text:
        yield hanging(printable(text), 22, f"    {what}".ljust(20))


def _since(time_ns: int, now_ns: int) -> str:
    if not time_ns:
        return "since when is not known"
    return f"since {age(max(now_ns - time_ns, 0) / 1e9)}"
