"""While others write, a reader of a list sees each item of it exactly once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import support
from tests.api.asking import Ask, admit, admitted, awarded, module_body, new_reference, ok
from tests.support import Databases, Service


@dataclass
class Busy:
    service: Service
    brin: str
    institution: Ask
    first: dict[str, Any]


@pytest.fixture(scope="module")
def busy(databases: Databases) -> Iterator[Busy]:
    url = databases.fresh()
    with support.service(url) as service:
        brin, institution = admitted(service)
        yield Busy(service, brin, institution, awarded(institution))
    databases.drop(url)


@contextmanager
def going_on(write: Callable[[], Any], threads: int = 2) -> Iterator[list[Exception]]:
    """Others who write, again and again, until the reader has done."""
    leaving, failed = threading.Event(), list[Exception]()

    def work() -> None:
        while not leaving.is_set():
            try:
                write()
            except Exception as error:
                failed.append(error)
                return

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield failed
    finally:
        leaving.set()
        for worker in workers:
            worker.join()


def read_all(ask: Ask, path: str, limits: list[int], key: str, before: set[str]) -> list[str]:
    """The list in pages of these sizes, while others write, until it ends or all of `before` was seen."""
    seen: list[str] = []
    cursor, number = None, 0
    while True:
        limit = limits[number % len(limits)]
        parameters = {"limit": limit, **({"cursor": cursor} if cursor else {})}
        answer = ok(ask("GET", path, params=parameters))
        assert len(answer["items"]) <= limit
        seen += [item[key] for item in answer["items"]]
        assert len(seen) == len(set(seen)), "an item was seen twice"
        cursor, number = answer["next"], number + 1
        if cursor is None or before <= set(seen):
            return seen


def check(before: set[str], seen: list[str]) -> None:
    assert before <= set(seen), "an item was not seen"


SIZES = st.lists(st.integers(1, 7), min_size=1, max_size=4)
EXAMPLES = settings(max_examples=6, deadline=None)


@EXAMPLES
@given(limits=SIZES)
def test_each_badge_is_seen_once_while_awards_go_on(busy: Busy, limits: list[int]) -> None:
    brin, institution = admitted(busy.service)
    learner = {"eduId": brin}
    badges = [awarded(institution, learner=learner) for _ in range(12)]
    busy.service.settle()
    before = {badge["id"] for badge in badges}
    with going_on(lambda: awarded(institution, learner=learner)) as failed:
        for path in (
            f"/v1/institutions/{brin}/badges",
            f"/v1/modules/{badges[0]['moduleId']}/badges",
            f"/v1/learners/{badges[0]['learnerId']}/badges",
        ):
            check(before, read_all(institution, path, limits, "id", before))
    assert failed == []


@EXAMPLES
@given(limits=SIZES)
def test_each_module_is_seen_once_while_modules_are_registered(busy: Busy, limits: list[int]) -> None:
    def register() -> None:
        ok(busy.institution("POST", "/v1/modules", module_body(reference=new_reference("m"))), 201)

    register()
    busy.service.settle()
    ask = busy.service.client.request
    before = {item["id"] for item in ok(ask("GET", "/v1/modules", params={"limit": 500}))["items"]}
    with going_on(register, threads=1) as failed:
        check(before, read_all(ask, "/v1/modules", limits, "id", before))
    assert failed == []


@EXAMPLES
@given(limits=SIZES)
def test_each_institution_is_seen_once_while_institutions_are_admitted(busy: Busy, limits: list[int]) -> None:
    admit(busy.service)
    busy.service.settle()
    ask = busy.service.client.request
    before = {item["brin"] for item in ok(ask("GET", "/v1/institutions", params={"limit": 500}))["items"]}
    with going_on(lambda: admit(busy.service), threads=1) as failed:
        check(before, read_all(ask, "/v1/institutions", limits, "brin", before))
    assert failed == []


def test_a_writer_always_reads_its_own_writes(busy: Busy) -> None:
    """With `minPosition` set to what the write answered, whatever else goes on."""
    path = f"/v1/institutions/{busy.brin}/badges"
    with going_on(lambda: awarded(busy.institution), threads=2) as failed:
        for number in range(8):
            badge = awarded(busy.institution)
            after = {"minPosition": badge["position"]}
            items = ok(busy.institution("GET", path, params={"limit": 500, **after}))["items"]
            assert badge["id"] in {item["id"] for item in items}
            body = {"reason": "other", "note": str(number)}
            revoked = ok(busy.institution("POST", f"/v1/badges/{badge['id']}/revocation", body))
            after = {"minPosition": revoked["position"]}
            status = ok(busy.service.client.get(f"/v1/badges/{badge['id']}/status", params=after))
            assert (status["status"], status["position"]) == ("revoked", revoked["position"])
    assert failed == []
