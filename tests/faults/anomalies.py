"""What may be wrong with a topic that carries a log, by the classes of Jepsen's checker for Kafka.

Judged are three accounts of one run: the log as the store holds it, the topic as it is read in the end, and
what an observer met on the way. None of the relay's own code has a part in it.
"""

from __future__ import annotations

import datetime as dt
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from registry.event_store.log import LoggedEvent
from tests.faults.observer import Seen, seen

PROGRESS = "registry.progress"
CLASSES = (
    "lost write",
    "unseen",
    "duplicate",
    "inconsistent offsets",
    "aborted read",
    "poll skip",
    "non-monotonic poll",
    "non-monotonic send",
    "other content",
)
Found = dict[str, list[str]]


def judge(
    log: Sequence[LoggedEvent],
    acknowledged: Iterable[int],
    topic: Mapping[int, Sequence[Any]],
    observed: Mapping[int, Sequence[Seen]] | None = None,
) -> Found:
    """By class, each anomaly in words. `topic` has the records of each partition in the order of offsets.

    None for `observed` where nobody read along.
    """
    found: Found = {each: [] for each in CLASSES}
    _sent(log, acknowledged, topic, found)
    for partition, records in topic.items():
        _ordered(partition, records, found)
        if observed is not None:
            _polled(partition, [seen(each) for each in records], observed.get(partition, []), found)
    _ended(len(log), topic, found)
    return found


def _sent(
    log: Sequence[LoggedEvent], acknowledged: Iterable[int], topic: Mapping[int, Sequence[Any]], found: Found
) -> None:
    """Each event of the log once, as it is there; nothing else."""
    times: Counter[int] = Counter()
    reached = max((position(each) for records in topic.values() for each in records), default=0)
    for partition, records in topic.items():
        for record in (each for each in records if kind(each) != PROGRESS):
            at = position(record)
            times[at] += 1
            if at > len(log):
                found["aborted read"].append(f"{at} on partition {partition} is not in the log")
            elif wrong := _differs(partition, record, log[at - 1], len(topic)):
                found["other content"].append(f"{at} on partition {partition}: {wrong}")
    found["duplicate"] += [f"{at} is there {count} times" for at, count in times.items() if count > 1]
    found["lost write"] += [
        f"{event.position} is not there, and the topic has come to {reached}"
        for event in log
        if event.position not in times and event.position <= reached
    ]
    found["unseen"] += [f"{at} was acknowledged" for at in acknowledged if at not in times]


def _differs(partition: int, record: Any, event: LoggedEvent, partitions: int) -> str:
    """What of a record is not the event's."""
    key = event.subject
    if event.type.startswith("badge."):
        key = json.loads(event.data)["learnerId"]
    expected = {
        "ce_specversion": "1.0",
        "content-type": "application/json",
        "ce_id": f"{event.subject}/{event.version}",
        "ce_source": "/v1/events",
        "ce_type": event.type,
        "ce_subject": event.subject,
        "ce_time": event.time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "ce_dataschema": f"urn:microcredential-registry:event:{event.type}:{event.schema_version}",
        "ce_position": str(event.position),
    }
    headers = {name: value.decode() for name, value in record.headers}
    headers.pop("ce_previous", None)
    checks = {
        "value": record.value == event.data,
        "key": record.key == key.encode(),
        "partition": zlib.crc32(key.encode()) % partitions == partition,
        "headers": headers == expected and len(record.headers) == len(expected) + 1,
    }
    return ", ".join(name for name, right in checks.items() if not right)


def _ordered(partition: int, records: Sequence[Any], found: Found) -> None:
    """Positions never go back, and each record names the event before it."""
    last = reached = 0
    for record in records:
        at, previous = position(record), int(dict(record.headers)["ce_previous"])
        if previous != last:
            found["non-monotonic send"].append(
                f"{at} on partition {partition} follows {last}, says {previous}"
            )
        if at < reached or (kind(record) != PROGRESS and at <= last):
            found["non-monotonic send"].append(f"{at} on partition {partition} comes after {reached}")
        reached = max(reached, at)
        last = at if kind(record) != PROGRESS else last


def _polled(partition: int, records: Sequence[Seen], observed: Sequence[Seen], found: Found) -> None:
    """The observer met exactly what is there in the end, in this order."""
    final = {each.offset: each for each in records}
    for before, after in pairwise(observed):
        if after.offset <= before.offset:
            found["non-monotonic poll"].append(
                f"{after.offset} after {before.offset} on partition {partition}"
            )
    for each in observed:
        if each.offset not in final:
            found["aborted read"].append(f"{each} on partition {partition} is not there in the end")
        elif final[each.offset] != each:
            found["inconsistent offsets"].append(
                f"partition {partition}: {each}, and then {final[each.offset]}"
            )
    met = {each.offset for each in observed}
    found["poll skip"] += [f"{each} on partition {partition}" for each in records if each.offset not in met]


def _ended(last: int, topic: Mapping[int, Sequence[Any]], found: Found) -> None:
    """Each partition ends with the marker of the log's end."""
    for partition, records in topic.items():
        tail = (kind(records[-1]), position(records[-1])) if records else ("", 0)
        if tail != (PROGRESS, last):
            found["lost write"].append(f"partition {partition} ends with {tail}, the log with {last}")


def kind(record: Any) -> str:
    return bytes(dict(record.headers)["ce_type"]).decode()


def position(record: Any) -> int:
    return int(dict(record.headers)["ce_position"])
