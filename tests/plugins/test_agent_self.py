"""The collector of the agent itself."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from vedette.api import NoConfig, Sample
from vedette.testing import check_collector, fake_proc, readings
from vedette_plugins.agent_self import AgentSelf


def spin() -> None:
    """Use some CPU that the process clock can see."""
    until = time.process_time_ns() + 2_000_000
    while time.process_time_ns() < until:
        pass


def test_what_is_declared_is_emitted() -> None:
    check_collector(AgentSelf)


def test_the_first_tick_has_no_share_of_cpu_and_the_next_has() -> None:
    one = AgentSelf(NoConfig())
    assert "vedette.agent.cpu.utilization" not in readings(one.collect())
    spin()
    assert 0 < readings(one.collect())["vedette.agent.cpu.utilization"] < os.cpu_count() + 1  # type: ignore[operator]


def test_memory_threads_and_files_are_those_of_the_kernel(tmp_path: Path) -> None:
    stat = "7 (a (b) c) S " + " ".join(str(field) for field in range(4, 53))
    host = fake_proc(
        tmp_path,
        {
            "proc/self/statm": "9000 2500 800 1 0 700 0\n",
            "proc/self/stat": stat,
            "proc/self/fd/0": "",
            "proc/self/fd/1": "",
            "proc/self/fd/2": "",
        },
    )
    one = AgentSelf(NoConfig())
    one.host = host
    assert readings(one.collect()) == {
        "vedette.agent.memory.usage": 2500.0 * os.sysconf("SC_PAGE_SIZE"),
        "vedette.agent.threads": 20.0,  # the fields here are their own numbers
        "vedette.agent.open_files": 2.0,  # one is the listing's own
    }


def test_another_thread_and_another_file_are_counted() -> None:
    one = AgentSelf(NoConfig())
    before = readings(one.collect())
    free = threading.Event()
    thread = threading.Thread(target=free.wait, args=(30,))
    thread.start()
    with open(os.devnull, "rb"):
        after = readings(item for item in one.collect() if isinstance(item, Sample))
    free.set()
    thread.join()
    for name in ("vedette.agent.threads", "vedette.agent.open_files"):
        assert after[name] == before[name] + 1


def test_open_files_stay_those_the_kernel_lists_at_every_reading() -> None:
    one = AgentSelf(NoConfig())
    try:
        for _ in range(3):
            told = readings(one.collect())["vedette.agent.open_files"]
            assert told == len(list(Path("/proc/self/fd").iterdir())) - 1
    finally:
        one.close()
        one.close()
