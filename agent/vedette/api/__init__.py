"""Every name a plugin may use: the stable surface of Vedette.

A plugin is a module with functions marked ``@hookimpl`` that return classes written against the
types here. Nothing here does I/O and nothing imports numpy at run time, so importing a plugin
stays cheap; arrays appear in type annotations only.
"""

from __future__ import annotations

from pluggy import HookimplMarker

from vedette.api.collector import Collector, Frame, Isolation, Observation
from vedette.api.detector import Detector, Evidence, Head, StateArray, Window
from vedette.api.host import Event, GpuUse, GpuUses, Host, Item, Record, Usage
from vedette.api.incident import (
    Finding,
    Incident,
    IncidentState,
    Severity,
    Strength,
    Suspect,
    Track,
    Verdict,
    VerdictWord,
)
from vedette.api.options import Duration, NoConfig, Problem, Secret, Size, Stability, Unavailable
from vedette.api.output import Output, SendResult, Shipment
from vedette.api.output import Signal as Signal
from vedette.api.readings import (
    Alarm,
    HistogramSample,
    Instrument,
    Kind,
    Sample,
    Series,
    counter,
    gauge,
    histogram,
    updown,
)

__all__ = [
    "Alarm",
    "Collector",
    "Detector",
    "Duration",
    "Event",
    "Evidence",
    "Finding",
    "Frame",
    "GpuUse",
    "GpuUses",
    "Head",
    "HistogramSample",
    "Host",
    "Incident",
    "IncidentState",
    "Instrument",
    "Isolation",
    "Item",
    "Kind",
    "NoConfig",
    "Observation",
    "Output",
    "Problem",
    "Record",
    "Sample",
    "Secret",
    "SendResult",
    "Series",
    "Severity",
    "Shipment",
    "Size",
    "Stability",
    "StateArray",
    "Strength",
    "Suspect",
    "Track",
    "Unavailable",
    "Usage",
    "Verdict",
    "VerdictWord",
    "Window",
    "counter",
    "gauge",
    "histogram",
    "hookimpl",
    "updown",
]

hookimpl = HookimplMarker("vedette")
