"""The dated policy, as data: what a module's study load and target group may be, by sector and day.

Source: Kwaliteitskader Microcredentials voor Professionals HBO en WO (Npuls) with its addendum
Experimenteerruimte (1 May 2025 through 30 April 2027), and Kwaliteitskader voor pilot
microcredentials mbo 2024-2025. A new rule is a new row; rows of the past stay.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec

from registry.domain.errors import StudyLoadOutsidePolicy, TargetGroupOutsidePolicy
from registry.domain.events import Sector, StudyLoad

ALWAYS = dt.date.min
EVER = dt.date.max
EXPERIMENT_FROM = dt.date(2025, 5, 1)
EXPERIMENT_UNTIL = dt.date(2027, 4, 30)


class StudyLoadRule(msgspec.Struct, frozen=True):
    """From `first` through `last` day, a module of this sector has `least` to `most` of this unit."""

    sector: Sector
    unit: Literal["ects", "sbu"]
    least: int
    most: int | None
    first: dt.date = ALWAYS
    last: dt.date = EVER


STUDY_LOAD_RULES = (
    StudyLoadRule("hbo", "ects", 3, 30),
    StudyLoadRule("wo", "ects", 3, 30),
    StudyLoadRule("wo", "ects", 1, 30, EXPERIMENT_FROM, EXPERIMENT_UNTIL),
    StudyLoadRule("mbo", "sbu", 240, None),
)


def check_study_load(load: StudyLoad, sector: Sector, day: dt.date, *, exempted: bool) -> None:
    """Refuses a load outside every rule in force. An exemption lifts the bounds, not the unit."""
    unit, amount = ("ects", load.ects) if load.ects is not None else ("sbu", load.sbu)
    rules = [rule for rule in STUDY_LOAD_RULES if rule.sector == sector and rule.first <= day <= rule.last]
    right_unit = [rule for rule in rules if rule.unit == unit]
    if not right_unit:
        raise StudyLoadOutsidePolicy(f"A module of sector {sector} states its study load in {rules[0].unit}.")
    if exempted or any(_within(rule, amount or 0) for rule in right_unit):
        return
    allowed = " or ".join(_range(rule) for rule in right_unit)
    raise StudyLoadOutsidePolicy(
        f"A study load of {amount} {unit} lies outside the policy for {sector} on {day}: {allowed}. "
        "The registrar may exempt a module's reference."
    )


def _within(rule: StudyLoadRule, amount: float) -> bool:
    return amount >= rule.least and (rule.most is None or amount <= rule.most)


def _range(rule: StudyLoadRule) -> str:
    return f"{rule.least} to {rule.most}" if rule.most is not None else f"at least {rule.least}"


def check_target_group(target_group: str | None, sector: Sector, day: dt.date) -> None:
    """`initial-students` only for hbo, during the experiment."""
    if target_group != "initial-students":
        return
    if sector != "hbo" or not EXPERIMENT_FROM <= day <= EXPERIMENT_UNTIL:
        raise TargetGroupOutsidePolicy
