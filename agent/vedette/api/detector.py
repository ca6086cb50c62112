"""Score what was read: what a detector is, what it looks at and what it learns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from vedette.api.options import NoConfig, Stability
from vedette.api.readings import Series

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Window(msgspec.Struct, frozen=True, eq=False):
    """The newest readings of all series; read only.

    ``time`` is int64 ``(ticks,)``, Unix ns; ``values`` float32 ``(rows, ticks)``, counters as
    rates per second, NaN = not read. ``series[row]`` is None for a row without a series.
    ``generation`` changes whenever a row gets another series, so a detector may keep what it
    derived from ``series`` until then.
    """

    time: NDArray[np.int64]
    values: NDArray[np.float32]
    series: Sequence[Series | None]
    generation: int


class StateArray(msgspec.Struct, frozen=True):
    """One learned array of a detector: its value for a new series, and numbers per series.

    With a ``width`` it is ``(rows, width)`` in Fortran order: ``array[:, k]``, one number of all
    series, is contiguous. What is ``transient`` only remembers the last readings: it is not saved,
    and starts anew with the agent.
    """

    initial: float = 0.0
    width: int = 1
    transient: bool = False


class Head(msgspec.Struct, frozen=True):
    """One score that a detector gives, and when it makes a finding.

    A reading is strange from ``threshold`` on, the same for all series; None: the Decider
    calibrates the score per series to a tail probability and decides by that. A finding needs
    ``confirm`` strange readings with no two others in a row, over at least ``confirm_s`` seconds;
    ``release`` calm ones, over at least ``release_s`` seconds, end it. A reading is calm below
    ``calm`` of the threshold; by default where p is about 0.002 to 0.01 (of a score that wears off
    by itself that is late: the next fault would be part of this finding). With ``weekly`` a reading
    is strange only if the series itself, by the tail of its scores so far, is at most so often in a
    week as strange: what is far out everywhere else may be ordinary here. ``oftener`` is how
    many more readings have to confirm it for each tenfold of series, beyond eight, that score
    anything now and then: a person is called per host, not per series.
    """

    name: str
    threshold: float | None = None
    confirm: int = 3
    confirm_s: float = 0.0
    release: int = 3
    release_s: float = 0.0
    calm: float = 0.54
    weekly: float | None = None
    oftener: float = 0.0


class Evidence(msgspec.Struct, frozen=True):
    """What a detector expected of a series: the band, NaN where there is none, and words."""

    low: float
    high: float
    text: str = ""


class Detector(ABC):
    """Score all series at once. Code without memory: the agent owns the learned arrays.

    ``scale`` says what a score means. ``strangeness``: larger is stranger, in any unit; ``heads``
    say from where on it is a finding. ``level``: a rule of the operator's own; 1 and above is a
    violation, 2 and above a critical one, never calibrated.
    Scores of the same tick are asked for first, then ``learn`` folds the newest column in.
    """

    name: ClassVar[str]
    Config: ClassVar[type[msgspec.Struct]] = NoConfig
    default: ClassVar[bool] = True
    stability: ClassVar[Stability] = "stable"
    scale: ClassVar[Literal["strangeness", "level"]] = "strangeness"
    #: The scores it gives, in the order of ``score``'s rows; empty: one, of the detector's name,
    #: with ``threshold``, ``confirm`` and so on as a ``Head`` has them.
    heads: ClassVar[tuple[Head, ...]] = ()
    threshold: ClassVar[float | None] = None
    confirm: ClassVar[int] = 3
    confirm_s: ClassVar[float] = 0.0
    release: ClassVar[int] = 3
    release_s: ClassVar[float] = 0.0
    #: 0: asked each tick. Else once per so many seconds (60 at present), and the window holds the
    #: means over each such time; each tick where the base interval is that long or longer.
    cadence_s: ClassVar[Literal[0, 60]] = 0
    #: Not asked at all where the base interval is longer than this, in seconds.
    coarsest_s: ClassVar[float] = float("inf")
    #: Learned arrays, float32 ``(rows,)`` or ``(rows, width)``.
    state: ClassVar[Mapping[str, StateArray]] = {}
    #: Raised when the meaning of the state changes; ``migrate`` may make something of older ones.
    state_version: ClassVar[int] = 1
    #: Newest columns that ``score`` and ``learn`` look at; of means 128 are kept.
    lookback: ClassVar[int] = 1

    def __init__(self, config: Any) -> None:
        """Keep the configuration (an instance of ``Config``); do no I/O."""
        self.config = config

    @abstractmethod
    def score(
        self, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Return float32 ``(rows,)`` for the newest column; NaN = no opinion. Reads only.

        With several heads ``(heads, rows)``.
        """

    def learn(  # noqa: B027
        self, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> None:
        """Fold the newest column into ``state``, in place."""

    def migrate(
        self, version: int, arrays: dict[str, NDArray[np.float32]]
    ) -> dict[str, NDArray[np.float32]] | None:
        """Return the state that an earlier ``state_version`` saved, as it is now.

        ``arrays`` are copies, a row per series; transient ones are not among them, and what is left
        out of the answer begins at its initial value. None: it is of no use, learn anew.
        """
        return None

    def learning(
        self, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.bool_] | None:
        """Return bool ``(rows,)``: series still too new for an opinion. None: never waits."""
        return None

    def explain(
        self, window: Window, state: Mapping[str, NDArray[np.float32]], row: int
    ) -> Evidence:
        """Return what was expected of one row at the newest tick."""
        return Evidence(float("nan"), float("nan"))

    @classmethod
    def all_heads(cls) -> tuple[Head, ...]:
        """Return the heads, the one of a detector that declares none included."""
        return cls.heads or (
            Head(
                cls.name,
                threshold=cls.threshold,
                confirm=cls.confirm,
                confirm_s=cls.confirm_s,
                release=cls.release,
                release_s=cls.release_s,
            ),
        )
