"""What the collectors read on this very host is what others read there (tests/bench/agreement.py).

Here only with what needs no other program: the kernel's files read by hand in another way, and
psutil. The script itself compares with node_exporter, sysstat, procps and iproute2 as well.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "bench"
SCRIPT = BENCH / "agreement.py"


@pytest.fixture
def bench(monkeypatch):
    """The benchmarks import each other by name, as scripts do."""
    monkeypatch.syspath_prepend(str(BENCH))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_collectors_agree_with_psutil_and_with_the_kernels_files_read_by_hand():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--seconds", "2", "--only", "hand,psutil", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert [row for row in told["rows"] if row["verdict"] == "disagrees"] == []
    assert done.returncode == 0, done.stderr
    assert told["summary"]["sources"] == ["hand", "psutil"]
    assert told["summary"]["quantities"] >= 30


def verdict(kind, ours, other, step=0.0):
    from agreement import compare
    from agreement_table import Quantity

    return compare(Quantity("a thing", "a.series", kind, step, {}), "hand", ours, other).verdict


def test_a_counter_must_lie_between_the_others_two_readings_to_its_unit(bench):
    assert verdict("counter", [105], [100, 110]) == "agrees"
    assert verdict("counter", [111], [100, 110]) == "disagrees"
    assert verdict("counter", [111], [100, 110], step=1) == "agrees"


def test_a_momentary_value_may_be_one_percent_outside(bench):
    assert verdict("gauge", [1010], [1000, 1000]) == "agrees"
    assert verdict("gauge", [1011], [1000, 1000]) == "disagrees"


def test_a_series_may_be_absent_only_where_there_is_nothing_to_tell(bench):
    assert verdict("counter", [None], [0, 0]) == "absent at 0"
    assert verdict("counter", [None], [0, 1]) == "disagrees"


def test_an_expression_adds_up_names_globs_and_factors(bench):
    from agreement_table import value

    reading = {"a": 5.0, "b": 3.0, "c{x=1}": 1.0, "c{x=2}": 2.0}
    assert value("a - b + 10 * c{*}", reading) == 32
    assert value("1 + a", reading) == 6
    assert value("a + missing", reading) is None
