"""What can be configured of the collector of model servers."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from vedette.api import Size
from vedette.exposition.scrape import Target
from vedette.serving.slo import Slo


class ModelServersConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which model servers are read."""

    discover: Annotated[
        Literal["on", "propose", "off"],
        Meta(
            description="`on`: servers found on this host are read. `propose`: they are only told "
            "of, in the log and by `vedette models list`. `off`: nothing is looked for."
        ),
    ] = "on"
    pages: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses of pages of metrics of model servers that are read in any case, "
            "such as http://127.0.0.1:8000/metrics."
        ),
    ] = ()
    ignore: Annotated[
        tuple[str, ...],
        Meta(description="Servers that are not asked for anything, by globs of address:port."),
    ] = ()

    slo: Annotated[
        tuple[Slo, ...],
        Meta(description="What was promised of models: error budgets and how fast they burn."),
    ] = ()
    inventory: Annotated[
        bool,
        Meta(
            description="Whether info endpoints and files of models are looked at, for their "
            "versions, adapters, formats and digests."
        ),
    ] = True
    repository_index: Annotated[
        bool,
        Meta(
            description="Whether Triton and MLServer are asked for the list of their models. It "
            "changes nothing there, but is a POST (`/v2/repository/index`); all else is GET."
        ),
    ] = False
    digests: Annotated[
        Literal["on", "headers", "off"],
        Meta(
            description="`on`: SHA-256 of the files of models is reckoned, slowly. `headers`: only "
            "of the first MiB of each. `off`: of nothing; weights are not read."
        ),
    ] = "on"
    digest_rate: Annotated[
        Size, Meta(description="Bytes that are read per second at most for digests, on average.")
    ] = Size(4 << 20)
    network_files: Annotated[
        bool,
        Meta(
            description="Whether files of models on NFS, CIFS, Ceph and the like are looked at, "
            "too. A server that hangs holds up the readings then."
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.digest_rate < 1:
            raise ValueError('digest_rate must be above 0; digests = "off" reads nothing')
        for url in self.pages:
            problems = Target(url).problems()
            if problems:
                raise ValueError(f"pages: {problems[0]}")
