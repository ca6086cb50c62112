"""The agent without docstrings: when it is started so, and that nothing in it asks for them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vedette import lean

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("lean") / "bytecode"
    assert lean.prepare(directory)
    return directory


def started(arguments: list[str], directory: Path, place: Path) -> tuple[str, int]:
    """Start an agent, wait for its first reading, end it; return its command line and exit code."""
    place.mkdir()
    plugins = place / "plugins.d"
    plugins.mkdir(mode=0o755)
    config = place / "agent.toml"
    config.write_text(f'[agent]\nplugins_dir = "{plugins}"\n', "utf-8")
    log = place / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *arguments, "run", "--config", str(config), "--state-dir", str(place)],
            stdout=file,
            stderr=file,
            env={**os.environ, "PYTHONPYCACHEPREFIX": str(directory)},
        )
    try:
        deadline = time.monotonic() + 30
        while b"collector=cpu state=ok" not in log.read_bytes():
            assert process.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline, log.read_text("utf-8")
            time.sleep(0.05)
        command = Path(f"/proc/{process.pid}/cmdline").read_text("utf-8").replace("\0", " ")
        environment = Path(f"/proc/{process.pid}/environ").read_text("utf-8").split("\0")
        assert (f"{lean.NO_HUGE_PAGES}=0" in environment) == ("-OO" in command)
    finally:
        process.terminate()
        code = process.wait(20)
    assert "Traceback" not in log.read_text("utf-8")
    return command, code


def test_an_agent_replaces_itself_under_its_own_pid(bytecode: Path, tmp_path: Path) -> None:
    command, code = started(["-m", "vedette"], bytecode, tmp_path / "agent")
    assert command.split()[1:4] == list(lean.FLAGS)
    assert f"pycache_prefix={bytecode} -m vedette run" in command
    assert code == 0


def test_the_installed_program_does_so_too(bytecode: Path, tmp_path: Path) -> None:
    program = tmp_path / "vedette"
    program.write_text("import sys\nfrom vedette.cli import main\nsys.exit(main())\n", "utf-8")
    command, code = started([str(program)], bytecode, tmp_path / "agent")
    assert f"{program} run" in command
    assert command.split()[1:4] == list(lean.FLAGS)
    assert code == 0


def test_without_bytecode_and_without_leave_to_write_it_runs_as_it_is(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    command, code = started(["-B", "-m", "vedette"], nowhere, tmp_path / "agent")
    assert command.split()[1:4] == ["-B", "-m", "vedette"]
    assert code == 0
    assert not nowhere.exists()


def test_another_program_is_never_replaced(bytecode: Path) -> None:
    text = "from vedette.lean import run_lean; run_lean(); print('still here')"
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
    done = subprocess.run(
        [sys.executable, "-c", text], env=environment, capture_output=True, timeout=30, check=True
    )
    assert done.stdout == b"still here\n"


def test_bytecode_of_another_source_is_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "told.py"
    source.write_text("ONE = 1\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    directory = tmp_path / "bytecode"
    assert not lean.ready(directory, ["told"])
    subprocess.run(
        [sys.executable, *lean.flags(directory), "-m", "compileall", "-q", str(source)],
        timeout=30,
        check=True,
    )
    assert lean.ready(directory, ["told"])
    assert not lean.ready(directory, ["told", "told_by_nobody"])
    source.write_text("ONE = 1 + 1\n", "utf-8")
    assert not lean.ready(directory, ["told"])


def test_a_place_that_cannot_be_written_is_not_prepared(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert not lean.prepare(file / "bytecode")
