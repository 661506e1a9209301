"""Every combination of the filters of every list reads little more than the page that it answers."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from projections.badges.projection import BadgeRow
from projections.badges.queries import (
    MAX_LOOKED_AT,
    Filter,
    OwnerColumn,
    end_of_look,
    list_badges,
    list_badges_as_of,
)
from projections.catalogue.projection import InstitutionRow, ModuleRow, VersionRow
from projections.catalogue.queries import (
    ModuleFilter,
    list_institutions,
    list_institutions_as_of,
    list_modules,
    list_modules_as_of,
)
from projections.read_model import AUDITOR
from projections.tables import names
from registry import tokens
from registry.domain.events import (
    BadgeAwarded,
    BadgeRevoked,
    BadgeSuspended,
    Commitments,
    InstitutionAdmitted,
    ModuleWithdrawn,
    canonical,
)
from registry.event_store.log import Extent, read_log
from registry.postgres.connections import Cursor
from tests import support
from tests.postgres.log import connection, execute, fresh, query
from tests.postgres.test_plans_of_look_ups import Explaining
from tests.support import Databases

BADGES = 40_000
ON_ONE_DAY = 2_000
MODULES = 20_000
INSTITUTIONS = 2_000
TOKENS = 2_000
PAGE = 50
END = 10**6
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
THEN = Extent(END, NOW)


def made_id(text: str) -> str:
    """The id that `md5(text)::uuid` is."""
    return str(uuid.UUID(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()))


BRIN, MODULE, LEARNER, BADGE = "27UM", made_id("module 7"), made_id("3"), made_id("777")
FIRST_DAY = dt.date(2018, 6, 1)
DAY = FIRST_DAY + dt.timedelta(days=BADGES // 30)
QUIET_DAY = DAY + dt.timedelta(days=100)
HEAD = {"channel": "api", "client": "cli"}
OF_A_BADGE = {
    **HEAD,
    "institution": BRIN,
    "learner_id": "",
    "module_id": "",
    "module_version": 1,
    "awarded_on": FIRST_DAY,
}
AWARDED = BadgeAwarded(
    **OF_A_BADGE,  # type: ignore[arg-type]
    module_name="m",
    institution_name="i",
    sector="hbo",
    content_hash="",
    study_load=None,
    level=None,
    commitments=Commitments(recipient="", reference=""),
)
ADMITTED = InstitutionAdmitted(**HEAD, name="i", kind="hbo", admitted_from=FIRST_DAY)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def large(databases: Databases) -> Iterator[str]:
    """Badges of one institution and module over eight years, of which few are revoked, suspended or expired.

    On one day the institution also awarded many of another module.
    The catalogue has many institutions and modules, of which few are withdrawn. What filters of the log and
    of the past look at is in the log too.
    """
    with fresh(databases) as url:
        execute(
            url,
            f"INSERT INTO badge ({names(BadgeRow)}) SELECT"
            f" md5(n::text)::uuid, '{BRIN}', n,"
            " CASE WHEN mod(n, 1000) = 0 THEN date '2024-01-01' + mod(n, 365) END,"
            " now(), CASE WHEN mod(n, 2000) = 7 THEN now() END, CASE WHEN mod(n, 2000) = 9 THEN now() END,"
            f" n, md5(mod(n, 9000)::text)::uuid, '{MODULE}', 1, '{{}}', date '2018-06-01' + n / 15, NULL,"
            f" mod(n, 2000) = 7, NULL, NULL, NULL FROM generate_series(1, {BADGES}) n",
        )
        execute(
            url,
            f"INSERT INTO badge ({names(BadgeRow)}) SELECT md5('other ' || n)::uuid, '{BRIN}',"
            f" {5 * BADGES} + n, NULL, now(), NULL, NULL, {5 * BADGES} + n, md5('other ' || n)::uuid,"
            f" '{made_id('another module')}', 1, '{{}}', '{DAY}', NULL, false, NULL, NULL, NULL"
            f" FROM generate_series(1, {ON_ONE_DAY}) n",
        )
        execute(
            url,
            f"INSERT INTO institution ({names(InstitutionRow)}) SELECT 'B' || n, 'i', NULL, 'hbo', NULL,"
            f" '2018-06-01', NULL, NULL, NULL, {2 * BADGES} + n FROM generate_series(1, {INSTITUTIONS}) n",
        )
        execute(
            url,
            f"INSERT INTO module ({names(ModuleRow)}) SELECT md5('module ' || n)::uuid, {3 * BADGES} + n,"
            f" CASE WHEN mod(n, 3) = 0 THEN '{BRIN}' ELSE 'B' || mod(n, {INSTITUTIONS}) END,"
            " 'R' || mod(n, 500), 1, CASE WHEN mod(n, 2000) = 9 THEN date '2024-01-01' END,"
            f" {3 * BADGES} + n FROM generate_series(1, {MODULES}) n",
        )
        execute(
            url,
            f"INSERT INTO module_version ({names(VersionRow)}) SELECT id, 1, '', '{{}}', now(), position"
            " FROM module",
        )
        for rows, fact, version in (
            (f"SELECT id, award_position AS p FROM badge WHERE institution = '{BRIN}'", AWARDED, 1),
            (
                f"SELECT id, {BADGES} + award_position FROM badge WHERE revoked_since IS NOT NULL",
                BadgeRevoked(**OF_A_BADGE, reason="other", salt=""),  # type: ignore[arg-type]
                2,
            ),
            (
                f"SELECT id, {BADGES} + award_position FROM badge WHERE suspended_since IS NOT NULL",
                BadgeSuspended(**OF_A_BADGE, reason="other", salt=""),  # type: ignore[arg-type]
                2,
            ),
            ("SELECT brin, last_position FROM institution", ADMITTED, 1),
            (
                f"SELECT id, {BADGES} + position FROM module WHERE withdrawn_from IS NOT NULL",
                ModuleWithdrawn(**HEAD, institution=BRIN, from_=FIRST_DAY),  # type: ignore[arg-type]
                2,
            ),
        ):
            execute(
                url,
                "INSERT INTO event (position, subject, version, type, schema_version, time, data)"
                f" SELECT p, id::text, %s, %s, 1, now(), %s FROM ({rows}) AS rows (id, p)",
                (version, fact.TYPE, canonical(fact)),
            )
        execute(
            url,
            "INSERT INTO token (id, hash, role, expires_at) SELECT md5(n::text), '', 'auditor', now()"
            f" FROM generate_series(1, {TOKENS}) n",
        )
        execute(url, "ANALYZE")
        yield url


# The values with which each filter is tried. Days go together: it is the period that an index finds.
VALUES: dict[str, list[Any]] = {
    "status": ["active", "suspended", "revoked", "expired"],
    "reference": [None],
    "period": [
        {"awardedFrom": DAY, "awardedUntil": DAY},
        {"awardedFrom": QUIET_DAY, "awardedUntil": QUIET_DAY},
        {"awardedFrom": DAY},
        {"awardedFrom": FIRST_DAY},
        {"awardedUntil": DAY + dt.timedelta(days=10_000)},
    ],
    "institution": [BRIN, "B7"],
    "withdrawn": [True, False],
    "asOf": [THEN],
    "type": ["badge.awarded", "badge.revoked", "module.withdrawn"],
    "subject": [BADGE, BRIN],
    "after": [0, BADGES // 2],
}
NO_FILTERS = {"limit", "cursor", "minPosition"}


@dataclass(frozen=True)
class Listing:
    """How a list is asked, and SQL for the number of its items that a filter alone leaves."""

    ask: Callable[[Cursor, Mapping[str, Any]], object]
    count: Callable[[Mapping[str, Any]], str]


def badges_of(owner: OwnerColumn, of: str) -> Listing:
    def ask(cursor: Cursor, asked: Mapping[str, Any]) -> object:
        days, reference = asked.get("period", {}), BADGE if "reference" in asked else None
        wanted = Filter(reference, asked.get("status"), days.get("awardedFrom"), days.get("awardedUntil"))
        if "asOf" in asked:
            return list_badges_as_of(cursor, AUDITOR, (owner, of), wanted, THEN, END, PAGE + 1)
        return list_badges(cursor, AUDITOR, (owner, of), wanted, NOW, END, PAGE + 1)

    def count(asked: Mapping[str, Any]) -> str:
        days = asked.get("period", {})
        conditions = [f"{owner} = '{of}'"]
        conditions += [f"awarded_on >= '{days['awardedFrom']}'"] if "awardedFrom" in days else []
        conditions += [f"awarded_on <= '{days['awardedUntil']}'"] if "awardedUntil" in days else []
        conditions += [_STATUSES[asked["status"]]] if "status" in asked else []
        conditions += [f"id = '{BADGE}'"] if "reference" in asked else []
        return f"SELECT count(*) FROM badge WHERE {' AND '.join(conditions)}"

    return Listing(ask, count)


_STATUSES = {
    "active": "true",
    "suspended": "suspended_since IS NOT NULL",
    "revoked": "revoked_since IS NOT NULL",
    "expired": "valid_until IS NOT NULL",
}


def _modules(cursor: Cursor, asked: Mapping[str, Any]) -> object:
    reference = "R7" if "reference" in asked else None
    wanted = ModuleFilter(asked.get("institution"), reference, asked.get("withdrawn"))
    if "asOf" in asked:
        return list_modules_as_of(cursor, wanted, THEN, 0, PAGE)
    return list_modules(cursor, wanted, NOW, 0, PAGE)


def _count_modules(asked: Mapping[str, Any]) -> str:
    conditions = ["true"]
    conditions += [f"institution = '{asked['institution']}'"] if "institution" in asked else []
    conditions += ["reference = 'R7'"] if "reference" in asked else []
    if "withdrawn" in asked:
        conditions.append(f"withdrawn_from IS {'NOT ' if asked['withdrawn'] else ''}NULL")
    return f"SELECT count(*) FROM module WHERE {' AND '.join(conditions)}"


def _institutions(cursor: Cursor, asked: Mapping[str, Any]) -> object:
    if "asOf" in asked:
        return list_institutions_as_of(cursor, "", PAGE + 1, THEN)
    return list_institutions(cursor, "", PAGE + 1)


def _events(cursor: Cursor, asked: Mapping[str, Any]) -> object:
    kind, subject = asked.get("type", ""), asked.get("subject", "")
    return read_log(cursor, asked.get("after", 0), PAGE + 1, until=END, kind=kind, subject=subject)


def _count_events(asked: Mapping[str, Any]) -> str:
    conditions = ["true"]
    conditions += [f"type = '{asked['type']}'"] if "type" in asked else []
    conditions += [f"subject = '{asked['subject']}'"] if "subject" in asked else []
    return f"SELECT count(*) FROM event WHERE {' AND '.join(conditions)}"


LISTINGS = {
    "/institutions": Listing(_institutions, lambda _: f"SELECT {INSTITUTIONS}"),
    "/modules": Listing(_modules, _count_modules),
    "/institutions/{brin}/badges": badges_of("institution", BRIN),
    "/modules/{moduleId}/badges": badges_of("module_id", MODULE),
    "/learners/{learnerId}/badges": badges_of("learner_id", LEARNER),
    "/learners/me": badges_of("learner_id", LEARNER),
    "/events": Listing(_events, _count_events),
    "/tokens": Listing(
        lambda cursor, _: tokens.list_tokens(cursor, "", PAGE + 1), lambda _: f"SELECT {TOKENS}"
    ),
}


def filters_of_lists(url: str) -> dict[str, list[str]]:
    """The filters of each list in the OpenAPI document: what has a `limit` is a list."""
    with support.service(url) as running:
        paths = running.client.get("/v1/openapi.json").json()["paths"]
    found = {}
    for path, methods in paths.items():
        given = {
            each["name"] for each in methods.get("get", {}).get("parameters", []) if each["in"] == "query"
        }
        if "limit" in given:
            names_ = {"period" if name.startswith("awarded") else name for name in given - NO_FILTERS}
            found[path] = sorted(names_)
    return found


def combinations(filters: list[str]) -> Iterator[dict[str, Any]]:
    """Every combination of some of the filters, with each of their values."""
    for count in range(len(filters) + 1):
        for chosen in itertools.combinations(filters, count):
            for values in itertools.product(*(VALUES[name] for name in chosen)):
                yield dict(zip(chosen, values, strict=True))


def test_every_combination_of_filters_of_every_list_reads_little_more_than_its_page(
    databases: Databases, large: str
) -> None:
    with fresh(databases) as empty:
        filters = filters_of_lists(empty)
    assert filters.keys() == LISTINGS.keys()
    too_much = []
    with connection(large, "registry_read") as opened, opened.cursor() as plain:
        plain.execute("SELECT set_config('registry.asker', 'auditor', false)")
        for path, names_ in filters.items():
            for asked in combinations(names_):
                # The narrowest filter decides how much must be looked at.
                alone = [query(large, LISTINGS[path].count({name: asked[name]}))[0][0] for name in asked]
                with opened.cursor(cursor_factory=Explaining) as cursor:
                    LISTINGS[path].ask(cursor, asked)
                if cursor.read > 6 * max(PAGE + 1, min(alone, default=0) if alone else 0):
                    too_much.append((path, asked, cursor.read))
    assert too_much == []


@pytest.mark.parametrize("period", [{}, {"awardedFrom": FIRST_DAY}])
def test_a_page_of_active_badges_reads_no_more_where_all_badges_have_expired(
    databases: Databases, period: dict[str, dt.date]
) -> None:
    with fresh(databases) as url:
        execute(
            url,
            f"INSERT INTO badge ({names(BadgeRow)})"
            f" SELECT md5(n::text)::uuid, '{BRIN}', n, '2024-01-01', now(), NULL, NULL, n,"
            f" md5(n::text)::uuid, '{MODULE}', 1, '{{}}', '{DAY}', NULL, false, NULL, NULL, NULL"
            f" FROM generate_series(1, {4 * MAX_LOOKED_AT}) n",
        )
        execute(url, "ANALYZE")
        wanted = Filter(status="active", awarded_from=period.get("awardedFrom"))
        owners: list[tuple[OwnerColumn, str]] = [("institution", BRIN), ("module_id", MODULE)]
        for owned in owners:
            with connection(url) as opened, opened.cursor(cursor_factory=Explaining) as cursor:
                end = end_of_look(cursor, owned, wanted, END)
                _, found = list_badges(cursor, AUDITOR, owned, wanted, NOW, END, PAGE + 1, end)
                assert (found, end) == ([], 3 * MAX_LOOKED_AT + 1)
                assert cursor.read <= 2 * MAX_LOOKED_AT + PAGE
