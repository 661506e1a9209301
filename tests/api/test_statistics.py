"""What a statistician asks: figures by group, period and position, as JSON and CSV, and the codebook."""

from __future__ import annotations

import csv
import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest

from api.lookups.statistics import MEASURES
from projections.statistics.queries import ASKED, DIMENSIONS
from registry.postgres.connections import connect
from tests import support
from tests.api.asking import Ask, award_body, module_body, ok, wrong
from tests.support import INSTITUTION, Databases, Service

PATH = "/v1/statistics/awards"
NONE = {"awarded": 0, "revoked": 0, "superseded": 0, "active": 0, "ects": 0, "sbu": 0}


@dataclass
class Counted:
    service: Service
    ask: Ask
    module: str
    awards: list[int]
    """The positions of the awards; the last one supersedes the first, which was revoked."""
    revoked_at: int

    def figures(self, **params: Any) -> dict[str, Any]:
        return ok(self.ask("GET", PATH, params=params))


@pytest.fixture(scope="module")
def counted(databases: Databases) -> Iterator[Counted]:
    url = databases.fresh()
    with support.service(url) as service:
        institution = service.admitted("27UM")
        mbo = INSTITUTION | {"kind": "mbo", "name": "Mbo"}
        assert service.as_("registrar")("PUT", "/v1/institutions/25LP", mbo).status_code == 201
        other = service.institution("25LP")
        ok(other("POST", "/v1/modules", module_body(reference="M", studyLoad={"sbu": 240})), 201)
        half = module_body(reference="HALF", studyLoad={"ects": 3.5}, isced=..., programme='=1+1, "x"')
        ok(institution("POST", "/v1/modules", half), 201)
        first = ok(institution("POST", "/v1/badges", award_body(awardedOn="2023-04-19")), 201)
        again = award_body(awardedOn="2023-04-20")
        awards = [first["position"], ok(institution("POST", "/v1/badges", again), 201)["position"]]
        of_half = award_body(moduleReference="HALF", awardedOn="2023-05-01", learner={"eduId": "b"})
        held = ok(institution("POST", "/v1/badges", of_half), 201)
        awards.append(held["position"])
        of_mbo = award_body(moduleReference="M", awardedOn="2023-05-31")
        awards.append(ok(other("POST", "/v1/badges", of_mbo), 201)["position"])
        ok(institution("POST", f"/v1/badges/{held['id']}/suspension", {"reason": "appeal"}))
        gone = ok(institution("POST", f"/v1/badges/{first['id']}/revocation", {"reason": "other"}))
        anew = award_body(awardedOn="2023-04-19", supersedes=first["id"])
        awards.append(ok(institution("POST", "/v1/badges", anew), 201)["position"])
        service.settle()
        yield Counted(service, service.as_("statistician"), first["moduleId"], awards, gone["position"])
    databases.drop(url)


def test_the_newest_figures_by_institution(counted: Counted) -> None:
    assert counted.figures(groupBy="institution") == {
        "position": counted.awards[-1],
        "items": [
            {
                "institution": "25LP",
                "awarded": 1,
                "revoked": 0,
                "superseded": 0,
                "active": 1,
                "ects": 0,
                "sbu": 240,
            },
            {
                "institution": "27UM",
                "awarded": 4,
                "revoked": 1,
                "superseded": 1,
                "active": 2,
                "ects": 13.5,
                "sbu": 0,
            },
        ],
    }


def test_figures_without_a_group_are_one_item_also_of_nothing(counted: Counted) -> None:
    assert counted.figures()["items"] == [
        {"awarded": 5, "revoked": 1, "superseded": 1, "active": 3, "ects": 13.5, "sbu": 240}
    ]
    assert counted.figures(position=0) == {"position": 0, "items": [NONE]}
    assert counted.figures(groupBy="month", position=0) == {"position": 0, "items": []}


def test_figures_at_an_earlier_position_are_what_they_were_then(counted: Counted) -> None:
    before = counted.figures(position=counted.revoked_at - 1)
    assert before["items"] == [
        {"awarded": 4, "revoked": 0, "superseded": 0, "active": 3, "ects": 13.5, "sbu": 240}
    ]
    revoked = counted.figures(position=counted.revoked_at)["items"][0]
    assert (revoked["awarded"], revoked["revoked"], revoked["superseded"]) == (4, 1, 0)


def test_three_dimensions_at_once_in_the_order_in_which_they_are_asked(counted: Counted) -> None:
    items = counted.figures(groupBy="month,sector,isced")["items"]
    assert [list(each)[:3] for each in items] == [["month", "sector", "isced"]] * 3
    assert [(each["month"], each["sector"], each["isced"], each["awarded"]) for each in items] == [
        ("2023-04", "hbo", "0913", 3),
        ("2023-05", "hbo", None, 1),
        ("2023-05", "mbo", "0913", 1),
    ]


def test_a_period_counts_days_of_award_and_its_end_is_exclusive(counted: Counted) -> None:
    def awarded(**params: Any) -> int:
        return int(counted.figures(**params)["items"][0]["awarded"])

    assert awarded(**{"from": "2023-04-20"}) == 3
    assert awarded(**{"from": "2023-04-20", "until": "2023-05-31"}) == 2
    assert awarded(**{"from": "2023-04-19", "until": "2023-04-20"}) == 2
    assert awarded(until="2023-04-19") == 0
    assert awarded(**{"from": "2023-05-01", "until": "2023-06-01"}) == 2


def test_distinct_learners_are_counted_where_they_are_asked_for(counted: Counted) -> None:
    items = counted.figures(groupBy="institution", measures="learners,awarded")["items"]
    assert items == [
        {"institution": "25LP", "learners": 1, "awarded": 1},
        {"institution": "27UM", "learners": 2, "awarded": 4},
    ]
    assert counted.figures(measures="learners")["items"] == [{"learners": 2}]


def test_the_same_as_csv(counted: Counted) -> None:
    answer = counted.ask("GET", PATH, params={"groupBy": "programme,month", "format": "csv"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Registry-Position"] == str(counted.awards[-1])
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    items = counted.figures(groupBy="programme,month")["items"]
    assert rows == [{name: "" if each[name] is None else str(each[name]) for name in each} for each in items]
    assert list(rows[0]) == ["programme", "month", *NONE]


def test_the_codebook_names_every_dimension_and_measure(counted: Counted) -> None:
    book = ok(counted.ask("GET", "/v1/statistics/codebook"))
    assert {each["name"] for each in book["dimensions"]} == set(DIMENSIONS)
    assert {each["name"] for each in book["measures"]} == set(MEASURES)
    assert {each["name"] for each in book["filters"]} == {"from", "until", "position"}
    assert all(each["description"] for part in book.values() for each in part)


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"groupBy": "learner"}, "/groupBy"),
        ({"groupBy": "month,month"}, "/groupBy"),
        ({"groupBy": "month,"}, "/groupBy"),
        ({"groupBy": "month,sector,nlqf,isced"}, "/groupBy"),
        ({"measures": "awarded,awarded"}, "/measures"),
        ({"measures": "grades"}, "/measures"),
        ({"from": "2023-1-1"}, "/from"),
        ({"from": "2023-02-01", "until": "2023-02-01"}, "/until"),
        ({"from": "9999-12-15"}, "/from"),
        ({"position": "-1"}, "/position"),
        ({"position": "999999"}, "/position"),
        ({"position": "x"}, "/position"),
        ({"format": "xml"}, "/format"),
        ({"month": "2023-04"}, "/month"),
    ],
)
def test_what_cannot_be_counted_is_refused(counted: Counted, params: dict[str, str], pointer: str) -> None:
    wrong(counted.ask("GET", PATH, params=params), pointer)


def test_figures_are_as_of_one_moment_also_while_a_rebuild_swaps_the_tables(counted: Counted) -> None:
    """The asker waits for the swap, and then sees what the swap has written."""
    connection = connect(counted.service.url)
    asked: Future[int] = Future()

    def ask() -> None:
        asked.set_result(counted.figures()["items"][0]["awarded"])

    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"LOCK TABLE {', '.join(ASKED)} IN ACCESS EXCLUSIVE MODE")
        cursor.execute("UPDATE statistics_sum SET awarded = awarded + 7 WHERE block = -1 AND cell = 1")
        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.3)
        cursor.execute("COMMIT")
        assert asked.result(10) == 5 + 7
        asking.join()
        cursor.execute("UPDATE statistics_sum SET awarded = awarded - 7 WHERE block = -1 AND cell = 1")
    connection.close()


def test_figures_wait_for_a_position_that_they_are_to_hold(counted: Counted) -> None:
    assert counted.figures(minPosition=counted.awards[-1])["position"] == counted.awards[-1]
    wrong(counted.ask("GET", PATH, params={"minPosition": counted.awards[-1] + 1}), "/minPosition")
