"""The command line of ``vedette model``: the versions of detectors, looked at and decided on."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_actions"]

_Actions = argparse._SubParsersAction  # noqa: SLF001 - argparse gives the type no public name


def add_actions(model: argparse.ArgumentParser) -> None:
    """Add what can be done with models; without one of them they are listed."""
    actions: _Actions[argparse.ArgumentParser] = model.add_subparsers(
        metavar="ACTION", dest="action", title="actions", required=False
    )
    model.set_defaults(action="list", verb="vedette.commands.model:listed", detector="")
    listed = _action(actions, "list", "listed", "List the versions of all detectors (the default).")
    listed.add_argument("detector", nargs="?", default="", metavar="DETECTOR", help="of this one")
    shown = _action(actions, "show", "show", "Show one: where it comes from and how it compares.")
    shown.add_argument("id", metavar="ID", help="such as robust-7; a detector's name: its champion")
    _training(actions)
    _deciding(actions)
    history = _action(
        actions,
        "history",
        "history",
        "Show what became of which version, when and why, newest last.",
        "Each entry is chained to the one before. --verify proves that none was changed, removed "
        "or put in, names the first that was, and then ends with 1.",
    )
    history.add_argument("detector", nargs="?", default="", metavar="DETECTOR", help="of this one")
    history.add_argument("--verify", action="store_true", help="prove the chain")


def _training(actions: _Actions[argparse.ArgumentParser]) -> None:
    train = _action(
        actions,
        "train",
        "train",
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


def _deciding(actions: _Actions[argparse.ArgumentParser]) -> None:
    shadow = _action(
        actions,
        "shadow",
        "shadow",
        "Try a version: it scores the same readings as the champion and tells nobody.",
    )
    shadow.add_argument("id", metavar="ID")
    shadow.add_argument("--stop", action="store_true", help="end the trial; the version is kept")
    promote = _action(
        actions,
        "promote",
        "promote",
        "Make a version the champion, if it is better by the rules.",
    )
    promote.add_argument("id", metavar="ID")
    promote.add_argument("--force", action="store_true", help="whatever the rules say")
    rollback = _action(
        actions,
        "rollback",
        "rollback",
        "Put the champion before this one back, and reject this one.",
        "Its open findings are closed.",
    )
    rollback.add_argument("detector", metavar="DETECTOR")


def _action(
    actions: _Actions[argparse.ArgumentParser],
    name: str,
    function: str,
    help: str,
    more: str = "",
) -> argparse.ArgumentParser:
    """Add one; its options leave alone what was given before the name of the action."""
    action = actions.add_parser(
        name, help=help, description=f"{help} {more}".strip(), allow_abbrev=False
    )
    action.set_defaults(verb=f"vedette.commands.model:{function}")
    action.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="where it keeps its state",
    )
    action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="write JSON")
    return action
