"""Replay recorded and made trees of /proc and /sys through collectors.

A case is a folder ``tests/fixtures/PLUGIN/CASE`` with one tree per reading (``0``, ``1``, ...),
``case.json`` (where it comes from, seconds between readings, configuration, answers of statvfs)
and ``expected.json`` (what each reading must yield). ``GOLDEN=write`` in the environment writes
``expected.json`` anew; what changed is then for a person to judge.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st

from vedette.api import Collector, Host, Sample, Unavailable, Usage

FIXTURES = Path(__file__).parent.parent / "fixtures"

Reading = list[Sample | Usage]

#: Units of what may be negative by nature: temperatures and radio levels.
SIGNED_UNITS = ("Cel", "{dBm}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that asks for ``case`` every case of the plugin its module is named after."""
    if "case" in metafunc.fixturenames:
        folder = FIXTURES / metafunc.module.__name__.rpartition("test_")[2]
        cases = sorted(path.parent for path in folder.glob("*/case.json"))
        assert cases, f"no case in {folder}"
        metafunc.parametrize("case", cases, ids=[path.name for path in cases])


class Stage:
    """A collector on a tree of files that can be changed between readings."""

    def __init__(self, collector: Collector, folder: Path) -> None:
        self.collector = collector
        self.folder = folder
        self.now = 1000.0
        for name in ("proc", "sys"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        collector.host = Host(proc=str(folder / "proc"), sys=str(folder / "sys"))
        if hasattr(collector, "monotonic"):
            collector.monotonic = lambda: self.now
        if hasattr(collector, "tick_s"):
            collector.tick_s, collector.page = 0.01, 4096

    def write(self, name: str, content: bytes) -> None:
        """Write a file in place, so that a descriptor kept open sees the new content."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def lay(self, tree: Path) -> None:
        """Make the folder hold the tree's files and no processes but the tree's."""
        for old in (self.folder / "proc").iterdir():
            if old.name.isdecimal():
                shutil.rmtree(old)
        for path in tree.rglob("*"):
            if path.is_symlink():
                link = self.folder / path.relative_to(tree)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path.readlink())
            elif path.is_file():
                self.write(str(path.relative_to(tree)), path.read_bytes())

    def read(self, after_s: float = 1.0) -> Reading:
        """Collect once, this long after the previous reading."""
        self.now += after_s
        return check(list(self.collector.collect()))

    def values(self, after_s: float = 1.0) -> dict[str, float]:
        """Collect once; return the value of each series."""
        reading = self.read(after_s)
        return {one.series.key: one.value for one in reading if isinstance(one, Sample)}


def check(reading: Reading) -> Reading:
    """Assert what holds for every reading of every collector."""
    samples = [one for one in reading if isinstance(one, Sample)]
    array("d", (one.value for one in samples))
    keys = [one.series.key for one in samples]
    assert len(keys) == len(set(keys)), "a series was read twice"
    for one in samples:
        assert isfinite(one.value), one
        assert one.value >= 0 or one.series.instrument.unit in SIGNED_UNITS, one
        assert one.series.instrument.unit != "1" or one.value <= 1, one
        assert all(value.isprintable() and len(value) <= 200 for value in one.series.values), one
    for usage in (one for one in reading if isinstance(one, Usage)):
        assert 0 <= usage.share <= 1, usage
        assert usage.name.isprintable(), usage
    return reading


def _golden(reading: Reading) -> dict[str, Any]:
    samples = [one for one in reading if isinstance(one, Sample)]
    return {
        "samples": {one.series.key: one.value for one in samples},
        "usages": [list(msgspec.structs.astuple(one)) for one in reading if isinstance(one, Usage)],
    }


def play(kind: type[Collector], case: Path, folder: Path) -> Iterator[Reading | Unavailable]:
    """Yield each reading of a case, or why there is none."""
    told = json.loads((case / "case.json").read_text())
    collector = kind(msgspec.convert(told.get("config", {}), kind.Config))
    stage = Stage(collector, folder)
    if "statvfs" in told:
        answer_for(collector, told["statvfs"])
    for tree in sorted(path for path in case.iterdir() if path.is_dir()):
        stage.lay(tree)
        try:
            yield stage.read(told["step_s"])
        except Unavailable as reason:
            yield reason
    collector.close()
    collector.close()


def answer_for(collector: Any, answers: dict[str, list[int] | str]) -> None:
    """Let a collector get these answers of statvfs, from the helper for remote mounts too.

    An answer is unit, blocks, free, available, inodes, unused ones and, if need be, flags; or the
    name of an error, ``ETIMEDOUT`` for one that does not come. Other paths do not exist.
    """

    def statvfs(path: bytes) -> os.statvfs_result:
        answer = answers.get(os.fsdecode(path), "ENOENT")
        if isinstance(answer, str):
            number = getattr(errno, answer)
            raise OSError(number, os.strerror(number))
        unit, blocks, free, available, files, unused, *flags = answer
        return os.statvfs_result(
            (unit, unit, blocks, free, available, files, unused, unused, sum(flags), 255)
        )

    collector.statvfs = statvfs
    collector.reader = Answers(statvfs)


class Answers:
    """Stands in for the process that asks remote mounts."""

    def __init__(self, statvfs: Callable[[bytes], os.statvfs_result]) -> None:
        self.statvfs = statvfs

    def read(
        self, targets: Iterable[tuple[int, bytes]]
    ) -> Iterator[tuple[tuple[int, bytes], os.statvfs_result | OSError]]:
        """Yield the answer for each target."""
        for target in targets:
            try:
                yield target, self.statvfs(target[1])
            except OSError as error:
                yield target, error

    def close(self) -> None:
        """Nothing to end."""


@pytest.fixture(scope="session")
def assert_golden(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[type[Collector], Path], None]:
    """Assert that every reading of a case yields what its ``expected.json`` says."""

    def assert_case(kind: type[Collector], case: Path) -> None:
        folder = tmp_path_factory.mktemp(case.name)
        got = [
            {"unavailable": str(one).replace(str(folder), "")}
            if isinstance(one, Unavailable)
            else _golden(one)
            for one in play(kind, case, folder)
        ]
        path = case / "expected.json"
        if os.environ.get("GOLDEN") == "write":
            path.write_text(json.dumps(got, indent=1, ensure_ascii=False) + "\n")
        expected = json.loads(path.read_text())
        assert len(got) == len(expected)
        for mine, theirs in zip(got, expected, strict=True):
            assert mine.get("unavailable") == theirs.get("unavailable")
            assert mine.get("samples") == pytest.approx(theirs.get("samples"))
            assert mine.get("usages") == theirs.get("usages")

    return assert_case


@pytest.fixture(scope="session")
def assert_all_declared_emitted(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[type[Collector]], None]:
    """Assert that over all cases a collector emits what it declares, and nothing else."""

    def assert_both_ways(kind: type[Collector]) -> None:
        emitted = set()
        for path in (FIXTURES / kind.name).glob("*/case.json"):
            for one in play(kind, path.parent, tmp_path_factory.mktemp("declared")):
                if isinstance(one, list):
                    emitted |= {id(s.series.instrument) for s in one if isinstance(s, Sample)}
        declared = {id(one): one.name for one in kind.instruments()}
        assert emitted <= declared.keys()
        assert not [name for key, name in declared.items() if key not in emitted]

    return assert_both_ways


@pytest.fixture
def read_here() -> Callable[[type[Collector]], dict[str, float]]:
    """Read this host once with a collector as it comes."""

    def read(kind: type[Collector]) -> dict[str, float]:
        collector = kind(kind.Config())
        collector.probe()
        reading = check(list(collector.collect()))
        collector.close()
        return {one.series.key: one.value for one in reading if isinstance(one, Sample)}

    return read


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Put a collector (class, options) on an empty tree; closed after the test."""
    staged: list[Stage] = []

    def put(kind: type[Collector], **options: Any) -> Stage:
        staged.append(Stage(kind(kind.Config(**options)), tmp_path / str(len(staged))))
        return staged[-1]

    yield put
    for one in staged:
        one.collector.close()


GARBAGE = st.one_of(
    st.binary(max_size=12),
    st.integers(min_value=-(10**30), max_value=10**30).map(lambda number: b"%d" % number),
    st.sampled_from([b"", b"\n", b" ", b":", b"(", b")", b"\0", b"nan", b"1e999", b"9" * 5000]),
)


def garbled(data: st.DataObject, text: bytes) -> bytes:
    """Draw a damaged copy of a text: words replaced, lines doubled or lost, the end cut off."""
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(text)))
        until = data.draw(st.integers(at, min(len(text), at + 40)))
        text = text[:at] + data.draw(GARBAGE) + text[until:]
    if data.draw(st.booleans()):
        lines = text.split(b"\n")
        text = b"\n".join(data.draw(st.permutations(lines * data.draw(st.integers(1, 2))))[:60])
    if data.draw(st.booleans()):
        text = text[: data.draw(st.integers(0, len(text)))]
    return text


@pytest.fixture(scope="session")
def assert_survives() -> Callable[..., None]:
    """Assert that a collector takes damaged copies of a case's files without crashing.

    All it may raise is ``Unavailable`` or ``OSError``. Files of the names given vanish sometimes.
    """

    def assert_no_crash(
        data: st.DataObject, kind: type[Collector], case: str, names: Iterable[str]
    ) -> None:
        source = FIXTURES / kind.name / case
        told = json.loads((source / "case.json").read_text())
        trees = sorted(path for path in source.iterdir() if path.is_dir())
        with tempfile.TemporaryDirectory() as folder:
            stage = Stage(kind(kind.Config()), Path(folder))
            if "statvfs" in told:
                answer_for(stage.collector, told["statvfs"])
            try:
                for tree in (*trees, trees[0]):
                    stage.lay(tree)
                    for name in names:
                        path = stage.folder / name
                        if path.exists():
                            stage.write(name, garbled(data, path.read_bytes()))
                            if data.draw(st.integers(0, 9)) == 0:
                                path.unlink()
                    try:
                        stage.read(data.draw(st.floats(0, 10)))
                    except (Unavailable, OSError):
                        continue
            finally:
                # Whatever ends an example, one that drew too much too, leaves nothing open.
                stage.collector.close()

    return assert_no_crash
