"""PostgreSQL as tests handle it: the embedded one under a data folder, and one of an operator's own."""

from __future__ import annotations

import datetime as dt
import os
import pwd
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from registry import tokens
from registry.cli import database
from registry.postgres.connections import LOGINS, Login, connect
from registry.postgres.embedded import EmbeddedPostgres, binaries
from tests.end_to_end.client import free_port, until
from tests.support import PATIENCE_SECONDS, as_login


def postmaster(data: Path) -> int | None:
    """The process of the embedded PostgreSQL under a data folder, None where none runs."""
    return _server(data / "postgres" / "data")


def _server(cluster: Path) -> int | None:
    try:
        pid = int((cluster / "postmaster.pid").read_text().splitlines()[0])
        # The number may be another process's by now, and a process that is dead has no words.
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, IndexError, ValueError):
        return None
    return pid if str(cluster).encode() in words else None


def children(pid: int) -> list[int]:
    """The processes that a process has started and that have not ended."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def backends(server: int) -> list[int]:
    """The processes of a PostgreSQL that each serve one client of ours."""
    found = []
    for pid in children(server):
        with suppress(OSError):
            if b"registry_" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def end_server(cluster: Path) -> None:
    """Ends what a test may have left behind, by its own number."""
    if (pid := _server(cluster)) is not None:
        for each in (pid, *children(pid)):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGCONT)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
        until(lambda: _server(cluster) is None, PATIENCE_SECONDS, "an end of PostgreSQL")


def embedded_url(data: Path) -> str:
    """The address of the registry's database for the server's superuser, who may end others' sessions."""
    return EmbeddedPostgres(data).url_as("postgres")


def make_token(url: str, role: tokens.Role, **more: Any) -> str:
    """A token for an hour; quicker than the command."""
    with database.owner(url) as connection:
        return tokens.insert_token(connection, role, dt.timedelta(hours=1), **more)


def logins(url: str, login: Login = "registry_serve") -> dict[str, Any]:
    """The settings for a process that logs in as `login`, and for the commands of operators.

    `url` is the address of the owner.
    """
    return {"database_url": as_login(url, login), "owner_database_url": url}


class OtherPostgres:
    """A PostgreSQL as an operator runs it: on the loopback, with a password, restarted by nobody.

    The owner of the database may make roles; it is no superuser.
    """

    PASSWORD = "geheim-7Kq"

    def __init__(self, folder: Path, *initdb: str) -> None:
        folder.mkdir()
        self.folder = folder
        self._cluster, self._log = folder / "cluster", folder / "server.log"
        self.port, self._copies = free_port(), 0
        secret = folder / "password"
        secret.write_text(self.PASSWORD)
        if os.geteuid() == 0:
            account = _ordinary_account()
            os.chown(folder, account.pw_uid, account.pw_gid)
        self._run(
            "initdb", "-D", str(self._cluster), "-U", "postgres", "-A", "scram-sha-256",
            f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "-N", *initdb,
        )  # fmt: skip
        with (self._cluster / "postgresql.conf").open("a") as file:
            file.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n"
                "log_min_error_statement = panic\n"
            )
        self.start()
        self._make_logins_and_database()

    @property
    def programs(self) -> Path:
        """The folder of PostgreSQL's client programs."""
        return binaries()

    @property
    def url(self) -> str:
        """The address of the registry's database for its owner."""
        return self._url("registry_owner", "registry")

    def _make_logins_and_database(self) -> None:
        """With the very file that deploy/compose.yaml gives to an empty server."""
        passwords = {f"{login.upper()}_PASSWORD": self.PASSWORD for login in LOGINS}
        file = Path(__file__).parents[2] / "deploy" / "postgres" / "registry.sql"
        subprocess.run(
            [binaries() / "psql", "--no-psqlrc", "--quiet", "-f", file, self._url("postgres", "postgres")],
            check=True,
            env={**os.environ, **passwords},
        )

    def copy(self) -> str:
        """The address of a new database, a copy of the first one as it is now."""
        self._copies += 1
        self._execute(f"CREATE DATABASE copy_{self._copies} TEMPLATE registry OWNER registry_owner")
        return self._url("registry_owner", f"copy_{self._copies}")

    def _url(self, user: str, database: str) -> str:
        return f"postgresql://{user}:{self.PASSWORD}@127.0.0.1:{self.port}/{database}"

    def _execute(self, statement: str, *values: str) -> None:
        connection = connect(self._url("postgres", "postgres"))
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
        connection.close()

    def limit_files(self) -> None:
        """No file can become longer than the longest of the databases' files is now, as under a quota.

        The files of the write-ahead log, one MiB each (`--wal-segsize=1`), can be written.
        """
        sizes = [each.stat().st_size for each in (self._cluster / "base").rglob("*") if each.is_file()]
        self._limit(str(max(1024 * 1024, *sizes)))

    def unlimit_files(self) -> None:
        self._limit("unlimited")

    def _limit(self, size: str) -> None:
        server = self.pid
        # What the server starts from here on has its limit; a child may end before it is given one.
        self._as_its_user("prlimit", f"--fsize={size}:", "--pid", str(server))
        for pid in children(server):
            try:
                self._as_its_user("prlimit", f"--fsize={size}:", "--pid", str(pid))
            except AssertionError:
                assert pid not in children(server), f"process {pid} of PostgreSQL has no limit"

    def begin_wal_file(self) -> None:
        """The write-ahead log goes on in a new file, which is as long as it will ever be."""
        self._execute("SELECT pg_switch_wal()")

    @property
    def pid(self) -> int:
        found = _server(self._cluster)
        assert found is not None, "PostgreSQL does not run"
        return found

    def runs(self) -> bool:
        return _server(self._cluster) is not None

    def start(self) -> None:
        self._run("pg_ctl", "start", "-w", "-t", "60", "-D", str(self._cluster), "-l", str(self._log))

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "stop", "-w", "-t", "60", "-m", mode, "-D", str(self._cluster))

    def freeze(self) -> None:
        """It stands still: connections stay open, and nothing answers."""
        server = self.pid
        os.kill(server, signal.SIGSTOP)
        for pid in children(server):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in (*children(self.pid), self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def end(self) -> None:
        end_server(self._cluster)
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        self._as_its_user(str(binaries() / program), *arguments)

    def _as_its_user(self, program: str, *arguments: str) -> None:
        words = [program, *arguments]
        if os.geteuid() == 0:
            account = _ordinary_account()
            words = [
                "setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups",
                "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--", *words,
            ]  # fmt: skip
        done = subprocess.run(
            words, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        assert done.returncode == 0, f"{program} ended with {done.returncode}; see {self._log}"


def _ordinary_account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("as root, PostgreSQL needs an ordinary user")
