"""What is read of Edubadges' hosted answers, and what is refused with a reason."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registry.domain import module as modules
from registry.domain.events import Level, ModuleContent, QualityAssurance, StudyLoad
from registry.domain.private_parts import Evidence, Recipient
from registry.edubadges.assertions import read_assertion
from registry.edubadges.badge_classes import read_badge_class
from registry.edubadges.files import _Documents, _item, read_documents
from registry.edubadges.items import AwardItem, Item, RefusedItem, RevokedItem, StatedClass, Unreadable
from registry.edubadges.members import LEFT_OUT, READ, Kind
from tests.hosted import (
    BADGE,
    EDU_ID,
    ISSUER,
    SALT,
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

TODAY = dt.date(2026, 11, 22)


def read(stated: dict[str, Any]) -> AwardItem:
    item = read_assertion("a.json", stated, TODAY)
    assert isinstance(item, AwardItem)
    return item


def module(**changes: Any) -> tuple[ModuleContent, tuple[str, ...]]:
    found = read_badge_class(BADGE, expanded_class(**changes))
    return found.content, found.findings


def refused(items: list[Item]) -> dict[str, str]:
    return {item.place: item.reason for item in items if isinstance(item, RefusedItem)}


def test_a_plain_assertion_names_its_badge_class_and_a_hashed_recipient() -> None:
    digest = hashed()["identity"]
    assert read(assertion()) == AwardItem(
        "a.json",
        assertion_url("a1"),
        Recipient(edubadges=f"id:{digest}${SALT}"),
        dt.date(2024, 6, 2),  # in Amsterdam
        badge=BADGE,
        findings=("recipient-hashed",),
    )


def test_an_expanded_assertion_has_the_grade_with_its_badge_class() -> None:
    assert read(expanded(of=expanded_class(grade_achieved="8,5"))).grade == "8,5"
    assert read(assertion(grade_achieved=8)).grade == "8"
    assert read(expanded()).badge == BADGE


@pytest.mark.parametrize(
    ("stated", "recipient", "findings"),
    [
        ({"hashed": False, "type": "id", "identity": EDU_ID}, Recipient(edu_id=EDU_ID), ()),
        (
            {"hashed": False, "type": "email", "identity": "j@example.org"},
            Recipient(edubadges="email:j@example.org", email="j@example.org"),
            ("recipient-email",),
        ),
        (
            {"hashed": True, "type": "email", "identity": "sha256$00"},
            Recipient(edubadges="email:sha256$00"),
            ("recipient-hashed",),
        ),
    ],
)
def test_a_recipient_is_an_edu_id_an_e_mail_address_or_a_hash(
    stated: dict[str, Any], recipient: Recipient, findings: tuple[str, ...]
) -> None:
    award = read(assertion(recipient=stated))
    assert (award.recipient, award.findings) == (recipient, findings)


def test_evidence_and_narrative_are_taken_but_no_address_that_is_none_of_the_web() -> None:
    award = read(
        assertion(
            narrative=" Zij leerde het\r\nsnel\t",
            evidence=[
                {"type": "Evidence", "id": "https://example.org/e1", "name": "Portfolio"},
                {"id": "javascript:alert(1)", "narrative": "x"},
                "https://example.org/e2",
            ],
        )
    )
    assert award.evidence == (
        Evidence(narrative="Zij leerde het\nsnel"),
        Evidence(url="https://example.org/e1", name="Portfolio"),
        Evidence(url="https://example.org/e2"),
    )
    assert "evidence-not-taken" in award.findings


@pytest.mark.parametrize(
    ("expires", "last"),
    [
        ("2025-06-01T00:00:00+02:00", dt.date(2025, 5, 31)),
        ("2025-06-01T12:00:00+02:00", dt.date(2025, 6, 1)),
        ("2025-06-01", dt.date(2025, 6, 1)),
    ],
)
def test_an_expiry_is_the_last_day_in_amsterdam_on_which_it_is_valid(expires: str, last: dt.date) -> None:
    assert read(assertion(expires=expires)).valid_until == last


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": "urn:uuid:1"}, "id must be"),
        ({"id": "https://example.org/a\u202eb"}, "id must be"),
        ({"badge": None}, "must name a badge class"),
        ({"badge": {"name": "x"}}, "must name a badge class"),
        ({"issuedOn": "gisteren"}, "issuedOn must be"),
        ({"issuedOn": 1_700_000_000}, "issuedOn must be"),
        ({"issuedOn": "2024-02-30"}, "issuedOn must be"),
        ({"issuedOn": "0001-01-01T00:00:00+14:00"}, "issuedOn must be"),
        ({"issuedOn": "2024-06-01T10:00:00"}, "offset"),
        ({"issuedOn": "2026-11-23"}, "future"),
        ({"expires": "2024-01-01"}, "must not be before"),
        ({"expires": "9999-12-31T23:59:59-12:00"}, "expires must be"),
        ({"recipient": None}, "recipient must have"),
        ({"recipient": {**hashed(), "salt": 5}}, "salt"),
        ({"recipient": {**hashed(), "salt": "5a\x17"}}, "salt"),
        ({"revoked": "false"}, "revoked must be"),
        ({"narrative": "Geheim\x00"}, "must not contain control"),
        ({"narrative": "\u200b"}, "visible character"),
        ({"evidence": [{"name": "two\nlines"}]}, "must not contain control"),
        ({"evidence": ["https://example.org/e"] * 101}, "at most 100 pieces"),
        ({"recipient": {"hashed": False, "type": "id", "identity": "123456789"}}, "nine digits"),
    ],
)
def test_what_is_wrong_with_an_assertion_is_said_without_its_contents(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Unreadable, match=reason) as caught:
        read_assertion("a.json", assertion(**changes), TODAY)
    assert "123456789" not in str(caught.value)
    assert "Geheim" not in str(caught.value)


def test_a_revoked_answer_is_its_address_and_a_reason() -> None:
    assert read_assertion("a.json", revoked(reason=" fraud "), TODAY) == RevokedItem(
        "a.json", assertion_url("a1"), "fraud"
    )


def test_an_address_with_revoked_alone_is_a_revoked_assertion(tmp_path: Path) -> None:
    path = folder(tmp_path, a={"id": assertion_url("a1"), "revoked": True})
    assert read_documents(path, TODAY) == [RevokedItem("a.json", assertion_url("a1"), "")]


def test_nothing_outside_the_folder_is_read_through_a_link(tmp_path: Path) -> None:
    outside = folder(tmp_path / "outside", a=expanded("a1"), b=badge_class())
    path = folder(tmp_path / "inside", c=expanded("c1"))
    for name in ("a", "b"):
        (path / f"{name}.json").symlink_to(outside / f"{name}.json")
    (path / "whole").symlink_to(outside)
    (path / "device").symlink_to("/dev/zero")
    (path / "same.json").symlink_to(path / "c.json")
    (path / "loop.json").symlink_to(path / "loop.json")
    items = read_documents(path, TODAY)
    reasons = refused(items)
    assert reasons.pop("loop.json") == "is not a file"
    assert reasons.keys() == {"a.json", "b.json", "whole", "device"}
    assert all("out of the folder" in reason for reason in reasons.values())
    assert len(items) == 7


def test_an_expanded_badge_class_is_a_whole_module() -> None:
    content, findings = module()
    assert content == ModuleContent(
        name="Wondzorg in de wijk",
        description="Complexe wonden\nverzorgen in de wijk.",
        study_load=StudyLoad(ects=3.5),
        level=Level(nlqf="6", eqf="6"),
        learning_outcomes=("Kiest een passende wondbehandeling",),
        language="nl-NL",
        participation="onsite",
        assessment=("portfolio", "oral-exam"),
        quality_assurance=QualityAssurance(
            name="NVAO", url="https://www.nvao.net", description="Accreditatie"
        ),
        supervision="onsite-with-identity",
        stackable=True,
        faculty="Gezondheid",
        programme="34560, 34570",
    )
    assert findings == ("nlqf-from-eqf",)


def test_what_a_badge_class_does_not_say_is_null() -> None:
    stated = {"type": "BadgeClass", "id": BADGE, "name": "Wondzorg", "criteria": {}}
    found = read_badge_class(BADGE, stated)
    assert found.content == ModuleContent(
        name="Wondzorg",
        description=None,
        study_load=None,
        level=None,
        learning_outcomes=None,
        language=None,
        participation=None,
        assessment=None,
        quality_assurance=None,
    )
    assert found.findings == ("no-badge-type",)


@pytest.mark.parametrize(
    ("changes", "member", "value", "finding"),
    [
        (extension("ECTS", 1.25), "study_load", None, "study-load-not-taken"),
        (extension("ECTS", "5"), "study_load", None, "study-load-not-taken"),
        (extension("ECTS", True), "study_load", None, "study-load-not-taken"),
        (extension("ECTS", 5.0), "study_load", StudyLoad(ects=5), None),
        (extension("StudyLoad", 240), "study_load", StudyLoad(ects=3.5), "two-study-loads"),
        (extension("TimeInvestment", 84), "study_load", StudyLoad(ects=3.5), "time-investment-not-taken"),
        (extension("EQF", 9), "level", None, "level-not-taken"),
        (extension("EQF", 4.0), "level", Level(nlqf="4", eqf="4"), "nlqf-from-eqf"),
        (extension("Language", "en_EN"), "language", "en", None),
        (extension("Language", "Nederlands!"), "language", None, "language-not-taken"),
        ({"participation": "work_experience"}, "participation", "work-experience", None),
        ({"participation": "elders"}, "participation", None, "participation-not-taken"),
        ({"assessmentType": "testing,portfolio"}, "assessment", ("portfolio",), "assessment-not-taken"),
        ({"assessmentIdVerified": False}, "supervision", "supervised", None),
        ({"participation": "blended"}, "supervision", None, "supervision-not-taken"),
        ({"qualityAssuranceUrl": "nvao"}, "quality_assurance", None, "quality-assurance-not-taken"),
        ({"name": "x" * 256}, "name", "x" * 256, "name-long"),
        ({"description": "x" * 4_001}, "description", "x" * 4_001, "description-long"),
        (extension("LearningOutcome", "x" * 501), "learning_outcomes", ("x" * 501,), "outcome-long"),
    ],
)
def test_a_member_is_taken_as_it_is_or_not_at_all_and_that_is_noted(
    changes: dict[str, Any], member: str, value: object, finding: str | None
) -> None:
    content, findings = module(**changes)
    assert getattr(content, member) == value
    assert finding is None or finding in findings


def test_hours_are_a_study_load_of_an_mbo_module() -> None:
    content, _ = module(**{"extensions:ECTSExtension": None}, **extension("StudyLoad", 240.0))
    assert content.study_load == StudyLoad(sbu=240)


@pytest.mark.parametrize(
    ("stated", "taken"), [("regular", "regular"), ("extra_curricular", "extra-curricular")]
)
def test_a_badge_that_is_no_microcredential_is_marked(stated: str, taken: str) -> None:
    assert read_badge_class(BADGE, expanded_class(typeBadgeClass=stated)).badge_type == taken


def test_a_badge_class_without_a_name_is_no_module() -> None:
    with pytest.raises(Unreadable, match="name"):
        read_badge_class(BADGE, expanded_class(name=" \t "))


def test_a_folder_gives_an_item_per_file_and_its_badge_classes_and_issuers(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        plain=assertion(),
        expanded=expanded(of=expanded_class(grade_achieved="8")),
        revoked=revoked("a2"),
        a_class=badge_class(),
        an_issuer=issuer(),
    )
    (path / "deep").mkdir()
    folder(path / "deep", several=[assertion("a3"), {"type": "Assertion"}])
    folder(path / ".hidden", none=assertion("a4"))
    items = read_documents(path, TODAY)
    assert [item.place for item in items] == [
        "expanded.json",
        "plain.json",
        "deep/several.json#1",
        "a_class.json",
        "an_issuer.json",
        "deep/several.json#2",
        "revoked.json",
    ]
    awards = [item for item in items if isinstance(item, AwardItem)]
    one, twin, beside = (award.stated for award in awards)
    assert one == twin == StatedClass(read_badge_class(BADGE, expanded_class()), "27UM")
    assert beside == StatedClass(read_badge_class(BADGE, badge_class(issuer=issuer())), "27UM")
    assert [award.grade for award in awards] == ["8", "8", None]
    assert ["module-not-stated" in award.findings for award in awards] == [False, False, True]
    assert "badge class" in refused(items)["a_class.json"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not valid JSON"),
        (b'{"type": "Assertion", "narrative": "geheim', "not valid JSON"),
        (b'{"type": "Assertion", "x": "\xff"}', "is not valid UTF-8; save it as UTF-8"),
        ('{"type": "Assertion"}'.encode("utf-16-le"), "is UTF-16; save it as UTF-8"),
        ('{"type": "Assertion"}'.encode("utf-16-be"), "is UTF-16; save it as UTF-8"),
        (b'{"type": "Assertion", "x": "\\ud800"}', "not valid JSON"),
        (b"[" * 100_000, "nested|not valid JSON"),
        (b'{"type": "Assertion", "id": NaN}', "not valid JSON"),
        (b'{"type": ["Assertion", 1], "id": 1e999}', "not valid JSON|id must be"),
        (b"[]", "not an Open Badges 2.0 assertion"),
        (b"null", "not an Open Badges 2.0 assertion"),
        (b'"geheim"', "not an Open Badges 2.0 assertion"),
        (b'{"type": "OpenBadgeCredential"}', "not an Open Badges 2.0 assertion"),
        (b'{"type": {"a": 1}}', "not an Open Badges 2.0 assertion"),
        (b'{"detail": "geheim"}', "private"),
        ('{"type": "Assertion"}'.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (b"\xff\xfe", "UTF-16"),
        (b"\xfe\xff\x00{", "UTF-16"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><p>geheim", "web page"),
        (b'{"id": "urn:uuid:1", "revoked": true}', "not an Open Badges 2.0 assertion"),
        (b'{"id": "https://example.org/a", "revoked": "true"}', "not an Open Badges 2.0 assertion"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(raw: bytes, reason: str, tmp_path: Path) -> None:
    (item,) = read_documents(folder(tmp_path, it=raw), TODAY)
    assert isinstance(item, RefusedItem)
    assert any(each in item.reason for each in reason.split("|")), item
    assert "geheim" not in item.reason


def test_a_name_of_a_file_stays_on_its_line(tmp_path: Path) -> None:
    (tmp_path / "a\nimported 9\u202e.json").write_bytes(b"")
    (item,) = read_documents(tmp_path, TODAY)
    assert item.place.isprintable()


def test_a_file_that_is_none_or_leads_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round").symlink_to(tmp_path)
    items = read_documents(tmp_path, TODAY)
    assert [(item.place, type(item)) for item in items] == [
        ("gone.json", RefusedItem),
        ("round", RefusedItem),
    ]


def test_an_assertion_in_several_states_is_refused_whatever_the_files_are_called(tmp_path: Path) -> None:
    one, other = expanded(), expanded(of=expanded_class(name="Anders"))
    for number, (a, b) in enumerate(((one, other), (other, one))):
        items = read_documents(folder(tmp_path / str(number), a=a, b=b, again=a), TODAY)
        assert [type(item) for item in items] == [RefusedItem] * 3
    same = folder(tmp_path / "same", a=one, b=one, plain=assertion())
    assert [type(item) for item in read_documents(same, TODAY)] == [AwardItem] * 3


def stated_of(path: Path) -> StatedClass | str | None:
    (stated,) = {item.stated for item in read_documents(path, TODAY) if isinstance(item, AwardItem)}
    return stated


def test_an_issuer_that_is_only_named_is_what_its_documents_say_in_any_order(tmp_path: Path) -> None:
    bare = {"type": "Issuer", "id": ISSUER, "name": "Zorgopleidingen"}
    named = expanded(of=badge_class())
    for number, (a, b) in enumerate(((bare, issuer()), (issuer(), bare))):
        stated = stated_of(folder(tmp_path / str(number), a=a, b=b, award=named))
        assert isinstance(stated, StatedClass)
        assert (stated.institution, stated.module.content.faculty) == ("27UM", "Gezondheid")
    several = stated_of(folder(tmp_path / "several", a=issuer("27UM"), b=issuer("22OJ"), award=named))
    assert several == (
        "its issuer is among the files in several states; fetch the assertion with expand=badge.issuer"
    )


JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**18,
    1e308,
    float("inf"),
    "",
    " ",
    "x" * 10_000,
    "\x00\u202e",
    "\ud800",
    "2024-06-01T10:00:00",
    [],
    [[]],
    [None, 1, {}],
    {},
    {"id": []},
    {"type": [], "id": {}},
)


def places(stated: Any) -> list[tuple[Any, ...]]:
    """The path to every member."""
    if not isinstance(stated, dict):
        return []
    return [
        path
        for name, value in stated.items()
        for path in [(name,), *((name, *rest) for rest in places(value))]
    ]


def replaced(stated: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    name, *rest = path
    return stated | {name: replaced(stated[name], tuple(rest), value) if rest else value}


def test_whatever_a_member_is_the_assertion_is_taken_or_refused() -> None:
    whole = expanded(
        narrative="x", expires="2030-01-01", evidence=[{"id": "https://example.org", "name": "x"}]
    )
    for path in places(whole):
        for junk in JUNK:
            stated = replaced(whole, path, junk)
            documents = _Documents()
            assert isinstance(_item(documents, "a.json", stated, TODAY), RevokedItem | RefusedItem | None)
            for item in documents.awards():
                if isinstance(item, AwardItem) and isinstance(item.stated, StatedClass):
                    modules.content_hash(item.stated.module.content)


RICH = expanded(
    narrative="Verhaal",
    expires="2030-01-01",
    evidence=[{"id": "https://example.org/e", "name": "n", "narrative": "v", "description": "d"}],
    of=expanded_class(grade_achieved="8", **extension("StudyLoad", 84), **extension("TimeInvestment", 84)),
)
# What Edubadges writes beside what the assertion above has, and what nobody has written yet.
MORE: dict[Kind, dict[str, Any]] = {
    "assertion": {"image": "https://example.org/i", "verification": {"type": "x"}, "user": {"name": "Els"}},
    "recipient": {"unheard-of": 1},
    "evidence": {"genre": "Portfolio", "audience": "Iedereen"},
    "badge class": {
        "achievementType": "Achievement",
        "user": {"name": "Els"},
        "eqfNlqfLevelVerified": True,
        "gradeAchievedRequired": True,
        "tags": ["zorg"],
        "alignment": [{"targetName": "x"}],
        "relatedTo": [{"id": "https://example.org/r"}],
    },
    "issuer": extension("GradingTable", "https://example.org/t") | {"otherIdentifier": ["x"]},
    "faculty": {"on_behalf_of": True, "on_behalf_of_display_name": "Elders"},
}
AT: dict[Kind, tuple[Any, ...]] = {
    "assertion": (),
    "recipient": ("recipient",),
    "evidence": ("evidence", 0),
    "badge class": ("badge",),
    "issuer": ("badge", "issuer"),
    "faculty": ("badge", "issuer", "faculty"),
}
PROBES: tuple[Any, ...] = (5, 0.5, True, "een tekst", ["een", "lijst"], {"een": "object"})


# Members that add nothing to what the answer says anyway.
HEARD_OTHERWISE = {
    *((kind, name) for kind in AT for name in ("id", "type")),  # which document it is
    ("recipient", "hashed"),  # the identity says it
    ("issuer", "extensions:InstitutionIdentifierExtension"),  # `institution-named`, or refused
    ("faculty", "name"),  # the same in another language
}


def document_at(whole: dict[str, Any], at: tuple[Any, ...]) -> dict[str, Any]:
    found: Any = whole
    for name in at:
        found = found[name]
    assert isinstance(found, dict)
    return found


def in_its_place(whole: Any, at: tuple[Any, ...], changed: dict[str, Any]) -> Any:
    if not at:
        return changed
    name, *rest = at
    made = list(whole) if isinstance(whole, list) else dict(whole)
    made[name] = in_its_place(whole[name], tuple(rest), changed)
    return made


def meaning(answer: dict[str, Any]) -> tuple[Any, set[str]] | None:
    """What is recorded of an answer, and the findings; None where it is refused."""
    documents = _Documents()
    if _item(documents, "a.json", answer, TODAY) is not None:
        return None
    (item,) = documents.awards()
    if isinstance(item, RefusedItem) or not isinstance(item.stated, StatedClass):
        return None
    findings = {*item.findings, *item.stated.module.findings}
    module = msgspec.structs.replace(item.stated.module, findings=())
    stated = msgspec.structs.replace(item.stated, module=module)
    return msgspec.structs.replace(item, stated=stated, findings=()), findings


def passed_over(answer: dict[str, Any], without: dict[str, Any]) -> bool:
    """Whether an answer means what it means without one of its members, and no finding is due to that."""
    meant, usual = meaning(answer), meaning(RICH)
    return meant is not None and usual is not None and meant == meaning(without) and meant[1] <= usual[1]


@pytest.mark.parametrize("kind", AT)
def test_whatever_an_answer_states_is_taken_noted_refused_or_left_out_as_the_documentation_says(
    kind: Kind,
) -> None:
    at = AT[kind]
    document = document_at(RICH, at)
    assert meaning(RICH) is not None
    for name, stated in {**document, **MORE[kind]}.items():
        without = in_its_place(RICH, at, {key: value for key, value in document.items() if key != name})
        for value in (stated, *PROBES):
            answer = in_its_place(RICH, at, {**document, name: value})
            if passed_over(answer, without) and (kind, name) not in HEARD_OTHERWISE:
                assert name in LEFT_OUT[kind], (name, value)


def test_a_member_that_is_left_out_is_not_read_and_the_other_way_round() -> None:
    assert READ.keys() == LEFT_OUT.keys() == AT.keys()
    for kind, names in READ.items():
        assert names.isdisjoint(LEFT_OUT[kind])


def test_the_documentation_lists_what_is_left_out() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "operating.md").read_text()
    titles: dict[Kind, str] = {
        "assertion": "the assertion",
        "recipient": "its recipient",
        "evidence": "its evidence",
        "badge class": "the badge class",
        "issuer": "the issuer",
        "faculty": "its faculty",
    }
    for kind, title in titles.items():
        start = f"| {title} | `"
        (row,) = [line for line in text.splitlines() if line.startswith(start) and line.count("|") == 3]
        assert set(re.findall("`([^`]+)`", row)) == LEFT_OUT[kind]
