"""Judge the sessions in mined logs: by those of normal files, or each by those that ended before.

A template that says of itself that it is grave is worth more where it is seldom, as in the agent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from vedette.commands.logs_mine_ledger import Ledger, Mined
from vedette.logs.profile import LEAST
from vedette.logs.sessions import SessionKey, SessionModel, explain
from vedette.logs.watch import WORTH

__all__ = ["Judged", "judge", "key_of"]

#: Normal sessions that are kept to learn from.
NORMAL_MAX = 65_536
#: Characters of a template's text that a reason shows.
TEXT_MOST = 200


class Judged(msgspec.Struct, frozen=True):
    """A session and what is thought of it; no score while too few were known to judge by."""

    key: bytes
    abnormal: bool
    score: float | None
    reason: str
    templates: tuple[int, ...]


class _NamedKey(SessionKey):
    """A key that is one of several groups."""

    def __init__(self, pattern: str, group: int) -> None:
        super().__init__(pattern)
        self._group = group


def key_of(pattern: str) -> SessionKey:
    """Return what finds a line's key; raises ``ValueError`` that says what is wrong."""
    key = SessionKey(pattern)
    compiled = re.compile(pattern.encode())
    if compiled.groups == 1:
        return key
    if len(compiled.groupindex) == 1:
        return _NamedKey(pattern, *compiled.groupindex.values())
    if not compiled.groups:
        raise ValueError(f"{pattern!r} has no group: put what is the key into ( )")
    raise ValueError(
        f"{pattern!r} has {compiled.groups} groups: write (?P<key> ) for the one that is the key, "
        "or (?: ) for the others"
    )


def judge(ledger: Ledger, templates: Sequence[Mined], *, trusted: bool) -> list[Judged]:
    """Return what is thought of each session, in the order of their first lines."""
    model = SessionModel(NORMAL_MAX, trusted=True) if trusted else SessionModel()
    for one in templates:
        worth = next((nats for least, nats in WORTH if one.severity >= least), 0.0)
        if worth:
            model.weigh(one.id, worth)
    if trusted:
        model.fit_stream(session for _, session in ledger.sessions(normal=True))
    texts = {one.id: one.text for one in templates}
    names = list(ledger.keys)
    return [one for _, one in sorted(_judged(ledger, model, names, texts))]


def _judged(
    ledger: Ledger, model: SessionModel, names: Sequence[bytes], texts: Mapping[int, str]
) -> Iterator[tuple[int, Judged]]:
    for number, session in ledger.sessions(normal=False):
        has_opinion = model.profile.sessions >= LEAST
        verdict = model.judge(session)
        if not model.trusted:
            model.learn(session)
        reasons = verdict.reasons if verdict.is_odd else ()
        yield (
            number,
            Judged(
                names[number],
                verdict.is_odd,
                verdict.score if has_opinion else None,
                "; ".join(explain(one, texts[one.template_id][:TEXT_MOST]) for one in reasons),
                tuple(dict.fromkeys(one.template_id for one in reasons)),
            ),
        )
