"""The helper that asks mounts: what hangs costs its budget and no more, and comes back."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from vedette_plugins import _mount_helper
from vedette_plugins._mount_reader import STUCK_MAX, MountReader, Target

#: Answers like the real helper, except for paths that begin with these.
HELPER = """
import os, sys, time
sys.path.insert(0, {folder!r})
import _mount_helper as real
def answer(path, usual=real._answer):
    if path.startswith(b"/hang") and not os.path.exists(path[5:] or b"/no/such"):
        time.sleep(600)
    if path.startswith(b"/die"):
        os._exit(3)
    return usual(b"/" if path.startswith(b"/hang") else path)
real._answer = answer
{before}
real._main()
"""


class Watched:
    """A reader with a clock to set, and the helpers it has killed or, if told, could not kill."""

    def __init__(self, before: str = "", **options: Any) -> None:
        folder = str(Path(_mount_helper.__file__).parent)
        code = HELPER.format(folder=folder, before=before)
        command = (sys.executable, "-I", "-S", "-c", code)
        options = {"timeout_s": 0.3, "budget_s": 5.0} | options
        self.reader = MountReader(**options, command=command)
        self.now: float | None = None
        self.reader.monotonic = lambda: time.monotonic() if self.now is None else self.now
        self.immortal: list[int] = []
        self.can_kill = True
        self.reader.kill = self._kill

    def _kill(self, pid: int) -> None:
        if self.can_kill:
            os.kill(pid, signal.SIGKILL)
        else:
            self.immortal.append(pid)

    def read(self, *paths: str) -> dict[str, str]:
        """Ask; return for each path that was asked the word for its answer."""
        targets: list[Target] = [(at, path.encode()) for at, path in enumerate(paths)]
        return {
            target[1].decode(): errno.errorcode[answer.errno or 0]
            if isinstance(answer, OSError)
            else "ok"
            for target, answer in self.reader.read(targets)
        }

    @property
    def helper(self) -> int | None:
        """The process at work."""
        return self.reader._helper and self.reader._helper.pid

    def end(self) -> None:
        self.reader.close()
        for pid in self.immortal:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@pytest.fixture
def watched() -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def make(before: str = "", **options: Any) -> Watched:
        made.append(Watched(before, **options))
        return made[-1]

    yield make
    for one in made:
        one.end()


def descriptors(process: int | str = "self") -> set[str]:
    """The open descriptors of a process."""
    return {one.name for one in Path(f"/proc/{process}/fd").iterdir()}


def figures(path: str) -> tuple[int, ...]:
    """The figures of a filesystem that do not move."""
    space = os.statvfs(path)
    return space.f_bsize, space.f_frsize, space.f_blocks, space.f_files, space.f_namemax


def test_the_helper_answers_as_statvfs_does(tmp_path: Path) -> None:
    odd = tmp_path / "a\nb \udcff"
    odd.mkdir()
    reader = MountReader(2.0)
    try:
        answers = dict(reader.read([(1, b"/"), (2, os.fsencode(odd)), (3, b"/proc")]))
    finally:
        reader.close()
    for (_, path), answer in answers.items():
        assert isinstance(answer, os.statvfs_result)
        theirs = answer.f_bsize, answer.f_frsize, answer.f_blocks, answer.f_files, answer.f_namemax
        assert theirs == figures(os.fsdecode(path))
        assert answer.f_flag == os.statvfs(path).f_flag
    assert len(answers) == 3


def test_an_error_of_the_mount_is_its_answer(watched: Callable[..., Watched]) -> None:
    assert watched().read("/", "/no/such/place", "/" + 300 * "x") == {
        "/": "ok",
        "/no/such/place": "ENOENT",
        "/" + 300 * "x": "ENAMETOOLONG",
    }


def test_one_helper_is_kept_for_all_ticks_and_ends_with_the_last_mount(
    watched: Callable[..., Watched],
) -> None:
    one = watched()
    assert one.helper is None
    one.read("/", "/proc")
    first = one.helper
    one.read("/", "/sys")
    assert one.helper == first is not None
    one.read()
    assert one.helper is None
    assert not psutil.pid_exists(first)


def test_a_mount_that_hangs_is_said_so_and_the_others_are_read(
    watched: Callable[..., Watched],
) -> None:
    assert watched().read("/hang", "/", "/proc") == {"/hang": "ETIMEDOUT", "/": "ok", "/proc": "ok"}


def test_what_hangs_is_asked_again_ever_more_seldom(watched: Callable[..., Watched]) -> None:
    one = watched()
    one.now = 0.0
    one.read("/")
    asked = []
    for _ in range(2000):
        before = one.helper
        assert one.read("/", "/hang") == {"/": "ok", "/hang": "ETIMEDOUT"}
        if before is not None and one.helper != before:
            asked.append(one.now)
        if len(asked) == 8:
            break
        one.now += 10.0
    pauses = [after - before for before, after in itertools.pairwise(asked)]
    assert pauses == [30, 60, 120, 240, 480, 600, 600]


def test_a_mount_that_answers_again_is_read_at_the_next_try(
    watched: Callable[..., Watched], tmp_path: Path
) -> None:
    one = watched()
    one.now = 0.0
    door = tmp_path / "door"
    hanging = f"/hang{door}"
    assert one.read(hanging) == {hanging: "ETIMEDOUT"}
    door.touch()
    one.now = 20.0
    assert one.read(hanging) == {hanging: "ETIMEDOUT"}
    one.now = 31.0
    assert one.read(hanging) == {hanging: "ok"}
    one.now = 41.0
    assert one.read(hanging) == {hanging: "ok"}


def test_a_helper_that_cannot_be_killed_is_left_behind_and_its_end_is_a_sign(
    watched: Callable[..., Watched],
) -> None:
    one = watched()
    one.now = 0.0
    one.can_kill = False
    assert one.read("/hang", "/") == {"/hang": "ETIMEDOUT", "/": "ok"}
    assert len(one.immortal) == 1
    one.now = 10_000.0
    assert one.read("/hang", "/") == {"/hang": "ETIMEDOUT", "/": "ok"}
    assert len(one.immortal) == 1, "the same mount was asked a second time"
    one.can_kill = True
    left = one.immortal.pop()
    os.kill(left, signal.SIGKILL)
    os.waitid(os.P_PID, left, os.WEXITED | os.WNOWAIT)
    one.now += 10.0
    helper = one.helper
    one.read("/hang", "/")
    assert one.helper != helper, "the mount was not asked at once"


def test_only_so_many_helpers_are_left_behind(watched: Callable[..., Watched]) -> None:
    one = watched(timeout_s=0.1)
    one.can_kill = False
    hanging = [f"/hang/{at}" for at in range(STUCK_MAX + 3)]
    read = one.read(*hanging, "/")
    assert read == dict.fromkeys(hanging[:STUCK_MAX], "ETIMEDOUT")
    assert len(one.immortal) == STUCK_MAX
    assert one.read(*hanging, "/") == read
    assert len(one.immortal) == STUCK_MAX


def test_twenty_hanging_mounts_cost_the_budget_and_the_living_have_their_turn(
    watched: Callable[..., Watched],
) -> None:
    one = watched(timeout_s=0.1, budget_s=0.35)
    one.read("/")
    mounts = [*(f"/hang/{at}" for at in range(20)), "/", "/proc"]
    known: dict[str, str] = {}
    for _ in range(60):
        read = one.read(*mounts)
        hanging = [path for path in read.keys() - known.keys() if read[path] == "ETIMEDOUT"]
        assert len(hanging) <= 3
        known |= read
    assert known == dict.fromkeys(mounts[:20], "ETIMEDOUT") | {"/": "ok", "/proc": "ok"}


def test_a_mount_that_had_too_little_time_is_not_blamed(watched: Callable[..., Watched]) -> None:
    one = watched(timeout_s=0.4, budget_s=0.6)
    one.read("/")
    assert list(one.read("/hang/1", "/hang/2")) == ["/hang/1"]
    assert set(one.read("/hang/1", "/hang/2").values()) == {"ETIMEDOUT"}


def test_a_helper_that_dies_is_replaced_and_nobody_is_blamed(
    watched: Callable[..., Watched],
) -> None:
    one = watched()
    assert one.read("/die", "/") == {"/": "ok"}
    os.kill(one.helper or 0, signal.SIGKILL)
    os.waitid(os.P_PID, one.helper or 0, os.WEXITED | os.WNOWAIT)
    one.read("/")
    assert one.read("/") == {"/": "ok"}


def test_a_helper_that_takes_long_to_start_is_waited_for_at_the_next_tick(
    watched: Callable[..., Watched], tmp_path: Path
) -> None:
    door = tmp_path / "door"
    one = watched(f"while not os.path.exists({str(door)!r}): time.sleep(0.01)", budget_s=0.3)
    assert one.read("/") == {}
    starting = one.helper
    assert starting is not None
    door.touch()
    for _ in range(100):
        if read := one.read("/"):
            break
    assert read == {"/": "ok"}
    assert one.helper == starting


def test_a_helper_that_cannot_start_leaves_the_mounts_unread() -> None:
    reader = MountReader(0.3, command=("/no/such/interpreter",))
    open_before = descriptors()
    assert list(reader.read([(1, b"/")])) == []
    assert descriptors() == open_before
    reader = MountReader(0.3, command=(sys.executable, "-c", "raise SystemExit"))
    assert list(reader.read([(1, b"/")])) == []
    reader.close()


def test_the_helper_ends_when_its_owner_is_gone(watched: Callable[..., Watched]) -> None:
    one = watched()
    one.read("/")
    pid, helper = one.helper or 0, one.reader._helper
    assert helper is not None
    helper.close()
    one.reader._helper = None
    assert os.waitpid(pid, 0)[1] == 0


def test_closing_is_safe_twice_and_reading_goes_on_after_it(
    watched: Callable[..., Watched],
) -> None:
    one = watched()
    open_before = descriptors()
    one.reader.close()
    for _ in range(2):
        assert one.read("/") == {"/": "ok"}
        one.reader.close()
        one.reader.close()
    assert descriptors() == open_before


def test_the_helper_is_a_bare_interpreter(watched: Callable[..., Watched]) -> None:
    reader = MountReader(2.0)
    try:
        list(reader.read([(1, b"/")]))
        assert reader._helper is not None
        process = psutil.Process(reader._helper.pid)
        assert descriptors(process.pid) == {"0", "1", "2"}
        libraries = {one.path for one in process.memory_maps() if "lib-dynload" in one.path}
        assert libraries == set()
    finally:
        reader.close()
