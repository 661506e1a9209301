"""Whatever is sent: never a defect of ours, nothing recorded where it is refused, nothing private told."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import support
from tests.api.asking import (
    Ask,
    admit,
    admitted,
    award_body,
    awarded,
    last_position,
    module_body,
    refused,
)
from tests.support import INSTITUTION, Databases, Service

# Thousands of requests: measuring their coverage costs a minute and adds hardly a line.
pytestmark = pytest.mark.no_cover

MARK = "Zq7Xw"
"""Stands in each private value that is sent; no answer ever holds it."""
EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

texts = st.text(st.characters(exclude_categories=()), max_size=12)
numbers = st.integers() | st.floats() | st.sampled_from([10**30, -(10**400), 5e-324, 1e308, 2**53, 0.1 + 0.2])
days = st.dates().map(str) | st.sampled_from(["9999-12-31", "0001-01-01", "2018-01-01", "2023-02-30"])
likely = st.sampled_from(["other", "fraud", "KLINRED", "hbo", "6", "27UM", "nl", "https://x", "\u0000", ""])
leaves = st.none() | st.booleans() | numbers | texts | days | likely
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@dataclass
class Write:
    """A call that takes a body, and bodies that are good (or good but for another's rule)."""

    ask: Ask
    method: str
    path: str
    body: Callable[[], dict[str, Any]]


@dataclass
class Target:
    service: Service
    writes: dict[str, Write]
    lines: dict[str, Write]
    bad: int = 0


@pytest.fixture(scope="module")
def target(databases: Databases) -> Iterator[Target]:
    url = databases.fresh()
    with support.service(url) as service:
        made = Target(service, *_writes(service))
        yield made
        print(f"{made.bad} bad bodies and lines were refused")
    databases.drop(url)


def _writes(service: Service) -> tuple[dict[str, Write], dict[str, Write]]:
    _, institution = admitted(service)
    spare, _ = admit(service)
    badge = awarded(institution, learner={"eduId": f"{MARK}-edu"})
    service.settle()
    module, registrar = badge["moduleId"], service.as_("registrar")

    def note() -> dict[str, Any]:
        return {"reason": "other", "note": f"{MARK} bezwaar", "effectiveOn": "2024-01-01"}

    def award() -> dict[str, Any]:
        return award_body(
            reference=f"{MARK}-{last_position(service)}",
            learner={"eduId": f"{MARK}-edu", "name": f"{MARK} Jansen", "email": f"{MARK}@example.org"},
            grade=f"{MARK} 8",
            evidence=[{"url": f"https://example.org/{MARK}", "narrative": MARK, "name": MARK}],
            validUntil="2030-01-01",
        )

    stated = {**INSTITUTION, "admittedUntil": "2099-12-31"}
    exempted = {"moduleReference": "GEN", "rule": "study-load", "reason": "Proef"}
    lines = {
        "batch": Write(institution, "POST", "/v1/badge-batches", award),
        "revocations": Write(
            institution, "POST", "/v1/badge-revocations", lambda: note() | {"reference": f"{MARK}-none"}
        ),
    }
    single = {
        "institution": Write(registrar, "PUT", f"/v1/institutions/{spare}", lambda: dict(stated)),
        "institution's suspension": Write(
            registrar,
            "POST",
            f"/v1/institutions/{spare}/suspension",
            lambda: {"reason": "other", "note": MARK},
        ),
        "module": Write(institution, "POST", "/v1/modules", lambda: module_body(reference="GEN")),
        "version": Write(institution, "POST", f"/v1/modules/{module}/versions", module_body),
        "withdrawal": Write(
            institution, "POST", f"/v1/modules/{module}/withdrawal", lambda: {"from": "2099-01-01"}
        ),
        "award": Write(institution, "POST", "/v1/badges", award),
        "revocation": Write(institution, "POST", f"/v1/badges/{badge['id']}/revocation", note),
        "suspension": Write(
            institution,
            "POST",
            f"/v1/badges/{badge['id']}/suspension",
            lambda: {"reason": "appeal", "note": MARK},
        ),
        "correction": Write(
            institution,
            "POST",
            f"/v1/badges/{badge['id']}/correction",
            lambda: {"grade": f"{MARK} 9", "name": f"{MARK} Janssen"},
        ),
        "look-up": Write(institution, "POST", "/v1/learner-lookups", lambda: {"eduId": f"{MARK}-edu"}),
        "exemption": Write(registrar, "POST", f"/v1/institutions/{spare}/exemptions", lambda: dict(exempted)),
    }
    return single, lines


KINDS = [
    "institution",
    "institution's suspension",
    "module",
    "version",
    "withdrawal",
    "award",
    "revocation",
    "suspension",
    "correction",
    "look-up",
    "exemption",
]


def send(target: Target, kind: str, content: bytes) -> None:
    """Sends the bytes, and checks what must hold of any answer."""
    write, before = target.writes[kind], last_position(target.service)
    answer = write.ask(
        write.method, write.path, content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in {200, 201, 400, 403, 404, 409, 413}, (content, answer.text)
    assert MARK not in answer.text, content
    assert all(MARK not in value for value in answer.headers.values())
    after = last_position(target.service)
    if answer.status_code >= 400:
        refused(answer, answer.status_code, answer.json()["type"].removeprefix("/problems/"))
        assert after == before, content
        target.bad += 1
    else:
        assert after - before in {0, 1}


def send_lines(target: Target, kind: str, lines: list[bytes]) -> None:
    """Sends the lines, and checks that each has an outcome, in order, that tells nothing private."""
    write, before = target.lines[kind], last_position(target.service)
    answer = write.ask(
        write.method, write.path, content=b"\n".join(lines), headers={"Content-Type": "application/x-ndjson"}
    )
    assert answer.status_code == 200, (lines, answer.text)
    outcomes = [json.loads(line) for line in answer.text.splitlines()]
    assert [each["line"] for each in outcomes] == list(range(1, len(lines) + 1))
    for each in outcomes:
        problem = each.get("problem")
        assert (each["outcome"] == "refused") == (problem is not None)
        assert MARK not in json.dumps({**each, "reference": None}), each
        assert problem is None or problem["status"] in {400, 403, 404, 409, 413}
        target.bad += problem is not None
    recorded = sum(each["outcome"] in {"awarded", "revoked"} for each in outcomes)
    assert last_position(target.service) - before == recorded


def places(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of each member and item in a body."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [each for name, item in inner for each in [(*at, name), *places(item, (*at, name))]]


def mutated(body: dict[str, Any], data: st.DataObject) -> dict[str, Any]:
    """A good body with one to three things changed: a value, a member left out, or one too many."""
    body = copy.deepcopy(body)
    for _ in range(data.draw(st.integers(1, 3))):
        *above, last = data.draw(st.sampled_from(places(body) or [("x",)]))
        holder: Any = body
        for name in above:
            holder = holder[name]
        match data.draw(st.sampled_from(["replace", "remove", "add", "lengthen"])):
            case "remove" if not isinstance(holder, list) and last in holder:
                del holder[last]
            case "add" if isinstance(holder, dict):
                holder[data.draw(texts)] = data.draw(values)
            case "lengthen" if isinstance(holder, dict) and isinstance(holder.get(last), str):
                # Beyond every bound, and no further: two of these after each other must not multiply.
                holder[last] = (holder[last] * data.draw(st.sampled_from([2, 60, 5_000])))[:20_000]
            case _:
                holder[last] = data.draw(values)
    return body


@pytest.mark.parametrize("kind", KINDS)
def test_any_json_is_answered_well(target: Target, kind: str) -> None:
    @EXAMPLES
    @given(values)
    def holds(value: Any) -> None:
        send(target, kind, json.dumps(value).encode())

    holds()


@pytest.mark.parametrize("kind", KINDS)
def test_any_change_of_a_good_body_is_answered_well(target: Target, kind: str) -> None:
    @EXAMPLES
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        send(target, kind, json.dumps(mutated(target.writes[kind].body(), data)).encode())

    holds()


@pytest.mark.parametrize("kind", KINDS)
def test_any_bytes_put_into_a_good_body_are_answered_well(target: Target, kind: str) -> None:
    @EXAMPLES
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        good = json.dumps(target.writes[kind].body()).encode()
        place = data.draw(st.integers(0, len(good)))
        gone = data.draw(st.integers(0, 3))
        send(target, kind, good[:place] + data.draw(st.binary(max_size=4)) + good[place + gone :])

    holds()


@pytest.mark.parametrize("kind", ["batch", "revocations"])
def test_any_line_among_others_has_its_outcome(target: Target, kind: str) -> None:
    def bad_line(data: st.DataObject) -> bytes:
        write = target.lines[kind]
        match data.draw(st.sampled_from(["value", "changed", "bytes"])):
            case "value":
                return json.dumps(data.draw(values)).encode()
            case "changed":
                return json.dumps(mutated(write.body(), data)).encode()
            case _:
                # A byte that ends a line would make two of it; an empty last line is no line.
                return data.draw(st.binary(min_size=1, max_size=40)).replace(b"\n", b" ")

    @EXAMPLES
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        good = json.dumps(target.lines[kind].body()).encode()
        bad = [bad_line(data) for _ in range(data.draw(st.integers(1, 6)))]
        send_lines(target, kind, [good, *bad, good])

    holds()


@pytest.mark.parametrize("kind", KINDS)
def test_after_all_that_a_good_body_is_still_taken(target: Target, kind: str) -> None:
    write = target.writes[kind]
    answer = write.ask(write.method, write.path, write.body())
    assert answer.status_code in {200, 201, 409}, answer.text
