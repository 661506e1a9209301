"""`make run` as the README says: from a copy of the files, in a path with a space and an accent."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.end_to_end.client import Client, free_port, until
from tests.end_to_end.page_blocks import blocks, comes_out
from tests.end_to_end.page_blocks import typed as typed_in
from tests.end_to_end.processes import DEMO_EVENTS, PROJECT, STOP_SECONDS, Running, Workshop, environment
from tests.end_to_end.servers import children, postmaster
from tests.support import PATIENCE_SECONDS

INSTALL_SECONDS = 300


class Copy:
    """The project's files in a folder of their own, with a port of its own."""

    def __init__(self, folder: Path, workshop: Workshop) -> None:
        self.folder, self._workshop = folder, workshop
        self.data = workshop.watched(folder / "var")
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=True, capture_output=True, cwd=PROJECT,
        )  # fmt: skip
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (PROJECT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, folder / name)

    def environment(self) -> dict[str, str]:
        return environment(port=self.port)

    def make_run(self, seconds: float = PATIENCE_SECONDS) -> tuple[Running, list[str]]:
        """Starts `make run`; answers it with the curl lines that it prints once it answers."""
        running = self._workshop.run(["make", "run"], self.environment(), self.folder)
        assert running.line(r"(http://\S+)", seconds) == self.address
        return running, [running.line(r"^(curl .*)$") for _ in range(3)]

    def auditor(self) -> Client:
        """Asks with a token that the copy's own command made, while the service runs."""
        done = subprocess.run(
            [".venv/bin/registry", "token", "create", "--role", "auditor"],
            check=True, capture_output=True, text=True, env=self.environment(), cwd=self.folder,
        )  # fmt: skip
        return Client(self.address, done.stdout.splitlines()[-1])


def typed(lines: list[str], folder: Path) -> list[str]:
    """What the lines answer when they are pasted into a shell, one after the other."""
    done = subprocess.run(
        ["sh", "-e"],
        check=True,
        input="\necho\n".join(lines),
        text=True,
        capture_output=True,
        cwd=folder,
        env=environment(),
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def statuses(answers: list[str]) -> list[str]:
    return [json.loads(answer)["status"] for answer in answers]


def service_of(running: Running) -> int:
    """The service itself, which make waits for."""
    (found,) = children(running.pid)
    assert b"serve" in Path(f"/proc/{found}/cmdline").read_bytes()
    return found


def check_pilot_data(client: Client, tries: int) -> None:
    """The demo data is there once, the pilot's first, and then the award of each time that the lines ran.

    A try makes two tokens, one for the lines and one for the auditor, and awards and revokes a badge.
    """
    events = [json.loads(line) for line in client.ask("GET", "/v1/events?limit=10000").body.splitlines()]
    assert [event["position"] for event in events] == list(range(1, len(events) + 1))
    demo = [event for event in events if event["data"]["channel"] == "demo"]
    pilot = demo[:33]
    assert pilot[-1]["position"] == 33
    awards = [event["data"] for event in pilot if event["type"] == "badge.awarded"]
    assert Counter(award["institution"] for award in awards) == {"27UM": 25}
    assert len({award["learnerId"] for award in awards}) == 15
    assert Counter(award["moduleName"].split(":")[0] for award in awards) == {
        "Klinisch redeneren bij complexe (verpleegkundige) problematiek": 10,
        "Make IT Work": 15,
    }
    kinds = Counter(event["type"] for event in pilot)
    assert kinds == {"institution.admitted": 2, "module.registered": 6, "badge.awarded": 25}
    assert len(demo) == DEMO_EVENTS
    assert len(events) == len(demo) + 4 * tries
    # The read models follow the log in their own time.
    held = f"minPosition={len(events)}"
    assert len(client.items(f"/v1/institutions/27UM/badges?{held}")) == 25 + tries
    assert client.items(f"/v1/institutions/22OJ/badges?{held}") == []
    assert {each["brin"]: each["name"] for each in client.items(f"/v1/institutions?{held}")} == {
        "07GR": "Avans Hogeschool",
        "21PK": "Universiteit van Amsterdam",
        "22OJ": "Hogeschool Rotterdam",
        "27UM": "De Haagse Hogeschool",
        "99MB": "MBO Voorbeeld (verzonnen)",
    }
    assert Counter(each["institution"] for each in client.items(f"/v1/modules?{held}")) == {
        "27UM": 4,
        "22OJ": 2,
        "07GR": 1,
        "21PK": 2,
        "99MB": 2,
    }


def check_readme(copy: Copy, lines: list[str], answers: list[str]) -> None:
    """README shows these lines, and what they answer."""
    console, shown = blocks("README.md")[:2]
    (started,) = typed_in(console)
    assert (started.command, shown.language) == ("make run", "json")
    printed = "\n".join((f"Microcredential registry: {copy.address}", "", *lines))
    assert comes_out(started.shown, printed.replace(copy.address, "http://127.0.0.1:8000")), printed
    assert comes_out(shown.text, "\n".join(answers)), answers


@pytest.mark.slow
def test_make_run_starts_from_a_copy_and_again_on_the_same_data_whatever_was_killed(
    workshop: Workshop,
) -> None:
    folder = workshop.folder / "régister met spatie"
    folder.mkdir()
    copy = Copy(folder, workshop)

    running, lines = copy.make_run(INSTALL_SECONDS)
    answers = typed(lines, folder)
    check_readme(copy, lines, answers)
    assert statuses(answers) == ["active", "revoked", "revoked"]
    assert len({json.loads(answer)["id"] for answer in answers}) == 1
    assert statuses(typed(lines, folder)) == ["revoked"] * 3
    with copy.auditor() as client:
        check_pilot_data(client, tries=1)
    service = service_of(running)
    running.stop()
    until(lambda: not Path(f"/proc/{service}").exists(), STOP_SECONDS, "an end of the service")
    assert postmaster(copy.data) is None

    running, lines = copy.make_run()
    assert statuses(typed(lines, folder))[-1] == "revoked"
    with copy.auditor() as client:
        check_pilot_data(client, tries=2)
    server = postmaster(copy.data)
    assert server is not None
    os.kill(service_of(running), signal.SIGKILL)
    os.kill(server, signal.SIGKILL)
    running.process.wait(STOP_SECONDS)

    running, lines = copy.make_run()
    assert statuses(typed(lines, folder))[-1] == "revoked"
    with copy.auditor() as client:
        check_pilot_data(client, tries=3)
    assert not re.search("Traceback|ERROR", running.said())
    running.stop()
    assert postmaster(copy.data) is None
