"""What the look-ups share: who may read, whose rows they may see, and which texts can be ids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends

from api.http.auth import Allow
from api.http.problems import Forbidden, NotReady
from projections import read_model
from projections.badges.queries import UNREADABLE
from projections.read_model import Asker
from registry.domain.values import UUID
from registry.tokens import Principal

MAX_POSITION = 2**63 - 1
InstitutionOrAuditor = Annotated[Principal, Depends(Allow("institution", "auditor"))]
Reader = Annotated[Principal, Depends(Allow("institution", "learner", "auditor"))]


def asker(principal: Principal) -> Asker:
    """The asker whose rows this principal may see."""
    if principal.role == "auditor":
        return read_model.AUDITOR
    if principal.role == "institution" and principal.institution is not None:
        return read_model.institution(principal.institution)
    if principal.role == "learner" and principal.learner_id is not None:
        return read_model.learner(principal.learner_id)
    raise Forbidden


def is_id(text: str) -> bool:
    """Whether a text can be an id of the registry; one that cannot is answered as unknown."""
    return UUID.fullmatch(text) is not None


@contextmanager
def readable() -> Iterator[None]:
    """Refuses to answer from some events where this release cannot read another of them."""
    try:
        yield
    except UNREADABLE:
        raise NotReady(
            "This release cannot read an event that the answer follows from; an operator must help."
        ) from None
