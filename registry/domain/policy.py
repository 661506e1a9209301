"""The dated policy, as data: the study loads and target groups allowed, by sector and day.

Source: Kwaliteitskader Microcredentials voor Professionals HBO en WO (Npuls) with its addendum
Experimenteerruimte (1 May 2025 through 30 April 2027), and Kwaliteitskader voor pilot
microcredentials mbo 2024-2025. A new rule is a new row; earlier rows remain.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec

from registry.domain.errors import StudyLoadOutsidePolicy, TargetGroupOutsidePolicy
from registry.domain.events import Sector, StudyLoad

ALWAYS = dt.date.min
FOREVER = dt.date.max
EXPERIMENT_FROM = dt.date(2025, 5, 1)
EXPERIMENT_UNTIL = dt.date(2027, 4, 30)


class StudyLoadRule(msgspec.Struct, frozen=True):
    """From day `first` through `last`, a module of this sector has `minimum` to `maximum` of this unit."""

    sector: Sector
    unit: Literal["ects", "sbu"]
    minimum: int
    maximum: int | None
    first: dt.date = ALWAYS
    last: dt.date = FOREVER


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
        raise StudyLoadOutsidePolicy(
            f"The study load of a module of sector {sector} must be in {rules[0].unit}."
        )
    if exempted or any(_within(rule, amount or 0) for rule in right_unit):
        return
    allowed = " or ".join(_range(rule) for rule in right_unit)
    raise StudyLoadOutsidePolicy(
        f"The study load of a module of sector {sector} must be {allowed} {unit} on {day}, and is {amount}; "
        "the registrar may exempt the module's reference."
    )


def _within(rule: StudyLoadRule, amount: float) -> bool:
    return amount >= rule.minimum and (rule.maximum is None or amount <= rule.maximum)


def _range(rule: StudyLoadRule) -> str:
    return f"{rule.minimum} to {rule.maximum}" if rule.maximum is not None else f"at least {rule.minimum}"


def check_target_group(target_group: str | None, sector: Sector, day: dt.date) -> None:
    """Refuses `initial-students`, except for hbo during the experiment."""
    if target_group != "initial-students":
        return
    if sector != "hbo" or not EXPERIMENT_FROM <= day <= EXPERIMENT_UNTIL:
        raise TargetGroupOutsidePolicy
