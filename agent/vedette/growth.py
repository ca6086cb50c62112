"""Make arrays longer."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


def grown(array: NDArray[Any], rows: int, initial: float) -> NDArray[Any]:
    """Return a copy of ``array`` with ``rows`` rows, the new ones filled with ``initial``.

    The order in memory stays.
    """
    order: Literal["C", "F"] = "F" if array.ndim > 1 and array.flags.f_contiguous else "C"
    larger: NDArray[Any] = np.full(
        (rows, *array.shape[1:]), initial, dtype=array.dtype, order=order
    )
    larger[: len(array)] = array
    return larger
