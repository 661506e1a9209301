"""The work of a look-up follows what it answers: no filter reads much more than its page."""

from __future__ import annotations

import json
from typing import Any

import psycopg2.extensions

from projections.badges.projection import Badges
from registry.event_store.log import read_log
from registry.postgres.connections import Cursor
from registry.recording.commands import RevokeBadge, SuspendBadge
from registry.recording.registry import Registry
from tests.postgres.commands import ORIGIN, award
from tests.postgres.log import connection, execute, fresh, whole_log
from tests.postgres.projecting import projectors, settled
from tests.support import Databases


class Explaining(Cursor):
    """Adds up the rows that its statements read from tables."""

    read = 0.0

    def execute(self, query: Any, vars: Any = None) -> None:
        self._explain(self.mogrify(query, vars))
        super().execute(query, vars)

    def copy_expert(self, sql: Any, *arguments: Any) -> None:
        text = sql if isinstance(sql, bytes) else sql.encode()
        self._explain(text.removeprefix(b"COPY (").removesuffix(b") TO STDOUT BINARY"))
        super().copy_expert(sql, *arguments)

    def _explain(self, statement: bytes) -> None:
        if statement.startswith(b"PREPARE"):
            return
        super().execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement)
        ((plan,),) = self.fetchall()
        self.read += _rows_read((plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"])


def _rows_read(plan: dict[str, Any]) -> float:
    own = 0.0
    if "Relation Name" in plan:
        skipped = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        own = plan["Actual Loops"] * (plan["Actual Rows"] + skipped)
    return own + sum(_rows_read(child) for child in plan.get("Plans", ()))


def test_the_events_of_a_rare_type_are_found_however_far_they_are(databases: Databases) -> None:
    with fresh(databases) as url, connection(url) as opened:
        execute(
            url,
            "INSERT INTO event (position, subject, version, type, schema_version, time, data)"
            " SELECT n, md5(n::text), 1, CASE n WHEN 119000 THEN 'badge.revoked' ELSE 'badge.awarded' END, 1,"
            " now(), '' FROM generate_series(1, 120000) n",
        )
        execute(url, "ANALYZE event")
        with opened.cursor() as cursor:
            assert [event.position for event in read_log(cursor, 0, 1_000, kind="badge.revoked")] == [119_000]
            cursor.execute(
                "EXPLAIN SELECT * FROM event WHERE position > 0 AND type = 'badge.revoked'"
                " AND type <> 'badge.awarded' ORDER BY position LIMIT 1000"
            )
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "event_of_rare_type" in plan


class Counting(psycopg2.extensions.cursor):
    statements = 0

    def execute(self, query: Any, vars: Any = None) -> None:
        self.statements += 1
        super().execute(query, vars)


def test_a_projected_page_costs_a_few_statements_however_many_badges_change(
    url: str, registry: Registry
) -> None:
    for number in range(40):
        award(registry, "27UM", f"changing {number}", "x")
    with projectors(url, [Badges()]):
        settled(url, "badges")
    end = len(whole_log(url))
    for number in range(40):
        badge = award(registry, "27UM", f"changing {number}", "x").id
        if number % 2:
            registry.record(RevokeBadge("27UM", badge, "other", None, None, ORIGIN))
        else:
            registry.record(SuspendBadge("27UM", badge, "other", None, ORIGIN))
    events = [logged.event() for logged in whole_log(url, end)]
    assert len(events) == 40
    with connection(url, "registry_project") as opened, opened.cursor(cursor_factory=Counting) as cursor:
        cursor.execute("BEGIN")
        Badges().apply(cursor, events)
        assert cursor.statements <= 4
        cursor.execute(
            "SELECT count(*) FROM badge WHERE revoked_since IS NOT NULL OR suspended_since IS NOT NULL"
        )
        assert cursor.fetchone() == (40,)
        cursor.execute("ROLLBACK")
