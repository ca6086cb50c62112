"""What a source is called, and what a line tells of."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedette.entities import LOG_TOPICS
from vedette.logs import names, topics
from vedette.logs.tail_settings import source_of

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/var/log/syslog", "/var/log/syslog"),
        ("/var/log/nginx/error.log", "/var/log/nginx/error.log"),
        ("/var/log/app/app-2026-11-24.log", "/var/log/app/app-*.log"),
        ("/var/log/app/app.20261124.log", "/var/log/app/app.*.log"),
        ("/var/log/app/worker-3712.log", "/var/log/app/worker-*.log"),
        (
            "/var/log/postgresql/postgresql-15-main.log",
            "/var/log/postgresql/postgresql-15-main.log",
        ),
        ("/var/log/php8.2-fpm.log", "/var/log/php8.2-fpm.log"),
        ("/var/log/postgresql-15.log", "/var/log/postgresql-15.log"),
        (f"/var/lib/docker/containers/{ID}/{ID}-json.log", "docker/0123456789ab"),
        (f"/var/log/containers/web-7d9f-x_shop_nginx-{ID}.log", "shop/nginx"),
    ],
)
def test_a_file_is_named_by_what_stays(path: str, name: str) -> None:
    assert names.of_file(source_of(path)) == name


def test_a_container_of_docker_is_named_as_docker_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "containers" / ID
    folder.mkdir(parents=True)
    (folder / "config.v2.json").write_text('{"ID": "x", "Name": "/web-1", "State": {"Pid": 7}}')
    assert names.of_file(source_of(f"{folder}/{ID}-json.log")) == "docker/web-1"
    (folder / "config.v2.json").write_text("{")
    assert names.of_file(source_of(f"{folder}/{ID}-json.log")) == "docker/0123456789ab"


@pytest.mark.parametrize(
    ("unit", "name"),
    [
        ("nginx.service", "nginx.service"),
        ("user@1000.service", "user@*.service"),
        ("session-12.scope", "session-*.scope"),
        ("run-u8123.service", "run-u*.service"),
        ("docker-0123456789ab.scope", "docker-*.scope"),
        ("postgresql@15-main.service", "postgresql@*-main.service"),
        ("", "journal"),
    ],
)
def test_a_unit_is_named_by_what_stays(unit: str, name: str) -> None:
    assert names.of_unit(unit) == name


def test_names_are_bounded() -> None:
    assert len(names.of_unit("x" * 9999)) <= names.NAME_MAX
    assert len(names.of_file(source_of("/var/log/" + "x" * 9999))) <= names.NAME_MAX


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate <num> MiB", "gpu"),
        ("Out of memory: Killed process <num> (java)", "memory"),
        ("java.lang.OutOfMemoryError: Java heap space", "memory"),
        ("write failed: No space left on device", "space"),
        ("blk_update_request: I/O error, dev sda", "disk"),
        ("accept4() failed (24: Too many open files)", "files"),
        ("connect() failed (111: Connection refused) while connecting to upstream", "network"),
        ("GET /index.html 200", ""),
        ("user gpureader logged in", ""),
    ],
)
def test_a_line_tells_of_what_its_words_say(text: str, topic: str) -> None:
    assert topics.topic_of(text) == topic


def test_every_topic_tells_of_something() -> None:
    assert {name for name, _ in topics._TOPICS} == set(LOG_TOPICS)
