"""Awards in pages: looked up and recorded together, and decided each by itself."""

from __future__ import annotations

import datetime as dt
import gc
import sys
from typing import Any

import msgspec
import pytest

from registry.domain.errors import EventTooLarge, ModuleUnknown, ReferenceTaken, SupersededNotRevoked
from registry.domain.events import BadgeAwarded, Fact
from registry.domain.imports import ImportedModule
from registry.domain.institution import Origin
from registry.event_store.append import Appended, Row, row
from registry.event_store.session import Loaded, Session
from registry.postgres.connections import UnavailableError
from registry.recording.awards import ImportedAward, StatedAward
from registry.recording.commands import RegisterModule, ReviseModule, RevokeBadge
from registry.recording.decisions import BadgeOutcome, Settled
from registry.recording.registry import Registry
from tests.postgres.commands import (
    CONTENT,
    ORIGIN,
    REFERENCE,
    admitted,
    award,
    award_badges,
    command,
    registry_on,
)
from tests.postgres.log import execute, query, until, whole_log
from tests.support import KEYS


def made(settled: list[Settled]) -> list[BadgeOutcome]:
    for each in settled:
        assert isinstance(each, BadgeOutcome), each
    return [each for each in settled if isinstance(each, BadgeOutcome)]


def test_many_that_are_refused_under_one_reference_are_each_refused(registry: Registry) -> None:
    settled = award_badges(registry, [command("27UM", "1", "a", "NOPE")] * 20 + [command("27UM", "1", "a")])
    assert [type(each) for each in settled[:20]] == [ModuleUnknown] * 20
    assert made(settled[20:])[0].created


def test_the_same_award_many_times_in_a_page_is_recorded_once(url: str, registry: Registry) -> None:
    outcomes = made(award_badges(registry, [command("27UM", "1", "a")] * 20))
    assert [each.created for each in outcomes].count(True) == 1
    assert len({(each.id, each.learner_id, each.position) for each in outcomes}) == 1
    assert len([event for event in whole_log(url) if event.type == "badge.awarded"]) == 1


def test_other_content_under_a_reference_of_the_same_page_is_refused(registry: Registry) -> None:
    first, second = award_badges(registry, [command("27UM", "1", "a"), command("27UM", "1", "b")])
    assert isinstance(first, BadgeOutcome)
    assert isinstance(second, ReferenceTaken)


def test_a_new_learner_who_stands_in_a_page_twice_is_one_learner(url: str, registry: Registry) -> None:
    page = [command("27UM", "1", "a"), command("22OJ", "1", "b"), command("22OJ", "2", "a")]
    first, other, second = made(award_badges(registry, page))
    assert first.learner_id == second.learner_id != other.learner_id
    assert len(query(url, "SELECT FROM alias")) == 2


def test_one_that_is_refused_is_refused_alone(registry: Registry) -> None:
    page = [command("27UM", str(n), "a", "NOPE" if n == 5 else REFERENCE) for n in range(10)]
    settled = award_badges(registry, page)
    assert isinstance(settled[5], ModuleUnknown)
    assert all(each.created for each in made(settled[:5] + settled[6:]))


def test_a_vault_row_that_cannot_be_opened_fails_its_own_award_alone(url: str, registry: Registry) -> None:
    broken = award(registry, "27UM", "broken", "a")
    execute(url, "UPDATE vault SET sealed = '\\x00' || sealed WHERE position = %s", (broken.position,))
    page = [command("27UM", "1", "b"), command("27UM", "broken", "a"), command("22OJ", "2", "c")]
    before, itself, after = award_badges(registry, page)
    assert not isinstance(itself, BadgeOutcome)
    assert all(each.created for each in made([before, after]))


def test_what_is_recorded_stays_so_when_a_later_round_fails(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second award under a reference waits for what becomes of the first."""
    load, rounds = Session.load, iter([True])

    def once(session: Session, *asked: Any) -> Loaded:
        if next(rounds, False):
            return load(session, *asked)
        raise UnavailableError("away")

    monkeypatch.setattr(Session, "load", once)
    good, again = award_badges(registry, [command("27UM", "1", "a"), command("27UM", "1", "a")])
    assert isinstance(good, BadgeOutcome)
    assert good.created
    assert isinstance(again, UnavailableError)


def test_where_another_writer_comes_between_the_page_is_recorded_all_the_same(
    url: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, others = Session.load, iter([("same", "a"), ("other", "b")])

    def then_another_writes(session: Session, *asked: Any) -> Loaded:
        loaded = load(session, *asked)
        for reference, edu_id in others:
            with registry_on(url) as another:
                award(another, "27UM", reference, edu_id)
        return loaded

    monkeypatch.setattr(Session, "load", then_another_writes)
    page = [
        command("27UM", reference, edu_id) for reference, edu_id in (("same", "a"), ("1", "b"), ("2", "c"))
    ]
    same, known_learner, new = made(award_badges(registry, page))
    assert (same.created, known_learner.created, new.created) == (False, True, True)
    assert len(query(url, "SELECT FROM alias")) == len(
        {same.learner_id, known_learner.learner_id, new.learner_id}
    )
    assert [event.position for event in whole_log(url)] == list(range(1, 9))


def test_an_award_that_the_database_refuses_is_refused_alone(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = row

    def without_text(subject: str, version: int, fact: Fact) -> Row:
        made = make(subject, version, fact)
        if b'"validUntil"' in made.data:
            made.subject = "\0" + subject
        return made

    monkeypatch.setattr("registry.recording.pages.row", without_text)
    page = [command("27UM", "1", "a"), command("27UM", "2", "b", valid_until=dt.date(2040, 1, 1))]
    good, refused, after = award_badges(registry, [*page, command("27UM", "3", "c")])
    assert isinstance(good, BadgeOutcome)
    assert isinstance(refused, ValueError)
    assert isinstance(after, BadgeOutcome)


def test_an_event_that_is_too_large_is_refused_in_its_page(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nobody else's command is recorded alone for its sake."""
    append, appends = Session.append, []

    def counted(session: Session, *arguments: Any) -> Appended:
        appends.append(session)
        return append(session, *arguments)

    monkeypatch.setattr(Session, "append", counted)
    content = msgspec.structs.replace(CONTENT, description="x" * 61_000)
    large = RegisterModule("27UM", registry.module_id("27UM", "L"), "L", content, ORIGIN)
    awards = registry.preparation().prepare_all([command("27UM", str(number), "a") for number in range(9)])
    *outcomes, refused = registry.settle([*awards, large])
    assert all(each.created for each in made(outcomes))
    assert isinstance(refused, EventTooLarge)
    assert len(appends) == 1


def test_a_refusal_keeps_nothing_of_its_page_in_memory(registry: Registry) -> None:
    page = registry.preparation().prepare_all([command("27UM", "1", "a"), command("27UM", "2", "b", "NOPE")])
    gc.collect()
    before = sys.getrefcount(page[0])
    settled = registry.settle(page)
    until(lambda: sys.getrefcount(page[0]) == before)
    assert isinstance(settled[1], ModuleUnknown)


def test_a_page_is_loaded_again_after_an_idle_connection_was_lost(url: str, registry: Registry) -> None:
    award(registry, "27UM", "1", "a")
    sessions = "datname = current_database() AND application_name = 'registry_write'"
    execute(url, f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {sessions}")
    assert all(each.created for each in made(award_badges(registry, [command("27UM", "2", "b")])))


def test_each_who_waits_has_an_exception_of_its_own(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Loaded:
        raise UnavailableError("away")

    monkeypatch.setattr(Session, "load", away)
    settled = award_badges(registry, [command("27UM", str(number), "a") for number in range(3)])
    assert [type(each) for each in settled] == [UnavailableError] * 3
    assert len({id(each) for each in settled}) == 3


def test_the_databases_own_default_isolation_does_not_matter(url: str) -> None:
    name = url.rpartition("=")[2]
    execute(url, f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    with registry_on(url) as one, registry_on(url) as two:
        admitted(one, "27UM")
        for number in range(10):
            assert award(one, "27UM", f"one-{number}", "a").created
            assert award(two, "27UM", f"two-{number}", "a").created
    session = Session(url)
    with session.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchall() == [("read committed",)]
    session.close()


def test_each_award_of_a_page_is_recorded_as_it_would_be_alone(url: str, registry: Registry) -> None:
    module_id = KEYS.made_id("module", "27UM", REFERENCE)
    later = msgspec.structs.replace(CONTENT, name="Klinisch redeneren 2")
    registry.record(ReviseModule("27UM", module_id, REFERENCE, later, ORIGIN))
    revoked, standing = (award(registry, "27UM", each, each).id for each in ("revoked", "standing"))
    registry.record(RevokeBadge("27UM", revoked, "fraud", None, None, ORIGIN))
    later_day, past_day = dt.date(2039, 1, 1), dt.date(2023, 5, 1)
    stated: list[dict[str, Any]] = [
        {},
        {"module_version": 1},
        {"valid_until": later_day},
        {"valid_until": past_day},
        {"module_version": 1, "valid_until": later_day},
        {"awarded_on": past_day},
        {"supersedes": revoked},
        {"supersedes": standing},
        {},
    ]
    origins = [ORIGIN] * 8 + [Origin("batch", "another")]

    def commands(prefix: str) -> list[StatedAward]:
        made = [command("27UM", f"{prefix}-{n}", f"{prefix}-{n}") for n in range(len(stated))]
        return [
            msgspec.structs.replace(each, terms=msgspec.structs.replace(each.terms, **members), origin=origin)
            for each, members, origin in zip(made, stated, origins, strict=True)
        ]

    alone = [award_badges(registry, [each])[0] for each in commands("alone")]
    together = award_badges(registry, commands("together"))
    assert [type(each) for each in together] == [type(each) for each in alone]
    assert [isinstance(each, SupersededNotRevoked) for each in together] == [n == 7 for n in range(9)]
    facts = {event.subject: event.event().data for event in whole_log(url)}
    for one, other in zip(alone, together, strict=True):
        if isinstance(one, BadgeOutcome) and isinstance(other, BadgeOutcome):
            expected, fact = facts[one.id], facts[other.id]
            assert isinstance(expected, BadgeAwarded)
            assert isinstance(fact, BadgeAwarded)
            assert fact.learner_id == other.learner_id
            assert (other.status, other.module_version) == (one.status, fact.module_version)
            own = {"learner_id": fact.learner_id, "commitments": fact.commitments}
            assert fact == msgspec.structs.replace(expected, **own)


def test_each_award_of_an_imported_page_has_its_own_findings(url: str, registry: Registry) -> None:
    same = ImportedModule(REFERENCE, CONTENT)
    differs = ImportedModule(REFERENCE, msgspec.structs.replace(CONTENT, name="Anders"))
    noted: list[tuple[ImportedModule, tuple[str, ...]]] = [
        (same, ("recipient-hashed",)),
        (same, ()),
        (differs, ()),
        (same, ("recipient-email", "evidence-lost")),
        (same, ("recipient-hashed",)),
    ]
    awards = [command("27UM", str(n), f"l{n}") for n in range(len(noted))]
    page = [
        ImportedAward(**msgspec.structs.asdict(each), source=source, findings=findings)
        for each, (source, findings) in zip(awards, noted, strict=True)
    ]
    made(award_badges(registry, page))
    facts = [event.event().data for event in whole_log(url) if event.type == "badge.awarded"]
    assert [isinstance(fact, BadgeAwarded) and (fact.findings or ()) for fact in facts] == [
        (*findings, *(("module-differs",) if source is differs else ())) for source, findings in noted
    ]
