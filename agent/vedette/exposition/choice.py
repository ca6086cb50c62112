"""Choose which families, series and labels of a page are kept, and keep people out of them.

Some servers put who asked into a label: LiteLLM has ``client_ip``, ``user_email``, ``user_agent``
and ``hashed_api_key``. Such labels are dropped before anything is stored, and the series that only
they told apart become one (how: ``page``). Labels that are to be kept all the same are
named by ``keep_labels``.

Patterns are globs over the whole name (``vllm:*``), or regular expressions between slashes
(``/vllm:(num|kv)_.*/``), both exact in case. Deny wins over allow.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable

from vedette.exposition.model import Labels

#: Labels that name a person, a client, a key or a session, in lower case, without separators.
PERSONAL = frozenset(
    {
        "apikey",
        "apikeyalias",
        "apikeyhash",
        "apikeyname",
        "authorization",
        "callerip",
        "clientaddr",
        "clientaddress",
        "clienthost",
        "clientid",
        "clientip",
        "clientname",
        "cookie",
        "customerid",
        "email",
        "emailaddress",
        "enduser",
        "enduserid",
        "forwardedfor",
        "fullname",
        "hashedapikey",
        "hashedtoken",
        "httpuseragent",
        "ipaddress",
        "keyalias",
        "login",
        "peeraddr",
        "peeraddress",
        "peerip",
        "phone",
        "realip",
        "referer",
        "referrer",
        "remoteaddr",
        "remoteaddress",
        "remotehost",
        "remoteip",
        "remoteuser",
        "sessionid",
        "sourceip",
        "srcip",
        "tokenhash",
        "user",
        "useragent",
        "useralias",
        "useremail",
        "userid",
        "username",
        "xapikey",
        "xforwardedfor",
        "xrealip",
    }
)

_ANSWERS_MAX = 10_000


class Choice:
    """Decide by name and label; see ``layout.Choice``."""

    def __init__(
        self,
        *,
        allow: Iterable[str] = (),
        deny: Iterable[str] = (),
        deny_series: Iterable[tuple[str, str]] = (),
        drop_labels: Iterable[str] = (),
        keep_labels: Iterable[str] = (),
        add_gauges: Iterable[str] = (),
    ) -> None:
        """Take patterns; raises ``ValueError`` naming one that is no pattern.

        ``allow`` empty: everything. ``deny_series`` are pairs of a label's name and a pattern of
        its value. ``drop_labels`` are dropped beside the personal ones, ``keep_labels`` are never
        dropped. ``add_gauges`` are gauges whose series are added when they become one (requests
        in flight), where the largest would be wrong.
        """
        self._allow = _matcher(allow)
        self._deny = _matcher(deny)
        self._deny_series = [
            (name, match)
            for name, pattern in deny_series
            if (match := _matcher([pattern])) is not None
        ]
        self._drop = _matcher(drop_labels)
        self._keep = _matcher(keep_labels)
        self._add = _matcher(add_gauges)
        self._dropped: dict[str, bool] = {}

    def wants(self, name: str) -> bool:
        """Say whether a family is kept."""
        if self._deny is not None and self._deny(name):
            return False
        return self._allow is None or self._allow(name)

    def keep(self, name: str, labels: Labels) -> Labels | None:
        """Return the labels to keep of a series, or None to leave it out."""
        for label, match in self._deny_series:
            if any(key == label and match(value) for key, value in labels):
                return None
        if not any(self.drops(key) for key, _ in labels):
            return labels
        return tuple(pair for pair in labels if not self.drops(pair[0]))

    def drops(self, label: str) -> bool:
        """Say whether a label is dropped."""
        known = self._dropped.get(label)
        if known is None:
            if len(self._dropped) >= _ANSWERS_MAX:
                self._dropped.clear()
            kept = self._keep is not None and self._keep(label)
            asked = self._drop is not None and self._drop(label)
            known = self._dropped[label] = not kept and (asked or is_personal(label))
        return known

    def adds(self, name: str) -> bool:
        """Say whether gauges of this name that fall together are added."""
        return self._add is not None and self._add(name)


def is_personal(label: str) -> bool:
    """Say whether a label's name is one that tells who: ``user_email``, ``x-forwarded-for``."""
    return re.sub(r"[^a-z0-9]", "", label.lower()) in PERSONAL


def _matcher(patterns: Iterable[str]) -> Callable[[str], bool] | None:
    """Return what matches any of the patterns; None when there are none."""
    parts = []
    for pattern in patterns:
        if not pattern:
            raise ValueError("an empty pattern")
        try:
            if len(pattern) > 2 and pattern[0] == pattern[-1] == "/":
                part = f"(?:{re.compile(pattern[1:-1]).pattern})"
            else:
                part = fnmatch.translate(pattern)
            re.compile(part)
        except re.error as error:
            raise ValueError(f"pattern {pattern!r}: {error}") from None
        parts.append(part)
    if not parts:
        return None
    match = re.compile("|".join(parts)).fullmatch
    return lambda text: match(text) is not None
