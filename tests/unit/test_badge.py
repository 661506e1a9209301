"""A badge: what may become of it, and that a revocation is for ever."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.domain import badge as badges
from registry.domain import module as modules
from registry.domain.badge import Badge
from registry.domain.errors import (
    AlreadySuspended,
    BadgeIsRevoked,
    InvalidInput,
    Refusal,
    RevokedForAnotherReason,
    TooManyChanges,
)
from registry.domain.events import BadgeCorrected, BadgeRevoked, Correction, Fact, MisplacedEventError
from tests.unit.facts import (
    AWARDED_ON,
    BADGE_ID,
    LEARNER,
    MODULE_ID,
    ORIGIN,
    SALT,
    TODAY,
    badge,
    institution,
    module,
    recorded,
    revoked,
    then,
)

DAY = dt.timedelta(days=1)


def suspend(state: Badge) -> Badge:
    return then(state, badges.suspend(state, "appeal", SALT, None, ORIGIN))


def test_a_later_fact_repeats_whose_and_what_the_badge_is() -> None:
    fact = badges.revoke(badge(), "fraud", AWARDED_ON, SALT, "ab" * 32, TODAY, ORIGIN)
    assert fact == BadgeRevoked(
        channel="api",
        client=ORIGIN.client,
        institution="27UM",
        learner_id=LEARNER,
        module_id=MODULE_ID,
        module_version=1,
        awarded_on=AWARDED_ON,
        reason="fraud",
        salt=SALT,
        note_commitment="ab" * 32,
        effective_on=AWARDED_ON,
    )


def test_a_suspension_again_for_the_same_reason_changes_nothing() -> None:
    assert badges.suspend(suspend(badge()), "appeal", SALT, None, ORIGIN) is None


def test_a_suspension_for_another_reason_is_refused() -> None:
    with pytest.raises(AlreadySuspended, match="appeal"):
        badges.suspend(suspend(badge()), "other", SALT, None, ORIGIN)


def test_a_badge_can_be_suspended_again_after_its_reinstatement() -> None:
    state = suspend(badge())
    state = then(state, badges.reinstate(state, SALT, ORIGIN))
    assert badges.suspend(state, "other", SALT, None, ORIGIN) is not None


def test_a_reinstatement_of_a_badge_that_is_not_suspended_changes_nothing() -> None:
    assert badges.reinstate(badge(), SALT, ORIGIN) is None


def test_a_revoked_badge_cannot_be_reinstated() -> None:
    with pytest.raises(BadgeIsRevoked):
        badges.reinstate(revoked(suspend(badge())), SALT, ORIGIN)


def test_a_revoked_badge_cannot_be_suspended() -> None:
    with pytest.raises(BadgeIsRevoked):
        badges.suspend(revoked(badge()), "other", SALT, None, ORIGIN)


def test_a_revocation_again_for_the_same_reason_changes_nothing() -> None:
    assert badges.revoke(revoked(badge()), "fraud", None, SALT, None, TODAY, ORIGIN) is None


def test_a_revocation_for_another_reason_is_refused() -> None:
    with pytest.raises(RevokedForAnotherReason, match="fraud"):
        badges.revoke(revoked(badge()), "other", None, SALT, None, TODAY, ORIGIN)


def test_an_institution_past_its_admission_may_still_revoke() -> None:
    state = badge(owner=institution(admitted_until=TODAY))
    assert badges.revoke(state, "fraud", None, SALT, None, TODAY + 365 * DAY, ORIGIN) is not None


@pytest.mark.parametrize("day", [AWARDED_ON, TODAY])
def test_a_revocation_may_state_a_day_from_the_award_through_today(day: dt.date) -> None:
    fact = badges.revoke(badge(), "other", day, SALT, None, TODAY, ORIGIN)
    assert fact is not None
    assert fact.effective_on == day


@pytest.mark.parametrize("day", [AWARDED_ON - DAY, TODAY + DAY])
def test_a_revocation_that_states_another_day_is_refused(day: dt.date) -> None:
    with pytest.raises(InvalidInput) as refused:
        badges.revoke(badge(), "other", day, SALT, None, TODAY, ORIGIN)
    assert [pointer for pointer, _ in refused.value.errors] == ["/effectiveOn"]


def test_a_correction_moves_the_badges_version_and_nothing_else() -> None:
    state = badge()
    fact = BadgeCorrected(
        channel="api",
        client="cli",
        institution="27UM",
        learner_id=LEARNER,
        module_id=MODULE_ID,
        module_version=1,
        awarded_on=AWARDED_ON,
        commitments=Correction(grade="dd" * 32),
        salt=SALT,
    )
    corrected = then(state, fact)
    assert (corrected.version, corrected.position) == (2, 2)
    assert (corrected.award, corrected.active_since) == (state.award, state.active_since)


def test_a_badges_stream_begins_with_its_award() -> None:
    fact = badges.revoke(badge(), "fraud", None, SALT, None, TODAY, ORIGIN)
    with pytest.raises(MisplacedEventError, match="begins with"):
        badges.fold([recorded(BADGE_ID, 1, fact)])


def test_an_event_of_another_kind_is_not_applied_to_a_badge() -> None:
    fact = modules.withdraw(module(), None, TODAY, ORIGIN)
    with pytest.raises(MisplacedEventError, match="not an event of a badge"):
        then(badge(), fact)


def _decide(state: Badge, command: str) -> Fact | None:
    match command.split():
        case ["suspend", "appeal"]:
            return badges.suspend(state, "appeal", SALT, None, ORIGIN)
        case ["suspend", _]:
            return badges.suspend(state, "other", SALT, None, ORIGIN)
        case ["revoke", "fraud"]:
            return badges.revoke(state, "fraud", None, SALT, None, TODAY, ORIGIN)
        case ["revoke", _]:
            return badges.revoke(state, "other", None, SALT, None, TODAY, ORIGIN)
    return badges.reinstate(state, SALT, ORIGIN)


COMMANDS = ["suspend appeal", "suspend other", "reinstate", "revoke fraud", "revoke other"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(COMMANDS), max_size=12))
def test_whatever_is_asked_a_revocation_is_the_last_fact_of_a_badge(commands: list[str]) -> None:
    state, recorded_facts = badge(), list[Fact]()
    for command in commands:
        try:
            fact = _decide(state, command)
        except Refusal:
            continue
        if fact is not None:
            state = then(state, fact)
            recorded_facts.append(fact)
    revocations = [place for place, fact in enumerate(recorded_facts) if isinstance(fact, BadgeRevoked)]
    asked = any(command.startswith("revoke") for command in commands)
    assert revocations == ([len(recorded_facts) - 1] if asked else [])
    assert state.version == 1 + len(recorded_facts)


def test_a_badge_with_too_many_changes_can_be_reinstated_and_revoked_and_nothing_else() -> None:
    state = badge()
    while state.version < badges.MAX_CHANGES:
        state = then(suspend(state), badges.reinstate(suspend(state), SALT, ORIGIN))
    with pytest.raises(TooManyChanges, match="100 is the maximum"):
        suspend(state)
    with pytest.raises(TooManyChanges):
        badges.correct(state, Correction(grade="dd" * 32), SALT, ORIGIN)
    assert badges.revoke(state, "fraud", None, SALT, None, TODAY, ORIGIN) is not None
