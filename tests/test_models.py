"""What detectors learned: saved, checked, warm-started."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vedette import models
from vedette.api import Series, gauge
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
    models.save(path, made, tails, series, {"robust": digest}, 123)
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
    assert "state/fast" not in found.arrays["robust"]
    assert "state/location" in found.arrays["robust"]


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
