"""`registry backup` beside a service that goes on, and `registry restore` in another place."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.client import until
from tests.end_to_end.processes import Done, Serving, Workshop, registry
from tests.end_to_end.servers import OtherPostgres, embedded_url, logins, make_token
from tests.support import PATIENCE_SECONDS


def award(number: int) -> dict[str, Any]:
    return {
        "reference": f"backed-up-{number}",
        "moduleReference": "KLINRED",
        "learner": {"eduId": f"backed-up-{number}", "name": f"Verzonnen {number}"},
        "awardedOn": "2024-06-28",
        "grade": "8",
    }


class Awarding:
    """A client that awards one badge after the other, and keeps what was acknowledged by position."""

    def __init__(self, serving: Serving) -> None:
        self.acknowledged: dict[int, dict[str, Any]] = {}
        self._serving, self._leaving = serving, threading.Event()
        self._token = make_token(embedded_url(serving.data), "institution", institution="27UM")
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        with self._serving.client(self._token) as client:
            number = 0
            while not self._leaving.is_set():
                number += 1
                answer = client.ask("POST", "/v1/badges", award(number))
                assert answer.status == 201, answer
                self.acknowledged[answer.json["position"]] = {**award(number), "id": answer.json["id"]}

    @contextmanager
    def going_on(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._leaving.set()
            self._thread.join(30)


def log_of(serving: Serving) -> list[str]:
    with serving.client(make_token(embedded_url(serving.data), "auditor")) as client:
        return client.ask("GET", "/v1/events?limit=10000").body.decode().splitlines()


def test_a_backup_that_was_made_while_awards_go_on_is_the_registry_as_it_was(workshop: Workshop) -> None:
    serving = workshop.serve(workshop.data())
    assert serving.address
    awarding, folder = Awarding(serving), workshop.folder / "een back-up"
    with awarding.going_on():
        until(lambda: len(awarding.acknowledged) > 20, PATIENCE_SECONDS, "some awards")
        done = registry("backup", str(folder), data_dir=serving.data)
        assert done.status == 0, done.err
        seen = len(awarding.acknowledged)
        until(
            lambda: len(awarding.acknowledged) > seen + 20, PATIENCE_SECONDS, "more awards after the backup"
        )
    assert str(serving.data / "keys.json") in done.out
    position = int(done.last_line.removeprefix("backed up through position "))
    assert json.loads((folder / "manifest.json").read_text())["position"] == position
    secrets = json.loads((serving.data / "keys.json").read_text())
    for file in folder.iterdir():
        assert not any(secret.encode() in file.read_bytes() for secret in secrets.values())
    original = log_of(serving)

    data = workshop.empty_data()
    data.mkdir()
    shutil.copy(serving.data / "keys.json", data)
    serving.stop()
    done = registry("restore", str(folder), data_dir=data)
    assert (done.status, done.last_line) == (0, f"restored through position {position}"), done.err
    assert registry("migrate", data_dir=data).out == "nothing to migrate\n"
    restored = workshop.serve(data)
    assert restored.settled() == position
    assert log_of(restored) == original[:position]
    lost = 0
    with restored.client(make_token(embedded_url(data), "institution", institution="27UM")) as client:
        for at, body in awarding.acknowledged.items():
            badge_id = body.pop("id")
            answer = client.ask("POST", "/v1/badges", body)
            assert answer.json["id"] == badge_id
            lost += answer.status == 201
            assert (answer.status == 200) == (at <= position), answer
            badge = client.ask("GET", f"/v1/badges/{badge_id}?minPosition={answer.json['position']}").json
            assert badge["learner"]["name"] == body["learner"]["name"]
    assert 0 < lost < len(awarding.acknowledged)


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A backup of the pilot's data; the key file lies beside it."""
    folder = tmp_path_factory.mktemp("backup")
    done = registry("backup", str(folder / "copy"), data_dir=model)
    assert done.status == 0, done.err
    shutil.copy(model / "keys.json", folder)
    return folder


def restored(backup: Path, data: Path, key_file: Path | None = None) -> Done:
    return registry("restore", str(backup / "copy"), data_dir=data, key_file=key_file or data / "keys.json")


def test_a_backup_does_not_overwrite_anything(backup: Path, model: Path) -> None:
    done = registry("backup", str(backup / "copy"), data_dir=model)
    assert (done.status, done.err) == (1, f"registry: {backup / 'copy'} is not empty; name a new folder.\n")


def test_nothing_is_restored_without_the_key_file_or_with_another_one(
    backup: Path, workshop: Workshop
) -> None:
    data = workshop.empty_data()
    done = restored(backup, data)
    assert done.status == 1
    assert "put the key file back" in done.err
    other = workshop.folder / "other.json"
    assert registry("migrate", data_dir=workshop.empty_data(), key_file=other).status == 0
    done = restored(backup, data, key_file=other)
    assert done.status == 1
    assert "another registry's secrets" in done.err
    assert not (data / "postgres").exists()


def test_nothing_is_restored_over_data_that_is_there(backup: Path, workshop: Workshop) -> None:
    data = workshop.data()
    assert registry("token", "create", "--role", "auditor", data_dir=data).status == 0
    done = restored(backup, data, key_file=backup / "keys.json")
    assert done.status == 1
    assert "not empty" in done.err
    assert registry("replay", "--format", "summary", data_dir=data).status == 0


def test_a_restore_that_is_called_again_says_that_everything_is_there(
    backup: Path, workshop: Workshop
) -> None:
    """As after a kill at its very end, where nobody was told that it had succeeded."""
    data = workshop.empty_data()
    done = restored(backup, data, key_file=backup / "keys.json")
    assert done.status == 0, done.err
    again = restored(backup, data, key_file=backup / "keys.json")
    assert (again.status, again.last_line) == (0, f"was {done.last_line.replace(' ', ' already ', 1)}"), again


@pytest.mark.parametrize("file", ["manifest.json", "database.dump"])
@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_a_damaged_backup_is_refused_before_anything_is_made(
    backup: Path, workshop: Workshop, tmp_path: Path, file: str, damage: str
) -> None:
    copy = shutil.copytree(backup / "copy", tmp_path / "damaged" / "copy").parent
    path = copy / "copy" / file
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content.replace(b'"dumpSha256": "', b'"dumpSha256": "0') + b" ")
    data = workshop.empty_data()
    done = restored(copy, data, key_file=backup / "keys.json")
    assert done.status == 1
    assert done.err.startswith("registry: ")
    assert done.err.count("\n") == 1
    assert not (data / "postgres").exists()


def test_a_database_of_one_s_own_is_backed_up_and_restored_into_another(workshop: Workshop) -> None:
    server, target = workshop.other_postgres(), workshop.other_postgres()
    key_file = workshop.folder / "keys.json"
    for command in ("migrate", "demo-data"):
        done = registry(command, **logins(server.url), key_file=key_file)
        assert done.status == 0, done.err
    folder = workshop.folder / "copy"
    path = {"PATH": str(server.programs)}
    done = registry("backup", str(folder), **logins(server.url), key_file=key_file, variables=path)
    assert done.status == 0, done.err
    assert server.PASSWORD not in (folder / "manifest.json").read_text()
    done = registry("restore", str(folder), **logins(target.url), key_file=key_file, variables=path)
    assert done.status == 0, done.err
    logs = [
        registry("replay", "--format", "ndjson", **logins(url), key_file=key_file).out
        for url in (server.url, target.url)
    ]
    assert logs[0] == logs[1] != ""


def test_backup_and_restore_reach_the_database_as_every_command_does(
    workshop: Workshop, tmp_path: Path
) -> None:
    """By all that its address says, not by the parts that have a variable: the password is in a file."""
    server, target = workshop.other_postgres(), workshop.other_postgres()
    key_file, folder = workshop.folder / "keys.json", workshop.folder / "copy"
    passwords = tmp_path / "passwords"
    passwords.write_text(f"*:*:*:*:{server.PASSWORD}\n")
    passwords.chmod(0o600)

    def by_file(other: OtherPostgres) -> dict[str, Any]:
        url = other.url.replace(f":{other.PASSWORD}@", "@")
        more = f"passfile={passwords}&target_session_attrs=read-write&options=-c%20work_mem%3D8MB"
        return logins(f"{url}?{more}")

    assert registry("migrate", **logins(server.url), key_file=key_file).status == 0
    path = {"PATH": str(server.programs)}
    for command, other in (("backup", server), ("restore", target)):
        done = registry(command, str(folder), **by_file(other), key_file=key_file, variables=path)
        assert done.status == 0, done.err


def test_without_postgresql_s_programs_a_backup_says_what_to_install(workshop: Workshop) -> None:
    server, key_file = workshop.other_postgres(), workshop.folder / "keys.json"
    assert registry("migrate", **logins(server.url), key_file=key_file).status == 0
    folder = workshop.folder / "copy"
    nothing = {"PATH": str(workshop.folder)}
    done = registry("backup", str(folder), **logins(server.url), key_file=key_file, variables=nothing)
    assert (done.status, done.err) == (
        1,
        "registry: pg_dump is not on the path; install PostgreSQL's client programs.\n",
    )


def test_only_its_owner_can_read_a_backup_whatever_the_folder_was(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    done = registry("backup", str(folder), data_dir=model)
    assert done.status == 0, done.err
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "database.dump": 0o600,
        "manifest.json": 0o600,
    }
