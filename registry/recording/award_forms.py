"""Awards that differ in learner and commitments alone: decided once, and encoded once."""

from __future__ import annotations

import secrets

import msgspec
from eventsourcing.persistence import StoredEvent

from registry.domain.badge import Status
from registry.domain.events import BadgeAwarded, Commitments, canonical
from registry.event_store.recorder import stored_event


class AwardForm(msgspec.Struct, frozen=True):
    """What is recorded of an award but for its learner and commitments, whose places are left open."""

    module_version: int
    status: Status
    parts: tuple[bytes, bytes, bytes]
    """The canonical JSON before the commitments, before the learner and after both."""

    def event(self, badge_id: str, learner_id: str, commitments: Commitments) -> StoredEvent:
        """The award's event, the first of its badge; refuses one that is too large."""
        head, middle, tail = self.parts
        data = b"".join((head, canonical(commitments), middle, learner_id.encode(), tail))
        return stored_event(badge_id, 1, BadgeAwarded.TOPIC, data)


def award_form(fact: BadgeAwarded, status: Status) -> AwardForm:
    """The form of this award and of all that state the same."""
    # Nothing that is stated can hold what is drawn here.
    anyone = secrets.token_hex(16)
    anything = Commitments(recipient=anyone, reference="")
    blank = msgspec.structs.replace(fact, learner_id=anyone, commitments=anything)
    head, rest = canonical(blank).split(canonical(anything))
    middle, tail = rest.split(anyone.encode())
    return AwardForm(fact.module_version, status, (head, middle, tail))
