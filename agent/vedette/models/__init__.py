"""Detectors as governed models: versions, shadows, promotion, rollback and their history.

From the disk up: ``sealed`` writes a file whole or not at all, ``state`` what a detector learned,
``history`` the chained record of what became of which version, ``catalogue`` the versions as the
history tells them, ``readings`` the minutes that are kept to train on. ``shadow`` is a version that
can be asked, ``training`` lets it learn from readings of the past, ``workshop`` does so in the
background. ``tally`` counts, ``rules`` say which is better, ``drift`` whether the host still is
what was learned. ``champions``, ``trials`` and ``lessons`` act on that; ``lifecycle`` is what the
pipeline knows of all of them.
"""

from vedette.models.lifecycle import Bound, Lifecycle, ModelError, Plan
from vedette.models.metrics import ModelMetrics
from vedette.models.overview import Overview
from vedette.models.rules import Word
from vedette.models.schedule import nightly
from vedette.models.state import Arrays, Learned, Saved, Warm, load, save, warm
from vedette.models.succession import Base
from vedette.models.version import Data, Version
from vedette.models.workshop import Make

__all__ = [
    "Arrays",
    "Base",
    "Bound",
    "Data",
    "Learned",
    "Lifecycle",
    "Make",
    "ModelError",
    "ModelMetrics",
    "Overview",
    "Plan",
    "Saved",
    "Version",
    "Warm",
    "Word",
    "load",
    "nightly",
    "save",
    "warm",
]
