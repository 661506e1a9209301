"""A module: registration, frozen versions, withdrawal."""

from __future__ import annotations

import datetime as dt
import hashlib

import msgspec
import pytest
import rfc8785

from registry.domain import institution as institutions
from registry.domain import module as modules
from registry.domain.errors import (
    InvalidInput,
    ModuleAlreadyWithdrawn,
    ModuleIsWithdrawn,
    ModuleVersionUnknown,
    ReferenceFixed,
    ReferenceTaken,
    StudyLoadOutsidePolicy,
    TargetGroupOutsidePolicy,
    TooManyChanges,
)
from registry.domain.events import (
    InstitutionExempted,
    MisplacedEventError,
    ModuleRegistered,
    ModuleRevised,
    ModuleWithdrawn,
    StudyLoad,
)
from tests.unit import facts
from tests.unit.facts import (
    CONTENT,
    ORIGIN,
    TODAY,
    content,
    institution,
    module,
    recorded,
    revised,
    withdrawn,
)

SECOND = content(description="Herzien.")
DAY = dt.timedelta(days=1)


def test_a_registration_records_version_1_with_its_content_and_hash() -> None:
    fact = modules.register(None, institution(), "KLINRED", CONTENT, TODAY, ORIGIN)
    digest = hashlib.sha256(rfc8785.dumps(msgspec.to_builtins(CONTENT))).hexdigest()
    assert fact == ModuleRegistered(
        channel="api",
        client=ORIGIN.client,
        institution="27UM",
        reference="KLINRED",
        version=1,
        content_hash=digest,
        content=CONTENT,
    )


def test_the_same_reference_with_the_content_of_any_version_changes_nothing() -> None:
    state = revised(module(), SECOND)
    assert modules.register(state, institution(), "KLINRED", CONTENT, TODAY, ORIGIN) is None
    assert modules.register(state, institution(), "KLINRED", SECOND, TODAY, ORIGIN) is None


def test_the_same_reference_with_other_content_is_refused() -> None:
    with pytest.raises(ReferenceTaken):
        modules.register(module(), institution(), "KLINRED", SECOND, TODAY, ORIGIN)


def test_a_revision_adds_a_version_and_leaves_the_earlier_one_as_it_was() -> None:
    state = revised(module(), SECOND)
    assert state.content(1) == (1, modules.content_hash(CONTENT), CONTENT)
    assert state.content(2) == (2, modules.content_hash(SECOND), SECOND)
    assert state.content(None) == state.content(2)


def test_a_revision_that_says_what_the_latest_version_says_changes_nothing() -> None:
    assert modules.revise(module(), institution(), "KLINRED", CONTENT, TODAY, ORIGIN) is None


def test_a_revision_may_go_back_to_an_earlier_content() -> None:
    fact = modules.revise(revised(module(), SECOND), institution(), "KLINRED", CONTENT, TODAY, ORIGIN)
    assert isinstance(fact, ModuleRevised)
    assert fact.version == 3


def test_a_revision_keeps_the_reference() -> None:
    with pytest.raises(ReferenceFixed):
        modules.revise(module(), institution(), "OTHER", SECOND, TODAY, ORIGIN)


@pytest.mark.parametrize("version", [-1, 0, 3])
def test_a_version_that_is_not_there_is_refused(version: int) -> None:
    with pytest.raises(ModuleVersionUnknown, match="the latest, 2"):
        revised(module(), SECOND).content(version)


def test_a_withdrawal_is_from_today_when_no_day_is_named() -> None:
    fact = modules.withdraw(module(), None, TODAY, ORIGIN)
    assert fact == ModuleWithdrawn(channel="api", client=ORIGIN.client, institution="27UM", from_=TODAY)


def test_a_withdrawal_does_not_reach_back() -> None:
    with pytest.raises(InvalidInput) as refused:
        modules.withdraw(module(), TODAY - DAY, TODAY, ORIGIN)
    assert [pointer for pointer, _ in refused.value.errors] == ["/from"]


def test_a_withdrawal_again_changes_nothing() -> None:
    state = withdrawn(module(), TODAY + DAY)
    assert modules.withdraw(state, TODAY + DAY, TODAY, ORIGIN) is None
    assert modules.withdraw(state, None, TODAY, ORIGIN) is None


def test_a_withdrawal_from_another_day_is_refused() -> None:
    with pytest.raises(ModuleAlreadyWithdrawn):
        modules.withdraw(withdrawn(module(), TODAY + DAY), TODAY, TODAY, ORIGIN)


def test_a_module_counts_as_withdrawn_from_that_day_and_not_before() -> None:
    state = withdrawn(module(), TODAY + DAY)
    modules.check_not_withdrawn(state, TODAY)
    with pytest.raises(ModuleIsWithdrawn):
        modules.check_not_withdrawn(state, TODAY + DAY)


def test_a_withdrawn_module_takes_no_new_version() -> None:
    with pytest.raises(ModuleIsWithdrawn):
        modules.revise(withdrawn(module()), institution(), "KLINRED", SECOND, TODAY, ORIGIN)


def test_the_study_load_is_judged_on_the_day_of_registration() -> None:
    small, university = content(study_load=StudyLoad(ects=1)), institution(kind="wo")
    first = dt.date(2025, 5, 1)
    assert modules.register(None, university, "R", small, first, ORIGIN) is not None
    with pytest.raises(StudyLoadOutsidePolicy):
        modules.register(None, university, "R", small, first - DAY, ORIGIN)


def test_a_revision_is_judged_anew() -> None:
    with pytest.raises(StudyLoadOutsidePolicy):
        modules.revise(
            module(), institution(), "KLINRED", content(study_load=StudyLoad(ects=2.5)), TODAY, ORIGIN
        )
    with pytest.raises(TargetGroupOutsidePolicy):
        modules.revise(
            module(), institution(), "KLINRED", content(target_group="initial-students"), TODAY, ORIGIN
        )


def test_an_exemption_is_for_its_reference_only() -> None:
    exempted = InstitutionExempted(
        channel="api", client="cli", module_reference="SMALL", rule="study-load", reason="Pilot"
    )
    owner = institutions.evolve(institution(), recorded("27UM", 2, exempted))
    small = content(study_load=StudyLoad(ects=0.5))
    assert modules.register(None, owner, "SMALL", small, TODAY, ORIGIN) is not None
    with pytest.raises(StudyLoadOutsidePolicy):
        modules.register(None, owner, "OTHER", small, TODAY, ORIGIN)


def test_an_imported_module_without_a_study_load_is_not_judged() -> None:
    assert modules.register(None, institution(), "R", content(study_load=None), TODAY, ORIGIN) is not None


def test_a_modules_stream_begins_with_its_registration() -> None:
    fact = modules.withdraw(module(), None, TODAY, ORIGIN)
    with pytest.raises(MisplacedEventError, match="begins with"):
        modules.fold([recorded(facts.MODULE_ID, 1, fact)])


def test_an_event_of_another_kind_is_not_applied_to_a_module() -> None:
    with pytest.raises(MisplacedEventError, match="not an event of a module"):
        modules.evolve(module(), recorded(facts.MODULE_ID, 2, facts.badge().award))


def test_a_module_has_at_most_100_versions_and_the_content_of_the_last_is_still_known() -> None:
    state = module()
    for number in range(2, modules.MAX_VERSIONS + 1):
        state = revised(state, content(description=f"Versie {number}."))
    assert state.latest == 100
    with pytest.raises(TooManyChanges, match="100 is the maximum"):
        modules.revise(state, institution(), "KLINRED", SECOND, TODAY, ORIGIN)
    last = content(description="Versie 100.")
    assert modules.revise(state, institution(), "KLINRED", last, TODAY, ORIGIN) is None
    with pytest.raises(TooManyChanges):
        modules.check_versions(state)
