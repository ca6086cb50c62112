"""The command line of ``vedette logs``: what is in log files, and what of it is strange."""

from __future__ import annotations

import argparse
from pathlib import Path

from vedette.cli_actions import Actions, action, actions

__all__ = ["add_actions"]


def add_actions(logs: argparse.ArgumentParser) -> None:
    """Add what can be done with logs; without one of them the templates are shown."""
    to = actions(logs)
    logs.set_defaults(action="templates", source="", all=False)
    _looking(to)
    _mining(to)


def _looking(to: Actions[argparse.ArgumentParser]) -> None:
    tail = action(
        to,
        "tail",
        "vedette.commands.logs_live:tail",
        "Print the newest lines that the running agent has read, with their templates' ids.",
    )
    tail.add_argument("-n", "--lines", type=int, default=20, help="how many (default: 20)")
    tail.add_argument("--grep", metavar="REGEX", default="", help="only lines that match")
    tail.add_argument(
        "--severity",
        choices=("debug", "info", "warning", "error", "fatal"),
        default="",
        help="only lines that are so grave, or graver",
    )
    tail.add_argument("--follow", "-f", action="store_true", help="go on with what comes")
    _source(tail)
    templates = action(
        to,
        "templates",
        "vedette.commands.logs_live:templates",
        "Show the templates of this host's logs, the most frequent first (the default).",
    )
    templates.add_argument(
        "--all", action="store_true", default=argparse.SUPPRESS, help="all, not the first 50"
    )
    _source(templates)
    show = action(
        to,
        "show",
        "vedette.commands.logs_live:show",
        "Show one template: its counts, what its variable parts hold, its newest lines.",
    )
    show.add_argument("id", help="its id, or the beginning of it")


def _source(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--source",
        metavar="TEXT",
        default="",
        help="only sources (files, units, containers) with this in their name",
    )


def _mining(to: Actions[argparse.ArgumentParser]) -> None:
    mine = action(
        to,
        "mine",
        "vedette.commands.logs_mine:mine",
        "Learn the templates of log files: which kinds of lines there are, and how many.",
        "Any text log, of any format; FILE may end in .gz, .xz or .bz2, or be - for standard "
        "input. Nothing of this host's is read or changed, and no agent is needed. With --session "
        "the lines of one key (a block, a request, a job) are judged together, too. Prints a "
        "table unless something is written to a file.",
    )
    mine.add_argument("files", nargs="+", metavar="FILE", help="the log, oldest part first")
    mine.add_argument(
        "--body",
        action="store_true",
        help="each line is a message without a header (no stamp, level or program), by itself",
    )
    mine.add_argument("--all", action="store_true", help="print all templates, not the first 50")
    mine.add_argument(
        "--assign", type=Path, metavar="OUT.csv", help="write the template of each line"
    )
    mine.add_argument("--templates", type=Path, metavar="OUT.csv", help="write the templates")
    sessions = mine.add_argument_group("sessions")
    sessions.add_argument(
        "--session",
        metavar="REGEX",
        help="where a line has its session's key: an expression with one group about it, such as "
        "'(blk_-?[0-9]+)', or one that is named",
    )
    sessions.add_argument(
        "--normal",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="learn what is normal from the sessions of these files, of which none was broken, "
        "and judge by that; without, each session is judged by those that ended before it",
    )
    sessions.add_argument(
        "--verdicts", type=Path, metavar="OUT.csv", help="write what is thought of each session"
    )
    mine.set_defaults(usage_error=mine.error)
