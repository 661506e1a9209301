"""After the faults: whether store, topics and read models all say what was acknowledged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from projections.all import read_models
from registry.domain.values import iso_time
from registry.event_store.log import LoggedEvent
from tests.faults.anomalies import Found, judge
from tests.faults.fleet import PARTITIONS, Fleet
from tests.faults.observer import TOPIC, Seen
from tests.faults.oracle import check_rows
from tests.kafka.topics import Topics
from tests.postgres.log import whole_log
from tests.postgres.projecting import folded, held
from tests.postgres.test_statistics import check_figures

STATUSES = "registry.badge-status.v1"
BECOMES = {"awarded": "active", "reinstated": "active", "suspended": "suspended", "revoked": "revoked"}
Topic = dict[int, list[Any]]


def read_topic(fleet: Fleet, name: str = TOPIC) -> Topic:
    """Every committed record, by partition."""
    found: Topic = {each: [] for each in range(PARTITIONS)}
    for record in Topics(fleet.kafka.bootstrap_servers).records(name, range(PARTITIONS)):
        found[record.partition].append(record)
    return found


def last_offsets(topic: Topic) -> list[int]:
    return [records[-1].offset if records else -1 for records in topic.values()]


def check_statuses(log: Sequence[LoggedEvent], records: Iterable[Any]) -> None:
    """The last record of each badge is its status by the log, and nothing else has one."""
    found = {record.key.decode(): json.loads(record.value) for record in records}
    assert found == statuses(log)


def statuses(log: Sequence[LoggedEvent]) -> dict[str, dict[str, Any]]:
    """By badge, its status as it follows from the log; of these events none is corrected."""
    found: dict[str, dict[str, Any]] = {}
    until: dict[str, str] = {}
    for event in log:
        kind, _, what = event.type.partition(".")
        if kind != "badge":
            continue
        data, badge = json.loads(event.data), event.subject
        if "validUntil" in data:
            until[badge] = data["validUntil"]
        found[badge] = {
            "id": badge,
            "status": BECOMES[what],
            "since": iso_time(event.time),
            "institution": data["institution"],
            "position": event.position,
        }
        if BECOMES[what] == "active" and badge in until:
            found[badge]["validUntil"] = until[badge]
    return found


def check_rebuilt(fleet: Fleet) -> None:
    """A rebuild from the store compares every row with what Kafka has made, and refuses a difference."""
    for model in read_models():
        done = fleet.registry("rebuild", model.name)
        assert done.status == 0, done
        assert "no difference" in done.out


def check_topics(
    fleet: Fleet, observed: Mapping[int, Sequence[Seen]] | None = None, acknowledged: Iterable[int] = ()
) -> Found:
    """Both topics are what the log says; answers the anomalies found, of which there are none."""
    log, topic = whole_log(fleet.url), read_topic(fleet)
    found = judge(log, acknowledged, topic, observed)
    assert not any(found.values()), {each: said[:5] for each, said in found.items() if said}
    check_statuses(log, [record for records in read_topic(fleet, STATUSES).values() for record in records])
    return found


def check_read_models(fleet: Fleet) -> None:
    check_rows(fleet.url)
    assert held(fleet.url) == folded(fleet.url)
    check_figures(fleet.url)
    check_rebuilt(fleet)
