"""`make bench`: every measurement in one run on one server; a table, and bench.json.

Each figure is in bench.json as soon as it is there. A part that fails leaves the others standing: it is named
at the end, and the exit status is 1.
"""

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
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Result, say, table
from tests.benchmarks.processes import ROOT
from tests.benchmarks.servers import Server, server

ROUNDS = 5
Measurement = Callable[[Server, Path, int], Iterable[Result]]


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
    began, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with server(folder / "server") as running:
            about = {
                "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                "python": platform.python_version(),
                "postgresql": running.version(),
                "processors": os.cpu_count(),
                "load_before": load,
                "rounds": arguments.rounds,
            }
            parts = {
                name: partial(known[name], running, folder / name, arguments.rounds)
                for name in arguments.only or [name for name in known if name not in LONG]
            }
            for part in parts:
                (folder / part).mkdir()
            results, failed = measure_parts(parts, about, arguments.json)
    print(table(results))
    print(
        f"\n{about['rounds']} rounds in turn on one server, PostgreSQL {about['postgresql']},"
        f" {about['processors']} processors, load {load:.1f} before; {time.monotonic() - began:.0f} s;"
        f" all figures in {arguments.json.name}"
    )
    if failed:
        say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def measure_parts(
    parts: Mapping[str, Callable[[], Iterable[Result]]], about: Mapping[str, Any], file: Path
) -> tuple[list[Result], list[str]]:
    """Runs the parts in turn and writes each figure to `file` as it comes; the figures, and what failed."""
    results: list[Result] = []
    failed: list[str] = []

    def write() -> None:
        document = {**about, "failed": failed, "results": [each.as_json() for each in results]}
        file.write_text(json.dumps(document, indent=1) + "\n")

    for name, measure in parts.items():
        say(f"{name} ...")
        try:
            for result in measure():
                results.append(result)
                write()
        except Exception:
            traceback.print_exc()
            failed.append(name)
            write()
    return results, failed


if __name__ == "__main__":
    sys.exit(main())
