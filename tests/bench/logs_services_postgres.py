"""PostgreSQL with an application's statements, some of which fail as they do, and how it breaks."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from logs_services_capture import DEADLINE_S, Change, Job, Service, end, free_port

BIN = "/usr/lib/postgresql/15/bin"
_AS = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
_CONFIG = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 22
shared_buffers = 32MB
log_line_prefix = '%m [%p] %q%u@%d '
log_connections = on
log_disconnections = on
log_checkpoints = on
log_lock_waits = on
log_autovacuum_min_duration = 0
autovacuum_naptime = 10s
log_min_duration_statement = 40
deadlock_timeout = 1s
checkpoint_timeout = 30s
min_wal_size = 32MB
max_wal_size = 32MB
archive_mode = on
archive_command = 'cp %p {home}/archive/%f'
"""
_SCHEMA = """
CREATE USER app; CREATE USER report; CREATE DATABASE shop OWNER app;
\\c shop
CREATE TABLE items (id int PRIMARY KEY, name text, stock int CHECK (stock >= 0));
INSERT INTO items SELECT i, 'item ' || i, 100000 FROM generate_series(1, 2000) i;
CREATE TABLE orders (id serial PRIMARY KEY, item int, note text UNIQUE);
CREATE TABLESPACE small LOCATION '{disk}';
CREATE TABLE events (at timestamptz DEFAULT now(), what text) TABLESPACE small;
GRANT ALL ON ALL TABLES IN SCHEMA public TO app, report;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app, report;
"""


class Postgres(Service):
    """An application that orders things, a report, a vacuum, an archive."""

    name = "postgres"

    def files(self) -> Mapping[str, Path]:
        return {"postgresql/postgresql-15-main.log": self.home / "postgres.log"}

    def start(self) -> None:
        self.port = free_port()
        self.data, self.log = self.home / "data", self.home / "postgres.log"
        self.home.chmod(0o755)
        self.disk = self.mount("disk", "2m")
        for one in (self.data, self.home / "archive", self.disk / "space"):
            one.mkdir()
            shutil.chown(one, "postgres", "postgres")
        initdb = [*_AS, f"{BIN}/initdb", "-D", str(self.data), "-A", "trust", "--no-sync"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL)
        with open(self.data / "postgresql.conf", "a") as file:
            file.write(_CONFIG.format(port=self.port, home=self.home))
        self.begin()
        self.sql(_SCHEMA.format(disk=self.disk / "space"), user="postgres", base="postgres")

    def begin(self) -> None:
        with open(self.log, "ab") as log:
            command = [*_AS, f"{BIN}/postgres", "-D", str(self.data)]
            self.server = self.spawn(command, stdout=log, stderr=log)
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            if not self.sql("SELECT 1", user="postgres", base="postgres"):
                return
            time.sleep(0.2)
        raise TimeoutError("PostgreSQL does not start")

    def stop(self) -> None:
        end(self.server, signal.SIGINT)

    def sql(self, *texts: str, user: str = "app", base: str = "shop", wait: float = 15.0) -> int:
        """Run statements in a session; return psql's exit status."""
        command = ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", user, "-d", base, "-Xqw"]
        given = "\n".join(one if one.rstrip().endswith(";") else f"{one};" for one in texts)
        done = subprocess.run(
            command, input=given.encode(), capture_output=True, timeout=wait, check=False
        )
        return done.returncode

    def sessions(self, count: int, text: str, user: str = "app") -> None:
        """Begin sessions that run a statement, and do not wait for them."""
        for _ in range(count):
            command = ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", user, "-d", "shop"]
            self.spawn([*command, "-Xqw", "-c", text])

    # ------------------------------------------------------------ what is done with it

    def jobs(self) -> Sequence[Job]:
        return (
            Job("order", 0.5, self._order),
            Job("order", 0.9, self._order),
            Job("browse", 0.7, self._browse),
            Job("event", 0.9, self._event),
            Job("mistake", 6.0, self._mistake),
            Job("impatient", 11.0, self._impatient),
            Job("report", 6.0, self._report, regular=True),
            Job("churn", 3.0, self._churn),
        )

    def _order(self, rng: random.Random) -> None:
        item, note = rng.randrange(1, 2000), rng.randrange(10**9)
        self.sql(
            "BEGIN",
            f"UPDATE items SET stock = stock - 1 WHERE id = {item}",
            f"INSERT INTO orders (item, note) VALUES ({item}, 'note {note}')",
            "COMMIT",
        )

    def _browse(self, rng: random.Random) -> None:
        nap = rng.lognormvariate(-3.2, 0.5)
        self.sql(f"SELECT count(*), pg_sleep({nap:.3f}) FROM items WHERE stock > {rng.random()}")

    def _event(self, rng: random.Random) -> None:
        text = rng.randbytes(rng.randrange(300, 900)).hex()
        self.sql(f"INSERT INTO events (what) VALUES ('{text}')")

    def _mistake(self, rng: random.Random) -> None:
        text = rng.choice(
            (
                "INSERT INTO items VALUES (1, 'twice', 1)",
                "SELECT * FROM items WHERE id = 'abc'",
                "UPDATE items SET stock = -1 WHERE id = 7",
            )
        )
        self.sql(text)

    def _impatient(self, rng: random.Random) -> None:
        self.sql("SET statement_timeout = 60", "SELECT pg_sleep(0.3)")

    def _report(self, rng: random.Random) -> None:
        nap = rng.lognormvariate(-2.7, 0.3)
        self.sql(f"SELECT count(DISTINCT item), pg_sleep({nap:.3f}) FROM orders", user="report")

    def _churn(self, rng: random.Random) -> None:
        self.sql("UPDATE items SET name = name || 'a' WHERE id % 7 = 3")

    # ------------------------------------------------------------ what happens

    def benign(self) -> Sequence[Change]:
        return (
            Change("reload", self._reload),
            Change("restart", self._restart),
            Change("backup", self._backup),
            Change("index", lambda: self._as_owner("REINDEX TABLE orders; VACUUM ANALYZE items")),
        )

    def _reload(self) -> None:
        with open(self.data / "postgresql.conf", "a") as file:
            file.write(f"work_mem = {random.randrange(4, 64)}MB\n")
        self.server.send_signal(signal.SIGHUP)

    def _restart(self) -> None:
        self.stop()
        self.begin()

    def _backup(self) -> None:
        command = [f"{BIN}/pg_dump", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        subprocess.run([*command, "shop"], stdout=subprocess.DEVNULL, check=False)

    def _as_owner(self, text: str) -> None:
        self.sql(text, user="postgres")

    def faults(self) -> Sequence[Change]:
        return (
            Change(
                "backend_killed",
                self._kill_backend,
                own="terminated by signal|not properly shut down|recovery|crash",
                lasting=False,
                seconds=10.0,
            ),
            Change(
                "connections",
                lambda: self.sessions(25, "SELECT pg_sleep(14)"),
                own="too many clients|reserved for non-replication",
            ),
            Change(
                "disk_full", lambda: self.fill(self.disk), self._freed, "No space left|extend file"
            ),
            Change("deadlocks", self._deadlocks, own="deadlock", lasting=False, seconds=18.0),
            Change(
                "missing_column",
                lambda: self._as_owner("ALTER TABLE orders RENAME note TO remark"),
                lambda: self._as_owner("ALTER TABLE orders RENAME remark TO note"),
                "does not exist",
            ),
            Change("checkpoints", self._checkpoints, own="checkpoint"),
            Change(
                "lock_pile",
                lambda: self.sessions(
                    1, "BEGIN; LOCK TABLE items; SELECT pg_sleep(12)", user="postgres"
                ),
                own="still waiting|acquired|statement timeout|duration|too many clients",
            ),
            Change(
                "no_login",
                lambda: self._as_owner("ALTER USER app NOLOGIN"),
                lambda: self._as_owner("ALTER USER app LOGIN"),
                "not permitted to log in",
            ),
            Change("archive_fails", self._archive_fails, self._archive_works, "archive command"),
            Change("slow", self._slow, self._fast, "duration|above|still waiting"),
            Change("job_stops", lambda: self.paused.add("report"), self.paused.clear, "report"),
            Change("stopped", self.stop, self.begin, "fell silent|shut"),
        )

    def _kill_backend(self) -> None:
        self.sessions(1, "SELECT 'victim', pg_sleep(10)")
        time.sleep(0.5)
        found = subprocess.run(
            ["pgrep", "-P", str(self.server.pid), "-f", "SELECT"], capture_output=True, check=False
        )
        for pid in found.stdout.split()[:1]:
            subprocess.run(["kill", "-9", pid.decode()], check=False)

    def _freed(self) -> None:
        self.free(self.disk)

    def _deadlocks(self) -> None:
        for at in range(4):
            for first, second in ((1, 2), (2, 1)):
                text = f"BEGIN; UPDATE items SET stock = 5 WHERE id = {first + 10 * at};"
                text += "SELECT pg_sleep(0.4);"
                text += f"UPDATE items SET stock = 6 WHERE id = {second + 10 * at}; COMMIT"
                self.sessions(1, text)
            time.sleep(3)

    def _checkpoints(self) -> None:
        text = "CREATE TABLE IF NOT EXISTS big (t text); TRUNCATE big;"
        text += "INSERT INTO big SELECT repeat(md5(i::text), 20) FROM generate_series(1,60000) i;"
        for _ in range(7):
            self.sessions(1, text, user="postgres")
            time.sleep(2)

    def _archive_fails(self) -> None:
        (self.home / "archive").rename(self.home / "gone")
        self._as_owner("SELECT pg_switch_wal()")

    def _archive_works(self) -> None:
        (self.home / "gone").rename(self.home / "archive")

    def _slow(self) -> None:
        # An index is lost, the table has grown: statements that took 40 ms take half a second.
        self.paused.add("browse")
        self.paused.add("report")
        for _ in range(6):
            for user, table in (("app", "items"), ("app", "items"), ("report", "orders")):
                nap = random.lognormvariate(-0.9, 0.4)
                text = f"SELECT count(*), pg_sleep({nap:.3f}) FROM items WHERE stock > 0.5;"
                if table == "orders":
                    text = "SELECT count(DISTINCT item), pg_sleep(0.6) FROM orders;"
                self.sessions(1, text, user=user)
            time.sleep(2.2)

    def _fast(self) -> None:
        self.paused.clear()
