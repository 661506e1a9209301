"""Commands that meet each other: each is decided on what is recorded, and one learner stays one."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec
import pytest

from registry.domain.errors import (
    BadgeIsRevoked,
    BadgeUnknown,
    InstitutionIsSuspended,
    InstitutionNotAdmitted,
    InstitutionUnknown,
    ModuleIsWithdrawn,
    ModuleNotFound,
    ModuleOfAnother,
    ModuleVersionUnknown,
    ReferenceTaken,
    Refusal,
)
from registry.event_store.session import Loaded, Session
from registry.postgres.connections import UnavailableError
from registry.recording.commands import (
    ReinstateBadge,
    ReinstateInstitution,
    ReviseModule,
    RevokeBadge,
    SuspendBadge,
    SuspendInstitution,
    WithdrawModule,
)
from registry.recording.decisions import BadgeOutcome, Command, Outcome, Settled, UnreadableError
from registry.recording.registry import Registry
from tests.postgres.commands import (
    CONTENT,
    ORIGIN,
    REFERENCE,
    admitted,
    award,
    award_badges,
    command,
    register_module,
    registry_on,
)
from tests.postgres.log import (
    connection,
    execute,
    fresh,
    holding_the_lock,
    later,
    query,
    until,
    waiting_writers,
    whole_log,
)
from tests.support import KEYS, Databases

MODULE = KEYS.made_id("module", "27UM", REFERENCE)


def test_awards_to_one_new_learner_at_once_make_one_learner(url: str, registry: Registry) -> None:
    with registry_on(url) as another:
        with holding_the_lock(url):
            outcomes = [
                later(partial(award, where, brin, str(number), "a1b2"))
                for number, where in enumerate((registry, another) * 4)
                for brin in ("27UM", "22OJ")
            ]
            until(lambda: waiting_writers(url) >= 2)
        learners = {outcome.result(20).learner_id for outcome in outcomes}
    assert len(learners) == 1
    assert query(url, "SELECT learner_id::text FROM alias") == [(learners.pop(),)]
    assert len([event for event in whole_log(url) if event.type == "badge.awarded"]) == 16


def test_one_award_sent_by_many_at_once_is_recorded_once(url: str, registry: Registry) -> None:
    with registry_on(url) as another:
        with holding_the_lock(url):
            sent = [later(partial(award, where, "27UM", "1", "a1b2")) for where in (registry, another) * 5]
            until(lambda: waiting_writers(url) >= 2)
        outcomes = [each.result(20) for each in sent]
    assert [outcome.created for outcome in outcomes].count(True) == 1
    assert len({(each.id, each.learner_id, each.position) for each in outcomes}) == 1
    assert [event.type for event in whole_log(url)].count("badge.awarded") == 1


def test_another_award_under_one_reference_is_refused_also_when_both_come_at_once(
    url: str, registry: Registry
) -> None:
    with holding_the_lock(url):
        sent = [later(partial(award, registry, "27UM", "1", edu_id)) for edu_id in ("a", "b")]
        until(lambda: waiting_writers(url) >= 1)
    refusals = [each.exception(20) for each in sent]
    assert sorted(type(each).__name__ for each in refusals) == ["NoneType", "ReferenceTaken"]
    with pytest.raises(ReferenceTaken):
        award(registry, "27UM", "1", "c")


def test_who_is_settled_in_the_first_round_of_a_page_does_not_wait_for_the_last(
    url: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    badge = award(registry, "27UM", "1", "a").id
    suspend: Command[BadgeOutcome] = SuspendBadge("27UM", badge, "appeal", None, ORIGIN)
    reinstate: Command[BadgeOutcome] = ReinstateBadge("27UM", badge, ORIGIN)
    monkeypatch.setattr("registry.recording.page_recorder.THREADS", 1)
    order: list[str] = []
    ended = threading.Event()

    def done(name: str) -> Callable[[list[Settled]], None]:
        def append(_: list[Settled]) -> None:
            order.append(name)
            if name == "many":
                ended.set()

        return append

    with registry_on(url) as alone:
        one = alone.preparation().prepare_all([command("27UM", "2", "b")])
        with holding_the_lock(url):
            alone.submit(alone.preparation().prepare_all([command("27UM", "3", "c")]), done("first"))
            until(lambda: waiting_writers(url) == 1)
            alone.submit([suspend, reinstate] * 10, done("many"))
            alone.submit(one, done("one"))
        assert ended.wait(20)
    assert order == ["first", "one", "many"]


def test_many_commands_about_one_badge_in_one_page_are_decided_one_after_the_other(
    url: str, registry: Registry
) -> None:
    badge = award(registry, "27UM", "1", "a").id
    suspend: Command[BadgeOutcome] = SuspendBadge("27UM", badge, "appeal", None, ORIGIN)
    reinstate: Command[BadgeOutcome] = ReinstateBadge("27UM", badge, ORIGIN)
    revoke: Command[BadgeOutcome] = RevokeBadge("27UM", badge, "other", None, None, ORIGIN)
    settled = registry.settle([*[suspend, reinstate] * 15, revoke, suspend])
    assert [isinstance(each, BadgeOutcome) and each.created for each in settled] == [True] * 31 + [False]
    assert isinstance(settled[-1], BadgeIsRevoked)
    kinds = ["badge.suspended", "badge.reinstated"] * 15
    assert [event.type for event in whole_log(url)][-31:] == [*kinds, "badge.revoked"]


@contextmanager
def between_load_and_append(change: Callable[[], object]) -> Iterator[None]:
    """Once, after a page was loaded and before it is decided, something else is recorded."""
    load, first = Session.load, itertools.count()

    def loaded(session: Session, *asked: Any) -> Loaded:
        found = load(session, *asked)
        if next(first) == 0:
            change()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "load", loaded)
        yield


def award_during(url: str, change: Callable[[Registry], object]) -> Settled:
    """What becomes of an award that is loaded before a change, and appended after it."""
    with registry_on(url) as registry, registry_on(url) as another:
        admitted(registry, "27UM")
        award(registry, "27UM", "1", "a")
        with between_load_and_append(lambda: change(another)):
            (settled,) = award_badges(registry, [command("27UM", "2", "b")])
        return settled


def suspend(registry: Registry) -> object:
    return registry.record(SuspendInstitution("27UM", "quality", None, ORIGIN))


def withdraw(registry: Registry) -> object:
    return registry.record(WithdrawModule("27UM", MODULE, None, ORIGIN))


def test_an_award_decided_while_its_institution_is_suspended_is_refused(url: str) -> None:
    assert isinstance(award_during(url, suspend), InstitutionIsSuspended)
    assert [event.type for event in whole_log(url)].index("institution.suspended") == 3
    assert len(whole_log(url)) == 4


def test_an_award_decided_while_its_module_is_withdrawn_is_refused(url: str) -> None:
    assert isinstance(award_during(url, withdraw), ModuleIsWithdrawn)


def test_a_change_that_leaves_an_award_right_has_it_decided_again_and_recorded(url: str) -> None:
    content = msgspec.structs.replace(CONTENT, name="Klinisch redeneren II")
    outcome = award_during(
        url, lambda registry: registry.record(ReviseModule("27UM", MODULE, REFERENCE, content, ORIGIN))
    )
    assert isinstance(outcome, BadgeOutcome)
    assert (outcome.created, outcome.module_version) == (True, 2)
    assert [event.position for event in whole_log(url)][-1] == outcome.position == 5


def test_of_two_lines_with_one_reference_the_first_wins_also_after_a_conflict(
    url: str, registry: Registry
) -> None:
    """The first line waits for another round, since another writer is first with its learner."""
    with (
        registry_on(url) as another,
        between_load_and_append(lambda: award(another, "27UM", "other", "k")),
    ):
        first, second = award_badges(registry, [command("27UM", "R", "k"), command("27UM", "R", "m")])
    assert isinstance(first, BadgeOutcome)
    assert first.created
    assert isinstance(second, ReferenceTaken)


def test_a_line_that_waits_for_the_next_round_comes_before_those_behind_it(registry: Registry) -> None:
    old = award(registry, "27UM", "old", "a").id
    prepare = registry.preparation().prepare
    revoke: Command[Outcome] = RevokeBadge("27UM", old, "other", None, None, ORIGIN)
    first = prepare(command("27UM", "R", "a", supersedes=old))
    second = prepare(command("27UM", "R", "z"))
    settled = registry.settle([revoke, first, second])
    assert [isinstance(each, Outcome) and each.created for each in settled] == [True, True, False]
    assert isinstance(settled[2], ReferenceTaken)


def test_a_suspension_by_another_process_is_seen_by_the_next_award(url: str, registry: Registry) -> None:
    award(registry, "27UM", "1", "a")
    with registry_on(url) as another:
        suspend(another)
    with pytest.raises(InstitutionIsSuspended):
        award(registry, "27UM", "2", "a")


def test_a_reinstatement_by_another_process_is_seen_by_the_next_award(url: str, registry: Registry) -> None:
    suspend(registry)
    with pytest.raises(InstitutionIsSuspended):
        award(registry, "27UM", "1", "a")
    with registry_on(url) as another:
        another.record(ReinstateInstitution("27UM", ORIGIN))
    assert award(registry, "27UM", "1", "a").created


@pytest.fixture(scope="module")
def shared(databases: Databases) -> Iterator[tuple[str, Registry]]:
    """One registry for the commands that change nothing."""
    with fresh(databases) as found, registry_on(found) as registry:
        admitted(registry, "27UM", "22OJ")
        yield found, registry


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (lambda r: award(r, "01AA", "1", "a"), InstitutionNotAdmitted),
        (lambda r: register_module(r, "01AA", "R", CONTENT, ORIGIN), InstitutionNotAdmitted),
        (lambda r: r.record(SuspendInstitution("01AA", "other", None, ORIGIN)), InstitutionUnknown),
        (lambda r: r.record(ReinstateInstitution("01AA", ORIGIN)), InstitutionUnknown),
        (lambda r: r.record(WithdrawModule("27UM", "unknown", None, ORIGIN)), ModuleNotFound),
        (lambda r: r.record(WithdrawModule("22OJ", MODULE, None, ORIGIN)), ModuleOfAnother),
        (lambda r: r.record(ReviseModule("22OJ", MODULE, REFERENCE, CONTENT, ORIGIN)), ModuleOfAnother),
        (lambda r: r.record(ReinstateBadge("27UM", MODULE, ORIGIN)), BadgeUnknown),
        (lambda r: r.record(SuspendBadge("27UM", "unknown", "other", None, ORIGIN)), BadgeUnknown),
        (lambda r: r.record(RevokeBadge("27UM", "unknown", "other", None, None, ORIGIN)), BadgeUnknown),
    ],
)
def test_what_is_not_there_is_refused_and_nothing_is_recorded(
    shared: tuple[str, Registry], command: Callable[[Registry], object], refusal: type[Refusal]
) -> None:
    url, registry = shared
    before = len(whole_log(url))
    with pytest.raises(refusal):
        command(registry)
    assert len(whole_log(url)) == before


def test_another_institutions_badge_is_as_unknown_as_one_that_is_not_there(registry: Registry) -> None:
    badge = award(registry, "27UM", "1", "a")
    with pytest.raises(BadgeUnknown):
        registry.record(RevokeBadge("22OJ", badge.id, "fraud", None, None, ORIGIN))


def test_after_postgresql_was_lost_nothing_is_decided_on_what_was_kept(url: str, registry: Registry) -> None:
    module = KEYS.made_id("module", "22OJ", REFERENCE)
    revised = msgspec.structs.replace(CONTENT, name="Klinisch redeneren II")
    registry.record(ReviseModule("22OJ", module, REFERENCE, revised, ORIGIN))
    kept = award(registry, "22OJ", "1", "a1b2")
    assert kept.module_version == 2
    lose_the_last(url, 4)
    until(lambda: awarded_again(registry))
    with pytest.raises(ModuleVersionUnknown):
        award(registry, "22OJ", "1", "a1b2", version=2)
    assert award(registry, "22OJ", "1", "a1b2").module_version == 1


def test_what_waited_while_postgresql_was_lost_is_decided_again(url: str, registry: Registry) -> None:
    module = KEYS.made_id("module", "22OJ", REFERENCE)
    revised = msgspec.structs.replace(CONTENT, name="Klinisch redeneren II")
    registry.record(ReviseModule("22OJ", module, REFERENCE, revised, ORIGIN))
    assert award(registry, "22OJ", "1", "a1b2").module_version == 2
    with holding_the_lock(url):
        first = later(partial(award, registry, "22OJ", "2", "c3d4"))
        until(lambda: waiting_writers(url) >= 1)
        behind = later(partial(award, registry, "22OJ", "3", "e5f6"))
        lose_the_last(url, 4, waiting=True)
    assert [outcome.result(20).module_version for outcome in (first, behind)] == [1, 1]


def lose_the_last(url: str, position: int, *, waiting: bool = False) -> None:
    """As a server that takes over, and that what came after a position had not reached."""
    sessions = "datname = current_database() AND application_name = 'registry_write'"
    if waiting:
        sessions += " AND wait_event_type = 'Lock'"
    for statement in (
        "ALTER TABLE event DISABLE TRIGGER event_is_append_only",
        f"DELETE FROM event WHERE position > {position}",
        "DELETE FROM vault",
        "DELETE FROM alias",
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {sessions}",
    ):
        execute(url, statement)


def awarded_again(registry: Registry) -> bool:
    try:
        return award(registry, "27UM", "2", "c3d4").created
    except UnavailableError:
        return False


def test_an_event_of_a_later_release_fails_only_the_commands_that_name_it(
    url: str, registry: Registry
) -> None:
    module = register_module(registry, "27UM", "LATER", CONTENT).id
    execute(
        url,
        "INSERT INTO event (position, subject, version, type, schema_version, time, data) SELECT"
        f" max(position) + 1, '{module}', 2, 'module.praised', 9, now(), '{{}}' FROM event",
    )
    fine, unread = command("27UM", "1", "a"), command("27UM", "2", "b", module="LATER")
    first, second, third = award_badges(registry, [fine, unread, command("27UM", "3", "c")])
    assert isinstance(first, BadgeOutcome)
    assert isinstance(second, UnreadableError)
    assert isinstance(third, BadgeOutcome)


def test_a_server_that_only_reads_is_away_and_no_defect(
    url: str, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    award(registry, "27UM", "1", "a")
    database = query(url, "SELECT current_database()::text")[0][0]
    execute(url, f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    execute(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip
    with pytest.raises(UnavailableError):
        award(registry, "27UM", "2", "b")
    assert [record.message for record in caplog.records if "failed" in record.message] == []
    with connection(url) as owner, owner.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = off")
        cursor.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    execute(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip
    until(lambda: awarded_again(registry))
