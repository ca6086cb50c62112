"""What it costs to say whose memory of a GPU it is, and which model server's.

    PYTHONPATH=agent:plugins python tests/bench/gpu_users_bench.py

Eight GPUs with a worker each of one server that listens in this process, which is their ancestor;
the kernel's own /proc. Prints CPU per call, and what that is of a core at the collectors' rhythm.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable

from vedette.api import GpuUse, Host
from vedette.serving.gpus import Gpus, Server
from vedette.serving.listening import Listening
from vedette_plugins._drm_clients import Clients
from vedette_plugins._gpu_users import Users

WORKERS, TIMES = 8, 200


def main() -> None:
    """Print it."""
    listener = socket.create_server(("127.0.0.1", 0))
    place = f"127.0.0.1:{listener.getsockname()[1]}"
    code = "import sys; sys.stdin.read()"
    command = [sys.executable, "-S", "-c", code]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(WORKERS)]
    try:
        held = {f"0000:{at:02x}:00.0": {one.pid: 1 << 30} for at, one in enumerate(workers)}
        uses = [GpuUse(gpu, 0.0, memory, 1.0) for gpu, memory in held.items()]
        servers = [Server(place, "vllm", ("m",))]
        gpus = Gpus(Listening("/proc"), looks=True)
        seen = gpus.held(servers, uses, 0.0)
        said = sum(len(one) for one in seen.values())
        print(f"{said} of {WORKERS} GPUs are known to be the server's")
        users, host = Users(), Host()
        named = {(gpu, "H100"): memory for gpu, memory in held.items()}
        per_call("whose memory it is", 5, lambda: list(users.samples(host, named)))
        per_call("which server's", 10, lambda: list(gpus.told(servers, uses, 1.0)))
        per_call("who listens", 30, lambda: gpus.held(servers, uses, time.monotonic() * 1e6))
        clients = Clients()
        per_call("DRM clients, looked for each 6th time", 10, lambda: clients.read("/proc"))
    finally:
        for one in workers:
            one.communicate()


def per_call(what: str, every_s: float, call: Callable[[], object]) -> None:
    """Print what one call takes of the CPU."""
    call()
    began = time.process_time()
    for _ in range(TIMES):
        call()
    each = (time.process_time() - began) / TIMES
    print(f"{what:40} {each * 1e3:7.3f} ms each {every_s} s: {each / every_s:.4%} of a core")


if __name__ == "__main__":
    main()
