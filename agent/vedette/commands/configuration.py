"""Show what there is to configure and what is configured: plugins and agent.toml."""

from __future__ import annotations

import argparse
import sys

import msgspec

from vedette.api import Collector, Unavailable
from vedette.commands.json_text import out_json
from vedette.commands.loading import Loaded, config_path, loaded, required
from vedette.paths import places
from vedette.registry import discover
from vedette.terminal import CommandError, hanging, out, paint, printable, table

__all__ = ["Part", "config", "parts", "plugins"]


class Part(msgspec.Struct, frozen=True):
    """A collector, detector or output: whether it would run on this host, and if not, why."""

    kind: str
    name: str
    state: str
    note: str = ""


def plugins(options: argparse.Namespace) -> int:
    """List plugins and their parts."""
    found = loaded(options.config)
    known = parts(found)
    if options.json:
        value = {"plugins": found.registry.plugins, "parts": known}
        out_json(value)
        return 0
    rows = [(part.kind, part.name, part.state, part.note) for part in known]
    for line in table(rows, ("KIND", "NAME", "STATE", "NOTE")):
        out(line)
    out()
    outside = [one for one in found.registry.plugins if one.origin != "shipped"]
    if outside:
        rows = [(one.name, one.origin, one.status, one.source) for one in outside]
        for line in table(rows, ("PLUGIN", "ORIGIN", "STATUS", "FROM")):
            out(line)
        out()
    for one in found.registry.plugins:
        if one.status != "active":
            out(
                hanging(
                    f"{paint(one.status)}: {printable(one.reason)}", 2, printable(one.name) + " "
                )
            )
    out(f"drop-in folder: {printable(found.plugins_dir)}")
    if found.config is None:
        sys.stderr.write("vedette: the configuration has errors; see `vedette check`\n")
    return 0


def config(options: argparse.Namespace) -> int:
    """Print the commented default configuration, or the one in effect."""
    from vedette import config as module

    if options.action == "default":
        if options.json:
            raise CommandError(
                "the default configuration is TOML with comments", "Leave out --json."
            )
        registry = discover(plugins_dir=places().plugins_dir)  # whatever is disabled now
        sys.stdout.write(module.default_toml(registry))
        return 0
    _, effective = required(options.config)
    if options.json:
        sys.stdout.write(module.effective_json(effective) + "\n")
    else:
        path = config_path(options.config)
        out(f"# in effect with {path}" if path else "# in effect without a file: all defaults")
        sys.stdout.write(module.effective_toml(effective))
    return 0


def parts(found: Loaded) -> list[Part]:
    """Say of every known part whether it would run: collectors are probed, here and now."""
    known: list[Part] = []
    configured = found.config
    registry = found.registry
    by_kind = (
        ("collector", registry.collectors, configured.collectors if configured else ()),
        ("detector", registry.detectors, configured.detectors if configured else ()),
        ("output", registry.outputs, configured.outputs if configured else ()),
    )
    for kind, classes, components in by_kind:
        present = set()
        for component in components:
            present.add(component.name)
            if not component.enabled:
                known.append(Part(kind, component.id, "off"))
            elif kind == "collector":
                state, note = probe(registry.collectors[component.name](component.options))
                known.append(Part(kind, component.id, state, note))
            else:
                known.append(Part(kind, component.id, "ok"))
        off = "not configured" if kind == "output" else ""
        known += [Part(kind, name, "off", off) for name in sorted(classes) if name not in present]
    return known


def probe(collector: Collector) -> tuple[str, str]:
    """Return ``ok``, ``resting`` or ``failing`` and why."""
    try:
        collector.probe()
    except Unavailable as error:
        return "resting", str(error)
    except Exception as error:  # noqa: BLE001 - foreign code; the reason is what is asked for
        return "failing", f"{type(error).__name__}: {error}"
    finally:
        try:
            collector.close()
        except Exception as error:  # noqa: BLE001
            sys.stderr.write(f"vedette: {printable(collector.name)}: close() failed: {error!r}\n")
    return "ok", ""
