"""`registry replay` in all its forms, beside a running service."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.asking import UNKNOWN_ID
from tests.end_to_end.processes import REGISTRY, Done, Serving, Workshop, environment, registry
from tests.end_to_end.servers import embedded_url, make_token

AWARD = {
    "reference": "replayed",
    "moduleReference": "KLINRED",
    "learner": {"eduId": "replayed-1", "name": "A. Jansen"},
    "awardedOn": "2024-06-28",
    "validUntil": "2099-12-31",
    "grade": "8",
}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Serving]:
    workshop = Workshop(tmp_path_factory.mktemp("replay"), model)
    found = workshop.serve(workshop.data())
    assert found.address
    yield found
    workshop.close()


@pytest.fixture(scope="module")
def badge(serving: Serving) -> str:
    """A badge that was awarded, corrected, suspended, reinstated and revoked; its id."""
    token = make_token(embedded_url(serving.data), "institution", institution="27UM")
    with serving.client(token) as client:
        made = client.ask("POST", "/v1/badges", AWARD).json
        path = f"/v1/badges/{made['id']}"
        assert client.ask("POST", f"{path}/correction", {"grade": "9"}).status == 200
        assert client.ask("POST", f"{path}/suspension", {"reason": "appeal"}).status == 200
        assert client.ask("DELETE", f"{path}/suspension").status == 200
        assert client.ask("POST", f"{path}/revocation", {"reason": "other", "note": "Bezwaar"}).status == 200
    return str(made["id"])


@pytest.fixture(scope="module")
def log(serving: Serving, badge: str) -> list[dict[str, Any]]:
    """The whole log as the API shows it."""
    return [json.loads(line) for line in asked(serving).splitlines()]


def asked(serving: Serving) -> bytes:
    with serving.client(make_token(embedded_url(serving.data), "auditor")) as client:
        return client.ask("GET", "/v1/events?limit=10000").body


def replayed(serving: Serving, *words: str) -> str:
    done = registry("replay", *words, data_dir=serving.data)
    assert (done.status, done.err) == (0, ""), done
    return done.out


def test_the_log_is_printed_byte_for_byte_as_the_api_shows_it(serving: Serving, badge: str) -> None:
    assert replayed(serving).encode() == asked(serving)
    assert replayed(serving, "--format", "ndjson", "--after", "0").encode() == asked(serving)


def test_it_begins_after_a_position_and_ends_with_a_time(serving: Serving, log: list[dict[str, Any]]) -> None:
    middle = log[20]
    shown = replayed(serving, "--after", "11", "--until", middle["time"])
    expected = [each for each in log[11:] if each["time"] <= middle["time"]]
    assert [json.loads(line) for line in shown.splitlines()] == expected
    assert replayed(serving, "--after", str(len(log))) == ""
    assert replayed(serving, "--until", "2018-01-01T00:00:00+01:00") == ""
    assert replayed(serving, "--until", "9999-12-31T23:59:59-12:00").count("\n") == len(log)


def test_a_summary_counts_each_type(serving: Serving, log: list[dict[str, Any]]) -> None:
    *kinds, last = replayed(serving, "--format", "summary").splitlines()
    counts = Counter(each["type"] for each in log)
    assert kinds == [f"{kind} {count}" for kind, count in sorted(counts.items())]
    assert last == f"events {len(log)}, through position {len(log)}"
    assert replayed(serving, "--format", "summary", "--after", str(len(log) - 1)).splitlines() == [
        "badge.revoked 1",
        f"events 1, through position {len(log)}",
    ]


def test_a_badge_is_shown_as_it_was_at_each_position_and_each_time(
    serving: Serving, badge: str, log: list[dict[str, Any]]
) -> None:
    events = [each for each in log if each["subject"] == badge]
    statuses = ["active", "active", "suspended", "active", "revoked"]
    for count, (event, status) in enumerate(zip(events, statuses, strict=True), 1):
        at = event["time"] if count % 2 else str(event["position"])
        shown = replayed(serving, "--as-of", at, "--badge", badge).splitlines()
        assert shown[0] == f"badge {badge} at position {event['position']}, {event['time']}"
        assert shown[1].startswith(f"status {status} since ")
        told = [line.strip() for line in shown if line.startswith("  ")]
        beside = {"badge.suspended": ["reason"], "badge.revoked": ["reason", "effectiveOn"]}
        for line, each in zip(told, events[:count], strict=True):
            assert line.startswith(f"{each['position']} {each['time']} {each['type']}")
            assert all(each["data"].get(name, "") in line for name in beside.get(each["type"], []))


def test_what_is_shown_holds_nothing_private(serving: Serving, badge: str, log: list[dict[str, Any]]) -> None:
    shown = replayed(serving) + replayed(serving, "--as-of", str(len(log)), "--badge", badge)
    for private in ("Jansen", "replayed-1", "Bezwaar", '"replayed"'):
        assert private not in shown


def test_what_is_not_recorded_yet_or_not_there_is_refused_in_one_sentence(
    serving: Serving, badge: str, log: list[dict[str, Any]]
) -> None:
    first = next(each["position"] for each in log if each["subject"] == badge)
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    said = {
        ("--as-of", str(len(log) + 1), "--badge", badge): "beyond the end of the log",
        ("--as-of", soon, "--badge", badge): "is in the future",
        ("--as-of", "9999-12-31T23:59:59-12:00", "--badge", badge): "is in the future",
        ("--as-of", str(first - 1), "--badge", badge): "badge",
        ("--as-of", "0", "--badge", badge): "badge",
        ("--as-of", "0001-01-01T00:00:00+12:00", "--badge", badge): "badge",
        ("--as-of", "7", "--badge", UNKNOWN_ID): "badge",
        ("--after", str(len(log) + 1)): "beyond the end of the log",
    }
    for words, sentence in said.items():
        done: Done = registry("replay", *words, data_dir=serving.data)
        assert (done.status, done.out) == (1, ""), (words, done)
        assert len(done.err.splitlines()) == 1, (words, done.err)
        assert done.err.startswith("registry: "), (words, done.err)
        assert sentence in done.err, (words, done.err)


def test_a_reader_that_has_had_enough_is_no_failure(serving: Serving) -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"'{REGISTRY}' replay | true"],
        check=False,
        capture_output=True,
        text=True,
        env=environment(data_dir=serving.data),
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
