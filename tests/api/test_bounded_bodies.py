"""Bounds of a body besides its size: fields of an object, and long bodies at once."""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing
from typing import Any

import pytest

from api.commands import batches
from api.http.requests import MAX_BODY, MAX_LONG_BODIES_OF_TOKEN, MAX_MEMBERS, MAX_ON_LOOP
from tests.api.asking import admitted, award_body, on_a_socket, refused
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


def test_long_bodies_of_a_token_are_bounded_in_number(shared_service: Service) -> None:
    """Each is held in memory while it arrives."""
    brin, institution = admitted(shared_service)
    token = shared_service.token("institution", institution=brin)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    head = (
        f"POST /v1/badges HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {MAX_BODY}\r\n\r\n"
    )

    def ask(body: bytes) -> Any:
        return shared_service.client.post("/v1/badges", content=body, headers=headers)

    with on_a_socket(shared_service) as address, ExitStack() as stack:
        for _ in range(MAX_LONG_BODIES_OF_TOKEN):
            connection = stack.enter_context(closing(socket.create_connection(address, 30)))
            connection.sendall(head.encode() + b" " * (MAX_ON_LOOP + 1))
        until(lambda: ask(b" " * (MAX_ON_LOOP + 1)).status_code == 429)
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
