"""The command line of ``vedette incidents``: looking, and saying what was real and what was not."""

from __future__ import annotations

import argparse
from pathlib import Path

from vedette.cli_actions import Actions, action, actions

__all__ = ["add_actions"]

LOOK = "vedette.commands.incidents:incidents"

_ABBREVIATED = "its id, the beginning of it, or `last` for the newest"


def add_actions(incidents: argparse.ArgumentParser) -> None:
    """Add what can be done with incidents; without one of them they are listed."""
    to = actions(incidents)
    incidents.set_defaults(action="list", id=None)
    listed = action(to, "list", LOOK, "List the incidents (the default).")
    listed.add_argument(
        "--all", action="store_true", default=argparse.SUPPRESS, help="list the resolved ones too"
    )
    shown = action(to, "show", LOOK, "Show one with its evidence.")
    shown.add_argument("id", nargs="?", help=_ABBREVIATED)
    _judging(to)
    _muting(to)
    _reviewing(to)


def _judging(to: Actions[argparse.ArgumentParser]) -> None:
    ack = action(
        to,
        "ack",
        "vedette.commands.feedback:judge",
        "Say that an incident was seen and was real.",
        "It no longer counts as a false alarm, and what was raised before for its series is "
        "halved; thresholds are never below the shipped ones.",
    )
    false_alarm = action(
        to,
        "false-alarm",
        "vedette.commands.feedback:judge",
        "Say that an incident rang for nothing.",
        "The same on the same series rings no more: it takes 1.25 times what this one reached, at "
        "most three times the usual threshold. Saying it again of another incident adds to it. It "
        "wears off by half in 60 days. Rules of your own are not raised: change or mute those.",
    )
    for word in (ack, false_alarm):
        word.add_argument("id", help=_ABBREVIATED)
        _note(word)


def _muting(to: Actions[argparse.ArgumentParser]) -> None:
    mute = action(
        to,
        "mute",
        "vedette.commands.feedback:mute",
        "Hear nothing of some series for a time.",
        "They are still read, sent and learned from, but open no incident, not even by a rule. "
        "What is open ends as usual. All that is given must hold for a series: the incident's "
        "series, the pattern (with * over the key or the metric's name), the family.",
    )
    mute.add_argument(
        "target",
        nargs="?",
        default="",
        metavar="ID|PATTERN",
        help="an incident, or series such as 'system.disk.*'",
    )
    mute.add_argument(
        "--for",
        dest="duration",
        default="7d",
        metavar="TIME",
        help="how long: 30m, 12h, 7d or `ever` (7d)",
    )
    mute.add_argument("--resource", default="", metavar="NAME", help="of this family: disk, cpu")
    mute.add_argument("--series", default="", metavar="GLOB", help="these series only")
    _note(mute)

    unmute = action(to, "unmute", "vedette.commands.feedback:unmute", "End a mute.")
    unmute.add_argument(
        "target", metavar="ID|PATTERN|N", help="as it was muted, or the number of the mark"
    )


def _reviewing(to: Actions[argparse.ArgumentParser]) -> None:
    feedback = action(
        to,
        "feedback",
        "vedette.commands.feedback:feedback",
        "List what was said, newest first, and what each does now.",
    )
    either = feedback.add_mutually_exclusive_group()
    either.add_argument(
        "--export", type=Path, metavar="FILE", help="write all of it for another host"
    )
    either.add_argument(
        "--import",
        dest="import_",
        type=Path,
        metavar="FILE",
        help="take over what was exported elsewhere",
    )
    undo = action(
        to,
        "undo",
        "vedette.commands.feedback:undo",
        "Take back what was said; everything is as if it never had been.",
    )
    undo.add_argument("number", type=int, metavar="N", help="as `feedback` and the answer name it")


def _note(action: argparse.ArgumentParser) -> None:
    action.add_argument("--note", default="", metavar="TEXT", help="why, for those who come later")
