"""Read models: each has a name, a version, tables, and a way to change them by a batch of events.

Rows and position change in one transaction, so that a read model holds each event exactly once. It never
skips an event by itself: one that it cannot apply stops it, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol

from registry.domain.events import Event
from registry.event_store.log import Extent, extent, extent_query
from registry.event_store.read_model_positions import positions_of, recorded_partitions, set_positions
from registry.failures import Failure
from registry.postgres.connections import Connection, Cursor, PatientCursor, Pool
from registry.postgres.prepared import execute_prepared

Condition = tuple[str, list[Any]]
"""SQL that is true or false of a row, and its values."""


class ReadModel(Protocol):
    """A read model as the projector uses it."""

    name: str
    version: int
    order: Literal["by key", "total"]
    """Whether the events of each key must come in order ("by key", those of different keys in any order), or
    all events in the order of their positions ("total"). Which pages they come in makes no difference, and
    `apply` reads nothing but its own tables: the rows are a function of the feed alone.
    """
    handles: tuple[str, ...]
    """The prefixes of the event types that it handles; other types that this release knows change nothing."""
    tables: str
    """SQL that makes its tables, with their grants and row-level security."""

    def apply(self, cursor: Cursor, events: Sequence[Event]) -> None:
        """Changes the tables by a batch of events, which must be the only one in the transaction."""

    def touched(self, events: Sequence[Event]) -> Mapping[str, Condition]:
        """The rows that a batch of events may change, by table: a rebuild compares these alone again."""


def install(connection: Connection, models: Sequence[ReadModel]) -> list[str]:
    """Makes the tables of the read models that this database lacks; returns their names."""
    installed = []
    with connection.cursor() as cursor:
        for model in models:
            cursor.execute("BEGIN")
            cursor.execute("LOCK TABLE read_model IN EXCLUSIVE MODE")
            cursor.execute("LOCK TABLE stream IN SHARE MODE")
            cursor.execute("SELECT FROM read_model WHERE name = %s", (model.name,))
            if cursor.fetchone() is None:
                schema = f"install_{model.name}"
                create_relations(cursor, model, schema)
                relations = move_relations(cursor, schema)
                cursor.execute(
                    "INSERT INTO read_model (name, version, relations) VALUES (%s, %s, %s)",
                    (model.name, model.version, relations),
                )
                set_positions(cursor, model.name, dict.fromkeys(range(recorded_partitions(cursor) or 1), 0))
                installed.append(model.name)
            cursor.execute("COMMIT")
    return installed


class NotRebuiltError(Failure):
    """A read model does not exist, or has a version other than this release's."""


def check_versions(connection: Connection, models: Sequence[ReadModel]) -> None:
    """Refuses a database whose read models do not have the versions of this release."""
    with connection.cursor() as cursor:
        for model in models:
            active = active_version(cursor, model.name)
            if active is None:
                raise NotRebuiltError(f"The read model {model.name} does not exist; run `registry migrate`.")
            if active != model.version:
                raise NotRebuiltError(
                    f"The read model {model.name} has version {active}, but this release has {model.version};"
                    f" run `registry rebuild {model.name}`."
                )


def outdated(connection: Connection, models: Sequence[ReadModel]) -> list[ReadModel]:
    """The read models of an earlier release, which must be rebuilt."""
    with connection.cursor() as cursor:
        return [model for model in models if (active_version(cursor, model.name) or 0) < model.version]


def create_relations(cursor: Cursor, model: ReadModel, schema: str) -> None:
    """Makes the read model's tables, empty, in their own schema."""
    cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    cursor.execute(f"CREATE SCHEMA {schema}")
    cursor.execute(f"GRANT USAGE ON SCHEMA {schema} TO registry_project")
    cursor.execute(f"SET LOCAL search_path = {schema}, public")
    cursor.execute(model.tables)


def relations(cursor: Cursor, schema: str) -> dict[str, str]:
    """The tables (`r`) and views (`v`) of a schema, by name."""
    cursor.execute(
        "SELECT relname, relkind FROM pg_class"
        " WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'v') ORDER BY relname",
        (schema,),
    )
    return dict(cursor.fetchall())


def move_relations(cursor: Cursor, schema: str) -> list[str]:
    """Moves all relations of a schema to those in use, and drops the schema; returns their names."""
    moved = relations(cursor, schema)
    for name, kind in moved.items():
        cursor.execute(f"ALTER {KINDS[kind]} {schema}.{name} SET SCHEMA public")
    cursor.execute(f"DROP SCHEMA {schema} CASCADE")
    return list(moved)


KINDS = {"r": "TABLE", "v": "VIEW"}


def active_version(cursor: Cursor, name: str) -> int | None:
    """The version of this read model that is in use."""
    cursor.execute("SELECT version FROM read_model WHERE name = %s", (name,))
    row = cursor.fetchone()
    return row[0] if row else None


def position(cursor: Cursor, name: str) -> int:
    """The position through which the read model holds every event of the log."""
    return min(positions_of(cursor, name).values(), default=0)


_HELD = extent_query("SELECT coalesce(min(position), 0) FROM read_model_position WHERE name = %s")


def select(
    cursor: Cursor, name: str, query: str, values: Sequence[object] = (), *, prepared: bool = False
) -> tuple[Extent, list[tuple[Any, ...]]]:
    """The rows of a query of a read model, and through where they are complete: one statement, one moment.

    The first column of the query is never null. `prepared` is for a query that is asked often.
    """
    statement = (
        f"SELECT held.*, answer.* FROM ({_HELD}) AS held LEFT JOIN LATERAL ({query}) AS answer ON true"
    )
    if prepared:
        execute_prepared(cursor, statement, (name, *values))
    else:
        cursor.execute(statement, (name, *values))
    rows = cursor.fetchall()
    return extent(*rows[0][:2]), [row[2:] for row in rows if row[2] is not None]


Asker = str
"""The reader whose private rows a query may see: `auditor`, `institution/{BRIN}` or `learner/{id}`."""

AUDITOR: Asker = "auditor"


def institution(brin: str) -> Asker:
    return f"institution/{brin}"


def learner(learner_id: str) -> Asker:
    return f"learner/{learner_id}"


class _Asking(PatientCursor):
    """A cursor whose every statement is a transaction of its own, with settings that end with it."""

    _stated = b""

    def state(self, settings: Mapping[str, str]) -> None:
        values = [part for name, value in settings.items() for part in (f"registry.{name}", value)]
        stated = ", ".join(["set_config(%s, %s, true)"] * len(settings))
        self._stated = self.mogrify(f"SELECT {stated};", values)

    def execute(self, query: Any, vars: Any = None) -> None:
        super().execute(self._stated + self.mogrify(query, vars))


@contextmanager
def asking(pool: Pool, asker: Asker, **stated: str) -> Iterator[Cursor]:
    """A cursor to which row-level security shows the asker's rows, and nobody else's.

    The settings and a statement go in one message, which PostgreSQL takes as one transaction.
    """
    with pool.cursor() as plain, plain.connection.cursor(cursor_factory=_Asking) as cursor:
        cursor.state({"asker": asker, **stated})
        yield cursor
