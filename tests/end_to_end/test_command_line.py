"""The command `registry` as people type it: help, exit statuses, tokens, settings, refusals to start."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from psycopg2.extensions import parse_dsn

from registry.keys import create_key_file
from registry.postgres.embedded import EmbeddedPostgres
from tests.api.asking import UNKNOWN_ID
from tests.end_to_end.client import until
from tests.end_to_end.processes import (
    DEMO_EVENTS,
    REGISTRY,
    Done,
    Serving,
    Workshop,
    environment,
    explained,
    registry,
)
from tests.end_to_end.servers import OtherPostgres, embedded_url, logins, make_token, postmaster
from tests.support import MODULE, PATIENCE_SECONDS, SLACK_SECONDS, as_login

COMMANDS = (
    "",
    "serve",
    "migrate",
    "demo-data",
    "consume",
    "rebuild",
    "replay",
    "import",
    "import edubadges",
    "token",
    "token create",
    "token list",
    "token revoke",
)
TOKEN = re.compile(r"mcr_[0-9a-f]{16}_[0-9A-Za-z_-]{43}")
LEARNER = "00000000-0000-4000-8000-00000000abcd"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Serving]:
    """A service that runs while commands are given."""
    workshop = Workshop(tmp_path_factory.mktemp("command-line"), model)
    found = workshop.serve(workshop.data())
    assert found.address
    yield found
    workshop.close()


def all_at_once(lines: list[str], **settings: Any) -> dict[str, Done]:
    """Runs several commands beside each other."""
    with ThreadPoolExecutor(4) as pool:
        return dict(
            zip(lines, pool.map(lambda line: registry(*line.split(), **settings), lines), strict=True)
        )


def create(serving: Serving, line: str) -> Done:
    return registry("token", "create", *line.split(), data_dir=serving.data)


def status(serving: Serving, token: str, path: str = "/v1/events", **headers: str) -> int:
    with serving.client(token) as client:
        return client.ask("GET", path, None, **headers).status


def refused(done: Done) -> str:
    """A refusal is one sentence and exit status 1; answers what it says."""
    assert done.status == 1, done
    assert "Traceback" not in done.err, done.err
    assert done.err.splitlines()[-1].startswith("registry: "), done.err
    return done.err


def test_every_command_explains_itself() -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = dict(zip(COMMANDS, pool.map(explained, COMMANDS), strict=True))
    for command, done in answers.items():
        assert (done.status, done.err) == (0, ""), command
        assert done.out.startswith(f"usage: registry {command}".rstrip()), command
    for command in ("serve", "migrate", "demo-data", "import", "token"):
        assert re.search(rf"^ +{command}\b", answers[""].out, re.MULTILINE)
    for option in ("--role", "--institution", "--learner", "--expires-in", "--name"):
        assert option in answers["token create"].out
    for option in ("--institution", "--all-types", "--csv", "--module", "--awarded-on"):
        assert option in answers["import edubadges"].out


def test_bad_usage_ends_with_two_and_touches_nothing(tmp_path: Path) -> None:
    lines = [
        "",
        "serve --nonsense",
        "token create --role king",
        "token create --role institution",
        "token create --role learner --learner nobody",
        "token create --role auditor --expires-in 0d",
        f"token revoke mcr_0123456789abcdef_{'A' * 43}",
        "token revoke -",
        "rebuild badges --force",
        "rebuild badges --because mended",
        "topics --repartition",
        "import edubadges",
        "import edubadges /nowhere",
        "import edubadges . --institution hhs.nl",
        "import edubadges . --module 11111111-1111-8111-8111-111111111111",
        "import edubadges . --csv --awarded-on 2024-06-01",
        "import edubadges . --csv --awarded-on 1-6-2024 --module 11111111-1111-8111-8111-111111111111",
        "replay now",
        "replay --after -1",
        "replay --after 1.5",
        "replay --after 9999999999999999999",
        "replay --until yesterday",
        "replay --until 2026-01-01T00:00:00",
        "replay --until 7",
        "replay --format csv",
        "replay --as-of 7",
        f"replay --badge {UNKNOWN_ID}",
        f"replay --badge {UNKNOWN_ID} --as-of soon",
        f"replay --badge {UNKNOWN_ID} --as-of 2026-01-01T00:00:00",
        f"replay --badge {UNKNOWN_ID} --as-of -7",
        f"replay --badge {UNKNOWN_ID} --as-of 7 --after 3",
        f"replay --badge {UNKNOWN_ID} --as-of 7 --format ndjson",
        f"replay --badge {UNKNOWN_ID} --as-of 7 --until 2026-01-01T00:00:00Z",
        "replay --badge mine --as-of 7",
    ]
    data = tmp_path / "data"
    for line, done in all_at_once(lines, data_dir=data).items():
        assert done.status == 2, (line, done)
        assert done.out == ""
        assert done.err.startswith("usage: registry"), line
        assert "Traceback" not in done.err
    assert not data.exists()


def test_a_token_of_every_role_stands_alone_on_the_last_line_and_works_at_once(serving: Serving) -> None:
    roles = {
        "registrar": "--role registrar --name the-registrar",
        "institution": "--role institution --institution 27UM --expires-in 12h",
        "auditor": "--role auditor --expires-in 5m",
        "statistician": "--role statistician",
        "learner": f"--role learner --learner {LEARNER}",
        "operator": "--role operator",
    }
    with ThreadPoolExecutor(3) as pool:
        made = dict(zip(roles, pool.map(lambda line: create(serving, line), roles.values()), strict=True))
    for role, done in made.items():
        assert done.status == 0, (role, done)
        assert TOKEN.fullmatch(done.last_line), role
        assert len(TOKEN.findall(done.out + done.err)) == 1, role
        assert re.search(r"the token expires at \d{4}-\d\d-\d\dT", done.err), role
    given = {role: done.last_line for role, done in made.items()}
    assert len(set(given.values())) == len(roles)
    assert status(serving, given["auditor"]) == 200
    assert status(serving, given["statistician"]) == 403
    assert status(serving, given["learner"], "/v1/learners/me") == 200
    assert status(serving, given["operator"], "/metrics", **{"X-Forwarded-For": "192.0.2.1"}) == 200
    assert status(serving, "", "/metrics", **{"X-Forwarded-For": "192.0.2.1"}) == 401
    with serving.client(given["institution"]) as client:
        registered = client.ask("POST", "/v1/modules", MODULE | {"reference": "COMMAND-LINE"})
    assert registered.status == 201, registered
    institution = {"name": "Nieuw", "kind": "hbo", "admittedFrom": "2022-02-01"}
    with serving.client(given["registrar"]) as client:
        assert client.ask("PUT", "/v1/institutions/30XX", institution).status == 201


def test_a_token_ends_when_it_expires(serving: Serving) -> None:
    began = time.monotonic()
    token = create(serving, "--role auditor --expires-in 3s").last_line
    assert status(serving, token) == 200
    until(lambda: status(serving, token) == 401, PATIENCE_SECONDS, "an end of the token")
    assert time.monotonic() - began >= 3


def test_a_revoked_token_is_refused_from_the_next_request_on(serving: Serving) -> None:
    whole, by_id = (make_token(embedded_url(serving.data), "auditor") for _ in range(2))
    other = make_token(embedded_url(serving.data), "auditor")
    for token, word, typed in ((whole, "-", f"{whole}\n"), (by_id, by_id.split("_")[1], "")):
        assert status(serving, token) == 200
        done = registry("token", "revoke", word, typed=typed, data_dir=serving.data)
        assert (done.status, done.out) == (0, "revoked\n")
        assert status(serving, token) == 401
    assert status(serving, other) == 200
    assert "token" in refused(registry("token", "revoke", whole.split("_")[1], data_dir=serving.data))


def test_a_whole_token_is_not_taken_where_a_list_of_processes_shows_it(serving: Serving) -> None:
    token = make_token(embedded_url(serving.data), "auditor")
    done = registry("token", "revoke", token, data_dir=serving.data)
    assert done.status == 2
    assert "standard input" in done.err
    assert token not in done.out + done.err
    assert status(serving, token) == 200


def test_a_token_of_an_institution_that_is_not_admitted_is_not_made(serving: Serving) -> None:
    done = create(serving, "--role institution --institution 27XX")
    assert "27XX" in refused(done)
    assert done.out == ""


@pytest.mark.parametrize("command", ["token list", "token create --role auditor", "replay"])
def test_an_output_that_is_lost_is_a_failure_and_one_that_nobody_wants_is_none(
    command: str, serving: Serving
) -> None:
    words, env = [REGISTRY, *command.split()], environment(data_dir=serving.data)
    with Path("/dev/full").open("w") as full:
        lost = subprocess.run(words, check=False, stdout=full, stderr=subprocess.PIPE, env=env, timeout=60)
    assert lost.returncode == 1
    assert re.fullmatch(r"registry: .*No space left on device", lost.stderr.decode().splitlines()[-1])
    assert b"Exception ignored" not in lost.stderr
    read, write = os.pipe()
    os.close(read)
    unwanted = subprocess.run(words, check=False, stdout=write, stderr=subprocess.PIPE, env=env, timeout=60)
    os.close(write)
    assert unwanted.returncode == 0
    assert re.search(rb"Exception ignored|cannot write|Broken pipe", unwanted.stderr) is None


def test_the_list_of_tokens_says_whose_each_is_and_how_long_it_holds_and_never_a_secret(
    serving: Serving,
) -> None:
    token = create(serving, "--role institution --institution 27UM --name the-list").last_line
    ended = create(serving, "--role auditor").last_line
    assert registry("token", "revoke", ended.split("_")[1], data_dir=serving.data).status == 0
    done = registry("token", "list", data_dir=serving.data)
    assert done.status == 0
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert rows[0] == ["ID", "ROLE", "OF", "EXPIRES", "LAST USED", "STATE", "NAME"]
    by_id = {row[0]: row[1:] for row in rows[1:]}
    role, of, expires, used, state, name = by_id[token.split("_")[1]]
    assert (role, of, used, state, name) == ("institution", "27UM", "-", "valid", "the-list")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", expires)
    assert by_id[ended.split("_")[1]][4] == "revoked"
    assert not TOKEN.search(done.out)
    assert token.split("_", 2)[2] not in done.out


@pytest.mark.parametrize("name", ["a\x1b[2J", "\u202eevil", "a" * 101, "a\u00a0\u0301" + "\u0301" * 40])
def test_a_name_that_could_break_a_line_or_command_a_terminal_is_refused(serving: Serving, name: str) -> None:
    done = registry("token", "create", "--role", "auditor", "--name", name, data_dir=serving.data)
    assert done.status == 2
    assert "argument --name: must be" in done.err or "argument --name: must not" in done.err
    assert name not in done.err


def test_all_wrong_settings_are_named_at_once_and_no_secret_with_them(tmp_path: Path) -> None:
    done = registry(
        "serve",
        data_dir=tmp_path / "data",
        port="80 80",
        base_url="ftp://registry.example.org",
        log_level="LOUD",
        database_url="mysql://registry:geheim@db.example.org/registry",
    )
    said = refused(done)
    for name in ("PORT", "BASE_URL", "LOG_LEVEL", "DATABASE_URL"):
        assert f"REGISTRY_{name}" in said
    assert "geheim" not in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://registry:geheim@[db.example.org/registry"),
        ("BASE_URL", "https://[registry.example.org"),
        ("HOST", "no.such.host.invalid"),
        ("DATA_DIR", "{folder}/file/data"),
        ("KEY_FILE", "{folder}/file/keys.json"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_in_one_sentence(
    name: str, value: str, tmp_path: Path, serving: Serving
) -> None:
    (tmp_path / "file").write_text("a file, and no folder")
    given: dict[str, Any] = {"data_dir": tmp_path / "data"} | {name.lower(): value.format(folder=tmp_path)}
    if name in ("HOST", "KEY_FILE"):
        given["data_dir"] = serving.data
    done = registry("serve", **given)
    said = done.err.splitlines()
    assert done.status == 1, done
    assert "Traceback" not in done.err, done.err
    assert "geheim" not in done.out + done.err
    wanted = {"HOST": "no.such.host.invalid", "DATA_DIR": "file/data", "KEY_FILE": "keys.json"}
    assert wanted.get(name, f"REGISTRY_{name}") in said[-1]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://registry:Zo1heim9@127.0.0.1:1/registry",
        "postgresql://127.0.0.1:1/registry?user=registry&password=Zo1%23heim9",
        # libpq takes these as they stand; the last is a slip that it refuses.
        "postgresql://registry:Zo1@heim9@127.0.0.1:1/registry",
        "postgresql://registry:Zo1?x#heim9@127.0.0.1:1/registry",
        "postgresql://registry:Zo1/heim9@127.0.0.1:1/registry",
    ],
)
def test_no_password_reaches_the_output(url: str, tmp_path: Path) -> None:
    done = registry("serve", database_url=url, data_dir=tmp_path / "data")
    said = refused(done) + done.out
    assert "REGISTRY_DATABASE_URL=" in said
    assert "Zo1" not in said
    assert "heim9" not in said


def test_serve_says_what_it_uses(serving: Serving) -> None:
    said = serving.said()
    for name in ("DATABASE_URL", "DATA_DIR", "HOST", "PORT", "BASE_URL", "KEY_FILE", "LOG_LEVEL"):
        assert f"REGISTRY_{name}=" in said
    held = json.loads((serving.data / "keys.json").read_text())
    assert not [name for name, secret in held.items() if secret in said]


def test_a_database_that_is_not_migrated_is_refused(workshop: Workshop) -> None:
    data = workshop.empty_data()
    for line in ("serve", "token create --role auditor"):
        assert "registry migrate" in refused(registry(*line.split(), data_dir=data)), line
    assert postmaster(data) is None
    assert not (data / "keys.json").exists()
    done = registry("migrate", data_dir=data)
    assert done.status == 0, done
    assert "migrated: 0001" in done.out
    assert (data / "keys.json").stat().st_mode & 0o777 == 0o600


def test_without_its_own_secrets_it_refuses_to_start_and_says_why(workshop: Workshop) -> None:
    data = workshop.data()
    own = data / "keys.json"
    with EmbeddedPostgres(data):
        kept = own.rename(data / "put aside")
        for command in ("serve", "migrate"):
            said = refused(registry(command, data_dir=data))
            assert str(own) in said
            assert "missing" in said
            assert not own.exists()
        create_key_file(own)
        said = refused(registry("serve", data_dir=data))
        assert str(own) in said
        assert "another registry" in said
        own.write_text('{"id": "c2hvcnQ="}')
        assert str(own) in refused(registry("demo-data", data_dir=data))
        kept.replace(own)
        own.chmod(0o644)
        assert "0600" in refused(registry("serve", data_dir=data))
        own.chmod(0o600)
        elsewhere = own.rename(workshop.folder / "the keys.json")
        assert workshop.serve(data, key_file=elsewhere).address


def test_a_port_that_is_taken_is_refused(serving: Serving) -> None:
    server = postmaster(serving.data)
    done = registry("serve", data_dir=serving.data, port=serving.port)
    assert done.status == 1
    assert f"port {serving.port}" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    assert postmaster(serving.data) == server


def test_a_database_that_does_not_answer_is_refused_soon(tmp_path: Path) -> None:
    url = "postgresql://registry@127.0.0.1:1/registry"
    began = time.monotonic()
    assert "PostgreSQL" in refused(registry("migrate", owner_database_url=url, data_dir=tmp_path / "data"))
    assert time.monotonic() - began < SLACK_SECONDS


def test_the_curl_lines_name_the_address_that_was_given_by_the_system(
    serving: Serving, workshop: Workshop
) -> None:
    trying = workshop.serve(serving.data, "--demo", port=0)
    address = trying.address
    for _ in range(3):
        assert trying.line(r"^curl .*?(http://[0-9.:]+)/") == address


@pytest.fixture
def other(workshop: Workshop) -> OtherPostgres:
    return workshop.other_postgres()


def test_a_server_of_the_operators_own_works_as_the_embedded_one(
    other: OtherPostgres, workshop: Workshop
) -> None:
    data = workshop.empty_data()
    settings: dict[str, Any] = {**logins(other.url), "data_dir": data}
    for command in ("migrate", "demo-data", "migrate"):
        done = registry(command, **settings)
        assert done.status == 0, done
        assert other.PASSWORD not in done.out + done.err
    token = registry("token", "create", "--role", "auditor", **settings).last_line
    serving = workshop.serve(data, database_url=as_login(other.url, "registry_serve"))
    with serving.client(token) as client:
        assert client.ask("GET", "/v1/events?limit=1").status == 200
        # The read models follow the log in their own time.
        assert len(client.items(f"/v1/institutions/27UM/badges?minPosition={DEMO_EVENTS}")) == 25
    assert serving.stop() == 0
    said = serving.log.read_text()
    assert f"registry_serve:***@127.0.0.1:{other.port}/registry" in said
    assert other.PASSWORD not in said
    assert other.pid, "the operator's server is not ours to stop"
    assert not (data / "postgres").exists()


def test_a_server_behind_a_socket_is_reached_by_an_address_too(serving: Serving, tmp_path: Path) -> None:
    found = parse_dsn(embedded_url(serving.data))
    url = f"postgresql://{found['user']}@/{found['dbname']}?host={quote(found['host'], safe='')}"
    done = registry("token", "create", "--role", "auditor", owner_database_url=url, data_dir=tmp_path)
    assert done.status == 0, done
    assert status(serving, done.last_line) == 200
