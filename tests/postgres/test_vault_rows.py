"""The vault's rows: sealed, and seen by the awarding institution and the learner only."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from contextlib import suppress

import psycopg2.errors
import pytest
from cryptography.exceptions import InvalidTag

from projections.read_model import AUDITOR, Asker, asking, institution, learner
from registry.event_store.vault import Vault
from registry.postgres.connections import Cursor, Pool
from registry.recording.decisions import BadgeOutcome
from registry.recording.registry import Registry
from tests.postgres.commands import LEARNER_NAME, award
from tests.postgres.log import connection, execute, query
from tests.support import KEYS


@pytest.fixture
def reading(url: str) -> Iterator[Pool]:
    pool = Pool(url, "registry_read", 2)
    yield pool
    pool.close()


def seen(pool: Pool, asker: Asker, *badges: str) -> set[str]:
    """The badges whose private parts are shown."""
    with asking(pool, asker) as cursor:
        return set(Vault(KEYS).read_awards(cursor, badges))


def test_an_awards_private_parts_are_shown_to_its_institution_and_its_learner(
    registry: Registry, reading: Pool
) -> None:
    mine, other = award(registry, "27UM", "1", "a"), award(registry, "22OJ", "1", "b")
    badges = (mine.id, other.id)
    assert seen(reading, institution("27UM"), *badges) == {mine.id}
    assert seen(reading, learner(mine.learner_id), *badges) == {mine.id}
    assert seen(reading, institution("22OJ"), *badges) == {other.id}
    assert seen(reading, learner(other.learner_id), *badges) == {other.id}


@pytest.mark.parametrize("asker", [AUDITOR, "", "institution/", "learner/", "institution/%", "27UM"])
def test_nobody_else_is_shown_any(registry: Registry, reading: Pool, asker: Asker) -> None:
    badge = award(registry, "27UM", "1", "a")
    assert seen(reading, asker, badge.id) == set()
    assert seen(reading, learner(str(uuid.uuid4())), badge.id) == set()


def test_where_no_asker_is_set_nothing_is_shown(registry: Registry, reading: Pool) -> None:
    badge = award(registry, "27UM", "1", "a")
    assert seen(reading, institution("27UM"), badge.id) == {badge.id}
    with reading.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM vault")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT count(*) FROM badge")
        assert cursor.fetchone() == (0,)


def test_an_asker_is_forgotten_at_the_end_of_its_transaction(registry: Registry, url: str) -> None:
    badge = award(registry, "27UM", "1", "a")
    pool = Pool(url, "registry_read", 1)
    assert seen(pool, institution("27UM"), badge.id) == {badge.id}
    with pool.cursor() as cursor:
        assert Vault(KEYS).read_awards(cursor, [badge.id]) == {}
    pool.close()


def test_the_reading_role_cannot_switch_row_level_security_off(registry: Registry, reading: Pool) -> None:
    award(registry, "27UM", "1", "a")
    with reading.cursor() as cursor:
        cursor.execute("SET row_security = off")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("SELECT * FROM vault")


def test_the_database_holds_no_private_part_in_the_clear(registry: Registry, url: str) -> None:
    award(registry, "27UM", "reference-2023", "a1b2c3d4")
    tables = query(
        url, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    words = (LEARNER_NAME, "jansen@example.org", "a1b2c3d4", "reference-2023", "grade-8", "Portfolio")
    for (table,) in tables:
        text = str(query(url, f"SELECT encode(convert_to(t::text, 'UTF8'), 'escape') FROM {table} t"))
        for word in words:
            assert word not in text
            assert word.encode().hex() not in text


def columns(url: str) -> list[tuple[str, str]]:
    """Every column of a vault row and of its event that can be changed, with its table."""
    return query(
        url,
        "SELECT attrelid::regclass::text, attname::text FROM pg_attribute"
        " WHERE attrelid IN ('vault'::regclass, 'event'::regclass)"
        " AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
    )


def moved(cursor: Cursor, change: tuple[str, str], victim: BadgeOutcome, own: BadgeOutcome) -> None:
    """Gives a column of the victim's row the value of one's own, in whose place the row then is."""
    table, column = change
    cursor.execute("SAVEPOINT moving")
    statement = (
        f"UPDATE {table} SET {column} = mine.{column} FROM (SELECT %s::bigint AS at) one, before_{table} mine"
        f" WHERE {table}.position = %s AND mine.position = one.at"
    )
    try:
        cursor.execute(statement, (own.position, victim.position))
    except psycopg2.errors.UniqueViolation:
        cursor.execute("ROLLBACK TO SAVEPOINT moving")
        cursor.execute(f"DELETE FROM {table} WHERE position = %s", (own.position,))
        cursor.execute(statement, (own.position, victim.position))


def test_no_change_of_one_or_two_columns_opens_a_row_for_another_asker(registry: Registry, url: str) -> None:
    """Whoever may write to every table, but has no key, learns nothing about the learners of another."""
    victim, own = award(registry, "27UM", "of-27UM", "a"), award(registry, "22OJ", "of-22OJ", "b")
    changes = columns(url)
    tries = [[each] for each in changes] + [list(pair) for pair in itertools.combinations(changes, 2)]
    assert len(tries) > 50
    askers = (institution("22OJ"), learner(own.learner_id))
    opened = set()
    with connection(url) as opening, opening.cursor() as cursor:
        for table in ("vault", "event"):
            cursor.execute(f"CREATE TEMPORARY TABLE before_{table} AS SELECT * FROM {table}")
        for changed, asker in itertools.product([[], *tries], askers):
            cursor.execute("BEGIN")
            cursor.execute("ALTER TABLE event DISABLE TRIGGER event_is_append_only")
            try:
                for change in changed:
                    moved(cursor, change, victim, own)
                cursor.execute("SET LOCAL ROLE registry_read")
                cursor.execute("SELECT set_config('registry.asker', %s, true)", (asker,))
                for badge in (victim, own):
                    with suppress(InvalidTag):
                        opened |= {
                            parts.reference for parts in Vault(KEYS).read_awards(cursor, [badge.id]).values()
                        }
            finally:
                cursor.execute("ROLLBACK")
    assert opened == {"of-22OJ"}


@pytest.mark.parametrize("epoch", [0, 2, 255])
def test_the_column_shows_the_epoch_of_the_key_and_no_other_epoch_opens(
    registry: Registry, url: str, epoch: int
) -> None:
    badge = award(registry, "27UM", "1", "a")
    assert query(url, "SELECT DISTINCT epoch FROM vault") == [(1,)]
    execute(url, "UPDATE vault SET sealed = set_byte(sealed, 0, %s)", (epoch,))
    assert query(url, "SELECT DISTINCT epoch FROM vault") == [(epoch,)]
    with connection(url) as opened, opened.cursor() as cursor, pytest.raises(InvalidTag):
        Vault(KEYS).read_awards(cursor, [badge.id])


def test_an_award_to_a_known_learner_is_sealed_for_that_learner(registry: Registry, reading: Pool) -> None:
    """It is prepared for a new one, before anyone knows whose the identifier is."""
    first, second = award(registry, "27UM", "1", "a"), award(registry, "22OJ", "2", "a")
    assert first.learner_id == second.learner_id
    assert seen(reading, learner(first.learner_id), first.id, second.id) == {first.id, second.id}


def test_the_database_and_the_keys_together_open_the_vault(registry: Registry, url: str) -> None:
    """The owner of the tables sees every row, and the key file opens them."""
    badge = award(registry, "27UM", "1", "a")
    with connection(url) as opened, opened.cursor() as cursor:
        assert Vault(KEYS).read_awards(cursor, [badge.id])[badge.id].reference == "1"
