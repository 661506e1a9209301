"""What an import records where the API would refuse, and what it leaves alone."""

from __future__ import annotations

import datetime as dt
from typing import Any, get_args

import pytest

from registry.domain import imports
from registry.domain import institution as institutions
from registry.domain import module as modules
from registry.domain.badge import AwardTerms
from registry.domain.errors import ModuleIsWithdrawn, ModuleOfAnother
from registry.domain.events import BadgeAwarded, ModuleContent, StudyLoad, canonical
from registry.domain.imports import ImportedModule
from registry.domain.institution import Institution, Origin
from registry.domain.module import Module, evolve
from tests.unit import facts
from tests.unit.facts import (
    COMMITMENTS,
    CONTENT,
    LEARNER,
    MODULE_ID,
    ORIGIN,
    SALT,
    TODAY,
    institution,
    recorded,
    withdrawn,
)

IMPORT = Origin("import", "cli")
REFERENCE = "https://badges.example.org/public/badges/" + "x" * 5_000


def source(**changes: Any) -> ImportedModule:
    return ImportedModule(REFERENCE, facts.content(**changes), None, ("nlqf-from-eqf",))


def imported(stated: ImportedModule, state: Module | None = None, owner: Institution | None = None) -> Module:
    fact = imports.module(state, owner or institution(), stated, TODAY, IMPORT)
    assert fact is not None
    return evolve(state, recorded(MODULE_ID, state.version + 1 if state else 1, fact))


def award(
    of: Module, stated: ImportedModule | None, day: dt.date = TODAY, owner: Institution | None = None
) -> BadgeAwarded:
    return imports.award(
        owner or institution(),
        of,
        AwardTerms(None, day),
        stated,
        ("recipient-hashed",),
        LEARNER,
        COMMITMENTS,
        TODAY,
        ORIGIN,
    )


def test_a_module_without_study_load_level_or_outcomes_is_registered_with_findings() -> None:
    state = imported(source(study_load=None, level=None, learning_outcomes=None))
    assert state.versions[0][1].study_load is None
    assert state.findings == (("no-study-load", "no-level", "no-outcomes", "nlqf-from-eqf"),)
    assert award(state, None).findings == (*state.findings[0], "recipient-hashed")


def test_a_member_that_the_source_states_otherwise_is_not_said_to_be_missing() -> None:
    for name, codes in imports._NOT_TAKEN.items():
        for code in codes:
            stated = ImportedModule(REFERENCE, facts.content(**{name: None}), None, (code,))
            assert imported(stated).findings == ((code,),)
    assert imports._NOT_TAKEN.keys() <= imports._EXPECTED.keys()


def test_the_policy_is_noted_and_not_enforced() -> None:
    state = imported(source(study_load=StudyLoad(ects=1), target_group="initial-students"))
    assert {"study-load-outside-policy", "target-group-outside-policy"} <= set(state.findings[0])


def test_admission_suspensions_and_the_first_award_day_are_noted_all_at_once() -> None:
    owner = facts.suspended(institution(admitted_until=dt.date(2023, 1, 1)), "2022-06-01T10:00:00Z")
    state = imported(source(), owner=owner)
    before, during = dt.date(2017, 12, 31), dt.date(2022, 7, 1)
    of_today = ("institution-suspended", "admission-ended")
    assert (award(state, None, before, owner).findings or ())[2:] == (
        "before-2018",
        *of_today,
        "outside-admission",
    )
    assert (award(state, None, during, owner).findings or ())[2:] == (*of_today, "suspended-that-day")


def test_every_objection_has_a_finding() -> None:
    assert set(imports._FINDINGS) == {*get_args(institutions.Objection), *get_args(modules.Objection)}


def test_each_content_that_a_source_states_is_a_version_and_an_award_names_its_own() -> None:
    poor, full, other = source(level=None), source(), source(name="Iets anders")
    state = imported(other, imported(full, imported(poor)))
    assert [content.level for _, content in state.versions] == [None, CONTENT.level, CONTENT.level]
    for number, stated in enumerate((poor, full, other), 1):
        assert imports.module(state, institution(), stated, TODAY, IMPORT) is None
        fact = award(state, stated)
        assert (fact.module_version, fact.module_name) == (number, stated.content.name)
        assert "module-differs" not in (fact.findings or ())
    assert state.findings == (("no-level", "nlqf-from-eqf"), ("nlqf-from-eqf",), ("nlqf-from-eqf",))


def test_an_award_has_the_findings_and_the_type_of_its_own_source_whatever_the_version_was_read_from() -> (
    None
):
    silent = ImportedModule(REFERENCE, CONTENT, None, ("no-badge-type",))
    regular = ImportedModule(REFERENCE, CONTENT, "regular", ("study-load-not-taken",))
    for state in (imported(silent), imported(regular)):
        fact = award(state, regular)
        assert (fact.badge_type, fact.findings) == ("regular", ("study-load-not-taken", "recipient-hashed"))
        fact = award(state, silent)
        assert (fact.badge_type, fact.findings) == (None, ("no-badge-type", "recipient-hashed"))
        assert award(state, source()).badge_type is None
    assert award(imported(regular), None).badge_type == "regular"


def test_an_import_adds_nothing_to_a_module_that_the_institution_stated_itself_and_notes_what_differs() -> (
    None
):
    registered = modules.register(None, institution(), REFERENCE, CONTENT, TODAY, ORIGIN)
    state = evolve(None, facts.recorded(MODULE_ID, 1, registered))
    other = source(name="Iets anders")
    assert imports.module(state, institution(), other, TODAY, IMPORT) is None
    fact = award(state, other)
    assert (fact.module_version, fact.module_name) == (1, CONTENT.name)
    assert "module-differs" in (fact.findings or ())
    assert "module-differs" not in (award(state, source(level=None)).findings or ())


def test_an_award_is_for_the_version_that_says_what_its_source_says() -> None:
    first = imported(source())
    mended = facts.recorded(
        MODULE_ID,
        2,
        modules.revise(first, institution(), REFERENCE, facts.content(name="Hersteld"), TODAY, ORIGIN),
    )
    state = evolve(first, mended)
    assert award(state, source()).module_version == 1
    assert award(state, None).module_version == 2


def test_another_badge_type_is_marked_on_the_module_and_its_awards() -> None:
    stated = ImportedModule(REFERENCE, CONTENT, "regular")
    state = imported(stated)
    assert state.badge_type == "regular"
    assert award(state, stated).badge_type == "regular"
    assert award(imported(source()), None).badge_type is None


def test_a_withdrawn_or_anothers_module_takes_no_award_in_an_import_either() -> None:
    state = imported(source())
    with pytest.raises(ModuleIsWithdrawn):
        award(withdrawn(state), None)
    with pytest.raises(ModuleOfAnother):
        award(state, None, owner=institution("22OJ"))
    assert (
        imports.module(withdrawn(imported(source(level=None))), institution(), source(), TODAY, ORIGIN)
        is None
    )


def test_a_revocation_that_was_seen_says_so_and_nothing_of_one_that_is_revoked() -> None:
    state = facts.badge()
    fact = imports.revocation(state, "other", SALT, None, ORIGIN)
    assert fact is not None
    assert (fact.observed, fact.effective_on, fact.reason) == (True, None, "other")
    assert imports.revocation(facts.revoked(state), "other", SALT, None, ORIGIN) is None


def test_a_content_of_nulls_keeps_its_members() -> None:
    content: ModuleContent = facts.content(study_load=None)
    assert b'"studyLoad":null' in canonical(content)
