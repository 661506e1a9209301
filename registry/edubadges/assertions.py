"""Hosted assertions (Open Badges 2.0), plain and expanded, and what Edubadges answers once one is revoked."""

from __future__ import annotations

import datetime as dt
from typing import Any

from registry.domain import values
from registry.domain.private_parts import Evidence, Recipient
from registry.edubadges.items import Award, Item, Revoked, Unreadable
from registry.edubadges.texts import address, day, last_day, line, members, text


def read_assertion(place: str, stated: dict[str, Any], today: dt.date) -> Item:
    """The item; raises `Unreadable` with what is wrong."""
    reference = address(stated.get("id"))
    if reference is None:
        raise Unreadable("has no id that is a web address")
    if stated.get("revoked"):
        return Revoked(place, reference, text(stated.get("revocationReason")) or "")
    awarded_on = day(stated.get("issuedOn"), "issuedOn")
    if awarded_on > today:
        raise Unreadable("has an issuedOn in the future")
    recipient, of_recipient = _recipient(members(stated.get("recipient")))
    evidence, of_evidence = _evidence(stated)
    return Award(
        place,
        reference,
        recipient,
        awarded_on,
        _valid_until(stated, awarded_on),
        _grade(stated),
        evidence or None,
        _badge(stated.get("badge")),
        (*of_recipient, *of_evidence),
    )


def _badge(stated: object) -> str:
    found = address(stated.get("id") if isinstance(stated, dict) else stated)
    if found is None:
        raise Unreadable("names no badge class by a web address")
    return found


def _valid_until(stated: dict[str, Any], awarded_on: dt.date) -> dt.date | None:
    if stated.get("expires") is None:
        return None
    last = last_day(stated["expires"], "expires")
    if last < awarded_on:
        raise Unreadable("expires before it was issued")
    return last


def _grade(stated: dict[str, Any]) -> str | None:
    """Edubadges shows it with the expanded badge class, though it is the assertion's."""
    badge = members(stated.get("badge"))
    found = next(
        (
            where[name]
            for where in (stated, badge)
            for name in ("grade_achieved", "gradeAchieved")
            if name in where
        ),
        None,
    )
    return line(str(found) if isinstance(found, int | float) and not isinstance(found, bool) else found)


def _recipient(stated: dict[str, Any]) -> tuple[Recipient, tuple[str, ...]]:
    """Who received it. A hash or an e-mail address finds nobody, and is kept for a later claim: the kind,
    `:`, what is stated, and after `$` the salt.
    """
    kind, identity = line(stated.get("type")), line(stated.get("identity"))
    if kind is None or identity is None:
        raise Unreadable("names no recipient")
    if stated.get("hashed"):
        salt = line(stated.get("salt"))
        return Recipient(edubadges=f"{kind}:{identity}" + (f"${salt}" if salt else "")), ("recipient-hashed",)
    if kind == "email":
        return Recipient(edubadges=f"email:{identity}", email=identity), ("recipient-email",)
    _refuse_citizen_number(identity)
    if kind == "id":
        return Recipient(edu_id=identity), ()
    return Recipient(edubadges=f"{kind}:{identity}"), ("recipient-other",)


def _refuse_citizen_number(identity: str) -> None:
    try:
        values.no_citizen_number_before_at(identity)
    except ValueError:
        raise Unreadable("has a recipient of nine digits, who may be named by a citizen number") from None


def _evidence(stated: dict[str, Any]) -> tuple[tuple[Evidence, ...], tuple[str, ...]]:
    """The evidence, and the assertion's own narrative before it."""
    found = stated.get("evidence") or []
    taken = [_evidence_item(item) for item in (found if isinstance(found, list) else [found])]
    narrative = text(stated.get("narrative"))
    items = [] if narrative is None else [Evidence(narrative=narrative)]
    items += [item for item in taken if item is not None]
    return tuple(items), ("evidence-not-taken",) if None in taken else ()


def _evidence_item(stated: object) -> Evidence | None:
    """One piece; None where nothing of it can be taken, or where its address is none of the web."""
    item = stated if isinstance(stated, dict) else {"id": stated}
    url = item.get("id")
    if url is not None and address(url) is None:
        return None
    made = Evidence(
        url=address(url),
        name=text(item.get("name")),
        narrative=text(item.get("narrative")),
        description=text(item.get("description")),
    )
    return made if made != Evidence() else None
