"""Give a verb of the command line actions of its own: ``vedette model list``."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["Actions", "action", "actions"]

Actions = argparse._SubParsersAction  # noqa: SLF001 - argparse gives the type no public name


def actions(verb: argparse.ArgumentParser) -> Actions[argparse.ArgumentParser]:
    """Return where a verb's actions are added; none of them need be given."""
    return verb.add_subparsers(metavar="ACTION", dest="action", title="actions", required=False)


def action(
    to: Actions[argparse.ArgumentParser], name: str, place: str, help: str, more: str = ""
) -> argparse.ArgumentParser:
    """Add one, done by the function at ``place``.

    Its options leave alone what was given before the name of the action.
    """
    added = to.add_parser(name, help=help, description=f"{help} {more}".strip(), allow_abbrev=False)
    added.set_defaults(verb=place)
    added.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="where it keeps its state",
    )
    added.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="write JSON")
    return added
