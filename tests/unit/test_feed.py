"""An event as it leaves the log: a line for readers, an entry for the transparency log."""

from __future__ import annotations

import datetime as dt
import json

import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.domain.events import Event, Fact, canonical
from registry.event_store.log import LoggedEvent
from tests.unit.facts import BADGE_ID, badge
from tests.unit.random_facts import facts

TIME = dt.datetime(2024, 6, 3, 12, 0, 0, 5, dt.timezone(dt.timedelta(hours=2)))


def logged(fact: Fact, position: int = 7, version: int = 2) -> LoggedEvent:
    return LoggedEvent(position, BADGE_ID, version, fact.TYPE, 1, TIME, canonical(fact))


@settings(max_examples=60, deadline=None)
@given(facts(), st.integers(1, 2**53 - 1), st.integers(1, 2**31 - 1))
def test_a_line_is_json_with_the_stored_bytes_as_its_last_member(
    fact: Fact, position: int, version: int
) -> None:
    event = logged(fact, position, version)
    line = event.line()
    assert line.endswith(b'"data":%s}\n' % event.data)
    assert line.count(b"\n") == 1
    read = json.loads(line)
    assert rfc8785.dumps(read.pop("data")) == event.data
    assert list(read.items()) == [
        ("position", position),
        ("id", f"{BADGE_ID}/{version}"),
        ("source", "/v1/events"),
        ("type", fact.TYPE),
        ("subject", BADGE_ID),
        ("time", "2024-06-03T10:00:00.000005Z"),
        ("dataschema", f"urn:microcredential-registry:event:{fact.TYPE}:1"),
    ]


def test_an_entry_is_six_lines_and_then_the_stored_bytes() -> None:
    event = logged(badge().award)
    assert event.entry() == (
        b"22222222-2222-8222-8222-222222222222/2\n"
        b"badge.awarded\n"
        b"22222222-2222-8222-8222-222222222222\n"
        b"2024-06-03T10:00:00.000005Z\n"
        b"urn:microcredential-registry:event:badge.awarded:1\n"
        b"7\n" + event.data
    )


@settings(max_examples=50, deadline=None)
@given(facts())
def test_a_logged_event_is_read_as_the_fact_that_was_recorded(fact: Fact) -> None:
    assert logged(fact).event() == Event(BADGE_ID, 2, fact, 7, TIME)
