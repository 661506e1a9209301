"""What operators do leaves one event each, in the transaction of the act, without a name or a secret."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import partial

import psycopg2
import psycopg2.errors
import pytest

from consumers.interventions import NotStoppedError, intervene
from consumers.rebuild import RebuildError, rebuild
from projections.all import read_models
from projections.badges.projection import Badges
from registry import tokens
from registry.domain.errors import InstitutionNotAdmitted
from registry.domain.events import (
    EventRetried,
    EventSkipped,
    Fact,
    LogRepartitioned,
    ReadModelReplaced,
    TokenCreated,
    TokenRevoked,
)
from registry.postgres.connections import Connection
from registry.recording import operators
from registry.recording.registry import Registry
from tests.postgres.commands import award
from tests.postgres.log import connection, execute, later, query, until, whole_log
from tests.postgres.projecting import held, projectors, settled

DAY = dt.timedelta(days=1)


@pytest.fixture
def owner(url: str) -> Iterator[Connection]:
    with connection(url) as found:
        yield found


def new_facts(url: str, after: int) -> list[tuple[str, Fact]]:
    """What was recorded after a position, with its subject."""
    return [(event.subject, event.event().data) for event in whole_log(url)[after:]]


def stop(url: str, name: str, at: int, because: str = "LookupError") -> None:
    execute(
        url,
        "UPDATE read_model_position SET stopped_at = %s, stopped_because = %s WHERE name = %s",
        (at, because, name),
    )


def test_a_token_is_created_and_revoked_with_one_event_each_that_holds_no_name_and_no_secret(
    url: str, registry: Registry, owner: Connection
) -> None:
    before = len(whole_log(url))
    token, expires_at = operators.create_token(
        owner, "institution", DAY, institution="27UM", name="Els Verzonnen"
    )
    token_id = token.split("_")[1]
    assert operators.revoke_token(owner, token_id)
    assert not operators.revoke_token(owner, token_id)
    assert new_facts(url, before) == [
        (
            token_id,
            TokenCreated(
                channel="operator",
                client="cli",
                role="institution",
                institution="27UM",
                expires_at=expires_at,
            ),
        ),
        (token_id, TokenRevoked(channel="operator", client="cli")),
    ]
    for event in whole_log(url)[before:]:
        for secret in ("Verzonnen", token, token.split("_", 2)[2]):
            assert secret.encode() not in event.line()


@pytest.mark.parametrize("role", tokens.ROLES)
def test_the_event_of_a_token_says_until_when_its_row_holds(
    url: str, registry: Registry, owner: Connection, role: tokens.Role
) -> None:
    of = {"institution": {"institution": "27UM"}, "learner": {"learner_id": registry.badge_id("27UM", "a")}}
    token, expires_at = operators.create_token(owner, role, DAY, **of.get(role, {}))
    (row,) = query(url, "SELECT role, expires_at FROM token WHERE id = %s", (tokens.token_id(token),))
    assert row == (role, expires_at)
    fact = whole_log(url)[-1].event().data
    assert isinstance(fact, TokenCreated)
    assert (fact.role, fact.expires_at) == row


def test_a_token_of_an_institution_that_is_not_admitted_is_refused(
    url: str, registry: Registry, owner: Connection
) -> None:
    before = len(whole_log(url))
    with pytest.raises(InstitutionNotAdmitted):
        operators.create_token(owner, "institution", DAY, institution="27XX")
    assert new_facts(url, before) == []
    assert query(url, "SELECT FROM token") == []


def test_a_token_whose_event_cannot_be_recorded_is_not_there(
    url: str, registry: Registry, owner: Connection
) -> None:
    execute(
        url,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
        " CREATE TRIGGER fail BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    with pytest.raises(psycopg2.errors.RaiseException):
        operators.create_token(owner, "auditor", DAY)
    assert query(url, "SELECT FROM token") == []


def test_operators_who_act_at_once_each_leave_their_event(url: str, registry: Registry) -> None:
    for name in ("badges", "catalogue"):
        stop(url, name, 5)

    def act(number: int) -> None:
        with connection(url) as mine:
            intervene(mine, ("badges", "catalogue")[number % 2], "retry", None, f"try {number}")

    before = len(whole_log(url))
    for acting in [later(partial(act, number)) for number in range(8)]:
        acting.result(20)
    facts = [fact for _, fact in new_facts(url, before)]
    assert sorted(fact.reason for fact in facts if isinstance(fact, EventRetried)) == [
        f"try {number}" for number in range(8)
    ]
    assert [event.version for event in whole_log(url)[before:]] == list(range(1, 9))


def test_an_intervention_is_an_event_and_one_that_is_refused_is_none(
    url: str, registry: Registry, owner: Connection
) -> None:
    stop(url, "badges", 5)
    before = len(whole_log(url))
    assert intervene(owner, "badges", "retry", None, "mended") == 5
    assert intervene(owner, "badges", "skip", 5, "see #12") == 5
    with pytest.raises(NotStoppedError):
        intervene(owner, "badges", "skip", 4, "mistaken")
    with pytest.raises(NotStoppedError):
        intervene(owner, "catalogue", "retry", None, "mistaken")
    stop(url, "badges", 6, "gap: events are missing")
    with pytest.raises(NotStoppedError):
        intervene(owner, "badges", "skip", 6, "mistaken")
    origin = operators.ORIGIN
    assert new_facts(url, before) == [
        ("registry", EventRetried(**origin, read_model="badges", at_position=5, reason="mended")),
        ("registry", EventSkipped(**origin, read_model="badges", at_position=5, reason="see #12")),
    ]


def test_a_rebuild_that_is_forced_is_an_event_and_any_other_is_none(url: str, registry: Registry) -> None:
    award(registry, "27UM", "1", "a")
    with projectors(url, read_models()):
        settled(url)
    rebuild(url, Badges(), lambda _: None)
    execute(url, "DELETE FROM badge")
    before = len(whole_log(url))
    with pytest.raises(RebuildError):
        rebuild(url, Badges(), lambda _: None)
    assert new_facts(url, before) == []
    rebuild(url, Badges(), lambda _: None, force_because="rows were lost")
    assert new_facts(url, before) == [
        (
            "registry",
            ReadModelReplaced(
                **operators.ORIGIN, read_model="badges", version=Badges.version, reason="rows were lost"
            ),
        )
    ]
    assert len(query(url, "SELECT FROM badge")) == 1


def test_the_read_models_pass_over_what_operators_did(
    url: str, registry: Registry, owner: Connection
) -> None:
    operators.create_token(owner, "auditor", DAY)
    stop(url, "badges", 5)
    intervene(owner, "badges", "retry", None, "mended")
    before = held(url)
    with projectors(url, read_models()):
        settled(url)
    assert held(url).keys() >= before.keys()


def test_a_reason_is_recorded_as_it_was_given_whatever_encoding_the_shell_prefers(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    fact = LogRepartitioned(**operators.ORIGIN, reason="caf\u00e9 zo\u00eb", partitions=8)
    with connection(url) as acting, acting, acting.cursor() as cursor:
        operators.record_act(cursor, fact)
    monkeypatch.undo()
    assert new_facts(url, 0) == [("registry", fact)]


@pytest.mark.slow
def test_an_act_that_is_stopped_halfway_loses_the_lock_and_leaves_nothing(
    url: str, registry: Registry
) -> None:
    before = len(whole_log(url))
    fact = LogRepartitioned(**operators.ORIGIN, reason="why", partitions=8)
    with connection(url) as acting, acting.cursor() as cursor:
        cursor.execute("BEGIN")
        operators.record_act(cursor, fact)
        # The command gets no further. An award waits or is refused, and a later one is not.
        until(lambda: later(partial(award, registry, "27UM", "1", "a")).exception(20) is None)
        with pytest.raises(psycopg2.Error):
            cursor.execute("COMMIT")
    assert [event.type for event in whole_log(url)[before:]] == ["badge.awarded"]
