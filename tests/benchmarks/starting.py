"""From a clone to the first answered request, and the memory of a process at rest."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.benchmarks import candidates
from tests.benchmarks.awards import awards
from tests.benchmarks.candidates import Candidate
from tests.benchmarks.measure import Result, Seen
from tests.benchmarks.processes import ROOT, child, memory_mb, port_of
from tests.benchmarks.servers import Server

MAKE_RUN_SECONDS = 300
AWARDS = 1_000


def measure_memory(server: Server, folder: Path, rounds: int) -> Iterator[Result]:
    del rounds
    with candidates.ours(server, folder) as ours:
        yield from _memory("registry serve", ours, 200)
    with candidates.peer(server) as peer:
        yield from _memory("stock stack", peer, None)


def _memory(what: str, candidate: Candidate, most: float | None) -> list[Result]:
    started = memory_mb(candidate.process.pid)
    awards(candidate, requests=AWARDS)
    candidate.settle()
    return [
        Seen(f"memory of {what}, started", "MB", started, most),
        Seen(f"memory of {what}, after {AWARDS:,} awards", "MB", memory_mb(candidate.process.pid), most),
    ]


def measure_make_run(server: Server, folder: Path, rounds: int) -> list[Result]:
    """Once, in a copy of the files that a clone has."""
    del server, rounds
    copy = folder / "clone"
    for name in _files():
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    environment = {"REGISTRY_PORT": "0", "REGISTRY_LOG_LEVEL": "WARNING"}
    try:
        began = time.monotonic()
        with child(["make", "--silent", "run"], cwd=copy, environment=environment) as process:
            port = port_of(process, MAKE_RUN_SECONDS)
            candidates.asked(port, "GET", "/health/ready")
            seconds = time.monotonic() - began
    finally:
        _end_server_of(copy)
    return [Seen("make run, from clone to first answer", "s", seconds, 60)]


def _files() -> list[str]:
    """Tracked and untracked, without what is ignored."""
    said = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    ).stdout.decode()
    return [name for name in said.split("\0") if name and (ROOT / name).is_file()]


def _end_server_of(copy: Path) -> None:
    """The embedded PostgreSQL ends with `registry serve`; this is for a run that failed."""
    with suppress(OSError, ValueError, IndexError):
        pid = int((copy / "var/postgres/data/postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, 3)
