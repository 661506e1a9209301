"""Bounds of a body besides its size: fields of an object, and long bodies at once."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pytest

from api.commands import batches
from api.http import requests
from api.http.requests import MAX_BODY, MAX_LONG_BODIES_OF_TOKEN, MAX_MEMBERS, MAX_ON_LOOP, MAX_VALUES
from tests.api.asking import admitted, award_body, on_a_socket, refused
from tests.api.hostile import Request, world_of
from tests.postgres.log import until
from tests.support import Service


@pytest.mark.parametrize("path", ["/v1/badges", "/v1/badge-batches"])
def test_an_object_has_a_bounded_number_of_fields_at_any_depth(shared_service: Service, path: str) -> None:
    _, institution = admitted(shared_service)
    wide = {f"m{number}": 1 for number in range(MAX_MEMBERS + 1)}
    for body in (wide, award_body(learner=wide), award_body(evidence=[{"url": wide}])):
        if path == "/v1/badges":
            members = refused(institution("POST", path, body), 400, "invalid-input")
            assert members["errors"] == [
                {"pointer": "", "detail": f"an object must have at most {MAX_MEMBERS} fields"}
            ]
        else:
            answer = institution("POST", path, body, headers={"Content-Type": batches.MEDIA_TYPE})
            assert answer.json()["outcome"] == "refused"


def test_a_body_has_a_bounded_number_of_values(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    fields = ', "a": "[{,", "b\\"[{,": 1'  # of texts nothing is counted
    for values, detail in ((MAX_VALUES - 4, "unknown field; leave it out"), (MAX_VALUES - 3, None)):
        body = f'{{"c": [{", ".join(["1"] * values)}]{fields}}}'
        answer = institution("POST", "/v1/badges", content=body, headers={"Content-Type": "application/json"})
        details = {each["detail"] for each in refused(answer, 400, "invalid-input")["errors"]}
        assert (detail or f"must have at most {MAX_VALUES} values") in details
        assert (f"must have at most {MAX_VALUES} values" in details) == (detail is None)


def test_the_event_loop_is_free_while_a_long_body_of_any_call_is_parsed(
    shared_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, client = world_of(shared_service), shared_service.client
    parse_json, held, go_on = requests.parse_json, threading.Event(), threading.Event()

    def waits(raw: bytes) -> Any:
        held.set()
        go_on.wait(60)
        return parse_json(raw)

    monkeypatch.setattr(requests, "parse_json", waits)
    calls = {place[:3] for place in world.members()}
    assert len(calls) >= 12
    for method, path, media_type in calls:
        held.clear()
        go_on.clear()
        line = json.dumps({"unknown": "x" * (MAX_ON_LOOP + 1)})
        headers = {"Content-Type": media_type}
        with ThreadPoolExecutor(2) as pool:
            asking = pool.submit(world.ask, method, path, content=line, headers=headers)
            try:
                assert held.wait(30), path
                assert pool.submit(client.get, "/health/live").result(30).status_code == 200, path
                assert not asking.done(), path
            finally:
                go_on.set()
            assert asking.result(30).status_code in (200, 400), path


def test_no_body_of_any_call_is_read_without_a_token_of_the_right_role(shared_service: Service) -> None:
    world = world_of(shared_service)
    for method, path, media_type in {place[:3] for place in world.members()}:
        asked = Request(method, path, media_type, body=b" " * MAX_BODY, headers=((b"content-type", b""),))
        answered = world.measured(asked)
        assert (answered.status, answered.came) == (401, 0), path
        statistician = f"Bearer {world.tokens['statistician']}".encode()
        answered = world.measured(asked._replace(headers=((b"authorization", statistician),)))
        assert (answered.status, answered.came) == (403, 0), path
        assert world.measured(asked._replace(headers=())).came == MAX_BODY, path


def test_long_bodies_of_a_token_are_bounded_in_number(shared_service: Service) -> None:
    """Each is held in memory while it arrives."""
    brin, institution = admitted(shared_service)
    token = shared_service.token("institution", institution=brin)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    spellings = itertools.cycle([f"Bearer {token}", f"bearer  {token}", f"BEARER {token} "])

    def head() -> bytes:
        return (
            f"POST /v1/badges HTTP/1.1\r\nHost: x\r\nAuthorization: {next(spellings)}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {MAX_BODY}\r\n\r\n"
        ).encode()

    def ask(body: bytes) -> Any:
        return shared_service.client.post("/v1/badges", content=body, headers=headers)

    with on_a_socket(shared_service) as address, ExitStack() as stack:
        for _ in range(MAX_LONG_BODIES_OF_TOKEN):
            connection = stack.enter_context(closing(socket.create_connection(address, 30)))
            connection.sendall(head() + b" " * (MAX_ON_LOOP + 1))
        app: Any = shared_service.client.app
        # To ask before all have arrived would take the place of one of them.
        until(lambda: app.state.service.long_bodies.taken == MAX_LONG_BODIES_OF_TOKEN)
        refused(ask(b" " * (MAX_ON_LOOP + 1)), 429, "too-many-requests")
        assert ask(b" " * MAX_ON_LOOP).status_code == 400
        assert (
            institution(
                "POST",
                "/v1/badges",
                content=b" " * (MAX_ON_LOOP + 1),
                headers={"Content-Type": "application/json"},
            ).status_code
            == 400
        )
    until(lambda: ask(b" " * (MAX_ON_LOOP + 1)).status_code == 400)
