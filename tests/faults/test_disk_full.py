"""The disk of the database is full: writes are refused, reads go on, and all goes on when there is room."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from registry.postgres.disk_space import RESERVE
from tests.end_to_end.client import Answer, Client, until
from tests.end_to_end.processes import Serving, Workshop, registry
from tests.end_to_end.servers import OtherPostgres, embedded_url, logins, make_token, postmaster
from tests.faults.disk import MIB, SmallDisk
from tests.faults.load import Load
from tests.faults.oracle import award_body, check_rows
from tests.support import PATIENCE_SECONDS

pytestmark = pytest.mark.slow
READS = (
    "/v1/institutions",
    "/v1/modules",
    "/v1/badges/{badge}/status",
    "/v1/badges/{badge}",
    "/v1/institutions/{brin}/badges",
)


@pytest.fixture
def disk(workshop: Workshop) -> Iterator[SmallDisk]:
    """Its users are gone before it."""
    made = SmallDisk(workshop.folder / "disk", 256)
    yield made
    workshop.close()
    made.end()


def refused(answer: Answer) -> None:
    assert answer.status == 503, answer
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "no room" in answer.json["detail"], answer


def reads_go_on(client: Client, badge: str, brin: str = "27UM") -> None:
    for path in READS:
        assert client.ask("GET", path.format(badge=badge, brin=brin)).status == 200, path


def not_ready(services: Sequence[Serving]) -> None:
    for each in services:
        with each.client() as client:
            refused(client.ask("GET", "/health/ready"))
            assert client.ask("GET", "/health/live").status == 200


def lines(bodies: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    yield b"\n".join(json.dumps(body).encode() for body in bodies)


def batch(client: Client, brin: str, name: str, count: int) -> Answer:
    bodies = [award_body(brin, f"{name}-{number}", number % 50) for number in range(count)]
    return client.stream(
        "POST", "/v1/badge-batches", lines(bodies), **{"Content-Type": "application/x-ndjson"}
    )


def fill_by_batches(client: Client) -> tuple[str, Answer]:
    """Sends batches until one is refused; answers its name, and the refusal."""
    for number in range(200):
        answer = batch(client, "27UM", f"fill-{number}", 2_000)
        if answer.status != 200:
            return f"fill-{number}", answer
    raise AssertionError("the disk was never full")


def test_a_disk_that_fills_up_refuses_writes_before_postgresql_ends(
    workshop: Workshop, disk: SmallDisk
) -> None:
    data = workshop.data(disk.folder / "data")
    services = [workshop.serve(data), workshop.serve(data)]
    assert [each.settled() for each in services]
    server, url = postmaster(data), embedded_url(data)
    token = make_token(url, "institution", institution="27UM")
    with services[0].client(token, seconds=60) as client:
        badge = client.ask("POST", "/v1/badges", award_body("27UM", "before")).json["id"]
        name, answer = fill_by_batches(client)
        refused(answer)
        # What PostgreSQL removes, as a file of its log that two of its processes made, makes no room.
        disk.fill(leave=RESERVE // 2)
        refused(client.ask("POST", "/v1/badges", award_body("27UM", "during")))
        refused(client.ask("POST", f"/v1/badges/{badge}/revocation", {"reason": "fraud"}))
        not_ready(services)
        reads_go_on(client, badge)
        again = client.ask("POST", "/v1/badges", award_body("27UM", "before"))
        assert (again.status, again.json["id"]) == (200, badge)
        rebuilt = registry("rebuild", "badges", data_dir=data)
        assert (rebuilt.status, rebuilt.err) == (
            1,
            "registry: the disk is almost full, and the rest is left to PostgreSQL\n",
        )
        print(f"refused at {name} with {disk.free // MIB} MiB left")

        disk.enlarge(384)
        for each in services:
            until(each.ready, PATIENCE_SECONDS, "a service that is ready by itself")
        outcomes = [json.loads(line) for line in batch(client, "27UM", name, 2_000).body.splitlines()]
        assert {outcome["outcome"] for outcome in outcomes} <= {"awarded", "known"}
        assert len({outcome["position"] for outcome in outcomes}) == 2_000
        assert client.ask("POST", "/v1/badges", award_body("27UM", "during")).status == 201
    for each in services:
        each.settled()
    assert registry("rebuild", "badges", data_dir=data).status == 0
    assert postmaster(data) == server, "PostgreSQL has ended"
    check_rows(url)
    assert all("Traceback" not in each.log.read_text() for each in services)


def test_what_postgresql_refuses_for_want_of_room_is_recorded_later(
    workshop: Workshop, disk: SmallDisk
) -> None:
    """It is elsewhere: nobody here sees its disk."""
    # Files of the write-ahead log that last until the service has noticed: a full one would end the server.
    server = workshop.watched_server(OtherPostgres(disk.folder / "server", "--wal-segsize=32"))

    def fill() -> None:
        # The write-ahead log has a file to fill still: without that it would end, and reads with it.
        server.begin_wal_file()
        disk.fill()

    goes_on_by_itself(workshop, server, fill, disk.clear)


def test_what_a_quota_refuses_is_recorded_later(workshop: Workshop) -> None:
    """The disk has room, but no file may become longer."""
    server = workshop.watched_server(OtherPostgres(workshop.folder / "server", "--wal-segsize=1"))
    goes_on_by_itself(workshop, server, server.limit_files, server.unlimit_files)


def goes_on_by_itself(
    workshop: Workshop, server: OtherPostgres, fill: Callable[[], object], clear: Callable[[], object]
) -> None:
    keys: dict[str, Any] = {**logins(server.url), "key_file": workshop.folder / "keys.json"}
    for command in ("migrate", "demo-data"):
        assert registry(command, **keys).status == 0
    serving, pid = workshop.serve(workshop.empty_data(), **keys), server.pid
    load = Load(serving.address, server.url, seed=11, bulk=1)
    load.start()
    load.more(100)
    fill()
    until(lambda: says_that_there_is_no_room(serving), PATIENCE_SECONDS, "a service that is not ready")
    load.stop()
    refuses_and_reads(serving, load)
    clear()
    until(serving.ready, PATIENCE_SECONDS, "a service that is ready by itself")
    load.start()
    load.more(50)
    load.stop()
    print(f"{load.check(random.Random(11))} events, unclear {dict(load.oracle.unclear)}")
    assert server.pid == pid, "PostgreSQL has ended"
    check_rows(server.url)
    assert "Traceback" not in serving.log.read_text()


def says_that_there_is_no_room(serving: Serving) -> bool:
    """And is not merely slow to answer."""
    with serving.client() as client:
        answer = client.ask("GET", "/health/ready")
        return answer.status == 503 and "no room" in answer.json["detail"]


def refuses_and_reads(serving: Serving, load: Load) -> None:
    """What is small may still fit in a page that is there, and be recorded; a batch does not."""
    assert load.oracle.unclear["503"] > 0
    intent = next(intent for intent in load.oracle.intents if intent.acknowledged)
    with serving.client(load.tokens[intent.institution]) as client:
        reads_go_on(client, intent.badge_id, intent.institution)
        refused(batch(client, intent.institution, "during", 200))
    not_ready([serving])
