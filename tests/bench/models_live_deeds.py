"""What ``models_live`` does to servers: kills, hangs, restarts, redeploys and floods them.

Told is what the agent said of it, and when; ``ordinary`` is the control: nothing may ring.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from math import isnan
from typing import Any

from models_live_site import WINDOW_S, Running, Site, Witness, endpoint, say, table, until

#: Servers that tell of a queue, or of what they refuse in its place.
FLOODED = ("mosec", "bentoml", "pytriton", "torchserve", "ray", "vllm", "llamacpp")
FLOOD_S, ORDINARY_S = 80.0, 90.0


def killed(site: Site, running: list[Running], witness: Witness) -> None:
    """Kill a server, look for its incident, start it again, and see it resolved."""
    one = next((x for x in running if x.toy.name == "mosec"), running[0])
    place = endpoint(one, site)
    known = {x["id"] for x in site.incidents()}
    began = time.monotonic()
    say(f"\n{one.toy.name} on {place} is killed")
    one.end(signal.SIGKILL)
    down_s = until(lambda: not site.servers()[place]["up"], 40, "down", must=False)

    def mine() -> list[dict[str, object]]:
        fresh = [x for x in site.incidents() if x["id"] not in known]
        return [x for x in fresh if place in str(x["series"])]

    until(mine, 60, "an incident", must=False)
    open_s = time.monotonic() - began
    say(f"  up is 0 after {down_s:.1f} s; an incident after {open_s:.1f} s")
    time.sleep(30)
    for x in mine():
        say(f"  {x['severity']} {x['detectors']} {x['title']!r} {x['series']}")
    say(f"  events: {witness.since(began)}")
    again = time.monotonic()
    one.start()
    up_s = until(lambda: site.servers()[place]["up"], 90, "up", must=False)
    say(f"  started again (took {one.took_s:.1f} s): up is 1 after {up_s:.1f} s more")

    def is_over() -> bool:
        return bool(mine()) and all(x["state"] == "resolved" for x in mine())

    resolved_s = until(is_over, 150, "all well", must=False)
    say(f"  resolved {resolved_s:.1f} s after that: {[x['state'] for x in mine()]}")
    time.sleep(WINDOW_S)
    events = witness.since(again)
    say(f"  events: {events}")
    say(f"  one restart is one event: {'yes' if len(events) == 1 else 'NO'}")
    ours = {x["id"] for x in mine()}
    others = [x["title"] for x in site.incidents() if x["id"] not in known | ours]
    say(f"  other incidents meanwhile: {others}")


def hung(site: Site, running: list[Running]) -> None:
    """Stop a server without ending it: that has to be told apart from one that was killed."""
    # The workers of others are in process groups of their own, and go on.
    one = next((x for x in running if x.toy.name in ("mosec", "mlserver")), running[0])
    place = endpoint(one, site)
    known = {x["id"] for x in site.incidents()}

    def mine() -> list[dict[str, Any]]:
        fresh = [x for x in site.incidents() if x["id"] not in known]
        return [x for x in fresh if place in str(x["series"])]

    assert one.process is not None
    os.killpg(one.process.pid, signal.SIGSTOP)
    try:
        rang_s = until(mine, 60, "an incident", must=False)
        titles = [x["title"] for x in mine()]
    finally:
        os.killpg(one.process.pid, signal.SIGCONT)
    say(f"\n{one.toy.name} on {place} is stopped: an incident after {rang_s:.1f} s {titles}")
    over_s = until(
        lambda: all(x["state"] == "resolved" for x in mine()), 150, "all well", must=False
    )
    say(f"  resolved {over_s:.1f} s after it went on")


def restarted(site: Site, running: list[Running], witness: Witness) -> None:
    """Start servers again at once, as a deployment does, and count the events that tell it."""
    for one in [x for x in running if x.toy.name in ("mlserver", "torchserve", "litserve")]:
        place = endpoint(one, site)
        began = time.monotonic()
        one.end()
        one.start()
        time.sleep(6 * WINDOW_S)
        events = [text for text in witness.since(began) if place in text]
        starts = [text for text in events if "started" in text or "again" in text]
        verdict = "yes" if len(starts) == 1 else "NO"
        say(f"\n{one.toy.name} is started again at once (took {one.took_s:.1f} s): {events}")
        say(f"  one restart is one event: {verdict}")


def redeployed(site: Site, running: list[Running], witness: Witness) -> None:
    """Give servers another model, where that is cheap."""
    for one in running:
        began = time.monotonic()
        if one.toy.redeploy is not None:
            statuses = [one.ask(ask) for ask in one.toy.redeploy(one.home)]
        elif one.toy.other is not None:
            one.end()
            one.toy = one.toy.other
            one.start()
            began = time.monotonic()
            statuses = [one.ask(one.toy.asks[0])]
        else:
            continue
        patience_s = 4 * WINDOW_S
        while time.monotonic() - began < patience_s and not told(witness, began):
            time.sleep(0.5)
        seconds = time.monotonic() - began
        say(
            f"\n{one.toy.name} is given another model (answers {statuses}): after {seconds:.1f} s "
            f"{witness.since(began)}; in the agent's log: {site.changes()[-2:]}"
        )


def told(witness: Witness, began_s: float) -> bool:
    """Return whether it was said that another model is served."""
    return any(" serves " in text for text in witness.since(began_s))


def ordinary(site: Site, running: list[Running]) -> None:
    """Send what healthy clients send, with a mistake now and then: nothing may ring."""
    known = {x["id"] for x in site.incidents()}
    ends = time.monotonic() + ORDINARY_S
    sent: Counter[str] = Counter()
    while time.monotonic() < ends:
        for one in running:
            burst = 4 if sent["bursts"] % 10 == 9 else 1  # BentoML has room for four
            with ThreadPoolExecutor(burst) as pool:
                list(pool.map(one.ask, [one.toy.asks[0]] * burst))
            sent["well"] += burst
            if sent["bursts"] % 20 == 0:
                one.ask(one.toy.asks[1])
                sent["wrong"] += 1
            if sent["bursts"] % 5 == 0:
                others = [ask for ask in one.toy.asks[1:] if ask.is_well]
                sent["streams"] += sum(one.ask(ask) == 200 for ask in others)
        sent["bursts"] += 1
        time.sleep(0.5)
    time.sleep(2.5 * WINDOW_S)
    rang = [(x["detectors"], x["title"]) for x in site.incidents() if x["id"] not in known]
    models = [title for by, title in rang if "model_health" in by]
    say(
        f"\nordinary traffic for {ORDINARY_S:g} s ({sent['well']} good requests, {sent['wrong']} "
        f"wrong ones, {sent['streams']} streams, half of them left): incidents of model servers "
        f"{models}, others {rang if not models else ''}"
    )


def flooded(site: Site, running: list[Running]) -> None:
    """Flood servers with slow requests, one after the other; say what rang when, and what moved."""
    for one in [x for x in running if x.toy.name in FLOODED]:
        place = endpoint(one, site)
        known = {x["id"] for x in site.incidents()}
        since_ms = time.time_ns() // 1_000_000
        began = time.monotonic()

        def mine(place: str = place, known: set[str] = known) -> list[dict[str, Any]]:
            fresh = [x for x in site.incidents() if x["id"] not in known]
            return [x for x in fresh if place in str(x["series"])]

        with ThreadPoolExecutor(1) as pool:
            flood = pool.submit(one.flood, clients=32, seconds=FLOOD_S)
            rang_s = until(mine, FLOOD_S + 2.5 * WINDOW_S, "an incident", must=False)
            titles = [x["title"] for x in mine()]
            ruled_s = until(
                lambda: any("model_health" in x["detectors"] for x in mine()),
                max(1.0, began + FLOOD_S + 2.5 * WINDOW_S - time.monotonic()),
                "an incident of model_health",
                must=False,
            )
            ruled_s += rang_s
            statuses = flood.result()
        time.sleep(WINDOW_S)
        say(
            f"\n{one.toy.name} is flooded by 32 clients for {FLOOD_S:g} s: {dict(statuses)}; the "
            f"first incident after {rang_s:.1f} s {titles}, of model_health after {ruled_s:.1f} s"
        )
        for x in mine():
            say(f"  incident: {x['severity']} {x['detectors']} {x['title']!r}")
        over_s = until(
            lambda: all(x["state"] == "resolved" for x in mine()), 180, "all well", must=False
        )
        say(f"  resolved {over_s:.1f} s later: {[x['state'] for x in mine()]}")
        others = [x["title"] for x in site.incidents() if x["id"] not in known]
        say(f"  other incidents meanwhile: {[x for x in others if place not in x]}")
        rows = [
            (name, f"{low:.3g}", f"{high:.3g}")
            for name, (low, high) in site.peaks(place, since_ms).items()
            if high > 1.5 * low or isnan(low)
        ]
        say(table(rows, ("series that moved", "most before", "most since")))
