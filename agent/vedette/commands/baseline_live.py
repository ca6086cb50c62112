"""Ask the running agent for the models whose logs it reads, and for what it has kept of them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from vedette.commands.json_text import out_json
from vedette.commands.locate import ask_running
from vedette.config.units import parse_duration
from vedette.drift.answering import pieces_of
from vedette.drift.sketch import ModelSketch
from vedette.terminal import CommandError, hanging, number, out, paint, printable, table

__all__ = ["listed", "pieces"]

NAME = "inference_log"


def listed(options: argparse.Namespace) -> int:
    """Print the models whose logs the running agent reads."""
    answers = {one: _ask(options, "models", collector=one) for one in _tables(options)}
    if options.json:
        out_json(answers)
        return 0
    for place, answer in enumerate(answers.values()):
        if place:
            out()
        _table(answer)
    return 0


def _table(answer: Mapping[str, Any]) -> None:
    out(hanging(printable(", ".join(answer["files"]) or "none"), 11, "files"))
    for path, reason in answer["troubles"].items():
        out(hanging(printable(f"{path}: {reason}"), 11, "trouble"))
    bad = sum(answer["malformed"].values())
    if bad:
        text = f"{bad} of {answer['lines']} lines, the last one {answer['last_malformed']}"
        out(hanging(printable(text), 11, "left out"))
    rows = [
        (
            printable(one["model"]),
            number(one["inferences"]),
            f"{number(one['baseline'])} records"
            if one["baseline"]
            else f"learning, {number(one['learning'])} so far",
            paint(f"{len(one['drifted'])} fields", "yellow") if one["drifted"] else "-",
            ", ".join(f"{name} {value:.3f}" for name, value in one["quality"].items()) or "-",
        )
        for one in answer["models"]
    ]
    if not rows:
        out("no inferences yet")
        return
    out("\n".join(table(rows, ("model", "inferences", "baseline", "drifted", "quality"))))
    for one in answer["models"]:
        for field in one["drifted"]:
            out(
                hanging(printable(f"{one['model']}: {field['field']} {field['text']}"), 11, "drift")
            )


def pieces(options: argparse.Namespace) -> dict[str, list[ModelSketch]]:
    """Return the hours that the agent has kept; raises ``CommandError`` when there are none."""
    try:
        last_s = float(parse_duration(options.last))
    except ValueError as error:
        raise CommandError(f"--last: {error}") from None
    kept: dict[str, list[ModelSketch]] = {}
    for one in _tables(options):
        answer = _ask(options, "baseline", collector=one, last_s=last_s, model=options.model)
        try:
            found = pieces_of(answer["pieces"])
        except ValueError as error:
            raise CommandError(str(error)) from None
        kept |= {model: some for model, some in found.items() if some}
    if not kept:
        raise CommandError(
            f"the agent has no windows of the last {options.last}",
            "they are kept from the first one that is compared with a baseline",
        )
    return kept


def _tables(options: argparse.Namespace) -> list[str]:
    """Return the ids of the tables of logs of inferences that the agent has."""
    status = _call(options, "status")
    names = [str(one.get("name", "")) for one in status["collectors"]]
    found = [one for one in names if one.partition(".")[0] == NAME]
    if not found:
        raise CommandError(
            "the agent reads no logs of inferences",
            f"name them in [[collectors.{NAME}]] of agent.toml, see docs/drift.md",
        )
    return found


def _ask(options: argparse.Namespace, question: str, **arguments: Any) -> dict[str, Any]:
    return _call(options, "collector", question=question, **arguments)


def _call(options: argparse.Namespace, verb: str, **arguments: Any) -> dict[str, Any]:
    _, answer = ask_running(options.state_dir, verb, **arguments)
    return answer
