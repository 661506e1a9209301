"""`minPosition`: a read waits for its read model, within limits, and takes no thread while it does."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.http import min_position
from tests.api.asking import (
    admitted,
    awarded,
    held_up,
    last_position,
    module_body,
    ok,
    on_a_socket,
    refused,
    wrong,
)
from tests.postgres.log import until
from tests.postgres.projecting import positions
from tests.support import MODULE, Service


def test_a_position_beyond_the_end_of_the_log_is_refused_at_once(shared_service: Service) -> None:
    brin, institution = admitted(shared_service)
    badge = awarded(institution)
    end = last_position(shared_service)
    for path in (
        "/v1/institutions",
        "/v1/modules",
        f"/v1/institutions/{brin}",
        f"/v1/modules/{badge['moduleId']}",
        f"/v1/modules/{badge['moduleId']}/versions/1",
        f"/v1/badges/{badge['id']}/status",
        f"/v1/badges/{badge['id']}",
        f"/v1/learners/{badge['learnerId']}/badges",
        f"/v1/institutions/{brin}/badges",
        f"/v1/modules/{badge['moduleId']}/badges",
    ):
        assert institution("GET", path, params={"minPosition": end}).status_code == 200
        for beyond in (end + 1, 2**53):
            wrong(institution("GET", path, params={"minPosition": beyond}), "/minPosition")


@pytest.mark.parametrize("position", ["-1", "", "x", "1.5", "1e3", "9" * 30, "None"])
def test_what_is_no_position_is_refused(shared_service: Service, position: str) -> None:
    answer = shared_service.client.get("/v1/institutions", params={"minPosition": position})
    wrong(answer, "/minPosition")


def test_position_0_is_held_by_an_empty_registry(service: Service) -> None:
    assert ok(service.client.get("/v1/institutions", params={"minPosition": 0}))["items"] == []
    wrong(service.client.get("/v1/institutions", params={"minPosition": 1}), "/minPosition")


def test_a_read_waits_until_its_read_model_holds_the_position(service: Service) -> None:
    brin, institution = admitted(service)
    service.settle()
    path = f"/v1/institutions/{brin}/badges"
    with ThreadPoolExecutor(1) as threads:
        with held_up(service.url, "badge"):
            after = {"minPosition": awarded(institution)["position"]}
            read = threads.submit(institution, "GET", path, params=after)
            # Without a position it does not wait.
            assert ok(institution("GET", path))["items"] == []
            time.sleep(0.2)
            assert not read.done()
        assert len(ok(read.result())["items"]) == 1


def test_a_read_that_waits_too_long_is_asked_to_come_back(service: Service) -> None:
    brin, institution = admitted(service)
    service.settle()
    path = f"/v1/institutions/{brin}/badges"
    with held_up(service.url, "badge"):
        after = {"minPosition": awarded(institution)["position"]}
        began = time.monotonic()
        refused(institution("GET", path, params=after), 503, "not-ready")
        assert time.monotonic() - began >= min_position.MAX_SECONDS
        # The other read model is not held up, nor is a write.
        service.client.get("/v1/modules", params=after)
        awarded(institution)
    assert len(ok(institution("GET", path, params=after))["items"]) >= 1


def test_a_list_waits_for_the_catalogue_too_where_it_needs_it(service: Service) -> None:
    """Whose institution or module the catalogue does not hold yet is not answered as unknown."""
    service.settle()
    with ThreadPoolExecutor(4) as threads:
        with held_up(service.url, "institution", "module", "module_version"):
            brin, institution = admitted(service)
            badge = awarded(institution)
            after = {"minPosition": badge["position"]}
            until(lambda: positions(service.url)["badges"] >= badge["position"])
            paths = [
                f"/v1/badges/{badge['id']}",
                f"/v1/institutions/{brin}/badges",
                f"/v1/modules/{badge['moduleId']}/badges",
            ]
            reads = [threads.submit(institution, "GET", path, params=after) for path in paths]
            time.sleep(0.3)
        assert [read.result().status_code for read in reads] == [200, 200, 200]


def test_a_read_that_needs_two_read_models_waits_no_longer_than_one_that_needs_one(
    service: Service,
) -> None:
    brin, institution = admitted(service)
    service.settle()
    with held_up(service.url, "institution", "module"), ThreadPoolExecutor(1) as threads:
        with held_up(service.url, "badge"):
            ok(institution("POST", "/v1/modules", module_body(reference="LATER")), 201)
            after = {"minPosition": awarded(institution)["position"]}
            began = time.monotonic()
            read = threads.submit(institution, "GET", f"/v1/institutions/{brin}/badges", params=after)
            time.sleep(min_position.MAX_SECONDS - 1)
        refused(read.result(), 503, "not-ready")
        # The limit is the contract's; waiting for one after the other would take nearly twice as long.
        assert time.monotonic() - began < min_position.MAX_SECONDS + 2.5


def test_beyond_200_waiting_reads_are_turned_away_while_awards_go_on(service: Service) -> None:
    _, institution = admitted(service)
    service.settle()
    with on_a_socket(service) as address, ThreadPoolExecutor(1) as threads:
        with held_up(service.url, "module"):
            later = ok(institution("POST", "/v1/modules", module_body(reference="LATER")), 201)
            path = f"/v1/modules/{later['id']}?minPosition={later['position']}"
            turned_away = threading.Event()
            crowd = threads.submit(asyncio.run, _crowd(address, path, CROWD, turned_away))
            assert turned_away.wait(60), "not all of those beyond were turned away"
            assert awarded(institution)["status"] == "active"
            assert ok(institution("POST", "/v1/modules", MODULE))["version"] == 1
        answers = crowd.result()
    beyond = [body for status, body in answers if status == 503 and str(min_position.MAX_WAITING) in body]
    assert len(answers) == CROWD
    assert len(beyond) >= CROWD - min_position.MAX_WAITING
    # The others waited: they were answered, or asked to come back after their time was over.
    assert {status for status, body in answers if body not in beyond} <= {200, 503}
    assert ok(service.client.get(path))["id"] == later["id"]


CROWD = min_position.MAX_WAITING + 60


async def _crowd(
    address: tuple[str, int], path: str, count: int, turned_away: threading.Event
) -> list[tuple[int, str]]:
    """Asks at once on so many connections; sets the event when all beyond 200 have been turned away."""
    host, port = address
    seen = 0

    async def ask() -> tuple[int, str]:
        nonlocal seen
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        if status == 503:
            assert b"retry-after: " in head.lower()
            assert json.loads(body)["type"] == "/problems/not-ready"
            seen += 1
            if seen == count - min_position.MAX_WAITING:
                turned_away.set()
        return status, body.decode()

    return await asyncio.gather(*(ask() for _ in range(count)))


def test_nobody_waits_who_has_not_said_who_asks(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    badge = awarded(institution)
    beyond = {"minPosition": last_position(shared_service) + 1}
    for path in (f"/v1/badges/{badge['id']}", f"/v1/learners/{badge['learnerId']}/badges", "/v1/learners/me"):
        refused(shared_service.client.get(path, params=beyond), 401, "unauthenticated")


def test_the_log_itself_holds_every_position_that_there_is(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    badge = awarded(institution)
    auditor = shared_service.as_("auditor")
    end = last_position(shared_service)
    for path in ("/v1/events", f"/v1/badges/{badge['id']}/history"):
        assert auditor("GET", path, params={"minPosition": badge["position"]}).status_code == 200
        wrong(auditor("GET", path, params={"minPosition": end + 1}), "/minPosition")
