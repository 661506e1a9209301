"""A badge's status: which of four it is, and since when."""

from __future__ import annotations

import datetime as dt

import pytest

from registry.domain import badge as badges
from registry.domain.badge import AwardTerms, Badge
from tests.unit.facts import AWARDED_ON, ORIGIN, SALT, badge, moment, revoked, then

EXPIRES = dt.date(2024, 6, 10)
LATER = "2025-01-01T00:00:00Z"


def suspended(state: Badge, time: str) -> Badge:
    return then(state, badges.suspend(state, "appeal", SALT, None, ORIGIN), time)


def expiring(valid_until: dt.date = EXPIRES) -> Badge:
    return badge(AwardTerms(None, AWARDED_ON, valid_until))


def status(state: Badge, at: str) -> tuple[str, dt.datetime]:
    return badges.status_of(state, moment(at))


def test_a_badge_is_active_since_its_award_was_recorded() -> None:
    assert status(badge(), LATER) == ("active", moment("2024-06-03T10:00:00Z"))


def test_a_reinstated_badge_is_active_since_its_reinstatement() -> None:
    state = suspended(badge(), "2024-06-04T10:00:00Z")
    state = then(state, badges.reinstate(state, SALT, ORIGIN), "2024-06-05T10:00:00Z")
    assert status(state, LATER) == ("active", moment("2024-06-05T10:00:00Z"))


def test_a_badge_past_its_last_valid_day_is_expired() -> None:
    assert status(expiring(), LATER) == ("expired", moment("2024-06-11T00:00:00+02:00"))


def test_a_suspension_goes_before_an_expiry() -> None:
    state = suspended(expiring(), "2024-06-20T10:00:00Z")
    assert status(state, LATER) == ("suspended", moment("2024-06-20T10:00:00Z"))


def test_a_revocation_goes_before_a_suspension_and_an_expiry() -> None:
    state = revoked(suspended(expiring(), "2024-06-20T10:00:00Z"), "2024-06-21T10:00:00Z")
    assert status(state, LATER) == ("revoked", moment("2024-06-21T10:00:00Z"))


def test_a_badge_reinstated_after_its_last_valid_day_is_expired_since_that_days_end() -> None:
    state = suspended(expiring(), "2024-06-05T10:00:00Z")
    state = then(state, badges.reinstate(state, SALT, ORIGIN), "2024-06-20T10:00:00Z")
    assert status(state, LATER) == ("expired", moment("2024-06-11T00:00:00+02:00"))


def test_the_day_that_a_revocation_states_moves_no_status() -> None:
    state = badge()
    fact = badges.revoke(state, "fraud", AWARDED_ON, SALT, None, dt.date(2024, 6, 5), ORIGIN)
    state = then(state, fact, "2024-06-05T10:00:00Z")
    assert status(state, LATER) == ("revoked", moment("2024-06-05T10:00:00Z"))


@pytest.mark.parametrize(
    ("valid_until", "midnight"),
    [
        (dt.date(2024, 1, 10), "2024-01-10T23:00:00Z"),
        (dt.date(2024, 6, 10), "2024-06-10T22:00:00Z"),
        # Around the days of 23 and of 25 hours.
        (dt.date(2024, 3, 30), "2024-03-30T23:00:00Z"),
        (dt.date(2024, 3, 31), "2024-03-31T22:00:00Z"),
        (dt.date(2024, 10, 26), "2024-10-26T22:00:00Z"),
        (dt.date(2024, 10, 27), "2024-10-27T23:00:00Z"),
        (dt.date(2024, 2, 28), "2024-02-28T23:00:00Z"),
        (dt.date(2024, 2, 29), "2024-02-29T23:00:00Z"),
        (dt.date(2024, 12, 31), "2024-12-31T23:00:00Z"),
    ],
)
def test_a_badge_expires_at_midnight_in_amsterdam(valid_until: dt.date, midnight: str) -> None:
    state, expiry = expiring(valid_until), moment(midnight)
    assert badges.status_of(state, expiry) == ("expired", expiry)
    assert badges.status_of(state, expiry - dt.timedelta(microseconds=1))[0] == "active"


def test_a_badge_may_be_valid_until_the_last_day_that_a_date_can_name() -> None:
    assert status(expiring(dt.date(9999, 12, 31)), LATER)[0] == "active"
