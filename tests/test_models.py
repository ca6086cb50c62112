"""What detectors learned: saved, checked, warm-started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from vedette import models
from vedette.api import Series, StateArray, gauge
from vedette_plugins.robust import Robust, RobustConfig

LEVEL = gauge("test.level", "1", "A level.", ("which",))
A, B, C = (LEVEL.series(name) for name in "abc")


def learned() -> models.Learned:
    made = models.Learned([Robust(RobustConfig())], 4)
    made.arrays["robust"]["location"][:] = [1, 2, 3, 4]
    made.arrays["robust"]["fast"][:] = 9
    return made


def saved(path: Path, series: list[Series | None], digest: str = "d") -> models.Learned:
    made = learned()
    tails = {"robust": {"quantile": np.array([5, 6, 7, 8], dtype=np.float32)}}
    models.save(path, made, tails, series, {"robust": digest}, 123, {})
    return made


def test_every_series_finds_its_own_row_again(tmp_path: Path) -> None:
    path = tmp_path / "learned.state"
    before = saved(path, [A, None, B, None])
    found = models.load(path, before.detectors, {"robust": "d"})
    assert found is not None
    assert found.keys == (A.key, B.key)
    assert found.saved_ns == 123
    after = models.Learned([Robust(RobustConfig())], 4)
    tails = models.warm(found, found.keys.index(B.key), after, 0)
    assert after.arrays["robust"]["location"][0] == 3
    assert tails["robust"]["quantile"] == 7


def test_what_only_remembers_the_last_readings_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "learned.state"
    before = saved(path, [A, None, B, None])
    found = models.load(path, before.detectors, {"robust": "d"})
    assert found is not None
    assert "fast" not in found.arrays["robust"]
    assert "location" in found.arrays["robust"]


@pytest.mark.parametrize("position", [0, 30, 100, -1])
def test_a_flipped_bit_is_noticed_and_learning_starts_anew(
    tmp_path: Path, position: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "learned.state"
    before = saved(path, [A, None, B, None])
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)
    assert models.load(path, before.detectors, {"robust": "d"}) is None
    assert "damaged" in caplog.text


def test_state_of_another_configuration_or_version_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "learned.state"
    before = saved(path, [A, None, B, None])
    found = models.load(path, before.detectors, {"robust": "other"})
    assert found is not None
    assert found.arrays == {}
    monkeypatch.setattr(Robust, "state_version", 99)
    found = models.load(path, [Robust(RobustConfig())], {"robust": "d"})
    assert found is not None
    assert found.arrays == {}


def test_no_file_is_no_complaint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert models.load(tmp_path / "none", [], {}) is None
    assert caplog.text == ""


def test_rows_that_are_forgotten_start_anew_and_growing_keeps_the_rest() -> None:
    made = learned()
    made.forget(np.array([1]))
    made.grow(8)
    location = made.arrays["robust"]["location"]
    assert location[[0, 2, 3]].tolist() == [1, 3, 4]
    assert np.isnan(location[[1, 4, 7]]).all()


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    import hashlib
    import io

    body = io.BytesIO()
    np.savez(body, meta=np.array([{"keys": []}], dtype=object))
    raw = body.getvalue()
    path = tmp_path / "learned.state"
    path.write_bytes(
        b"vedette-learned-1\n" + hashlib.sha256(raw).hexdigest().encode() + b"\n" + raw
    )
    assert models.load(path, [], {}) is None


# ---------------------------------------------------------------- another version of the code


class Older(Robust):
    """What ``robust`` might have been: one array less, the scale squared."""

    state_version = 0
    state: ClassVar[Mapping[str, StateArray]] = {
        "location": StateArray(float("nan")),
        "variance": StateArray(0.0),
    }


class Newer(Robust):
    state_version = 2
    answer: ClassVar[Callable[[dict[str, Any]], Any]]

    def migrate(self, version: int, arrays: dict[str, Any]) -> dict[str, Any] | None:
        if version != 0:
            return None
        return type(self).answer(arrays)


def migrated(path: Path, answer: Callable[[dict[str, Any]], Any]) -> models.Saved | None:
    old = models.Learned([Older(RobustConfig())], 2)
    old.arrays["robust"]["location"][:] = [1, 2]
    old.arrays["robust"]["variance"][:] = [9, 16]
    tails = {"robust": {"quantile": np.array([5, 6], dtype=np.float32)}}
    models.save(path, old, tails, [A, B], {}, 1, {})
    Newer.answer = staticmethod(answer)
    return models.load(path, [Newer(RobustConfig())], {})


def test_a_detector_may_take_what_an_older_version_of_it_learned(tmp_path: Path) -> None:
    found = migrated(
        tmp_path / "learned.state",
        lambda old: {"location": old["location"], "scale": np.sqrt(old["variance"])},
    )
    assert found is not None
    assert found.arrays["robust"]["scale"].tolist() == [3, 4]
    assert found.tails["robust"]["quantile"].tolist() == [5, 6]
    after = models.Learned([Newer(RobustConfig())], 4)
    models.warm(found, 1, after, 3)
    assert after.arrays["robust"]["scale"][3] == 4
    assert after.arrays["robust"]["count"][3] == 0  # not among them: as for a new series


@pytest.mark.parametrize(
    "answer",
    [
        lambda old: None,
        lambda old: {"nonsense": old["location"]},
        lambda old: {"scale": old["variance"][:1]},
        lambda old: {"scale": old["variance"][:, None]},
        lambda old: old["gone"],
    ],
)
def test_what_it_cannot_take_or_takes_wrongly_is_learned_anew(
    tmp_path: Path, answer: Callable[[dict[str, Any]], Any]
) -> None:
    found = migrated(tmp_path / "learned.state", answer)
    assert found is not None
    assert found.arrays == {}
    assert found.tails == {}


def test_the_arrays_of_another_model_are_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "learned.state"
    made = learned()
    models.save(path, made, {}, [A, B], {}, 1, {}, {"robust": "robust-3"})
    for versions, taken in (({}, True), ({"robust": "robust-3"}, True), ({"robust": "r-4"}, False)):
        found = models.load(path, made.detectors, {}, versions)
        assert found is not None
        assert bool(found.arrays) is taken


# ---------------------------------------------------------------- series that have not come back


def test_series_that_did_not_come_back_yet_are_saved_once_more_for_an_hour(tmp_path: Path) -> None:
    path = tmp_path / "learned.state"
    before = saved(path, [A, None, B, None])
    found = models.load(path, before.detectors, {"robust": "d"})
    assert found is not None
    hour = 3_600_000_000_000
    warm = models.Warm(found, 0)
    again = models.Learned([Robust(RobustConfig())], 4)
    tails = {"robust": {"quantile": np.array([9, 9, 9, 9], dtype=np.float32)}}
    again.arrays["robust"]["location"][:] = 7
    for now_ns, keys in ((hour - 1, (C.key, A.key, B.key)), (hour, (C.key,))):
        models.save(path, again, tails, [None, C], {"robust": "d"}, now_ns, {}, {}, [warm])
        kept = models.load(path, before.detectors, {"robust": "d"})
        assert kept is not None
        assert kept.keys == keys
        assert kept.arrays["robust"]["location"].tolist() == [7, 1, 3][: len(keys)]
        assert kept.tails["robust"]["quantile"].tolist() == [9, 5, 7][: len(keys)]


def test_a_row_that_was_never_judged_has_no_tail(tmp_path: Path) -> None:
    path = tmp_path / "learned.state"
    made = learned()
    tails = {"robust": {"quantile": np.array([5], dtype=np.float32)}}
    models.save(path, made, tails, [A, B], {}, 1, {})
    found = models.load(path, made.detectors, {})
    assert found is not None
    assert models.warm(found, 0, made, 0)["robust"]["quantile"] == 5
    assert models.warm(found, 1, made, 1) == {}
