"""Say in words what a mark does now."""

from __future__ import annotations

from vedette.feedback import AnyMark, Marks, Mute, Ruling
from vedette.lenience import NOTHING, Raises, raise_of, worn
from vedette.terminal import age

__all__ = ["Effects"]


class Effects:
    """What each of the marks does at a time (Unix ns)."""

    def __init__(self, marks: Marks, now_ns: int) -> None:
        self._marks = marks
        self._now_ns = now_ns
        self._raises = Raises(marks, now_ns)

    def of(self, mark: AnyMark, meant: int | None = None) -> str:
        """Return what a mark does now; ``meant``: how many series of now a mute means."""
        if isinstance(mark, Mute):
            return self._mute(mark, meant)
        newest = self._marks.of_incident(mark.incident, mark.host)
        if newest is not None and newest.number != mark.number:
            return f"nothing: mark {newest.number} took its place"
        return self._ack(mark) if mark.word == "ack" else self._false_alarm(mark)

    def _mute(self, mute: Mute, meant: int | None) -> str:
        if not mute.live(self._now_ns):
            return "nothing any more: expired"
        left = mute.expires_ns - self._now_ns
        lasts = f"for {age(left / 1e9)} more" if mute.expires_ns else "until it is taken back"
        return f"silent {lasts}" + ("" if meant is None else f", {_series(meant)} at present")

    def _ack(self, mark: Ruling) -> str:
        raised = any(self._raises.of(one.head, one.series) for one in mark.strengths)
        text = "counts as real"
        return text + (", halved what had been raised for its series" if raised else "")

    def _false_alarm(self, mark: Ruling) -> str:
        raises = [raise_of(mark, place) for place in range(len(mark.strengths))]
        if not any(raises):
            return "raises nothing: a rule of yours rang, change it in agent.toml or mute it"
        if max(raises) * worn(mark.time_ns, self._now_ns) < NOTHING:
            return "nothing any more: worn off"
        raised = [one for one, by in zip(mark.strengths, raises, strict=True) if by]
        bars = [self._raises.bar(one.head, one.series, self._now_ns) for one in raised]
        first, bar, rest = raised[0], bars[0], bars[1:]
        text = f"rings from {bar:.2g} times the usual threshold on: {first.series} ({first.head})"
        if rest:
            text += f", {len(rest)} more finding{'s' * (len(rest) > 1)} from {min(rest):.2g} times"
        still = [one for one, bar in zip(raised, bars, strict=True) if one.ratio >= bar]
        if still:
            strongest = max(one.ratio for one in still)
            text += f"; as strong as this ({strongest:.2g} times) it still rings"
        return text


def _series(count: int) -> str:
    return "1 series" if count == 1 else f"{count} series"
