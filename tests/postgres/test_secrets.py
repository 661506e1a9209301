"""A registry's secrets belong to its database: made once, for an empty one, and checked ever after."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from registry.cli import database
from registry.keys import NAMES, KeyFileError, Keys, create_key_file, read_key_file
from registry.settings import Settings
from tests import support
from tests.postgres.log import connection, execute, later, query
from tests.postgres.writing import Writer, stream


@pytest.fixture
def empty(shared_url: str) -> str:
    """The database of a registry that has no secrets yet."""
    execute(shared_url, "DELETE FROM secret")
    return shared_url


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return support.settings(tmp_path)


def opened_keys(url: str, settings: Settings) -> Keys:
    with connection(url) as opened:
        return database.open_keys(opened, settings)


def fingerprints(url: str) -> dict[str, str]:
    return dict(query(url, "SELECT name, fingerprint FROM secret"))


def test_an_empty_database_gets_secrets_and_keeps_their_fingerprints_only(
    empty: str, settings: Settings
) -> None:
    keys = opened_keys(empty, settings)
    assert read_key_file(settings.key_file) == keys
    assert fingerprints(empty) == keys.fingerprints()
    assert opened_keys(empty, settings) == keys


def test_a_missing_key_file_is_not_made_anew(empty: str, settings: Settings) -> None:
    opened_keys(empty, settings)
    settings.key_file.unlink()
    with pytest.raises(KeyFileError, match="missing"):
        opened_keys(empty, settings)
    assert not settings.key_file.exists()


def test_another_registrys_key_file_is_refused(empty: str, settings: Settings) -> None:
    keys = opened_keys(empty, settings)
    settings.key_file.unlink()
    create_key_file(settings.key_file)
    with pytest.raises(KeyFileError, match="another registry's"):
        opened_keys(empty, settings)
    assert fingerprints(empty) == keys.fingerprints()


@pytest.mark.parametrize("name", NAMES)
def test_one_other_secret_is_enough_to_refuse(empty: str, settings: Settings, name: str) -> None:
    opened_keys(empty, settings)
    execute(empty, "UPDATE secret SET fingerprint = %s WHERE name = %s", ("0" * 32, name))
    with pytest.raises(KeyFileError, match="another registry's"):
        opened_keys(empty, settings)


def test_a_log_without_fingerprints_lets_no_secrets_be_made(url: str, settings: Settings) -> None:
    writer = Writer(url)
    writer.append(stream(1))
    writer.close()
    execute(url, "DELETE FROM secret")
    with pytest.raises(KeyFileError, match="missing"):
        opened_keys(url, settings)
    create_key_file(settings.key_file)
    with pytest.raises(KeyFileError, match="another registry's"):
        opened_keys(url, settings)
    assert fingerprints(url) == {}


def test_a_key_file_that_was_made_before_a_kill_is_taken_by_the_empty_database(
    empty: str, settings: Settings
) -> None:
    keys = create_key_file(settings.key_file)
    assert opened_keys(empty, settings) == keys
    assert fingerprints(empty) == keys.fingerprints()


def test_the_fingerprints_are_recorded_together_or_not_at_all(empty: str, settings: Settings) -> None:
    execute(empty, "ALTER TABLE secret ADD CONSTRAINT broken CHECK (name <> 'vault')")
    try:
        with pytest.raises(Exception, match="broken"):
            opened_keys(empty, settings)
    finally:
        execute(empty, "ALTER TABLE secret DROP CONSTRAINT broken")
    assert fingerprints(empty) == {}
    assert opened_keys(empty, settings) == read_key_file(settings.key_file)


def test_processes_that_start_at_once_get_the_same_secrets(empty: str, settings: Settings) -> None:
    begin = threading.Barrier(4)

    def work() -> Keys:
        begin.wait()
        return opened_keys(empty, settings)

    found = [later(work) for _ in range(4)]
    assert len({tuple(vars(each.result(20)).values()) for each in found}) == 1
