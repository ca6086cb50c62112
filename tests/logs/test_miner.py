"""Learning templates (agent/vedette/logs/miner.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vedette.logs import miner_state
from vedette.logs.miner import OVERFLOW, Miner
from vedette.logs.miner_template import Settings

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from logs_miner_metrics import grouping
from miner_corpora import CORPORA, lines_of

#: So few that every bound is met by a few lines.
TIGHT = Settings(max_templates=12, max_key_bytes=2000, cache_lines=4, cache_bytes=300,
                 cache_line_bytes=80, known_keys=6, max_aliases=5, max_fresh=4)  # fmt: skip

WORD = st.sampled_from(
    [
        "user",
        "of",
        "state",
        "is",
        "up",
        "down",
        "alice",
        "bob",
        "a.b.c",
        "x-1",
        "FAILED",
        "job",
        "=",
    ]
)
VALUE = st.one_of(
    st.integers(0, 10**6).map(str),
    st.sampled_from(["1.2.3.4", "/a/b", "0x1f", "()", "[7]", '"q w"']),
)
LINE = st.one_of(
    st.lists(st.one_of(WORD, WORD, VALUE), max_size=8).map(lambda parts: " ".join(parts).encode()),
    st.binary(max_size=40),
)
LINES = st.lists(LINE, max_size=60)


def texts(miner: Miner) -> list[str]:
    return [one.text for one in miner.templates()]


def mined(*lines: str, settings: Settings | None = None) -> Miner:
    miner = Miner(settings)
    miner.learn([line.encode() for line in lines])
    return miner


# ---------------------------------------------------------------- quality


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize("seed", [0, 1])
def test_lines_of_well_known_programs_are_grouped_as_they_were_made(corpus, seed):
    made = lines_of(corpus, seed=seed)
    miner = Miner()
    ids = [miner.resolve(number) for number in miner.learn([line for line, _ in made])]
    accuracy, f1 = grouping(ids, [template for _, template in made])
    assert (accuracy, f1) > (0.95, 0.9), texts(miner)


def test_all_programs_in_one_stream_are_grouped_as_they_were_made():
    made = [pair for corpus in CORPORA for pair in lines_of(corpus, 600)]
    Random(3).shuffle(made)
    miner = Miner()
    ids = [miner.resolve(number) for number in miner.learn([line for line, _ in made])]
    accuracy, f1 = grouping(ids, [template for _, template in made])
    assert accuracy > 0.95
    assert f1 > 0.95


def test_it_groups_better_than_drain3():
    drain3 = pytest.importorskip("drain3")
    config = pytest.importorskip("drain3.template_miner_config").TemplateMinerConfig()
    made = [pair for corpus in CORPORA for pair in lines_of(corpus, 300)]
    Random(4).shuffle(made)
    other = drain3.TemplateMiner(config=config)
    true = [template for _, template in made]
    its = [other.add_log_message(line.decode())["cluster_id"] for line, _ in made]
    miner = Miner()
    mine = [miner.resolve(number) for number in miner.learn([line for line, _ in made])]
    assert grouping(mine, true) > grouping(its, true)


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["took 12 ms", "took 7 ms"], "took <num> ms"),
        (["took 12ms", "took 7.5ms"], "took <num>ms"),
        (["from 10.0.0.1 port 5", "from 10.1.2.3 port 6"], "from <ip> port <num>"),
        (["wl0 is up", "wl0 is up"], "wl0 is up"),
        (["wl0 is up", "wl1 is up"], "wl<num> is up"),
        (["got blk_-1608999687919862906 of size 5"], "got blk_<num> of size <num>"),
        (["login user= host=", "login user= host="], "login user= host="),
        (["ids 1, 2, 3 done", "ids 1, 2 done"], "ids <*> done"),
        (["deny  [x]  (12)"], "deny  [x]  (<num>)"),
        (["Grüße an 7 Gäste"], "Grüße an <num> Gäste"),
        ([""], ""),
        (["   "], ""),
    ],
)
def test_a_template_reads_as_its_lines_do(lines, text):
    assert texts(mined(*lines)) == [text]


def test_a_pattern_has_one_kind_of_placeholder_and_leaves_what_looks_like_one():
    miner = mined("<num> of 7 at 1.2.3.4 <ok>")
    (template,) = miner.templates()
    assert template.text == "<num> of <num> at <ip> <ok>"
    assert miner.pattern(template.id) == "<num> of <*> at <*> <ok>"


def test_words_that_vary_become_variable_and_old_ids_are_aliases():
    miner = Miner()
    names = (b"alice", b"bob", b"carol", b"dave")
    ids = miner.learn([b"session opened for user %s by sudo" % name for name in names])
    # The third shows that it varies, and so is nothing new any more.
    assert ids == [ids[0], ids[1], ids[0], ids[0]]
    assert miner.aliases == {ids[1]: ids[0]}
    assert texts(miner) == ["session opened for user <*> by sudo"]
    assert miner.template(ids[1]).count == 4


def test_what_happened_does_not_vary():
    lines = [f"replica {at} of volume data is {state} again" for at in range(9)
             for state in ("attached", "detached", "rebuilding", "degraded")]  # fmt: skip
    assert len(mined(*lines)) == 4


@pytest.mark.parametrize("pair", [("on", "off"), ("true", "false"), ("started", "stopped")])
def test_opposites_never_become_one(pair):
    lines = [f"the automatic mode of the pump is now {word}" for word in pair * 20]
    assert len(mined(*lines)) == 2


def test_a_new_template_is_told_once_and_a_new_value_of_an_old_one_is_not_new():
    miner = mined(
        *[
            f"unit {name} has no owner at all"
            for name in ("cron.timer", "fstrim.timer", "man.timer")
        ]
    )
    (number,) = miner.fresh()
    assert miner.fresh() == []
    miner.learn([b"unit apt.timer has no owner at all", b"something else entirely"])
    (other,) = miner.fresh()
    assert miner.template(other).text == "something else entirely"
    assert miner.template(number).count == 4


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("seen", "line", "values"),
    [
        ("took 1 ms of 2", "took 12 ms of -3.5", [b"12", b"-3.5"]),
        ("took 1ms", "took 12ms", [b"12"]),
        ("took 1 ms", "  took   12  ms ", [b"12"]),
        ("from 1.1.1.1:2 by blk_12345", "from 9.8.7.6:54 by blk_-678", [b"9.8.7.6:54", b"-678"]),
        ("at 05:06:07 x", "at 15:16:17 x", [b"15:16:17"]),
        ("on 2026-03-04 05:06:07 x", "on 2026-03-04 05:06:08 x", [b"2026-03-04 05:06:08"]),
        ("nothing here", "nothing here", []),
        ("took 1 ms", "took a while", []),
    ],
)
def test_the_values_of_a_line_are_those_of_its_slots(seen, line, values):
    miner = Miner()
    (number,) = miner.learn([seen.encode()])
    assert miner.values(line.encode(), number) == values


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_line_has_a_value_for_every_slot_and_they_make_up_the_line(corpus):
    lines = [line for line, _ in lines_of(corpus, 400)]
    miner = Miner()
    miner.learn(lines)
    ids = miner.learn(lines)
    for line, number in zip(lines, ids, strict=True):
        template = miner.template(number)
        values = miner.values(line, number)
        assert len(values) == len(template.slots)
        text = template.text
        for form, value in zip(template.slots, values, strict=True):
            text = text.replace(f"<{form}>", value.decode(), 1)
        assert text == line.decode()


# ---------------------------------------------------------------- a function of the lines


@given(LINES, st.data())
@settings(max_examples=150)
def test_how_lines_are_batched_does_not_matter(lines, data):
    whole = Miner(TIGHT)
    ids = whole.learn(lines)
    parts = Miner(TIGHT)
    cut = data.draw(st.integers(0, len(lines)))
    assert parts.learn(lines[:cut]) + [parts.learn_one(line) for line in lines[cut:]] == ids
    assert parts.to_bytes() == whole.to_bytes()


@pytest.mark.parametrize("bounds", [TIGHT, Settings()])
@given(LINES, st.data())
@settings(max_examples=150)
def test_a_restored_miner_goes_on_as_the_other_would_have(bounds, lines, data):
    whole = Miner(bounds)
    ids = whole.learn(lines)
    first = Miner(bounds)
    cut = data.draw(st.integers(0, len(lines)))
    before = first.learn(lines[:cut])
    second = Miner.from_bytes(first.to_bytes(), bounds)
    assert before + second.learn(lines[cut:]) == ids
    assert second.to_bytes() == whole.to_bytes()
    assert second.templates() == whole.templates()
    assert second.aliases == whole.aliases


@pytest.mark.parametrize("corpus", ["sshd", "systemd", "kubelet"])
def test_a_restored_miner_goes_on_the_same_through_real_merges_and_full_tables(corpus):
    lines = [line for line, _ in lines_of(corpus, 500)]
    bounds = Settings(max_templates=14, known_keys=16, cache_lines=32)
    whole = Miner(bounds)
    ids = whole.learn(lines)
    found: list[int] = []
    miner = Miner(bounds)
    for start in range(0, len(lines), 37):
        miner = Miner.from_bytes(miner.to_bytes(), bounds)
        found += miner.learn(lines[start : start + 37])
    assert found == ids
    assert miner.to_bytes() == whole.to_bytes()


def test_ids_are_the_same_in_every_process():
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from miner_corpora import lines_of\n"
        "from vedette.logs.miner import Miner\n"
        "miner = Miner()\n"
        "print(miner.learn([line for line, _ in lines_of('sshd', 300)]))\n"
        "print(miner.to_bytes().hex())\n"
    )
    here = Path(__file__).parent
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(here), str(here.parents[1] / "agent")],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, check=True, timeout=60,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1


def test_the_uid_of_a_template_is_the_same_where_other_things_were_seen_before():
    one = mined("something else", "disk sda1 is 91 % full")
    other = mined("disk sda7 is 3 % full")
    assert one.templates()[1].uid == other.templates()[0].uid
    assert one.templates()[1].id != other.templates()[0].id


# ---------------------------------------------------------------- bounds


@given(st.lists(st.binary(max_size=400), max_size=40))
@settings(max_examples=100)
@example([b"", b"\n", b"\n\n", b"\x00", b"\xff" * 300, b"<*>", b"\x01\x02", b"0", b"<num>"])
@example([b"a" * 100_000, b"1" * 100_000, b"(" * 100_000, b"\n" * 100_000, b"a=" * 5000])
def test_no_bytes_make_it_raise(lines):
    miner = Miner(TIGHT)
    ids = miner.learn(lines)
    for line, number in zip(lines, ids, strict=True):
        assert miner.resolve(number) == miner.template(number).id
        miner.values(line, number)
    for template in miner.templates():
        template.text.encode()


@given(LINES)
@settings(max_examples=100)
def test_every_line_is_counted_once_whatever_is_merged_or_given_up(lines):
    miner = Miner(TIGHT)
    ids = miner.learn(lines)
    assert sum(miner.counts.values()) == len(lines)
    assert sum(one.count for one in miner.templates()) == len(lines)
    assert {miner.resolve(number) for number in ids} <= set(miner.counts)


def test_with_a_full_table_only_what_is_met_twice_becomes_a_template():
    rng = Random(5)
    words = ["".join(rng.choices("abcdefghij", k=7)) for _ in range(4000)]
    miner = Miner(Settings(max_templates=100))
    regular = b"the regular line of this host, number 7"
    miner.learn([regular] * 5)
    miner.learn([" ".join(rng.choices(words, k=7)).encode() for _ in range(2000)])
    assert len(miner) <= 100
    assert miner.counts[OVERFLOW] > 1800
    late = b"a late but lasting line, here it comes"
    assert miner.learn([late])[0] == OVERFLOW
    (number,) = miner.learn([late])
    assert miner.template(number).text == late.decode()
    assert miner.template(miner.learn([regular])[0]).count == 6


def test_the_least_used_templates_are_given_up_and_their_ids_say_so():
    miner = Miner(Settings(max_templates=20, known_keys=100))
    names = [f"{letter}{letter}{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    lines = [f"{name} {name} {name} {name}".encode() for name in names]
    used = miner.learn([lines[0]] * 3)[0]
    first = miner.learn([lines[1]])[0]
    for line in lines[2:]:
        miner.learn([line, line])
    assert miner.overflowed > 0
    assert len(miner) <= 20
    assert miner.resolve(used) == used
    assert miner.resolve(first) == OVERFLOW
    assert miner.template(first).text == "<*>"


def test_an_id_that_was_never_given_out_is_no_template():
    miner = mined("one line")
    for number in (-1, 99):
        with pytest.raises(KeyError):
            miner.template(number)


def test_what_is_new_and_never_fetched_is_bounded_and_counted():
    miner = mined(*[f"{chr(97 + at) * 4} happens" for at in range(10)], settings=TIGHT)
    assert len(miner.fresh()) <= TIGHT.max_fresh
    assert miner.unfetched > 0


# ---------------------------------------------------------------- state


@given(st.binary(max_size=200))
def test_bytes_that_are_no_state_are_refused_with_a_reason(data):
    with pytest.raises(ValueError, match="miner"):
        Miner.from_bytes(data)


def test_a_state_of_another_version_is_refused():
    data = mined("a line").to_bytes()
    state = msgspec.structs.replace(miner_state.unpack(data), version=99)
    with pytest.raises(ValueError, match="version 1, this one 99"):
        Miner.from_bytes(miner_state.pack(state))


@given(st.data())
def test_a_damaged_state_is_refused_or_makes_a_miner_that_works(data):
    good = mined(
        "took 12 ms", "user alice in", "user bob in", "user carl in", "x 1.2.3.4"
    ).to_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[place] = data.draw(st.integers(0, 255))
    try:
        miner = Miner.from_bytes(bytes(bad))
    except ValueError:
        return
    miner.learn([b"took 7 ms", b"user dora in", b"another"])
    miner.templates()
    miner.to_bytes()
