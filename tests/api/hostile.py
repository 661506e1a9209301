"""What tests send of hostile requests: to each place that the OpenAPI document names, and at what cost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from api.http.requests import MAX_BODY
from registry.tokens import Role
from tests.api.asking import Ask, admit, admitted, awarded
from tests.support import Service

JSON = "application/json"
Schema = dict[str, Any]
NDJSON = "application/x-ndjson"
MAX_COST = 10
"""So many times the CPU time of a harmless body of the greatest length may a hostile request take."""
TRIES = 5
"""Others on the machine change both times: where a request takes too long, both are measured anew."""
CHUNK = 64 * 1024
"""Bytes of a body that arrive at once, as from a socket."""


class Place(NamedTuple):
    """A member of a body; an item of a list is named `0`."""

    method: str
    path: str
    media_type: str
    members: tuple[str, ...]

    def body(self, value: str) -> bytes:
        """A body with this text in this place, and with nothing else."""
        return self.filled(json.dumps(value, ensure_ascii=False).encode())

    def filled(self, value: bytes) -> bytes:
        """A body with this JSON, or what is none, in this place, and with nothing else."""
        before, after = b"", b""
        for name in self.members:
            before += b"[" if name == "0" else b'{"%s":' % name.encode()
            after = (b"]" if name == "0" else b"}") + after
        return before + value + after

    @property
    def pointer(self) -> str:
        return "/" + "/".join(self.members)


class Request(NamedTuple):
    """A request for a documented path; `names` stand for parameters of the path."""

    method: str
    path: str
    media_type: str = JSON
    query: str = ""
    body: bytes = b""
    names: dict[str, str] = {}  # noqa: RUF012 - never changed
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Instead of a token and the media type."""


class Answered(NamedTuple):
    """An answer, and the CPU seconds that it took: of the whole process, and of the event loop's thread.

    `came` is how many bytes of the body were read. `times` is how many times as long as a harmless body of
    the greatest length it took.
    """

    status: int
    content: bytes
    came: int
    seconds: float
    on_loop: float
    times: float = 0.0


@dataclass
class World:
    """A service with a badge, and a function to ask in each role."""

    service: Service
    document: dict[str, Any]
    asking: dict[Role, Ask]
    tokens: dict[Role, str]
    names: dict[str, str]
    spare: str

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                yield method.upper(), path, operation

    def role(self, method: str, path: str) -> Role:
        """A role that may call this operation."""
        operation = self.document["paths"][path][method.lower()]
        _, _, roles = operation.get("description", "").partition("For: ")
        named = roles.partition(".")[0].split(", ")
        if named == ["learner"]:
            return "learner"
        usual: tuple[Role, ...] = ("institution", "registrar", "statistician")
        return next((role for role in usual if role in named), "auditor")

    def filled(self, role: Role, names: dict[str, str]) -> dict[str, str]:
        """What stands for each parameter of a path."""
        return self.names | ({"brin": self.spare} if role == "registrar" else {}) | names

    def ask(self, method: str, path: str, names: dict[str, str] | None = None, **more: Any) -> Any:
        role = self.role(method, path)
        return self.asking[role](method, f"/v1{path.format(**self.filled(role, names or {}))}", **more)

    def send(self, place: Place, body: bytes) -> list[dict[str, Any]]:
        """The problems of a body, or of the lines of a batch."""
        headers = {"Content-Type": place.media_type}
        answer = self.ask(place.method, place.path, content=body, headers=headers)
        return problems(place.media_type, answer.content)

    def texts(self) -> list[Place]:
        """Every text member of every body."""
        return [place for place, schema in self.schemas() if is_text(schema)]

    def members(self) -> list[Place]:
        """Every member of every body, of any type."""
        return list(dict.fromkeys(place for place, _ in self.schemas()))

    def parameters(self) -> list[tuple[str, str, str, bool]]:
        """Every parameter of a path or a query: method, path, name, and whether it stands in the query."""
        return [
            (method, path, parameter["name"], parameter["in"] == "query")
            for method, path, operation in self.operations()
            for parameter in operation.get("parameters", [])
            if parameter["in"] != "header"
        ]

    def schemas(self) -> Iterator[tuple[Place, Schema]]:
        """Every member of every body with what the document says of it."""
        for method, path, operation in self.operations():
            for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
                schema = content["schema"].get("contentSchema") or content["schema"]
                for members, found in self.within(schema):
                    yield Place(method, path, media_type, members), found

    def within(self, schema: Schema, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Schema]]:
        """The schemas of the values in a value, each with its place; one for each choice that there is."""
        if "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        for choice in schema.get("anyOf", ()):
            yield from self.within(choice, at)
        for name, member in schema.get("properties", {}).items():
            yield from self.within(member, (*at, name))
        if "items" in schema:
            yield from self.within(schema["items"], (*at, "0"))
        if at and "anyOf" not in schema:
            yield at, schema

    def measured(self, request: Request) -> Answered:
        """The answer to a request, and what it costs."""
        for _ in range(TRIES):
            answered = self._asked(request)
            answered = answered._replace(times=answered.seconds / self._harmless)
            if answered.times <= MAX_COST:
                break
            del self._harmless
        return answered

    @cached_property
    def _harmless(self) -> float:
        place = Place("POST", "/badges", JSON, ("grade",))
        request = Request(*place[:3], body=place.body("a" * (MAX_BODY - 100)))
        return sorted(self._asked(request).seconds for _ in range(9))[4]

    def _asked(self, request: Request) -> Answered:
        portal = self.service.client.portal
        assert portal is not None
        return portal.call(self._answered, request)

    async def _answered(self, request: Request) -> Answered:
        """Asks the service on its event loop, as the server does, but without a socket and a client."""
        role = self.role(request.method, request.path)
        names = self.filled(role, request.names)
        path = f"/v1{request.path.format(**{name: quote(value, '') for name, value in names.items()})}"
        headers = request.headers or (
            (b"authorization", f"Bearer {self.tokens[role]}".encode()),
            (b"content-type", request.media_type.encode()),
        )
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
            "method": request.method, "scheme": "http", "path": unquote(path), "raw_path": path.encode(),
            "root_path": "", "query_string": request.query.encode(), "state": {},
            "headers": [(b"host", b"registry.example.org"), *headers],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        body = request.body
        coming = [body[at : at + CHUNK] for at in range(0, len(body), CHUNK)] or [b""]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not coming:
                await asyncio.Event().wait()
            part = coming.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(coming)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        app: Any = self.service.client.app
        began, began_here = time.process_time(), time.thread_time()
        await app(scope, receive, send)
        took, took_here = time.process_time() - began, time.thread_time() - began_here
        content = b"".join(message.get("body", b"") for message in sent)
        came = len(body) - sum(map(len, coming))
        return Answered(sent[0]["status"], content, came, took, took_here)


def is_text(schema: Schema) -> bool:
    return schema.get("type") == "string" or "enum" in schema or "const" in schema


def problems(media_type: str, content: bytes) -> list[dict[str, Any]]:
    """The problem that is an answer, or those of the outcomes of a batch."""
    if media_type != NDJSON:
        return [json.loads(content)]
    return [json.loads(line)["problem"] for line in content.splitlines()]


def world_of(service: Service) -> World:
    brin, institution = admitted(service)
    spare, _ = admit(service)
    badge = awarded(institution)
    service.settle()
    names = {"brin": spare, "version": "1", "type": "badge.awarded"}
    names |= {name: badge[name] for name in ("id", "moduleId", "learnerId")}
    bearers: dict[Role, dict[str, str]] = {
        "registrar": {},
        "auditor": {},
        "statistician": {},
        "learner": {"learner_id": badge["learnerId"]},
        "institution": {"institution": brin},
    }
    asking = {role: service.as_(role, **of) for role, of in bearers.items()}
    tokens = {role: service.token(role, **of) for role, of in bearers.items()}
    document = service.client.get("/v1/openapi.json").json()
    return World(service, document, asking, tokens, names, spare)
