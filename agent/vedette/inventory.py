"""Know what this host is made of, and say so when it changes.

Plugins describe the host (hook ``describe_host``). What they say is put in order, bounded and
cleaned here, kept in one file of the state directory, and sent whole when it differs from what was
sent last, or when that was a day ago. The work is done in a lane like a collector's, a while after
the start and then every ten minutes.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from vedette import whole_file
from vedette.api import Collector, Item, NoConfig, Sample, updown
from vedette.sentences import amount
from vedette.trouble import Trouble

log = logging.getLogger(__name__)

FILE_NAME = "inventory.json"
#: Items of one host, facts of one item, letters of one text: what is more is cut off and said.
ITEMS_MAX, FACTS_MAX, TEXT_MAX = 500, 40, 200
#: The host is described at every so many-th call of the collector.
EVERY_CALLS = 10
#: What did not change is sent again after a day: a receiver may have lost it.
RESEND_NS = 86_400_000_000_000
#: Changes named one by one.
CHANGES_MAX = 20

Answers = Iterable[tuple[str, Any]]


class Inventory(msgspec.Struct, frozen=True):
    """What the host is made of, in order of kind and name; equal content has an equal digest."""

    items: tuple[Item, ...]
    digest: str


class Sent(msgspec.Struct, frozen=True):
    """The inventory that was sent last, and when (Unix ns)."""

    inventory: Inventory
    sent_ns: int


def gather(answers: Answers) -> Inventory:
    """Return what plugins (name, answer) say; of two items of one kind and name the first counts.

    What is no ``Item`` is left out and logged.
    """
    found: dict[tuple[str, str], Item] = {}
    for plugin, answer in answers:
        for item in answer if isinstance(answer, Iterable) else (answer,):
            clean = _clean(item)
            if clean is None:
                log.warning("plugin=%s describe_host gave no Item but %.80r", plugin, item)
            elif len(found) < ITEMS_MAX:
                found.setdefault((clean.kind, clean.name), clean)
    items = tuple(found[key] for key in sorted(found))
    encoded = msgspec.json.encode(items, order="sorted")
    return Inventory(items, hashlib.blake2b(encoded, digest_size=16).hexdigest())


def changes(before: Inventory | None, after: Inventory) -> tuple[str, ...]:
    """Say in words what came, went or is another; nothing when there was no inventory before."""
    if before is None or before.digest == after.digest:
        return ()
    old = {(one.kind, one.name): one for one in before.items}
    new = {(one.kind, one.name): one for one in after.items}
    told = [f"{kind} {name} appeared" for kind, name in new if (kind, name) not in old]
    told += [f"{kind} {name} went away" for kind, name in old if (kind, name) not in new]
    for key, item in new.items():
        if key in old:
            told += _differences(old[key], item)
    if len(told) > CHANGES_MAX:
        told[CHANGES_MAX - 1 :] = [f"and {len(told) - CHANGES_MAX + 1} more"]
    return tuple(told)


def save(directory: Path, sent: Sent) -> None:
    """Write what was sent; raises ``OSError``."""
    whole_file.put(directory / FILE_NAME, msgspec.json.encode(sent))


def load(directory: Path) -> Sent | None:
    """Return what was sent last; None when nothing was, or it cannot be read."""
    try:
        return msgspec.json.decode((directory / FILE_NAME).read_bytes(), type=Sent)
    except (OSError, msgspec.DecodeError):
        return None


class InventoryTask(Collector):
    """Run in a lane: describe the host, hand over what changed, count what there is.

    ``describe`` asks the plugins; ``tell`` gets the inventory and the changes in words when it has
    to be sent.
    """

    name = "inventory"
    interval_s = 60.0
    timeout_s = 20.0
    may_block = "seldom"
    source = "describe_host of all plugins"

    items = updown(
        "vedette.host.items",
        "{item}",
        "Things of this kind in the inventory of the host.",
        ["vedette.host.item.kind"],
        resource="host",
        alarm="never",
    )

    def __init__(
        self,
        describe: Callable[[], Answers],
        tell: Callable[[Inventory, tuple[str, ...]], None],
        directory: Path,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(NoConfig())
        self._describe = describe
        self._tell = tell
        self._directory = directory
        self._clock_ns = clock_ns
        # The first call is part of the start, which has better things to do.
        self._calls = -1
        self._sent: Sent | None = None
        self._counts: Mapping[str, int] = {}
        self._writing = Trouble(log, "inventory cannot be saved", "inventory is saved again")

    def probe(self) -> None:
        """Take up what an earlier run sent."""
        self._sent = load(self._directory)

    def collect(self) -> Iterator[Sample]:
        """Yield how many items there are of each kind, from the second call on."""
        if self._calls >= 0 and self._calls % EVERY_CALLS == 0:
            self._look()
        self._calls += 1
        for kind, count in self._counts.items():
            yield self.items(count, kind)

    def _look(self) -> None:
        inventory = gather(self._describe())
        self._counts = Counter(one.kind for one in inventory.items)
        before = self._sent
        now = self._clock_ns()
        if before is not None:
            is_same = before.inventory.digest == inventory.digest
            if is_same and 0 <= now - before.sent_ns < RESEND_NS:
                return
        self._tell(inventory, changes(before.inventory if before else None, inventory))
        sent = self._sent = Sent(inventory, now)
        self._writing.attempt(lambda: save(self._directory, sent))


def _clean(item: Any) -> Item | None:
    """Return the item fit to be sent: printable, bounded; None when it is none."""
    if not isinstance(item, Item) or not isinstance(item.facts, Mapping):
        return None
    facts = {
        _text(key): _text(value) if isinstance(value, str) else value
        for key, value in list(item.facts.items())[:FACTS_MAX]
        if isinstance(value, str | int | float)
    }
    return Item(_text(item.kind), _text(item.name), facts)


def _text(text: object) -> str:
    shown = str(text).strip()[:TEXT_MAX]
    return "".join(one if one.isprintable() else "\ufffd" for one in shown)


def _differences(old: Item, new: Item) -> Iterator[str]:
    for key in sorted({*old.facts, *new.facts}):
        before, after = old.facts.get(key), new.facts.get(key)
        if before != after:
            yield f"{new.kind} {new.name}: {key} is {_said(key, after)}, was {_said(key, before)}"


def _said(key: str, value: str | float | bool | None) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    is_size = key.endswith(("size", "total")) and not isinstance(value, str)
    return amount(float(value), "By") if is_size else str(value)
