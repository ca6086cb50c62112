"""Know which GPUs each model server uses: a fault of one GPU is blamed for its models alone.

That a GPU's faults show in models is known of hosts in general (relations.py). Which models, the
series themselves tell: ``vedette.model.gpu.memory`` names a server's endpoint and a GPU. A server
of which no GPU is known may use any. Pure; looked at anew when the table has other series.
"""

from __future__ import annotations

from collections.abc import Iterable

from vedette.api import Window
from vedette.entities import Place, place_of

#: The series that names both, and the attribute with the GPU.
METRIC, DEVICE = "vedette.model.gpu.memory", "hw.id"


class Tenants:
    """The GPUs of each endpoint, as far as the series of this host say."""

    def __init__(self) -> None:
        self._generation = -1
        self._gpus: dict[str, set[str]] = {}

    def look(self, window: Window) -> None:
        """Take over which series there are."""
        if window.generation == self._generation:
            return
        self._generation = window.generation
        self._gpus = {}
        for series in window.series:
            if series is not None and series.instrument.name == METRIC:
                gpu = series.values[series.instrument.attributes.index(DEVICE)]
                self._gpus.setdefault(place_of(series).endpoint, set()).add(gpu)

    def are_apart(self, one: Place, other: Place) -> bool:
        """Say whether these are a model and a GPU of which it is known that it uses others."""
        by_family = {one.family: one, other.family: other}
        if sorted(by_family) != ["gpu", "model"]:
            return False
        gpu, model = by_family["gpu"], by_family["model"]
        known = self._gpus.get(model.endpoint, set())
        return bool(known) and gpu.entity.kind == "gpu" and gpu.entity.name not in known | {""}

    def is_elsewhere(self, gpu: str, places: Iterable[Place]) -> bool:
        """Say whether what was done to a GPU is known to be done to none of these places."""
        known = list(places)
        if any(place.family == "gpu" and place.entity.name in (gpu, "") for place in known):
            return False
        used = [self._gpus.get(one.endpoint, set()) for one in known if one.family == "model"]
        return bool(used) and all(gpus and gpu not in gpus for gpus in used)
