"""Stored bytes are for ever: each event type has a golden file, which no change of code may change.

A golden file that no longer fits means that the log of a running registry could not be proved any more.
A changed shape is a new schema version with a golden file of its own.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import rfc8785

from registry.domain.events import FACTS, Event, canonical, decode
from registry.event_store.log import LoggedEvent
from tests.contracts.examples import events

GOLDEN = Path(__file__).parent / "golden"


def path_of(topic: str) -> Path:
    return GOLDEN / f"{topic.replace('/', '.')}.json"


def golden(topic: str) -> dict[str, str]:
    path = path_of(topic)
    assert path.exists(), f"{topic} has no golden file; `python -m tests.contracts` writes it"
    held: dict[str, str] = json.loads(path.read_text())
    return held


def write_missing() -> list[Path]:
    """Writes the golden file of each event type that has none; changes none that is there."""
    missing = [event for topic, event in events().items() if not path_of(topic).exists()]
    for event in missing:
        data, entry = logged(event).data, logged(event).entry()
        held = {"data": data.decode(), "entry": entry.decode(), "leafHash": leaf_hash(entry)}
        path_of(event.data.TOPIC).write_text(json.dumps(held, indent=2, ensure_ascii=False) + "\n")
    return [path_of(event.data.TOPIC) for event in missing]


def logged(event: Event) -> LoggedEvent:
    assert event.time is not None
    fact = event.data
    return LoggedEvent(
        event.position,
        event.originator_id,
        event.originator_version,
        fact.TYPE,
        fact.SCHEMA_VERSION,
        event.time,
        canonical(fact),
    )


def leaf_hash(entry: bytes) -> str:
    """RFC 6962, section 2.1."""
    return hashlib.sha256(b"\0" + entry).hexdigest()


def test_every_event_type_has_an_example_and_a_golden_file_and_there_are_no_others() -> None:
    assert set(events()) == set(FACTS)
    assert {path.stem for path in GOLDEN.iterdir()} == {topic.replace("/", ".") for topic in FACTS}


@pytest.mark.parametrize("topic", FACTS)
def test_the_bytes_of_an_event_are_those_of_its_golden_file(topic: str) -> None:
    held, event = golden(topic), logged(events()[topic])
    assert event.data == held["data"].encode()
    assert event.entry() == held["entry"].encode()
    assert leaf_hash(event.entry()) == held["leafHash"]


@pytest.mark.parametrize("topic", FACTS)
def test_the_bytes_of_a_golden_file_are_read_as_the_fact(topic: str) -> None:
    assert decode(topic, golden(topic)["data"].encode()) == events()[topic].data


@pytest.mark.parametrize("topic", FACTS)
def test_a_golden_file_is_canonical_and_agrees_with_itself(topic: str) -> None:
    held = golden(topic)
    assert rfc8785.dumps(json.loads(held["data"])).decode() == held["data"]
    assert held["entry"].split("\n", 6)[6] == held["data"]
    assert leaf_hash(held["entry"].encode()) == held["leafHash"]
