"""The peer: the stock stack, as a small reference program that does the same work as an award of ours.

FastAPI with pydantic bodies, and the eventsourcing library with its own PostgreSQL recorder on psycopg 3:
declarative aggregates, its JSON transcoder and mapper, its projection runner. An award checks a bearer
token against a table, validates the same body, meets the same badge under the same reference, refuses
what is not admitted, finds or makes the learner, commits to the private parts, seals them with AES-256-GCM,
and records event, vault row and alias in one transaction; a projection keeps the badge table.

The library's own defaults: the recorder and its EXCLUSIVE table lock, LISTEN and NOTIFY, UUID ids,
single-row tracking, one tracking transaction an event in projections, a pool of 5 to 15 connections (more
made no difference: the processor is what is short). FastAPI's: endpoints in a pool of 40 threads, response
models. Chosen in the peer's favour, where a choice is documented: the aggregate cache without fast-forward
and without copies (right for one process only), prepared statements, the token kept for a second as ours
is, uvloop and httptools, no access log. Vault and alias rows are written in the recorder's transaction
through `_insert_events`, as the library's full-text example does it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import os
import re
import secrets
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import uvicorn
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import IntegrityError, StoredEvent, Tracking
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.utils import get_topic
from fastapi import Depends, FastAPI, Header, HTTPException, Response
from psycopg import Cursor
from psycopg.rows import DictRow
from psycopg.sql import SQL
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel
from starlette.concurrency import run_in_threadpool

SECRET = b"s" * 32
TOKEN_SECONDS = 1.0


def environment(*, dbname: str, host: str, user: str) -> dict[str, str]:
    """The library's settings for a database; its defaults but for those named above."""
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": dbname,
        "POSTGRES_HOST": host,
        "POSTGRES_USER": user,
        "POSTGRES_PASSWORD": "",
        "APPLICATION_RECORDER_TOPIC": get_topic(Recorder),
        "AGGREGATE_CACHE_MAXSIZE": "1000",
        "AGGREGATE_CACHE_FASTFORWARD": "n",
        "DEEPCOPY_FROM_AGGREGATE_CACHE": "n",
    }


# The domain: the library's declarative aggregates.


class Institution(Aggregate):
    @event("Admitted")
    def __init__(self, brin: str, name: str, kind: str, admitted_from: str) -> None:
        self.brin, self.name, self.kind, self.admitted_from = brin, name, kind, admitted_from
        self.suspended = False

    @staticmethod
    def create_id(brin: str) -> UUID:
        return made_id("institution", brin, "")

    @event("Suspended")
    def suspend(self) -> None:
        self.suspended = True


class Module(Aggregate):
    @event("Registered")
    def __init__(self, institution: str, reference: str, content: dict[str, Any], content_hash: str) -> None:
        self.institution, self.reference = institution, reference
        self.content, self.content_hash = content, content_hash
        self.withdrawn = False

    @staticmethod
    def create_id(institution: str, reference: str) -> UUID:
        return made_id("module", institution, reference)

    @event("Withdrawn")
    def withdraw(self) -> None:
        self.withdrawn = True


class Badge(Aggregate):
    @event("Awarded")
    def __init__(
        self,
        badge_id: UUID,
        client: str,
        institution: str,
        institution_name: str,
        sector: str,
        learner_id: UUID,
        module_id: UUID,
        module_version: int,
        module_name: str,
        study_load: dict[str, Any],
        level: dict[str, Any],
        isced: str | None,
        content_hash: str,
        awarded_on: str,
        valid_until: str | None,
        commitments: dict[str, str],
    ) -> None:
        self.institution, self.learner_id = institution, learner_id
        self.module_id, self.module_version = module_id, module_version
        self.awarded_on = awarded_on
        self.revoked_for: str | None = None

    @staticmethod
    def create_id(badge_id: UUID) -> UUID:
        return badge_id

    @event("Revoked")
    def revoke(self, reason: str) -> None:
        self.revoked_for = reason


def made_id(kind: str, brin: str, reference: str) -> UUID:
    digest = hmac.digest(SECRET, f"{kind}\n{brin}\n{reference}".encode(), "sha256")
    return UUID(bytes=digest[:16], version=4)


# The record: the library's recorder, with our rows in its transaction.


class Recorder(PostgresApplicationRecorder):
    """Writes vault and alias rows in the transaction of their events; keeps tokens."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.sql_create_statements += [
            SQL(statement).format()
            for statement in (
                "CREATE TABLE IF NOT EXISTS vault (badge_id uuid PRIMARY KEY, institution text NOT NULL,"
                " learner_id uuid NOT NULL, sameness bytea NOT NULL, sealed bytea NOT NULL)",
                "CREATE TABLE IF NOT EXISTS alias (key bytea PRIMARY KEY, learner_id uuid NOT NULL)",
                "CREATE TABLE IF NOT EXISTS token (hash bytea PRIMARY KEY, client text NOT NULL,"
                " institution text NOT NULL, expires_at timestamptz NOT NULL, revoked_at timestamptz)",
            )
        ]

    def _insert_events(
        self,
        curs: Cursor[DictRow],
        stored_events: Sequence[StoredEvent],
        *,
        vault_row: tuple[Any, ...] | None = None,
        alias_row: tuple[Any, ...] | None = None,
        **more: Any,
    ) -> None:
        super()._insert_events(curs, stored_events, **more)
        if vault_row is not None:
            curs.execute("INSERT INTO vault VALUES (%s, %s, %s, %s, %s)", vault_row, prepare=True)
        if alias_row is not None:
            curs.execute("INSERT INTO alias VALUES (%s, %s)", alias_row, prepare=True)

    def one(self, statement: str, *values: Any) -> DictRow | None:
        with self.datastore.get_connection() as connection, connection.cursor() as cursor:
            cursor.execute(statement.encode(), values, prepare=True)
            return cursor.fetchone()


class RefusedError(Exception):
    pass


class Registry(Application[UUID]):
    name = "stock"

    def __init__(self, env: dict[str, str] | None = None) -> None:
        super().__init__(env)
        self.cipher = AESGCM(SECRET)

    @property
    def rows(self) -> Recorder:
        assert isinstance(self.recorder, Recorder)
        return self.recorder

    def award(self, institution: str, client: str, body: AwardBody) -> tuple[UUID, UUID, UUID, int, bool]:
        """The badge, its learner and module, its position, and whether it is new."""
        badge_id = made_id("badge", institution, body.reference)
        stated = body.model_dump_json(exclude={"learner": {"name", "email"}, "reference": True})
        sameness = hmac.digest(SECRET, stated.encode(), "sha256")
        for _ in range(8):
            try:
                badge: Badge = self.repository.get(badge_id, deepcopy_from_cache=False)
            except AggregateNotFoundError:
                try:
                    return self._award(badge_id, institution, client, body, sameness)
                except IntegrityError:
                    continue  # another was first with the badge or the alias
            else:
                found = self.rows.one("SELECT sameness FROM vault WHERE badge_id = %s", badge_id)
                if found and not hmac.compare_digest(bytes(found["sameness"]), sameness):
                    raise RefusedError("the reference stands for other content")
                return badge_id, badge.learner_id, badge.module_id, 0, False
        raise RefusedError("too many want the same badge")

    def _award(
        self, badge_id: UUID, brin: str, client: str, body: AwardBody, sameness: bytes
    ) -> tuple[UUID, UUID, UUID, int, bool]:
        institution: Institution = self.repository.get(Institution.create_id(brin), deepcopy_from_cache=False)
        module_id = body.module_id or Module.create_id(brin, body.module_reference or "")
        module: Module = self.repository.get(module_id, deepcopy_from_cache=False)
        _check(institution, module, body)
        learner = body.learner
        kind, scope = ("eduId", "eduid.nl") if learner.edu_id else ("eppn", brin)
        identifier = (learner.edu_id or learner.eppn or "").lower()
        alias_key = hmac.digest(SECRET, f"{kind}\n{scope}\n{identifier}".encode(), "sha256")
        known = self.rows.one("SELECT learner_id FROM alias WHERE key = %s", alias_key)
        learner_id = known["learner_id"] if known else uuid4()
        commitments, sealed = self._seal(badge_id, body)
        content = module.content
        badge = Badge(
            badge_id=badge_id,
            client=client,
            institution=brin,
            institution_name=institution.name,
            sector=institution.kind,
            learner_id=learner_id,
            module_id=module_id,
            module_version=1,
            module_name=content["name"],
            study_load=content["studyLoad"],
            level=content["level"],
            isced=content.get("isced"),
            content_hash=module.content_hash,
            awarded_on=body.awarded_on.isoformat(),
            valid_until=body.valid_until.isoformat() if body.valid_until else None,
            commitments=commitments,
        )
        recordings = self.save(
            badge,
            vault_row=(badge_id, brin, learner_id, sameness, sealed),
            alias_row=None if known else (alias_key, learner_id),
        )
        return badge_id, learner_id, module_id, recordings[0].notification.id, True

    def _seal(self, badge_id: UUID, body: AwardBody) -> tuple[dict[str, str], bytes]:
        """Salted commitments of the private parts for the event; the parts and their salts, sealed."""
        private = body.model_dump(include={"learner", "reference", "grade", "evidence"}, exclude_none=True)
        salts = {name: secrets.token_bytes(16) for name in private}
        commitments = {
            name: hashlib.sha256(salts[name] + json.dumps(part).encode()).hexdigest()
            for name, part in private.items()
        }
        plain = json.dumps({**private, "salts": {name: salt.hex() for name, salt in salts.items()}})
        nonce = secrets.token_bytes(12)
        return commitments, nonce + self.cipher.encrypt(nonce, plain.encode(), badge_id.bytes)


def _check(institution: Institution, module: Module, body: AwardBody) -> None:
    if institution.suspended or module.withdrawn:
        raise RefusedError("the institution is suspended, or the module withdrawn")
    if module.institution != institution.brin:
        raise RefusedError("the module is another institution's")
    if not institution.admitted_from <= body.awarded_on.isoformat() <= dt.date.today().isoformat():
        raise RefusedError("the day lies outside the admission")


# The read model: the library's projection runner, one event and one transaction at a time.


class Badges(PostgresTrackingRecorder):
    """The same columns and indexes as the read model `badges` of ours."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.sql_create_statements += [
            SQL(statement).format()
            for statement in (
                "CREATE TABLE IF NOT EXISTS badge (id uuid PRIMARY KEY, award_position bigint NOT NULL,"
                " last_position bigint NOT NULL, learner_id uuid NOT NULL, institution text NOT NULL,"
                " module_id uuid NOT NULL, module_version integer NOT NULL, module text NOT NULL,"
                " awarded_on date NOT NULL, valid_until date, active_since timestamptz NOT NULL,"
                " revoked_since timestamptz, revoked_for text)",
                "CREATE INDEX IF NOT EXISTS badge_of_learner ON badge (learner_id, award_position DESC)",
                "CREATE INDEX IF NOT EXISTS badge_of_institution ON badge (institution, award_position DESC)",
                "CREATE INDEX IF NOT EXISTS badge_of_module ON badge (module_id, award_position DESC)",
                "CREATE INDEX IF NOT EXISTS badge_revoked ON badge (institution, award_position DESC)"
                " WHERE revoked_since IS NOT NULL",
            )
        ]

    def add(self, tracking: Tracking, row: tuple[Any, ...]) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(
                "INSERT INTO badge (id, award_position, last_position, learner_id, institution, module_id,"
                " module_version, module, awarded_on, valid_until, active_since)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (id) DO UPDATE SET last_position = excluded.last_position",
                row,
                prepare=True,
            )

    def revoke(self, tracking: Tracking, badge_id: UUID, since: dt.datetime, reason: str) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(
                "UPDATE badge SET revoked_since = %s, revoked_for = %s, last_position = %s WHERE id = %s",
                (since, reason, tracking.notification_id, badge_id),
                prepare=True,
            )


class BadgeProjection(Projection[Badges]):
    name = "badges"
    topics = (get_topic(Badge.Awarded), get_topic(Badge.Revoked))  # type: ignore[attr-defined]

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        pass

    @process_event.register
    def _(self, fact: Badge.Awarded, tracking: Tracking) -> None:  # type: ignore[name-defined]
        module = {"name": fact.module_name, "studyLoad": fact.study_load, "level": fact.level}
        at = tracking.notification_id
        self.view.add(
            tracking,
            (
                *(fact.originator_id, at, at, fact.learner_id, fact.institution, fact.module_id),
                *(fact.module_version, json.dumps(module), fact.awarded_on, fact.valid_until, fact.timestamp),
            ),
        )

    @process_event.register
    def _(self, fact: Badge.Revoked, tracking: Tracking) -> None:  # type: ignore[name-defined]
        self.view.revoke(tracking, fact.originator_id, fact.timestamp, fact.reason)


def runner(
    env: dict[str, str], projection: type[Projection[Badges]] = BadgeProjection
) -> ProjectionRunner[Registry, Badges]:
    return ProjectionRunner(
        application_class=Registry, projection_class=projection, view_class=Badges, env=env
    )


# The border: FastAPI and pydantic.

_CLEAN = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
Short = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_CLEAN)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=_CLEAN)]
Url = Annotated[str, StringConstraints(max_length=2000, pattern=r"^https?://[^\s/?#]+\S*$")]
Email = Annotated[str, StringConstraints(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]


class Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", populate_by_name=True)


class LearnerBody(Body):
    edu_id: Name | None = None
    eppn: Name | None = None
    name: Name | None = None
    email: Email | None = None

    @model_validator(mode="after")
    def identified(self) -> LearnerBody:
        identifier = self.edu_id or self.eppn or ""
        if (self.edu_id is None) == (self.eppn is None) or re.fullmatch("[0-9]{9}", identifier):
            raise ValueError("has exactly one of eduId and eppn, and no citizen number")
        return self


class EvidenceBody(Body):
    url: Url | None = None
    name: Name | None = None
    narrative: Annotated[str, StringConstraints(max_length=4000)] | None = None
    description: Annotated[str, StringConstraints(max_length=4000)] | None = None


class AwardBody(Body):
    reference: Short
    module_id: UUID | None = None
    module_reference: Short | None = None
    learner: LearnerBody
    awarded_on: dt.date
    valid_until: dt.date | None = None
    grade: Short | None = None
    evidence: Annotated[list[EvidenceBody], Field(max_length=20)] | None = None

    @model_validator(mode="after")
    def of_a_module(self) -> AwardBody:
        if (self.module_id is None) == (self.module_reference is None):
            raise ValueError("has exactly one of moduleId and moduleReference")
        if self.valid_until is not None and self.valid_until < self.awarded_on:
            raise ValueError("validUntil lies before awardedOn")
        return self


class Awarded(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    id: UUID
    learner_id: UUID
    module_id: UUID
    module_version: int
    status: Literal["active"]
    position: int


class Tokens:
    """Finds the institution of a bearer token in its table; trusts what it read for a second."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._kept: dict[bytes, tuple[float, tuple[str, str]]] = {}

    async def __call__(self, authorization: Annotated[str, Header()] = "") -> tuple[str, str]:
        digest = hashlib.sha256(authorization.removeprefix("Bearer ").encode()).digest()
        found = self._kept.get(digest)
        if found is not None and found[0] > time.monotonic():
            return found[1]
        return await run_in_threadpool(self._read, digest)

    def _read(self, digest: bytes) -> tuple[str, str]:
        row = self._recorder.one(
            "SELECT institution, client FROM token WHERE hash = %s AND revoked_at IS NULL"
            " AND expires_at > now()",
            digest,
        )
        if row is None:
            raise HTTPException(401)
        self._kept[digest] = (time.monotonic() + TOKEN_SECONDS, (row["institution"], row["client"]))
        return row["institution"], row["client"]


def create_app(env: dict[str, str]) -> FastAPI:
    running = runner(env)
    registry, view = running.app, running.view

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with running:
            yield

    app = FastAPI(lifespan=lifespan)
    institution = Tokens(registry.rows)

    @app.post("/v1/badges", status_code=201)
    def award(body: AwardBody, response: Response, asking: tuple[str, str] = Depends(institution)) -> Awarded:
        try:
            badge, learner, module, position, new = registry.award(*asking, body)
        except (RefusedError, AggregateNotFoundError) as error:
            raise HTTPException(409, str(error)) from error
        if not new:
            response.status_code = 200
        return Awarded(
            id=badge,
            learner_id=learner,
            module_id=module,
            module_version=1,
            status="active",
            position=position,
        )

    @app.get("/position")
    def position() -> dict[str, int | None]:
        return {
            "position": registry.recorder.max_notification_id(),
            "projected": view.max_tracking_id(registry.name),
        }

    return app


def prepare(env: dict[str, str], institution: dict[str, Any], module: dict[str, Any], brin: str) -> str:
    """Makes the tables, an institution with a module, and a token for it."""
    with Registry(env) as registry:
        content = {name: value for name, value in module.items() if name != "reference"}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        registry.save(
            Institution(
                brin=brin,
                name=institution["name"],
                kind=institution["kind"],
                admitted_from=institution["admittedFrom"],
            ),
            Module(institution=brin, reference=module["reference"], content=content, content_hash=digest),
        )
        token = secrets.token_urlsafe(32)
        registry.rows.one(
            "INSERT INTO token VALUES (%s, %s, %s, now() + interval '1 day', NULL) RETURNING 1",
            hashlib.sha256(token.encode()).digest(),
            "benchmark",
            brin,
        )
    return token


def main() -> None:
    """Serves on a free port of the loopback, with the library's settings from the environment."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    port = listening.getsockname()[1]
    app = create_app(dict(os.environ))
    print(f"stock: http://127.0.0.1:{port}", flush=True)
    config = uvicorn.Config(app, access_log=False, log_level="warning", loop="uvloop", http="httptools")
    uvicorn.Server(config).run(sockets=[listening])
