"""What is compared when a reference comes again: its bytes lie behind all that is recorded."""

from __future__ import annotations

import datetime as dt

from registry.domain.badge import AwardTerms
from registry.domain.events import canonical
from registry.domain.institution import Origin
from registry.domain.private_parts import Evidence, Recipient
from registry.recording.awards import ImportedAward, StatedAward

MODULE = "0d4e2f8a-1111-4222-8333-444455556666"
BADGE = "1d4e2f8a-1111-4222-8333-444455556666"
STATED = (
    "27UM",
    "1",
    MODULE,
    None,
    Recipient(edu_id="A-1", name="A. Jansen", email="a@example.org"),
    AwardTerms(2, dt.date(2024, 3, 15), dt.date(2030, 1, 1), BADGE),
    Origin("api", "client"),
    "8",
    (Evidence(url="https://example.org/e1", narrative="Portfolio"),),
)


def test_all_that_makes_an_award_another_is_in_its_statement_and_name_and_email_are_not() -> None:
    assert canonical(StatedAward(*STATED).statement(MODULE)) == (
        b'{"awardedOn":"2024-03-15","evidence":[{"narrative":"Portfolio","url":"https://example.org/e1"}],'
        b'"grade":"8","learner":{"eduId":"a-1"},"moduleId":"0d4e2f8a-1111-4222-8333-444455556666",'
        b'"moduleVersion":2,"supersedes":"1d4e2f8a-1111-4222-8333-444455556666","validUntil":"2030-01-01"}'
    )


def test_what_was_not_stated_is_left_out() -> None:
    award = StatedAward(
        "27UM", "1", MODULE, None, Recipient(eppn="J@H.nl"), AwardTerms(None, dt.date(2024, 3, 15)), STATED[6]
    )
    assert canonical(award.statement(MODULE)) == (
        b'{"awardedOn":"2024-03-15","learner":{"eppn":"j@h.nl"},"moduleId":"' + MODULE.encode() + b'"}'
    )


def test_of_an_assertion_at_its_address_only_what_its_learner_cannot_change_is_compared() -> None:
    hosted, stated = ImportedAward(*STATED, hosted=True), ImportedAward(*STATED)
    assert set(hosted.not_compared) == {"/moduleVersion", "/grade", "/evidence", "/supersedes"}
    assert not stated.not_compared
