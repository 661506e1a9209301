"""A badge: what an award takes, and what may become of it."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.domain import badge as badges
from registry.domain import module as modules
from registry.domain.badge import Award, Badge
from registry.domain.errors import (
    AlreadySuspended,
    BadgeIsRevoked,
    InstitutionIsSuspended,
    InvalidInput,
    ModuleIsWithdrawn,
    ModuleOfAnother,
    ModuleVersionUnknown,
    Refusal,
    RevokedForAnotherReason,
    SupersededNotRevoked,
    SupersededUnknown,
)
from registry.domain.institution import Institution
from registry.domain.module import Module
from registry.events import BadgeAwarded, BadgeCorrected, BadgeRevoked, Correction, Fact, Level, StudyLoad
from tests.unit import facts
from tests.unit.facts import (
    AWARDED_ON,
    BADGE_ID,
    COMMITMENTS,
    CONTENT,
    LEARNER,
    MODULE_ID,
    ORIGIN,
    SALT,
    TODAY,
    badge,
    institution,
    module,
    recorded,
    revised,
    revoked,
    then,
    withdrawn,
)

DAY = dt.timedelta(days=1)


def award(
    stated: Award | None = None,
    *,
    owner: Institution | None = None,
    of: Module | None = None,
    superseded: Badge | None = None,
    today: dt.date = TODAY,
) -> BadgeAwarded:
    return badges.award(
        owner or institution(),
        of or module(),
        superseded,
        stated or Award(None, AWARDED_ON),
        LEARNER,
        COMMITMENTS,
        today,
        ORIGIN,
    )


def test_an_award_names_its_version_and_repeats_the_short_fields() -> None:
    valid_until = dt.date(2029, 5, 31)
    assert award(Award(1, AWARDED_ON, valid_until), of=revised(module(), facts.content(name="Nieuw"))) == (
        BadgeAwarded(
            channel="api",
            client=ORIGIN.client,
            institution="27UM",
            institution_name="De Haagse Hogeschool",
            sector="hbo",
            learner_id=LEARNER,
            module_id=MODULE_ID,
            module_version=1,
            module_name="Klinisch redeneren",
            content_hash=modules.content_hash(CONTENT),
            study_load=StudyLoad(ects=5),
            level=Level(nlqf="6", eqf="6"),
            isced="0913",
            programme="Verpleegkunde",
            legal_ground="WHW 7.12",
            awarded_on=AWARDED_ON,
            valid_until=valid_until,
            commitments=COMMITMENTS,
        )
    )


def test_an_award_without_a_version_is_for_the_latest() -> None:
    fact = award(of=revised(module(), facts.content(name="Nieuw")))
    assert (fact.module_version, fact.module_name) == (2, "Nieuw")


def test_an_award_for_a_version_that_is_not_there_is_refused() -> None:
    with pytest.raises(ModuleVersionUnknown):
        award(Award(2, AWARDED_ON))


def test_an_award_for_another_institutions_module_is_refused() -> None:
    with pytest.raises(ModuleOfAnother):
        award(owner=institution("22OJ"))


def test_an_award_by_a_suspended_institution_is_refused() -> None:
    with pytest.raises(InstitutionIsSuspended):
        award(owner=facts.suspended(institution(), "2024-06-03T08:00:00Z"))


def test_a_withdrawn_module_takes_no_award_whatever_its_day() -> None:
    of = withdrawn(module(), TODAY + DAY)
    assert award(of=of).module_id == MODULE_ID
    with pytest.raises(ModuleIsWithdrawn):
        award(of=of, today=TODAY + DAY)


def test_an_award_supersedes_a_revoked_badge_of_its_institution() -> None:
    fact = award(Award(None, AWARDED_ON, supersedes=BADGE_ID), superseded=revoked(badge()))
    assert fact.supersedes == BADGE_ID


def test_an_award_that_supersedes_a_badge_that_is_not_there_is_refused() -> None:
    with pytest.raises(SupersededUnknown):
        award(Award(None, AWARDED_ON, supersedes=BADGE_ID))


def test_an_award_that_supersedes_another_institutions_badge_is_refused() -> None:
    another = revoked(badge(owner=institution("22OJ")))
    with pytest.raises(SupersededUnknown):
        award(Award(None, AWARDED_ON, supersedes=BADGE_ID), superseded=another)


def test_an_award_that_supersedes_a_badge_that_is_not_revoked_is_refused() -> None:
    with pytest.raises(SupersededNotRevoked):
        award(Award(None, AWARDED_ON, supersedes=BADGE_ID), superseded=badge())


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
    with pytest.raises(AssertionError, match="begins with"):
        badges.fold([recorded(BADGE_ID, 1, fact)])


def test_an_event_of_another_kind_is_not_applied_to_a_badge() -> None:
    fact = modules.withdraw(module(), None, TODAY, ORIGIN)
    with pytest.raises(AssertionError, match="no event of a badge"):
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
