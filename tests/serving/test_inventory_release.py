"""The release of a server that tells none is that of the package in its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedette.serving import files_release
from vedette.serving.files import Root
from vedette.serving.files_release import PACKAGES, release
from vedette.serving.inventory_table import ASKS


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    site = tmp_path / "env/lib/python3.12/site-packages"
    for name in ("ray-2.60.0.dist-info", "ray_tune-1.dist-info", "LitServe-0.2.19.dist-info"):
        (site / name).mkdir(parents=True)
    return tmp_path / "env"


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (("{env}/bin/serve", "run"), {}),
        (("/usr/bin/python3", "{env}/bin/serve"), {}),
        (("python", "app.py"), {"VIRTUAL_ENV": "{env}"}),
        (("python", "app.py"), {"PATH": "/usr/bin:{env}/bin"}),
        (("java", "-cp", ".:{env}/lib/python3.12/site-packages/ts/*"), {}),
    ],
)
def test_a_package_is_found_as_a_command_names_it(
    environment: Path, words: tuple[str, ...], variables: dict[str, str]
) -> None:
    here = str(environment)
    words = tuple(one.replace("{env}", here) for one in words)
    variables = {name: one.replace("{env}", here) for name, one in variables.items()}
    assert release(Root(), "ray-serve", words, variables) == "2.60.0"
    assert release(Root(), "litserve", words, variables) == "0.2.19"
    assert release(Root(), "vllm", words, variables) == ""
    assert release(Root(), "triton", words, variables) == ""


def test_a_container_has_its_own(environment: Path) -> None:
    root = Root(str(environment.parent))
    assert release(root, "ray-serve", ("/env/bin/serve",), {}) == "2.60.0"


def test_an_environment_without_end_is_cut(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_release, "ENTRIES_MAX", 0)
    assert release(Root(), "ray-serve", (f"{environment}/bin/serve",), {}) == ""


def test_every_package_is_of_a_server_that_is_asked() -> None:
    assert PACKAGES.keys() <= ASKS.keys()
