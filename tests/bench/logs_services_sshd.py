"""sshd that logs by rsyslogd into ``auth.log``, its users, and how it breaks."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from logs_services_capture import Change, Job, Service, end, free_port, wait_for

_SYSLOG = """
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{home}/dev/log" CreatePath="on")
global(workDirectory="{home}")
template(name="traditional" type="string"
  string="%TIMESTAMP% %HOSTNAME% %syslogtag%%msg:::sp-if-no-1st-sp%%msg:::drop-last-lf%\\n")
*.* action(type="omfile" file="{home}/auth.log" template="traditional")
"""
_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {home}/hostkey
PidFile {home}/sshd.pid
AuthorizedKeysFile {home}/keys/authorized
StrictModes {strict}
UsePAM yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
PermitRootLogin yes
LoginGraceTime 20
MaxStartups {startups}
"""
_DEVICES = ("null", "zero", "random", "urandom", "tty", "ptmx", "full")
_NAMES = ("admin", "test", "oracle", "guest", "ubuntu", "ftp", "mysql", "git", "pi", "deploy")


class Sshd(Service):
    """Logins with a key, some with a wrong password, some that go away."""

    name = "sshd"

    def files(self) -> Mapping[str, Path]:
        return {"auth.log": self.home / "auth.log"}

    def start(self) -> None:
        self.port = free_port()
        self.home.chmod(0o755)
        devices = self.home / "dev"
        (devices / "pts").mkdir(parents=True)
        (self.home / "keys").mkdir()
        Path("/run/sshd").mkdir(exist_ok=True)
        for one in _DEVICES:
            (devices / one).touch()
        for one in ("hostkey", "id", "other"):
            path = str(self.home / one)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        shutil.copy(self.home / "id.pub", self.home / "keys/authorized")
        ask = self.home / "ask"
        ask.write_text("#!/bin/sh\necho wrong\n")
        ask.chmod(0o755)
        (self.home / "rsyslog.conf").write_text(_SYSLOG.format(home=self.home))
        self.syslog = self.spawn(
            ["rsyslogd", "-n", "-f", str(self.home / "rsyslog.conf"), "-i", f"{self.home}/rs.pid"]
        )
        time.sleep(0.5)
        self.configure()
        self.begin()

    def configure(self, startups: str = "10:30:100", strict: str = "no") -> None:
        text = _CONFIG.format(home=self.home, port=self.port, startups=startups, strict=strict)
        (self.home / "sshd_config").write_text(text)

    def begin(self) -> None:
        """Start sshd where ``/dev/log`` is ours."""
        home = self.home
        binds = "".join(f"mount --bind /dev/{one} {home}/dev/{one}; " for one in _DEVICES)
        binds += f"mount --bind /dev/pts {home}/dev/pts; mount --rbind {home}/dev /dev; "
        command = f"{binds} exec /usr/sbin/sshd -D -f {home}/sshd_config"
        self.server = self.spawn(["unshare", "-m", "sh", "-c", command])
        wait_for(self.port)

    def stop(self) -> None:
        end(self.server)

    def ssh(self, user: str, *command: str, key: str = "", more: Sequence[str] = ()) -> None:
        """Log in, or try to."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        options += ["NumberOfPasswordPrompts=1", "IdentitiesOnly=yes", "ConnectTimeout=5"]
        options += [f"PubkeyAuthentication={'yes' if key else 'no'}"]
        words = [f"-o{one}" for one in (*options, *more)]
        words += ["-i", str(self.home / key)] if key else []
        env = {**os.environ, "SSH_ASKPASS": f"{self.home}/ask", "SSH_ASKPASS_REQUIRE": "force"}
        subprocess.run(
            ["ssh", "-p", str(self.port), *words, f"{user}@127.0.0.1", *command],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=15,
            check=False,
        )

    # ------------------------------------------------------------ users

    def jobs(self) -> Sequence[Job]:
        return (
            Job("login", 1.2, self._login),
            Job("login", 2.5, self._login),
            Job("wrong", 12.0, self._wrong),
            Job("stranger", 14.0, self._stranger),
            Job("gone", 7.0, self._gone),
            Job("backup", 5.0, self._backup, regular=True),
        )

    def _login(self, rng: random.Random) -> None:
        user = rng.choice(("root", "root", "redis", "postgres"))
        self.ssh(user, f"sleep {rng.lognormvariate(-2, 1):.2f}", key="id")

    def _wrong(self, rng: random.Random) -> None:
        self.ssh("root", "true")

    def _stranger(self, rng: random.Random) -> None:
        self.ssh(rng.choice(_NAMES), "true")

    def _gone(self, rng: random.Random) -> None:
        with socket.create_connection(("127.0.0.1", self.port), 3) as one:
            if rng.random() < 0.5:
                one.sendall(b"GET / HTTP/1.1\r\n\r\n" if rng.random() < 0.5 else b"SSH-2.0-Go\r\n")
            time.sleep(0.2)

    def _backup(self, rng: random.Random) -> None:
        self.ssh("backup", "true", key="id")

    # ------------------------------------------------------------ what happens

    def benign(self) -> Sequence[Change]:
        return (
            Change("reload", self.reload),
            Change("rotate", self._rotate),
            Change("new_key", lambda: self.ssh("root", "true", key="other")),
            Change("restart", self._restart),
        )

    def reload(self) -> None:
        self.server.send_signal(signal.SIGHUP)

    def _rotate(self) -> None:
        (self.home / "auth.log").rename(self.home / "auth.log.1")
        self.syslog.send_signal(signal.SIGHUP)

    def _restart(self) -> None:
        self.stop()
        self.begin()

    def faults(self) -> Sequence[Change]:
        return (
            Change(
                "brute_force",
                lambda: self._attack(("root",)),
                own="Failed password|authentication failure|MaxStartups|drop connection|throttl",
            ),
            Change(
                "invalid_users",
                lambda: self._attack(_NAMES),
                own="nvalid user|Failed password|user unknown|MaxStartups|throttl",
            ),
            Change("no_host_key", self._lose_key, self._find_key, "host key|no hostkeys|silent"),
            Change(
                "bad_permissions",
                self._loose,
                self._tight,
                "Authentication refused|bad ownership|silent|Connection closed",
            ),
            Change(
                "keys_gone",
                lambda: self._move("keys/authorized", "keys/gone"),
                lambda: self._move("keys/gone", "keys/authorized"),
                "silent|Connection closed|Failed|reset by",
            ),
            Change(
                "old_clients",
                self._old_clients,
                own="Unable to negotiate|no matching",
                lasting=False,
            ),
            Change("open_files", self._few_files, self._many_files, "Too many open files"),
            Change("startups", self._startups, self._startups_usual, "MaxStartups|drop|throttl"),
            Change("job_stops", lambda: self.paused.add("backup"), self.paused.clear, "backup"),
            Change("stopped", self.stop, self.begin, "fell silent|terminat"),
        )

    def _attack(self, names: Sequence[str]) -> None:
        until, at = time.monotonic() + 14, 0
        running: list[subprocess.Popen[bytes]] = []
        env = {**os.environ, "SSH_ASKPASS": f"{self.home}/ask", "SSH_ASKPASS_REQUIRE": "force"}
        options = ["-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null"]
        options += ["-oPubkeyAuthentication=no", "-oNumberOfPasswordPrompts=3"]
        while time.monotonic() < until:
            running = [one for one in running if one.poll() is None]
            if len(running) < 9:
                name, at = names[at % len(names)], at + 1
                words = ["ssh", "-p", str(self.port), *options, f"{name}@127.0.0.1", "true"]
                running.append(self.spawn(words, env=env))
            time.sleep(0.15)

    def _move(self, old: str, new: str) -> None:
        (self.home / old).rename(self.home / new)

    def _lose_key(self) -> None:
        self._move("hostkey", "lost")
        self.reload()

    def _find_key(self) -> None:
        self._move("lost", "hostkey")
        self._restart()

    def _loose(self) -> None:
        self.configure(strict="yes")
        (self.home / "keys").chmod(0o777)
        self.reload()

    def _tight(self) -> None:
        (self.home / "keys").chmod(0o755)
        self.configure()
        self.reload()

    def _old_clients(self) -> None:
        for _ in range(12):
            self.ssh("root", "true", key="id", more=("KexAlgorithms=diffie-hellman-group1-sha1",))
            time.sleep(1)

    def _few_files(self) -> None:
        # sshd opens the socket of its log for each line: with none to spare it would be mute.
        files = [int(one.name) for one in Path(f"/proc/{self.server.pid}/fd").iterdir()]
        limit = f"--nofile={max(files) + 3}:512"
        subprocess.run(["prlimit", limit, "--pid", str(self.server.pid)], check=False)

    def _many_files(self) -> None:
        subprocess.run(["prlimit", "--nofile=512:512", "--pid", str(self.server.pid)], check=False)

    def _startups(self) -> None:
        self.configure(startups="4:60:8")
        self.reload()
        time.sleep(0.5)
        self.held = []
        for _ in range(14):
            with contextlib.suppress(OSError):
                self.held.append(socket.create_connection(("127.0.0.1", self.port), 1))

    def _startups_usual(self) -> None:
        for one in self.held:
            one.close()
        self.configure()
        self.reload()
