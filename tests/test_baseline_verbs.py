"""`vedette baseline`: builds of logs, shows, compares, and ends with what it found."""

from __future__ import annotations

import gzip
import json
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from vedette.cli import main
from vedette.control import ControlServer

sys.path.insert(0, str(Path(__file__).parent / "drift"))
from inference_site import Site


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # whoever ran before may have set it


def log(path: Path, count: int, seed: int, shift: float = 0.0, **more: object) -> str:
    chance = random.Random(seed)
    with path.open("w") as file:
        for at in range(count):
            features = {
                "amount": chance.lognormvariate(3 + shift, 1),
                "country": chance.choices(["DE", "FR", "US"], [5, 3, 2])[0],
            }
            line = {"model": "fraud", "id": at, "features": features, "prediction": at % 2, **more}
            file.write(json.dumps(line) + "\n")
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["baseline", *arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.fixture
def baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    path = str(tmp_path / "b.json")
    code, out, err = run(capsys, "build", log(tmp_path / "good.jsonl", 3000, 1), "--out", path)
    assert (code, err) == (0, "")
    assert "fraud: 3,000 records, 3 fields" in out or "fraud: 3000 records, 3 fields" in out
    return path


def test_it_shows_what_a_baseline_says(baseline: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "show", baseline)
    assert code == 0
    assert "3 different: DE" in out
    code, out, _ = run(capsys, "show", baseline, "--json")
    assert json.loads(out)["models"]["fraud"]["fields"]["amount"]["type"] == "number"


def test_a_log_like_it_ends_with_0_and_one_that_drifted_with_1(
    baseline: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "compare", baseline, log(tmp_path / "same.jsonl", 600, 2))
    assert code == 0
    assert "as its baseline" in out
    moved = log(tmp_path / "moved.jsonl", 600, 3, shift=0.7)
    code, out, _ = run(capsys, "compare", baseline, moved)
    assert code == 1
    assert "amount PSI" in out
    code, out, _ = run(capsys, "compare", baseline, moved, "--json")
    (told,) = json.loads(out)
    assert code == 1
    assert told["drifted"] is True
    assert told["fields"][0]["field"] == "amount"
    assert run(capsys, "compare", baseline, moved, "--psi", "5")[0] == 0


def test_packed_logs_and_paths_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = tmp_path / "own.jsonl.gz"
    with gzip.open(packed, "wt") as file:
        for at in range(700):
            file.write(json.dumps({"q": {"a": at % 7, "b": 1}, "r": {"y": at % 2}}) + "\n")
    out_file = str(tmp_path / "b.json")
    options = ["--features", "q.a", "--prediction", "r.y", "--model", "m"]
    code, out, _ = run(capsys, "build", str(packed), "--out", out_file, *options)
    assert code == 0
    assert "2 fields" in out
    assert run(capsys, "compare", out_file, str(packed), *options)[0] == 0


def test_lines_that_are_none_are_counted_and_said(
    baseline: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(log(tmp_path / "bad.jsonl", 600, 4))
    with path.open("a") as file:
        file.write("oops\n[]\n")
    code, _, err = run(capsys, "compare", baseline, str(path))
    assert code == 0
    assert "1 of 602 lines left out: no JSON" in err
    assert "1 of 602 lines left out: no object" in err


def test_what_cannot_be_done_is_said_and_ends_with_2(
    baseline: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = log(tmp_path / "other.jsonl", 50, 5, model="churn")
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    torn = tmp_path / "torn.json"
    torn.write_bytes(Path(baseline).read_bytes()[:500])
    for arguments, said in (
        (("build", "--out", "x.json"), "nothing to build of"),
        (("build", str(empty), "--out", str(tmp_path / "x.json")), "no inferences in it"),
        (("build", "gone.jsonl", "--out", "x.json"), "cannot read gone.jsonl"),
        (("build", other, "--out", str(tmp_path / "no" / "x.json")), "cannot write"),
        (("build", other, "--from-agent", "--out", "x.json"), "give one of both"),
        (("compare", baseline, other), "the log is of churn"),
        (("compare", str(torn), other), "no baseline"),
        (("show", baseline, "--model", "nobody"), "no model 'nobody'"),
        (("list", "--state-dir", str(tmp_path)), "no agent"),
    ):
        code, _, err = run(capsys, *arguments)
        assert code == 2, arguments
        assert said in err


def test_a_baseline_of_few_records_is_made_and_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = log(tmp_path / "few.jsonl", 50, 6)
    code, _, err = run(capsys, "build", few, "--out", str(tmp_path / "b.json"))
    assert code == 1
    assert "fewer than 500" in err


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Site]:
    """The collector behind a real control socket."""
    site = Site(tmp_path)

    def collector(request: dict[str, Any]) -> Mapping[str, Any]:
        assert request["collector"] == "inference_log.shop"
        return site.collector.answer(str(request["question"]), request)

    names = [{"name": "cpu"}, {"name": "inference_log.shop"}]
    verbs = {"collector": collector, "status": lambda request: {"collectors": names}}
    server = ControlServer(tmp_path, verbs)
    server.start()
    yield site
    server.stop()


def test_the_agents_models_are_listed_and_its_hours_become_a_baseline(
    agent: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, out_file = ["--state-dir", str(tmp_path)], str(tmp_path / "b.json")
    assert "no inferences yet" in run(capsys, "list", *state)[1]
    agent.infer(300)
    agent.write([b"oops"])
    agent.tick()
    assert "learning, 300 so far" in run(capsys, "list", *state)[1]
    code, _, err = run(capsys, "build", "--from-agent", "--out", out_file, *state)
    assert code == 2
    assert "no windows of the last 24h" in err
    agent.infer(500)
    agent.tick()
    for _ in range(14):
        agent.infer(100, shift=1.0)
        agent.tick()
    code, out, _ = run(capsys, "list", *state)
    assert code == 0
    assert "800 records" in out
    assert "fraud: x0 PSI" in out
    assert "1 of 2201 lines" in out
    code, _, err = run(capsys, "build", "--from-agent", "--out", out_file, *state)
    assert (code, err) == (0, "")
    assert run(capsys, "show", out_file)[0] == 0
    code, _, err = run(capsys, "build", "--from-agent", "--last", "soon", "--out", out_file, *state)
    assert code == 2
    assert "--last" in err
