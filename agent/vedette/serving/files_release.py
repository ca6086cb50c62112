"""Tell the release of a server that says none by the package beside its interpreter.

Python servers are installed in an environment, which their command names: by the path of a program
or of the interpreter, or by a search path. The names of the folders that an installer made there
(``ray-2.60.0.dist-info``) are the releases; nothing in them is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence

from vedette.serving.files import Root

#: How a server's package is called in an environment.
PACKAGES = {
    "bentoml": "bentoml",
    "infinity": "infinity_emb",
    "kserve": "kserve",
    "litellm": "litellm",
    "litserve": "litserve",
    "lmdeploy": "lmdeploy",
    "mlserver": "mlserver",
    "mosec": "mosec",
    "ray-serve": "ray",
    "seldon": "seldon_core",
    "sglang": "sglang",
    "tensorrt-llm": "tensorrt_llm",
    "torchserve": "torchserve",
    "vllm": "vllm",
}
#: Entries of an environment that are looked through, and environments of one process.
ENTRIES_MAX, PLACES_MAX = 8_000, 8
_SITE = re.compile(r"(/[^:\s]*?/(?:site|dist)-packages)(?:[/:]|$)")
_LIBRARY = re.compile(r"python3(?:\.\d+)?")


def release(root: Root, server: str, words: Sequence[str], variables: Mapping[str, str]) -> str:
    """Return the release of the package of a server; empty where none is found."""
    package = PACKAGES.get(server)
    if package is None:
        return ""
    form = re.compile(rf"{package}-([0-9][\w.+!]*)\.dist-info", re.IGNORECASE)
    for place in _environments(root, words, variables):
        found = next(
            (named[1] for one in _names(root, place) if (named := form.fullmatch(one))), ""
        )
        if found:
            return found
    return ""


def _environments(root: Root, words: Sequence[str], variables: Mapping[str, str]) -> Iterator[str]:
    """Yield the folders of packages that a command names, the likeliest first."""
    seen: set[str] = set()
    for place in (*_told(words), *_beside(root, _homes(words, variables))):
        if place not in seen and len(seen) < PLACES_MAX:
            seen.add(place)
            yield place


def _told(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        yield from _SITE.findall(word)


def _homes(words: Sequence[str], variables: Mapping[str, str]) -> Iterator[str]:
    """Yield where programs are that a command begins with, as a shell finds them."""
    for word in words[:2]:
        if word.startswith("/"):
            yield word.rpartition("/")[0]
    if variables.get("VIRTUAL_ENV"):
        yield f"{variables['VIRTUAL_ENV']}/bin"
    yield from variables.get("PATH", "").split(":")[:PLACES_MAX]


def _beside(root: Root, programs: Iterator[str]) -> Iterator[str]:
    for folder in programs:
        if not folder.startswith("/") or not folder.endswith("/bin"):
            continue
        library = f"{folder.removesuffix('/bin')}/lib"
        for name in sorted(_names(root, library), reverse=True):
            if _LIBRARY.fullmatch(name):
                yield f"{library}/{name}/site-packages"
                yield f"{library}/{name}/dist-packages"


def _names(root: Root, folder: str) -> Iterator[str]:
    """Yield what is in a folder; nothing where it cannot be read, or is elsewhere."""
    try:
        real = root.real(folder)
        if root.is_remote(real):
            return
        with os.scandir(root.place(real)) as entries:
            for number, entry in enumerate(entries):
                if number >= ENTRIES_MAX:
                    return
                yield entry.name
    except OSError:
        return
