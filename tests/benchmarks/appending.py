"""Appends by 16 writers, each waiting until its award is durable; beside pgbench on the same server."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import threading
import time
from pathlib import Path

from registry.postgres.connections import connect
from registry.postgres.embedded import binaries
from registry.recording.registry import Registry
from tests import support
from tests.benchmarks import material
from tests.benchmarks.measure import Compared, Goal, take_turns
from tests.benchmarks.servers import Server, parts

WRITERS = 16
SECONDS = 3.0
MAX_PER_SECOND = 20_000
_runs = itertools.count()
_TABLE = """
CREATE TABLE plain (
    position bigserial PRIMARY KEY,
    subject text NOT NULL,
    version integer NOT NULL,
    type text NOT NULL,
    schema_version smallint NOT NULL,
    time timestamptz NOT NULL,
    data bytea NOT NULL,
    UNIQUE (subject, version)
);
"""


def measure(server: Server, folder: Path, rounds: int) -> list[Compared]:
    compared = Compared(
        f"append by {WRITERS} writers, durable", "events/s", "pgbench plain inserts", Goal(0.5, 0.8)
    )
    url, plain = server.registry(), server.empty()
    module_id = material.catalogue(url)
    script = _script(plain, folder, len(material.Maker(module_id).awards(1)[0].data))
    registry = Registry(url, support.KEYS)
    try:
        recorded_per_second(registry, module_id, 1.0)
        pgbench(plain, script, 1)
        take_turns(
            compared,
            rounds,
            lambda: recorded_per_second(registry, module_id, SECONDS),
            lambda: pgbench(plain, script, int(SECONDS)),
        )
    finally:
        registry.close()
    return [compared]


def recorded_per_second(registry: Registry, module_id: str, seconds: float) -> float:
    """Threads that hand over one prepared award after the other, each to a new learner."""
    commands = material.prepared(registry, module_id, f"w-{next(_runs)}", int(MAX_PER_SECOND * seconds))
    counts, start = [0] * WRITERS, threading.Barrier(WRITERS + 1)
    until = 0.0

    def write(place: int) -> None:
        start.wait()
        for command in commands[place::WRITERS]:
            if time.perf_counter() > until:
                break
            registry.record(command)
            counts[place] += 1

    threads = [threading.Thread(target=write, args=(place,)) for place in range(WRITERS)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    until = began + seconds
    start.wait()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def _script(url: str, folder: Path, size: int) -> Path:
    """A transaction of pgbench: one row with the columns and the size of an event."""
    connection = connect(url)
    with connection.cursor() as cursor:
        cursor.execute(_TABLE)
    connection.close()
    path = folder / "insert.sql"
    path.write_text(
        "INSERT INTO plain (subject, version, type, schema_version, time, data) VALUES"
        " (gen_random_uuid()::text, 1, 'badge.awarded', 1, clock_timestamp(),"
        f" '\\x{os.urandom(size).hex()}');\n"
    )
    return path


def pgbench(url: str, script: Path, seconds: int) -> float:
    """Transactions a second of as many clients; prepared statements, pgbench's fastest protocol."""
    at = parts(url)
    said = subprocess.run(
        [
            *(str(binaries() / "pgbench"), "--no-vacuum", "--protocol=prepared", f"--file={script}"),
            *(f"--client={WRITERS}", "--jobs=2", f"--time={seconds}"),
            *(f"--host={at['host']}", f"--username={at['user']}", at["dbname"]),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    ).stdout
    found = re.search(r"tps = ([0-9.]+)", said)
    if found is None:
        raise RuntimeError(f"pgbench said {said!r}")
    return float(found[1])
