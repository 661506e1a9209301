"""Lists: their order, pages, filters and cursors, and what is asked of them wrongly."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import support
from tests.api.asking import Ask, admit, admitted, at_noon, awarded, module_body, ok, wrong
from tests.support import Databases, Service

Pages = Callable[[int], list[list[dict[str, Any]]]]


@dataclass
class Full:
    """A registry with several items in each list."""

    service: Service
    brin: str
    institution: Ask
    learner: Ask
    badges: list[dict[str, Any]]

    def asker(self, path: str) -> Ask:
        return self.learner if path == "/v1/learners/me" else self.institution

    def paths(self) -> list[str]:
        badge = self.badges[0]
        return [
            "/v1/institutions",
            "/v1/modules",
            "/v1/learners/me",
            f"/v1/learners/{badge['learnerId']}/badges",
            f"/v1/institutions/{self.brin}/badges",
            f"/v1/modules/{badge['moduleId']}/badges",
        ]


@pytest.fixture(scope="module")
def full(databases: Databases) -> Iterator[Full]:
    url = databases.fresh()
    with support.service(url) as service:
        brin, institution = admitted(service)
        for number in range(6):
            admit(service)
            ok(institution("POST", "/v1/modules", module_body(reference=f"M{number}")), 201)
        badges = [_badge(institution, number) for number in range(7)]
        learner = service.as_("learner", learner_id=badges[0]["learnerId"])
        yield Full(service, brin, institution, learner, badges)
    databases.drop(url)


def _badge(institution: Ask, number: int) -> dict[str, Any]:
    return awarded(institution, awardedOn=f"2024-01-{number + 1:02d}")


def pages(ask: Ask, path: str, limit: int, **more: Any) -> list[list[dict[str, Any]]]:
    """All pages of a list, from its first to the one without `next`."""
    found, cursor = [], None
    while True:
        parameters = {"limit": limit, **({"cursor": cursor} if cursor else {}), **more}
        answer = ok(ask("GET", path, params=parameters))
        assert set(answer) == {"items", "next"}
        assert answer["items"] not in found, "a page came twice"
        found.append(answer["items"])
        cursor = answer["next"]
        if cursor is None:
            return found


def test_every_list_gives_each_item_once_in_pages_of_any_size(full: Full) -> None:
    full.service.settle()
    for path in full.paths():
        ask = full.asker(path)
        (whole,) = pages(ask, path, 500)
        assert len(whole) == 7
        for limit in range(1, 9):
            found = pages(ask, path, limit)
            assert [item for page in found for item in page] == whole
            assert all(len(page) == limit for page in found[:-1])
            assert 1 <= len(found[-1]) <= limit


def test_badges_come_newest_first_and_the_catalogue_in_its_order(full: Full) -> None:
    full.service.settle()
    for path in full.paths()[2:]:
        items = ok(full.asker(path)("GET", path))["items"]
        assert [item["id"] for item in items] == [badge["id"] for badge in reversed(full.badges)]
        assert [item["position"] for item in items] == [b["position"] for b in reversed(full.badges)]
    brins = [item["brin"] for item in ok(full.service.client.get("/v1/institutions"))["items"]]
    assert brins == sorted(brins)
    references = [item["reference"] for item in ok(full.service.client.get("/v1/modules"))["items"]]
    assert references == ["KLINRED", *(f"M{number}" for number in range(6))]


def test_an_item_of_a_badge_list_has_what_the_contract_gives_it(full: Full) -> None:
    full.service.settle()
    for path in full.paths()[2:]:
        item = ok(full.asker(path)("GET", path))["items"][-1]
        assert set(item) >= {"id", "status", "institution", "module", "awardedOn", "validUntil", "reference"}
        assert set(item) >= {"learnerId", "position"}
        assert item["module"] == {
            "id": full.badges[0]["moduleId"],
            "version": 1,
            "name": "Klinisch redeneren",
            "studyLoad": {"ects": 5},
            "level": {"nlqf": "6", "eqf": "6"},
        }
        assert (item["institution"], item["awardedOn"]) == (full.brin, "2024-01-01")
        assert (item["status"], item["validUntil"]) == ("active", None)


def test_a_page_holds_fifty_items_where_no_limit_is_given(service: Service) -> None:
    brin, institution = admitted(service)
    for _ in range(51):
        last = awarded(institution)
    path = f"/v1/institutions/{brin}/badges"
    answer = ok(institution("GET", path, params={"minPosition": last["position"]}))
    assert len(answer["items"]) == 50
    (rest,) = ok(institution("GET", path, params={"cursor": answer["next"]}))["items"]
    assert rest["position"] < answer["items"][-1]["position"]


@pytest.mark.parametrize("limit", ["0", "-1", "501", "1e2", "ten", "", "9" * 30, "2.5", "NaN"])
def test_a_limit_lies_from_1_through_500(full: Full, limit: str) -> None:
    for path in full.paths():
        wrong(full.asker(path)("GET", path, params={"limit": limit}), "/limit")


OF_A_PAGE = {"cursor", "limit", "minPosition"}
Parameters = dict[str, str]
PAST = "2024-01-31"


@dataclass
class Listing:
    """A list as it may be asked: its path, and who asks with which filters."""

    path: str
    ask: Ask
    filters: Parameters

    def page(self, **more: Any) -> Any:
        return self.ask("GET", self.path, params={**self.filters, **more})


def listings(full: Full) -> list[list[Listing]]:
    """Every list that the API documents, each without a filter and with two values of each of its filters."""
    badge, last = full.badges[0], full.service.settle()
    in_path = {"brin": full.brin, "moduleId": badge["moduleId"], "learnerId": badge["learnerId"]}
    values = {
        "institution": (full.brin, "27um"),
        "reference": ("KLINRED", "M1"),
        "withdrawn": ("false", "true"),
        "status": ("active", "revoked"),
        "awardedFrom": ("2024-01-01", "2024-01-03"),
        "awardedUntil": ("2024-01-07", "2024-01-05"),
        "asOf": (str(last), str(last - 1)),
    }
    auditor = full.service.as_("auditor")
    found = []
    for template, operations in full.service.client.get("/v1/openapi.json").json()["paths"].items():
        parameters = operations.get("get", {}).get("parameters", ())
        names = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
        if "cursor" in names:
            path = "/v1" + template.format_map(in_path)
            filters = [(name, value) for name in names - OF_A_PAGE for value in values[name]]
            ask = auditor if path == "/v1/tokens" else full.asker(path)
            found.append(
                [Listing(path, ask, {})]
                + [Listing(path, auditor if name == "asOf" else ask, {name: to}) for name, to in filters]
            )
    return found


def test_a_cursor_is_taken_by_its_own_list_with_its_own_filters_alone(full: Full) -> None:
    """A page of another filter would skip what its list holds before the place, and nobody would notice."""
    every = listings(full)
    assert {same[0].path for same in every} == {*full.paths(), "/v1/tokens"}
    given = 0
    for same in every:
        for listing in same:
            cursor = ok(listing.page(limit=1))["next"]
            if cursor is None:
                continue
            given += 1
            ok(listing.page(cursor=cursor))
            ok(listing.page(cursor=cursor, limit=2))
            others = [other for other in same if other is not listing]
            others += [other[0] for other in every if other is not same]
            for other in others:
                sentences = wrong(other.page(cursor=cursor), "/cursor")
                assert "with the same filters" in sentences["/cursor"]
    assert given > 2 * len(every)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "nothing",
        "%%%",
        "YmFkZ2VzOg",
        "YmFkZ2VzOi0x",
        "YmFkZ2VzOjHDqQ",
        "é",
        "x" * 101,
        "YmFkZ2VzOjE===",
        "YmFkZ2VzOjFlOQ",
        "YmFkZ2VzOjk5OTk5OTk5OTk5OTk5OTk5OTk5",
        "aW5zdGl0dXRpb25zOgA",
        "bW9kdWxlczoA",
    ],
)
def test_what_was_never_given_as_next_is_no_cursor(full: Full, cursor: str) -> None:
    for path in full.paths():
        wrong(full.asker(path)("GET", path, params={"cursor": cursor}), "/cursor")


@settings(max_examples=60, deadline=None)
@given(cursor=st.text(st.characters(codec="utf-8"), max_size=60) | st.binary(max_size=40).map(bytes.hex))
def test_any_text_is_a_cursor_or_refused(full: Full, cursor: str) -> None:
    for path in full.paths():
        answer = full.asker(path)("GET", path, params={"cursor": cursor})
        assert answer.status_code in {200, 400}, (path, cursor)
        assert answer.status_code == 400 or set(answer.json()) == {"items", "next"}


def test_unknown_and_doubled_parameters_are_refused_all_at_once(full: Full) -> None:
    for path in [*full.paths(), f"/v1/badges/{full.badges[0]['id']}", "/v1/institutions/27UM"]:
        ask = full.asker(path)
        wrong(ask("GET", path, params={"page": "2"}), "/page")
        wrong(ask("GET", path, params={"minposition": "1", "Limit": "1"}), "/minposition", "/Limit")
        doubled = ask("GET", path, params=[("minPosition", "1"), ("minPosition", "1"), ("x", "1")])
        wrong(doubled, "/minPosition", "/x")
    wrong(full.service.as_("auditor")("GET", "/v1/events", params={"position": 1}), "/position")
    awarding = full.institution("POST", "/v1/badges?dryRun=true", {})
    assert "/dryRun" in awarding.text


def test_badges_are_filtered_by_the_day_of_award(full: Full) -> None:
    full.service.settle()
    for path in full.paths()[4:]:
        for parameters, days in (
            ({"awardedFrom": "2024-01-05"}, [7, 6, 5]),
            ({"awardedUntil": "2024-01-02"}, [2, 1]),
            ({"awardedFrom": "2024-01-03", "awardedUntil": "2024-01-04"}, [4, 3]),
            ({"awardedFrom": "2024-01-04", "awardedUntil": "2024-01-03"}, []),
        ):
            found = [item for page in pages(full.institution, path, 2, **parameters) for item in page]
            assert [item["awardedOn"] for item in found] == [f"2024-01-0{day}" for day in days]
        for name in ("awardedFrom", "awardedUntil"):
            for day in ("2024-1-5", "yesterday", "", "2024-01-05T00:00:00Z", "2024-W01-5"):
                wrong(full.institution("GET", path, params={name: day}), f"/{name}")


def test_badges_are_filtered_by_todays_status(service: Service) -> None:
    service.clock.moment = at_noon(2026, 7, 1)
    brin, institution = admitted(service)
    badges = {
        name: awarded(institution, validUntil="2026-07-01") for name in ("ends", "suspended", "revoked")
    }
    badges["active"] = awarded(institution)
    for name, verb in (("suspended", "suspension"), ("revoked", "revocation")):
        ok(institution("POST", f"/v1/badges/{badges[name]['id']}/{verb}", {"reason": "other"}))
    service.settle()

    def named(status: str) -> set[str]:
        found: set[str] = set()
        for path in (f"/v1/institutions/{brin}/badges", f"/v1/modules/{badges['ends']['moduleId']}/badges"):
            items = [item for page in pages(institution, path, 1, status=status) for item in page]
            assert {item["status"] for item in items} <= {status}
            ids = [item["id"] for item in items]
            names = {name for name, badge in badges.items() if badge["id"] in ids}
            assert found in (set(), names)
            found = names
        return found

    assert (named("active"), named("expired")) == ({"ends", "active"}, set())
    service.clock.moment = at_noon(2026, 7, 2)
    assert (named("active"), named("expired")) == ({"active"}, {"ends"})
    assert (named("suspended"), named("revoked")) == ({"suspended"}, {"revoked"})
    for status in ("Active", "known", "", "active,expired"):
        answer = institution("GET", f"/v1/institutions/{brin}/badges", params={"status": status})
        wrong(answer, "/status")


@pytest.mark.parametrize("looked_at", [1, 2, 3, 7, 100])
def test_active_badges_are_each_listed_once_however_few_a_page_looks_at(
    service: Service, looked_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.badges.queries.MAX_LOOKED_AT", looked_at)
    brin, institution = admitted(service)
    ends = ["2999-12-31", None, PAST, PAST, PAST, None, PAST, "2999-12-31"]
    badges = [awarded(institution, **({"validUntil": end} if end else {})) for end in ends]
    last = service.settle()
    active = [badge["id"] for badge, end in zip(badges, ends, strict=True) if end != PAST][::-1]
    paths = (
        f"/v1/institutions/{brin}/badges",
        f"/v1/modules/{badges[0]['moduleId']}/badges",
    )
    auditor = service.as_("auditor")
    asks: list[tuple[Ask, dict[str, Any]]] = [
        (institution, {}),
        (institution, {"awardedFrom": "2018-01-01"}),
        (auditor, {"asOf": last}),
    ]
    for path, (ask, more) in itertools.product(paths, asks):
        for limit in (1, 2, 500):
            found, cursor = list[str](), dict[str, str]()
            for _ in range(len(badges) + 2):
                answer = ok(ask("GET", path, params={"status": "active", "limit": limit, **more, **cursor}))
                assert len(answer["items"]) <= min(limit, looked_at)
                found += [item["id"] for item in answer["items"]]
                cursor = {"cursor": answer["next"]}
                if answer["next"] is None:
                    break
            assert (found, answer["next"]) == (active, None), (path, more, limit)


def test_a_reference_finds_its_award_and_nothing_else(full: Full) -> None:
    full.service.settle()
    path = f"/v1/institutions/{full.brin}/badges"
    items = ok(full.institution("GET", path))["items"]
    for item in items:
        found = ok(full.institution("GET", path, params={"reference": item["reference"]}))["items"]
        assert found == [item]
    for other in (items[0]["reference"].upper() + "X", "%"):
        assert ok(full.institution("GET", path, params={"reference": other}))["items"] == []
    assert (
        ok(full.institution("GET", path, params={"reference": items[0]["reference"], "status": "revoked"}))[
            "items"
        ]
        == []
    )


def test_a_reference_is_found_in_any_unicode_form_in_which_it_may_be_sent(service: Service) -> None:
    brin, institution = admitted(service)
    ok(institution("POST", "/v1/modules", module_body(reference="caf\u00e9")), 201)
    position = awarded(institution, reference="cafe\u0301")["position"]
    for path in (f"/v1/institutions/{brin}/badges", "/v1/modules"):
        for spelling in ("caf\u00e9", "cafe\u0301"):
            more = {"reference": spelling, "minPosition": position}
            items = ok(institution("GET", path, params=more))["items"]
            assert [item["reference"] for item in items] == ["caf\u00e9"], (path, spelling)
