"""The letter of both formats, beside prometheus_client's strict parser."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from vedette.exposition.model import Malformed
from vedette.exposition.reading import Reader
from vedette.exposition.verify import verify

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
from exposition_oracle import by_prometheus_client, by_vedette, differences

PAGES = Path(__file__).parent.parent / "fixtures" / "exposition"

GOOD = """\
# TYPE req_seconds counter
# UNIT req_seconds seconds
# HELP req_seconds Some \\"text\\".
req_seconds_total{code="200"} 17.0 1520879607.789 # {trace_id="KOO5"} 1.0 1520879607
req_seconds_created{code="200"} 1520430000.123 1520879607.789
# TYPE lat histogram
lat_bucket{le="1.0"} 3 # {trace_id="ab"} 0.67
lat_bucket{le="+Inf"} 5
lat_sum 4.5
lat_count 5
# TYPE s summary
s{quantile="0.5"} 1
s_sum 4
s_count 2
# TYPE build info
build_info{version="1.2"} 1
# TYPE state stateset
state{state="up"} 1
state{state="down"} 0
# TYPE thing unknown
thing{path="a\\\\b\\n\\"c\\""} NaN
# EOF
"""


def test_a_page_to_the_letter_is_accepted_and_read_like_prometheus_client_does() -> None:
    verify(GOOD.encode(), openmetrics=True)
    page = Reader().read(GOOD.encode(), openmetrics=True)
    theirs = by_prometheus_client(GOOD.encode(), strictly_openmetrics=True)
    assert page.complete
    assert not differences(by_vedette(page), theirs)


CLIENT_ACCEPTS = (
    "line 22: the last line does not end",
    "line 14: a series that was there before",
    "unknown escape",
)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("# EOF\n", "", "no # EOF at the end"),
        ("# EOF\n", "# EOF", "line 22: the last line does not end"),
        ("# EOF\n", "# EOF\n\n", "line 23: a line after # EOF"),
        ("thing{", "\nthing{", "line 21: an empty line"),
        ("thing{", "#comment\nthing{", "line 21: OpenMetrics has no comments but"),
        ("state{state=\"up\"} 1", 'state{state="up"} 2', "a state is 0 or 1"),
        ('state{state="up"} 1', 'state{up="up"} 1', "a state is 0 or 1 and has a label"),
        ('{version="1.2"} 1', '{version="1.2"} 2', "an info ends in _info and is 1"),
        ('lat_bucket{le="+Inf"} 5\n', "", "lat has no +Inf bucket"),
        ('{le="1.0"} 3', '{le="1.0"} 7', "lat has a bucket below the one before"),
        ('{le="1.0"} 3', '{le="+Inf"} 3', "a series that was there before"),
        ("lat_count 5", "lat_count -5", "a count is a number from 0"),
        ('total{code="200"} 17.0', 'total{code="200"} -1', "a counter is a number from 0"),
        ("# UNIT req_seconds seconds", "# UNIT req_seconds bytes", "does not end in its unit"),
        ("# TYPE s summary", "# TYPE s summary\n# TYPE s summary", "line 12: a second TYPE of s"),
        ("# TYPE s summary", "# TYPE s untyped", "'untyped' is not a type"),
        ("s_sum 4\n", "s_sum 4\nother 1\n", "line 15: the lines of s do not stand together"),
        ("s_sum 4\n", "s_sum 4\ns_sum 4\n", "line 14: a series that was there before"),
        ("s_sum 4", "s_sum  4", "blanks where OpenMetrics has none"),
        ("s_sum 4", "s_sum 4 ", "blanks at the end"),
        ('{version="1.2"}', '{version="1.2",}', "a comma before }"),
        ('{version="1.2"}', '{version="\\d"}', "unknown escape"),
        ("s_count 2", "s_count 2 # {a=\"b\"} 1", "an exemplar at what has none"),
        ('{trace_id="ab"} 0.67', '{trace_id="ab"}', "an exemplar is"),
        ('{trace_id="ab"}', '{trace_id="' + "a" * 130 + '"}', "an exemplar's labels over 128"),
        ("# TYPE thing unknown\n", "thing 1\n# TYPE thing unknown\n", "declared after its lines"),
    ],
)  # fmt: skip
def test_what_breaks_the_letter_is_named_and_refused_by_prometheus_client_too(
    old: str, new: str, reason: str
) -> None:
    assert old in GOOD
    page = GOOD.replace(old, new)
    with pytest.raises(Malformed, match=re.escape(reason)):
        verify(page.encode(), openmetrics=True)
    if reason not in CLIENT_ACCEPTS:
        with pytest.raises(ValueError):  # noqa: PT011 - any of its own
            by_prometheus_client(page.encode(), strictly_openmetrics=True)


def test_a_pages_text_format_is_verified_too() -> None:
    verify(b'# TYPE a counter\n\n# a comment\na{x="1", y="2",}  1\t1000 \n')
    with pytest.raises(Malformed, match=r"line 1: timestamp '1\.5' is not whole ms: 'a 1 1\.5'"):
        verify(b"a 1 1.5\n")
    with pytest.raises(Malformed, match="an exemplar, which text format"):
        verify(b'# TYPE a counter\na_total 1 # {a="b"} 1\n')
    with pytest.raises(Malformed, match="line 2: value '1_0' is not a number"):
        verify(b"b 1\na 1_0\n")


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.prom")), ids=lambda path: path.stem)
def test_real_servers_keep_to_the_letter_of_text_format(path: Path) -> None:
    verify(path.read_bytes())
