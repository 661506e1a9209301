"""The import from Edubadges as it is recorded: once, whole, with findings, and nothing private in the log."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path
from typing import Any

import pytest

from registry.domain.errors import InstitutionNotAdmitted, ModuleNotFound, ModuleOfAnother
from registry.domain.events import BadgeAwarded, BadgeRevoked, Fact, ModuleRegistered
from registry.domain.institution import Particulars
from registry.edubadges import importer
from registry.edubadges.bulk import read_bulk
from registry.edubadges.files import read_documents
from registry.edubadges.importer import ReportLine, import_bulk, import_hosted
from registry.event_store.vault import Vault
from registry.recording.commands import AdmitInstitution
from registry.recording.registry import Registry
from tests.hosted import (
    BADGE,
    BY_EMAIL,
    BY_EPPN,
    EDU_ID,
    assertion,
    assertion_url,
    badge_class,
    expanded,
    expanded_class,
    extension,
    folder,
    hashed,
    issuer,
    revoked,
)
from tests.postgres.commands import ORIGIN, REFERENCE, award, registry_on
from tests.postgres.log import connection, query, whole_log
from tests.support import KEYS, Service

DAY = dt.date(2024, 6, 1)
MODULE = KEYS.made_id("module", "27UM", REFERENCE)


def hosted(
    registry: Registry, path: Path, institution: str | None = None, *, all_types: bool = False
) -> dict[str, ReportLine]:
    items = read_documents(path, registry.today())
    lines = list(import_hosted(registry, items, institution, all_types=all_types))
    assert len(lines) == len(items)
    return {line.place.removesuffix(".json"): line for line in lines}


def outcomes(lines: dict[str, ReportLine]) -> dict[str, str]:
    return {place: line.outcome for place, line in lines.items()}


def recorded(url: str, kind: type[Fact]) -> list[Any]:
    return [each.event().data for each in whole_log(url) if each.type == kind.TYPE]


def private(url: str, name: str) -> Any:
    badge_id = KEYS.made_id("badge", "27UM", assertion_url(name))
    with connection(url) as opened, opened.cursor() as cursor:
        return Vault(KEYS).read_awards(cursor, [badge_id])[badge_id]


def test_an_assertion_is_recorded_with_its_module_and_known_when_it_comes_again(
    url: str, registry: Registry, tmp_path: Path
) -> None:
    folder(tmp_path, a=expanded("a"), b=expanded("b"), plain=assertion("a"))
    lines = hosted(registry, tmp_path)
    assert outcomes(lines) == {"a": "imported", "b": "imported", "plain": "known"}
    (module,) = [each for each in recorded(url, ModuleRegistered) if each.reference == BADGE]
    assert (module.channel, module.client, module.findings) == ("import", "cli", ("nlqf-from-eqf",))
    one, other = recorded(url, BadgeAwarded)
    assert (one.channel, one.awarded_on, one.module_name) == (
        "import",
        dt.date(2024, 6, 2),
        module.content.name,
    )
    assert one.findings == ("nlqf-from-eqf", "recipient-hashed")
    assert lines["a"].reason == lines["plain"].reason == "nlqf-from-eqf, recipient-hashed"
    # One hash, but who it is of nobody can know: each assertion has a learner of its own.
    assert one.learner_id != other.learner_id
    assert query(url, "SELECT count(*) FROM alias") == [(0,)]
    length = len(whole_log(url))
    assert set(outcomes(hosted(registry, tmp_path)).values()) == {"known"}
    assert len(whole_log(url)) == length


def test_what_is_private_lies_in_the_vault_and_in_no_event_or_line(
    url: str, registry: Registry, tmp_path: Path
) -> None:
    secret = {"hashed": False, "type": "email", "identity": "els.verzonnen@example.org"}
    evidence = [{"id": "https://example.org/geheim", "narrative": "geheim verhaal"}]
    stated = expanded(
        "a", recipient=secret, evidence=evidence, of=expanded_class(grade_achieved="uitmuntend")
    )
    folder(tmp_path, a=stated, b=expanded("b", recipient=hashed()))
    lines = hosted(registry, tmp_path)
    logged = b"".join(each.data for each in whole_log(url)).decode() + str(lines)
    identity = str(hashed()["identity"])
    for word in ("verzonnen@", "geheim", "uitmuntend", identity, assertion_url("a")):
        assert word not in logged
    parts = private(url, "a")
    assert parts.recipient.email == "els.verzonnen@example.org"
    assert parts.recipient.edubadges == "email:els.verzonnen@example.org"
    assert (parts.reference, parts.grade) == (assertion_url("a"), "uitmuntend")
    assert parts.evidence[0].narrative == "geheim verhaal"
    assert identity in private(url, "b").recipient.edubadges


def test_an_edu_id_in_the_clear_finds_the_learner_that_the_api_knows(
    url: str, registry: Registry, tmp_path: Path
) -> None:
    known = award(registry, "22OJ", "1", EDU_ID)
    named = {"hashed": False, "type": "id", "identity": EDU_ID.upper()}
    folder(tmp_path, a=expanded("a", recipient=named), b=expanded("b", recipient=named))
    hosted(registry, tmp_path)
    assert {each.learner_id for each in recorded(url, BadgeAwarded)} == {known.learner_id}


def test_a_plain_assertion_needs_its_badge_class_beside_it_and_never_takes_it_from_the_registry(
    url: str, registry: Registry, tmp_path: Path
) -> None:
    alone = folder(tmp_path / "1", a=assertion("a"))
    assert "badge class is not among" in hosted(registry, alone)["a"].reason
    folder(tmp_path / "2", a=assertion("a"), of=badge_class(), by=issuer())
    lines = hosted(registry, tmp_path / "2")
    assert outcomes(lines) == {"a": "imported", "of": "refused", "by": "refused"}
    assert {"no-badge-type", "module-not-stated"} <= set(lines["a"].reason.split(", "))
    assert outcomes(hosted(registry, folder(tmp_path / "3", b=assertion("b")))) == {"b": "refused"}
    # What is recorded is known, with or without its badge class.
    assert outcomes(hosted(registry, alone)) == {"a": "known"}


def test_the_documents_of_a_badge_class_decide_nothing_where_they_differ(
    url: str, registry: Registry, tmp_path: Path
) -> None:
    one, other = badge_class(issuer=issuer()), badge_class(issuer=issuer(), name="Anders")
    both = folder(tmp_path / "both", a=assertion("a"), one=one, other=other)
    assert "in several states" in hosted(registry, both)["a"].reason
    shown = other | {"image": "https://example.org/other.png"}
    same = folder(tmp_path / "same", a=assertion("a"), other=other, shown=shown)
    assert outcomes(hosted(registry, same))["a"] == "imported"
    assert [each.module_name for each in recorded(url, BadgeAwarded)] == ["Anders"]
    assert outcomes(hosted(registry, both))["a"] == "known"


def test_a_fuller_answer_later_is_a_version_of_its_own(url: str, registry: Registry, tmp_path: Path) -> None:
    hosted(registry, folder(tmp_path / "1", a=assertion("a"), of=badge_class(), by=issuer()))
    hosted(registry, folder(tmp_path / "2", a=expanded("a"), b=expanded("b")))
    hosted(registry, folder(tmp_path / "3", c=assertion("c"), of=badge_class(), by=issuer()))
    assert [each.module_version for each in recorded(url, BadgeAwarded)] == [1, 2, 1]


def test_an_answer_that_comes_again_registers_nothing_whatever_it_states_now(
    url: str, registry: Registry, tmp_path: Path
) -> None:
    hosted(registry, folder(tmp_path / "1", a=expanded("a")))
    before = len(whole_log(url))
    changed = expanded("a", expanded_class("22OJ", name="Anders"))
    assert outcomes(hosted(registry, folder(tmp_path / "2", a=changed))) == {"a": "known"}
    assert outcomes(hosted(registry, folder(tmp_path / "3", a=assertion("a"), of=badge_class()))) == {
        "a": "known",
        "of": "refused",
    }
    assert len(whole_log(url)) == before


def test_the_institution_is_the_sources_where_it_is_admitted_else_the_one_named(
    url: str, registry: Registry, tmp_path: Path
) -> None:
    folder(
        tmp_path,
        a=expanded("a", of=expanded_class("0000")),
        b=expanded("b", of=expanded_class("22OJ", id=f"{BADGE}b")),
    )
    lines = hosted(registry, tmp_path)
    assert outcomes(lines) == {"a": "refused", "b": "imported"}
    assert "--institution" in lines["a"].reason
    lines = hosted(registry, tmp_path, "27UM")
    assert outcomes(lines) == {"a": "imported", "b": "known"}
    assert "institution-named" in lines["a"].reason
    assert [each.institution for each in recorded(url, BadgeAwarded)] == ["22OJ", "27UM"]
    with pytest.raises(InstitutionNotAdmitted):
        hosted(registry, tmp_path, "30XX")


def test_other_types_are_refused_or_marked(url: str, registry: Registry, tmp_path: Path) -> None:
    regular = expanded("a", of=expanded_class(typeBadgeClass="regular"))
    extra = expanded("b", of=expanded_class(id=f"{BADGE}b", typeBadgeClass="extra_curricular"))
    folder(tmp_path, a=regular, b=extra, c=expanded("c", of=expanded_class(id=f"{BADGE}c")))
    lines = hosted(registry, tmp_path)
    assert outcomes(lines) == {"a": "refused", "b": "refused", "c": "imported"}
    assert len(recorded(url, ModuleRegistered)) == 3  # of them two by the API
    lines = hosted(registry, tmp_path, all_types=True)
    assert outcomes(lines) == {"a": "imported", "b": "imported", "c": "known"}
    assert [each.badge_type for each in recorded(url, BadgeAwarded)] == [None, "regular", "extra-curricular"]
    assert lines["b"].reason.startswith("extra-curricular; ")


def test_rules_of_today_are_noted_for_the_past(url: str, registry: Registry, tmp_path: Path) -> None:
    early = expanded("a", issuedOn="2017-09-01T10:00:00+02:00", of=expanded_class(**extension("ECTS", 0.5)))
    lines = hosted(registry, folder(tmp_path, a=early))
    (fact,) = recorded(url, BadgeAwarded)
    assert {"study-load-outside-policy", "before-2018", "outside-admission"} <= set(fact.findings)
    assert lines["a"].reason == ", ".join(fact.findings)


def test_a_revoked_answer_touches_a_known_badge_alone_and_says_that_it_was_seen(
    url: str, registry: Registry, tmp_path: Path
) -> None:
    answers = folder(tmp_path / "later", a=revoked("a"), b=revoked("b", "fraud"), unknown=revoked("c"))
    assert set(outcomes(hosted(registry, answers)).values()) == {"refused"}
    hosted(registry, folder(tmp_path / "first", a=expanded("a"), b=expanded("b")))
    lines = hosted(registry, answers)
    assert outcomes(lines) == {"a": "imported", "b": "imported", "unknown": "refused"}
    assert "Verzonnen" not in str(lines)
    one, other = recorded(url, BadgeRevoked)
    assert (one.channel, one.observed, one.effective_on, one.reason) == ("import", True, None, "other")
    assert one.note_commitment is not None
    assert (other.reason, other.note_commitment) == ("fraud", None)
    assert outcomes(hosted(registry, answers)) == {"a": "known", "b": "known", "unknown": "refused"}
    # And what was valid when it was fetched long ago revives nothing.
    assert outcomes(hosted(registry, tmp_path / "first")) == {"a": "known", "b": "known"}


def test_a_reference_of_two_institutions_is_revoked_at_the_one_that_is_named(
    url: str, registry: Registry, tmp_path: Path
) -> None:
    for brin in ("27UM", "22OJ"):
        award(registry, brin, assertion_url("a"), EDU_ID)
    answers = folder(tmp_path, a=revoked("a"))
    assert "several" in hosted(registry, answers)["a"].reason
    hosted(registry, answers, "22OJ")
    assert [each.institution for each in recorded(url, BadgeRevoked)] == ["22OJ"]


def test_another_recipient_at_the_same_address_is_refused_and_another_grade_is_not(
    registry: Registry, tmp_path: Path
) -> None:
    hosted(registry, folder(tmp_path / "1", a=expanded("a")))
    shown = expanded("a", of=expanded_class(grade_achieved="9"))
    assert outcomes(hosted(registry, folder(tmp_path / "2", a=shown))) == {"a": "known"}
    other = expanded("a", recipient=hashed("someone-else"))
    assert outcomes(hosted(registry, folder(tmp_path / "3", a=other))) == {"a": "refused"}


def test_an_import_that_is_broken_off_leaves_whole_awards_and_is_completed(
    url: str, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "PAGE", 4)
    path = folder(tmp_path, **{f"a{number:02}": expanded(f"a{number}") for number in range(18)})
    items = read_documents(path, registry.today())
    begun = list(itertools.islice(import_hosted(registry, items, None, all_types=False), 9))
    assert {line.outcome for line in begun} == {"imported"}
    assert len(recorded(url, BadgeAwarded)) == 12
    assert query(url, "SELECT count(*) FROM vault") == [(12,)]
    with registry_on(url) as another:
        counts = list(outcomes(hosted(another, path)).values())
    assert (counts.count("known"), counts.count("imported")) == (12, 6)
    assert len(recorded(url, BadgeAwarded)) == 18


def test_a_module_that_is_too_large_is_refused_with_its_assertions(
    registry: Registry, tmp_path: Path
) -> None:
    large = expanded_class(description="é" * 40_000)
    lines = hosted(registry, folder(tmp_path, a=expanded("a", large), b=expanded("b", large)))
    assert all("bytes" in line.reason for line in lines.values())


def bulk(registry: Registry, path: Path, text: str, **more: Any) -> dict[str, ReportLine]:
    file = path / "bulk.csv"
    file.write_text(text)
    rows = read_bulk(file, MODULE, DAY)
    lines = import_bulk(registry, rows, more.get("module", MODULE), more.get("institution"))
    return {line.place.rpartition(":")[2]: line for line in lines}


def test_a_bulk_csv_by_eppn_finds_its_learners_as_the_api_does(
    url: str, registry: Registry, tmp_path: Path
) -> None:
    again = BY_EPPN + "a.verzonnen@hogeschool.example;averzonnen@hogeschool.example;;;;;9\n"
    lines = bulk(registry, tmp_path, again)
    expected = {"2": "imported", "3": "imported", "5": "refused", "6": "refused", "7": "refused"}
    assert outcomes(lines) == expected
    assert outcomes(bulk(registry, tmp_path, again)) == expected | {"2": "known", "3": "known"}
    aliases = {KEYS.alias_key("eppn", "27UM", f"{name}verzonnen@hogeschool.example") for name in "ab"}
    assert {bytes(key) for (key,) in query(url, "SELECT key FROM alias")} == aliases
    (first, _) = recorded(url, BadgeAwarded)
    assert (first.module_id, first.awarded_on, first.channel) == (MODULE, DAY, "import")
    assert "verzonnen" not in str(lines).lower()


def test_a_bulk_csv_by_e_mail_address_makes_a_learner_per_row(
    url: str, registry: Registry, tmp_path: Path
) -> None:
    assert outcomes(bulk(registry, tmp_path, BY_EMAIL)) == {"2": "imported", "3": "refused"}
    assert outcomes(bulk(registry, tmp_path, BY_EMAIL)) == {"2": "known", "3": "refused"}
    assert query(url, "SELECT count(*) FROM alias") == [(0,)]
    (fact,) = recorded(url, BadgeAwarded)
    assert fact.findings == ("recipient-email",)


def test_a_bulk_csv_is_of_a_module_of_the_institution(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFound):
        bulk(registry, tmp_path, BY_EMAIL, module="11111111-1111-8111-8111-111111111111")
    with pytest.raises(ModuleOfAnother):
        bulk(registry, tmp_path, BY_EMAIL, institution="22OJ")
    assert outcomes(bulk(registry, tmp_path, BY_EMAIL, institution="27UM"))["2"] == "imported"


def test_an_award_stays_with_its_institution_whoever_is_admitted_later_and_another_goes_to_the_stated_one(
    url: str, registry: Registry, tmp_path: Path
) -> None:
    folder(tmp_path, a=expanded("a1", of=expanded_class("30TX")))
    assert outcomes(hosted(registry, tmp_path, "27UM")) == {"a": "imported"}
    particulars = Particulars("Hogeschool 30TX", "hbo", dt.date(2022, 2, 1))
    registry.record(AdmitInstitution("30TX", particulars, ORIGIN))
    for named in ("27UM", "22OJ", None):
        assert outcomes(hosted(registry, tmp_path, named)) == {"a": "known"}
    folder(tmp_path, b=expanded("b1", of=expanded_class("30TX")))
    assert outcomes(hosted(registry, tmp_path)) == {"a": "known", "b": "imported"}
    assert [award.institution for award in recorded(url, BadgeAwarded)] == ["27UM", "30TX"]


def test_another_last_day_at_the_same_address_is_refused(registry: Registry, tmp_path: Path) -> None:
    folder(tmp_path, a=expanded("a1", expires="2025-12-31T00:00:00Z"))
    assert outcomes(hosted(registry, tmp_path)) == {"a": "imported"}
    folder(tmp_path, a=expanded("a1", expires="2028-12-31T00:00:00Z"))
    assert outcomes(hosted(registry, tmp_path)) == {"a": "refused"}


def test_a_badge_type_that_is_not_known_is_refused(registry: Registry, tmp_path: Path) -> None:
    folder(tmp_path, a=expanded("a1", of=expanded_class(typeBadgeClass="standard")))
    assert outcomes(hosted(registry, tmp_path, all_types=True)) == {"a": "refused"}


def test_the_api_answers_an_imported_badge_and_module_with_nulls(service: Service, tmp_path: Path) -> None:
    badge = f"{BADGE}?{'x' * 20_000}"
    stated = {"type": "BadgeClass", "id": badge, "name": "Wondzorg", "issuer": issuer()}
    long = expanded("a", stated, id=assertion_url("a" * 5_000))
    with registry_on(service.url) as registry:
        registry.record(
            AdmitInstitution("27UM", Particulars("De Haagse", "hbo", dt.date(2022, 2, 1)), ORIGIN)
        )
        assert outcomes(hosted(registry, folder(tmp_path, a=long))) == {"a": "imported"}
    service.settle()
    ask = service.institution()
    (listed,) = ask("GET", "/v1/institutions/27UM/badges").json()["items"]
    assert (listed["module"]["studyLoad"], listed["module"]["level"]) == (None, None)
    assert listed["reference"] == long["id"]
    found = ask("GET", f"/v1/badges/{listed['id']}").json()
    assert found["module"]["reference"] == badge
    assert found["module"]["learningOutcomes"] is None
    assert set(found["learner"]) == {"edubadges"}
    (module,) = service.client.get("/v1/modules").json()["items"]
    assert {name for name, value in module.items() if value is None} == {
        "description",
        "studyLoad",
        "level",
        "learningOutcomes",
        "language",
        "participation",
        "assessment",
        "qualityAssurance",
    }
    assert service.client.get(f"/v1/modules/{module['id']}/versions/1").status_code == 200
    assert service.client.get("/v1/modules", params={"reference": badge[:1_900]}).json()["items"] == []
    assert service.as_("auditor")("GET", f"/v1/badges/{listed['id']}/history").status_code == 200
    # Elsewhere the badge is none of anyone's business, but its status is.
    assert service.institution("22OJ")("GET", f"/v1/badges/{listed['id']}").status_code == 404
    assert service.client.get(f"/v1/badges/{listed['id']}/status").json()["status"] == "active"
