"""Log messages as well-known programs write them, with the template that each was made from.

Written by hand after the programs' sources and manuals; ``{kind}`` is filled from a seeded
generator. A template's name is its text before it is filled.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

USERS = ("alice", "bob", "carol", "deploy", "git", "jenkins", "postgres", "root", "oracle",
         "mallory", "backup", "nagios")  # fmt: skip
HOSTS = ("web01.example.com", "db-2.internal.lan", "mx.mail.example.org", "cache03.example.net")
UNITS = ("nginx.service", "cron.service", "logrotate.service", "apt-daily.timer", "docker.socket",
         "systemd-tmpfiles-clean.service", "fwupd.service")  # fmt: skip
TABLES = ("orders", "customers", "line_items", "public.audit_log", "sessions", "invoices")
WORDS = ("alpha", "blue", "copper", "delta", "ember", "frost", "gamma", "helix", "ivory", "jade")


def _hex(rng: Random, digits: int) -> str:
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


FILL: dict[str, Callable[[Random], object]] = {
    "user": lambda rng: rng.choice(USERS),
    "host": lambda rng: rng.choice(HOSTS),
    "unit": lambda rng: rng.choice(UNITS),
    "table": lambda rng: rng.choice(TABLES),
    "word": lambda rng: rng.choice(WORDS),
    "ip": lambda rng: ".".join(str(rng.randrange(1, 255)) for _ in range(4)),
    "ip6": lambda rng: f"fe80::{_hex(rng, 3)}:{_hex(rng, 4)}:fe{_hex(rng, 2)}:{_hex(rng, 4)}",
    "port": lambda rng: rng.randrange(1024, 65536),
    "n": lambda rng: rng.choice((rng.randrange(10), rng.randrange(100_000))),
    "f": lambda rng: f"{rng.uniform(0, 3000):.{rng.randrange(1, 4)}f}",
    "hex": lambda rng: "0x" + _hex(rng, 12),
    "sha": lambda rng: _hex(rng, 40),
    "short": lambda rng: _hex(rng, 12),
    "uuid": lambda rng: "-".join(_hex(rng, size) for size in (8, 4, 4, 4, 12)),
    "path": lambda rng: "/var/lib/" + "/".join(rng.choices(WORDS, k=rng.randrange(1, 4))),
    "iso": lambda rng: f"2026-0{rng.randrange(1, 10)}-{rng.randrange(10, 29)}T"
                       f"{rng.randrange(10, 24)}:{rng.randrange(10, 60)}:{rng.randrange(10, 60)}Z",
    "url": lambda rng: f"https://api.example.com/v1/{rng.choice(WORDS)}?page={rng.randrange(99)}",
    "mac": lambda rng: ":".join(_hex(rng, 2) for _ in range(6)),
    "pod": lambda rng: f"{rng.choice(WORDS)}-{_hex(rng, 9)}-x{_hex(rng, 4)}",
    "list": lambda rng: ", ".join(str(rng.randrange(99)) for _ in range(rng.randrange(1, 9))),
    "mail": lambda rng: f"{rng.choice(USERS)}@{rng.choice(HOSTS)}",
}  # fmt: skip

CORPORA: dict[str, tuple[str, ...]] = {
    "sshd": (
        "Accepted publickey for {user} from {ip} port {port} ssh2: RSA SHA256:{sha}",
        "Accepted password for {user} from {ip} port {port} ssh2",
        "Failed password for {user} from {ip} port {port} ssh2",
        "Failed password for invalid user {user} from {ip} port {port} ssh2",
        "Connection closed by {ip} port {port} [preauth]",
        "Connection reset by {ip} port {port} [preauth]",
        "Received disconnect from {ip} port {port}:11: disconnected by user",
        "pam_unix(sshd:session): session opened for user {user}(uid={n}) by (uid={n})",
        "pam_unix(sshd:session): session closed for user {user}",
        "Server listening on 0.0.0.0 port {n}.",
        "error: maximum authentication attempts exceeded for {user} from {ip} port {port} ssh2",
    ),
    "nginx": (
        '{ip} - - "GET {path} HTTP/1.1" 200 {n} "{url}" "curl/{n}.{n}.{n}"',
        (
            'open() "{path}" failed (2: No such file or directory), client: {ip}, server: _, '
            'request: "GET {path} HTTP/1.1"'
        ),
        (
            "connect() failed (111: Connection refused) while connecting to upstream, "
            'client: {ip}, upstream: "http://{ip}:{port}/"'
        ),
        (
            "upstream timed out (110: Connection timed out) while reading response header from "
            "upstream, client: {ip}"
        ),
        "signal process started",
        "worker process {n} exited on signal {n}",
        "{n} worker_connections are not enough",
    ),
    "postgres": (
        "duration: {f} ms  statement: COMMIT",
        "connection received: host={ip} port={port}",
        "connection authorized: user={user} database={word} application_name=psql",
        "disconnection: session time: 0:00:{n}.{n} user={user} database={word} host={ip}",
        "checkpoint starting: time",
        (
            "checkpoint complete: wrote {n} buffers ({f}%); 0 WAL file(s) added, {n} removed, "
            "{n} recycled; write={f} s, sync={f} s, total={f} s"
        ),
        'duplicate key value violates unique constraint "{table}_pkey"',
        'relation "{table}" does not exist at character {n}',
        'automatic vacuum of table "{word}.public.{word}": index scans: {n}',
        "could not receive data from client: Connection reset by peer",
        "database system is ready to accept connections",
        "terminating connection due to administrator command",
    ),
    "kernel": (
        "Out of memory: Killed process {n} ({word}) total-vm:{n}kB, anon-rss:{n}kB, file-rss:{n}kB",
        "eth{n}: Link is Up - {n}Mbps/Full - flow control rx/tx",
        "eth{n}: Link is Down",
        "EXT4-fs (sda{n}): mounted filesystem with ordered data mode",
        (
            "EXT4-fs error (device sda{n}): ext4_find_entry:{n}: inode #{n}: comm {word}: reading "
            "directory lblock {n}"
        ),
        "usb 1-{n}: new high-speed USB device number {n} using xhci_hcd",
        "usb 1-{n}: USB disconnect, device number {n}",
        "CPU{n}: Core temperature above threshold, cpu clock throttled (total events = {n})",
        "{word}[{n}]: segfault at {hex} ip {hex} sp {hex} error {n} in libc-2.31.so[{hex}+{hex}]",
        "TCP: request_sock_TCP: Possible SYN flooding on port {n}. Sending cookies.",
        "INFO: task {word}:{n} blocked for more than {n} seconds.",
    ),
    "systemd": (
        "Started {unit}.",
        "Stopping {unit}...",
        "{unit}: Main process exited, code=exited, status={n}/FAILURE",
        "{unit}: Failed with result 'exit-code'.",
        "{unit}: Scheduled restart job, restart counter is at {n}.",
        "{unit}: Consumed {f}s CPU time.",
        "Created slice User Slice of UID {n}.",
        "Reloading.",
        "Startup finished in {f}s (kernel) + {f}s (userspace) = {f}s.",
    ),
    "java": (
        "Tomcat started on port(s): {port} (http) with context path ''",
        "Started Application in {f} seconds (JVM running for {f})",
        "HikariPool-{n} - Connection is not available, request timed out after {n}ms.",
        "HikariPool-{n} - Start completed.",
        "Fetched SESSION {uuid} for {mail}",
        "Rebalancing consumer group {word} with generation {n} because member {uuid} left",
        "Partition [{word},{n}] expanded ISR from {list} to {list}",
        "GC pause (G1 Evacuation Pause) (young) {n}M->{n}M({n}M) {f}ms",
        'Exception in thread "worker-{n}" java.lang.OutOfMemoryError: Java heap space',
        "Retrying request {uuid} in {n} ms, attempt {n} of {n}",
    ),
    "python": (
        "Task tasks.send_mail[{uuid}] succeeded in {f}s: None",
        "Task tasks.send_mail[{uuid}] received",
        "Task tasks.send_mail[{uuid}] raised unexpected: TimeoutError('timed out after {n}s')",
        "Starting new HTTPS connection ({n}): {host}:443",
        "Epoch {n}/{n} loss={f} accuracy={f} lr={f}",
        "Loaded {n} rows from {path} in {f} seconds",
        "Cache miss for key user:{n}:profile",
        "worker {n} booted with pid {n}",
        "CUDA out of memory. Tried to allocate {f} MiB (GPU {n}; {f} GiB total capacity)",
        "Slow query ({f} ms): SELECT COUNT rows for tenant {uuid}",
    ),
    "kubelet": (
        'Successfully pulled image "{host}/{word}:{short}" in {f}s',
        "Back-off restarting failed container {word} in pod {pod}_default({uuid})",
        "Liveness probe failed: HTTP probe failed with statuscode: {n}",
        "Readiness probe failed: Get http://{ip}:{port}/healthz: context deadline exceeded",
        "Created container {word}",
        "Killing container with id docker://{short}: Need to kill Pod",
        "Node {host} status is now: NodeReady",
        "Node {host} status is now: NodeNotReady",
        "MountVolume.SetUp succeeded for volume {uuid} (UniqueName: kubernetes.io/{uuid})",
        "eviction manager: attempting to reclaim memory",
    ),
    "network": (
        "DHCPACK on {ip} to {mac} via eth{n}",
        "DHCPDISCOVER from {mac} via eth{n}",
        "lease {ip} client {mac} renewed until {iso}",
        "peer {ip6} is unreachable for {n} seconds",
        "session {short} from {ip} to {ip6} closed: {n} bytes in, {n} bytes out",
        "route {ip}/{n} added with metric {n}",
        "Selected source {ip} ({host})",
        "to=<{mail}>, relay={host}[{ip}]:25, delay={f}, dsn={n}.{n}.{n}, status=sent",
        "statistics: max cache size {n} at {iso}",
    ),
}


def lines_of(corpus: str, count: int = 1500, seed: int = 0) -> list[tuple[bytes, str]]:
    """Return messages of a corpus with the template each was made from."""
    rng = Random(f"{corpus}{seed}")
    templates = CORPORA[corpus]
    weights = [1.0 / (1 + rng.randrange(12)) for _ in templates]
    found = []
    for _ in range(count):
        template = rng.choices(templates, weights)[0]
        text, rest = "", template
        while rest:
            before, brace, after = rest.partition("{")
            kind, close, behind = after.partition("}")
            text += before
            if not brace:
                break
            if kind in FILL and close:
                text, rest = text + str(FILL[kind](rng)), behind
            else:
                text, rest = text + brace, after
        found.append((text.encode(), template))
    return found
