"""Refusals: a class and a sentence for each. Their HTTP statuses are in `api.http.problems`.

A sentence says what is wrong and how to fix it, and never contains personal data.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a defect
    """A rule of the registry forbids the request; nothing was recorded.

    `errors` are the members that are to blame, where there are any, each as (JSON pointer, sentence).
    """

    errors: Sequence[tuple[str, str]] = ()


class InvalidInput(Refusal):
    """Every error of an invalid request."""

    def __init__(self, *errors: tuple[str, str]) -> None:
        super().__init__("The request is invalid: `errors` lists everything that must be changed.")
        self.errors = errors


class InstitutionUnknown(Refusal):
    def __init__(self) -> None:
        super().__init__("No institution with this BRIN is in the registry; check the BRIN.")


class InstitutionNotAdmitted(Refusal):
    def __init__(self, brin: str) -> None:
        super().__init__(f"{brin} is not admitted to the registry; ask the registrar to admit it.")


class OutsideAdmission(Refusal):
    errors = (("/awardedOn", "must be a day of the institution's admission"),)

    def __init__(self, brin: str, day: dt.date) -> None:
        super().__init__(f"{brin} was not admitted on {day}; awardedOn must be a day of its admission.")


class AdmissionEnded(Refusal):
    def __init__(self, brin: str, until: dt.date) -> None:
        super().__init__(
            f"The admission of {brin} ended on {until}; ask the registrar to extend it before you award."
        )


class InstitutionIsSuspended(Refusal):
    def __init__(self, brin: str) -> None:
        super().__init__(
            f"{brin} is suspended: it may revoke badges, but not award them until the suspension ends."
        )


class SuspendedOnThatDay(Refusal):
    errors = (("/awardedOn", "must be a day outside every suspension"),)

    def __init__(self, brin: str, day: dt.date) -> None:
        super().__init__(f"{brin} was suspended on {day}; awardedOn must be a day outside every suspension.")


class AlreadySuspended(Refusal):
    errors = (("/reason", "must be the reason of the suspension"),)

    def __init__(self, reason: str) -> None:
        super().__init__(f"It is already suspended for another reason ({reason}); reinstate it first.")


class TooManyChanges(Refusal):
    """What is recorded of one subject is read whole for each decision about it, so it is bounded."""

    def __init__(self, what: str, most: int, remedy: str) -> None:
        super().__init__(f"{what}: {most} is the maximum; {remedy}.")


class ModuleUnknown(Refusal):
    def __init__(self, pointer: str) -> None:
        super().__init__("No module with this id or reference is registered; register it first.")
        self.errors = ((pointer, "must name a registered module"),)


class ModuleNotFound(Refusal):
    def __init__(self) -> None:
        super().__init__("No module with this id is registered; check the id.")


class ModuleOfAnother(Refusal):
    """`pointer` is to the member that names the module, where a member of the body does."""

    def __init__(self, pointer: str | None = None) -> None:
        super().__init__("The module belongs to another institution; use a module of your own.")
        if pointer is not None:
            self.errors = ((pointer, "must name a module of this institution"),)


class ModuleVersionUnknown(Refusal):
    def __init__(self, version: int, latest: int) -> None:
        super().__init__(
            f"The module has no version {version}; omit moduleVersion to use the latest, {latest}."
        )
        self.errors = (("/moduleVersion", f"must be at most {latest}"),)


class ModuleIsWithdrawn(Refusal):
    """`pointer` is to the member that names the module, where a member of the body does."""

    def __init__(self, since: dt.date, pointer: str | None = None) -> None:
        super().__init__(
            f"The module is withdrawn from {since}; register a new module for new awards or versions."
        )
        if pointer is not None:
            self.errors = ((pointer, "must name a module that is not withdrawn"),)


class ModuleAlreadyWithdrawn(Refusal):
    errors = (("/from", "must be the day of the withdrawal, or left out"),)

    def __init__(self, since: dt.date) -> None:
        super().__init__(
            f"The module is already withdrawn, and the day cannot be changed; send {since}, or omit from."
        )


class ReferenceTaken(Refusal):
    """`what` the reference stands for, and pointers to the members that differ, never their values."""

    def __init__(self, what: str, pointers: Sequence[str]) -> None:
        super().__init__(
            f"This reference is already used for a different {what}. It differs in {', '.join(pointers)}:"
            " send the same content as before, or use another reference."
        )
        self.errors = tuple((pointer, "must be the same as before") for pointer in pointers)


class ReferenceFixed(Refusal):
    errors = (("/reference", "must be the module's reference"),)

    def __init__(self) -> None:
        super().__init__(
            "A version keeps its module's reference; to use another reference, register another module."
        )


class StudyLoadOutsidePolicy(Refusal):
    errors = (("/studyLoad", "must be within the policy"),)


class TargetGroupOutsidePolicy(Refusal):
    errors = (("/targetGroup", "must be one that the policy allows"),)

    def __init__(self) -> None:
        super().__init__(
            "initial-students is allowed only for hbo, from 2025-05-01 through 2027-04-30; omit targetGroup."
        )


class EventTooLarge(Refusal):
    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"The event would be {size} bytes, and the maximum is {limit}; shorten the texts.")


class BadgeUnknown(Refusal):
    def __init__(self) -> None:
        super().__init__("No such badge is known; check its id or reference.")


class BadgeIsRevoked(Refusal):
    def __init__(self) -> None:
        super().__init__(
            "The badge is revoked, and a revocation is permanent; award it again with supersedes."
        )


class PrivatePartsErased(Refusal):
    def __init__(self) -> None:
        super().__init__("The badge's private parts were erased; there is nothing to correct.")


class RevokedForAnotherReason(Refusal):
    errors = (("/reason", "must be the reason of the revocation"),)

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The badge is already revoked for another reason ({reason}), which cannot be changed."
        )


class SupersededUnknown(Refusal):
    errors = (("/supersedes", "must be the id of a badge of this institution"),)

    def __init__(self) -> None:
        super().__init__("supersedes must be the id of a badge that this institution awarded and revoked.")


class SupersededNotRevoked(Refusal):
    errors = (("/supersedes", "must be the id of a revoked badge"),)

    def __init__(self) -> None:
        super().__init__("The badge that supersedes names is not revoked; revoke it first.")
