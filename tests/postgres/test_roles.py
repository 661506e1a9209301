"""What the log refuses to everyone, what each role may do and no more, and which roles a login can become."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import psycopg2.errors
import pytest

from registry.event_store.append import STAGING
from registry.event_store.migrate import migrate
from registry.postgres.connections import ROLES as ROLES_OF
from registry.postgres.connections import Cursor, Login, LoginError, Pool, Role, check_login
from tests.postgres.log import connection, execute, fresh, query, whole_log
from tests.postgres.test_tables import row_classes
from tests.postgres.writing import Writer, private, stored
from tests.support import Databases, as_login

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
        **{table: {"SELECT"} for table in ("event", "intervention")},
        "read_model": {"SELECT", "UPDATE"},
        "stream": {"SELECT", "INSERT", "UPDATE", "DELETE"},
        "read_model_position": {"SELECT", "INSERT", "UPDATE", "DELETE"},
        **{
            table: {"SELECT", "INSERT", "UPDATE", "DELETE"}
            for table in READ_MODELS
            if table != "badge_status"
        },
        **{f"statistics_{table}": {"SELECT", "INSERT"} for table in ("cell", "change", "overlap", "module")},
        **{f"statistics_{table}": {"SELECT", "INSERT", "UPDATE"} for table in ("sum", "repeat", "holding")},
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
                "ARRAY[(0, 'a', 1, 't', 1, '{}', null, null, null, null)::append_row], '{}', '{}', now())"
            )
    assert whole_log(recorded) == before


SERVING: tuple[Login, ...] = ("registry_serve", "registry_stream")
# Projecting and dividing the log into partitions change these; nobody but the owner changes their form.
KEPT_BY_PROJECTORS = {*READ_MODELS, "read_model", "read_model_position", "stream"}


def forbidden(url: str) -> list[str]:
    """Statements that would change what is recorded, what is sealed, or what guards them."""
    statements = []
    for (table,) in query(
        url, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    ):
        for change in ("TRUNCATE %s", "DROP TABLE %s CASCADE", "ALTER TABLE %s ADD COLUMN mine int",
                       "ALTER TABLE %s DISABLE ROW LEVEL SECURITY", "ALTER TABLE %s OWNER TO session_user",
                       "ALTER TABLE %s DISABLE TRIGGER USER"):  # fmt: skip
            statements.append(change % table)
        if table not in KEPT_BY_PROJECTORS:
            columns = (
                "SELECT attname FROM pg_attribute"
                " WHERE attrelid = %s::regclass AND attnum > 0 AND attidentity = '' AND attgenerated = ''"
            )
            statements += [
                f"UPDATE {table} SET {name} = {name}"
                for (name,) in query(url, columns, (table,))
                if (table, name) != ("token", "last_used_on")  # no part of the log, and written by `serve`
            ]
            statements.append(f"DELETE FROM {table}")
    for (signature,) in query(
        url, "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    ):
        statements += [f"DROP FUNCTION {signature} CASCADE", f"ALTER FUNCTION {signature} RENAME TO mine"]
    for name, table in query(url, "SELECT tgname, tgrelid::regclass::text FROM pg_trigger"):
        statements.append(f"DROP TRIGGER {name} ON {table}")
    for name, table in query(url, "SELECT policyname, tablename FROM pg_policies"):
        statements += [f"DROP POLICY {name} ON {table}", f"ALTER POLICY {name} ON {table} USING (true)"]
    return [
        *statements,
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "ALTER ROLE session_user CREATEROLE",
        "GRANT registry_owner TO session_user",
        "SET session_replication_role = replica",
        "COPY event TO '/tmp/event'",
    ]


def becoming(cursor: Cursor, url: str) -> Iterator[str]:
    """Each role of the server that this session can take, after it has reset its own."""
    for (role,) in query(url, "SELECT rolname FROM pg_roles ORDER BY rolname"):
        cursor.execute("RESET ROLE")
        try:
            cursor.execute(f"SET ROLE {role}")
        except psycopg2.errors.InsufficientPrivilege:
            continue
        yield role


@pytest.mark.parametrize("login", SERVING)
def test_a_login_resets_its_role_takes_every_role_that_it_can_and_changes_nothing_that_is_recorded(
    recorded: str, login: Login
) -> None:
    before, statements = whole_log(recorded), forbidden(recorded)
    assert any("event" in each for each in statements)
    assert any("append(" in each for each in statements)
    for role in ROLES_OF[login]:
        pool = Pool(as_login(recorded, login), role, 1)
        with pool.cursor() as cursor:
            taken = set()
            for taking in becoming(cursor, recorded):
                taken.add(taking)
                for statement in statements:
                    with pytest.raises(psycopg2.Error) as refusal:
                        cursor.execute(statement)
                    assert refusal.value.pgcode == "42501", (taking, statement, refusal.value)
            assert taken == {login, *ROLES_OF[login]}
            for (other,) in query(recorded, "SELECT rolname FROM pg_roles WHERE rolname <> %s", (login,)):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(f"SET SESSION AUTHORIZATION {other}")
        pool.close()
    assert whole_log(recorded) == before


@pytest.mark.parametrize("login", SERVING)
def test_a_login_has_no_rights_before_it_takes_a_role_but_to_see_the_migrations(
    recorded: str, login: Login
) -> None:
    assert rights_of(recorded, login) == {"migration": {"SELECT"}}
    check_login(as_login(recorded, login), login)


def test_the_streams_login_sees_no_private_part_no_alias_no_secret_and_no_token(recorded: str) -> None:
    with connection(as_login(recorded, "registry_stream")) as opened, opened.cursor() as cursor:
        for role in becoming(cursor, recorded):
            for table in ("vault", "alias", "secret", "token"):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(f"SELECT count(*) FROM {table}")
            assert role in ("registry_project", "registry_stream")


@pytest.mark.parametrize("login", SERVING)
def test_who_is_superuser_or_the_owner_is_refused(recorded: str, login: Login) -> None:
    with pytest.raises(LoginError, match="postgres is or can become postgres"):
        check_login(recorded, login)
    with pytest.raises(LoginError, match="registry_owner is or can become registry_owner"):
        check_login(as_login(recorded, "registry_owner"), login)


def test_the_login_of_another_process_is_refused(recorded: str) -> None:
    with pytest.raises(LoginError, match="registry_serve can become registry_read"):
        check_login(as_login(recorded, "registry_serve"), "registry_stream")
    with pytest.raises(LoginError, match="registry_stream cannot become registry_read"):
        check_login(as_login(recorded, "registry_stream"), "registry_serve")


@pytest.mark.parametrize("role", ["registry_read", "registry_serve"])
@pytest.mark.parametrize("right", ["BYPASSRLS", "SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION"])
def test_a_right_that_a_login_could_reach_is_refused(recorded: str, right: str, role: str) -> None:
    execute(recorded, f"ALTER ROLE {role} {right}")
    try:
        with pytest.raises(LoginError, match="docs/operating"):
            check_login(as_login(recorded, "registry_serve"), "registry_serve")
    finally:
        execute(recorded, f"ALTER ROLE {role} NO{right}")


@pytest.mark.parametrize("other", ["pg_write_all_data", "registry_owner", "pg_execute_server_program"])
def test_a_login_that_can_become_any_other_role_is_refused(recorded: str, other: str) -> None:
    execute(recorded, f"GRANT {other} TO registry_read")
    try:
        with pytest.raises(LoginError, match=f"become {other}"):
            check_login(as_login(recorded, "registry_serve"), "registry_serve")
    finally:
        execute(recorded, f"REVOKE {other} FROM registry_read")


@pytest.mark.parametrize("login", SERVING)
def test_migrating_gives_a_login_its_roles_again_as_on_a_server_that_a_backup_was_restored_to(
    url: str, login: Login
) -> None:
    execute(url, f"REVOKE registry_project FROM {login}")
    with pytest.raises(LoginError, match="cannot become registry_project"):
        check_login(as_login(url, login), login)
    with connection(url) as owner:
        assert migrate(owner) == []
    check_login(as_login(url, login), login)


def test_a_role_that_owns_a_table_is_refused(url: str) -> None:
    execute(url, "CREATE TABLE mine (a int)")
    execute(url, "ALTER TABLE mine OWNER TO registry_read")
    with pytest.raises(LoginError, match="registry_read"):
        check_login(as_login(url, "registry_serve"), "registry_serve")


def test_the_owner_can_switch_off_what_guards_the_log(url: str) -> None:
    """So no process that keeps running logs in as the owner; nothing here shows afterwards that it did."""
    writer = Writer(url)
    writer.append([private(stored("a"))])
    writer.close()
    execute(url, "ALTER TABLE event DISABLE TRIGGER event_is_append_only; UPDATE event SET data = 'x'")
    assert [bytes(data) for (data,) in query(url, "SELECT data FROM event")] == [b"x"]
