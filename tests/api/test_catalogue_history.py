"""`asOf` on the catalogue: what was answered at a position is answered again, whatever is recorded later."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from tests.api.asking import (
    Ask,
    admit,
    changed,
    last_position,
    module_body,
    new_reference,
    ok,
    refused,
    wrong,
)
from tests.support import INSTITUTION, Service

Answers = dict[str, tuple[int, Any]]


def history(service: Service) -> tuple[str, list[tuple[int, Answers]], list[str]]:
    """An institution with modules that live a life: the catalogue's answers after each event.

    Answers the BRIN, the position and the answers of each moment, and the paths that were asked.
    """
    registrar, (brin, ask) = service.as_("registrar"), admit(service)
    first, second = new_reference(), new_reference()
    modules: list[str] = []

    def register(reference: str) -> None:
        modules.append(ok(ask("POST", "/v1/modules", module_body(reference=reference)), 201)["id"])

    def revise(place: int, reference: str, name: str) -> None:
        body = module_body(reference=reference, name=name)
        ok(ask("POST", f"/v1/modules/{modules[place]}/versions", body), 201)

    def withdraw(place: int, **body: str) -> None:
        ok(ask("POST", f"/v1/modules/{modules[place]}/withdrawal", body))

    tomorrow = (dt.datetime.now(dt.UTC) + dt.timedelta(days=2)).date().isoformat()
    suspension = f"/v1/institutions/{brin}/suspension"
    exemption = {"moduleReference": "KLEIN", "rule": "study-load", "reason": "Afgesproken"}
    steps: list[Callable[[], object]] = [
        lambda: None,
        lambda: register(first),
        lambda: revise(0, first, "Tweede"),
        lambda: register(second),
        lambda: ok(registrar("POST", suspension, {"reason": "quality"})),
        lambda: ok(registrar("PUT", f"/v1/institutions/{brin}", changed(INSTITUTION, name="Nieuw"))),
        lambda: ok(registrar("DELETE", suspension)),
        lambda: ok(registrar("POST", f"/v1/institutions/{brin}/exemptions", exemption), 201),
        lambda: withdraw(0),
        lambda: revise(1, second, "Ook tweede"),
        lambda: withdraw(1, **{"from": tomorrow}),
    ]
    moments = []
    for step in steps:
        step()
        position = service.settle()
        moments.append((position, answers_of(service.client.get, paths_of(brin, modules, first))))
    return brin, moments, paths_of(brin, modules, first)


def paths_of(brin: str, modules: list[str], reference: str) -> list[str]:
    listed = f"/v1/modules?institution={brin}"
    return [
        f"/v1/institutions/{brin}",
        "/v1/institutions?limit=500",
        listed,
        f"{listed}&withdrawn=true",
        f"{listed}&withdrawn=false",
        f"/v1/modules?reference={reference}",
        *(f"/v1/modules/{module}{rest}" for module in modules for rest in ("", "/versions/1", "/versions/2")),
    ]


def answers_of(get: Callable[..., Any], paths: list[str], as_of: object = None) -> Answers:
    """The status and the body of each path; of a problem its type alone."""
    found: Answers = {}
    for path in paths:
        answer = get(path if as_of is None else f"{path}{'&' if '?' in path else '?'}asOf={as_of}")
        body = answer.json()
        found[path] = (answer.status_code, body.get("type", body))
        if as_of is not None and answer.status_code == 200:
            assert answer.headers["Registry-Position"] == str(as_of)
    return found


def test_the_catalogue_is_as_it_was_at_each_position(shared_service: Service) -> None:
    _, moments, paths = history(shared_service)
    auditor = shared_service.as_("auditor")

    def get(path: str) -> Any:
        return auditor("GET", path)

    for position, wanted in moments:
        found = answers_of(get, paths, position)
        assert {path: found[path] for path in wanted} == wanted
        # A module that came later was not there.
        assert {found[path] for path in paths if path not in wanted} <= {(404, "/problems/not-found")}


def test_the_catalogue_is_as_it_was_at_a_time(shared_service: Service) -> None:
    brin, ask = admit(shared_service)
    made = ok(ask("POST", "/v1/modules", module_body(reference=new_reference())), 201)
    path = f"/v1/modules/{made['id']}"
    before = ok(shared_service.client.get(path, params={"minPosition": made["position"]}))
    ok(ask("POST", f"{path}/withdrawal", {}))
    shared_service.settle()
    auditor = shared_service.as_("auditor")
    assert ok(auditor("GET", path, params={"asOf": before["registeredAt"]})) == before
    refused(auditor("GET", path, params={"asOf": "2020-01-01T00:00:00Z"}), 404, "not-found")
    for unheld in (f"/v1/institutions/{brin}", "/v1/institutions", "/v1/modules", path):
        wrong(auditor("GET", unheld, params={"asOf": last_position(shared_service) + 1}), "/asOf")


def test_pages_as_of_a_position_hold_each_module_once(shared_service: Service) -> None:
    brin, ask = admit(shared_service)
    made = [
        ok(ask("POST", "/v1/modules", module_body(reference=new_reference())), 201)["id"] for _ in range(5)
    ]
    then = shared_service.settle()
    ok(ask("POST", "/v1/modules", module_body(reference=new_reference())), 201)
    auditor = shared_service.as_("auditor")
    found: list[str] = []
    asked: dict[str, Any] = {"institution": brin, "asOf": then, "limit": 2}
    while True:
        page = ok(auditor("GET", "/v1/modules", params=asked))
        found += [module["id"] for module in page["items"]]
        if page["next"] is None:
            break
        asked["cursor"] = page["next"]
    assert found == made


def test_only_an_auditor_asks_the_catalogue_about_the_past(shared_service: Service) -> None:
    brin, ask = admit(shared_service)
    module = ok(ask("POST", "/v1/modules", module_body(reference=new_reference())), 201)["id"]
    others: list[Ask] = [ask, shared_service.as_("registrar"), shared_service.as_("statistician")]
    for path in ("/v1/institutions", f"/v1/institutions/{brin}", "/v1/modules", f"/v1/modules/{module}"):
        refused(shared_service.client.get(path, params={"asOf": 1}), 401, "unauthenticated")
        for other in others:
            refused(other("GET", path, params={"asOf": 1}), 403, "forbidden")
