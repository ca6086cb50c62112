"""Estimate how many different values came, in half a kibibyte, however many there were.

HyperLogLog (Flajolet, Fusy, Gandouet, Meunier 2007) with 512 registers: each value's hash chooses a
register by nine bits and leaves there the greatest number of leading zeros seen in the rest. Below
2.5 times as many values as registers it is linear counting over the registers that are empty, as
the paper has it; hashes have 64 bits, so there is no correction for large numbers. The standard
error is 1.04 / sqrt(512), 4.6 %; merging takes the greater of each register and is exact.

The hash is blake2b, so that registers of two hosts, and of yesterday, belong together (Python's own
hash differs from run to run). Cost: 1 µs for a value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from hashlib import blake2b

__all__ = ["REGISTERS", "Distinct", "hashed"]

BITS = 9
REGISTERS = 1 << BITS
_REST = 64 - BITS
#: The paper's constant for 128 registers and more.
_ALPHA = 0.7213 / (1 + 1.079 / REGISTERS)


def hashed(value: str) -> int:
    """Return 64 bits that stand for a text, the same everywhere."""
    data = value.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


class Distinct:
    """The registers; ``data`` is what is kept of them."""

    __slots__ = ("data",)

    def __init__(self, data: bytes = b"") -> None:
        if data and len(data) != REGISTERS:
            raise ValueError(f"{len(data)} registers, there are {REGISTERS}")
        self.data = bytearray(data or REGISTERS)

    def add(self, values: Iterable[str]) -> None:
        """Note that these came."""
        data = self.data
        for value in values:
            bits = hashed(value)
            zeros = _REST - (bits & ((1 << _REST) - 1)).bit_length() + 1
            place = bits >> _REST
            if zeros > data[place]:
                data[place] = zeros

    def merge(self, other: Distinct) -> None:
        """Take in what another one noted."""
        self.data = bytearray(map(max, self.data, other.data))

    def estimate(self) -> float:
        """Return about how many different values came."""
        empty = self.data.count(0)
        raw = _ALPHA * REGISTERS * REGISTERS / sum(2.0**-zeros for zeros in self.data)
        if raw <= 2.5 * REGISTERS and empty:
            return REGISTERS * math.log(REGISTERS / empty)
        return raw
