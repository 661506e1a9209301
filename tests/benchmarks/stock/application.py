"""The library's application and recorder, with our rows in the recorder's transaction."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder
from eventsourcing.utils import get_topic
from psycopg import Cursor
from psycopg.rows import DictRow
from psycopg.sql import SQL

from tests.benchmarks.stock.bodies import AwardBody
from tests.benchmarks.stock.domain import SECRET, Badge, Institution, Module, made_id


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


class Recorder(PostgresApplicationRecorder):
    """Writes vault and alias rows in the transaction of their events; keeps tokens."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.sql_create_statements += [
            SQL(statement).format()
            for statement in (
                "CREATE TABLE IF NOT EXISTS vault (badge_id uuid PRIMARY KEY, institution text NOT NULL,"
                " learner_id uuid NOT NULL, content_fingerprint bytea NOT NULL, sealed bytea NOT NULL)",
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
        content_fingerprint = hmac.digest(SECRET, stated.encode(), "sha256")
        for _ in range(8):
            try:
                badge: Badge = self.repository.get(badge_id, deepcopy_from_cache=False)
            except AggregateNotFoundError:
                try:
                    return self._award(badge_id, institution, client, body, content_fingerprint)
                except IntegrityError:
                    continue  # another was first with the badge or the alias
            else:
                found = self.rows.one("SELECT content_fingerprint FROM vault WHERE badge_id = %s", badge_id)
                if found and not hmac.compare_digest(
                    bytes(found["content_fingerprint"]), content_fingerprint
                ):
                    raise RefusedError("the reference stands for other content")
                return badge_id, badge.learner_id, badge.module_id, 0, False
        raise RefusedError("too many want the same badge")

    def _award(
        self, badge_id: UUID, brin: str, client: str, body: AwardBody, content_fingerprint: bytes
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
            vault_row=(badge_id, brin, learner_id, content_fingerprint, sealed),
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
