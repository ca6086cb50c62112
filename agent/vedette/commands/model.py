"""Show the versions of detectors, and have others trained, tried, promoted and taken back."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from vedette.commands.json_text import out_json
from vedette.commands.locate import ask, ask_running, candidates
from vedette.commands.train_on_file import train_on_file
from vedette.control import NotRunning
from vedette.models import Overview, Version
from vedette.models.catalogue import DIRECTORY, read
from vedette.models.history import Entry, entries, verify
from vedette.models.overview import Trial
from vedette.terminal import CommandError, age, clock, hanging, out, paint, printable, size, table

__all__ = ["history", "listed", "promote", "rollback", "shadow", "show", "train"]

#: Seconds between looks at a training that is waited for.
LOOK_EVERY_S = 0.5
#: Entries of the history that `show` tells, and `history` without --json.
SHOWN, LISTED = 8, 100

_HEADERS = ("VERSION", "STATUS", "SINCE", "TRAINED ON", "NOTE")


# ---------------------------------------------------------------- looking


def listed(options: argparse.Namespace) -> int:
    """List the versions of all detectors, or of one."""
    view, source, _ = _view(options.state_dir)
    versions = [one for one in view.versions if options.detector in ("", one.detector)]
    if options.json:
        kept = msgspec.structs.replace(view, versions=tuple(versions))
        out_json({"source": source, "models": msgspec.to_builtins(kept)})
        return 0
    if not versions:
        which = f" of {options.detector}" if options.detector else ""
        out(f"there is no version{which}")
        return 0
    rows = [
        (one.id, one.status, clock(one.since_ns), _trained_on(one), _note(one, view))
        for one in versions
    ]
    for line in table(rows, _HEADERS):
        out(line)
    out()
    for line in _around(view):
        out(line)
    return 0


def show(options: argparse.Namespace) -> int:
    """Show one version: where it comes from, how it compares, what became of it."""
    view, source, directory = _view(options.state_dir)
    version = _chosen(view, options.id)
    known = entries(directory / DIRECTORY)
    about = [one for one in known if _concerns(one, version.id)][-SHOWN:]
    trial = view.trials.get(version.id)
    if options.json:
        told = {"version": version, "trial": trial, "drift": view.families, "history": about}
        out_json({"source": source, **{key: msgspec.to_builtins(one) for key, one in told.items()}})
        return 0
    out(f"{paint(version.id, 'bold')}  {version.status} since {clock(version.since_ns)}")
    for name, text in _facts(version, view):
        if text:
            out(hanging(printable(text), 16, f"  {name}"))
    if trial is not None:
        _compared(trial)
    _drift(view)
    out("\nhistory")
    for line in table(_history_rows(about)):
        out("  " + line)
    return 0


def history(options: argparse.Namespace) -> int:
    """Show what became of which version; with --verify 1 when the chain is broken."""
    directory = _directory(options.state_dir)
    _, anchor = read(directory)
    found = entries(directory / DIRECTORY)
    wanted = [one for one in found if options.detector in ("", one.detector)]
    proof = verify(directory / DIRECTORY, anchor) if options.verify else None
    if options.json:
        told = {"history": wanted, "proof": proof}
        out_json({"source": str(directory), **{k: msgspec.to_builtins(v) for k, v in told.items()}})
    elif proof is None:
        for line in table(_history_rows(wanted[-LISTED:])):
            out(line)
    else:
        span = f"entries {proof.first} to {proof.last}" if proof.entries else "no entries"
        out(f"{span}: " + ("broken: " + proof.text if proof.broken else "nothing was changed"))
    return 1 if proof is not None and proof.broken is not None else 0


# ---------------------------------------------------------------- doing


def train(options: argparse.Namespace) -> int:
    """Have versions trained; with --now wait for them."""
    view, _, state_dir = _view(options.state_dir, running=True)
    changed = dict(_option(one) for one in options.options)
    if options.data is not None:
        if not options.detector:
            raise CommandError("which detector is to be trained on the file?")
        id_ = train_on_file(state_dir, options.detector, changed, options.data, view)
        _done(options, [id_], "is tried now")
        return 0
    names = [options.detector] if options.detector else list(view.options)
    ids, refused = [], []
    for name in names:
        wish = {"detector": name, "options": changed or None, "hurry": options.now}
        try:
            ids.append(_asked(options.state_dir, "train", **wish))
        except CommandError as error:
            if options.detector:
                raise
            refused.append(str(error))
    for text in refused if not options.json else ():
        out(text)
    if options.now:
        _wait(options, ids)
    _done(options, ids, "is tried now" if options.now else "is being trained")
    return 0


def shadow(options: argparse.Namespace) -> int:
    """Begin to try a version, or end that."""
    id_ = _asked(options.state_dir, "shadow", id=options.id, stop=options.stop)
    _done(options, [id_], "is tried no more" if options.stop else "is tried now")
    return 0


def promote(options: argparse.Namespace) -> int:
    """Make a version the champion."""
    id_ = _asked(options.state_dir, "promote", id=options.id, force=options.force)
    _done(options, [id_], "is the champion now")
    return 0


def rollback(options: argparse.Namespace) -> int:
    """Put the champion before this one back."""
    id_ = _asked(options.state_dir, "rollback", detector=options.detector)
    _done(options, [id_], "is the champion again")
    return 0


def _asked(explicit: Path | None, action: str, **wish: Any) -> str:
    _, answer = ask_running(explicit, "model", action=action, **wish)
    return str(answer["id"])


def _done(options: argparse.Namespace, ids: list[str], what: str) -> None:
    if options.json:
        out_json({"ids": ids})
        return
    for id_ in ids:
        out(f"{id_} {what}")


def _wait(options: argparse.Namespace, ids: list[str]) -> None:
    """Return when none of the versions is being trained; raise when one could not be."""
    while True:
        view, _, _ = _view(options.state_dir, running=True)
        known = {one.id: one for one in view.versions}
        if not any(known[id_].status == "candidate" for id_ in ids if id_ in known):
            break
        time.sleep(LOOK_EVERY_S)
    for id_ in ids:
        version = known.get(id_)
        if version is not None and version.status == "rejected":
            raise CommandError(f"{id_} could not be trained: {'; '.join(version.reasons)}")


def _option(text: str) -> tuple[str, Any]:
    """Return what KEY=VALUE says; a value that is no TOML is a text."""
    import tomli

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise CommandError(f"{text!r} is not KEY=VALUE", "Such as --set span=300.")
    try:
        return key.strip(), tomli.loads(f"value = {value.strip()}")["value"]
    except tomli.TOMLDecodeError:
        return key.strip(), value.strip()


# ---------------------------------------------------------------- where it is known from


def _view(explicit: Path | None, *, running: bool = False) -> tuple[Overview, str, Path]:
    """Return how the models are, where that is known from, and the state directory."""
    try:
        state_dir, answer = ask(explicit, "model", action="list")
        view = msgspec.convert(answer["models"], Overview)
        return view, f"the agent in {state_dir}", state_dir
    except NotRunning as error:
        if running:
            raise CommandError(str(error), error.remedy) from None
    except msgspec.ValidationError as error:
        raise CommandError(
            f"the agent describes its models in a way this version does not know ({error})",
            "Use the same version of vedette as the running agent.",
        ) from None
    directory = _directory(explicit)
    versions, _ = read(directory)
    return Overview(versions=tuple(versions)), f"{directory} (no agent is running)", directory


def _directory(explicit: Path | None) -> Path:
    """Return the first state directory that has models."""
    looked = candidates(explicit)
    for state_dir in looked:
        try:
            if (state_dir / DIRECTORY).is_dir():
                return state_dir
        except PermissionError:
            raise CommandError(
                f"no permission to read {state_dir}",
                "Ask as root, or as the user that runs the agent.",
            ) from None
    raise CommandError(
        f"no models are kept in {', '.join(map(str, looked))}",
        "They are there once an agent has run; --state-dir names its directory.",
    )


def _chosen(view: Overview, wanted: str) -> Version:
    for version in view.versions:
        if version.id == wanted:
            return version
        if version.detector == wanted and version.status == "champion":
            return version
    raise CommandError(f"there is no version {wanted!r}", "`vedette model list` shows them.")


def _concerns(entry: Entry, id_: str) -> bool:
    return entry.version == id_ or any(one.id == id_ for one in entry.versions)


# ---------------------------------------------------------------- words


def _trained_on(version: Version) -> str:
    data = version.data
    if not data.readings:
        return "-" if version.status in ("candidate", "rejected") else "live"
    lasted = age((data.last_ns - data.first_ns) / 1e9)
    return f"{lasted}, {data.series} series"


def _note(version: Version, view: Overview) -> str:
    trial = view.trials.get(version.id)
    if trial is not None:
        return "; ".join(trial.waiting or trial.against) or "better so far"
    if version.id in view.training:
        return "being trained"
    if version.id in view.probations:
        return f"on probation until {clock(view.probations[version.id])}"
    return "; ".join(version.reasons) or version.why


def _around(view: Overview) -> Iterator[str]:
    if view.next_training_ns:
        yield f"next training {clock(view.next_training_ns)}"
    if view.kept_since_ns:
        yield f"readings kept since {clock(view.kept_since_ns)}, {size(view.kept_bytes)}"
    drifted = [one.name for one in view.families if one.drifted]
    if drifted:
        yield "not as when trained: " + ", ".join(drifted)


def _facts(version: Version, view: Overview) -> Iterator[tuple[str, str]]:
    data = version.data
    yield "why", version.why
    yield "made", f"{clock(version.made_ns)}, by {version.code}"
    yield "parent", version.parent
    yield (
        "configuration",
        version.config
        + ("" if version.config == version.base else f" (agent.toml: {version.base})"),
    )
    yield "options", ", ".join(f"{key} = {value}" for key, value in version.options.items())
    if data.readings:
        span = f"{clock(data.first_ns)} to {clock(data.last_ns)}"
        much = f"{data.series} series, {data.readings} readings"
        yield "trained on", f"{data.origin}, {span}, {much}"
    yield "state", version.state
    yield "reasons", "; ".join(version.reasons)
    if version.id in view.probations:
        usual = f"usual were {version.usual_per_h:g} findings an hour"
        yield "on probation", f"until {clock(view.probations[version.id])}; {usual}"


def _compared(trial: Trial) -> None:
    out("\ncompared with the champion")
    figures = trial.figures
    rows = [
        (name.replace("_", " "), _figure(figures[name]), _figure(figures[f"champion_{name}"]))
        for name in figures
        if f"champion_{name}" in figures
    ]
    for line in table(rows, ("", "IT", "CHAMPION"), right=(1, 2)):
        out("  " + line)
    lasted = age(float(figures.get("seconds") or 0))
    often = f"asked every {trial.every} ticks" if trial.every else "resting: the agent is short"
    out(f"  over {lasted}; {often}, {trial.share:.3%} of a core, {trial.bytes_per_series} B/series")
    for reason in (*trial.waiting, *trial.against):
        out(hanging(printable(reason), 14, "  against it"))


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _drift(view: Overview) -> None:
    if not view.families:
        return
    out("\ndrift since training")
    rows = [
        (one.name, f"{one.moved} of {one.series}", f"{one.index:g}", "drifted" * one.drifted)
        for one in view.families
    ]
    for line in table(rows, ("FAMILY", "MOVED", "MEDIAN PSI", ""), right=(2,)):
        out("  " + line)


def _history_rows(found: list[Entry]) -> list[tuple[str, ...]]:
    return [
        (str(one.seq), clock(one.at_ns), one.event, one.version or one.detector, one.why)
        for one in found
    ]
