"""`vedette models map`: saved pages of a model server in one vocabulary."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vedette.cli import main

FIXTURES = Path(__file__).parent / "fixtures" / "serving"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # whoever ran before may have set it


def pages(name: str) -> list[str]:
    return [str(path) for path in sorted((FIXTURES / name).glob("page.*.prom"))]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["models", "map", *arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_it_says_whose_pages_they_are_why_and_what_they_mean(
    capsys: pytest.CaptureFixture[str],
) -> None:
    info = [str(FIXTURES / "vllm-0.32.0" / name) for name in ("info_version.json",)]
    code, out, err = run(capsys, *pages("vllm-0.32.0"), "--info", *info, "--every", "15")
    assert (code, err) == (0, "")
    assert out.startswith("vLLM, release 0.15 and later (version 0.32.0), engine; confidence 1.00")
    assert "has vllm:num_requests_running" in out
    lines = {line.split("{")[0]: line for line in out.splitlines() if "{" in line}
    assert "p50=<= 0.3" in lines["gen_ai.server.request.duration"]
    assert "vllm:kv_cache_usage_perc" in lines["vedette.model.kv_cache.utilization"]
    ended = [line.split() for line in out.splitlines() if line.startswith("  engine ")]
    assert ["engine", "ok", "190", "+190", "6.333/s"] in ended
    assert ["engine", "aborted", "10", "+10", "0.3333/s"] in ended
    assert "not told: timeout" in out
    assert "What cannot be known:" in out


def test_json_has_the_same_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *pages("triton-2.51.0"), "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["server"], told["release"], told["pages"]) == ("triton", "24.01 and later", 3)
    ended = {one["outcome"]: (one["value"], one["gained"]) for one in told["outcomes"]}
    assert ended["ok"] == (362, 362)
    assert ended["server_error"] == (50, 50)
    assert set(told["outcomes_not_told"]) == {"client_error", "timeout"}
    (waited, *_) = [one for one in told["metrics"] if one["name"] == "vedette.model.queue.duration"]
    assert waited["unit"] == "s"
    assert waited["derived"]
    assert waited["gained"]["bounds"] == []
    assert {one["about"] for one in told["blind"]} >= {"client_error", "rejected"}
    assert told["missing"] == []


def test_quantiles_say_in_which_sense_they_hold(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, *pages("vllm-0.32.0"), "--json")
    told = {one["name"]: one for one in json.loads(out)["metrics"]}
    whole = told["gen_ai.server.request.duration"]["gained"]["quantiles"]
    assert whole["p50"] == {"value": 0.3, "sense": "at most"}
    assert whole["p95"]["sense"] == "about"


def test_one_page_has_values_and_no_gains(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, pages("tgi-3.3.7")[0])
    assert code == 0
    assert "GAINED" not in out
    assert "rejected" in out


def test_a_restart_between_the_pages_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    names = []
    for at, (start, count) in enumerate(((1000, 9), (2000, 3))):
        page = tmp_path / f"{at}.prom"
        page.write_text(
            "# TYPE process_start_time_seconds gauge\n"
            f"process_start_time_seconds {start}\n"
            "# TYPE nv_inference_request_success counter\n"
            f'nv_inference_request_success{{model="m"}} {count}\n'
        )
        names.append(str(page))
    code, out, _ = run(capsys, *names)
    assert code == 0
    assert "The server restarted between the pages." in out
    assert "+3" in out


def test_layers_are_not_to_be_added(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, *pages("rayserve-2.60.0"))
    assert "not to be added. The host's are those of the gateway." in out


def test_two_servers_on_one_page_are_both_told(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, *pages("vllm-in-ray-2.60"))
    assert out.index("Ray Serve, release") < out.index("On the same page:") < out.index("vLLM, ")
    _, out, _ = run(capsys, *pages("vllm-in-ray-2.60"), "--json")
    assert [one["server"] for one in json.loads(out)["beside"]] == ["vllm"]


def test_an_unknown_server_ends_with_one_and_what_is_nearest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "x.prom"
    page.write_text("num_requests_running 1\n")
    code, out, _ = run(capsys, str(page))
    assert code == 1
    assert "no server that Vedette knows" in out
    assert "nearest: nim, 1 of the" in out
    assert "to add a server is one file" in out
    code, out, _ = run(capsys, str(page), "--json")
    assert code == 1
    assert json.loads(out)["server"] == "unknown"


def test_a_server_without_a_page_is_told_by_its_endpoints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    info = [str(path) for path in sorted((FIXTURES / "ollama-docs").glob("*.json"))]
    code, out, _ = run(capsys, "--info", *info)
    assert code == 0
    assert out.startswith("Ollama (version 0.5.1), engine")


def test_a_line_that_cannot_be_read_is_named_and_the_rest_counts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "x.prom"
    page.write_text("llamacpp:requests_processing 1\nllamacpp:requests_deferred many\n")
    code, out, err = run(capsys, str(page))
    assert code == 0
    assert err.startswith(f"{page}:2: ")
    assert "vedette.model.requests.running" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("{tmp}/none.prom",), "none.prom: No such file"),
        (("{tmp}/empty.prom",), "empty.prom: no metrics in it"),
        (("{vllm}", "--info", "{tmp}/bad.json"), "bad.json:2: no JSON: "),
        (("{vllm}", "{triton}"), "a page of vllm, but"),
        ((), "nothing to map"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    (tmp_path / "empty.prom").write_text("\n")
    (tmp_path / "bad.json").write_text('{"a":\n ]')
    names = {
        "tmp": str(tmp_path),
        "vllm": pages("vllm-0.32.0")[0],
        "triton": pages("triton-2.51.0")[0],
    }
    code, out, err = run(capsys, *(one.format(**names) for one in arguments))
    assert (code, out) == (2, "")
    assert text in err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "x"])
def test_the_time_between_pages_is_a_time(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    with pytest.raises(SystemExit):
        main(["models", "map", "x", "--every", seconds])
    assert "--every" in capsys.readouterr().err
