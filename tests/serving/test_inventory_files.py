"""Which files of a model are found: what the process has named, and nothing beside it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_inventory_headers import LLAMA, safetensors

from vedette.serving import files
from vedette.serving.digests import Digests
from vedette.serving.files import Root, listed
from vedette.serving.files_named import absolute, named, root_of, snapshot
from vedette.serving.inventory import Model
from vedette.serving.inventory_files import Files
from vedette.serving.listening import Process

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def put(path: Path, body: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def names(listing: files.Listing) -> list[str]:
    return [one.name for one in listing.files]


def test_a_folder_has_weights_and_descriptions_and_nothing_else(tmp_path: Path) -> None:
    for name in ("model.safetensors", "config.json", "README.md", "notes.doc", "1/model.onnx"):
        put(tmp_path / name)
    put(tmp_path / ".git/objects/model.bin")
    assert names(listed(Root(), str(tmp_path))) == [
        "1/model.onnx",
        "README.md",
        "config.json",
        "model.safetensors",
    ]


def test_a_folder_of_programs_has_no_model(tmp_path: Path) -> None:
    for name in ("app.py", "package.json", "secrets.txt", "src/x.py"):
        put(tmp_path / name)
    assert listed(Root(), str(tmp_path)).files == ()


def test_a_link_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "other/secret.bin")
    folder = tmp_path / "model"
    put(folder / "model.bin")
    (folder / "out.bin").symlink_to("../other/secret.bin")
    (folder / "abs.bin").symlink_to("/etc/passwd")
    (folder / "in.bin").symlink_to("model.bin")
    (folder / "loop.bin").symlink_to("loop.bin")
    found = listed(Root(), str(folder))
    assert names(found) == ["in.bin", "model.bin"]
    assert "abs.bin: a link that leads elsewhere, not followed" in found.note
    assert "loop.bin: too many levels of symbolic links" in found.note


def test_what_is_no_regular_file_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.bin")
    put(tmp_path / "model.bin")
    assert names(listed(Root(), str(tmp_path))) == ["model.bin"]
    assert listed(Root(), str(tmp_path / "pipe.bin")).note == "it is neither a file nor a directory"
    assert listed(Root(), "/dev/null").files == ()


def test_a_huge_tree_ends_at_its_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ENTRIES_MAX", 50)
    monkeypatch.setattr(files, "FILES_MAX", 10)
    for number in range(80):
        put(tmp_path / f"{number:03}.bin", bytes(number))
    put(tmp_path / "a/b/c/d/e/deep.bin")
    found = listed(Root(), str(tmp_path))
    assert (len(found.files), found.omitted) == (10, 40)
    assert "only the first 50 entries" in found.note


def test_deep_folders_are_said_to_be_left_out(tmp_path: Path) -> None:
    put(tmp_path / "a/b/c/d/e.bin")
    assert "nothing below 4 levels" in listed(Root(), str(tmp_path)).note


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_what_may_not_be_read_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir(mode=0o000)
    assert "may not be read" in listed(Root(), str(folder)).note


def test_links_of_another_root_are_resolved_within_it(tmp_path: Path) -> None:
    put(tmp_path / "models/real/model.bin")
    (tmp_path / "models/current").symlink_to("/models/real")
    (tmp_path / "up").symlink_to("../../../../models/real")
    root = Root(str(tmp_path))
    assert root.real("/models/current/model.bin") == "/models/real/model.bin"
    assert root.real("/up/model.bin") == "/models/real/model.bin"
    (found,) = listed(root, "/models/current").files
    assert found.place == f"{tmp_path}/models/real/model.bin"


def test_network_file_systems_are_left_alone_unless_asked_for(tmp_path: Path) -> None:
    put(tmp_path / "nfs/model.bin")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 0:1 / / rw - ext4 /dev/a rw\n"
        f"2 1 0:2 / {tmp_path}/nfs rw,relatime shared:1 - nfs4 host:/x rw\n"
    )
    root = Root("", str(mounts))
    assert "nfs4" in listed(root, str(tmp_path / "nfs")).note
    assert names(listed(root, str(tmp_path / "nfs"), network=True)) == ["model.bin"]
    assert root.is_remote(str(tmp_path / "nfsx")) == ""


# ---------------------------------------------------------------- of a process


class Server:
    """A real process with arguments of a model server's."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", "print(flush=True); input()", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        )
        assert self.child.stdout is not None
        self.child.stdout.readline()  # before it runs, its environment is not all there
        self.process = Process(self.child.pid, 1, "python", ("python", *arguments))

    def end(self) -> None:
        self.child.kill()
        self.child.communicate()


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    made: list[Server] = []
    yield made
    for one in made:
        one.end()


def looked(
    server: Server, kind: str, *models: Model, digests: Digests | None = None, how: str = "on"
) -> tuple[Model, ...]:
    files = Files(digests, how, network=True, proc="/proc")  # type: ignore[arg-type]
    return files.look("127.0.0.1:8000", kind, server.process, models)[0]


def test_only_places_of_models_are_taken_from_the_environment(
    tmp_path: Path, servers: list[Server]
) -> None:
    servers.append(
        Server(tmp_path, "serve", "./m", "--revision", "v1", HF_HOME="/h", HF_TOKEN="hf_secret")
    )
    said = named(servers[0].process, "vllm")
    assert (said.paths, said.revision, said.hub) == (("./m",), "v1", "/h/hub")
    assert "secret" not in repr(said)
    assert absolute("./m", said.cwd) == f"{tmp_path}/./m"
    assert root_of(servers[0].process)[0].prefix == ""


def test_a_process_that_may_not_be_seen_has_named_nothing(tmp_path: Path) -> None:
    gone = Process(2_000_000_000, 1, "x", ("x", "--model", "rel"))
    said = named(gone, "vllm")
    assert (said.paths, said.note) == (("rel",), "where the process is may not be seen")
    contained = Process(2_000_000_000, 1, "x", (), "/docker/" + "a" * 64)
    assert "container" in root_of(contained)[1]


def test_a_local_model_has_the_facts_of_its_files(tmp_path: Path, servers: list[Server]) -> None:
    folder = tmp_path / "m"
    weights = put(
        folder / "model.safetensors", safetensors({"a": {"dtype": "F16", "shape": [1000, 2000]}})
    )
    put(folder / "config.json", b'{"architectures": ["Llama"], "max_position_embeddings": 2048}')
    put(folder / "README.md", b"---\nlicense: mit\nbase_model: org/base\n---\n")
    servers.append(Server(tmp_path, "serve", "m", "--served-model-name", "tiny"))
    digests = Digests(None, 1 << 30)
    (model,) = looked(servers[0], "vllm", Model("tiny", root="m"), digests=digests)
    assert (model.architecture, model.license, model.base) == ("Llama", "mit", "org/base")
    assert (model.dtype, model.parameters, model.trained_context) == ("f16", "2M", 2048)
    by_name = {one.name: one for one in model.files}
    head = by_name["model.safetensors"].head_sha256
    assert head == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert digests.left_bytes == sum(one.size for one in model.files)


def test_without_digests_no_weight_is_read(tmp_path: Path, servers: list[Server]) -> None:
    put(tmp_path / "m.gguf", LLAMA)
    servers.append(Server(tmp_path, "-m", "m.gguf"))
    (model,) = looked(servers[0], "llama.cpp", Model("m"), how="off")
    (file,) = model.files
    assert (file.size, file.sha256, file.head_sha256) == (len(LLAMA), "", "")


def test_a_gguf_file_is_found_by_its_option(tmp_path: Path, servers: list[Server]) -> None:
    put(tmp_path / "m.gguf", LLAMA)
    servers.append(Server(tmp_path, "-m", "m.gguf"))
    (model,) = looked(servers[0], "llama.cpp", Model("alias"), how="headers")
    assert (model.quantisation, model.architecture) == ("Q4_K_M", "llama")
    assert [one.name for one in model.files] == ["m.gguf"]


def test_a_snapshot_of_hugging_face_tells_revision_and_digests(
    tmp_path: Path, servers: list[Server]
) -> None:
    body = safetensors({"a": {"dtype": "BF16", "shape": [10]}})
    sha256 = hashlib.sha256(body).hexdigest()
    repository = tmp_path / "hub/models--org--tiny"
    put(repository / f"blobs/{sha256}", body)
    link = repository / f"snapshots/{COMMIT}/model.safetensors"
    link.parent.mkdir(parents=True)
    link.symlink_to(f"../../blobs/{sha256}")
    put(repository / "refs/main", COMMIT.encode())
    servers.append(Server(tmp_path, "serve", "org/tiny", HF_HUB_CACHE=str(tmp_path / "hub")))
    (model,) = looked(servers[0], "vllm", Model("org/tiny", root="org/tiny"))
    (file,) = model.files
    assert (model.revision, file.sha256, file.source) == (COMMIT, sha256, "name")
    assert snapshot(Root(), "../../etc", "", str(tmp_path / "hub")) == ""


def test_content_that_is_not_what_its_name_says_is_told(
    tmp_path: Path, servers: list[Server]
) -> None:
    sha256 = hashlib.sha256(b"as it was").hexdigest()
    put(tmp_path / f".ollama/models/blobs/sha256-{sha256}", b"as it is")
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{sha256}"}
    manifests = tmp_path / ".ollama/models/manifests/registry.ollama.ai/library"
    put(manifests / "tiny/latest", json.dumps({"layers": [layer]}).encode())
    servers.append(Server(tmp_path, "serve"))
    now = [0.0]
    digests = Digests(None, 1 << 20, lambda: now[0])
    files = Files(digests, "on", network=True, proc="/proc")
    models, _ = files.look("e", "ollama", servers[0].process, [Model("tiny:latest")])
    assert (models[0].files[0].sha256, models[0].files[0].source) == (sha256, "name")
    now[0] = 10.0
    digests.step()
    (model,) = files.again(models)
    assert model.files[0].sha256 == hashlib.sha256(b"as it is").hexdigest()
    assert "not what its name says" in model.files[0].note
    files.forget("e")


def test_a_repository_of_triton_has_a_folder_for_each_version(
    tmp_path: Path, servers: list[Server]
) -> None:
    for name in ("config.pbtxt", "1/model.onnx", "2/model.onnx"):
        put(tmp_path / "repo/resnet" / name)
    put(tmp_path / "repo/other/1/model.onnx")
    servers.append(Server(tmp_path, "--model-repository=repo"))
    (model,) = looked(servers[0], "triton", Model("resnet", "2"))
    assert [one.name for one in model.files] == ["2/model.onnx", "config.pbtxt"]


def test_mlserver_has_models_in_its_folder_that_it_does_not_tell_of(
    tmp_path: Path, servers: list[Server]
) -> None:
    settings = {"name": "iris", "parameters": {"version": "v1", "uri": "./m.joblib"}}
    put(tmp_path / "iris/model-settings.json", json.dumps(settings).encode())
    put(tmp_path / "iris/m.joblib")
    servers.append(Server(tmp_path, "start", "."))
    (model,) = looked(servers[0], "mlserver")
    assert (model.name, model.version, model.told_by) == ("iris", "v1", "files")
    assert [one.name for one in model.files] == ["m.joblib", "model-settings.json"]
    (model,) = looked(servers[0], "mlserver", Model("iris", "v1"))
    assert (model.told_by, len(model.files)) == ("list", 2)


def test_torchserve_has_archives_in_its_store(tmp_path: Path, servers: list[Server]) -> None:
    put(tmp_path / "store/tiny-2.0.mar")
    servers.append(Server(tmp_path, "org.pytorch.serve.ModelServer", "-s", "store", "-m", "x=y"))
    (model,) = looked(servers[0], "torchserve", Model("tiny", "2.0", root="tiny-2.0.mar"))
    assert [one.name for one in model.files] == ["tiny-2.0.mar"]


def test_adapters_are_found_by_their_option(tmp_path: Path, servers: list[Server]) -> None:
    put(tmp_path / "base/model.safetensors")
    put(tmp_path / "sql/adapter_config.json", b'{"base_model_name_or_path": "org/base"}')
    put(tmp_path / "sql/adapter_model.safetensors")
    servers.append(Server(tmp_path, "serve", "base", "--lora-modules", "sql=sql", "other=absent"))
    base, adapter = looked(
        servers[0], "vllm", Model("base", root="base"), Model("sql", kind="adapter")
    )
    assert len(base.files) == 1
    assert [one.name for one in adapter.files] == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert adapter.base == "org/base"
