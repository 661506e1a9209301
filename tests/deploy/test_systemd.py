"""The units of systemd: commands, settings and users that there are, and no more rights than needed."""

from __future__ import annotations

import re
import shutil
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from registry.settings import NAMES, PREFIX
from tests.deploy.units import DROP_IN, SYSTEMD, commands, environment_of, read_unit
from tests.end_to_end.client import free_port
from tests.end_to_end.processes import PROJECT, explained

PAGE = (PROJECT / "docs" / "operating.md").read_text()
ROLES = ("serve", "relay", "consume")
PORTS = {"serve": "8000", "relay": "8001", "consume": "8002"}


@pytest.mark.parametrize("role", ROLES)
def test_a_unit_starts_a_command_that_there_is_with_settings_that_are_read(role: str) -> None:
    unit = read_unit(f"registry-{role}.service")
    ((program, *words),) = commands(unit)
    assert program == "/opt/registry/.venv/bin/registry"
    assert words == [role]
    assert explained(role).status == 0
    given = environment_of(unit)
    assert {name.removeprefix(PREFIX) for name in given} <= set(NAMES)
    assert given.get("REGISTRY_MONITORING_PORT") == (None if role == "serve" else PORTS[role])


@pytest.mark.parametrize("role", ROLES)
def test_the_files_and_users_of_a_unit_are_made_on_the_page(role: str) -> None:
    unit = read_unit(f"registry-{role}.service")
    (user,) = unit["Service.User"]
    assert f"useradd --system --user-group {user}\n" in PAGE
    required = [file for file in unit["Service.EnvironmentFile"] if not file.startswith("-")]
    for file in [*required, environment_of(unit)["REGISTRY_DATABASE_URL_FILE"]]:
        assert f"cat > {file} <<END" in PAGE
    for file in set(unit["Service.EnvironmentFile"]) - set(required):
        assert f"`{file.removeprefix('-')}`" in PAGE


def test_relay_and_consumers_are_another_user_than_the_service_and_cannot_read_the_key_file() -> None:
    users = {role: read_unit(f"registry-{role}.service")["Service.User"] for role in ROLES}
    assert users == {"serve": ["registry"], "relay": ["registry-stream"], "consume": ["registry-stream"]}
    for role in ("relay", "consume"):
        unit = read_unit(f"registry-{role}.service")
        assert unit["Service.InaccessiblePaths"] == ["-/etc/registry/keys.json"]
        assert "chown registry /etc/registry/keys.json" in PAGE


@pytest.mark.parametrize("role", ROLES)
def test_a_unit_is_restarted_whenever_it_ends_and_has_few_rights(role: str) -> None:
    unit = read_unit(f"registry-{role}.service")
    assert unit["Service.Restart"] == ["always"]
    assert unit["Unit.StartLimitIntervalSec"] == ["0"]
    assert int(unit["Service.TimeoutStopSec"][0]) > 10, "each process ends within 10 seconds"
    assert unit["Service.CapabilityBoundingSet"] == [""]
    assert unit["Service.ProtectSystem"] == ["strict"]
    for key in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "RestrictNamespaces"):
        assert unit[f"Service.{key}"] == ["yes"]


def test_systemd_accepts_every_unit(tmp_path: Path) -> None:
    """By its own judgement where it is installed; otherwise each section and key is one that it knows."""
    names = [file.name for file in SYSTEMD.iterdir() if file.is_file()]
    known = {
        "Unit": {"Description", "Wants", "After", "StartLimitIntervalSec"},
        "Timer": {"OnActiveSec", "OnUnitInactiveSec"},
        "Install": {"WantedBy"},
    }
    for name in names:
        for place in read_unit(name):
            section, key = place.split(".")
            assert section == "Service" or key in known[section], (name, place)
    if analyze := shutil.which("systemd-analyze"):
        for name in names:
            text = (SYSTEMD / name).read_text()
            (tmp_path / name).write_text(text.replace("/opt/registry", str(PROJECT)))
        (tmp_path / DROP_IN).parent.mkdir()
        shutil.copy(SYSTEMD / DROP_IN, tmp_path / DROP_IN)
        done = subprocess.run(
            [analyze, "verify", "--recursive-errors=no", *sorted(str(tmp_path / name) for name in names)],
            check=False,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")


class Live(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/live" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_the_timer_restarts_what_does_not_answer_and_nothing_else(tmp_path: Path) -> None:
    unit = read_unit("watch-registry.service")
    asked = commands(unit)
    assert [re.findall(r":(\d+)/health/live .*registry-(\w+)$", words[-1])[0] for words in asked] == [
        (PORTS[role], role) for role in ROLES
    ]
    told = tmp_path / "told"
    stand_in = tmp_path / "systemctl"
    stand_in.write_text(f"#!/bin/sh\necho \"$@\" >> '{told}'\n")
    stand_in.chmod(0o755)
    with ThreadingHTTPServer(("127.0.0.1", 0), Live) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        # `serve` does not answer; the others do.
        ports = {"8000": free_port(), "8001": server.server_port, "8002": server.server_port}
        for words in asked:
            line = re.sub(r":(800\d)/", lambda found: f":{ports[found[1]]}/", words[-1])
            subprocess.run(
                [*words[:-1], line],
                check=True,
                env={"PATH": f"{tmp_path}:/usr/bin:/bin", **environment_of(unit)},
                timeout=120,
            )
        server.shutdown()
    assert told.read_text() == "try-restart registry-serve\n"
