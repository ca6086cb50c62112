"""Parse the command line and hand over to the verb, importing no more than that verb needs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from vedette._version import __version__
from vedette.cli_baseline import add_actions as add_baseline_actions
from vedette.cli_incidents import add_actions
from vedette.cli_logs import add_actions as add_logs_actions
from vedette.cli_model import add_actions as add_model_actions
from vedette.cli_models import add_actions as add_models_actions

__all__ = ["main", "parser"]

_EXIT_CODES = """\
exit codes:
  0  done, healthy, noticed
  1  done, with warnings: `check` found some, `status` is degraded, a drill went
     unnoticed or opened more than one incident, a series of them was not perfect
  2  not done: wrong usage or configuration, no agent, a refused drill
  130  interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit code. Never ends in a traceback for what a person did."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a terminal without UTF-8 gets escapes, not an exception
            reconfigure(errors="backslashreplace")
    try:
        try:
            return _dispatch(arguments)
        finally:
            sys.stdout.flush()  # here, not at exit, a reader that left can be handled
    except BrokenPipeError:
        # The reader left (`| head`). What Python flushes at exit must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """Build the whole command line; each verb carries ``verb``, the place of its function."""
    root = argparse.ArgumentParser(
        prog="vedette",
        description="Learn what is normal on this host, report what is not, lose nothing.",
        epilog=_EXIT_CODES + "\n`vedette VERB --help` explains a verb.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verbs = root.add_subparsers(metavar="VERB", title="verbs", required=True)
    _daemons(verbs)
    _looking(verbs)
    _preparing(verbs)
    _replaying(verbs)
    _drill(verbs)
    version = _verb(verbs, "version", "vedette.cli:_version", "Print the version.")
    version.add_argument("--json", action="store_true", help="write JSON")
    return root


def _dispatch(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    module, _, name = options.verb.partition(":")
    from vedette.terminal import CommandError, paint, printable

    try:
        return int(getattr(import_module(module), name)(options))
    except CommandError as error:
        label = paint("vedette:", "red", stream=sys.stderr)
        text = "\n".join(printable(line) for line in str(error).splitlines())
        sys.stderr.write(f"{label} {text}\n")
        if error.remedy:
            sys.stderr.write(f"  {printable(error.remedy)}\n")
        return error.code


def _version(options: argparse.Namespace) -> int:
    python = ".".join(map(str, sys.version_info[:3]))
    if options.json:
        print(f'{{"version": "{__version__}", "python": "{python}"}}')
    else:
        print(f"vedette {__version__} (Python {python})")
    return 0


# ---------------------------------------------------------------- the verbs

_Verbs = argparse._SubParsersAction  # noqa: SLF001 - argparse gives the type no public name


def _daemons(verbs: _Verbs[argparse.ArgumentParser]) -> None:
    run = _verb(verbs, "run", "vedette.commands.daemons:run", "Run the agent in the foreground.")
    _config(run)
    _state_dir(run)

    up = _verb(
        verbs,
        "up",
        "vedette.commands.daemons:up",
        "Run receiver and agent together and print incidents as they happen.",
        "Meant for a look and for development: both run as children of this command, with their "
        "state and logs under .run/ in the current directory, and end with it (Ctrl-C).",
    )
    _config(up, "default: ./agent.toml when it exists, then the usual place")
    up.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="where both keep state and logs (.run)"
    )

    receive = _verb(
        verbs,
        "receive",
        "vedette.commands.daemons:receive",
        "Run the reference receiver: takes OTLP/HTTP, keeps it, shows the fleet page.",
        "Needs the extra: pip install 'vedette[receiver]'.",
    )
    _config(receive)
    receive.add_argument("--listen", metavar="HOST:PORT", help="default: [receiver] listen")
    _state_dir(receive)


def _looking(verbs: _Verbs[argparse.ArgumentParser]) -> None:
    status = _verb(
        verbs,
        "status",
        "vedette.commands.live:status",
        "Show the running agent's health, part by part.",
        "Ends with 0 when healthy, 1 when degraded, 2 when no agent answers.",
    )
    _state_dir(status)
    _json(status)

    top = _verb(
        verbs,
        "top",
        "vedette.commands.live:top",
        "Show what each collector costs, the most expensive first.",
        "Goes on until Ctrl-C on a terminal and prints once elsewhere. Shares are of the last "
        "minute, reckoned anew every ten seconds.",
    )
    top.add_argument(
        "--every", type=_positive, default=5, metavar="SECONDS", help="between two looks (5)"
    )
    top.add_argument("--once", action="store_true", help="print once")
    _state_dir(top)
    _json(top)

    inventory = _verb(
        verbs,
        "inventory",
        "vedette.commands.inventory:inventory",
        "Show what this host is made of, as it is sent.",
    )
    _config(inventory)
    _json(inventory)

    incidents = _verb(
        verbs,
        "incidents",
        "vedette.commands.incidents:incidents",
        "List the incidents of this host, show one with its evidence, say what was false.",
        "Asks the running agent; to look without one it reads what the last one left in its "
        "directory. `vedette incidents ACTION --help` explains an action.",
    )
    add_actions(incidents)
    incidents.add_argument("--all", action="store_true", help="list the resolved ones too")
    _state_dir(incidents)
    _json(incidents)

    model = _verb(
        verbs,
        "model",
        "vedette.commands.model:listed",
        "Show the versions of detectors, train others, let them take over or back.",
        "Asks the running agent; list, show and history read its directory when there is none. "
        "`vedette model ACTION --help` explains an action.",
    )
    _state_dir(model)
    _json(model)
    add_model_actions(model)

    logs = _verb(
        verbs,
        "logs",
        "vedette.commands.logs_live:templates",
        "Show what is in this host's logs, as templates; or in any file.",
        "`vedette logs ACTION --help` explains an action.",
    )
    _state_dir(logs)
    _json(logs)
    add_logs_actions(logs)

    models = _verb(
        verbs,
        "models",
        "vedette.commands.models_live:listed",
        "Show what model servers do, in one vocabulary.",
        "`vedette models ACTION --help` explains an action.",
    )
    _state_dir(models)
    _json(models)
    add_models_actions(models)

    baseline = _verb(
        verbs,
        "baseline",
        "vedette.commands.baseline_live:listed",
        "Show what is normal for served models, by logs of their inferences, and what has drifted.",
        "`vedette baseline ACTION --help` explains an action.",
    )
    _state_dir(baseline)
    _json(baseline)
    add_baseline_actions(baseline)

    collect = _verb(
        verbs,
        "collect",
        "vedette.commands.collect:collect",
        "Run one collector here and now and print what it reads.",
        "A counter is printed as its rate per second, so it takes two readings one second apart.",
    )
    collect.add_argument("name", help="as listed by `vedette plugins`")
    collect.add_argument(
        "--count", type=_positive, default=1, metavar="N", help="readings, one second apart (1)"
    )
    _config(collect)
    _json(collect)


def _preparing(verbs: _Verbs[argparse.ArgumentParser]) -> None:
    check = _verb(
        verbs,
        "check",
        "vedette.commands.check:check",
        "Check configuration, plugins, permissions and sources without starting anything.",
        "Finds every problem at once. Ends with 0 (nothing), 1 (warnings) or 2 (errors).",
    )
    _config(check)
    _state_dir(check)
    _json(check)

    plugins = _verb(
        verbs,
        "plugins",
        "vedette.commands.configuration:plugins",
        "List plugins and their parts: found, resting, refused and why, disabled.",
    )
    _config(plugins)
    _json(plugins)

    config = _verb(
        verbs,
        "config",
        "vedette.commands.configuration:config",
        "Print the commented default configuration, or the one in effect (secrets hidden).",
    )
    config.add_argument("action", choices=("default", "show"))
    _config(config)
    _json(config)


def _replaying(verbs: _Verbs[argparse.ArgumentParser]) -> None:
    backtest = _verb(
        verbs,
        "backtest",
        "vedette.commands.backtest:backtest",
        "Replay a CSV through the agent's detection: what would it have said?",
        "The file: `timestamp,<value columns...>[,label]`; timestamps in Unix seconds or ISO "
        "date-times, an empty value was not read, labels are 0 or 1. Nothing of this host's is "
        "read or changed. Prints a summary unless --out is given.",
    )
    backtest.add_argument("data", type=Path, metavar="DATA.csv", help="the file to replay")
    backtest.add_argument("--detector", metavar="NAME", help="run this one only")
    backtest.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write a CSV: timestamp,series,score,p,finding for each value",
    )
    backtest.add_argument(
        "--incidents", type=Path, metavar="FILE", help="write the incidents as JSON"
    )
    backtest.add_argument("--plot", type=Path, metavar="FILE", help="draw it as SVG")
    _config(backtest, "default: what is shipped, not what this host is configured to")

    record = _verb(
        verbs,
        "record",
        "vedette.commands.record:record",
        "Record what this host's collectors read as a CSV that `vedette backtest` replays.",
        "A row per tick, a column per series, counters as rates per second. The columns are the "
        "series of the first 15 seconds. Ctrl-C ends it; the file is complete at any time.",
    )
    record.add_argument(
        "--out", type=Path, metavar="FILE", required=True, help="the CSV; is overwritten"
    )
    record.add_argument(
        "--for", dest="duration", default="1h", metavar="TIME", help="how long: 90s, 20m, 1h (1h)"
    )
    record.add_argument(
        "--every", default="1s", metavar="TIME", help="between two rows, 100ms or more (1s)"
    )
    record.add_argument(
        "--series", nargs="+", metavar="GLOB", help="these only, such as 'system.disk.*'"
    )
    record.add_argument(
        "--collector", nargs="+", metavar="NAME", help="what these collectors read only"
    )
    _config(record)


def _drill(verbs: _Verbs[argparse.ArgumentParser]) -> None:
    drill = _verb(
        verbs,
        "drill",
        "vedette.commands.drill:drill",
        "Make a bounded, harmless, self-ending fault on this host; see whether the agent notices.",
        "Ends with 0 when exactly one incident was opened, 1 when none or several were, and 2 "
        "when the drill was refused. Every fault takes a part of what the host has to spare and no "
        "more than a fixed amount; `--list` says what and how much. With --series the faults named "
        "(by default all) come in a random order, and the agent is scored on them: 0 when each was "
        "found and nothing else was told, 1 otherwise.",
    )
    drill.add_argument("names", nargs="*", metavar="NAME", help="the fault to make; see --list")
    drill.add_argument("--list", action="store_true", help="list the faults and their bounds here")
    drill.add_argument(
        "--for",
        dest="duration",
        default="50s",
        metavar="TIME",
        help="how long a fault lasts, 5s to 10m (50s)",
    )
    drill.add_argument(
        "--path", type=Path, metavar="DIR", help="where files are written (the state directory)"
    )
    drill.add_argument("--log", type=Path, metavar="FILE", help="with `log`: where errors go")
    drill.add_argument(
        "--port",
        type=_port,
        default=0,
        metavar="N",
        help="with `model`: the port of 127.0.0.1 that has its page (any free one)",
    )
    drill.add_argument(
        "--no-wait", action="store_true", help="do not wait until the incident is resolved"
    )
    series = drill.add_argument_group("series")
    series.add_argument("--series", action="store_true", help="many faults, one after the other")
    series.add_argument("--pairs", action="store_true", help="two different faults at a time")
    series.add_argument(
        "--repeat", type=_positive, default=4, metavar="N", help="how often each comes (4)"
    )
    series.add_argument("--seed", type=int, metavar="N", help="of the order and the gaps (random)")
    series.add_argument(
        "--gap",
        default="60s..110s",
        metavar="TIMES",
        help="quiet time before each, at least and at most (60s..110s)",
    )
    series.add_argument("--out", type=Path, metavar="FILE", help="write everything as JSON")
    _state_dir(drill)
    _json(drill)
    drill.set_defaults(usage_error=drill.error)


def _verb(
    verbs: _Verbs[argparse.ArgumentParser], name: str, place: str, help: str, more: str = ""
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(
        name, help=help, description=f"{help} {more}".strip(), allow_abbrev=False
    )
    verb.set_defaults(verb=place)
    return verb


def _config(verb: argparse.ArgumentParser, default: str = "default: the usual place") -> None:
    verb.add_argument("--config", type=Path, metavar="FILE", help=f"agent.toml ({default})")


def _state_dir(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--state-dir", type=Path, metavar="DIR", help="where it keeps its state")


def _json(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="write JSON")


def _positive(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 86_400:
        raise argparse.ArgumentTypeError("must be between 1 and 86400")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 65535:
        raise argparse.ArgumentTypeError("must be between 1 and 65535")
    return value


def _exit() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _exit()
