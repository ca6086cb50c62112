"""What agent.toml says of a target: where its page is, who asks, what is kept, what is watched."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from vedette.api import Duration, Secret, Size
from vedette.exposition.choice import Choice
from vedette.exposition.model import Caps
from vedette.exposition.scrape import Target

#: Lines of the page that are remembered for each series that is told: a histogram has a dozen.
LINES_PER_SERIES = 10
SERIES_MOST = 20_000
_PATTERNS = ("allow", "deny", "drop_labels", "keep_labels", "add_gauges", "counters", "watch")


class OpenMetricsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of metrics: where it is, and what of it is told."""

    url: Annotated[str, Meta(description="Address of the page.")] = "http://127.0.0.1:8000/metrics"
    socket: Annotated[
        str,
        Meta(
            description="Path of a unix socket that answers; the address then gives host name and "
            "path alone."
        ),
    ] = ""
    fetch_timeout: Annotated[
        Duration,
        Meta(
            description="For the whole page, 100 ms to 5 min; `timeout` has to be longer, or a "
            "target that hangs is a collector that is late."
        ),
    ] = Duration(4.0)
    page_max: Annotated[
        Size, Meta(description="Longest page that is read, before and after decompression.")
    ] = Size(16 << 20)
    series: Annotated[
        int,
        Meta(
            description="Series that are told of this target at most, the first ones of its page; "
            "the table has a cap of its own for each collector.",
            ge=10,
            le=SERIES_MOST,
        ),
    ] = 2000
    token: Annotated[
        Secret | None,
        Meta(description="Sent as Authorization: Bearer; read anew each time."),
    ] = None
    username: Annotated[str, Meta(description="For basic authentication.")] = ""
    password: Annotated[
        Secret | None, Meta(description="For basic authentication; read anew each time.")
    ] = None
    ca_file: Annotated[
        str, Meta(description="Certificates to trust (PEM) instead of the system's.")
    ] = ""
    cert_file: Annotated[
        str, Meta(description="Our own certificate (PEM), where one is asked.")
    ] = ""
    key_file: Annotated[
        str, Meta(description="Its key (PEM), when it is not in the same file.")
    ] = ""
    server_name: Annotated[
        str, Meta(description="Name the target's certificate must have, instead of the host's.")
    ] = ""
    any_certificate: Annotated[
        bool, Meta(description="Encrypt without knowing with whom: any certificate will do.")
    ] = False
    insecure: Annotated[
        bool, Meta(description="Allow credentials over http, unencrypted, to another host.")
    ] = False
    allow: Annotated[
        tuple[str, ...],
        Meta(
            description="Metrics that are kept: globs of the whole name, or `/regular "
            "expressions/`. Empty: all."
        ),
    ] = ()
    deny: Annotated[
        tuple[str, ...], Meta(description="Metrics that are not, the same way; this wins.")
    ] = ()
    deny_series: Annotated[
        dict[str, tuple[str, ...]],
        Meta(description="Series that are left out: a label, and patterns of its value."),
    ] = {}
    drop_labels: Annotated[
        tuple[str, ...],
        Meta(
            description="Labels that are dropped besides those that tell who a person or a client "
            "is; series that become the same are added."
        ),
    ] = ()
    keep_labels: Annotated[
        tuple[str, ...], Meta(description="Labels that are kept although they may tell who.")
    ] = ()
    add_gauges: Annotated[
        tuple[str, ...],
        Meta(
            description="Gauges that are added where dropped labels make them one; of others the "
            "largest is taken."
        ),
    ] = ()
    counters: Annotated[
        tuple[str, ...], Meta(description="Metrics that count although the page says gauge.")
    ] = ()
    info: Annotated[
        bool, Meta(description="Tell metrics that are always 1 and say something in their labels.")
    ] = False
    watch: Annotated[
        tuple[str, ...],
        Meta(
            description="Metrics whose oddities are findings, by the name they are told under "
            "(`http_request_duration_seconds.p95`). All others only serve as evidence."
        ),
    ] = ()
    resource: Annotated[
        str, Meta(description="Family to which their findings belong, such as `service` or `gpu`.")
    ] = "service"

    def __post_init__(self) -> None:
        found = self.target().problems()
        if not self.page_max:
            found.append("page_max is nothing")
        if self.socket and not self.socket.startswith("/"):
            found.append(f"socket {self.socket!r} is no absolute path")
        if self._tells_secrets() and not self.insecure:
            found.append(
                f"url {self.url!r} is http and not on this host: token and password could be read "
                "on the way. Use https, or set insecure = true"
            )
        if not (self.resource.isascii() and self.resource.isidentifier()):
            found.append(f"resource {self.resource!r} is no word")
        patterns: dict[str, tuple[str, ...]] = {key: getattr(self, key) for key in _PATTERNS}
        patterns |= {f"deny_series.{label}": some for label, some in self.deny_series.items()}
        for key, some in patterns.items():
            try:
                Choice(allow=some)
            except ValueError as error:
                found.append(f"{key}: {error}")
        if found:
            raise ValueError("; ".join(found))

    def target(self) -> Target:
        """Return where the page is, and how to ask for it; ``problems`` is still to be asked."""
        return Target(
            url=self.url,
            socket=self.socket,
            timeout_s=float(self.fetch_timeout),
            bytes_max=int(self.page_max),
            token=self.token,
            username=self.username,
            password=self.password,
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
            server_name=self.server_name,
            any_certificate=self.any_certificate,
        )

    def choice(self) -> Choice:
        """Return what is kept of a page."""
        return Choice(
            allow=self.allow,
            deny=self.deny,
            deny_series=[
                (label, one) for label, patterns in self.deny_series.items() for one in patterns
            ],
            drop_labels=self.drop_labels,
            keep_labels=self.keep_labels,
            add_gauges=self.add_gauges,
        )

    def caps(self) -> Caps:
        """Return what one page may cost."""
        return Caps(bytes=int(self.page_max), series=LINES_PER_SERIES * self.series)

    def _tells_secrets(self) -> bool:
        if self.token is None and self.password is None:
            return False
        parts = urlsplit(self.url)
        return parts.scheme == "http" and not (self.socket or _is_this_host(parts.hostname or ""))


def names_of(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Return what says whether a name is of these patterns; of none nothing is."""
    return Choice(allow=patterns).wants if patterns else lambda _: False


def _is_this_host(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
