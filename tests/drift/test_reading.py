"""Lines as inferences: formats found out, fields learned, what is none counted."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.drift.chat import refusal_of, script_of
from vedette.drift.compare import compared
from vedette.drift.generic import FieldsConfig
from vedette.drift.joining import Joiner
from vedette.drift.reading import FORMATS, REASONS, Reader
from vedette.drift.rows import Row
from vedette.drift.sketch import ModelSketch
from vedette.drift.watching import record_of


def read(*lines: Any, **how: Any) -> tuple[list[Row], Reader]:
    reader = Reader(**how)
    return reader.read([json.dumps(line).encode() for line in lines]), reader


def one(line: Any, **how: Any) -> Row:
    ((row,), _) = read(line, **how)
    return row


# ---------------------------------------------------------------- lines of one's own


def test_fields_are_learned_by_what_they_are_called() -> None:
    row = one(
        {
            "timestamp": 1,
            "level": "info",
            "model_name": "fraud",
            "request_id": "r1",
            "features": {"amount": 3.5, "place": {"city": "Ulm"}},
            "prediction": 1,
            "probability": 0.8,
            "ground_truth": 0,
        }
    )
    assert row == Row("fraud", "r1", {"amount": 3.5, "place.city": "Ulm"}, 1, 0.8, 0)


def test_without_a_place_for_features_all_that_is_left_is_one() -> None:
    row = one({"ts": 1, "age": 3, "host": "a", "y_pred": "yes", "city": "Ulm", "flag": True})
    assert row.fields == {"age": 3, "city": "Ulm", "flag": True}
    assert row.prediction == "yes"


def test_paths_that_are_given_are_followed_and_nothing_is_guessed() -> None:
    fields = FieldsConfig(("in.a", "in.b"), "out.class", "out.p", "", "meta.id", "meta.model")
    row = one(
        {
            "in": {"a": 1, "b": 2, "c": 3},
            "out": {"class": "x", "p": 0.3},
            "meta": {"id": 5, "model": "m"},
            "label": "x",
        },
        fields=fields,
    )
    assert row == Row("m", "5", {"in.a": 1, "in.b": 2}, "x", 0.3)


def test_probabilities_of_classes_are_a_class_and_how_sure_it_was() -> None:
    assert one({"features": [1, 2], "prediction": [0.1, 0.7, 0.2]}).prediction == 1
    assert one({"features": [1, 2], "prediction": [0.1, 0.7, 0.2]}).score == 0.7
    assert one({"features": [1, 2], "prediction": [0.9, 0.1]}).score == 0.1  # that it is true
    row = one({"features": [1, 2], "prediction": {"class": "a", "confidence": 0.4}})
    assert (row.prediction, row.score, row.fields) == (
        "a",
        0.4,
        {"features[0]": 1, "features[1]": 2},
    )


def test_a_line_with_a_label_alone_is_a_label() -> None:
    (_, row), _ = read({"id": "a", "features": {"x": 1}, "prediction": 1}, {"id": "a", "label": 0})
    assert (row.part, row.id, row.label) == ("label", "a", 0)


def test_long_lists_become_mean_and_deviation() -> None:
    row = one({"features": {"image": [[0.0] * 50, [2.0] * 50], "words": ["a"] * 100}})
    assert row.fields["image.mean"] == 1.0
    assert row.fields["image.deviation"] == 1.0
    assert len(row.fields["words"]) == 100


def test_numbers_that_are_none_are_read_as_python_writes_them() -> None:
    rows = Reader().read([b'{"features": {"x": NaN, "y": -Infinity}, "prediction": 1}'])
    assert rows[0].fields["x"] != rows[0].fields["x"]


# ---------------------------------------------------------------- what cannot be read


def test_what_is_no_inference_is_counted_by_reason_and_costs_nothing_else() -> None:
    reader = Reader()
    good = b'{"features": {"x": 1}, "prediction": 1}'
    lines = [
        good,
        b"garbage",
        b"",
        b"[1, 2]",
        b'{"features": {"x": 1}, "predic',
        b"\xff\xfe\x00",
        b'{"specversion": "1.0", "type": "org.kubeflow.serving.inference.request", "data": 5}',
        b'{"unrelated": null}',
        b"[" * 50_000,
        good,
    ]
    assert len(reader.read(lines)) == 2
    assert reader.malformed == {
        "no JSON": 4,
        "no object": 1,
        "no payload": 1,
        "no inference": 1,
    }
    assert set(reader.malformed) <= set(REASONS)
    assert reader.lines == len(lines)


@pytest.mark.parametrize(
    "data",
    [
        {"inputs": [{"name": "x", "shape": [2], "data": [1, 2, 3]}]},
        {"inputs": [{"name": "x", "shape": "two", "data": [1]}]},
        {"inputs": [{"name": "x", "shape": [2]}]},
        {"inputs": [{"name": "x", "shape": [10**9], "data": [1]}]},
        {"instances": "many"},
        {"data": {"ndarray": 5}},
        {},
        "no json",
    ],
)
def test_a_payload_that_does_not_fit_is_counted(data: Any) -> None:
    event = {"specversion": "1.0", "type": "org.kubeflow.serving.inference.request", "data": data}
    rows, reader = read(event)
    assert rows == []
    assert reader.malformed["no payload"] == 1


# ---------------------------------------------------------------- KServe and Seldon


def event(part: str, data: Any, **more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "e1",
        "type": f"org.kubeflow.serving.inference.{part}",
        "source": "http://localhost:9081/",
        "inferenceservicename": "iris",
        "data": data,
        **more,
    }


def test_requests_and_responses_of_version_one() -> None:
    asked, answered = (
        event("request", {"instances": [[6.8, 2.8], [6.0, 3.4]]}),
        event("response", {"predictions": [1, 2]}),
    )
    rows, _ = read(asked, answered)
    assert rows[0] == Row("iris", "e1/0", {"x[0]": 6.8, "x[1]": 2.8}, part="request")
    assert rows[3] == Row("iris", "e1/1", prediction=2, part="response")


def test_tensors_of_version_two_are_read_row_by_row() -> None:
    asked = event(
        "request",
        {
            "inputs": [
                {"name": "age", "shape": [2], "datatype": "INT64", "data": [30, 40]},
                {"name": "v", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]},
                {"name": "city", "shape": [2, 1], "datatype": "BYTES", "data": ["Ulm", "Köln"]},
            ]
        },
    )
    answered = event(
        "response",
        {
            "outputs": [
                {"name": "p", "shape": [2, 2], "datatype": "FP32", "data": [0.2, 0.8, 0.6, 0.4]}
            ]
        },
    )
    rows, _ = read(asked, answered)
    assert rows[1].fields == {"age": 40, "v[0]": 3, "v[1]": 4, "city": "Köln"}
    assert [(one.prediction, one.score) for one in rows[2:]] == [(1, 0.8), (0, 0.4)]


def test_seldons_payloads_and_attributes_as_headers() -> None:
    asked = {
        "ce-specversion": "1.0",
        "CE-Id": "s1",
        "ce-type": "io.seldon.serving.inference.request",
        "CE-inferenceservicename": "income",
        "data": json.dumps({"data": {"names": ["age", "job"], "ndarray": [[30, "cook"]]}}),
    }
    answered = event("response", None, id="s1")
    payload = {"data": {"tensor": {"shape": [1, 2], "values": [0.3, 0.7]}}}
    answered["data_base64"] = base64.b64encode(json.dumps(payload).encode()).decode()
    rows, reader = read(asked, answered)
    assert not reader.malformed
    assert rows[0] == Row("income", "s1", {"age": 30, "job": "cook"}, part="request")
    assert (rows[1].prediction, rows[1].score) == (1, 0.7)


def test_a_request_with_its_response_in_one_line_needs_no_joining() -> None:
    row = one(
        {
            "id": "a",
            "model": "m",
            "request": {"instances": [{"x": 1}]},
            "response": {"predictions": [[0.25, 0.75]]},
        }
    )
    assert row == Row("m", "a", {"x": 1}, 1, 0.75)


def test_other_events_are_no_inferences() -> None:
    rows, reader = read({"specversion": "1.0", "type": "com.example.deploy", "data": {}})
    assert (rows, reader.malformed["no inference"]) == ([], 1)


# ---------------------------------------------------------------- language models

CHAT = {
    "request": {
        "model": "llama",
        "temperature": 0.2,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "Как дела, товарищ? Secret-4711"}],
            },
        ],
    },
    "response": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [
            {
                "finish_reason": "stop",
                "message": {"content": "I'm sorry, but I can't help with that. Secret-4712"},
            }
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 9},
    },
}


def test_of_a_chat_numbers_and_a_few_words_are_kept_and_no_text() -> None:
    row = one(CHAT)
    assert row.model == "llama"
    assert row.id == "chatcmpl-1"
    assert row.fields["prompt.tokens"] == 12
    assert row.fields["completion.tokens"] == 9
    assert row.fields["prompt.messages"] == 2
    assert row.fields["prompt.script"] == "cyrillic"
    assert row.fields["completion.script"] == "latin"
    assert row.fields["refusal"] == "unable"
    assert row.fields["finish_reason"] == "stop"
    assert "Secret" not in repr(row)


def test_without_usage_there_are_lengths_and_a_bare_response_will_do() -> None:
    bare = {**CHAT["response"], "model": "llama", "usage": None}
    row = one(bare)
    assert "prompt.tokens" not in row.fields
    assert row.fields["completion.length"] == 50
    assert row.model == "llama"


def test_what_a_proxy_mixes_in_one_object_is_read() -> None:
    row = one(
        {
            "model": "gpt",
            "messages": [{"content": "hello"}],
            "response": CHAT["response"],
            "prompt_tokens": 1,
            "stream": False,
        }
    )
    assert row.model == "gpt"
    assert row.fields["prompt.length"] == 5
    assert row.fields["prompt.tokens"] == 12


@pytest.mark.parametrize(
    ("text", "sort"),
    [
        ("", "empty"),
        ("The capital is Paris.", "none"),
        ("Sorry, that is not possible.", "apology"),
        ("I won't do this.", "unwilling"),
        ("I am unable to see images.", "unable"),
        ("As an AI, I cannot have opinions; our policy forbids it.", "policy"),
        ("The refund policy is thirty days.", "none"),
        ("x" * 400 + " I cannot", "none"),
    ],
)
def test_refusals_are_told_by_a_few_phrases_at_the_beginning(text: str, sort: str) -> None:
    assert refusal_of(text) == sort


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Hello", "latin"),
        ("naïve façade", "latin"),
        ("123 !?", "none"),
        ("привет", "cyrillic"),
        ("你好世界", "han"),
        ("こんにちは世界", "kana"),
        ("안녕하세요", "hangul"),
        ("مرحبا", "arabic"),
        ("𓀀𓀁", "other"),
    ],
)
def test_the_script_is_that_of_most_letters(text: str, script: str) -> None:
    assert script_of(text) == script


def test_a_format_that_is_given_is_the_only_one_read() -> None:
    rows, reader = read(CHAT, {"features": {"x": 1}, "prediction": 1}, format="openai")
    assert len(rows) == 1
    assert reader.malformed["no inference"] == 1
    rows, _ = read(event("request", {"instances": [[1]]}), format="kserve")
    assert rows[0].part == "request"


def test_a_label_in_a_form_of_its_own_is_learned_however_late_it_comes() -> None:
    reader = Reader()
    reader.read([b'{"id": "a", "age": 3, "prediction": 1}'] * 100)
    assert reader.fields == FieldsConfig((), "prediction", id="id")
    (row,) = reader.read([b'{"id": "a", "label": 1}'])
    assert (row.part, row.label, row.fields) == ("label", 1, {})
    (again,) = reader.read([b'{"id": "b", "age": 4, "prediction": 0}'])
    assert (again.prediction, again.fields) == (0, {"age": 4})


#: What lines have, to be put together in any way.
MEMBERS = [
    "specversion",
    "type",
    "data",
    "id",
    "model",
    "instances",
    "inputs",
    "outputs",
    "predictions",
    "shape",
    "name",
    "messages",
    "choices",
    "usage",
    "request",
    "response",
    "features",
    "prediction",
    "score",
    "label",
    "x",
    "ndarray",
    "tensor",
    "values",
    "names",
    "content",
    "message",
    "prompt_tokens",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(MEMBERS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=60)
@given(st.lists(JSON, max_size=6), st.sampled_from(FORMATS))
def test_whatever_a_line_holds_it_is_read_or_counted(lines: list[Any], format: Any) -> None:
    reader = Reader(format)
    rows = reader.read([json.dumps(line).encode() for line in lines])
    joined = Joiner(10, 60.0).take(rows, 0.0)
    made = ModelSketch()
    made.add([record_of(row) for row in joined.rows], 1)
    made.quality.add([outcome for _, outcome in joined.outcomes])
    assert ModelSketch.of_state(made.state()).state() == made.state()
    assert not compared("m", made, made).bad
    assert reader.malformed.total() <= len(lines)
