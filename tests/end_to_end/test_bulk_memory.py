"""What a batch of the largest number of lines costs the service in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.end_to_end.client import Client
from tests.end_to_end.processes import Serving, Workshop
from tests.end_to_end.servers import embedded_url, make_token

LINES = 100_000
MIB = 1024


def resident(pid: int, what: str = "VmRSS") -> int:
    """Memory of a process in KiB, now (`VmRSS`) or at its highest (`VmHWM`)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1])
    raise AssertionError(f"no {what}")


def forget_the_highest(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def award(number: int) -> dict[str, Any]:
    return {
        "reference": f"bulk-{number}",
        "moduleReference": "KLINRED",
        "learner": {"eduId": f"bulk-{number % 40_000}", "name": f"Deelnemer {number}"},
        "awardedOn": "2024-06-28",
        "grade": "8",
    }


def lines(count: int, hostile: bool) -> Iterator[bytes]:
    for number in range(count):
        body = {f"m{each}": 1 for each in range(20)} if hostile else award(number)
        yield json.dumps(body).encode() + b"\n"


def growth(serving: Serving, client: Client, count: int, hostile: bool) -> tuple[int, set[str]]:
    """By how much the service grew at its highest while it took the batch, and the kinds of outcome."""
    forget_the_highest(serving.pid)
    rest = resident(serving.pid)
    kind = {"Content-Type": "application/x-ndjson"}
    answer = client.stream("POST", "/v1/badge-batches", lines(count, hostile), **kind)
    assert answer.status == 200, answer
    found = [json.loads(line) for line in answer.body.splitlines()]
    assert [each["line"] for each in found] == list(range(1, count + 1))
    grown = resident(serving.pid, "VmHWM") - rest
    print(f"{count} lines: {grown / MIB:.0f} MiB above {rest / MIB:.0f} MiB")
    return grown, {each["outcome"] for each in found}


def test_a_hundred_thousand_lines_take_flat_memory(workshop: Workshop) -> None:
    serving = workshop.serve(workshop.data())
    serving.settled()
    token = make_token(embedded_url(serving.data), "institution", institution="27UM")
    with serving.client(token, seconds=300) as client:
        assert client.ask("POST", "/v1/badges", award(-1)).status == 201
        for count, hostile, outcome in (
            (LINES, False, "awarded"),
            (LINES, False, "known"),
            (20_000, True, "refused"),
        ):
            grown, found = growth(serving, client, count, hostile)
            assert found == {outcome}
            assert grown < 150 * MIB
