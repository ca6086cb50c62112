"""The command line of ``vedette models``: what model servers do, in one vocabulary."""

from __future__ import annotations

import argparse
from pathlib import Path

from vedette.cli_actions import Actions, action, actions

__all__ = ["add_actions"]


def add_actions(models: argparse.ArgumentParser) -> None:
    """Add what can be done with model servers."""
    to = actions(models)
    models.set_defaults(action="list")
    action(
        to,
        "list",
        "vedette.commands.models_live:listed",
        "Show the model servers that the running agent reads (the default).",
    )
    show = action(
        to,
        "show",
        "vedette.commands.models_show:show",
        "Show all that is known of a model server: models, files and their digests, its process.",
    )
    show.add_argument(
        "what",
        nargs="?",
        default="",
        metavar="ENDPOINT|MODEL",
        help="a server's address:port, or the name of a model (default: all)",
    )
    action(
        to,
        "discover",
        "vedette.commands.models_live:discover",
        "Look who listens on this host and may be a model server, and say why.",
        "Asks those that are called like one, and Python, Java and Node programs on usual ports, "
        "for their page of metrics: one GET each, on local addresses only. No agent is needed.",
    )
    _mapping(to)


def _mapping(to: Actions[argparse.ArgumentParser]) -> None:
    mapping = action(
        to,
        "map",
        "vedette.commands.models_map:mapped",
        "Say of saved pages of metrics which model server's they are, and what they mean.",
        "Takes pages of one server in order of time, as a scrape saved them. Prints which server "
        "and release it is and why, its metrics under canonical names with values and what they "
        "gained from the first page to the last, how requests ended, what is missing, and what "
        "cannot be known. Nothing is asked of a network and no agent is needed. Ends with 1 for a "
        "server that is not known.",
    )
    mapping.add_argument(
        "pages", nargs="*", type=Path, metavar="PAGE", help="a page of metrics, the oldest first"
    )
    mapping.add_argument(
        "--info",
        nargs="+",
        action="extend",
        default=[],
        type=Path,
        metavar="FILE",
        help="JSON that an info endpoint answered (/v1/models, /version, /v2, ...)",
    )
    mapping.add_argument(
        "--every",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="the time between two pages; gains are told per second, too",
    )


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError("must be above 0, and 86400 at most")
    return value
