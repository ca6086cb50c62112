"""Test requests to real model servers with toy models, one of which is stopped meanwhile.

    PYTHONPATH=agent python tests/bench/models_probe_live.py DIR

The servers are those of ``models_live`` (its docstring says how they are installed): LiteLLM is
asked in OpenAI's words, Triton and MLServer in those of the v2 protocol, with and without a body,
mosec as any page. It runs in a network namespace of its own and takes half a minute. What comes out
is what each request came to, before, while and after MLServer stands still (SIGSTOP), and what
asking costs.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from models_live_site import Running
from models_live_toys import TOYS

from vedette.serving.probing import Request, send

INSIDE = "VEDETTE_MODELS_PROBE_LIVE"
TIMES = 50


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, metavar="DIR")
    root = parser.parse_args().root
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    home = Path(tempfile.mkdtemp(prefix="vedette-probe-"))
    toys = [one for one in TOYS if one.name in ("litellm", "mlserver", "mosec", "pytriton")]
    running = {one.name: Running(one, root, home) for one in toys if one.is_installed(root)}
    try:
        for one in running.values():
            one.set_up()
            one.start()
        transcript(running)
    finally:
        for one in running.values():
            one.end()


def transcript(running: dict[str, Running]) -> None:
    """Print what requests come to."""
    requests = {name: list(asked(one)) for name, one in running.items()}
    for when in ("all is well", "mlserver stands still", "mlserver goes on"):
        process = running["mlserver"].process if "mlserver" in running else None
        if process is not None and when != "all is well":
            stops = when.endswith("still")
            os.killpg(process.pid, signal.SIGSTOP if stops else signal.SIGCONT)
        print(f"-- {when}")
        for name, several in requests.items():
            for request in several:
                told = send(request)
                what = f"{request.kind} {request.model} {request.path}".strip()
                reason = told.reason or "answered"
                print(f"{name:9} {what:42} {reason:12} {told.status} {told.seconds * 1e3:7.1f} ms")
    request = next(iter(requests.values()))[0]
    began = time.process_time()
    for _ in range(TIMES):
        send(request)
    print(f"CPU of one request: {(time.process_time() - began) / TIMES * 1e3:.2f} ms")


def asked(one: Running) -> list[Request]:
    """Return what a server is asked."""
    base, ask = one.toy.base, one.toy.asks[0]
    body = json.dumps(ask.body)
    match one.toy.name:
        case "litellm":
            models = ("toy", "broken", "absent")
            return [Request(base, "openai-chat", model, timeout_s=2) for model in models]
        case "mlserver":
            model = ask.path.split("/")[3]
            return [
                Request(base, "v2-infer", model, timeout_s=2),
                Request(base, "v2-infer", model, body=body, timeout_s=2),
                Request(base, "http", path=f"/v2/models/{model}/ready", timeout_s=2),
            ]
        case "pytriton":
            return [Request(base, "v2-infer", ask.path.split("/")[3], timeout_s=2)]
        case _:
            return [
                Request(base, "http", path=ask.path, body=body, timeout_s=2),
                Request(base, "http", path="/metrics", expect="mosec_", timeout_s=2),
            ]


if __name__ == "__main__":
    main()
