"""The vault's rows: sealed, and seen by the awarding institution and the learner only."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg2.errors
import pytest
from cryptography.exceptions import InvalidTag

from projections.read_model import AUDITOR, Asker, asking, institution, learner
from registry.event_store.vault import Vault
from registry.postgres.connections import Pool
from registry.recording.registry import Registry
from tests.postgres.commands import LEARNER_NAME, award
from tests.postgres.log import query
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


def test_a_row_moved_to_another_event_is_not_opened(registry: Registry, url: str) -> None:
    mine, other = award(registry, "27UM", "1", "a"), award(registry, "27UM", "2", "b")
    rows = dict(query(url, "SELECT position, sealed FROM vault"))
    sealed = bytes(rows[mine.position])
    assert Vault(KEYS).open(f"{mine.id}/1", sealed).reference == "1"
    with pytest.raises(InvalidTag):
        Vault(KEYS).open(f"{other.id}/1", sealed)
