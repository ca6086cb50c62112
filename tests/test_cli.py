"""The command line as a person meets it: exit codes, words, escapes, and what it imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vedette.cli import main, parser
from vedette.paths import SYSTEM, places
from vedette.terminal import age, bar, hanging, number, paint, printable, size, table


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wrap, whatever terminal the tests run in."""
    monkeypatch.setenv("COLUMNS", "1000")


def vedette(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vedette", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def words(text: str) -> str:
    """Return a text without its line breaks, which depend on the terminal."""
    return " ".join(text.split())


# ---------------------------------------------------------------- what is loaded


def test_the_version_is_told_without_loading_what_the_agent_needs() -> None:
    program = (
        "import sys; from vedette.cli import main; main(['version'])\n"
        "heavy = {'numpy', 'httpx', 'msgspec', 'pluggy', 'psutil', 'apscheduler', 'tomli'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("vedette ")


def test_looking_at_a_running_agent_loads_neither_numpy_nor_httpx(tmp_path: Path) -> None:
    program = (
        "import sys; from vedette.cli import main\n"
        f"main(['status', '--state-dir', {str(tmp_path)!r}])\n"
        "sys.exit(' '.join({'numpy', 'httpx', 'psutil', 'apscheduler'} & set(sys.modules)) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- usage


def test_the_version_as_json_names_the_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"version", "python"}


def test_the_help_names_every_verb_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    for verb in [
        "run",
        "up",
        "check",
        "collect",
        "status",
        "incidents",
        "plugins",
        "config",
        "receive",
        "drill",
        "version",
    ]:
        assert f"    {verb} " in shown or f"    {verb}\n" in shown
    assert "exit codes:" in shown


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["nonsense"],
        ["drill"],
        ["drill", "gpu"],
        ["drill", "cpu", "memory"],
        ["drill", "model", "--port", "70000"],
        ["drill", "cpu", "--for", "9999s"],
        ["collect", "cpu", "--count", "0"],
        ["config"],
        ["status", "--state", "x"],
    ],
)
def test_wrong_usage_ends_with_two(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert "usage: vedette" in capsys.readouterr().err


def test_every_verb_has_a_function_where_the_parser_says() -> None:
    from importlib import import_module

    subparsers = next(a for a in parser()._actions if hasattr(a, "choices") and a.choices)
    assert subparsers.choices is not None
    for verb in subparsers.choices.values():  # type: ignore[attr-defined]
        module, _, name = verb.get_default("verb").partition(":")
        assert callable(getattr(import_module(module), name))


def test_an_error_is_told_on_standard_error_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--state-dir", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"vedette: no agent is running (looked in {tmp_path})\n  Start one")


def test_a_configuration_that_does_not_exist_is_an_error_not_the_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "agent.toml")
    for verb in (["check"], ["plugins"], ["config", "show"], ["collect", "cpu"]):
        assert main([*verb, "--config", missing]) == 2
        assert f"there is no file {missing}" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_not_an_error() -> None:
    command = f"{sys.executable} -m vedette --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_an_interrupt_ends_quietly_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("vedette.cli._version", interrupt)
    assert main(["version"]) == 130


def test_a_terminal_without_utf8_gets_escapes_not_an_exception(tmp_path: Path) -> None:
    name = tmp_path / "café"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = vedette("status", "--state-dir", str(name), env=environment)
    assert done.returncode == 2
    assert "caf\\xe9" in done.stderr


# ---------------------------------------------------------------- how it is written


def test_a_process_cannot_write_control_characters_to_the_terminal() -> None:
    assert printable("evil\x1b[2J\r\nname") == "evil\\x1b[2J\\r\\nname"
    assert printable("\u202egnp.exe") == "\\u202egnp.exe"
    assert printable("caf\u00e9 \U0001f600") == "caf\u00e9 \U0001f600"
    assert printable("\udcff") == "\\udcff"


def test_colour_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert paint("critical", stream=Terminal()) == "\x1b[1;31mcritical\x1b[0m"
    assert paint("plain", stream=Terminal()) == "plain"
    assert paint("critical") == "critical"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("critical", stream=Terminal()) == "critical"


def test_a_table_is_aligned_and_wraps_its_last_column_at_the_terminals_width(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = table(
        [
            ("cpu", "12", "a reason that is too long for such a narrow terminal"),
            ("memory", "3", ""),
        ],
        ("NAME", "N", "NOTE"),
        right=(1,),
    )
    assert lines[0] == "NAME     N  NOTE"
    assert lines[1].splitlines()[0].startswith("cpu     12  a reason that")
    assert all(len(line) <= 40 for line in lines[1].splitlines())
    assert lines[1].splitlines()[1].startswith(" " * 12)
    assert lines[2] == "memory   3"


def test_a_pipe_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda fallback: os.terminal_size(fallback))
    assert hanging("word " * 100, 10, "lead").count("\n") == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59.4, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (90000, "1 d 1 h")],
)
def test_a_span_has_at_most_two_units(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_numbers_have_the_digits_a_person_can_use() -> None:
    assert [number(v) for v in (3.0, 0.123456789, 1e300, float("nan"), float("inf"))] == [
        "3",
        "0.123457",
        str(int(1e300)),
        "-",
        "inf",
    ]
    assert [size(v) for v in (0, 1023, 1536, 5 << 40)] == ["0 B", "1023 B", "1.5 KiB", "5.0 TiB"]


def test_a_bar_shows_peaks_and_gaps() -> None:
    assert bar([0, 1, None, 0.5]) == "▁█·▅"
    assert bar([5, 5, 5]) == "▁▁▁"
    assert bar([None, float("nan")]) == "··"
    assert bar([]) == ""
    assert bar([0] * 100 + [9] + [0] * 19, 60)[50] == "█"
    assert len(bar([0.0] * 1000, 60)) <= 60


# ---------------------------------------------------------------- where things are


def test_root_keeps_to_the_places_of_the_system() -> None:
    assert places(0, {"XDG_STATE_HOME": "/elsewhere"}) == SYSTEM


def test_a_user_keeps_to_xdg_and_a_relative_value_is_ignored() -> None:
    found = places(1000, {"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "rel", "HOME": "/home/u"})
    assert found.config == Path("/c/vedette/agent.toml")
    assert found.plugins_dir == Path("/c/vedette/plugins.d")
    assert found.state_dir == Path("/home/u/.local/state/vedette")


def test_a_user_without_a_home_is_told_what_to_set() -> None:
    with pytest.raises(LookupError, match=r"XDG_CONFIG_HOME.*--state-dir"):
        places(4_000_000, {})
