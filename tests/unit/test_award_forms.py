"""An award as a form: filled in, it is the fact itself, byte by byte."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.errors import EventTooLarge
from registry.domain.events import BadgeAwarded, Commitments, canonical
from registry.event_store.recorder import LARGEST_EVENT
from registry.recording.award_forms import award_form
from tests.unit import facts
from tests.unit.random_facts import fact_of

digests = st.text("0123456789abcdef", min_size=64, max_size=64)
commitments = st.builds(
    Commitments,
    recipient=digests,
    reference=digests,
    grade=st.none() | digests,
    evidence=st.none() | digests,
)


@given(fact_of(BadgeAwarded), st.uuids(version=4), commitments)
def test_a_form_that_is_filled_in_is_the_fact(
    another: BadgeAwarded, learner: UUID, committed: Commitments
) -> None:
    fact = msgspec.structs.replace(another, learner_id=str(learner), commitments=committed)
    event = award_form(another, "active").event("b", str(learner), committed)
    assert (event.originator_id, event.originator_version, event.topic) == ("b", 1, "badge.awarded/1")
    assert event.state == canonical(fact)


def test_a_form_that_is_filled_in_has_at_most_60_kib() -> None:
    fact = facts.badge().award
    room = LARGEST_EVENT - len(canonical(fact)) + len(fact.module_name)
    for size in (room, room + 1):
        form = award_form(msgspec.structs.replace(fact, module_name="x" * size), "active")
        if size == room:
            assert len(form.event("b", fact.learner_id, fact.commitments).state) == LARGEST_EVENT
        else:
            with pytest.raises(EventTooLarge):
                form.event("b", fact.learner_id, fact.commitments)
