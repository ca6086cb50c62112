"""What a host is made of: gathered from plugins, compared, told when it changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vedette.announcements import inventory_event
from vedette.api import Host, Item, hookimpl
from vedette.inventory import (
    CHANGES_MAX,
    EVERY_CALLS,
    ITEMS_MAX,
    RESEND_NS,
    Inventory,
    InventoryTask,
    changes,
    gather,
    load,
)
from vedette.otlp import encode_logs
from vedette.registry import Registry

DISK = Item("disk", "sda", {"model": "Fast 1", "size": 512, "rotational": False})
OS = Item("os", "debian", {"version": "12"})


def of(*items: Any) -> Inventory:
    return gather([("test", items)])


def test_items_come_in_order_whatever_the_order_of_plugins() -> None:
    assert of(OS, DISK) == of(DISK, OS)
    assert [one.name for one in of(OS, DISK).items] == ["sda", "debian"]


def test_of_two_items_of_one_name_the_first_counts() -> None:
    assert of(DISK, Item("disk", "sda", {"model": "other"})).items == (DISK,)


@pytest.mark.parametrize("junk", [None, 7, "text", ("disk", "sda"), Item("a", "b", None)])  # type: ignore[arg-type]
def test_what_is_no_item_is_left_out(junk: object, caplog: pytest.LogCaptureFixture) -> None:
    assert of(junk, DISK).items == (DISK,)
    assert "describe_host gave no Item" in caplog.text


def test_text_from_the_host_is_made_printable_and_bounded() -> None:
    (item,) = of(Item("disk", "a\nb", {"model": "x" * 500, "n": 1, "odd": object()})).items  # type: ignore[dict-item]
    assert item.name == "a\ufffdb"
    assert item.facts == {"model": "x" * 200, "n": 1}


def test_there_is_a_most_of_items() -> None:
    assert len(of(*(Item("disk", str(n)) for n in range(2 * ITEMS_MAX))).items) == ITEMS_MAX


def test_changes_are_told_in_words() -> None:
    after = of(Item("os", "debian", {"version": "13", "codename": "trixie"}), Item("gpu", "0"))
    assert changes(of(DISK, OS), after) == (
        "gpu 0 appeared",
        "disk sda went away",
        "os debian: codename is trixie, was unknown",
        "os debian: version is 13, was 12",
    )


def test_sizes_and_truths_are_told_in_words() -> None:
    before = of(Item("memory", "ram", {"total": 1 << 30}), Item("disk", "a", {"removable": True}))
    after = of(Item("memory", "ram", {"total": 3 << 29}), Item("disk", "a", {"removable": False}))
    assert changes(before, after) == (
        "disk a: removable is no, was yes",
        "memory ram: total is 1.5 GiB, was 1 GiB",
    )


def test_the_first_inventory_changes_nothing() -> None:
    assert changes(None, of(DISK)) == ()
    assert changes(of(DISK), of(DISK)) == ()


def test_many_changes_are_counted_not_listed() -> None:
    told = changes(of(), of(*(Item("disk", str(n)) for n in range(100))))
    assert len(told) == CHANGES_MAX
    assert told[-1] == f"and {100 - CHANGES_MAX + 1} more"


class Machine:
    """A host whose items can be changed, and the task that describes it."""

    def __init__(self, directory: Path) -> None:
        self.items: list[Item] = [DISK]
        self.now = 0
        self.asked = 0
        self.told: list[tuple[Inventory, tuple[str, ...]]] = []
        self.task = InventoryTask(
            self.describe,
            lambda *told: self.told.append(told),
            directory,
            clock_ns=lambda: self.now,
        )
        self.task.probe()

    def describe(self) -> Iterator[tuple[str, Any]]:
        self.asked += 1
        yield "test", list(self.items)

    def calls(self, count: int) -> dict[str, float]:
        for _ in range(count):
            read = {one.series.values[0]: one.value for one in self.task.collect()}
        return read


def test_nothing_is_done_at_the_start_and_the_host_is_told_after(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.calls(1) == {}
    assert machine.asked == 0
    assert machine.calls(1) == {"disk": 1}
    assert machine.told == [(of(DISK), ())]


def test_what_did_not_change_is_not_told_again_not_even_after_a_restart(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.calls(2 + 3 * EVERY_CALLS)
    again = Machine(tmp_path)
    again.calls(2)
    assert (len(machine.told), len(again.told)) == (1, 0)


def test_a_change_is_told_at_the_next_look(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.calls(2)
    machine.items = []
    machine.calls(EVERY_CALLS)
    assert machine.told[1:] == [(of(), ("disk sda went away",))]


def test_it_is_told_again_after_a_day(tmp_path: Path) -> None:
    Machine(tmp_path).calls(2)
    later = Machine(tmp_path)
    later.now = RESEND_NS
    later.calls(2)
    assert later.told == [(of(DISK), ())]


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "inventory.json").write_bytes(b"{")
    machine = Machine(tmp_path)
    machine.calls(2)
    assert len(machine.told) == 1
    sent = load(tmp_path)
    assert sent is not None
    assert sent.inventory == of(DISK)


def test_a_plugin_that_fails_hides_no_other_and_may_answer_bit_by_bit() -> None:
    @hookimpl
    def describe_host(host: Host) -> Iterator[Item]:
        yield DISK

    @hookimpl(specname="describe_host")
    def broken(host: Host) -> Iterator[Item]:
        yield OS
        raise OSError("gone")

    registry = Registry()
    registry.add(SimpleNamespace(describe_host=describe_host), name="good")
    registry.add(SimpleNamespace(broken=broken), name="bad")
    assert gather(registry.ask("describe_host", host=Host())).items == (DISK,)


def test_the_event_carries_items_and_changes() -> None:
    event = inventory_event(5, [DISK], "abc", ["disk sda appeared"])
    assert event.name == "vedette.inventory"
    assert event.body == "disk sda appeared"
    assert encode_logs([event], {"host.name": "h"})
    items = event.attributes["vedette.inventory.items"]
    assert items == [{"kind": "disk", "name": "sda", "facts": dict(DISK.facts)}]
