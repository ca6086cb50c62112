"""The command line of ``vedette baseline``: what is normal for a model, and whether it still is."""

from __future__ import annotations

import argparse
from pathlib import Path

from vedette.cli_actions import Actions, action, actions

__all__ = ["add_actions"]


def add_actions(baseline: argparse.ArgumentParser) -> None:
    """Add what can be done with baselines; without one of them the agent's models are listed."""
    to = actions(baseline)
    baseline.set_defaults(action="list")
    action(
        to,
        "list",
        "vedette.commands.baseline_live:listed",
        "Show the models whose logs the running agent reads, and what has drifted (the default).",
    )
    _build(to)
    show = action(
        to,
        "show",
        "vedette.commands.baseline:show",
        "Show what a baseline says: its fields with their types, ranges and most frequent values.",
    )
    show.add_argument("baseline", type=Path, metavar="BASELINE", help="the file")
    show.add_argument("--model", metavar="NAME", default="", help="this model only")
    _compare(to)


def _build(to: Actions[argparse.ArgumentParser]) -> None:
    build = action(
        to,
        "build",
        "vedette.commands.baseline:build",
        "Make a baseline of logs of a good period, or of what the running agent has of it.",
        "FILE has a line of JSON for each inference, and may end in .gz, .xz or .bz2, or be - for "
        "standard input. A file that is there is written anew. Records stay where they are: in the "
        "baseline are counts, ranges, and names of frequent categories.",
    )
    build.add_argument("files", nargs="*", metavar="FILE", help="the log, oldest part first")
    build.add_argument("--out", type=Path, metavar="FILE", required=True, help="the baseline")
    build.add_argument(
        "--from-agent", action="store_true", help="of the hours that the running agent has kept"
    )
    build.add_argument(
        "--last", default="24h", metavar="TIME", help="with --from-agent: how long ago, up to 48h"
    )
    _reading(build)


def _compare(to: Actions[argparse.ArgumentParser]) -> None:
    compare = action(
        to,
        "compare",
        "vedette.commands.baseline:compare",
        "Compare a log with a baseline: what has drifted, by how much, and how sure that is.",
        "Ends with 0 when nothing has, and with 1 when something has drifted or become worse.",
    )
    compare.add_argument("baseline", type=Path, metavar="BASELINE", help="the baseline")
    compare.add_argument("files", nargs="+", metavar="FILE", help="the log, oldest part first")
    compare.add_argument("--all", action="store_true", help="tell of all fields, not the first 20")
    compare.add_argument(
        "--psi",
        type=_positive,
        default=0.1,
        metavar="N",
        help="from where on a distribution has drifted (0.1)",
    )
    _reading(compare)


def _reading(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--format",
        choices=("auto", "generic", "kserve", "openai"),
        default="auto",
        help="what the lines are (default: found out)",
    )
    to.add_argument("--model", metavar="NAME", default="", help="this model only")
    fields = to.add_argument_group("where things are in generic lines (default: by their names)")
    fields.add_argument(
        "--features", nargs="+", default=[], metavar="PATH", help="what the model was asked"
    )
    for name, what in (
        ("prediction", "what it answered"),
        ("score", "how sure it was"),
        ("label", "what proved true"),
        ("id", "which inference it is"),
        ("model-field", "which model it was"),
    ):
        fields.add_argument(f"--{name}", default="", metavar="PATH", help=what)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 10:
        raise argparse.ArgumentTypeError("must be above 0, and 10 at most")
    return value
