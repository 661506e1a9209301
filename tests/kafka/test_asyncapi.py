"""docs/asyncapi.yaml describes what the topics hold: the records of real topics are valid in it."""

from __future__ import annotations

import copy
import datetime as dt
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from registry.domain.event_schemas import event_schema
from registry.kafka.records import PROGRESS
from registry.recording.commands import CorrectBadge, ReinstateBadge, RevokeBadge, SuspendBadge
from registry.recording.registry import Registry
from tests.api.test_design_rules import NODE, SPECTRAL
from tests.kafka.streaming import Streaming
from tests.kafka.test_relay import awards
from tests.kafka.topics import EVENTS, STATUSES
from tests.postgres.commands import ORIGIN

PAGE = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(PAGE.read_text())
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]


def problem_with(name: str, record: Any) -> str | None:
    """What is wrong with a record as the message `name` of the document; None where it is valid."""
    message = MESSAGES[name]
    key = record.key.decode()
    headers = {header: value.decode() for header, value in record.headers}
    value = None if record.value is None else json.loads(record.value)
    parts = [
        (message["headers"], headers),
        (message["payload"], value),
        (message["bindings"]["kafka"]["key"], key),
    ]
    if name == "event":
        kind, version = (
            headers["ce_dataschema"].removeprefix("urn:microcredential-registry:event:").split(":")
        )
        assert kind == headers["ce_type"]
        parts.append((event_schema(f"{kind}/{version}"), value))
    for schema, part in parts:
        try:
            jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(part)
        except jsonschema_rs.ValidationError as error:
            return str(error)
    return None


@pytest.fixture
def records(streaming: Streaming, registry: Registry) -> dict[str, list[Any]]:
    """The records of both topics, by the name of their message, after events of several kinds."""
    streaming.make_topics(8)
    active, suspended, revoked, again = awards(registry, 4)
    registry.record(SuspendBadge("27UM", suspended, "appeal", "note", ORIGIN))
    registry.record(RevokeBadge("27UM", revoked, "fraud", dt.date(2024, 6, 1), "note", ORIGIN))
    registry.record(SuspendBadge("27UM", again, "appeal", None, ORIGIN))
    registry.record(ReinstateBadge("27UM", again, ORIGIN))
    registry.record(CorrectBadge("27UM", active, "9", "A. Janssen", ORIGIN))
    streaming.relay_all()
    found: dict[str, list[Any]] = {"event": [], "progress": [], "status": []}
    for record in streaming.topics.records(EVENTS, range(8)):
        kind = dict(record.headers)["ce_type"].decode()
        found["progress" if kind == PROGRESS else "event"].append(record)
    found["status"] = list(streaming.topics.records(STATUSES, range(8)))
    return found


def test_the_records_of_the_topics_are_as_the_document_says(records: dict[str, list[Any]]) -> None:
    assert len(records["event"]) == 13
    assert records["progress"]
    assert records["status"]
    for name, those in records.items():
        for record in those:
            assert problem_with(name, record) is None, (name, record)
            # And they are not valid as another message.
            for other in set(MESSAGES) - {name}:
                assert problem_with_other(other, record), (name, other)


def problem_with_other(name: str, record: Any) -> bool:
    headers = {header: value.decode() for header, value in record.headers}
    return not jsonschema_rs.Draft202012Validator(MESSAGES[name]["headers"]).is_valid(headers)


def test_a_record_with_another_header_is_not_as_the_document_says(records: dict[str, list[Any]]) -> None:
    for name, (record, *_) in records.items():
        changed = record._replace(headers=[*record.headers, ("ce_unnamed", b"x")])
        assert problem_with(name, changed), name
        for left_out in range(len(record.headers)):
            headers = copy.copy(list(record.headers))
            del headers[left_out]
            if name != "event" or record.headers[left_out][0] not in {"ce_type", "ce_dataschema"}:
                assert problem_with(name, record._replace(headers=headers)), (name, left_out)


def test_the_document_names_the_topics() -> None:
    assert [channel["address"] for channel in DOCUMENT["channels"].values()] == [EVENTS, STATUSES]


@pytest.mark.slow
def test_the_document_is_valid_asyncapi_3(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text('extends: [["spectral:asyncapi", "all"]]')

    def lint(document: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [NODE, SPECTRAL, "lint", "--ruleset", rules, "--fail-severity", "hint", document],
            check=False, capture_output=True, text=True, cwd=tmp_path, timeout=120,
            env=os.environ | {"NO_COLOR": "1"},
        )  # fmt: skip

    assert DOCUMENT["asyncapi"].startswith("3.")
    found = lint(PAGE)
    assert found.returncode == 0, found.stdout
    broken = tmp_path / "broken.yaml"
    broken.write_text(PAGE.read_text().replace("action: receive", "action: take"))
    assert lint(broken).returncode == 1
