"""Name where lines come from, by what stays: no pod's, session's or rotation's own number.

A source is what has a history: its rhythm, its vocabulary. A pod that is replaced, a login session
or a file with the day in its name would each begin one anew, and there would be thousands.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from vedette.logs.tail_settings import Source

NAME_MAX = 120
#: Docker's own description of a container, in the directory of its log.
_DESCRIPTION, _DESCRIPTION_MAX = "config.v2.json", 1 << 20
_DOCKER = re.compile(r"(.*/containers/([0-9a-f]{12})[0-9a-f]{52})/[0-9a-f]{64}-json\.log")
#: Numbers in a name that tell one of many: of four digits and more, or a part by itself.
_DATE = re.compile(
    r"(?<![0-9a-zA-Z])(?:19|20)\d{2}[-._]?\d{2}[-._]?\d{2}(?:[-._T]?\d{2}(?:[-._]?\d{2}){0,2})?"
    r"(?![0-9a-zA-Z])"
)
_NUMBER = re.compile(r"(?<=[-_@])\d+(?=[-._]|$)|\d{4,}")
_HEX = re.compile(r"(?<![0-9a-zA-Z])(?=[0-9a-f]*\d)[0-9a-f]{8,64}(?![0-9a-zA-Z])")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
#: In a file's name a short number is a release, or tells few: postgresql-15-main, php8.2.
_LONG_NUMBER = re.compile(r"\d{3,}")


class _Container(msgspec.Struct):
    """Of Docker's description of a container, its name."""

    name: str = msgspec.field(name="Name", default="")


def of_file(source: Source) -> str:
    """Return the name of a file's source: the container's, or the path as it stays.

    Docker's files are named by a container's id; its name is read from beside them.
    """
    if source.container is not None:
        return f"{source.container.namespace}/{source.container.name}"[:NAME_MAX]
    docker = _DOCKER.fullmatch(source.path)
    if docker is not None:
        return f"docker/{_of_container(docker[1]) or docker[2]}"[:NAME_MAX]
    return _of_path(source.path)


@lru_cache(maxsize=2048)
def of_unit(unit: str) -> str:
    """Return the name of the source of what a unit or a program wrote to the journal."""
    return _shortened(unit)[:NAME_MAX] or "journal"


@lru_cache(maxsize=2048)
def _of_path(path: str) -> str:
    directory, slash, name = path.rpartition("/")
    stem, dot, end = name.rpartition(".")
    if not (dot and stem):
        stem, dot, end = name, "", ""
    short = _LONG_NUMBER.sub("*", _HEX.sub("*", _UUID.sub("*", _DATE.sub("*", stem))))
    directory = _HEX.sub("*", _UUID.sub("*", directory))
    return f"{directory}{slash}{short}{dot}{end}"[-NAME_MAX:]


def _shortened(name: str) -> str:
    return _NUMBER.sub("*", _HEX.sub("*", _UUID.sub("*", _DATE.sub("*", name))))


def _of_container(directory: str) -> str:
    try:
        with open(f"{directory}/{_DESCRIPTION}", "rb") as file:
            told = msgspec.json.decode(file.read(_DESCRIPTION_MAX), type=_Container)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    return told.name.strip("/")
