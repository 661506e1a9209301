"""Statistics agree with a recount of the log, to the last figure, at every position and by every group."""

from __future__ import annotations

import datetime as dt
import statistics
import uuid
import zoneinfo
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.applying import apply_page
from consumers.store_feed import LogEnd, StoreFeed
from projections.statistics import tables
from projections.statistics.known import OF_BADGES, OF_LEARNERS, OF_REVOKED
from projections.statistics.projection import Statistics
from projections.statistics.queries import (
    DIMENSIONS,
    HOLDING_DIMENSIONS,
    REVOCATION_DIMENSIONS,
    Figures,
    Period,
    figures_at,
    holdings_at,
    learners_at,
    revocations_at,
)
from registry.domain.badge import AwardTerms
from registry.domain.events import (
    BadgeAwarded,
    BadgeReinstated,
    BadgeRevoked,
    BadgeSuspended,
    Level,
    ModuleRegistered,
    ModuleRevised,
    RevocationReason,
    Sector,
    StudyLoad,
)
from registry.domain.institution import Origin, Particulars
from registry.event_store.log import LoggedEvent
from registry.event_store.read_model_positions import positions_of
from registry.postgres.connections import Pool
from registry.recording.commands import (
    AdmitInstitution,
    CorrectBadge,
    ReinstateBadge,
    RevokeBadge,
    SuspendBadge,
)
from registry.recording.registry import Registry
from tests.postgres.commands import CONTENT, ORIGIN, award_badge, command, register_module, registry_on
from tests.postgres.log import connection, execute, fresh, whole_log
from tests.support import Databases

Group = tuple[str | None, ...]
BRINS: dict[str, Sector] = {"27UM": "hbo", "22OJ": "wo", "25LP": "mbo"}
MODULES = (("27UM", "A"), ("27UM", "B"), ("22OJ", "A"), ("25LP", "A"))
DAYS = [
    dt.date(2023, 1, 31),
    dt.date(2023, 2, 1),
    dt.date(2023, 2, 14),
    dt.date(2023, 3, 1),
    dt.date(2024, 2, 29),
]
# A month, quarters and years: the distinct learners of these are not counted one by one.
CALENDAR = [
    [dt.date(2023, 2, 1), dt.date(2023, 3, 1)],
    [dt.date(2023, 1, 1), dt.date(2023, 4, 1)],
    [dt.date(2023, 1, 1), dt.date(2023, 10, 1)],
    [dt.date(2023, 1, 1), dt.date(2024, 1, 1)],
    [dt.date(2022, 1, 1), dt.date(2024, 1, 1)],
]
NAMES = tuple(DIMENSIONS)
AMSTERDAM = zoneinfo.ZoneInfo("Europe/Amsterdam")
REASONS: tuple[RevocationReason, ...] = ("other", "fraud", "awarded-in-error")
ORIGINS = (ORIGIN, Origin("batch", ORIGIN.client), Origin("import", "cli"))
# When `initial-students` is a target group.
REGISTERED_AT = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


@contextmanager
def registered(databases: Databases) -> Iterator[tuple[str, Registry]]:
    """A registry with an institution of each sector and four modules."""
    with fresh(databases) as url, registry_on(url, lambda: REGISTERED_AT) as found:
        for brin, kind in BRINS.items():
            found.record(AdmitInstitution(brin, Particulars(brin, kind, dt.date(2022, 2, 1)), ORIGIN))
        _register(found, "27UM", "A", StudyLoad(ects=5), "6", "0913", "Zorg")
        _register(found, "27UM", "B", StudyLoad(ects=3.5), "4+", None, None, "initial-students")
        _register(found, "22OJ", "A", StudyLoad(ects=30), "7", "061", 'Make, "IT"', origin=ORIGINS[2])
        _register(found, "25LP", "A", StudyLoad(sbu=240), "3", "06", "Zorg", "professionals")
        yield url, found


def _register(
    registry: Registry,
    brin: str,
    reference: str,
    load: StudyLoad,
    nlqf: str,
    isced: str | None,
    programme: str | None,
    target_group: str | None = None,
    origin: Origin = ORIGIN,
) -> None:
    content = msgspec.structs.replace(
        CONTENT,
        study_load=load,
        level=Level(nlqf=nlqf),
        isced=isced,
        programme=programme,
        target_group=target_group,
    )
    register_module(registry, brin, reference, content, origin)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few events fill many of them."""
    monkeypatch.setattr(tables, "BLOCK", 7)


class History:
    """What a test does to badges: it remembers them, and how many there are."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.badges: list[tuple[str, str]] = []
        self.revoked: dict[str, list[str]] = defaultdict(list)

    def award(self, place: int, day: dt.date, learner: int, supersede: bool) -> None:
        brin, module = MODULES[place]
        named = self.revoked[brin][-1] if supersede and self.revoked[brin] else None
        asked = command(brin, f"r-{len(self.badges)}", f"learner-{learner}", module)
        stated = AwardTerms(None, day, supersedes=named)
        origin = ORIGINS[len(self.badges) % 2]
        made = award_badge(self.registry, _with(asked, terms=stated, origin=origin))
        self.badges.append((brin, made.id))

    def change(self, place: int, how: str) -> None:
        if not self.badges:
            return
        brin, badge = self.badges[place % len(self.badges)]
        if badge in self.revoked[brin] and how != "revoke":
            return
        match how:
            case "revoke":
                reason = REASONS[place % len(REASONS)]
                if badge not in self.revoked[brin]:
                    self.registry.record(RevokeBadge(brin, badge, reason, None, None, ORIGIN))
                    self.revoked[brin].append(badge)
            case "suspend":
                self.registry.record(SuspendBadge(brin, badge, "appeal", None, ORIGIN))
            case "reinstate":
                self.registry.record(ReinstateBadge(brin, badge, ORIGIN))
            case "correct":
                self.registry.record(CorrectBadge(brin, badge, f"{place}", None, ORIGIN))


def _with(asked: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(asked, **changes)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 3), st.sampled_from(DAYS), st.integers(0, 4), st.booleans()),
        st.tuples(st.integers(0, 200), st.sampled_from(["revoke", "suspend", "reinstate", "correct"])),
    ),
    min_size=1,
    max_size=40,
)
QUESTIONS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(NAMES), max_size=3, unique=True),
        st.one_of(
            st.lists(st.dates(dt.date(2022, 12, 20), dt.date(2024, 3, 2)), max_size=2, unique=True),
            st.sampled_from(CALENDAR),
        ),
        st.booleans(),
        st.floats(0, 1),
    ),
    min_size=5,
    max_size=5,
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(STEPS, QUESTIONS, st.integers(1, 20), st.sets(st.integers(0, 45), max_size=6))
def test_the_figures_agree_with_a_recount_of_the_log(
    databases: Databases, steps: list[Any], questions: list[Any], batch: int, skipped: set[int]
) -> None:
    """Of what an operator has not told the read model to pass over."""
    with registered(databases) as (url, registry):
        history = History(registry)
        for step in steps:
            (history.award if len(step) == 4 else history.change)(*step)
        _spread(url)
        log = [each for each in whole_log(url) if not (each.position in skipped and _skip(url, each))]
        _project(url, batch)
        for group_by, days, open_end, share in questions:
            _agrees(url, log, group_by, _period(sorted(days), open_end), round(share * log[-1].position))


def _spread(url: str) -> None:
    """Gives the events times an hour and more apart, from just before summer time ends in 2025.

    The longest histories of these tests also reach its begin in 2026.
    """
    execute(url, "ALTER TABLE event DISABLE TRIGGER event_is_append_only")
    execute(
        url,
        "UPDATE event SET time = timestamptz '2025-10-25 21:30+00' + position * interval '70 minutes'"
        " + (position / 9) * interval '31 days'",
    )
    execute(url, "ALTER TABLE event ENABLE TRIGGER event_is_append_only")


@pytest.mark.parametrize("statement", [OF_BADGES, OF_LEARNERS, OF_REVOKED])
def test_what_becomes_of_badges_is_looked_up_and_not_searched_for(
    databases: Databases, statement: str
) -> None:
    """Also right after many awards, when PostgreSQL knows little of the tables."""
    with fresh(databases) as url:
        execute(
            url,
            "INSERT INTO statistics_change SELECT n, 1, now(), gen_random_uuid(), gen_random_uuid(),"
            " 1 - n / 29001, n / 29001, 0, 0, 10, 0, NULL, 1, 1, NULL, NULL FROM generate_series(1, 30000) n",
        )
        ids = " ".join(str(uuid.uuid4()) for _ in range(500))
        with connection(url, "registry_project") as opened, opened.cursor() as cursor:
            cursor.execute(f"EXPLAIN {statement}", [ids] * statement.count("%s"))
            plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Seq Scan" not in plan, plan
    assert "Join" not in plan, plan


@pytest.mark.parametrize(
    "place", range(1, 5), ids=["suspension", "reinstatement", "second suspension", "revocation"]
)
@pytest.mark.parametrize("batch", [1, 2, 3, 20])
def test_what_is_passed_over_leaves_the_same_figures_whatever_the_batches_are(
    databases: Databases, place: int, batch: int
) -> None:
    with registered(databases) as (url, registry):
        history = History(registry)
        history.award(0, DAYS[0], 0, False)
        for how in ("suspend", "reinstate", "suspend", "revoke"):
            history.change(0, how)
        log = whole_log(url)
        passed_over = log[-5 + place]
        assert _skip(url, passed_over)
        log.remove(passed_over)
        _project(url, batch)
        _agrees(url, log, ["institution"], Period(None, None), log[-1].position)


def _skip(url: str, logged: LoggedEvent) -> bool:
    """Passes over what comes after an award; says whether it is that."""
    later = logged.type.startswith("badge.") and logged.type != BadgeAwarded.TYPE
    if later:
        values = f"'statistics', {logged.position}, 'skip', 'test'"
        execute(url, f"INSERT INTO intervention (name, position, action, because) VALUES ({values})")
    return later


def check_figures(url: str) -> None:
    """The figures at the log's end, by each dimension, agree with a recount of it."""
    log = whole_log(url)
    for group_by in ([], *([name] for name in NAMES)):
        _agrees(url, log, group_by, Period(None, None), len(log))


def _agrees(
    url: str, log: Sequence[LoggedEvent], group_by: Sequence[str], period: Period, position: int
) -> None:
    for institution in (None, "27UM"):
        with connection(url, "registry_read") as opened, opened.cursor() as cursor:
            found = figures_at(cursor, group_by, period, position, institution)
            learners = learners_at(cursor, group_by, period, position, institution)
            ever = learners_at(cursor, group_by, Period(None, None), position, institution)
            revocations = {
                names: revocations_at(cursor, names, _of_revocations(period), position, institution)
                for names in ((), *((name,) for name in REVOCATION_DIMENSIONS), ("month", "reason"))
            }
            holdings = {
                names: holdings_at(cursor, names, position, institution)
                for names in ((), tuple(HOLDING_DIMENSIONS))
            }
        wanted = recount(log, group_by, period, position, institution)
        assert {each.group: each for each in found} == {group: each for group, (each, _) in wanted.items()}
        assert _without_nobody(learners) == {group: len(each) for group, (_, each) in wanted.items()}
        always = recount(log, group_by, Period(None, None), position, institution)
        assert _without_nobody(ever) == {group: len(each) for group, (_, each) in always.items()}
        ordered = [tuple((part is None, part or "") for part in each.group) for each in found]
        assert ordered == sorted(ordered)
        for names, counted in revocations.items():
            assert {each.group: (each.revoked, each.median_days) for each in counted} == recount_revocations(
                log, names, _of_revocations(period), position, institution
            )
        for names, held in holdings.items():
            assert {(each.group, each.held): each.learners for each in held} == recount_holdings(
                log, names, position, institution
            )


def _without_nobody(learners: dict[Group, int]) -> dict[Group, int]:
    """Without groups there is always one count, also of nobody."""
    return {group: count for group, count in learners.items() if count}


def _of_revocations(period: Period) -> Period:
    """The period three years later, when these tests revoke."""
    first, end = (day and day + dt.timedelta(days=1_000) for day in (period.first, period.end))
    return Period(first, end)


def _period(days: Sequence[dt.date], open_end: bool) -> Period:
    if len(days) == 1:
        return Period(days[0], None) if open_end else Period(None, days[0])
    return Period(*days)


def _project(url: str, size: int) -> None:
    """Brings the read model up to date, in batches of this size."""
    pool, model = Pool(url, "registry_project", 1), Statistics()
    with connection(url, "registry_project") as opened, opened.cursor() as cursor:
        feed = StoreFeed(LogEnd(pool), positions_of(cursor, model.name))
        while page := feed.read(size):
            apply_page(cursor, model, page)
    pool.close()


def recount(
    log: Sequence[LoggedEvent],
    group_by: Sequence[str],
    period: Period,
    position: int,
    institution: str | None = None,
) -> dict[Group, tuple[Figures, set[str]]]:
    """The figures by the contract's words (section 3), from the events alone."""
    events = [logged.event() for logged in log if logged.position <= position]
    awards = {each.originator_id: each.data for each in events if isinstance(each.data, BadgeAwarded)}
    revoked = {each.originator_id for each in events if isinstance(each.data, BadgeRevoked)}
    named = {award.supersedes for award in awards.values()} & revoked
    held = {
        each.originator_id: isinstance(each.data, BadgeSuspended)
        for each in events
        if isinstance(each.data, BadgeSuspended | BadgeReinstated)
    }
    modules = {
        (each.originator_id, each.data.version): each.data
        for each in events
        if isinstance(each.data, ModuleRegistered | ModuleRevised)
    }
    groups: dict[Group, list[str]] = defaultdict(list)
    for badge, award in awards.items():
        in_period = (period.first or dt.date.min) <= award.awarded_on < (period.end or dt.date.max)
        if in_period and institution in (None, award.institution):
            module = modules[award.module_id, award.module_version]
            groups[tuple(_dimension(award, module, name) for name in group_by)].append(badge)
    return {group: _counted(group, badges, awards, revoked, named, held) for group, badges in groups.items()}


def recount_revocations(
    log: Sequence[LoggedEvent],
    group_by: Sequence[str],
    period: Period,
    position: int,
    institution: str | None = None,
) -> dict[Group, tuple[int, float]]:
    """Revocations and the median of the days since the award, from the events alone."""
    groups: dict[Group, list[int]] = defaultdict(list)
    for logged in log:
        event = logged.event()
        fact = event.data
        if not isinstance(fact, BadgeRevoked) or event.position > position:
            continue
        day = event.recorded_at.astimezone(AMSTERDAM).date()
        in_period = (period.first or dt.date.min) <= day < (period.end or dt.date.max)
        if in_period and institution in (None, fact.institution):
            values = {
                "month": f"{day:%Y-%m}",
                "quarter": _quarter(day),
                "year": f"{day:%Y}",
                "reason": fact.reason,
                "institution": fact.institution,
            }
            groups[tuple(values[name] for name in group_by)].append((day - fact.awarded_on).days)
    return {group: (len(days), statistics.median(days)) for group, days in groups.items()}


def recount_holdings(
    log: Sequence[LoggedEvent], group_by: Sequence[str], position: int, institution: str | None = None
) -> dict[tuple[Group, int], int]:
    """Learners by the number of badges that they hold, from the events alone."""
    held: Counter[tuple[Group, str]] = Counter()
    for logged in log:
        fact = logged.event().data
        if not isinstance(fact, BadgeAwarded | BadgeRevoked) or logged.position > position:
            continue
        if institution in (None, fact.institution):
            group = tuple(fact.institution for _ in group_by)
            held[group, fact.learner_id] += 1 if isinstance(fact, BadgeAwarded) else -1
    return dict(Counter((group, count) for (group, _), count in held.items() if count))


def _counted(
    group: Group,
    badges: Sequence[str],
    awards: dict[str, BadgeAwarded],
    revoked: set[str],
    named: set[str | None],
    held: dict[str, bool],
) -> tuple[Figures, set[str]]:
    gone = [badge for badge in badges if badge in revoked]
    loads = [awards[badge].study_load or StudyLoad() for badge in badges if badge not in revoked]
    figures = Figures(
        group=group,
        awarded=len(badges),
        revoked=len(gone),
        superseded=sum(badge in named for badge in badges),
        suspended=sum(held.get(badge, False) for badge in badges if badge not in revoked),
        half_credits=round(sum((load.ects or 0) * 2 for load in loads)),
        sbu=sum(load.sbu or 0 for load in loads),
    )
    return figures, {awards[badge].learner_id for badge in badges}


def _dimension(award: BadgeAwarded, module: ModuleRegistered | ModuleRevised, name: str) -> str | None:
    match name:
        case "module":
            return award.module_id
        case "month":
            return f"{award.awarded_on:%Y-%m}"
        case "quarter":
            return _quarter(award.awarded_on)
        case "year":
            return f"{award.awarded_on:%Y}"
        case "nlqf":
            return award.level.nlqf if award.level else None
        case "iscedNarrow":
            return award.isced[:3] if award.isced and len(award.isced) >= 3 else None
        case "iscedBroad":
            return award.isced[:2] if award.isced else None
        case "targetGroup":
            unstated = None if module.channel == "import" else "professionals"
            return module.content.target_group or unstated
        case _:
            found: str | None = getattr(award, name)
            return found


def _quarter(day: dt.date) -> str:
    quarter = next(number for number in range(1, 5) if day.month <= 3 * number)
    return f"{day:%Y}-Q{quarter}"
