"""An institution: admission, suspension, and the days on which it may award."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from registry.domain import institution as institutions
from registry.domain.errors import (
    AdmissionEnded,
    AlreadySuspended,
    InstitutionIsSuspended,
    OutsideAdmission,
    SuspendedOnThatDay,
    TooManyChanges,
)
from registry.domain.events import (
    InstitutionAdmitted,
    InstitutionChanged,
    InstitutionExempted,
    InstitutionReinstated,
    InstitutionSuspended,
    MisplacedEventError,
)
from registry.domain.institution import Institution
from tests.unit import facts
from tests.unit.facts import ORIGIN, PARTICULARS, institution, recorded, reinstated, suspended


def test_the_first_statement_admits_an_institution() -> None:
    fact = institutions.admit(None, PARTICULARS, ORIGIN)
    assert fact == InstitutionAdmitted(channel="api", client=ORIGIN.client, **vars(PARTICULARS))


def test_another_statement_changes_an_institution_whole() -> None:
    stated = replace(PARTICULARS, name="Haagse", name_en=None)
    fact = institutions.admit(institution(), stated, ORIGIN)
    assert fact == InstitutionChanged(channel="api", client=ORIGIN.client, **vars(stated))
    changed = institutions.evolve(institution(), recorded("27UM", 2, fact))
    assert (changed.particulars, changed.version) == (stated, 2)


def test_the_same_statement_again_changes_nothing() -> None:
    assert institutions.admit(institution(), PARTICULARS, ORIGIN) is None


def test_a_change_keeps_suspensions_and_exemptions() -> None:
    exempted = InstitutionExempted(
        channel="api", client="cli", module_reference="KLINRED", rule="study-load", reason="Pilot"
    )
    state = institutions.evolve(institution(), recorded("27UM", 2, exempted))
    state = suspended(state, "2024-06-10T10:00:00Z")
    fact = institutions.admit(state, replace(PARTICULARS, name="Haagse"), ORIGIN)
    changed = institutions.evolve(state, recorded("27UM", 4, fact))
    assert changed.exempted == {"KLINRED"}
    assert changed.suspension == state.suspension


def test_a_suspension_again_for_the_same_reason_changes_nothing() -> None:
    state = suspended(institution(), "2024-06-10T10:00:00Z")
    assert institutions.suspend(state, "quality", None, ORIGIN) is None


def test_a_suspension_for_another_reason_is_refused() -> None:
    state = suspended(institution(), "2024-06-10T10:00:00Z")
    with pytest.raises(AlreadySuspended, match="quality"):
        institutions.suspend(state, "accreditation", None, ORIGIN)


def test_an_institution_can_be_suspended_again_after_its_reinstatement() -> None:
    state = reinstated(suspended(institution(), "2024-06-10T10:00:00Z"), "2024-06-12T10:00:00Z")
    assert institutions.suspend(state, "request", "ab" * 32, ORIGIN) == InstitutionSuspended(
        channel="api", client=ORIGIN.client, reason="request", note_commitment="ab" * 32
    )


def test_a_reinstatement_of_an_institution_that_is_not_suspended_changes_nothing() -> None:
    assert institutions.reinstate(institution(), ORIGIN) is None


def test_a_suspended_institution_can_be_reinstated() -> None:
    fact = institutions.reinstate(suspended(institution(), "2024-06-10T10:00:00Z"), ORIGIN)
    assert fact == InstitutionReinstated(channel="api", client=ORIGIN.client)


def test_a_suspended_institution_awards_nothing_on_any_day() -> None:
    state = suspended(institution(), "2024-06-10T10:00:00Z")
    with pytest.raises(InstitutionIsSuspended):
        institutions.check_may_award(state, dt.date(2024, 6, 1), dt.date(2024, 6, 20))


def test_an_institution_awards_through_its_last_day_and_no_longer() -> None:
    last = dt.date(2024, 6, 30)
    state = institution(admitted_until=last)
    institutions.check_may_award(state, last, last)
    with pytest.raises(AdmissionEnded):
        institutions.check_may_award(state, last, last + dt.timedelta(days=1))


@pytest.mark.parametrize("day", [dt.date(2022, 1, 31), dt.date(2024, 7, 1)])
def test_an_award_outside_the_admission_is_refused(day: dt.date) -> None:
    state = institution(admitted_until=dt.date(2024, 6, 30))
    with pytest.raises(OutsideAdmission):
        institutions.check_may_award(state, day, dt.date(2024, 6, 30))


def test_an_award_on_the_first_day_of_the_admission_is_taken() -> None:
    institutions.check_may_award(institution(), dt.date(2022, 2, 1), dt.date(2022, 2, 1))


def _may_award(state: Institution, day: str) -> bool:
    try:
        institutions.check_may_award(state, dt.date.fromisoformat(day), dt.date(2025, 1, 1))
    except SuspendedOnThatDay:
        return False
    return True


@pytest.mark.parametrize(
    ("from_", "until", "covered", "free"),
    [
        # Summer time: the day in Amsterdam begins at 22:00 UTC.
        ("2024-06-10T21:59:59Z", "2024-06-12T21:59:59Z", ["2024-06-10", "2024-06-11"], ["2024-06-12"]),
        ("2024-06-10T22:00:00Z", "2024-06-12T22:00:00Z", ["2024-06-11", "2024-06-12"], ["2024-06-10"]),
        # Winter time: at 23:00 UTC.
        ("2024-01-10T22:59:59Z", "2024-01-11T23:00:00Z", ["2024-01-10", "2024-01-11"], ["2024-01-12"]),
        ("2024-01-10T23:00:00Z", "2024-01-12T22:59:59Z", ["2024-01-11"], ["2024-01-10", "2024-01-12"]),
        # The day on which summer time begins has 23 hours, the day on which it ends has 25.
        ("2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z", ["2024-03-31"], ["2024-03-30", "2024-04-01"]),
        ("2024-10-26T22:00:00Z", "2024-10-27T22:59:59Z", [], ["2024-10-26", "2024-10-27"]),
        ("2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z", ["2024-10-27"], ["2024-10-26", "2024-10-28"]),
    ],
)
def test_a_suspension_covers_the_days_in_amsterdam_up_to_the_reinstatements(
    from_: str, until: str, covered: list[str], free: list[str]
) -> None:
    state = reinstated(suspended(institution(), from_), until)
    assert [day for day in covered + free if not _may_award(state, day)] == covered


def test_a_suspension_lifted_on_its_own_day_covers_no_day() -> None:
    state = reinstated(suspended(institution(), "2024-06-10T08:00:00Z"), "2024-06-10T16:00:00Z")
    assert _may_award(state, "2024-06-10")


def test_every_earlier_suspension_still_counts() -> None:
    state = reinstated(suspended(institution(), "2024-06-10T10:00:00Z"), "2024-06-12T10:00:00Z")
    state = reinstated(suspended(state, "2024-07-10T10:00:00Z"), "2024-07-12T10:00:00Z")
    assert not _may_award(state, "2024-06-11")
    assert _may_award(state, "2024-06-30")
    assert not _may_award(state, "2024-07-10")


def test_an_institutions_stream_begins_with_its_admission() -> None:
    fact = institutions.suspend(institution(), "other", None, ORIGIN)
    with pytest.raises(MisplacedEventError, match="begins with"):
        institutions.fold([recorded("27UM", 1, fact)])


def test_an_event_of_another_kind_is_not_applied_to_an_institution() -> None:
    with pytest.raises(MisplacedEventError, match="not an event of an institution"):
        institutions.evolve(institution(), recorded("27UM", 2, facts.badge().award))


def test_an_institution_has_at_most_1000_exemptions() -> None:
    many = frozenset(f"M-{number}" for number in range(institutions.MAX_EXEMPTIONS))
    state = replace(institution(), exempted=many)
    with pytest.raises(TooManyChanges, match="1000 is the maximum"):
        institutions.exempt(state, "M-new", "study-load", "Proef", ORIGIN)
    assert institutions.exempt(state, "M-1", "study-load", "Proef", ORIGIN) is None
