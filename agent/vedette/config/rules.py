"""Check what one key alone cannot tell: ranges with units, and settings that belong together."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedette.api import Duration, Size
from vedette.config.effective import plain
from vedette.config.files import Tree
from vedette.config.schema import nearest
from vedette.config.settings import AgentSection, SpoolSection
from vedette.config.toml_text import toml_value
from vedette.config.units import Share, format_duration, format_size
from vedette.config.wording import label
from vedette.lighter import lighter

if TYPE_CHECKING:
    from vedette.registry import Registry

__all__ = ["check"]

#: The window ends below the 65 minutes for which a receiver carries a value forward.
DURATIONS: Mapping[tuple[str, str], tuple[Duration, Duration]] = {
    ("agent", "interval"): (Duration(0.01), Duration(3_600)),
    ("agent", "window"): (Duration(1), Duration(3_600)),
    ("agent", "settle"): (Duration(0), Duration(86_400)),
    ("incidents", "gather"): (Duration(0), Duration(3_600)),
    ("incidents", "resolve_after"): (Duration(0), Duration(86_400)),
    ("models", "decide_after"): (Duration(600), Duration(30 * 86_400)),
}
SIZES: Mapping[tuple[str, str], tuple[Size, Size]] = {
    ("spool", "cap"): (Size(1 << 20), Size(1 << 50)),
    ("spool", "segment"): (Size(1 << 16), Size(1 << 30)),
    ("receiver", "cap"): (Size(1 << 20), Size(1 << 50)),
    ("models", "readings"): (Size(1 << 20), Size(1 << 40)),
}
SHARES: Mapping[tuple[str, str], tuple[Share, Share]] = {
    ("agent", "cpu_budget"): (Share(0.001), Share(1)),
}

#: What the agent says about itself; a label of that name would make it another host's.
RESERVED_LABELS = ("service.name", "service.instance.id", "host.name", "host.id")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
LABEL_VALUE_MAX = 256


def check(tree: Tree, sections: Mapping[str, Any], registry: Registry) -> None:
    """Report what is wrong with the core's sections."""
    _check_ranges(tree, sections)
    _check_windows(tree, sections["agent"])
    _check_spool(tree, sections["spool"])
    _check_folders(tree, sections)
    _check_labels(tree, sections["agent"])
    _check_disable(tree, sections["agent"], registry)
    _check_listen(tree, sections["receiver"].listen)
    _check_cron(tree, sections["models"].train)


def _check_ranges(tree: Tree, sections: Mapping[str, Any]) -> None:
    for place, bounds in (*DURATIONS.items(), *SIZES.items()):
        value = getattr(sections[place[0]], place[1])
        if not bounds[0] <= value <= bounds[1]:
            low, high = plain(bounds[0]), plain(bounds[1])
            text = f"{label(place)}: {plain(value)} is not between {low} and {high}"
            tree.report(place, text)
    for place, (least, most) in SHARES.items():
        share = getattr(sections[place[0]], place[1])
        if share and not least <= share <= most:
            text = f"{plain(share)} is not between {plain(least)} and {plain(most)}, nor 'off'"
            tree.report(place, f"{label(place)}: {text}")


def _check_windows(tree: Tree, agent: AgentSection) -> None:
    interval_ns, window_ns = round(agent.interval * 1e9), round(agent.window * 1e9)
    if interval_ns and window_ns % interval_ns:
        key = "window" if "window" in tree.data.get("agent", {}) else "interval"
        window, interval = format_duration(agent.window), format_duration(agent.interval)
        text = f"[agent] window = {window} is no multiple of interval = {interval}"
        tree.report(("agent", key), text)


def _check_spool(tree: Tree, spool: SpoolSection) -> None:
    if 2 * spool.segment > spool.cap:
        segment, cap = format_size(spool.segment), format_size(spool.cap)
        text = f"[spool] segment = {segment} is more than half of cap = {cap}"
        key = "segment" if "segment" in tree.data.get("spool", {}) else "cap"
        tree.report(("spool", key), text)


def _check_folders(tree: Tree, sections: Mapping[str, Any]) -> None:
    for place in (("agent", "state_dir"), ("agent", "plugins_dir"), ("receiver", "state_dir")):
        folder = getattr(sections[place[0]], place[1])
        if folder and not Path(folder).is_absolute():
            text = f"{label(place)}: expected an absolute path, found {folder!r}"
            tree.report(place, text)
        elif folder and place == ("agent", "plugins_dir") and not Path(folder).is_dir():
            tree.report(place, f"{label(place)}: there is no folder {folder!r}", "warning")


def _check_labels(tree: Tree, agent: AgentSection) -> None:
    for key, value in agent.labels.items():
        place = ("agent", "labels", key)
        if not _LABEL.fullmatch(key):
            rule = "letters, digits, ., - and _, at most 64, and begins with a letter"
            tree.report(place, f"{label(place)}: the name of a label is of {rule}")
        elif key in RESERVED_LABELS:
            tree.report(place, f"{label(place)}: the agent sets this itself")
        if len(value) > LABEL_VALUE_MAX:
            tree.report(place, f"{label(place)}: longer than {LABEL_VALUE_MAX} characters")


def _check_disable(tree: Tree, agent: AgentSection, registry: Registry) -> None:
    names = [plugin.name for plugin in registry.plugins]
    for index, name in enumerate(agent.disable):
        if name not in names:
            place = ("agent", "disable", index)
            text = f"[agent] 'disable': no plugin is called {name!r}{nearest(name, names)}"
            tree.report(place, text, "warning")


def _check_listen(tree: Tree, listen: str) -> None:
    place = ("receiver", "listen")
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port[:6]) > 65_535:
        text = f"expected address:port such as {toml_value('127.0.0.1:4319')}, found {listen!r}"
        tree.report(place, f"{label(place)}: {text}")
    elif not _is_loopback(host.strip("[]")):
        text = f"{host} is open to other hosts, and the receiver asks nobody for a password"
        tree.report(place, f"{label(place)}: {text}", "warning")


def _check_cron(tree: Tree, train: str) -> None:
    if train in ("", "off"):
        return
    with lighter():  # needed where the file says when, and only there
        from apscheduler.triggers.cron import CronTrigger

    place = ("models", "train")
    try:
        CronTrigger.from_crontab(train)  # type: ignore[no-untyped-call]
    except ValueError as error:
        expected = "expected five fields such as '30 2 * * *', nothing, or 'off'"
        tree.report(place, f"{label(place)}: {expected}, found {train!r} ({error})")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
