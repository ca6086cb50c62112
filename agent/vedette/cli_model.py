"""The command line of ``vedette model``: the versions of detectors, looked at and decided on."""

from __future__ import annotations

import argparse
from pathlib import Path

from vedette.cli_actions import Actions, action, actions

__all__ = ["add_actions"]


def add_actions(model: argparse.ArgumentParser) -> None:
    """Add what can be done with models; without one of them they are listed."""
    to = actions(model)
    model.set_defaults(action="list", verb="vedette.commands.model:listed", detector="")
    listed = action(
        to,
        "list",
        "vedette.commands.model:listed",
        "List the versions of all detectors (the default).",
    )
    listed.add_argument("detector", nargs="?", default="", metavar="DETECTOR", help="of this one")
    shown = action(
        to,
        "show",
        "vedette.commands.model:show",
        "Show one: where it comes from and how it compares.",
    )
    shown.add_argument("id", metavar="ID", help="such as robust-7; a detector's name: its champion")
    _training(to)
    _deciding(to)
    history = action(
        to,
        "history",
        "vedette.commands.model:history",
        "Show what became of which version, when and why, newest last.",
        "Each entry is chained to the one before. --verify proves that none was changed, removed "
        "or put in, names the first that was, and then ends with 1.",
    )
    history.add_argument("detector", nargs="?", default="", metavar="DETECTOR", help="of this one")
    history.add_argument("--verify", action="store_true", help="prove the chain")


def _training(to: Actions[argparse.ArgumentParser]) -> None:
    train = action(
        to,
        "train",
        "vedette.commands.model:train",
        "Train a new version, which is then tried beside the champion.",
        "A detector that looks at minutes is trained on those that the agent keeps (14 days at "
        "most), another one on the last minutes. In the background, within half of the agent's CPU "
        "budget. With --data here and now, on a file as `vedette backtest` reads it.",
    )
    train.add_argument(
        "detector", nargs="?", default="", metavar="DETECTOR", help="this one (all that learn)"
    )
    train.add_argument("--data", type=Path, metavar="FILE.csv", help="train on a file")
    train.add_argument(
        "--set",
        dest="options",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="with another option than in agent.toml, in its notation; may be repeated",
    )
    train.add_argument(
        "--now", action="store_true", help="at once and with half a core, and wait for it"
    )


def _deciding(to: Actions[argparse.ArgumentParser]) -> None:
    shadow = action(
        to,
        "shadow",
        "vedette.commands.model:shadow",
        "Try a version: it scores the same readings as the champion and tells nobody.",
    )
    shadow.add_argument("id", metavar="ID")
    shadow.add_argument("--stop", action="store_true", help="end the trial; the version is kept")
    promote = action(
        to,
        "promote",
        "vedette.commands.model:promote",
        "Make a version the champion, if it is better by the rules.",
    )
    promote.add_argument("id", metavar="ID")
    promote.add_argument("--force", action="store_true", help="whatever the rules say")
    rollback = action(
        to,
        "rollback",
        "vedette.commands.model:rollback",
        "Put the champion before this one back, and reject this one.",
        "Its open findings are closed.",
    )
    rollback.add_argument("detector", metavar="DETECTOR")
