"""Fast routes answer as the documented ones do; status checks that share a statement get their own."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from api.app import FAST, ROUTERS
from api.http.openapi import routes
from api.operations import health
from tests.api.asking import UNKNOWN_ID, Ask, admitted, awarded, new_reference, ok
from tests.support import Service


def looked_up() -> set[str]:
    """The paths of all fast look-ups."""
    fast = [route for route in routes([*ROUTERS, health.router]) if route.endpoint in FAST]
    assert len(fast) == len(FAST)
    return {
        f"/v1{route.path}" for route in routes(ROUTERS) if route in fast and "GET" in (route.methods or ())
    }


def test_a_look_up_answers_the_same_with_a_query_and_without(shared_service: Service) -> None:
    brin, institution = admitted(shared_service)
    badge = awarded(institution)
    shared_service.settle()
    asks: list[Ask] = [institution, shared_service.as_("auditor"), shared_service.as_("operator")]
    asks += [shared_service.institution("99ZZ"), shared_service.client.request]
    asks += [shared_service.as_("learner", learner_id=each) for each in (badge["learnerId"], UNKNOWN_ID)]
    told: set[int] = set()
    shared_service.clock.moment = dt.datetime.now(dt.UTC)
    for path in looked_up():
        for ids in ((badge["id"], badge["learnerId"]), (UNKNOWN_ID, UNKNOWN_ID), ("nonsense", "%00")):
            filled = path.format(id=ids[0], learnerId=ids[1], brin=brin)
            for ask in asks:
                fast, documented = ask("GET", filled), ask("GET", f"{filled}?minPosition=0")
                assert _seen(fast) == _seen(documented), filled
                told.add(fast.status_code)
    assert told == {200, 400, 401, 403, 404}


def _seen(answer: Any) -> tuple[int, bytes, dict[str, str]]:
    headers = dict(answer.headers)
    del headers["registry-request-id"]
    return answer.status_code, answer.content, headers


def test_checks_at_the_same_moment_each_get_their_own_status_as_it_was_acknowledged(
    shared_service: Service,
) -> None:
    _, institution = admitted(shared_service)

    def check(number: int) -> None:
        badge = awarded(institution, learner={"eduId": new_reference("many")})
        path = f"/v1/badges/{badge['id']}"
        for _ in range(3):
            found = ok(shared_service.client.get(f"{path}/status"))
            assert (found["id"], found["status"]) == (badge["id"], "active")
        if number % 2:
            revoked = ok(institution("POST", f"{path}/revocation", {"reason": "other"}))
            found = ok(shared_service.client.get(f"{path}/status"))
            assert (found["status"], found["position"]) == ("revoked", revoked["position"])

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(check, range(64)))
