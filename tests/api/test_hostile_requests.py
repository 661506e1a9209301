"""Thousands of hostile requests for every call: each is answered in little time, and none by a defect."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from api.http.requests import MAX_BODY
from tests.api.hostile import JSON, MAX_COST, NDJSON, Place, Request, World, world_of
from tests.support import Service

# Thousands of requests, of which each is measured.
pytestmark = [pytest.mark.no_cover, pytest.mark.slow]

REQUESTS = 10_000
MAX_LINE = 60_000
MAX_ADDRESS = 30_000
MAX_ANSWER = 60_000
PARTS = [
    b"{}",
    b"[]",
    b"1",
    b'""',
    b'"a"',
    b"null",
    b"[[]]",
    b'{"url":1}',
    b'{"a":{}}',
    b"1e9",
    b'"\\ud800"',
    b"[{",
]
OPENINGS = [b"[", b"{", b'{"a":', b"[{", b'[{"evidence":', b'"\\', b"[[],"]
LETTERS = [
    "a",
    "(",
    "@",
    ".",
    "-aaaaa",
    "\\",
    "\\u0301",
    "\\ud800",
    "\u200b",
    "\u00e9",
    "\u1100\u1161",
    "\U0001f1f3",
    "0",
    " ",
]
HEADERS = [
    b"authorization",
    b"accept-encoding",
    b"content-type",
    b"accept",
    b"cookie",
    b"if-none-match",
    b"origin",
]
MARKS = ["\u0301", "\u0316", "\u0327", "\u0f73", "\u0345", "\u3099", "\u0c55", "\U0001d165"]


@pytest.fixture(scope="module")
def world(shared_service: Service) -> Iterator[World]:
    """What start-up allocated is frozen, as in a serving process, so that the collector passes it over."""
    gc.collect()
    gc.freeze()
    yield world_of(shared_service)
    gc.unfreeze()


def text(rng: random.Random, size: int) -> str:
    """A text of about so many bytes: letters, or marks in any order, each many times."""
    unit = "".join(rng.choices(rng.choice([LETTERS, MARKS, LETTERS + MARKS]), k=rng.randint(1, 4)))
    return unit * (size // len(unit.encode()) + 1)


def a_text(rng: random.Random, size: int) -> bytes:
    return b'"%s"' % text(rng, size).encode("utf-8", "surrogatepass")


def a_list(rng: random.Random, size: int) -> bytes:
    part = rng.choice(PARTS)
    return b"[" + b",".join([part] * (size // (len(part) + 1))) + rng.choice([b"]", b"]]", b""])


def an_object(rng: random.Random, size: int) -> bytes:
    part, count = rng.choice(PARTS), max(1, size // 16)
    names = (rng.choice(["a", str(number)]) for number in range(count))
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), part) for name in names) + b"}"


def a_depth(rng: random.Random, size: int) -> bytes:
    opening = rng.choice(OPENINGS)
    return opening * (size // len(opening))


def a_number(rng: random.Random, size: int) -> bytes:
    return rng.choice([b"-", b"1.", b"1e", b""]) + b"1" * size


FORMS: list[Callable[[random.Random, int], bytes]] = [a_text, a_text, a_list, an_object, a_depth, a_number]


def in_a_body(rng: random.Random, places: list[Place]) -> Request:
    """A member of any size up to the limit, in a form of any kind."""
    place, form = rng.choice(places), rng.choice(FORMS)
    most = MAX_LINE if place.media_type == NDJSON else MAX_BODY - 200
    body = place.filled(form(rng, int(2 ** rng.uniform(0, most.bit_length()))))
    return Request(*place[:3], body=body[: MAX_LINE if place.media_type == NDJSON else MAX_BODY])


def in_an_address(rng: random.Random, parameters: list[tuple[str, str, str, bool]]) -> Request:
    """A parameter of any length, or many parameters."""
    method, path, name, in_query = rng.choice(parameters)
    size = int(2 ** rng.uniform(0, MAX_ADDRESS.bit_length()))
    value = text(rng, size)
    value = value[: max(1, len(value) * MAX_ADDRESS // len(quote(value, "")))]
    if not in_query:
        return Request(method, path, names={name: value})
    if rng.random() < 0.3:
        pair = f"{rng.choice([name, 'x', ''])}{rng.choice(['=', '=1', ''])}&"
        return Request(method, path, query=pair * (size // len(pair)))
    return Request(method, path, query=f"{name}={quote(value, '')}")


def in_headers(rng: random.Random, parameters: list[tuple[str, str, str, bool]]) -> Request:
    """One header of any length, or many."""
    method, path, _, _ = rng.choice(parameters)
    name, size = rng.choice(HEADERS), int(2 ** rng.uniform(0, MAX_ADDRESS.bit_length()))
    value = text(rng, size).encode("latin-1", "replace").strip()
    if rng.random() < 0.3:
        headers = ((name, value[:1]),) + ((b"x", value[:1]),) * (size // 5)
    else:
        headers = ((name, rng.choice([b"", b"Bearer ", b"gzip", b", "]) + value),)
    return Request(method, path, headers=headers)


@pytest.mark.slow
def test_generated_hostile_requests_are_answered_in_little_time_and_never_by_a_defect(world: World) -> None:
    rng, places, parameters = random.Random(5), world.members(), world.parameters()
    longest = loop = most = 0.0
    statuses, asked = set(), set()
    for number in range(REQUESTS):
        if number % 6 == 0:
            request = in_an_address(rng, parameters)
        elif number % 6 == 1:
            request = in_headers(rng, parameters)
        else:
            request = in_a_body(rng, places)
        answered = world.measured(request)
        shown = (request[:3], request.query[:80], request.body[:80], request.headers[:2])
        assert answered.times <= MAX_COST, shown
        assert answered.status < 500, shown
        if request.media_type == JSON and answered.status == 400:
            assert len(answered.content) < MAX_ANSWER, shown
        statuses.add(answered.status)
        asked.add(request[:2])
        longest, loop = max(longest, answered.seconds), max(loop, answered.on_loop)
        most = max(most, answered.times)
    assert {400, 401, 404} <= statuses
    assert asked >= {place[:2] for place in (*places, *parameters)}
    print(f"longest {longest:.3f} s of CPU, {most:.1f} times a harmless body; event loop {loop:.3f} s")
