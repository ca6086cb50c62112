"""Whatever is done to log files, in any order, every line that still exists is counted once.

Each line begins with a number of its own. The model knows the lines that must be counted, and those
that may be (once at most) because their bytes were destroyed before what was made of them was kept.
A line written in pieces counts by its first piece; a piece whose beginning went with a truncated
file stands alone, and begins with a plus. Each line has more bytes than a file is known by: of
shorter files that were copied and deleted at once it is not always decided which is which.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

sys.path.insert(0, str(Path(__file__).parent))

from tail_cases import Reading, append

NAMES = st.sampled_from(["a.log", "b.log"])


class Content:
    """The lines in one file, and whether the last one is unfinished."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.unfinished = False


class Files(RuleBasedStateMachine):
    """Two logs that things are done to, and a tail that is killed now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.next_id = 0
        self.wall_ns = 1_700_000_000_000_000_000
        self.must: set[int] = set()
        self.may: set[int] = set()
        self.current = {"a.log": Content(), "b.log": Content()}
        self.counted: Counter[int] = Counter()
        self.fresh: Counter[int] = Counter()

    @initialize(
        descriptors=st.sampled_from([1, 2, 64]),
        budget=st.sampled_from([1, 1 << 20]),
        rotated_too=st.booleans(),
    )
    def begin(self, descriptors: int, budget: int, rotated_too: bool) -> None:
        pattern = "*.log*" if rotated_too else "*.log"
        self.reading = Reading(
            self.directory, pattern, descriptors=descriptors, budget=budget, generations=30
        )
        self.poll()
        self.commit()

    def stamp(self, *names: str) -> None:
        """Let time pass between what is done, more than a file system's time stamps resolve."""
        self.wall_ns += 10_000_000
        for name in (*names, "."):
            os.utime(self.directory / name, ns=(self.wall_ns, self.wall_ns))

    def append(self, name: str, data: bytes) -> None:
        append(self.directory / name, data)
        self.stamp(name)

    # ------------------------------------------------------------ what writers do

    @rule(name=NAMES, lines=st.integers(1, 30), wide=st.sampled_from([0, 40, 400]))
    def write(self, name: str, lines: int, wide: int) -> None:
        self.finish_line(name)
        content = self.current[name]
        data = b""
        for _ in range(lines):
            data += self.line(content) + b"x" * wide + b"\n"
        self.append(name, data)

    @rule(name=NAMES)
    def write_beginning(self, name: str) -> None:
        self.finish_line(name)
        content = self.current[name]
        self.append(name, self.line(content) + b"begin")
        content.unfinished = True

    @rule(name=NAMES)
    def write_more(self, name: str) -> None:
        if self.current[name].unfinished:
            self.append(name, b"+more")

    @rule(name=NAMES)
    def finish_line(self, name: str) -> None:
        if self.current[name].unfinished:
            self.append(name, b"+end\n")
            self.current[name].unfinished = False

    def line(self, content: Content) -> bytes:
        self.next_id += 1
        self.must.add(self.next_id)
        content.ids.append(self.next_id)
        return b"%07d|%s" % (self.next_id, b"-" * 256)

    # ------------------------------------------------------------ what rotation does

    @rule(name=NAMES)
    def rotate(self, name: str) -> None:
        if (self.directory / name).exists():
            if not self.is_known(name):
                self.destroy(name)
            self.shift(name)
            (self.directory / name).rename(self.directory / f"{name}.1")
            self.stamp()
            self.current[name] = Content()

    @rule(name=NAMES, polled=st.booleans())
    def copy_and_truncate(self, name: str, polled: bool) -> None:
        log = self.directory / name
        if not log.exists():
            return
        if not self.is_known(name):
            self.destroy(name)
        self.shift(name)
        shutil.copyfile(log, self.directory / f"{name}.1")
        self.stamp(f"{name}.1")
        if polled:
            self.poll()
        os.truncate(log, 0)
        self.stamp(name)
        unfinished = self.current[name].unfinished
        self.current[name] = Content()
        self.current[name].unfinished = unfinished

    def is_known(self, name: str) -> bool:
        """Whether the tail has seen a file at the path, and kept that, so that this one follows."""
        path = self.directory / name
        place = self.reading.tail._register.places.get(str(path))
        kept = {os.fsdecode(one.path) for one in self.reading.kept.files}
        return place is not None and bool(place.queue) and str(path) in kept

    def shift(self, name: str) -> None:
        for age in range(40, 0, -1):
            old = self.directory / f"{name}.{age}"
            if old.exists():
                old.rename(self.directory / f"{name}.{age + 1}")

    @rule(name=NAMES)
    def truncate(self, name: str) -> None:
        if (self.directory / name).exists():
            self.destroy(name)
            os.truncate(self.directory / name, 0)
            self.stamp(name)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if (self.directory / name).exists():
            self.destroy(name)
            (self.directory / name).unlink()
            self.stamp()

    def destroy(self, name: str) -> None:
        """What has not been kept by now may be lost."""
        gone = {one for one in self.current[name].ids if not self.counted[one]}
        self.must -= gone
        self.may |= gone
        self.current[name] = Content()

    @rule(name=NAMES)
    def save_as_an_editor_does(self, name: str) -> None:
        log = self.directory / name
        if log.exists() and log.stat().st_size > 600 and not self.current[name].unfinished:
            self.settle()
            self.commit()
            shutil.copyfile(log, self.directory / "new")
            (self.directory / "new").replace(log)
            self.stamp(name)
            self.settle()
            self.commit()

    # ------------------------------------------------------------ what the agent does

    @rule()
    def poll(self) -> None:
        self.count(self.reading.poll())

    @rule(seconds=st.sampled_from([1.0, 6.0, 35.0]))
    def pause(self, seconds: float) -> None:
        self.count(self.reading.poll(seconds))

    @rule()
    def commit(self) -> None:
        self.reading.commit()
        self.counted.update(self.fresh)
        self.fresh.clear()

    @rule()
    def kill(self) -> None:
        self.reading.restart()
        self.fresh.clear()

    def count(self, lines: list[bytes]) -> None:
        for line in lines:
            if not line.startswith(b"+"):
                self.fresh[int(line.partition(b"|")[0])] += 1

    def settle(self) -> None:
        quiet = 0
        for _ in range(2_000):
            quiet = 0 if self.reading.tail.backlog else quiet + 1
            self.count(self.reading.poll(3.0))
            if quiet > 16:
                return
        raise AssertionError("never done")

    def teardown(self) -> None:
        try:
            for name in self.current:
                self.finish_line(name)
            self.settle()
            total = self.counted + self.fresh
            lost = sorted(one for one in self.must if total[one] != 1)
            assert lost == [], f"not once: {[(one, total[one]) for one in lost]}"
            assert not [one for one, times in total.items() if times > 1]
            assert total.keys() <= self.must | self.may
        finally:
            self.reading.tail.close()
            shutil.rmtree(self.directory)


TestFiles = Files.TestCase
TestFiles.settings = settings(
    max_examples=int(os.environ.get("VEDETTE_TAIL_EXAMPLES", "120")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
