"""What a running Edubadges answers, read where it lies beside the project: the project carries none of it."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from pathlib import Path

from registry.domain.events import BadgeAwarded, ModuleRegistered
from registry.edubadges.files import read_documents
from registry.edubadges.importer import ReportLine, import_hosted
from registry.recording.registry import Registry
from tests.postgres.commands import admitted, registry_on
from tests.postgres.log import whole_log
from tests.unit.test_edubadges import meaning

ANSWERS = Path(__file__).resolve().parents[2].parent / "shared" / "standards" / "edubadges"
BRIN = "27UM"
# The answers are of November 2026.
NOW = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)


def report(registry: Registry, path: Path, *, all_types: bool) -> list[ReportLine]:
    items = read_documents(path, registry.today())
    return list(import_hosted(registry, items, BRIN, all_types=all_types))


def counts(lines: list[ReportLine]) -> Counter[str]:
    return Counter(line.outcome for line in lines)


def files(folder: str) -> int:
    return len(list((ANSWERS / folder).iterdir()))


def test_the_assertions_are_recorded_once_though_each_is_there_twice(url: str) -> None:
    half = files("assertions") // 2
    with registry_on(url, lambda: NOW) as registry:
        admitted(registry, BRIN)
        refused = report(registry, ANSWERS / "assertions", all_types=False)
        assert counts(refused) == {"refused": 2 * half}
        assert [line for line in refused if "--all-types" not in line.reason] == []
        lines = report(registry, ANSWERS / "assertions", all_types=True)
        assert counts(lines) == {"imported": half, "known": half}
        assert counts(report(registry, ANSWERS / "assertions", all_types=True)) == {"known": 2 * half}
    facts = [each.event().data for each in whole_log(url)]
    awards = [fact for fact in facts if isinstance(fact, BadgeAwarded)]
    assert {fact.badge_type for fact in awards} == {"regular"}
    assert len({fact.learner_id for fact in awards}) == half
    modules = [fact for fact in facts if isinstance(fact, ModuleRegistered) and fact.channel == "import"]
    classes = {json.loads(path.read_bytes())["id"] for path in (ANSWERS / "badgeclasses").iterdir()}
    assert {fact.reference for fact in modules} < classes
    bare = [fact for fact in awards if fact.study_load is None]
    assert bare
    for fact in bare:
        assert {"no-study-load", "no-level", "no-outcomes"} <= set(fact.findings or ())
    for line in lines:
        assert "institution-named" in line.reason
        assert "recipient-hashed" in line.reason


def test_of_the_whole_folder_each_file_is_in_the_report_with_a_reason(url: str) -> None:
    with registry_on(url, lambda: NOW) as registry:
        admitted(registry, BRIN)
        lines = report(registry, ANSWERS, all_types=True)
        again = report(registry, ANSWERS, all_types=True)
    half = files("assertions") // 2
    there = [path for path in ANSWERS.rglob("*") if path.is_file()]
    assert len(lines) == len(there)
    assert all(line.reason for line in lines)
    by_place = {line.place: line for line in lines}
    production = by_place["production/01-ob-2-0-assertion.json"]
    assert production.outcome == "imported"
    assert {"no-badge-type", "no-study-load", "no-level"} <= set(production.reason.split(", "))
    assert "unknown here" in by_place["revoked-response-200.json"].reason
    assert counts(lines) == {
        "imported": half + 1,
        "known": half,
        "refused": len(there) - 2 * half - 1,
    }
    assert counts(again) == {"known": 2 * half + 1, "refused": counts(lines)["refused"]}


def test_each_member_that_a_running_edubadges_writes_is_read_or_left_out_on_purpose() -> None:
    read = [meaning(json.loads(file.read_bytes())) for file in ANSWERS.glob("assertions/*-expanded-*.json")]
    findings = [found[1] for found in read if found is not None]
    assert findings
    assert not any("members-not-taken" in each for each in findings)
