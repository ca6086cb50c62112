"""Write the parts of the documentation that repeat the code; called by the cog blocks."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import os
from collections.abc import Iterator
from pathlib import Path

import tomli

from vedette import hookspecs
from vedette.registry import Registry, discover


def registry() -> Registry:
    """Return the plugins that ship with Vedette, and no other."""
    return discover(plugins_dir=None)


def metrics() -> Iterator[str]:
    """Yield the metric reference: one table per collector."""
    for name, collector in sorted(registry().collectors.items()):
        yield f"### {name}\n"
        doc = inspect.getdoc(collector)
        if doc:
            yield doc.split("\n\n")[0].replace("\n", " ") + "\n"
        state = "on by default" if collector.default else "off by default"
        yield f"Every {collector.interval_s:g} s, {state}, {collector.stability}.\n"
        yield "| metric | type | unit | attributes | raises findings | read from | meaning |"
        yield "|---|---|---|---|---|---|---|"
        for one in collector.instruments():
            source = one.source or collector.source
            attributes = ", ".join(f"`{key}`" for key in one.attributes) or "none"
            side = {"never": "no", "both": "either way"}.get(one.alarm, f"when {one.alarm}")
            yield (
                f"| `{one.name}` | {one.kind} | `{one.unit}` | {attributes} | {side} | {source} "
                f"| {one.help} |"
            )
        yield ""


PEERS = {
    "node_exporter": "node_exporter",
    "telegraf": "Telegraf",
    "netdata": "Netdata",
    "otel": "OpenTelemetry hostmetrics",
}


def peers() -> Iterator[str]:
    """Yield what each peer calls each metric: one table per collector, from docs/peers."""
    yield "| metric | " + " | ".join(PEERS.values()) + " |"
    yield "|---" * (len(PEERS) + 1) + "|"
    for name in sorted(registry().collectors):
        path = Path(__file__).parent / "peers" / f"{name}.toml"
        for metric, names in tomli.loads(path.read_text("utf-8")).items():
            if names:
                cells = (f"`{names[key]}`" if key in names else "" for key in PEERS)
                yield f"| `{metric}` | " + " | ".join(cells) + " |"


def hooks() -> Iterator[str]:
    """Yield the hook reference from the specifications."""
    for name, function in vars(hookspecs).items():
        if not hasattr(function, "vedette_spec"):
            continue
        signature = inspect.signature(function)
        arguments = ", ".join(signature.parameters)
        yield f"#### `{name}({arguments})`\n"
        yield f"{inspect.getdoc(function)}\n"


def cli_help(verb: str = "") -> str:
    """Return what ``vedette VERB --help`` prints, 80 columns wide; a verb may have an action."""
    from vedette.cli import parser

    os.environ["COLUMNS"] = "80"
    os.environ["NO_COLOR"] = "1"
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        parser().parse_args([*verb.split(), "--help"])
    return out.getvalue().rstrip()


def verbs() -> tuple[str, ...]:
    """Return the verbs of the command line in their order, each with its actions after it."""
    from vedette.cli import parser

    return tuple(_named(parser()))


def _named(root: argparse.ArgumentParser, before: str = "") -> Iterator[str]:
    for action in root._actions:  # noqa: SLF001 - argparse tells it in no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for name, verb in action.choices.items():
                yield before + name
                yield from _named(verb, f"{before}{name} ")
