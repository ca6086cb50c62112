"""Who uses a resource, against what is usual on this host."""

from __future__ import annotations

from vedette.api import Suspect, Usage
from vedette.suspects import FIRST_SCANS, MAX_BASELINES, Usages, wanted


def usage(name: str, share: float, resource: str = "cpu", pid: str = "1") -> Usage:
    return Usage(resource, "process", name, pid, share, f"{share:.0%} of 2 cores")


def names(found: list[Suspect]) -> list[str]:
    return [one.name for one in found]


def scanned(*usages: Usage, times: int = 60) -> Usages:
    known = Usages()
    for _ in range(times):
        known.observe(usages, quiet=True)
    return known


def test_who_grew_is_a_suspect_and_who_always_used_much_is_not() -> None:
    known = scanned(usage("database", 0.5), usage("web", 0.1))
    known.observe([usage("database", 0.5), usage("web", 0.3), usage("hog", 0.2)], quiet=False)
    found = known.grown("cpu")
    assert names(found) == ["web", "hog"] or names(found) == ["hog", "web"]
    reasons = {one.name: one.reason for one in found}
    assert reasons["hog"] == "its share of the CPU grew from 0 % to 20 %"
    assert reasons["web"] == "its share of the CPU grew from 10 % to 30 %"


def test_what_runs_when_the_agent_starts_is_usual() -> None:
    known = scanned(usage("database", 0.5), times=FIRST_SCANS)
    assert known.grown("cpu") == []
    known.observe([usage("database", 0.5), usage("late", 0.2)], quiet=True)
    assert names(known.grown("cpu")) == ["late"]


def test_processes_of_one_name_count_together() -> None:
    known = scanned(usage("database", 0.1))
    known.observe([usage("cc", 0.3, pid="7"), usage("cc", 0.4, pid="8")], quiet=False)
    (one,) = known.grown("cpu")
    assert (one.id, one.share) == ("8", 0.7)
    assert one.text == "70 % of this host's cpu with 2 processes"


def test_work_in_the_kernel_is_that_of_who_is_not_to_blame_for_something_else() -> None:
    known = scanned(usage("database", 0.1))
    both = [usage("writer", 0.05, "system"), usage("sender", 0.04, "system")]
    known.observe(both, quiet=False)
    assert names(known.grown("network", busy={"writer"})) == ["sender"]
    # Unless it is the only one: two things can be wrong for one program.
    known.observe(both[:1], quiet=False)
    assert names(known.grown("network", busy={"writer"})) == ["writer"]


def test_a_scan_during_an_incident_teaches_nothing() -> None:
    known = scanned(usage("database", 0.1))
    for _ in range(100):
        known.observe([usage("hog", 0.9)], quiet=False)
    assert names(known.grown("cpu")) == ["hog"]


def test_who_was_told_and_has_ended_is_still_named() -> None:
    known = scanned(usage("database", 0.1))
    told = Suspect("process", "hog", "9", 0.9, "90 % of 2 cores")
    known.observe([usage("database", 0.1)], quiet=False)
    assert names(known.grown("cpu", [told])) == ["hog"]


def test_use_of_another_resource_explains_only_when_it_grew_much() -> None:
    known = scanned(usage("database", 0.1))
    known.observe([usage("small", 0.04)], quiet=False)
    assert names(known.grown("cpu")) == ["small"]
    assert known.grown("network") == []
    known.observe([usage("flood", 0.4)], quiet=False)
    assert names(known.grown("network")) == ["flood"]
    assert known.grown("network", busy={"flood"}) == []
    assert names(known.grown("cpu", busy={"flood"})) == ["flood"]
    assert known.grown("clock") == []


def test_one_program_leads_or_is_the_only_one() -> None:
    known = scanned(usage("database", 0.1))
    known.observe([usage("hog", 0.4), usage("other", 0.06)], quiet=False)
    assert (known.leader("cpu"), known.only("cpu")) == ("hog", "")
    known.observe([usage("hog", 0.4)], quiet=False)
    assert (known.leader("cpu"), known.only("cpu"), known.leader("disk")) == ("hog", "hog", "")


def test_what_is_usual_is_bounded() -> None:
    known = Usages()
    for number in range(5_000):
        known.observe([usage(f"program-{number}", 0.5)], quiet=True)
    assert len(known._usual) <= MAX_BASELINES


def test_the_resources_that_explain_are_asked_for() -> None:
    assert wanted(["paging", "disk"]) == {"memory", "disk", "cpu"}
    assert wanted(["clock"]) == set()
    assert wanted(["shop"]) == {"cpu"}


def test_a_series_of_one_use_in_particular_is_explained_by_that_use() -> None:
    known = scanned(usage("database", 0.4, "files"), usage("database", 0.2))
    known.observe([usage("leak", 0.7, "files"), usage("hog", 0.9)], quiet=False)
    assert names(known.grown("kernel", metric="vedette.kernel.file_handles.usage")) == ["leak"]
    assert names(known.grown("network", metric="vedette.tcp.established")) == ["leak"]
    assert names(known.grown("network", metric="system.network.io")) == ["hog"]
    assert wanted(["kernel", "disk"], ["x.file_handles.usage", "y"]) == {"files", "cpu", "disk"}


def test_who_alone_is_stopped_is_named_though_its_share_of_all_else_is_none() -> None:
    known = scanned(usage("database", 0.2))
    known.observe([usage("job", 1.0, "stopped")], quiet=False)
    (one,) = known.grown("process", metric="vedette.process.stopped")
    assert one.name == "job"
    assert one.reason == "its share of all stopped processes grew from 0 % to 100 %"


def test_who_made_files_grow_at_another_time_is_not_named_again() -> None:
    known = scanned(usage("database", 0.4, "files"))
    known.observe([usage("backup", 0.9, "space"), usage("database", 0.4, "files")], quiet=False)
    assert names(known.grown("filesystem")) == ["backup"]
    known.observe([usage("database", 0.4, "files")], quiet=False)
    assert known.grown("filesystem") == []


def test_an_agent_that_begins_amid_an_incident_knows_what_is_usual_but_for_who_was_told() -> None:
    known = Usages()
    for _ in range(FIRST_SCANS):
        known.observe([usage("database", 0.4), usage("hog", 0.5)], quiet=False, blamed={"hog"})
    for _ in range(FIRST_SCANS):
        known.observe([usage("database", 0.4), usage("late", 0.3)], quiet=True)
    assert names(known.grown("cpu")) == ["late"]
