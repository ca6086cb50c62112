"""What changed between two inventories is said once and in words; what is told is bounded."""

from __future__ import annotations

import msgspec
import pytest

from vedette.serving.asking import Reply
from vedette.serving.inventory import (
    RECORD_BYTES,
    Holder,
    Inventory,
    Model,
    ModelFile,
    as_record,
    changes,
    shown,
    summary,
)
from vedette.serving.inventory_asking import Questions
from vedette.serving.inventory_holder import command_of, whose
from vedette.serving.inventory_watch import ROUND_S, Seen, Watch
from vedette.serving.listening import Process


def said(before: Model | tuple[Model, ...], after: Model | tuple[Model, ...]) -> list[str]:
    old = before if isinstance(before, tuple) else (before,)
    new = after if isinstance(after, tuple) else (after,)
    return changes(Inventory(models=old), Inventory(models=new))


M = Model("m", "1")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (M, M, []),
        (M, (M, Model("n")), ["serves n"]),
        ((M, Model("n")), M, ["no longer serves n"]),
        (M, Model("m", "2"), ["serves m 2 in place of version 1"]),
        (M, (M, Model("m", "2")), ["serves m 2"]),
        (M, (M, Model("a", kind="adapter", base="m")), ["loaded adapter a of m"]),
        ((M, Model("a", kind="adapter")), M, ["unloaded adapter a"]),
        (Model("m", context=4096), Model("m", context=8192),
         ["changed context length of m: 4096 → 8192"]),
        (Model("m", revision="a" * 40), Model("m", revision="b" * 40),
         ["changed revision of m: aaaaaaaaaaaa… → bbbbbbbbbbbb…"]),
        (Model("m", state="ready"), Model("m", state="unavailable", reason="no GPU"),
         ["has m unavailable, which was ready (no GPU)"]),
        # What is only known now, or is not at the moment, is no change.
        (Model("m"), Model("m", context=8192, quantisation="awq"), []),
        (Model("m", quantisation="awq"), Model("m"), []),
        (Model("m"), Model("m", "1"), []),
        # Ollama loads and unloads by itself.
        (Model("m", state="stored"), Model("m", state="loaded"), []),
        # A first request makes a page name a model, and then it is asked for by its name.
        (M, (M, Model("n", told_by="page")), []),
        (M, (M, Model("n", told_by="name")), []),
        (Model("m", "1", told_by="name"), Model("m", "2", told_by="name"),
         ["serves m 2 in place of version 1"]),
    ],
)  # fmt: skip
def test_a_change_is_said_in_words(
    before: Model | tuple[Model, ...], after: Model | tuple[Model, ...], words: list[str]
) -> None:
    assert said(before, after) == words


def with_file(sha256: str = "", head: str = "h", size: int = 7, mtime_ns: int = 1) -> Model:
    file = ModelFile("model.bin", size, mtime_ns, sha256, "content" if sha256 else "", head)
    return Model("m", path="/m", files=(file,))


def test_other_files_under_the_same_name_are_a_change() -> None:
    assert said(with_file(head="a"), with_file(head="b")) == ["changed files of m: model.bin"]
    assert said(with_file("x"), with_file("y")) == ["changed files of m: model.bin"]
    assert said(with_file(size=7), with_file(size=8)) == ["changed files of m: model.bin"]


def test_a_file_that_was_only_touched_or_is_reckoned_now_is_no_change() -> None:
    assert said(with_file("x", mtime_ns=1), with_file("x", mtime_ns=2)) == []
    assert said(with_file(""), with_file("x")) == []
    assert said(with_file("x"), with_file("")) == []


def test_a_kv_cache_that_is_measured_anew_is_no_change() -> None:
    assert changes(Inventory(kv_tokens=10_000), Inventory(kv_tokens=10_100)) == []
    assert changes(Inventory(kv_tokens=10_000), Inventory(kv_tokens=5_000)) == [
        "has a KV cache of 5000 tokens and had 10000"
    ]
    assert changes(Inventory(version="1"), Inventory(version="2")) == ["is release 2 and was 1"]


def test_a_record_is_bounded_and_says_what_it_left_out() -> None:
    files = tuple(ModelFile(f"{number}" * 40, number, path="/x", inode=1) for number in range(64))
    models = tuple(
        Model(f"m{number}", files=files, notes=("n" * 300,), omitted=3) for number in range(60)
    )
    told = as_record(Inventory(models=models))
    assert len(msgspec.json.encode(told)) <= RECORD_BYTES
    assert told["omitted"] >= 10
    assert told["models"][0]["omitted"] >= 43
    assert max((one["size"] for one in told["models"][0].get("files", ())), default=63) == 63
    assert "inode" not in repr(told)
    assert len(shown(Inventory(models=models))["models"]) == 60


def test_a_model_in_one_line() -> None:
    model = Model(
        "m", "2", quantisation="Q8_0", context=512, state="loading", revision="ab" * 20,
        files=(ModelFile("f", 3 << 20),),
    )  # fmt: skip
    assert summary(model) == "m 2 (Q8_0, context 512, loading, 3 MiB, abababababab)"
    assert summary(Model("m")) == "m"


# ---------------------------------------------------------------- over time


class Run:
    """A watch on a clock of its own, and answers that a test changes."""

    def __init__(self) -> None:
        self.body: object = None
        questions = Questions("127.0.0.1:8000", self.fetch, index=False)
        self.watch = Watch("127.0.0.1:8000", questions, None, lambda one, now: Holder(one.pid, 5))
        self.now = 0.0

    def fetch(self, _base: str, path: str, _method: str) -> Reply:
        if path != "/v1/models" or self.body is None:
            return Reply(404, why="404 Not Found")
        return Reply(200, self.body)

    def serve(self, *names: str) -> list[str]:
        self.body = {"data": [{"id": name} for name in names]}
        return self.round()

    def round(self, *seen: str) -> list[str]:
        self.now += ROUND_S
        return self.watch.refresh("vllm", Seen(seen), self.now, int(self.now * 1e9))


def test_the_first_look_is_no_news() -> None:
    run = Run()
    assert run.serve("a", "b") == []
    assert run.serve("a", "b", "c") == ["serves c"]


def test_a_model_is_gone_when_two_answers_lack_it_or_another_came() -> None:
    run = Run()
    run.serve("a", "b")
    assert run.serve("a") == []
    assert run.serve("a") == ["no longer serves b"]
    assert run.serve("c") == ["serves c", "no longer serves a"]


def test_without_an_answer_what_was_known_stays() -> None:
    run = Run()
    run.serve("a")
    run.body = None
    for _ in range(5):
        assert run.round() == []
    assert [one.name for one in run.watch.inventory.models] == ["a"]


def test_another_process_is_compared_with_the_one_before() -> None:
    run = Run()
    first, second = Process(7, 1, "vllm", ()), Process(8, 2, "vllm", ())
    run.watch.take(first, 0)
    run.serve("a")
    run.watch.take(second, 0)
    run.body = {"data": [{"id": "b"}]}
    assert run.watch.refresh("vllm", Seen(), run.now, 0) == ["serves b", "no longer serves a"]
    assert run.watch.inventory.holder.pid == 8


def test_since_when_is_as_exact_as_is_known() -> None:
    run = Run()
    run.watch.take(Process(7, 1, "vllm", ()), 0)
    run.serve("a")
    (model,) = run.watch.inventory.models
    assert (model.since_ns, model.since_by) == (5, "process")
    run.serve("a", "b")
    run.serve("a", "b")
    found = {one.name: one for one in run.watch.inventory.models}
    assert (found["a"].since_by, found["b"].since_by) == ("process", "seen")
    assert found["b"].since_ns == found["b"].first_seen_ns == int(2 * ROUND_S * 1e9)


def test_a_page_alone_makes_no_news() -> None:
    run = Run()
    run.round("m 1")
    assert run.round("m 1", "n 2") == []
    assert {one.told_by for one in run.watch.inventory.models} == {"page"}


# ---------------------------------------------------------------- who serves


@pytest.mark.parametrize(
    "secret", ["sk-live-0123456789abcdefABCDEF", "hf_abcdefghijklmnopqrstuvwxyz0123"]
)
def test_secrets_of_a_command_are_masked(secret: str) -> None:
    for command in (("vllm", "serve", "--api-key", secret), ("vllm", f"--api-key={secret}")):
        assert secret not in command_of(command)
        assert "serve" in command_of(command) or "--api-key" in command_of(command)


def test_a_long_command_is_cut() -> None:
    assert len(command_of(("vllm", *("--x",) * 1_000))) == 400


@pytest.mark.parametrize(
    ("cgroup", "found"),
    [
        ("/system.slice/vllm.service", ("vllm.service", "")),
        ("/system.slice/docker-" + "a" * 64 + ".scope", ("", "a" * 12)),
        ("/user.slice/user-0.slice/session-1.scope", ("session-1.scope", "")),
        ("/", ("", "")),
        ("", ("", "")),
    ],
)
def test_a_control_group_tells_unit_or_container(cgroup: str, found: tuple[str, str]) -> None:
    assert whose(cgroup) == found
