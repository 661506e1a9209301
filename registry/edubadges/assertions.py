"""Reads hosted assertions (Open Badges 2.0), plain, expanded or revoked, into items."""

from __future__ import annotations

import datetime as dt
from typing import Any

from registry.domain import values
from registry.domain.private_parts import Evidence, Recipient
from registry.edubadges.items import AwardItem, Item, RevokedItem, Unreadable
from registry.edubadges.texts import MAX_TEXT, address, day, last_day, line, members, text, trimmed


def read_assertion(place: str, assertion: dict[str, Any], today: dt.date) -> Item:
    """Returns the item; raises `Unreadable` with what is wrong."""
    reference = address(assertion.get("id"))
    if reference is None:
        raise Unreadable("id must be a web address")
    if assertion.get("revoked"):
        return RevokedItem(place, reference, text(assertion.get("revocationReason")) or "")
    awarded_on = day(assertion.get("issuedOn"), "issuedOn")
    if awarded_on > today:
        raise Unreadable("issuedOn must not be in the future")
    recipient, recipient_findings = _recipient(members(assertion.get("recipient")))
    evidence, evidence_findings = _evidence(assertion)
    return AwardItem(
        place,
        reference,
        recipient,
        awarded_on,
        _valid_until(assertion, awarded_on),
        _grade(assertion),
        evidence or None,
        _badge_class(assertion.get("badge")),
        (*recipient_findings, *evidence_findings),
    )


def _badge_class(badge: object) -> str:
    url = address(badge.get("id") if isinstance(badge, dict) else badge)
    if url is None:
        raise Unreadable("badge must name a badge class by its web address")
    return url


def _valid_until(assertion: dict[str, Any], awarded_on: dt.date) -> dt.date | None:
    if assertion.get("expires") is None:
        return None
    last = last_day(assertion["expires"], "expires")
    if last < awarded_on:
        raise Unreadable("expires must not be before issuedOn")
    return last


def _grade(assertion: dict[str, Any]) -> str | None:
    """The grade of the assertion, which Edubadges puts into the expanded badge class."""
    badge_class = members(assertion.get("badge"))
    grade = next(
        (
            document[name]
            for document in (assertion, badge_class)
            for name in ("grade_achieved", "gradeAchieved")
            if name in document
        ),
        None,
    )
    return line(str(grade) if isinstance(grade, int | float) and not isinstance(grade, bool) else grade)


def _recipient(stated: dict[str, Any]) -> tuple[Recipient, tuple[str, ...]]:
    """The recipient, and the findings about it.

    A hash or an e-mail address identifies nobody. It is kept for a later claim as `{type}:{identity}`, with
    `${salt}` after it where there is a salt. The identity itself says whether it is a hash: the flag beside
    it only counts against one that is none.
    """
    kind, identity = line(stated.get("type")), trimmed(stated.get("identity"))
    if kind is None or identity is None:
        raise Unreadable("recipient must have a type and an identity")
    if len(identity) > MAX_TEXT:
        raise Unreadable(f"recipient must have at most {MAX_TEXT} characters")
    if values.is_hash(identity):
        salt = line(stated.get("salt"))
        return Recipient(edubadges=f"{kind}:{identity}" + (f"${salt}" if salt else "")), ("recipient-hashed",)
    if stated.get("hashed") is True:
        raise Unreadable("recipient is marked as hashed, but its identity is not a hash, as sha256$00ff")
    try:
        if kind == "email":
            values.email_identifier(identity)
            return Recipient(edubadges=f"email:{identity}", email=identity), ("recipient-email",)
        values.edu_id(identity)
    except ValueError as error:
        raise Unreadable(f"recipient {error}") from None
    if kind == "id":
        return Recipient(edu_id=identity), ()
    return Recipient(edubadges=f"{kind}:{identity}"), ("recipient-other",)


def _evidence(assertion: dict[str, Any]) -> tuple[tuple[Evidence, ...], tuple[str, ...]]:
    """The assertion's own narrative and its pieces of evidence, and the findings about them."""
    evidence = assertion.get("evidence") or []
    pieces = [_piece(piece) for piece in (evidence if isinstance(evidence, list) else [evidence])]
    narrative = text(assertion.get("narrative"))
    accepted = [] if narrative is None else [Evidence(narrative=narrative)]
    accepted += [piece for piece in pieces if piece is not None]
    return tuple(accepted), ("evidence-not-taken",) if None in pieces else ()


def _piece(stated: object) -> Evidence | None:
    """One piece of evidence; None where it is empty, or its address is not a web address."""
    document = stated if isinstance(stated, dict) else {"id": stated}
    url = document.get("id")
    if url is not None and address(url) is None:
        return None
    piece = Evidence(
        url=address(url),
        name=text(document.get("name")),
        narrative=text(document.get("narrative")),
        description=text(document.get("description")),
    )
    return piece if piece != Evidence() else None
