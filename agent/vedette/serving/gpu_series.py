"""Name the series that say which GPUs a model server uses, and how far their energy goes."""

from __future__ import annotations

from vedette.api import gauge, updown
from vedette.serving.vocabulary import DEVICE, ENDPOINT, MODEL, SERVER

#: What collectors of GPUs told longer ago than this says nothing of now.
STALE_S = 60.0

MEMORY = updown(
    "vedette.model.gpu.memory",
    "By",
    "Memory of this GPU that the processes of the model server hold.",
    [ENDPOINT, SERVER, DEVICE],
    resource="model",
    alarm="never",
)
TOKENS_PER_JOULE = gauge(
    "vedette.model.tokens_per_joule",
    "{token}/J",
    "Output tokens for the energy that the GPUs took in the last minute, of a model that alone "
    "uses them.",
    [ENDPOINT, SERVER, MODEL],
    resource="model",
    alarm="never",
)
