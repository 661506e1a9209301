"""Refusals: one class each, one sentence each. HTTP knows their statuses, not this module.

A sentence says what was wrong and how to mend it, and never holds personal data.
"""

from __future__ import annotations

import datetime as dt


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not an error of ours
    """A rule of the registry was against it; nothing was recorded."""


class InvalidInput(Refusal):
    """Members that can never be right, all at once: (JSON pointer, what is wrong) each."""

    def __init__(self, *errors: tuple[str, str]) -> None:
        super().__init__("The request has members that are not as the contract asks; see errors.")
        self.errors = errors


class InstitutionUnknown(Refusal):
    def __init__(self) -> None:
        super().__init__("No institution with this BRIN is in the registry.")


class InstitutionNotAdmitted(Refusal):
    def __init__(self, brin: str) -> None:
        super().__init__(f"{brin} is not admitted to the registry; ask the registrar to admit it.")


class OutsideAdmission(Refusal):
    def __init__(self, brin: str, day: dt.date) -> None:
        super().__init__(f"{brin} was not admitted on {day}; an award lies within the admission.")


class AdmissionEnded(Refusal):
    def __init__(self, brin: str, until: dt.date) -> None:
        super().__init__(f"The admission of {brin} ended on {until}; it may revoke, but not award.")


class InstitutionIsSuspended(Refusal):
    def __init__(self, brin: str) -> None:
        super().__init__(f"{brin} is suspended; it may revoke, but not award.")


class SuspendedOnThatDay(Refusal):
    def __init__(self, brin: str, day: dt.date) -> None:
        super().__init__(f"{brin} was suspended on {day}; an award lies outside every suspension.")


class AlreadySuspended(Refusal):
    def __init__(self, reason: str) -> None:
        super().__init__(f"It is suspended already, for another reason ({reason}); reinstate it first.")


class ModuleUnknown(Refusal):
    def __init__(self) -> None:
        super().__init__("No module with this id or reference is registered; register it first.")


class ModuleNotFound(Refusal):
    def __init__(self) -> None:
        super().__init__("No module with this id is registered.")


class ModuleOfAnother(Refusal):
    def __init__(self) -> None:
        super().__init__("The module is another institution's.")


class ModuleVersionUnknown(Refusal):
    def __init__(self, version: int, latest: int) -> None:
        super().__init__(f"The module has no version {version}; its latest is {latest}.")


class ModuleIsWithdrawn(Refusal):
    def __init__(self, since: dt.date) -> None:
        super().__init__(f"The module is withdrawn from {since}; it takes no new award or version.")


class ModuleAlreadyWithdrawn(Refusal):
    def __init__(self, since: dt.date) -> None:
        super().__init__(f"The module is withdrawn already, from {since}; that stands.")


class ReferenceTaken(Refusal):
    def __init__(self, what: str) -> None:
        super().__init__(
            f"This reference is already the reference of a {what} with other content; "
            "send the same content again, or use another reference."
        )


class ReferenceFixed(Refusal):
    def __init__(self) -> None:
        super().__init__("A version keeps the reference of its module; register another module for another.")


class StudyLoadOutsidePolicy(Refusal):
    pass


class TargetGroupOutsidePolicy(Refusal):
    def __init__(self) -> None:
        super().__init__("initial-students is for hbo from 2025-05-01 through 2027-04-30 only.")


class EventTooLarge(Refusal):
    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"Recorded, this would take {size} bytes; the limit is {limit}. Shorten the texts.")


class BadgeUnknown(Refusal):
    def __init__(self) -> None:
        super().__init__("No badge with this id is known here.")


class BadgeIsRevoked(Refusal):
    def __init__(self) -> None:
        super().__init__("The badge is revoked, and a revocation is for ever.")


class PrivatePartsErased(Refusal):
    def __init__(self) -> None:
        super().__init__("The badge's private parts were erased; there is nothing to correct.")


class RevokedForAnotherReason(Refusal):
    def __init__(self, reason: str) -> None:
        super().__init__(f"The badge is revoked already, for another reason ({reason}); that stands.")


class SupersededUnknown(Refusal):
    def __init__(self) -> None:
        super().__init__("supersedes names no badge of this institution; name one that it revoked.")


class SupersededNotRevoked(Refusal):
    def __init__(self) -> None:
        super().__init__("supersedes names a badge that is not revoked; revoke it first.")
