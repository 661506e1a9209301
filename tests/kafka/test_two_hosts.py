"""docs/operating.md, "On two hosts", typed as it stands: two sets of processes, one PostgreSQL, one Kafka.

What the two hosts are to the reader are two folders and two addresses of the loopback here. A few programs
that only a real host has are stand-ins, named in `STAND_INS`; systemd is this test, which starts what the
units say.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.kafka.broker import Broker
from tests.deploy.units import commands, environment_of, read_unit
from tests.end_to_end.client import Client, free_port, until
from tests.end_to_end.processes import PROJECT, REGISTRY, Running, Workshop, environment
from tests.end_to_end.servers import OtherPostgres
from tests.kafka.streaming import Streaming
from tests.support import INSTITUTION, MODULE, PATIENCE_SECONDS, award

PAGE = (PROJECT / "docs" / "operating.md").read_text()
SECTION = PAGE.partition("\n## On two hosts\n")[2].partition("\n## ")[0]
STAND_INS = {
    "useradd": "",  # no test makes users
    "chown": "",
    "make": "",  # tests/end_to_end/test_make_run.py installs
    "ssh": "",  # it only types `chown` on the other host
    "scp": 'exec cp "$@"',
    "systemctl": 'echo "$@" >> "$SYSTEMCTL"',
}
"""Programs of a real host, and what a shell does for them here."""


class BarePostgres(OtherPostgres):
    """A server of the operator's own as it is new: without the registry's logins."""

    def _make_logins_and_database(self) -> None:
        pass


class Host:
    """A host of the page: its files, its address, and the processes that its systemd would run."""

    def __init__(self, name: str, address: str, workshop: Workshop, elsewhere: dict[str, str]) -> None:
        self.name, self.address, self._workshop, self._elsewhere = name, address, workshop, elsewhere
        self.root = workshop.folder / name
        for folder in ("etc/registry", "etc/systemd/system", "bin"):
            (self.root / folder).mkdir(parents=True)
        for program, work in STAND_INS.items():
            stand_in = self.root / "bin" / program
            stand_in.write_text(f"#!/bin/sh\n{work}\n")
            stand_in.chmod(0o755)
        self.ports = {port: free_port() for port in (8000, 8001, 8002)}
        self.running: dict[str, Running] = {}

    def here(self, text: str, hosts: dict[str, Host]) -> str:
        """What stands on the page, with this test's addresses and folders."""
        for other in hosts.values():
            for port, free in other.ports.items():
                text = text.replace(f"{other.name}:{port}", f"{other.address}:{free}")
            text = text.replace(f"{other.name}:/etc/", f"{shlex.quote(str(other.root))}/etc/")
        for theirs, ours in self._elsewhere.items():
            text = text.replace(theirs, ours)
        text = text.replace("0.0.0.0", self.address)
        text = re.sub(r"(?<![\w/])/etc/(?=registry|systemd)", f"{self.root}/etc/", text)
        return re.sub(r"\b(800[012])\b", lambda port: str(self.ports[int(port[1])]), text)

    def type(self, block: str, hosts: dict[str, Host], **variables: str) -> str:
        """Types a block of the page; answers what it printed."""
        told = self.root / "systemctl"
        told.write_text("")
        env = environment() | {"SYSTEMCTL": str(told)} | variables
        env["PATH"] = f"{self.root / 'bin'}:{env['PATH']}"
        text = self.here(block, hosts)
        print(f"\n{self.name}# " + block.strip().replace("\n", f"\n{self.name}# "))
        done = subprocess.run(
            ["/bin/sh", "-eu", "-c", text],
            check=False,
            capture_output=True,
            text=True,
            env=env,
            timeout=180,
            cwd=PROJECT,
        )
        print(done.stdout, end="")
        assert done.returncode == 0, (text, done.stderr)
        for line in told.read_text().splitlines():
            self._systemctl(line.split(), hosts)
        return done.stdout

    def _systemctl(self, words: list[str], hosts: dict[str, Host]) -> None:
        """What systemd does when it is told to."""
        names = [word for word in words[1:] if word.startswith("registry-")]
        if words[0] in ("start", "enable"):
            for name in names:
                self._start(name, hosts)
        elif words[0] == "stop":
            for name in names:
                running = self.running.pop(name)
                assert running.stop() == 0, running.said()
                print(f"{self.name}: {name} has ended with status 0")
        else:
            assert words == ["daemon-reload"]

    def _start(self, name: str, hosts: dict[str, Host]) -> None:
        unit = read_unit(f"{name}.service", self.root / "etc" / "systemd" / "system")
        given: dict[str, str] = {}
        given |= {key: self.here(value, hosts) for key, value in environment_of(unit).items()}
        for file in unit["Service.EnvironmentFile"]:
            path = Path(self.here(file.removeprefix("-"), hosts))
            if path.exists() or not file.startswith("-"):
                given |= dict(line.split("=", 1) for line in path.read_text().splitlines())
        ((program, *words),) = commands(unit)
        self.running[name] = self._workshop.run(
            [self._elsewhere.get(program, program), *words], environment() | given, self.root
        )

    def client(self, token: str = "") -> Client:
        return Client(f"http://{self.address}:{self.ports[8000]}", token, 60)

    def lose(self) -> None:
        """As a power cut would."""
        for running in self.running.values():
            running.kill()
        self.running.clear()


def blocks() -> list[tuple[list[str], str]]:
    """The names of the hosts, and what is typed on each, block by block."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL):
        first, _, rest = block.partition("\n")
        found.append((re.findall(r"\w+\.example\.org", first), rest))
    return found


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path, tmp_path)
    yield made
    made.close()


@pytest.mark.slow
def test_two_hosts_are_set_up_as_the_page_says_and_each_goes_on_without_the_other(
    workshop: Workshop, broker: Broker, tmp_path: Path
) -> None:
    Streaming("", broker.bootstrap_servers).delete_topics()
    server = workshop.watched_server(BarePostgres(tmp_path / "db"))
    elsewhere = {
        "/opt/registry/.venv/bin/registry": REGISTRY,
        "/opt/registry": str(PROJECT),
        "kafka.example.org:9092": broker.bootstrap_servers,
        "db.example.org": f"localhost:{server.port}",
        # The embedded build of PostgreSQL, which is the server here, knows no TLS.
        "sslmode=verify-full&sslrootcert=/etc/registry/db-ca.pem": "sslmode=disable",
        "=...": f"={server.PASSWORD}",
        ":...@": f":{server.PASSWORD}@",
    }
    hosts = {
        name: Host(name, address, workshop, elsewhere)
        for name, address in {
            "a.example.org": "127.0.0.2",
            "b.example.org": "127.0.0.3",
            "db.example.org": "127.0.0.1",
        }.items()
    }
    a, b = hosts["a.example.org"], hosts["b.example.org"]
    new = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGPASSWORD": server.PASSWORD,
        "PATH": f"{server.programs}:{os.environ['PATH']}",
    }
    *setting_up, (stopped, stop) = blocks()
    assert (len(setting_up), stopped) == (5, ["a.example.org"])

    for names, block in setting_up:
        for name in names:
            printed = hosts[name].type(block, hosts, **(new if name == "db.example.org" else {}))
    assert printed.count('"status":"ready"') == 2
    assert re.sub(r"\{.*?\}(?=ready)", "", printed).count("ready\n") == 4
    registrar = printed.splitlines()[-1]

    key_files = {host.name: host.root / "etc" / "registry" / "keys.json" for host in (a, b)}
    assert key_files[a.name].read_bytes() == key_files[b.name].read_bytes()
    with a.client(registrar) as client:
        assert client.ask("PUT", "/v1/institutions/27UM", INSTITUTION).status == 201
    making = next(block for _, block in setting_up if "token create" in block)
    lines = [line for line in making.splitlines() if line.startswith(("export", "/opt"))]
    lines[-1] = lines[-1].replace("registrar", "institution --institution 27UM")
    institution = a.type("\n".join(lines), hosts).splitlines()[-1]

    def told_on(here: Host, there: Host, reference: str) -> None:
        """An award on one host is seen on the other, by its status and in the read models."""
        with here.client(institution) as client:
            answer = client.ask("POST", "/v1/badges", award(reference))
            assert answer.status == 201, answer
        print(f"\nawarded on {here.name}: {answer.body.decode()}")
        badge, position = answer.json["id"], answer.json["position"]
        with there.client() as client:
            seen = client.ask("GET", f"/v1/badges/{badge}/status?minPosition={position}")
            assert (seen.status, seen.json["status"]) == (200, "active"), seen
            print(f"looked up on {there.name}: {seen.body.decode()}")

            def level() -> bool:
                health = client.ask("GET", "/health/ready").json
                return all(model["position"] >= position for model in health["readModels"])

            until(level, PATIENCE_SECONDS, f"read models that hold {reference}")
            print(f"every read model holds position {position}")

    with a.client(institution) as client:
        assert client.ask("POST", "/v1/modules", MODULE).status == 201
    told_on(a, b, "both run")
    told_on(b, a, "both run, the other way")

    a.type(stop, hosts)
    told_on(b, b, "a is stopped")
    a.type(stop.replace(" stop ", " start "), hosts)
    until(lambda: answers(a), PATIENCE_SECONDS, "a host that is back")
    told_on(a, b, "a is back")

    print("\nb.example.org loses its power")
    b.lose()
    told_on(a, a, "b is lost")


def answers(host: Host) -> bool:
    try:
        with host.client() as client:
            return client.ask("GET", "/health/ready").status == 200
    except OSError:
        return False
