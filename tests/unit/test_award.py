"""An award: what it names, and what it takes to be recorded."""

from __future__ import annotations

import datetime as dt

import pytest

from registry.domain import badge as badges
from registry.domain import module as modules
from registry.domain.badge import AwardTerms, Badge
from registry.domain.errors import (
    InstitutionIsSuspended,
    ModuleIsWithdrawn,
    ModuleOfAnother,
    ModuleVersionUnknown,
    SupersededNotRevoked,
    SupersededUnknown,
)
from registry.domain.events import BadgeAwarded, Level, StudyLoad
from registry.domain.institution import Institution
from registry.domain.module import Module
from tests.unit import facts
from tests.unit.facts import (
    AWARDED_ON,
    BADGE_ID,
    COMMITMENTS,
    CONTENT,
    LEARNER,
    MODULE_ID,
    ORIGIN,
    TODAY,
    badge,
    institution,
    module,
    revised,
    revoked,
    withdrawn,
)

DAY = dt.timedelta(days=1)


def award(
    stated: AwardTerms | None = None,
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
        stated or AwardTerms(None, AWARDED_ON),
        LEARNER,
        COMMITMENTS,
        today,
        ORIGIN,
    )


def test_an_award_names_its_version_and_repeats_the_short_fields() -> None:
    valid_until = dt.date(2029, 5, 31)
    assert award(
        AwardTerms(1, AWARDED_ON, valid_until), of=revised(module(), facts.content(name="Nieuw"))
    ) == (
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
        award(AwardTerms(2, AWARDED_ON))


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
    fact = award(AwardTerms(None, AWARDED_ON, supersedes=BADGE_ID), superseded=revoked(badge()))
    assert fact.supersedes == BADGE_ID


def test_an_award_that_supersedes_a_badge_that_is_not_there_is_refused() -> None:
    with pytest.raises(SupersededUnknown):
        award(AwardTerms(None, AWARDED_ON, supersedes=BADGE_ID))


def test_an_award_that_supersedes_another_institutions_badge_is_refused() -> None:
    another = revoked(badge(owner=institution("22OJ")))
    with pytest.raises(SupersededUnknown):
        award(AwardTerms(None, AWARDED_ON, supersedes=BADGE_ID), superseded=another)


def test_an_award_that_supersedes_a_badge_that_is_not_revoked_is_refused() -> None:
    with pytest.raises(SupersededNotRevoked):
        award(AwardTerms(None, AWARDED_ON, supersedes=BADGE_ID), superseded=badge())
