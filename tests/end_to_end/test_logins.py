"""Each command logs in as who it needs to be, and as nobody else."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import pytest

from registry.cli.main import _parser
from registry.postgres.connections import Login
from tests.end_to_end.processes import PROJECT, REGISTRY, Workshop, environment, registry
from tests.end_to_end.servers import OtherPostgres, embedded_url, make_token
from tests.postgres.log import query
from tests.support import as_login

# A command with the least that it needs, and its login.
COMMANDS: dict[str, Login] = {
    "serve": "registry_serve",
    "demo-data": "registry_serve",
    "replay": "registry_serve",
    f"import edubadges {PROJECT}": "registry_serve",
    "relay": "registry_stream",
    "consume": "registry_stream",
    "topics": "registry_stream",
    "migrate": "registry_owner",
    "rebuild badges": "registry_owner",
    "retry badges --because tried": "registry_owner",
    "skip badges 1 --because tried": "registry_owner",
    "token create --role auditor": "registry_owner",
    "token revoke 0123456789abcdef": "registry_owner",
}
SETTING = {"registry_owner": "REGISTRY_OWNER_DATABASE_URL"}


def sessions(data: Path) -> set[str]:
    """Who is logged in to the registry's database."""
    rows = query(
        embedded_url(data),
        "SELECT DISTINCT usename::text FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    return {name for (name,) in rows}


def test_every_command_is_listed_here_with_its_login_and_in_the_manual_too() -> None:
    (subcommands,) = (
        action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    assert {command.split()[0] for command in COMMANDS} == set(subcommands.choices)
    manual = (PROJECT / "docs" / "operating.md").read_text()
    for login in set(COMMANDS.values()):
        (row,) = (line for line in manual.splitlines() if line.startswith(f"| `{login}` |"))
        named = {command.split()[0] for command, its in COMMANDS.items() if its == login}
        assert named == {word.strip(" `") for word in row.split("|")[2].split(",")}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_without_the_address_of_its_login_names_the_setting(command: str, tmp_path: Path) -> None:
    """It tries no other login, and no embedded server either."""
    wanted = SETTING.get(COMMANDS[command], "REGISTRY_DATABASE_URL")
    other = "database_url" if COMMANDS[command] == "registry_owner" else "owner_database_url"
    settings: dict[str, Any] = {
        other: "postgresql://someone@127.0.0.1:1/registry",
        "kafka_bootstrap_servers": "127.0.0.1:1",
        "data_dir": tmp_path / "data",
    }
    done = registry(*command.split(), **settings)
    assert done.status == 1, done
    assert done.err.splitlines()[-1] == (
        f"registry: {wanted} must be set: this command logs in as {COMMANDS[command]}"
    )
    assert not (tmp_path / "data").exists()


def test_a_serving_process_is_logged_in_as_nobody_but_its_login(workshop: Workshop) -> None:
    serving = workshop.serve(workshop.data())
    assert serving.ready(), "the server is there once the service has said its address"
    with serving.client(make_token(embedded_url(serving.data), "auditor")) as client:
        assert client.ask("GET", "/v1/events?limit=1").status == 200
    serving.settled()
    assert sessions(serving.data) == {"registry_serve"}


def test_a_consumer_needs_no_key_file_and_is_logged_in_as_nobody_but_its_login(workshop: Workshop) -> None:
    data = workshop.data()
    shutil.move(data / "keys.json", workshop.folder / "keys.json")
    consumer = workshop.run([REGISTRY, "consume"], environment(data_dir=data), workshop.folder)
    consumer.line("^(following the log)")
    assert sessions(data) == {"registry_stream"}
    assert consumer.stop() == 0, consumer.said()
    assert "keys.json is missing" in registry("demo-data", data_dir=data).err


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A migrated database of the operator's own."""
    found = OtherPostgres(tmp_path_factory.mktemp("other") / "server")
    done = registry("migrate", owner_database_url=found.url, key_file=found.folder / "keys.json")
    assert done.status == 0, done
    yield found
    found.end()


@pytest.mark.parametrize("command", [each for each, login in COMMANDS.items() if login != "registry_owner"])
def test_the_owner_and_the_superuser_are_refused_by_what_serves_streams_or_records(
    command: str, other: OtherPostgres
) -> None:
    for address in (other.url, other.url.replace("registry_owner", "postgres")):
        done = registry(
            *command.split(),
            database_url=address,
            kafka_bootstrap_servers="127.0.0.1:1",
            key_file=other.folder / "keys.json",
        )
        assert done.status == 1, done
        assert f"log in as {COMMANDS[command]}" in done.err.splitlines()[-1]


def test_serve_demo_makes_its_token_as_the_owner_and_needs_that_address_too(other: OtherPostgres) -> None:
    address = as_login(other.url, "registry_serve")
    done = registry("serve", "--demo", database_url=address, port=0, key_file=other.folder / "keys.json")
    assert done.status == 1, done
    assert done.err.splitlines()[-1].startswith("registry: REGISTRY_OWNER_DATABASE_URL must be set")


def test_the_owner_who_is_no_superuser_rebuilds_and_makes_tokens(other: OtherPostgres) -> None:
    for command in ("rebuild badges", "token create --role auditor"):
        done = registry(*command.split(), owner_database_url=other.url)
        assert done.status == 0, done


def test_a_consumer_on_a_server_of_the_operators_own_needs_its_login_alone(
    other: OtherPostgres, workshop: Workshop
) -> None:
    address = as_login(other.url, "registry_stream")
    consumer = workshop.run([REGISTRY, "consume"], environment(database_url=address), workshop.folder)
    consumer.line("^(following the log)")
    assert consumer.stop() == 0, consumer.said()
