"""What agent.toml says of logs: which are read, how, what is hidden, and what leaves the host."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from vedette.api import Duration, Size
from vedette.logs.patterns import (
    WAYS_ANYWHERE,
    FilePatterns,
    compile_patterns,
    compile_safe,
)
from vedette.logs.sessions import SessionKey
from vedette.logs.tail_settings import NO_TEXT
from vedette.logs.timestamps import zone_of
from vedette.redact.addresses import Policy
from vedette.redact.own_rules import OwnRule
from vedette.redact.redactor import Redactor, Settings

#: The usual places, the containers of Kubernetes and of Docker among them.
FILES = (
    "/var/log/*.log",
    "/var/log/syslog",
    "/var/log/messages",
    "/var/log/secure",
    "/var/log/maillog",
    "/var/log/cron",
    "/var/log/*/*.log",
    "/var/log/*/*_log",
    "/var/log/containers/*.log",
    "/var/lib/docker/containers/*/*-json.log",
)
#: Written by a syslog daemon out of what the journal has: where that is read, they are its copy.
COPIES = (
    "/var/log/syslog",
    "/var/log/messages",
    "/var/log/secure",
    "/var/log/maillog",
    "/var/log/cron",
    "/var/log/auth.log",
    "/var/log/cron.log",
    "/var/log/daemon.log",
    "/var/log/debug",
    "/var/log/kern.log",
    "/var/log/mail.log",
    "/var/log/mail.err",
    "/var/log/user.log",
)
#: A window of records: shorter ones are no summary.
SHORTEST_WINDOW_S, LONGEST_WINDOW_S = 10.0, 3600.0
RECENT_MOST = 64 << 20


class Format(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the lines of some files are to be read, where that is not seen from them."""

    header: Annotated[
        str,
        Meta(
            description="Regular expression for what stands before the message, with the groups "
            "`time`, `level`, `unit` and `body` as far as there are such."
        ),
    ] = ""
    start: Annotated[
        str, Meta(description="Lines without this belong to the event of the line before.")
    ] = ""
    continues: Annotated[
        str, Meta(description="Lines with this belong to the event of the line before.")
    ] = msgspec.field(default="", name="continue")
    zone: Annotated[
        str, Meta(description="Time zone of stamps without one: a name, or `+02:00`.")
    ] = ""

    def __post_init__(self) -> None:
        self.patterns()
        if self.zone:
            zone_of(self.zone)

    def patterns(self) -> FilePatterns | None:
        """Return the expressions, ready to use; None when there are none."""
        if not (self.header or self.start or self.continues):
            return None
        return compile_patterns(self.header or None, self.start or None, self.continues or None)


class Redaction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is masked in everything that leaves the host; secrets always are."""

    addresses: Annotated[
        Policy,
        Meta(
            description="IP addresses: `clients` masks those named as a client's, `mask` all, "
            "`truncate` keeps the network, `keep` keeps them."
        ),
    ] = "clients"
    hardware: Annotated[bool, Meta(description="Mask hardware (MAC) addresses.")] = False
    users: Annotated[bool, Meta(description="Mask names of users.")] = False
    off: Annotated[tuple[str, ...], Meta(description="Rules that are not used, by name.")] = ()
    rules: Annotated[
        tuple[OwnRule, ...],
        Meta(description="Rules of your own: a name, a pattern, and what stands instead."),
    ] = ()
    allow: Annotated[tuple[str, ...], Meta(description="Values that are never masked.")] = ()
    allow_matching: Annotated[
        tuple[str, ...],
        Meta(description="Regular expressions of values that are never masked."),
    ] = ()

    def __post_init__(self) -> None:
        self.redactor()

    def redactor(self) -> Redactor:
        """Return what masks by this policy; raises ``ValueError`` with all that is wrong."""
        return Redactor(
            Settings(
                off=self.off,
                addresses=self.addresses,
                mask_hardware=self.hardware,
                mask_users=self.users,
                rules=self.rules,
                allow=self.allow,
                allow_matching=self.allow_matching,
            )
        )


class LogsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which logs are read, and what is told of them."""

    files: Annotated[
        tuple[str, ...],
        Meta(
            description="Files that are followed, by absolute globs; `**` is any number of "
            "directories. A list given here replaces the usual places."
        ),
    ] = FILES
    also: Annotated[
        tuple[str, ...], Meta(description="Files that are followed besides, by globs.")
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Meta(description="Files that are not, by globs of the path or of the name alone."),
    ] = ()
    journal: Annotated[
        bool,
        Meta(
            description="Read systemd's journal; the usual files that a syslog daemon writes out "
            "of it are then left out. Without a journal, the kernel's log."
        ),
    ] = True
    ignore: Annotated[
        tuple[str, ...],
        Meta(description="Units, programs and containers that are not looked at, by globs."),
    ] = ("vedette.service",)
    begin: Annotated[
        Literal["end", "beginning"],
        Meta(description="Where reading begins in what is there at the very first start."),
    ] = "end"
    formats: Annotated[
        dict[str, Format],
        Meta(
            description="How files are to be read whose format is not seen from their lines: "
            "a glob of the path, and `header`, `start`, `continue`, `zone`."
        ),
    ] = {}
    sessions: Annotated[
        dict[str, str],
        Meta(
            description="Where lines belong to sessions (a request, a job, a block): a glob of the "
            "file or unit, and a regular expression that finds the session's key in a line."
        ),
    ] = {}
    window: Annotated[
        Duration, Meta(description="How often it is told what was logged, 10 s to 1 h.")
    ] = Duration(60)
    exemplars: Annotated[
        bool, Meta(description="Tell one redacted line of each template with its counts.")
    ] = True
    records: Annotated[
        Literal["all", "warnings", "none"],
        Meta(description="Of which templates it is told at all, by how grave they are."),
    ] = "all"
    recent: Annotated[
        Size,
        Meta(
            description="Memory for the newest raw lines, for `vedette logs tail` and `show` on "
            "this host; they are never sent."
        ),
    ] = Size(1 << 20)
    redact: Annotated[
        Redaction, Meta(description="What is masked in all that leaves the host.")
    ] = Redaction()

    def __post_init__(self) -> None:
        for key in ("files", "also"):
            for pattern in getattr(self, key):
                if not pattern.startswith("/"):
                    raise ValueError(f"{key}: {pattern!r} is no absolute path")
        if not SHORTEST_WINDOW_S <= self.window <= LONGEST_WINDOW_S:
            raise ValueError(f"window = {self.window:g}s is not between 10s and 1h")
        if not 0 <= self.recent <= RECENT_MOST:
            raise ValueError(f"recent = {self.recent} is not between 0 and 64MiB")
        for glob, pattern in self.sessions.items():
            try:
                SessionKey(pattern)
                compile_safe(glob, pattern, ways=WAYS_ANYWHERE)
            except ValueError as error:
                raise ValueError(f"sessions: {glob!r}: {error}") from None

    def patterns(self, *, without_copies: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the globs of files to follow, and of those not to.

        ``without_copies``: the journal is read. What is asked for with ``also`` is read anyway.
        """
        exclude = [*NO_TEXT, *self.exclude]
        if without_copies:
            wanted = {*self.also, *(self.files if self.files != FILES else ())}
            exclude += [one for one in COPIES if one not in wanted]
        return (*self.files, *self.also), tuple(exclude)
