"""Show the model servers of this host: those the running agent reads, or what a look finds now."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from vedette.commands.json_text import out_json
from vedette.commands.locate import ask_running
from vedette.terminal import age, hanging, out, paint, printable, table

__all__ = ["discover", "listed"]

#: Looks of a discovery: one asks a few listeners, and there may be more of them.
LOOKS_MAX = 20


def listed(options: argparse.Namespace) -> int:
    """Print the model servers that the running agent reads."""
    _, answer = ask_running(
        options.state_dir, "collector", collector="model_servers", question="list"
    )
    if options.json:
        out_json(answer)
        return 0
    servers = answer["servers"]
    if not servers:
        out("no model servers")
    now_ns = time.time_ns()
    rows = [
        (
            one["endpoint"],
            printable(one["title"]),
            paint("up", "green") if one["up"] else paint("down", "red"),
            age(max(now_ns - one["since"], 0) / 1e9) if one["up"] else printable(one["reason"]),
            printable("; ".join(_models(one)) or "-"),
        )
        for one in servers
    ]
    if rows:
        out("\n".join(table(rows, ("endpoint", "server", "", "since", "models"))))
    for one in servers:
        if one["missing"]:
            out(hanging(f"{one['endpoint']}: {', '.join(one['missing'])}", 10, "missing"))
    for place, why in answer["proposed"].items():
        out(hanging(printable(f"{place}: {why}"), 10, "proposed"))
    for place, why in answer["refused"].items():
        out(hanging(printable(f"{place}: {why}"), 10, "no page"))
    return 0


def _models(server: Mapping[str, Any]) -> list[str]:
    """Say each model with what matters most of it."""
    from vedette.serving.inventory import Model, summary

    models = msgspec.convert(server.get("inventory", {}).get("models", []), list[Model])
    told = [summary(one) for one in models if one.is_served]
    return told or list(server["models"])


def discover(options: argparse.Namespace) -> int:
    """Look who listens here and may be a model server, ask them, and say what was found and why."""
    from vedette.exposition.reading import Reader
    from vedette.exposition.scrape import Answer
    from vedette.serving.asking import ask as ask_info
    from vedette.serving.candidates import Candidate
    from vedette.serving.discovery import Discovery, confirmed
    from vedette.serving.listening import Listening
    from vedette.serving.recognise import Recognition, declared, recognise

    told: dict[str, Recognition] = {}

    def is_wanted(answer: Answer, one: Candidate) -> bool:
        page = Reader().read(answer.body, openmetrics=answer.openmetrics)
        who = told[one.listener.place] = recognise(page, declared(answer.body))
        return who.adapter is not None

    def confirm(one: Candidate) -> str:
        path = confirmed(one)
        if path:
            info = ask_info(f"http://{one.listener.place}", path)
            told[one.listener.place] = recognise(None, (), [info] if info is not None else [])
        return path

    discovery = Discovery(Listening(), is_wanted, confirm=confirm)
    before = -1
    for _ in range(LOOKS_MAX):
        discovery.look(0.0)
        asked = len(discovery.found) + len(discovery.refused)
        if asked == before:
            break
        before = asked
    found: list[dict[str, Any]] = []
    for url, one in sorted(discovery.found.items()):
        who = told[one.listener.place]
        found.append(
            {
                "url": url,
                "server": who.server if who.adapter is not None else one.candidate.server,
                "release": who.release.name if who.release else "",
                "confidence": round(who.confidence, 2),
                "why": one.candidate.why,
                "evidence": list(who.evidence),
            }
        )
    if options.json:
        value = {"found": found, "refused": discovery.refused}
        out_json(value)
        return 0
    for row in found:
        out(f"{paint(row['url'], 'bold')}  {row['server']} {row['release']}".rstrip())
        out(hanging(printable(row["why"]), 10, "because"))
        for words in row["evidence"]:
            out(hanging(printable(words), 10, "evidence"))
    if not found:
        out("no model server was found")
    for place, why in discovery.refused.items():
        out(hanging(printable(f"{place}: {why}"), 10, "no page"))
    if os.geteuid() != 0:
        text = "processes of others are seen by root alone; usual ports were asked anyway"
        out(hanging(text, 10, "note"))
    return 0
