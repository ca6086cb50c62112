"""What a host without model servers pays: the look alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from vedette import lean, serving

#: What finds servers, what names their series, and what reads the configuration.
LOOK = {
    "vedette.exposition": {"scrape", "wire"},
    "vedette.drift": {"series", "verdict"},
    "vedette.serving": {
        *("asking", "candidates", "collector", "discovery", "listening", "roster"),
        *("derived", "gpu_series", "health_series", "vocabulary"),
        *("settings", "slo"),
    },
}
PROGRAM = """
import sys
from vedette.api import Host
from vedette_plugins.model_servers import HostModelServers
from vedette.serving.settings import ModelServersConfig
servers = HostModelServers(ModelServersConfig())
servers.host = Host(root=sys.argv[1])
list(servers.instruments())
now = 1000.0
servers.monotonic = lambda: now
for now in (1000.0, 1030.0, 1060.0):
    assert list(servers.collect()) == []
assert servers.answer("list", {})["servers"] == []
servers.close()
print(*(name for name in sys.modules if name.startswith("vedette.")))
"""


def test_without_a_model_server_only_the_look_is_loaded(tmp_path: Path) -> None:
    net = tmp_path / "proc/1/net"
    net.mkdir(parents=True)
    # A socket on port 22, which nobody is known for.
    net.joinpath("tcp").write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout"
        " inode\n"
        "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0"
        " 4711 1 0000000000000000 100 0 0 10 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    for package, modules in LOOK.items():
        there = {name for name in loaded if name.startswith(f"{package}.")}
        assert there == {f"{package}.{name}" for name in modules}
    assert "tomli" not in loaded


def test_what_comes_with_a_server_has_its_bytecode_beforehand() -> None:
    program = lean._IMPORT_ALL + 'print(*(name for name in sys.modules if "serving." in name))\n'
    done = subprocess.run(
        [sys.executable, "-c", program, *lean.LATER], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    modules = {path.stem for path in Path(serving.__path__[0]).glob("[a-z]*.py")}
    assert {f"vedette.serving.{name}" for name in modules} <= set(done.stdout.split())
