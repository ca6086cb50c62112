"""Say which version of a detector is the champion when the agent starts or is configured anew.

The operator's word is direct: options in agent.toml that changed make a new champion at once, which
begins with what the old one knew where the agent runs already, and anew at a start. A version that
was promoted with options of its own stays champion as long as the operator's stay what they were.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from vedette._version import __version__
from vedette.api import Detector
from vedette.models.catalogue import Catalogue
from vedette.models.version import Version
from vedette.models.workshop import Make

log = logging.getLogger(__name__)


class Base(msgspec.Struct, frozen=True):
    """What the operator configured of a detector: plain options, and those of a shadow beside it.

    Each with its digest; without a shadow the latter is empty.
    """

    digest: str
    options: Mapping[str, Any] = {}
    shadow: Mapping[str, Any] = {}
    shadow_digest: str = ""


def code(detector: Detector) -> str:
    """Return what code a model is of: the program's version and that of the state."""
    return f"{__version__}/{detector.state_version}"


def made(
    catalogue: Catalogue, detector: Detector, base: Base, now_ns: int, why: str, **more: Any
) -> Version:
    """Return a new version, which is nowhere yet."""
    champion = catalogue.champion(detector.name)
    known = {"status": "candidate", "config": base.digest, "options": base.options}
    return Version(
        id=catalogue.next_id(detector.name),
        detector=detector.name,
        base=base.digest,
        code=code(detector),
        made_ns=now_ns,
        why=why,
        since_ns=now_ns,
        parent=champion.id if champion else "",
        **(known | more),
    )


def settle(
    catalogue: Catalogue, detector: Detector, base: Base, make: Make, now_ns: int
) -> Detector:
    """Make sure that a detector has a champion that is of the configuration; return its instance.

    Raises ``OSError`` when that cannot be written down.
    """
    champion = catalogue.champion(detector.name)
    if champion is None:
        first = made(catalogue, detector, base, now_ns, "first start", status="champion")
        catalogue.commit(now_ns, "started", [first], why=first.why)
        return detector
    instance = _of(champion, detector, base, make)
    if instance is None:
        why = "its configuration changed"
        new = made(catalogue, detector, base, now_ns, why, status="champion")
        old = catalogue.moved(champion, "retired", now_ns)
        catalogue.commit(now_ns, "reconfigured", [new, old], why=why)
        return detector
    if champion.code != code(detector):
        why = f"code {code(detector)}, was {champion.code}"
        renewed = msgspec.structs.replace(champion, code=code(detector))
        catalogue.commit(now_ns, "upgraded", [renewed], why=why)
    return instance


def stays(champion: Version | None, base: Base) -> bool:
    """Whether a champion is of the operator's configuration."""
    return champion is not None and base.digest in (champion.config, champion.base)


def _of(champion: Version, detector: Detector, base: Base, make: Make) -> Detector | None:
    """Return the instance that a champion runs as; None when it is of another configuration."""
    if champion.config == base.digest:
        return detector
    if champion.base != base.digest:
        return None
    try:
        instance, digest = make(detector.name, champion.options)
    except ValueError as error:
        log.warning("version %s cannot be made again reason=%s", champion.id, error)
        return None
    return instance if digest == champion.config else None


def clear(
    catalogue: Catalogue, detector: str, base: Base, now_ns: int, working: Sequence[str] = ()
) -> None:
    """Take back what cannot go on: interrupted trainings, shadows of another configuration.

    ``working`` are the versions that are being trained.
    """
    for version in catalogue.of(detector):
        if version.id in working:
            continue
        if version.status == "candidate":
            why = "its training was interrupted"
        elif version.status == "shadow" and version.base != base.digest:
            why = "the configuration it was beside changed"
        elif version.status == "shadow" and _unwanted(version, base):
            why = "it is no longer configured"
        else:
            continue
        ended = catalogue.moved(version, "rejected", now_ns, reasons=(why,))
        catalogue.commit(now_ns, "rejected", [ended], why=why)


def wanted_shadow(catalogue: Catalogue, detector: str, base: Base) -> bool:
    """Whether the configured shadow has to be made: there never was one with these options."""
    if not base.shadow_digest or base.shadow_digest == base.digest:
        return False
    mine = catalogue.of(detector)
    return all((one.config, one.base) != (base.shadow_digest, base.digest) for one in mine)


#: What versions say that are there because of a section of agent.toml.
CONFIGURED = "configured as shadow"


def _unwanted(version: Version, base: Base) -> bool:
    return version.why == CONFIGURED and version.config != base.shadow_digest
