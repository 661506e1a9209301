"""`make bench`: every measurement in one run on one server; a table, and bench.json."""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.util
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Result, say, table
from tests.benchmarks.processes import ROOT
from tests.benchmarks.servers import Server, server

ROUNDS = 5
Measurement = Callable[[Server, Path, int], Sequence[Result]]


def measurements() -> dict[str, Measurement]:
    from tests.benchmarks import (
        appending,
        awards,
        batches,
        bulk,
        large,
        looking_up,
        projecting,
        reading,
        starting,
        streaming,
    )

    return {
        "awards": awards.measure,
        "append": appending.measure,
        "bulk": bulk.measure,
        "project": projecting.measure,
        "memory": starting.measure_memory,
        "make-run": starting.measure_make_run,
        "batches": batches.measure,
        "reading": reading.measure,
        "look-ups": looking_up.measure,
        "streaming": streaming.measure,
        "large": large.measure,
    }


LONG = {"large"}
"""Only where they are named: `make bench-large`."""


def main() -> int:
    missing = [name for name in ("psycopg", "psycopg_pool") if importlib.util.find_spec(name) is None]
    if missing:
        say(f"The library's own recorder, the peer, needs {' and '.join(missing)}; install them first.")
        return 1
    known = measurements()
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns of ours and the peer ({ROUNDS})")
    parser.add_argument("--json", type=Path, default=ROOT / "bench.json", help="where to write the figures")
    arguments = parser.parse_args()
    results: list[Result] = []
    began, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with server(folder / "server") as running:
            version = running.version()
            for each in arguments.only or [name for name in known if name not in LONG]:
                say(f"{each} ...")
                own = folder / each
                own.mkdir()
                results += known[each](running, own, arguments.rounds)
    about = {
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "postgresql": version,
        "processors": os.cpu_count(),
        "load_before": load,
        "rounds": arguments.rounds,
        "seconds": round(time.monotonic() - began),
    }
    arguments.json.write_text(json.dumps(_document(about, results), indent=1) + "\n")
    print(table(results))
    print(
        f"\n{about['rounds']} rounds in turn on one server, PostgreSQL {version}, {about['processors']}"
        f" processors, load {load:.1f} before; {about['seconds']} s; all figures in {arguments.json.name}"
    )
    return 0


def _document(about: dict[str, Any], results: Sequence[Result]) -> dict[str, Any]:
    return {**about, "results": [each.as_json() for each in results]}


if __name__ == "__main__":
    sys.exit(main())
