"""Collector users: numbers of people, from two sources."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Host, Unavailable
from vedette_plugins.users import RECORDS, Users, owners_in_utmp, register_collectors


class Rooted(Users):
    """The collector on a tree that is a whole host: its root lies above its /proc."""

    @property
    def host(self) -> Host:  # type: ignore[override]
        return self._host

    @host.setter
    def host(self, host: Host) -> None:
        self._host = Host(host.proc, host.sys, str(Path(host.proc).parent))


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Users]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Rooted, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Rooted)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Rooted, "x86", ["run/utmp"])


def test_a_host_that_lists_nobody_anywhere_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Rooted)
    with pytest.raises(Unavailable, match="neither utmp nor sessions of logind"):
        here.collector.probe()


def test_no_name_of_a_user_leaves_it() -> None:
    assert [one.attributes for one in Users.instruments()] == [(), ()]


def session(here: Any, name: str, *pairs: str) -> None:
    here.write(f"run/systemd/sessions/{name}", "\n".join(("# private", *pairs, "")).encode())


def test_a_pipe_of_logind_is_not_waited_for(stage: Callable[..., Any]) -> None:
    here = stage(Rooted)
    session(here, "3", "UID=1000", "CLASS=user", "STATE=active")
    os.mkfifo(here.folder / "run" / "systemd" / "sessions" / "3.ref")
    assert here.values() == {"vedette.user.sessions": 1, "vedette.user.count": 1}


def test_sessions_of_the_system_itself_are_not_counted(stage: Callable[..., Any]) -> None:
    here = stage(Rooted)
    for name, kind in enumerate(("greeter", "manager", "background", "lock-screen", "user-light")):
        session(here, str(name), f"UID={name}", f"CLASS={kind}", "STATE=active")
    assert here.values()["vedette.user.sessions"] == 1


def test_utmp_is_taken_where_both_are(stage: Callable[..., Any]) -> None:
    here = stage(Rooted)
    session(here, "3", "UID=1000", "CLASS=user", "STATE=active")
    here.write("run/utmp", b"")
    assert here.values()["vedette.user.sessions"] == 0


@pytest.mark.parametrize("length", RECORDS)
@pytest.mark.parametrize("count", [1, 2, 24, 25, 600])
def test_both_lengths_of_record_are_told_apart(length: int, count: int) -> None:
    line = b"\7\0\0\0\xe9\3\0\0" + b"pts/0".ljust(36, b"\0") + b"ada".ljust(32, b"\0")
    record = line + b"192.0.2.1".ljust(256, b"\0") + b"\0" * (length - 332)
    assert owners_in_utmp(record * count) == [b"ada"] * count


def test_this_hosts_sessions_are_those_psutil_sees(
    read_here: Callable[..., dict[str, float]],
) -> None:
    if not Path("/run/utmp").exists():
        pytest.skip("this host keeps no utmp")
    mine, theirs = read_here(Users), psutil.users()
    assert mine["vedette.user.sessions"] == len(theirs)
    assert mine["vedette.user.count"] == len({one.name for one in theirs})
