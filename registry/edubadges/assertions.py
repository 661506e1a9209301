"""Reads hosted assertions (Open Badges 2.0), plain, expanded or revoked, into items."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from registry.domain import values
from registry.domain.private_parts import Evidence, Recipient, evidence_text
from registry.edubadges.items import AwardItem, Item, RevokedItem, Unreadable
from registry.edubadges.members import states_more
from registry.edubadges.texts import (
    MAX_TEXT,
    address,
    day,
    is_stated,
    last_day,
    line,
    long_parts,
    members,
    text,
    trimmed,
)

MAX_PIECES = 100
MAX_EVIDENCE_TEXT = 100_000
"""Characters of all evidence of an assertion, which is kept whole: five times what the API accepts."""
"""Pieces of evidence of an assertion: several times what the API accepts."""


def read_assertion(place: str, assertion: dict[str, Any], today: dt.date) -> Item:
    """Returns the item; raises `Unreadable` with what is wrong."""
    reference = address(assertion.get("id"))
    if reference is None:
        raise Unreadable("id must be a web address")
    if assertion.get("revoked") is True:
        return RevokedItem(place, reference, text(assertion.get("revocationReason")) or "")
    if is_stated(assertion.get("revoked")):
        raise Unreadable("revoked must be true or false")
    awarded_on = day(assertion.get("issuedOn"), "issuedOn")
    if awarded_on > today:
        raise Unreadable("issuedOn must not be in the future")
    recipient, recipient_findings = _recipient(members(assertion.get("recipient")))
    grade, grade_findings = _grade(assertion)
    evidence, evidence_findings = _evidence(assertion)
    return AwardItem(
        place,
        reference,
        recipient,
        awarded_on,
        _valid_until(assertion, awarded_on),
        grade,
        evidence or None,
        _badge_class(assertion.get("badge")),
        findings=(
            *recipient_findings,
            *grade_findings,
            *evidence_findings,
            *long_parts(grade, evidence),
            *_others(assertion),
        ),
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


def _grade(assertion: dict[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """The grade of the assertion, which Edubadges puts into the expanded badge class; and the findings."""
    stated = [
        document[name]
        for document in (assertion, members(assertion.get("badge")))
        for name in ("grade_achieved", "gradeAchieved")
        if is_stated(document.get(name))
    ]
    readable = [grade for grade in stated if isinstance(grade, str | int | float) and grade is not True]
    grades = {line(grade if isinstance(grade, str) else str(grade)) for grade in readable}
    if len(readable) < len(stated) or len(grades) > 1:
        return None, ("grade-not-taken",)
    return next(iter(grades), None), ()


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
    more = ("members-not-taken",) if states_more("recipient", stated) else ()
    if values.is_hash(identity):
        salt = _salt(stated.get("salt"))
        return Recipient(edubadges=f"{kind}:{identity}" + (f"${salt}" if salt else "")), (
            "recipient-hashed",
            *more,
        )
    if stated.get("hashed") is True:
        raise Unreadable("recipient is marked as hashed, but its identity is not a hash, as sha256$00ff")
    try:
        if kind == "email":
            values.email_identifier(identity)
            return Recipient(edubadges=f"email:{identity}", email=identity), ("recipient-email", *more)
        values.edu_id(identity)
    except ValueError as error:
        raise Unreadable(f"recipient {error}") from None
    if kind == "id":
        return Recipient(edu_id=identity), more
    return Recipient(edubadges=f"{kind}:{identity}"), ("recipient-other", *more)


def _salt(stated: object) -> str | None:
    """The salt as it was hashed: changed in any way, it would make the hash one that nobody can claim."""
    if stated is None or stated == "":
        return None
    try:
        if isinstance(stated, str) and values.clean_line(stated, values.MAX_IDENTIFIER) == stated:
            return stated
    except ValueError:
        pass
    raise Unreadable(f"recipient must have a salt of at most {values.MAX_IDENTIFIER} visible characters")


def _evidence(assertion: dict[str, Any]) -> tuple[tuple[Evidence, ...], tuple[str, ...]]:
    """The assertion's own narrative and its pieces of evidence, and the findings about them."""
    evidence, narrative = assertion.get("evidence"), assertion.get("narrative")
    stated = evidence if isinstance(evidence, list) else [evidence] if is_stated(evidence) else []
    if len(stated) > MAX_PIECES:
        raise Unreadable(f"must have at most {MAX_PIECES} pieces of evidence")
    pieces = [_piece(piece) for piece in stated]
    accepted = [Evidence(narrative=text(narrative)), *(piece for piece, _ in pieces)]
    if evidence_text(accepted) > MAX_EVIDENCE_TEXT:
        raise Unreadable(f"must have at most {MAX_EVIDENCE_TEXT} characters of evidence")
    odd = is_stated(narrative) and not isinstance(narrative, str)
    return (
        tuple(piece for piece in accepted if piece != Evidence()),
        ("evidence-not-taken",) if odd or not all(whole for _, whole in pieces) else (),
    )


def _piece(stated: object) -> tuple[Evidence, bool]:
    """One piece of evidence, and whether all that is stated of it was taken.

    Nothing is taken of a piece whose address is not a web address.
    """
    document = stated if isinstance(stated, dict) else {"id": stated}
    parts = [document.get(name) for name in ("id", "name", "narrative", "description")]
    url = address(parts[0])
    if is_stated(parts[0]) and url is None:
        return Evidence(), False
    piece = Evidence(url=url, name=line(parts[1]), narrative=text(parts[2]), description=text(parts[3]))
    whole = all(isinstance(part, str) for part in parts if is_stated(part))
    return piece, whole and piece != Evidence() and not states_more("evidence", document)


def _others(assertion: dict[str, Any]) -> Iterable[str]:
    """The findings that the assertion states what is not read: the learner's account, or something else."""
    if is_stated(assertion.get("user")) or is_stated(members(assertion.get("badge")).get("user")):
        yield "user-not-taken"
    if states_more("assertion", assertion):
        yield "members-not-taken"
