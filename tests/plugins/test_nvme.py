"""Collector nvme: what counts as live, and what says nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.nvme import CONTROLLERS_MAX, LOOK_EVERY, Nvme, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Nvme]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Nvme, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Nvme)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    names = [f"sys/class/nvme/nvme{n}/state" for n in range(2)]
    assert_survives(data, Nvme, "server", names)


def test_a_host_without_nvme_is_unavailable(stage: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match="no NVMe"):
        stage(Nvme).collector.probe()


@pytest.mark.parametrize(
    ("state", "live"),
    [
        (b"live\n", 1),
        (b"new\n", 0),
        (b"resetting\n", 0),
        (b"connecting\n", 0),
        (b"deleting\n", 0),
        (b"deleting (no IO)\n", 0),
        (b"dead\n", 0),
        (b"something new\n", None),
        (b"", None),
    ],
)
def test_only_a_state_that_is_known_is_told(
    stage: Callable[..., Any], state: bytes, live: int | None
) -> None:
    here = stage(Nvme)
    here.write("sys/class/nvme/nvme0/state", state)
    assert here.values().get("vedette.nvme.live{system.device=nvme0}") == live


def test_a_controller_that_is_taken_out_is_silent(stage: Callable[..., Any]) -> None:
    here = stage(Nvme)
    here.write("sys/class/nvme/nvme0/state", b"live\n")
    assert len(here.read()) == 1
    (here.folder / "sys/class/nvme/nvme0/state").unlink()
    assert here.read() == []


def test_controllers_are_capped_and_looked_for_again(stage: Callable[..., Any]) -> None:
    here = stage(Nvme)
    here.write("sys/class/nvme/nvme0/state", b"live\n")
    here.read()
    for n in range(CONTROLLERS_MAX + 5):
        here.write(f"sys/class/nvme/nvme{n}/state", b"live\n")
    sizes = [len(here.read()) for _ in range(LOOK_EVERY)]
    assert (sizes[0], sizes[-1]) == (1, CONTROLLERS_MAX)


def test_this_host_reads_as_its_files_say(read_here: Callable[..., dict[str, float]]) -> None:
    states = {
        path.parent.name: path.read_text().strip()
        for path in Path("/sys/class/nvme").glob("nvme*/state")
    }
    if not states:
        pytest.skip("no NVMe here")
    expected = {
        f"vedette.nvme.live{{system.device={name}}}": float(state == "live")
        for name, state in states.items()
    }
    assert read_here(Nvme) == expected
