"""Facts as bytes: canonical by RFC 8785, and the same again when read."""

from __future__ import annotations

from typing import Any, cast, get_args

import msgspec
import pytest
import rfc8785
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, StoredEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.domain import events
from registry.domain.errors import EventTooLarge
from registry.domain.events import (
    FACTS,
    BadgeFact,
    Event,
    Fact,
    InstitutionFact,
    MisplacedEventError,
    ModuleFact,
    OperatorFact,
    TokenFact,
    UnknownEventError,
    badge_fact,
    canonical,
    decode,
    institution_fact,
    module_fact,
)
from registry.domain.values import ects
from registry.event_store.append import MAX_EVENT
from registry.event_store.recorder import EventMapper
from tests.unit import facts
from tests.unit.random_facts import fact_of


@pytest.mark.parametrize("topic", FACTS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_bytes_of_a_fact_are_those_of_rfc_8785(topic: str, data: st.DataObject) -> None:
    fact = data.draw(fact_of(FACTS[topic]))
    assert canonical(fact) == rfc8785.dumps(msgspec.to_builtins(fact))


def test_every_character_is_written_as_rfc_8785_writes_it() -> None:
    plane = "".join(chr(each) for each in range(0x10000) if not 0xD800 <= each <= 0xDFFF)
    assert canonical(plane) == rfc8785.dumps(plane)


def test_every_study_load_is_written_as_rfc_8785_writes_it() -> None:
    halves = [ects(each / 2) for each in range(1, 20_001)]
    assert canonical(halves) == rfc8785.dumps(list(halves))


@pytest.mark.parametrize("topic", FACTS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_fact_read_from_its_bytes_is_the_same(topic: str, data: st.DataObject) -> None:
    fact = data.draw(fact_of(FACTS[topic]))
    found = decode(topic, canonical(fact))
    assert type(found) is FACTS[topic]
    assert found == fact
    assert canonical(found) == canonical(fact)


@pytest.mark.parametrize("topic", ["badge.awarded/2", "badge.awarded", "diploma.issued/1", "", "/1"])
def test_an_event_that_this_release_does_not_know_is_not_read(topic: str) -> None:
    with pytest.raises(UnknownEventError):
        decode(topic, b"{}")


def test_a_topic_is_the_type_and_its_schema_version() -> None:
    assert {topic: f"{fact.TYPE}/{fact.SCHEMA_VERSION}" for topic, fact in FACTS.items()} == {
        topic: topic for topic in FACTS
    }


def every_fact_class(base: type[Any] = events._Fact) -> set[type[Fact]]:
    classes = {each for child in base.__subclasses__() for each in every_fact_class(child)}
    return classes | ({base} if "TYPE" in vars(base) else set())


def test_every_class_of_facts_is_in_the_union_of_its_subject_and_can_be_read() -> None:
    unions = {"institution": InstitutionFact, "module": ModuleFact, "badge": BadgeFact}
    unions |= {"token": TokenFact, "registry": OperatorFact}
    of_unions = {(subject, fact) for subject, union in unions.items() for fact in get_args(union)}
    assert of_unions == {(fact.TYPE.partition(".")[0], fact) for fact in every_fact_class()}
    assert set(FACTS.values()) == every_fact_class()


def test_an_event_of_another_subject_is_misplaced() -> None:
    award = Event("b", 1, facts.badge().award)
    assert badge_fact(award) is award.data
    with pytest.raises(MisplacedEventError, match=r"^badge\.awarded is not an event of a module$"):
        module_fact(award)
    with pytest.raises(MisplacedEventError, match=r"^badge\.awarded is not an event of an institution$"):
        institution_fact(award)


def stored(event: Event) -> StoredEvent:
    return EventMapper(JSONTranscoder()).to_stored_event(cast(DomainEventProtocol[str], event))


def test_the_mapper_stores_the_canonical_bytes_under_the_topic() -> None:
    fact = facts.badge().award
    assert stored(Event("b", 1, fact)) == StoredEvent("b", 1, "badge.awarded/1", canonical(fact))


@pytest.mark.parametrize("version", [0, -1])
def test_a_stream_begins_with_version_1(version: int) -> None:
    with pytest.raises(ValueError, match="begin at 1"):
        stored(Event("b", version, facts.badge().award))


def test_an_event_of_60_kib_is_taken_and_a_larger_one_is_not() -> None:
    award = msgspec.structs.replace(facts.badge().award, client="")
    room = MAX_EVENT - len(canonical(award))
    fits = msgspec.structs.replace(award, client="x" * room)
    assert len(stored(Event("b", 1, fits)).state) == 60 * 1024
    with pytest.raises(EventTooLarge):
        stored(Event("b", 1, msgspec.structs.replace(award, client="x" * (room + 1))))
