"""Personal data lies sealed in the vault, is told to whom it concerns, and is nowhere else."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from registry.postgres.connections import connect
from tests import support
from tests.api.asking import Ask, admitted, at_noon, award_body, ok, refused
from tests.support import Databases, Service

# The test's own client writes addresses to its log; what it asked is not the registry's to keep.
OURS_NOT = ("httpx2", "httpcore2", "asyncio", "hypothesis")


def mark(what: str) -> str:
    """A text that is nowhere else."""
    return f"{what}-{uuid.uuid4().hex[:12]}"


@dataclass
class Told:
    """A service to which every private member was sent, and what it wrote and answered meanwhile."""

    service: Service
    marks: dict[str, str]
    ask: Ask
    badge: str
    learner: str
    answers: list[str]
    records: list[logging.LogRecord]


class _Kept(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.NOTSET)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(OURS_NOT):
            self._records.append(record)


@pytest.fixture(scope="module")
def told(databases: Databases) -> Iterator[Told]:
    records: list[logging.LogRecord] = []
    handler, url = _Kept(records), databases.fresh()
    loggers = [logging.getLogger(), *_loggers()]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    try:
        with support.service(url) as service:
            yield _tell(service, records)
    finally:
        logging.getLogger().removeHandler(handler)
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
        databases.drop(url)


def _loggers() -> list[logging.Logger]:
    made = logging.getLogger().manager.loggerDict.values()
    return [each for each in made if isinstance(each, logging.Logger)]


def _tell(service: Service, records: list[logging.LogRecord]) -> Told:
    """Every call that takes something private: taken, repeated, refused, malformed and asked for."""
    kinds = ("name", "email", "edu", "eppn", "reference", "grade", "evidence", "note")
    marks = {what: mark(what) for what in kinds}
    answers: list[Any] = []
    brin, institution = admitted(service)
    registrar, auditor = service.as_("registrar"), service.as_("auditor")

    def send(ask: Ask, method: str, path: str, json: Any = None, **more: Any) -> Any:
        answers.append(ask(method, path, json, **more))
        return answers[-1]

    body = award_body(
        reference=marks["reference"],
        learner={"eduId": marks["edu"], "name": marks["name"], "email": f"{marks['email']}@example.org"},
        grade=marks["grade"],
        evidence=[{"url": f"https://example.org/{marks['evidence']}", "narrative": marks["evidence"]}],
    )
    other = {**body, "reference": marks["reference"] + "2", "learner": {"eppn": f"{marks['eppn']}@hhs.nl"}}
    badge = ok(send(institution, "POST", "/v1/badges", body), 201)
    send(institution, "POST", "/v1/badges", other)
    path, reason = f"/v1/badges/{badge['id']}", {"reason": "other", "note": marks["note"]}
    for again in (body, {**body, "grade": "other"}, {**body, "moduleReference": "unknown"}):
        send(institution, "POST", "/v1/badges", again)
    for bad in (
        {**body, "awardedOn": marks["grade"], "moduleId": marks["reference"], "validUntil": marks["note"]},
        {**body, "learner": {"eduId": 5, "email": marks["email"], "name": [marks["name"]]}},
        {**body, "learner": {"eduId": marks["edu"], "eppn": marks["eppn"]}},
        {**body, "reference": marks["reference"] * 9, "grade": marks["grade"] + "\u0000"},
        {**body, "evidence": [{"url": marks["evidence"]}, marks["evidence"]], "supersedes": marks["name"]},
        {**body, "learner": marks["name"]},
        [marks["edu"], marks["name"]],
        {"reason": marks["note"], "note": marks["note"] + "\u202e", "effectiveOn": marks["note"]},
    ):
        for each in ("/v1/badges", f"{path}/revocation", f"{path}/suspension"):
            send(institution, "POST", each, bad)
    raw = {"Content-Type": "application/json"}
    cut = json.dumps(body).encode()[:-9]
    for content in (cut, cut + b"\xff", b"x" + cut, cut.replace(b"{", b"[")):
        send(institution, "POST", "/v1/badges", content=content, headers=raw)
    send(institution, "POST", "/v1/badges", content=cut, headers={"Content-Type": marks["name"]})
    send(registrar, "POST", f"/v1/institutions/{brin}/suspension", reason)
    send(registrar, "POST", f"/v1/institutions/{brin}/suspension", {**reason, "reason": "quality"})
    send(registrar, "DELETE", f"/v1/institutions/{brin}/suspension")
    for verb, name in (("POST", "suspension"), ("POST", "suspension"), ("POST", "revocation")):
        send(institution, verb, f"{path}/{name}", reason)
    service.settle()
    for ask in (auditor, service.institution(brin), service.as_("statistician")):
        query = {"reference": marks["reference"], "name": marks["name"]}
        send(ask, "GET", f"/v1/modules/{badge['moduleId']}/badges", params=query)
    for each in ("badges/x", "learners/x/badges", "institutions/x/badges", "modules/x/badges"):
        send(auditor, "GET", f"/v1/{each}", params={"cursor": marks["edu"], "limit": marks["grade"]})
    for each in (path, f"/v1/institutions/{brin}/badges", f"/v1/learners/{badge['learnerId']}/badges"):
        send(auditor, "GET", each)
    send(auditor, "GET", "/v1/events")
    for each in (
        f"{path}/status",
        "/v1/institutions",
        "/v1/modules",
        "/health/ready",
        "/v1/openapi.json",
        "/",
    ):
        answers.append(service.client.get(each))
    answers.append(service.as_("operator")("GET", "/metrics"))
    texts = [f"{each.text} {each.headers}" for each in answers]
    return Told(service, marks, institution, badge["id"], badge["learnerId"], texts, records)


def test_the_private_parts_are_there_for_institution_and_learner(told: Told) -> None:
    """Else this file would look for what was never taken."""
    learner = told.service.as_("learner", learner_id=told.learner)
    for ask in (told.ask, learner):
        text = ask("GET", f"/v1/badges/{told.badge}").text
        assert {what for what, each in told.marks.items() if each not in text} == {"eppn"}
    after = told.service.settle()
    assert after == len(told.service.as_("auditor")("GET", "/v1/events").text.splitlines())


def test_no_answer_to_others_and_no_refusal_tells_anything_private(told: Told) -> None:
    assert len(told.answers) > 50
    for text in told.answers:
        assert not [each for each in told.marks.values() if each in text], text


def test_no_event_holds_anything_private(told: Told) -> None:
    log = told.service.as_("auditor")("GET", "/v1/events", params={"limit": 10_000}).text
    assert "badge.awarded" in log
    assert not [what for what, each in told.marks.items() if each in log]


def test_nothing_private_is_logged(told: Told) -> None:
    assert told.records, "nothing was logged at all: the handler missed it"
    formatter = logging.Formatter("%(message)s %(pathname)s")
    for record in told.records:
        text = formatter.format(record) + repr(record.__dict__)
        assert not [each for each in told.marks.values() if each in text], text


def test_no_table_holds_anything_private_in_the_clear(told: Told) -> None:
    found: list[str] = []
    tables, rows = 0, 0
    for table, row in _dump(told.service.url):
        tables, rows = tables + (not row), rows + bool(row)
        found += [f"{table}: {what}" for what, each in told.marks.items() if _holds(row, each)]
    assert tables > 10
    assert rows > 30
    assert found == []


def _holds(row: str, text: str) -> bool:
    """In any case, in the clear or in the hexadecimal digits of a `bytea`."""
    return text.lower() in row.lower() or text.encode().hex() in row.lower()


def _dump(url: str) -> Iterator[tuple[str, str]]:
    """Every row of every table as text, as the owner sees it; an empty row begins each table."""
    connection = connect(url)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname <> 'information_schema'"
            " AND (n.nspname NOT LIKE 'pg_%' OR c.relname = 'pg_statistic')"
        )
        for (table,) in cursor.fetchall():
            yield table, ""
            cursor.execute(f"SELECT t::text FROM {table} t")
            for (row,) in cursor.fetchall():
                yield table, row
    connection.close()


def test_the_vault_seals_each_part_anew(told: Told) -> None:
    sealed = [row for table, row in _dump(told.service.url) if table.endswith("vault") and row]
    assert len(sealed) == len(set(sealed)) >= 5


def test_a_defect_of_ours_is_a_bare_500_and_its_text_is_kept_to_itself(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = mark("name")

    def broken_clock() -> dt.datetime:
        raise ValueError(f"cannot tell the time to {secret}")

    with TestClient(create_app(url, support.KEYS, broken_clock), raise_server_exceptions=False) as client:
        asking = Service(url, client, support.Clock())
        for ask, method, path, body in (
            (asking.as_("auditor"), "GET", "/v1/modules", None),
            (asking.institution(), "POST", "/v1/badges", award_body(grade=secret)),
        ):
            with caplog.at_level(logging.DEBUG):
                answer = ask(method, path, body)
            refused(answer, 500, "internal")
            assert secret not in answer.text
    records = [each for each in caplog.records if not each.name.startswith(OURS_NOT)]
    assert sum("ValueError" in each.getMessage() for each in records) == 2
    assert not [each for each in records if secret in repr(each.__dict__)]


def test_events_link_nothing_that_an_outsider_could_guess(service: Service) -> None:
    """Two awards with the same private parts have no commitment in common."""
    service.clock.moment = at_noon(2026, 7, 1)
    _, institution = admitted(service)
    for _ in range(2):
        ok(institution("POST", "/v1/badges", award_body()), 201)
    lines = service.as_("auditor")("GET", "/v1/events", params={"type": "badge.awarded"}).text.splitlines()
    one, other = (json.loads(line)["data"]["commitments"] for line in lines)
    assert set(one) == set(other) == {"recipient", "reference", "grade", "evidence"}
    assert not set(one.values()) & set(other.values())


def test_no_token_is_stored_only_its_hash(service: Service) -> None:
    _, token_id, secret = service.token("auditor").split("_", 2)
    stored = [row for table, row in _dump(service.url) if table.endswith("token") and token_id in row]
    assert len(stored) == 1
    for form in (secret, secret.encode().hex(), base64.b64encode(secret.encode()).decode()):
        assert not [row for _, row in _dump(service.url) if form in row]
    assert hashlib.sha256(secret.encode()).hexdigest() in stored[0]


def test_the_log_links_a_learners_badges_by_a_random_id(service: Service) -> None:
    (_, one), (_, other) = admitted(service), admitted(service)
    same = award_body()["learner"]
    bodies = [(one, same), (other, same), (one, {**same, "eduId": uuid.uuid4().hex})]
    for ask, learner in bodies:
        ok(ask("POST", "/v1/badges", award_body(learner=learner)), 201)
    lines = service.as_("auditor")("GET", "/v1/events", params={"type": "badge.awarded"}).text.splitlines()
    first, again, another = (uuid.UUID(json.loads(line)["data"]["learnerId"]) for line in lines)
    assert first == again != another
    assert first.version == another.version == 4
