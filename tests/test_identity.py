"""Which agent this is, and that it is alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vedette import identity


def test_the_id_stays_and_changes_with_the_machine(tmp_path: Path) -> None:
    first = identity.identify(tmp_path, "machine-1")
    assert identity.identify(tmp_path, "machine-1") == first
    assert identity.identify(tmp_path, "machine-2").id != first.id


@pytest.mark.parametrize("content", [b"", b"{", b'{"id": "x", "machine": "m"}', b"\xff\xff"])
def test_a_damaged_identity_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / identity.FILE_NAME).write_bytes(content)
    assert identity.identify(tmp_path, "m") == identity.identify(tmp_path, "m")


def test_a_second_agent_is_refused_and_told_who_holds_the_directory(tmp_path: Path) -> None:
    held = identity.lock(tmp_path)
    with pytest.raises(identity.StateDirError, match=f"pid {os.getpid()}"):
        identity.lock(tmp_path)
    os.close(held)
    os.close(identity.lock(tmp_path))


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(identity.StateDirError, match="file/state"):
        identity.prepare(tmp_path / "file" / "state")
