"""What was acknowledged, and whether the log and the read models agree with it.

The oracle keeps every answer that a client got. The log (as an auditor reads it) must hold each
acknowledged fact once and at the acknowledged place; the read models must equal a recount of the log.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from registry.postgres.connections import connect
from tests.end_to_end.client import Answer, Client

Event = dict[str, Any]
PAGE = 10_000
MODULES = {"27UM": "KLINRED", "22OJ": "IVL-1"}
"""A module of two institutions of the demo data."""


def award_body(brin: str, reference: str, learner: int = 1, grade: str = "8") -> dict[str, Any]:
    """An award to an invented learner."""
    return {
        "reference": reference,
        "moduleReference": MODULES[brin],
        "learner": {"eduId": f"00000000-0000-4000-9000-{learner:012}", "name": "Verzonnen"},
        "awardedOn": "2023-04-19",
        "grade": grade,
    }


@dataclass
class Intent:
    """An award that a client wants, and what was answered to it so far."""

    institution: str
    body: dict[str, Any]
    badge_id: str = ""
    learner_id: str = ""
    position: int = 0
    asked: int = 0
    revocation_asked: bool = False
    revoked_at: int = 0

    @property
    def acknowledged(self) -> bool:
        return self.position > 0


@dataclass
class Batch:
    """Awards or revocations that are sent together, whole each time."""

    institution: str
    intents: list[Intent]
    revokes: bool = False
    sent: int = 0

    @property
    def path(self) -> str:
        return "/v1/badge-revocations" if self.revokes else "/v1/badge-batches"

    def parts(self) -> Iterator[bytes]:
        """Its lines, a few at a time, so that it can be cut off in between."""
        for first in range(0, len(self.intents), 100):
            some = self.intents[first : first + 100]
            yield b"".join(json.dumps(self._line(intent)).encode() + b"\n" for intent in some)

    def _line(self, intent: Intent) -> dict[str, Any]:
        return {"id": intent.badge_id, **REVOCATION} if self.revokes else intent.body


@dataclass
class Oracle:
    """Every intent, what was acknowledged of it, and every answer that should not have been."""

    intents: list[Intent] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    learners: dict[str, str] = field(default_factory=dict)
    unclear: Counter[str] = field(default_factory=Counter)
    batches: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def intend(self, intent: Intent) -> Intent:
        with self._lock:
            self.intents.append(intent)
        return intent

    def acknowledged(self) -> int:
        return sum(intent.acknowledged for intent in self.intents)

    def awarded(self, intent: Intent, answer: Answer) -> bool:
        """Judges the answer to an award; true when it acknowledges."""
        if not self._settles(f"award {intent.body['reference']}", answer, 200, 201):
            return False
        self._awarded(intent, answer.json, created=answer.status == 201)
        return True

    def _awarded(self, intent: Intent, got: dict[str, Any], *, created: bool) -> None:
        found = (got["id"], got["learnerId"], got["position"])
        with self._lock:
            if not intent.acknowledged:
                intent.badge_id, intent.learner_id, intent.position = found
            elif created:
                self.wrong.append(f"{intent.body['reference']} was created twice: {got}")
            if found != (intent.badge_id, intent.learner_id, intent.position):
                self.wrong.append(f"{intent.body['reference']} got another answer: {got}, not {intent}")
            edu_id = intent.body["learner"]["eduId"]
            if self.learners.setdefault(edu_id, got["learnerId"]) != got["learnerId"]:
                self.wrong.append(f"two learners of one eduId: {got}")

    def revoked(self, intent: Intent, answer: Answer) -> bool:
        if not self._settles(f"revocation of {intent.badge_id}", answer, 200):
            return False
        if answer.json["status"] != "revoked":
            self.wrong.append(f"revocation of {intent}: {answer}")
        self._revoked(intent, answer.json)
        return True

    def _revoked(self, intent: Intent, got: dict[str, Any]) -> None:
        with self._lock:
            position = intent.revoked_at or got["position"]
            if (got["id"], got["position"]) != (intent.badge_id, position):
                self.wrong.append(f"revocation of {intent}: {got}")
            intent.revoked_at = position

    def settled_lines(self, batch: Batch, answer: Answer) -> bool:
        """Judges the answer to a batch; true when it acknowledges, which is each of its lines."""
        if not self._settles(f"a batch of {len(batch.intents)} lines", answer, 200):
            return False
        outcomes = [json.loads(line) for line in answer.body.splitlines()]
        done = "revoked" if batch.revokes else "awarded"
        if [each["line"] for each in outcomes] != list(range(1, len(batch.intents) + 1)):
            self.wrong.append(f"{len(outcomes)} outcomes of {len(batch.intents)} lines")
        for intent, outcome in zip(batch.intents, outcomes, strict=False):
            if outcome["outcome"] not in (done, "known"):
                self.wrong.append(f"{intent.body['reference']}: {outcome}")
            elif batch.revokes:
                self._revoked(intent, outcome)
            else:
                self._awarded(intent, outcome, created=outcome["outcome"] == done)
        self.batches["sent again" if batch.sent > 1 else "at once"] += 1
        return True

    def looked_up(self, intent: Intent, least: int, must_be: str | None, answer: Answer) -> None:
        """Judges a public status that was asked for with `minPosition`."""
        if self._settles(f"status of {intent.badge_id} with minPosition {least}", answer, 200):
            got = answer.json
            if got["position"] < least or got["status"] != (must_be or got["status"]):
                self.wrong.append(f"status of {intent}: {answer}")

    def _settles(self, what: str, answer: Answer, *expected: int) -> bool:
        if answer.status in expected:
            return True
        status = answer.status
        if status in (429, 503) and answer.headers["Retry-After"] and answer.json["status"] == status:
            with self._lock:
                self.unclear[str(status)] += 1
        else:
            self.wrong.append(f"{what}: {answer}")
        return False


class Tail:
    """The log as an auditor's reader follows it: nothing may ever appear below what it has passed."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def follow(self, auditor: Client) -> int:
        """Reads on; answers how many lines were new."""
        answer = auditor.ask("GET", f"/v1/events?after={len(self.lines)}&limit={PAGE}")
        assert answer.status in (200, 503), answer
        if answer.status == 503:
            return 0
        new = answer.body.splitlines()
        for place, line in enumerate(new, len(self.lines) + 1):
            assert json.loads(line)["position"] == place, f"after {place - 1} came {line!r}"
        self.lines += new
        return len(new)

    def to_the_end(self, auditor: Client) -> list[Event]:
        while self.follow(auditor):
            pass
        return [json.loads(line) for line in self.lines]


def settle(oracle: Oracle, clients: dict[str, Client], last: int) -> None:
    """Asks again for all that was left unclear: each is there once, or is recorded now.

    `last` is the end of the log before it: an award that answers with a position up to there was
    recorded, and must answer 200; any other is new, and must answer 201.
    """
    for intent in oracle.intents:
        client = clients[intent.institution]
        if not intent.acknowledged:
            answer = client.ask("POST", "/v1/badges", intent.body)
            assert oracle.awarded(intent, answer), answer
            assert answer.status == (200 if intent.position <= last else 201), (answer, last)
        if intent.revocation_asked and not intent.revoked_at:
            answer = client.ask("POST", f"/v1/badges/{intent.badge_id}/revocation", REVOCATION)
            assert oracle.revoked(intent, answer), answer


REVOCATION = {"reason": "awarded-in-error"}


def check_log(events: list[Event], oracle: Oracle, others: int) -> None:
    """Each acknowledged fact is in the log once, at its place, beside the demo data and `others` awards."""
    assert not oracle.wrong, "\n".join(oracle.wrong)
    assert [event["position"] for event in events] == list(range(1, len(events) + 1))
    assert len({event["id"] for event in events}) == len(events)
    versions: dict[str, int] = defaultdict(int)
    for event in events:
        versions[event["subject"]] += 1
        assert event["id"] == f"{event['subject']}/{versions[event['subject']]}"
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    later = [event for event in events if event["data"]["channel"] != "demo"]
    awards = Counter(event["subject"] for event in later if event["type"] == "badge.awarded")
    revocations = Counter(event["subject"] for event in later if event["type"] == "badge.revoked")
    assert set(awards.values()) == {1}
    assert set(revocations.values()) <= {1}
    mine = {intent.badge_id for intent in oracle.intents}
    assert len(mine) == len(oracle.intents), "two references have one badge"
    assert mine <= set(awards), "an acknowledged award is lost"
    assert len(awards) == len(mine) + others, "awards that nobody asked for"
    for intent in oracle.intents:
        award = events[intent.position - 1]
        data = award["data"]
        assert (award["type"], award["subject"]) == ("badge.awarded", intent.badge_id)
        assert (data["learnerId"], data["institution"]) == (intent.learner_id, intent.institution)
        if intent.revoked_at:
            revocation = events[intent.revoked_at - 1]
            assert (revocation["type"], revocation["subject"]) == ("badge.revoked", intent.badge_id)
    assert set(revocations) == {intent.badge_id for intent in oracle.intents if intent.revoked_at}


@dataclass(frozen=True)
class Row:
    """What a list shows of a badge; `position` is the award's."""

    id: str
    status: str
    since: str
    institution: str
    learner: str
    module: str
    position: int


def recount(events: Iterable[Event]) -> dict[str, Row]:
    """The badges as they follow from the log alone."""
    rows: dict[str, Row] = {}
    for event in events:
        data, badge = event["data"], event["subject"]
        if event["type"] == "badge.awarded":
            rows[badge] = Row(
                badge, "active", event["time"], data["institution"], data["learnerId"],
                data["moduleId"], event["position"],
            )  # fmt: skip
        elif event["type"] == "badge.revoked":
            was = rows[badge]
            rows[badge] = Row(
                badge, "revoked", event["time"], was.institution, was.learner, was.module, was.position
            )
    return rows


def check_read_models(events: list[Event], auditor: Client) -> None:
    """Every list, newest first, equals the recount; so do the counts per status."""
    rows = sorted(recount(events).values(), key=lambda row: -row.position)
    by_institution = _grouped((row.institution, row) for row in rows)
    by_module = _grouped((row.module, row) for row in rows)
    by_learner = _grouped((row.learner, row) for row in rows)
    for brin, expected in by_institution.items():
        assert _listed(auditor, f"/v1/institutions/{brin}/badges") == expected
        for status in ("active", "revoked"):
            found = _listed(auditor, f"/v1/institutions/{brin}/badges?status={status}")
            assert found == [row for row in expected if row.status == status]
    for module, expected in by_module.items():
        assert _listed(auditor, f"/v1/modules/{module}/badges") == expected
    for learner, expected in by_learner.items():
        assert _listed(auditor, f"/v1/learners/{learner}/badges") == expected
    registered = [event for event in events if event["type"] == "module.registered"]
    assert [(each["id"], each["position"]) for each in auditor.items("/v1/modules")] == [
        (event["subject"], event["position"]) for event in registered
    ]


def check_rows(url: str) -> None:
    """Each award has its private parts and its badge, each learner an alias: no transaction came in half."""
    connection = connect(url)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM event WHERE type = 'badge.awarded'),"
            " (SELECT count(*) FROM vault v JOIN event e USING (position) WHERE e.type = 'badge.awarded'),"
            " (SELECT count(*) FROM vault), (SELECT count(*) FROM badge),"
            " (SELECT count(DISTINCT learner_id) FROM vault), (SELECT count(*) FROM alias)"
        )
        awards, sealed, rows, badges, learners, aliases = cursor.fetchone() or (0,) * 6
    connection.close()
    assert awards == sealed == rows == badges
    assert learners == aliases


def check_private_parts(intents: Iterable[Intent], clients: dict[str, Client]) -> None:
    """What was sealed beside an award is there with it, whole."""
    for intent in intents:
        answer = clients[intent.institution].ask("GET", f"/v1/badges/{intent.badge_id}")
        assert answer.status == 200, answer
        for member in ("reference", "grade", "learner"):
            assert answer.json[member] == intent.body[member]


def _grouped(pairs: Iterable[tuple[str, Row]]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for key, row in pairs:
        groups[key].append(row)
    return groups


def _listed(auditor: Client, path: str) -> list[Row]:
    return [
        Row(
            item["id"], item["status"], item["since"], item["institution"], item["learnerId"],
            item["module"]["id"], item["position"],
        )
        for item in auditor.items(path)
    ]  # fmt: skip


@contextmanager
def closing(clients: dict[str, Client]) -> Iterator[dict[str, Client]]:
    try:
        yield clients
    finally:
        for client in clients.values():
            client.close()
