"""The badge table, kept by the library's projection runner: one event and one transaction at a time."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from uuid import UUID

from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.utils import get_topic
from psycopg.sql import SQL

from tests.benchmarks.stock.application import Registry
from tests.benchmarks.stock.domain import Badge


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
