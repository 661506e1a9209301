"""`make bench-against OLD=../old`: this checkout and an older one in turn, in one run on one machine.

Each round runs the older checkout's own benchmark and then this one's, so that whatever else the machine
does hits both. What counts is the ratio of this checkout to the older one, taken within each round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import say, show
from tests.benchmarks.processes import ROOT

ROUNDS = 3
ROUND_SECONDS = 1_800
HEADS = ("what", "unit", "old", "new", "new / old", "min..max")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.against", description=__doc__)
    parser.add_argument("old", type=Path, help="a checkout of the older state, with its .venv (`make check`)")
    parser.add_argument("--only", action="append", metavar="NAME", help="as for `python -m tests.benchmarks`")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns of both ({ROUNDS})")
    parser.add_argument("--json", type=Path, default=ROOT / "bench-against.json", help="where to write it")
    arguments = parser.parse_args()
    words = [word for name in arguments.only or () for word in ("--only", name)]
    old: dict[str, list[float]] = {}
    new: dict[str, list[float]] = {}
    units: dict[str, str] = {}
    for number in range(arguments.rounds):
        say(f"round {number + 1} of {arguments.rounds}")
        for checkout, rows in ((arguments.old.resolve(), old), (ROOT, new)):
            for result in _run(checkout, words):
                units[result["what"]] = result["unit"]
                rows.setdefault(result["what"], []).append(_ours(result))
            arguments.json.write_text(json.dumps({"old": old, "new": new}, indent=1) + "\n")
    both = [what for what in new if what in old]
    print(show([HEADS, *(_row(what, units[what], old[what], new[what]) for what in both)]))
    return 0


def _run(checkout: Path, words: list[str]) -> list[dict[str, Any]]:
    """One round of a checkout's own benchmark."""
    with tempfile.TemporaryDirectory(prefix="bench-against-") as name:
        out = Path(name) / "bench.json"
        command = [str(checkout / ".venv/bin/python"), "-m", "tests.benchmarks", "--rounds", "1"]
        subprocess.run(
            [*command, "--json", str(out), *words],
            cwd=checkout,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=ROUND_SECONDS,
        )
        results: list[dict[str, Any]] = json.loads(out.read_text())["results"]
        return results


def _ours(result: dict[str, Any]) -> float:
    ours = result.get("ours")
    return float(ours[0] if isinstance(ours, list) else result["value"])


def _row(what: str, unit: str, old: list[float], new: list[float]) -> tuple[str, ...]:
    ratios = [after / before for before, after in zip(old, new, strict=True)]
    return (
        what,
        unit,
        f"{statistics.median(old):,.1f}",
        f"{statistics.median(new):,.1f}",
        f"{statistics.median(ratios):.2f}",
        f"{min(ratios):.2f}..{max(ratios):.2f}",
    )


if __name__ == "__main__":
    sys.exit(main())
