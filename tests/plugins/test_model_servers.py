"""Units and containers of model servers are called as the collector `cgroup` calls them."""

from __future__ import annotations

import json
from pathlib import Path

from vedette.api import Host
from vedette.serving.settings import ModelServersConfig
from vedette_plugins.model_servers import HostModelServers

ID = "0123456789abcdef" * 4


def servers(root: Path) -> HostModelServers:
    made = HostModelServers(ModelServersConfig())
    made.host = Host(root=str(root))
    return made


def test_a_unit_is_called_by_its_name(tmp_path: Path) -> None:
    one = servers(tmp_path)
    assert one.whose("/system.slice/vllm.service") == ("vllm.service", "")
    assert one.whose("/system.slice/system-vllm.slice/vllm@1.service/x") == ("vllm@1.service", "")
    assert one.whose("/") == ("", "")


def test_a_container_is_called_as_its_runtime_calls_it(tmp_path: Path) -> None:
    place = tmp_path / f"var/lib/docker/containers/{ID}/config.v2.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({"Name": "/inference"}))
    one = servers(tmp_path)
    assert one.whose(f"/system.slice/docker-{ID}.scope") == ("", "inference")
    assert one.whose(f"/system.slice/docker-{ID}.scope/below") == ("", "inference")


def test_a_container_that_nobody_names_is_called_by_its_number(tmp_path: Path) -> None:
    assert servers(tmp_path).whose(f"/docker/{ID}") == ("", ID[:12])
