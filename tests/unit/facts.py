"""Facts and states that the unit tests begin from; everybody in them is invented."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from registry.domain import badge as badges
from registry.domain import institution as institutions
from registry.domain import module as modules
from registry.domain.badge import AwardTerms, Badge
from registry.domain.events import Commitments, Event, Fact, Level, ModuleContent, QualityAssurance, StudyLoad
from registry.domain.institution import Institution, Origin, Particulars
from registry.domain.module import Module

ORIGIN = Origin("api", "0123456789abcdef")
TODAY = dt.date(2024, 6, 3)
AWARDED_ON = dt.date(2024, 5, 31)
LEARNER = "7b6a2c1e-5d0f-4a55-9f3e-0c1d2e3f4a5b"
MODULE_ID = "11111111-1111-8111-8111-111111111111"
BADGE_ID = "22222222-2222-8222-8222-222222222222"
SALT = "00" * 16
COMMITMENTS = Commitments(recipient="aa" * 32, reference="bb" * 32, grade="cc" * 32)

PARTICULARS = Particulars(
    "De Haagse Hogeschool",
    "hbo",
    dt.date(2022, 2, 1),
    "The Hague University of Applied Sciences",
    "hhs.nl",
)
CONTENT = ModuleContent(
    name="Klinisch redeneren",
    description="Redeneren over complexe zorg.",
    study_load=StudyLoad(ects=5),
    level=Level(nlqf="6", eqf="6"),
    learning_outcomes=("Beargumenteert beslissingen",),
    language="nl-NL",
    participation="blended",
    assessment=("portfolio",),
    quality_assurance=QualityAssurance(name="NVAO", url="https://www.nvao.net"),
    isced="0913",
    programme="Verpleegkunde",
    legal_ground="WHW 7.12",
)


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def recorded(subject: str, version: int, fact: Fact | None, time: str = "2024-06-03T10:00:00Z") -> Event:
    """The fact as an event at the position of its version."""
    assert fact is not None
    return Event(subject, version, fact, version, moment(time))


def institution(brin: str = "27UM", **changes: Any) -> Institution:
    particulars = Particulars(**{**vars(PARTICULARS), **changes})
    return institutions.evolve(None, recorded(brin, 1, institutions.admit(None, particulars, ORIGIN)))


def suspended(state: Institution, time: str) -> Institution:
    fact = institutions.suspend(state, "quality", None, ORIGIN)
    return institutions.evolve(state, recorded(state.brin, state.version + 1, fact, time))


def reinstated(state: Institution, time: str) -> Institution:
    fact = institutions.reinstate(state, ORIGIN)
    return institutions.evolve(state, recorded(state.brin, state.version + 1, fact, time))


def content(**changes: Any) -> ModuleContent:
    return msgspec.structs.replace(CONTENT, **changes)


def module(owner: Institution | None = None) -> Module:
    fact = modules.register(None, owner or institution(), "KLINRED", CONTENT, TODAY, ORIGIN)
    return modules.evolve(None, recorded(MODULE_ID, 1, fact))


def revised(state: Module, changed: ModuleContent) -> Module:
    fact = modules.revise(state, institution(), "KLINRED", changed, TODAY, ORIGIN)
    return modules.evolve(state, recorded(MODULE_ID, state.version + 1, fact))


def withdrawn(state: Module, from_: dt.date | None = None) -> Module:
    fact = modules.withdraw(state, from_, TODAY, ORIGIN)
    return modules.evolve(state, recorded(MODULE_ID, state.version + 1, fact))


def badge(stated: AwardTerms | None = None, owner: Institution | None = None) -> Badge:
    owner = owner or institution()
    fact = badges.award(
        owner,
        module(owner),
        None,
        stated or AwardTerms(None, AWARDED_ON),
        LEARNER,
        COMMITMENTS,
        TODAY,
        ORIGIN,
    )
    return badges.evolve(None, recorded(BADGE_ID, 1, fact))


def then(state: Badge, fact: Fact | None, time: str = "2024-06-04T10:00:00Z") -> Badge:
    """The badge after one more fact."""
    return badges.evolve(state, recorded(state.id, state.version + 1, fact, time))


def revoked(state: Badge, time: str = "2024-06-05T10:00:00Z") -> Badge:
    return then(state, badges.revoke(state, "fraud", None, SALT, None, TODAY, ORIGIN), time)
