"""What a statistician asks: figures by group, period and position, as JSON and CSV, and the codebook."""

from __future__ import annotations

import csv
import datetime as dt
import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from api.lookups.statistics_codebook import MEASURES
from projections.statistics.queries import ASKED, DIMENSIONS, HOLDING_DIMENSIONS, REVOCATION_DIMENSIONS
from registry.postgres.connections import connect
from tests import support
from tests.api.asking import Ask, award_body, module_body, ok, wrong
from tests.support import INSTITUTION, MODULE, Databases, Service

PATH = "/v1/statistics/awards"
AMSTERDAM = ZoneInfo("Europe/Amsterdam")
NONE = {"awarded": 0, "revoked": 0, "superseded": 0, "active": 0, "ects": 0, "sbu": 0}


@dataclass
class Counted:
    service: Service
    ask: Ask
    module: str
    awards: list[int]
    """The positions of the awards; the last one supersedes the first, which was revoked."""
    revoked_at: int
    revoked: str

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
        yield Counted(
            service, service.as_("statistician"), first["moduleId"], awards, gone["position"], first["id"]
        )
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


def uncelled(text: str) -> str | None:
    """A cell, read by the codebook's rule."""
    return text.removeprefix("'") or None


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("group_by", ["programme,month", "isced,iscedBroad,nlqf", "institution,module,year"])
def test_the_same_as_csv(counted: Counted, group_by: str, separator: str) -> None:
    params = {"groupBy": group_by, "format": "csv", "separator": separator}
    answer = counted.ask("GET", PATH, params=params)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Registry-Position"] == str(counted.awards[-1])
    name = f"awards-{group_by.replace(',', '-')}-{counted.awards[-1]}.csv"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    rows = list(csv.DictReader(io.StringIO(answer.text), delimiter=separator))
    items = counted.figures(groupBy=group_by)["items"]
    assert [{name: uncelled(row[name]) for name in items[0]} for row in rows] == [
        {name: None if each[name] is None else str(each[name]) for name in each} for each in items
    ]
    assert {(row["position"], row["asOf"]) for row in rows} == {(str(counted.awards[-1]), "")}


def test_csv_has_names_beside_ids(counted: Counted) -> None:
    params = {"groupBy": "institution,module", "format": "csv"}
    rows = list(csv.DictReader(io.StringIO(counted.ask("GET", PATH, params=params).text)))
    assert list(rows[0])[:4] == ["institution", "institutionName", "module", "moduleName"]
    assert {(row["institution"], row["institutionName"]) for row in rows} == {
        ("25LP", "Mbo"),
        ("27UM", INSTITUTION["name"]),
    }
    assert {row["moduleName"] for row in rows} == {MODULE["name"]}


def test_a_reader_of_csv_that_guesses_types_gets_the_same_codes(counted: Counted) -> None:
    """It takes a column for numbers where every cell that is not empty is one."""
    for name in DIMENSIONS:
        params = {"groupBy": name, "format": "csv"}
        rows = list(csv.DictReader(io.StringIO(counted.ask("GET", PATH, params=params).text)))
        cells = [row[name] for row in rows if row[name]]
        assert not all(cell.replace(".", "").isdigit() for cell in cells), name


def test_the_codebook_names_every_dimension_measure_and_parameter(counted: Counted) -> None:
    book = ok(counted.ask("GET", "/v1/statistics/codebook"))
    names = {part: {each["name"] for each in entries} for part, entries in book.items()}
    assert names["dimensions"] == set(DIMENSIONS)
    assert names["measures"] == set(MEASURES)
    assert names["filters"] == {"from", "until", "position", "asOf"}
    assert names["revocations"] == {*REVOCATION_DIMENSIONS, "revoked", "medianDays"}
    assert names["learners"] == {*HOLDING_DIMENSIONS, "microcredentials", "learners"}
    assert names["csv"] >= {"empty", "apostrophe", "separator", "columns"}
    assert "smallCells" in names["notes"]
    assert all(each["description"] for part in book.values() for each in part)


def test_awards_by_what_the_module_and_the_recording_say(counted: Counted) -> None:
    def awarded(name: str) -> dict[str | None, int]:
        return {each[name]: each["awarded"] for each in counted.figures(groupBy=name)["items"]}

    assert awarded("year") == {"2023": 5}
    assert awarded("quarter") == {"2023-Q2": 5}
    assert awarded("targetGroup") == {"professionals": 5}
    assert awarded("channel") == {"api": 5}
    assert awarded("iscedBroad") == {"09": 4, None: 1}
    assert awarded("iscedNarrow") == {"091": 4, None: 1}


def test_revocations_are_counted_by_when_and_why(counted: Counted) -> None:
    event = ok(counted.service.as_("auditor")("GET", f"/v1/badges/{counted.revoked}/history"))["items"][-1]
    day = dt.datetime.fromisoformat(event["time"]).astimezone(AMSTERDAM).date()
    days = (day - dt.date(2023, 4, 19)).days
    answer = ok(counted.ask("GET", "/v1/statistics/revocations"))
    assert answer == {
        "position": counted.awards[-1],
        "items": [
            {
                "month": f"{day:%Y-%m}",
                "reason": "other",
                "institution": "27UM",
                "revoked": 1,
                "medianDays": days,
            }
        ],
    }
    params = {"groupBy": "year", "position": counted.revoked_at - 1}
    assert ok(counted.ask("GET", "/v1/statistics/revocations", params=params))["items"] == []


def test_learners_are_counted_by_how_many_microcredentials_they_hold(counted: Counted) -> None:
    """`a` holds two of 27UM, where one more is revoked, and one of 25LP; `b` one, suspended, of 27UM."""
    path = "/v1/statistics/learners"
    assert ok(counted.ask("GET", path))["items"] == [
        {"microcredentials": 1, "learners": 1},
        {"microcredentials": 3, "learners": 1},
    ]
    assert ok(counted.ask("GET", path, params={"groupBy": "institution"}))["items"] == [
        {"institution": "25LP", "microcredentials": 1, "learners": 1},
        {"institution": "27UM", "microcredentials": 1, "learners": 1},
        {"institution": "27UM", "microcredentials": 2, "learners": 1},
    ]
    params = {"position": counted.awards[0], "format": "csv"}
    answer = counted.ask("GET", path, params=params).text
    assert answer == f"microcredentials,learners,position,asOf\r\n1,1,{counted.awards[0]},\r\n"


@pytest.mark.parametrize("brin", ["27UM", "25LP"])
@pytest.mark.parametrize("call", ["awards", "revocations", "learners"])
def test_an_institution_reads_its_own_figures_and_no_others(counted: Counted, call: str, brin: str) -> None:
    own = counted.service.as_("institution", institution=brin)
    for more in ({}, {"measures": "awarded,learners", "from": "2023-04-20"} if call == "awards" else {}):
        for position in range(counted.awards[-1] + 1):
            params = {"groupBy": "institution", "position": position} | more
            everyones = ok(counted.ask("GET", f"/v1/statistics/{call}", params=params))["items"]
            found = ok(own("GET", f"/v1/statistics/{call}", params=params))["items"]
            assert found == [each for each in everyones if each["institution"] == brin]
            alone = {name: value for name, value in params.items() if name != "groupBy"}
            if call == "awards":
                (total,) = ok(own("GET", f"/v1/statistics/{call}", params=alone))["items"]
                assert total["awarded"] == sum(each["awarded"] for each in found)
                assert total.get("learners") == (sum(each["learners"] for each in found) if more else None)


@pytest.mark.parametrize("around", ["2025-10-26", "2026-03-29"])
def test_as_of_a_day_is_the_end_of_that_day_in_amsterdam(databases: Databases, around: str) -> None:
    """Events at each midnight, and just before, around the day on which the clocks change."""
    url = databases.fresh()
    with support.service(url) as service:
        institution = service.admitted("27UM")
        for number in range(4):
            ok(institution("POST", "/v1/badges", award_body(reference=f"r-{number}")), 201)
        service.settle()
        middle = dt.date.fromisoformat(around)
        edges = [midnight(middle + dt.timedelta(days=days)) for days in range(-1, 3)]
        last = service.settle()
        moments = sorted([each + dt.timedelta(microseconds=by) for each in edges for by in (-1, 0)])[:last]
        with connect(url) as opened, opened.cursor() as cursor:
            cursor.execute("ALTER TABLE event DISABLE TRIGGER event_is_append_only")
            for position, moment in enumerate(moments, 1):
                cursor.execute("UPDATE event SET time = %s WHERE position = %s", (moment, position))
            cursor.execute("UPDATE event SET time = %s WHERE position > %s", (moments[-1], len(moments)))
            cursor.execute("ALTER TABLE event ENABLE TRIGGER event_is_append_only")
        times = [*moments, *[moments[-1]] * (last - len(moments))]
        ask = service.as_("statistician")
        for days in range(-3, 4):
            day = middle + dt.timedelta(days=days)
            position = sum(each.astimezone(AMSTERDAM).date() <= day for each in times)
            answer = ok(ask("GET", PATH, params={"asOf": day.isoformat()}))
            assert (answer["position"], answer["asOf"]) == (position, day.isoformat())
            assert answer["items"] == ok(ask("GET", PATH, params={"position": position}))["items"]
            row = csv_rows(ask("GET", PATH, params={"asOf": day.isoformat(), "format": "csv"}))[0]
            assert (row["position"], row["asOf"]) == (str(position), day.isoformat())
    databases.drop(url)


def midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), AMSTERDAM).astimezone(dt.UTC)


def csv_rows(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_today_is_what_is_recorded_so_far_and_tomorrow_is_refused(counted: Counted) -> None:
    today = dt.datetime.now(AMSTERDAM).date()
    assert counted.figures(asOf=today.isoformat())["position"] == counted.awards[-1]
    tomorrow = (today + dt.timedelta(days=2)).isoformat()
    for path in (PATH, "/v1/statistics/revocations", "/v1/statistics/learners"):
        wrong(counted.ask("GET", path, params={"asOf": tomorrow}), "/asOf")


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
        ({"separator": "|"}, "/separator"),
        ({"asOf": "2026-1-1"}, "/asOf"),
        ({"asOf": "2026-02-30"}, "/asOf"),
        ({"asOf": "9999-12-31"}, "/asOf"),
        ({"asOf": "2026-01-01", "position": "1"}, "/asOf"),
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
