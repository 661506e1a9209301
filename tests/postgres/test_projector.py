"""Read models: rows and position move together, one projector at a time, each event once."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumers.applying import apply_page
from consumers.projector import STAND_BY_SECONDS
from consumers.store_feed import page_of
from projections.all import read_models
from projections.badges.projection import Badges
from projections.read_model import position
from registry.domain.errors import Refusal
from registry.domain.events import (
    FACTS,
    Event,
    EventRetried,
    EventSkipped,
    LogRepartitioned,
    OperatorFact,
    ReadModelReplaced,
)
from registry.domain.institution import Particulars
from registry.event_store.log import read_log
from registry.event_store.read_model_positions import OvertakenError
from registry.postgres.connections import Cursor
from registry.recording import operators
from registry.recording.commands import (
    AdmitInstitution,
    CorrectBadge,
    ExemptModule,
    ReinstateBadge,
    ReinstateInstitution,
    ReviseModule,
    RevokeBadge,
    SuspendBadge,
    SuspendInstitution,
    WithdrawModule,
)
from registry.recording.decisions import Command, Outcome
from registry.recording.registry import Registry
from registry.tokens import token_id
from tests.postgres.commands import CONTENT, ORIGIN, REFERENCE, award
from tests.postgres.log import connection, execute, later, query, until, whole_log
from tests.postgres.projecting import folded, held, positions, projectors, settled
from tests.support import KEYS

BADGES = Badges()
START = {0: 0}
MODULE = KEYS.made_id("module", "27UM", REFERENCE)


@pytest.fixture
def cursor(url: str) -> Iterator[Cursor]:
    with connection(url, "registry_project") as opened, opened.cursor() as found:
        yield found


def badge_id(number: int) -> str:
    return KEYS.made_id("badge", "27UM", str(number))


# One command about one of a few badges, or about its institution or module; in this order, each records.
ACTS: dict[str, Callable[[int], Command[Outcome]]] = {
    "correct": lambda number: CorrectBadge("27UM", badge_id(number), f"grade-{number}", None, ORIGIN),
    "suspend": lambda number: SuspendBadge("27UM", badge_id(number), "appeal", "note", ORIGIN),
    "reinstate": lambda number: ReinstateBadge("27UM", badge_id(number), ORIGIN),
    "revoke": lambda number: RevokeBadge("27UM", badge_id(number), "fraud", None, None, ORIGIN),
    "change institution": lambda number: AdmitInstitution(
        "27UM", Particulars(f"Hogeschool {number}", "hbo", dt.date(2022, 2, 1)), ORIGIN
    ),
    "exempt": lambda number: ExemptModule("27UM", str(number), "study-load", "Afgesproken", ORIGIN),
    "suspend institution": lambda _: SuspendInstitution("27UM", "quality", None, ORIGIN),
    "reinstate institution": lambda _: ReinstateInstitution("27UM", ORIGIN),
    "revise": lambda number: ReviseModule(
        "27UM", MODULE, REFERENCE, msgspec.structs.replace(CONTENT, name=f"Versie {number}"), ORIGIN
    ),
    "withdraw": lambda _: WithdrawModule("27UM", MODULE, dt.date(9999, 12, 31), ORIGIN),
}
# What makes each of these is in tests/postgres/test_operators.py and tests/kafka/test_commands.py.
OPERATORS_ACTS: list[OperatorFact] = [
    EventSkipped(**operators.ORIGIN, reason="why", read_model="badges", at_position=1),
    EventRetried(**operators.ORIGIN, reason="why", read_model="badges", at_position=1),
    ReadModelReplaced(**operators.ORIGIN, reason="why", read_model="badges", version=1),
    LogRepartitioned(**operators.ORIGIN, reason="why", partitions=8),
]
COMMANDS = st.sampled_from([*["award"] * 3, *ACTS])


def act(registry: Registry, command: str, number: int) -> None:
    if command == "award":
        award(registry, "27UM", str(number), f"learner {number % 2}")
    else:
        registry.record(ACTS[command](number))


def test_every_type_of_event_is_recorded_by_a_command(url: str, registry: Registry) -> None:
    for command in ("award", *ACTS):
        act(registry, command, 1)
    with connection(url) as owner:
        token, _ = operators.create_token(owner, "institution", dt.timedelta(days=1), institution="27UM")
        operators.revoke_token(owner, token_id(token) or "")
        for fact in OPERATORS_ACTS:
            with owner, owner.cursor() as acting:
                operators.record_act(acting, fact)
    assert {event.topic for event in whole_log(url)} == set(FACTS)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    commands=st.lists(st.tuples(COMMANDS, st.integers(0, 3)), max_size=25),
    pages=st.lists(st.integers(1, 9), min_size=1, max_size=5),
)
def test_pages_of_any_size_give_the_rows_that_the_log_gives(
    url: str, registry: Registry, cursor: Cursor, commands: list[tuple[str, int]], pages: list[int]
) -> None:
    for command, number in commands:
        try:
            act(registry, command, number)
        except Refusal:
            continue
    last = len(whole_log(url))
    for model in read_models():
        at, turn = position(cursor, model.name), 0
        while at < last:
            apply_page(cursor, model, page_of(read_log(cursor, at, pages[turn % len(pages)]), {0: at}))
            at, turn = position(cursor, model.name), turn + 1
    assert held(url) == folded(url)


class Killed(Badges):
    """Changes its rows, and loses its connection before the commit."""

    def __init__(self, url: str) -> None:
        self._url = url

    def apply(self, cursor: Cursor, events: Sequence[Event]) -> None:
        super().apply(cursor, events)
        execute(self._url, "SELECT pg_terminate_backend(%s, 5000)", (cursor.connection.info.backend_pid,))


def test_a_kill_between_rows_and_position_leaves_both_as_they_were(
    url: str, registry: Registry, cursor: Cursor
) -> None:
    award(registry, "27UM", "1", "a")
    log = whole_log(url)
    with pytest.raises(psycopg2.OperationalError):
        apply_page(cursor, Killed(url), page_of(log, START))
    assert query(url, "SELECT FROM badge") == []
    assert positions(url)["badges"] == 0
    with connection(url, "registry_project") as opened, opened.cursor() as again:
        apply_page(again, BADGES, page_of(log, START))
    assert positions(url)["badges"] == len(log)
    assert len(query(url, "SELECT FROM badge")) == 1


def test_a_second_projector_that_was_overtaken_changes_nothing(
    url: str, registry: Registry, cursor: Cursor
) -> None:
    badge = award(registry, "27UM", "1", "a")
    first = whole_log(url)
    registry.record(RevokeBadge("27UM", badge.id, "fraud", None, None, ORIGIN))
    apply_page(cursor, BADGES, page_of(whole_log(url), START))
    rows = query(url, "SELECT * FROM badge")
    with connection(url, "registry_project") as opened, opened.cursor() as second:
        for after, page in ((0, first), (0, whole_log(url)), (len(first), whole_log(url)[len(first) :])):
            with pytest.raises(OvertakenError):
                apply_page(second, BADGES, page_of(page, {0: after}))
    assert query(url, "SELECT * FROM badge") == rows
    assert positions(url)["badges"] == len(whole_log(url))


def test_of_two_projectors_at_the_same_page_one_wins(url: str, registry: Registry) -> None:
    for number in range(5):
        award(registry, "27UM", str(number), "a")
    log = whole_log(url)

    def work() -> None:
        with connection(url, "registry_project") as opened, opened.cursor() as mine:
            apply_page(mine, BADGES, page_of(log, START))

    tried = [later(work) for _ in range(4)]
    errors = [each.exception(20) for each in tried]
    assert sorted(type(error).__name__ for error in errors) == ["NoneType"] + ["OvertakenError"] * 3
    assert held(url).keys() >= {event.subject for event in log if event.type == "badge.awarded"}


def position_seen(reader: Cursor) -> int:
    """Checks that who reads sees the rows of every event up to the position, and of no other."""
    reader.execute(
        "SELECT (SELECT position FROM read_model_position WHERE name = 'badges'),"
        " (SELECT count(*) FROM badge), (SELECT max(last_position) FROM badge)"
    )
    at, badges, last = reader.fetchone() or (0, 0, None)
    assert badges == max(at - 4, 0)
    assert last is None or last == at
    return int(at)


def test_who_reads_sees_a_position_and_its_rows_together(url: str, registry: Registry) -> None:
    with projectors(url, [Badges()]), connection(url) as opened, opened.cursor() as reader:
        writing = later(lambda: [award(registry, "27UM", str(number), "a") for number in range(150)])
        until(lambda: position_seen(reader) == 154)
        assert len(writing.result(20)) == 150


def test_several_projectors_at_once_do_no_harm_and_one_takes_over_from_another(
    url: str, registry: Registry
) -> None:
    with projectors(url, [*read_models(), *read_models()]) as started:
        for number in range(10):
            award(registry, "27UM", str(number), "a")
        settled(url)
        for projector in started[:2]:
            projector.stop()
        for number in range(10):
            registry.record(
                RevokeBadge("27UM", KEYS.made_id("badge", "27UM", str(number)), "fraud", None, None, ORIGIN)
            )
        settled(url)
    assert held(url) == folded(url)


def test_a_projector_goes_on_after_its_connections_were_lost(url: str, registry: Registry) -> None:
    with projectors(url, read_models()):
        for number in range(3):
            award(registry, "27UM", str(number), "a")
            execute(
                url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'registry_project'",
            )
        settled(url)
    until(lambda: held(url) == folded(url))


def test_a_projector_that_stands_by_keeps_its_connection_and_takes_over(url: str, registry: Registry) -> None:
    def sessions() -> set[tuple[int, ...]]:
        rows = query(
            url,
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'registry_project' AND position('try_advisory' IN query) > 0",
        )
        return set(rows)

    with projectors(url, [Badges()]) as first:
        award(registry, "27UM", "first", "x")
        settled(url, "badges")
        with projectors(url, [Badges()]):
            until(lambda: len(sessions()) == 1)
            seen, ends = sessions(), time.monotonic() + 3 * STAND_BY_SECONDS
            while time.monotonic() < ends:
                seen |= sessions()
            assert len(seen) == 1
            assert sessions() == seen
            for projector in first:
                projector.stop()
            award(registry, "27UM", "second", "x")
            settled(url, "badges")
