"""What the log refuses to everyone, and what each role may do and no more."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2.errors
import pytest

from registry.event_store.append import STAGING
from registry.postgres.connections import PrivilegedRoleError, Role, check_roles
from tests.postgres.log import connection, execute, fresh, query, whole_log
from tests.postgres.test_tables import row_classes
from tests.postgres.writing import Writer, private, stored
from tests.support import Databases

ROLES: tuple[Role, ...] = ("registry_write", "registry_read", "registry_project")
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
READ_MODELS = [row.TABLE for row in row_classes()]


@pytest.fixture(scope="module")
def recorded(databases: Databases) -> Iterator[str]:
    """A database with one event, which no test changes."""
    with fresh(databases) as url:
        writer = Writer(url)
        writer.append([private(stored("a"))])
        writer.close()
        yield url


@pytest.mark.parametrize("who", [None, *ROLES])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET data = '{}'",
        "UPDATE event SET data = data WHERE false",
        "DELETE FROM event",
        "DELETE FROM event WHERE position = 1",
        "TRUNCATE event",
        "TRUNCATE event CASCADE",
        "INSERT INTO event SELECT * FROM event ON CONFLICT (position) DO UPDATE SET data = '{}'",
        "MERGE INTO event USING event AS e ON event.position = e.position"
        " WHEN MATCHED THEN UPDATE SET data = '{}'",
    ],
)
def test_what_is_recorded_is_changed_by_nobody(recorded: str, statement: str, who: Role | None) -> None:
    before = whole_log(recorded)
    with (
        connection(recorded, who) as opened,
        opened.cursor() as cursor,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        cursor.execute(statement)
    assert whole_log(recorded) == before


def rights_of(url: str, role: str) -> dict[str, set[str]]:
    """Every right that the role has on a table or view of ours, its own or everyone's."""
    rows = query(
        url,
        "SELECT relname, privilege FROM pg_class c, unnest(%s) privilege"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'p', 'm')"
        " AND has_table_privilege(%s, c.oid, privilege)",
        (list(RIGHTS), role),
    )
    found: dict[str, set[str]] = {}
    for table, right in rows:
        found.setdefault(table, set()).add(right)
    return found


EXPECTED: dict[str, dict[str, set[str]]] = {
    "registry_write": {table: {"SELECT", "INSERT"} for table in ("event", "vault", "alias")},
    "registry_read": {
        table: {"SELECT"}
        for table in (
            *("event", "vault", "token", "secret", "read_model", "read_model_position", "stream"),
            *("intervention", "alias"),
            *READ_MODELS,
        )
    },
    "registry_project": {
        **{table: {"SELECT"} for table in ("event", "stream", "intervention")},
        "read_model": {"SELECT", "UPDATE"},
        "read_model_position": {"SELECT", "INSERT", "UPDATE", "DELETE"},
        **{
            table: {"SELECT", "INSERT", "UPDATE", "DELETE"}
            for table in READ_MODELS
            if table != "badge_status"
        },
        **{table: {"SELECT", "INSERT"} for table in ("statistics_cell", "statistics_change")},
        "statistics_sum": {"SELECT", "INSERT", "UPDATE"},
    },
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_the_rights_that_it_needs_and_no_others(recorded: str, role: str) -> None:
    assert rights_of(recorded, role) == EXPECTED[role]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_nobody_by_itself_and_may_make_nothing_that_lasts(recorded: str, role: Role) -> None:
    rows = query(
        recorded,
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls"
        " FROM pg_roles WHERE rolname = %s",
        (role,),
    )
    assert rows == [(False,) * 6]
    with (
        connection(recorded, role) as opened,
        opened.cursor() as cursor,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        cursor.execute("CREATE TABLE mine (a int)")


@pytest.mark.parametrize("role", ["registry_read", "registry_project"])
def test_only_the_writing_role_appends(recorded: str, role: Role) -> None:
    before = whole_log(recorded)
    with connection(recorded, role) as opened, opened.cursor() as cursor:
        cursor.execute(STAGING)
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(
                "SELECT append("
                "ARRAY[(0, 'a', 1, 't', 1, '{}', null, null, null, null)::append_row], '{}', '{}')"
            )
    assert whole_log(recorded) == before


def test_the_roles_of_a_migrated_database_are_fit_to_serve(recorded: str) -> None:
    check_roles(recorded)


def test_a_role_that_owns_a_table_is_refused(url: str) -> None:
    execute(url, "CREATE TABLE mine (a int)")
    execute(url, "ALTER TABLE mine OWNER TO registry_read")
    with pytest.raises(PrivilegedRoleError, match="registry_read"):
        check_roles(url)


@pytest.mark.parametrize("right", ["BYPASSRLS", "SUPERUSER"])
def test_a_role_that_may_pass_row_level_security_by_is_refused(recorded: str, right: str) -> None:
    execute(recorded, f"ALTER ROLE registry_read {right}")
    try:
        with pytest.raises(PrivilegedRoleError, match="registry_read"):
            check_roles(recorded)
    finally:
        execute(recorded, f"ALTER ROLE registry_read NO{right}")
