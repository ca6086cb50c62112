"""Pick numbers by key out of kernel files that are one ``key value`` per line.

The order of the lines never changes while a kernel runs, so the places the wanted words had are
remembered: the text is split once, and two C calls take keys and values from their places. Only
when a key is not where it was, or a value is no number, is the text read line by line again. On
/proc/meminfo with 32 keys that takes 9 µs, a search for each key 40, a loop over the lines 13; on
/proc/vmstat with 30 keys 12, 50 and 29.
"""

from __future__ import annotations

from collections.abc import Iterable

from vedette_plugins._procfs import WIDEST, numbers, picker


class KeyedNumbers:
    """The wanted keys of one file, and where they stood the last time.

    ``column`` is the number of words before the key (two in ``Node 0 MemFree: 4 kB``). A value is
    taken when it is at least 0 and less than ``below``.
    """

    def __init__(self, keys: Iterable[bytes], *, column: int = 0, below: int = WIDEST) -> None:
        self._wanted = frozenset(keys)
        self._column = column
        self._below = below
        #: The keys that were read last; the very object of the time before while they are the same.
        self.keys: tuple[bytes, ...] = ()
        self._count = -1
        self._keys_of = self._values_of = picker(())

    def read(self, text: bytes) -> dict[bytes, int]:
        """Return the numbers of those wanted keys that the text has; the first of twins counts."""
        words = text.split()
        if len(words) == self._count and self._keys_of(words) == self.keys:
            values = numbers(self._values_of(words))
            if values is not None and max(values) < self._below:
                return dict(zip(self.keys, values, strict=True))
        return self._learn(text)

    def _learn(self, text: bytes) -> dict[bytes, int]:
        """Read line by line; remember the places when every wanted line was sound."""
        found: dict[bytes, int] = {}
        places: list[int] = []
        position, is_sound = 0, True
        for line in text.split(b"\n"):
            words = line.split()
            key = words[self._column] if len(words) > self._column else b""
            if key in self._wanted and key not in found:
                values = numbers(words[self._column + 1 : self._column + 2])
                if values is not None and values[0] < self._below:
                    found[key] = values[0]
                    places.append(position + self._column)
                else:
                    is_sound = False
            position += len(words)
        if tuple(found) != self.keys:
            self.keys = tuple(found)
        self._count = position if is_sound and found else -1
        self._keys_of = picker(places)
        self._values_of = picker([place + 1 for place in places])
        return found
