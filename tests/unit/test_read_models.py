"""What holds for every read model, without a database."""

from __future__ import annotations

from typing import cast

import pytest

from projections.all import read_models
from projections.read_model import ReadModel
from registry.domain.events import Event, Fact, MisplacedEventError
from registry.postgres.connections import Cursor
from tests.contracts.examples import FACTS

MISPLACED = [
    pytest.param(model, subject, fact, id=f"{model.name}-{fact.TYPE}")
    for model in read_models()
    for subject, fact in FACTS
    if not fact.TYPE.startswith(model.handles)
]


@pytest.mark.parametrize(("model", "subject", "fact"), MISPLACED)
def test_a_read_model_stops_at_an_event_that_it_does_not_handle(
    model: ReadModel, subject: str, fact: Fact
) -> None:
    with pytest.raises(MisplacedEventError, match=f"^{fact.TYPE} is not an event of "):
        model.apply(cast(Cursor, None), [Event(subject, 1, fact)])
