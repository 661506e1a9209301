"""The dated policy: which study loads and target groups a module may have, by sector and day."""

from __future__ import annotations

import datetime as dt

import pytest

from registry.domain.errors import StudyLoadOutsidePolicy, TargetGroupOutsidePolicy
from registry.domain.events import Sector, StudyLoad
from registry.domain.policy import check_study_load, check_target_group

BEFORE, FIRST = dt.date(2025, 4, 30), dt.date(2025, 5, 1)
LAST, AFTER = dt.date(2027, 4, 30), dt.date(2027, 5, 1)


def taken(load: StudyLoad, sector: Sector, day: dt.date, *, exempted: bool = False) -> bool:
    try:
        check_study_load(load, sector, day, exempted=exempted)
    except StudyLoadOutsidePolicy:
        return False
    return True


@pytest.mark.parametrize("day", [BEFORE, FIRST, LAST, AFTER])
@pytest.mark.parametrize(
    ("ects", "expected"),
    [(0.5, False), (1, False), (2.5, False), (3, True), (5.5, True), (30, True), (30.5, False), (60, False)],
)
def test_hbo_takes_3_to_30_ects_on_every_day(ects: float, expected: bool, day: dt.date) -> None:
    assert taken(StudyLoad(ects=ects), "hbo", day) is expected


@pytest.mark.parametrize(
    ("day", "ects", "expected"),
    [
        *[(day, ects, False) for day in (BEFORE, AFTER) for ects in (0.5, 1, 2.5, 30.5)],
        *[(day, ects, True) for day in (BEFORE, AFTER) for ects in (3, 30)],
        *[(day, ects, False) for day in (FIRST, LAST) for ects in (0.5, 30.5)],
        *[(day, ects, True) for day in (FIRST, LAST) for ects in (1, 2.5, 3, 30)],
    ],
)
def test_wo_takes_1_ects_from_may_2025_through_april_2027_and_else_3(
    day: dt.date, ects: float, expected: bool
) -> None:
    assert taken(StudyLoad(ects=ects), "wo", day) is expected


@pytest.mark.parametrize(("sbu", "expected"), [(1, False), (239, False), (240, True), (10_000, True)])
def test_mbo_takes_240_sbu_and_more(sbu: int, expected: bool) -> None:
    assert taken(StudyLoad(sbu=sbu), "mbo", FIRST) is expected


@pytest.mark.parametrize(
    ("sector", "load"),
    [("hbo", StudyLoad(sbu=240)), ("wo", StudyLoad(sbu=240)), ("mbo", StudyLoad(ects=5))],
)
@pytest.mark.parametrize("exempted", [False, True])
def test_a_sector_states_its_own_unit_even_when_exempted(
    sector: Sector, load: StudyLoad, exempted: bool
) -> None:
    assert not taken(load, sector, FIRST, exempted=exempted)


@pytest.mark.parametrize(
    ("sector", "load"),
    [("hbo", StudyLoad(ects=0.5)), ("wo", StudyLoad(ects=60)), ("mbo", StudyLoad(sbu=1))],
)
def test_an_exemption_lifts_the_bounds(sector: Sector, load: StudyLoad) -> None:
    assert not taken(load, sector, BEFORE)
    assert taken(load, sector, BEFORE, exempted=True)


def test_a_refusal_says_what_is_allowed_on_that_day() -> None:
    with pytest.raises(StudyLoadOutsidePolicy, match=r"3 to 30 or 1 to 30"):
        check_study_load(StudyLoad(ects=0.5), "wo", FIRST, exempted=False)


@pytest.mark.parametrize("sector", ["hbo", "wo", "mbo"])
@pytest.mark.parametrize("target_group", [None, "professionals"])
def test_professionals_are_taken_everywhere_on_every_day(sector: Sector, target_group: str | None) -> None:
    for day in (BEFORE, FIRST, LAST, AFTER):
        check_target_group(target_group, sector, day)


@pytest.mark.parametrize("day", [FIRST, LAST])
def test_initial_students_are_taken_from_hbo_during_the_experiment(day: dt.date) -> None:
    check_target_group("initial-students", "hbo", day)


@pytest.mark.parametrize(
    ("sector", "day"), [("hbo", BEFORE), ("hbo", AFTER), ("wo", FIRST), ("wo", LAST), ("mbo", FIRST)]
)
def test_initial_students_are_refused_elsewhere_and_on_other_days(sector: Sector, day: dt.date) -> None:
    with pytest.raises(TargetGroupOutsidePolicy):
        check_target_group("initial-students", sector, day)
