"""Awards: as an institution states them, prepared in the caller's thread, and as commands that decide."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import msgspec

from registry.domain import badge as badges
from registry.domain import imports
from registry.domain.badge import AwardTerms, Badge
from registry.domain.errors import ModuleUnknown, ReferenceTaken
from registry.domain.events import BadgeAwarded, Commitments, differing
from registry.domain.imports import ImportedModule
from registry.domain.institution import Institution, Origin
from registry.domain.module import Module
from registry.domain.private_parts import SALT, Evidence, PrivateParts, Recipient, Stated, commit_award
from registry.event_store.vault import encoded
from registry.keys import EDUID_SCOPE, Keys, RandomBytes, random_id
from registry.recording.decisions import BadgeOutcome, Decision, Known

MAX_MODULES = 1_000


class Statement(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """The members that are compared when a reference comes again: name and e-mail are not."""

    module_id: str
    learner: Recipient
    awarded_on: dt.date
    module_version: int | None = None
    valid_until: dt.date | None = None
    grade: str | None = None
    evidence: tuple[Evidence, ...] | None = None
    supersedes: str | None = None


class StatedAward(msgspec.Struct, frozen=True, gc=False):
    """An award as an institution states it. Reference, recipient, grade and evidence are private."""

    brin: str
    reference: str
    module_id: str | None
    module_reference: str | None
    recipient: Recipient
    terms: AwardTerms
    origin: Origin
    grade: str | None = None
    evidence: tuple[Evidence, ...] | None = None

    @property
    def not_compared(self) -> Sequence[str]:
        """Pointers to members that may differ when the reference comes again."""
        return ()

    @property
    def module_pointer(self) -> str:
        return "/moduleReference" if self.module_id is None else "/moduleId"

    def statement(self, module_id: str) -> Statement:
        return Statement(
            module_id,
            _identifier(self.recipient),
            self.terms.awarded_on,
            self.terms.module_version,
            self.terms.valid_until,
            self.grade,
            self.evidence,
            self.terms.supersedes,
        )


class ImportedAward(StatedAward, frozen=True):
    """An award of the past, with what was noted on reading it.

    `source` is its module as the source states it; None where the registry's own is meant. `hosted`: it is
    an assertion at its address. The grade and evidence that its learner shows there may change from day to
    day, and make no other award of it.
    """

    source: ImportedModule | None = None
    findings: tuple[str, ...] = ()
    hosted: bool = False

    @property
    def not_compared(self) -> Sequence[str]:
        return ("/moduleVersion", "/grade", "/evidence", "/supersedes") if self.hosted else ()


def _recorded_statement(award: BadgeAwarded, private: PrivateParts) -> Statement:
    """The statement of a recorded award, as it was first made."""
    stated = private.stated or Stated()
    return Statement(
        award.module_id,
        _identifier(private.recipient or Recipient()),
        award.awarded_on,
        stated.module_version,
        award.valid_until,
        stated.grade,
        private.evidence,
        award.supersedes,
    )


def _identifier(recipient: Recipient) -> Recipient:
    """What identifies a learner, as it is compared."""
    return Recipient(
        edu_id=recipient.edu_id and recipient.edu_id.lower(),
        eppn=recipient.eppn and recipient.eppn.lower(),
        edubadges=recipient.edubadges and recipient.edubadges.lower(),
    )


class AwardBadge(msgspec.Struct, frozen=True, gc=False):
    """An award, prepared (`Preparation`): with all that follows from it alone.

    The same award again answers as it stands; another one under its reference is refused. `learner_id` is
    for a learner whom nobody knows yet.
    """

    stated: StatedAward
    badge_id: str
    module_id: str
    subjects: tuple[str, ...]
    alias_key: bytes | None
    learner_id: str
    commitments: Commitments
    private: bytes

    @property
    def reads_private_parts(self) -> bool:
        return True

    def decide(self, known: Known) -> Decision[BadgeOutcome]:
        badge = known.badge(self.badge_id)
        if badge is not None:
            return Decision(self._as_recorded(badge, known))
        brin, alias_key = self.stated.brin, self.alias_key
        institution = known.admitted(brin)
        module = known.module(self.module_id)
        if module is None:
            raise ModuleUnknown(self.stated.module_pointer)
        learner_id = None if alias_key is None else known.learner(alias_key)
        if learner_id is None:
            learner_id = self.learner_id
        else:
            alias_key = None
        fact = self.fact(institution, module, learner_id, known)
        status, _ = badges.status(
            known.now,
            revoked_since=None,
            suspended_since=None,
            valid_until=fact.valid_until,
            active_since=known.now,
        )
        outcome = BadgeOutcome(
            id=self.badge_id,
            learner_id=learner_id,
            module_id=self.module_id,
            module_version=fact.module_version,
            status=status,
            created=True,
        )
        return Decision(
            outcome,
            fact,
            private=self.private,
            institution=brin,
            learner_id=learner_id,
            alias_key=alias_key,
        )

    def fact(self, institution: Institution, module: Module, learner_id: str, known: Known) -> BadgeAwarded:
        terms = self.stated.terms
        return badges.award(
            institution,
            module,
            known.badge(terms.supersedes) if terms.supersedes else None,
            terms,
            learner_id,
            self.commitments,
            known.today,
            self.stated.origin,
            self.stated.module_pointer,
        )

    def _as_recorded(self, badge: Badge, known: Known) -> BadgeOutcome:
        """The award as it stands. After the learner's erasure there is nothing left to compare."""
        private = known.private_parts.get(self.badge_id)
        if private is not None and (differences := self._differences(badge.award, private)):
            raise ReferenceTaken(f"award, the badge {badge.id}", differences)
        status, _ = badges.status_of(badge, known.now)
        return BadgeOutcome(
            id=badge.id,
            learner_id=badge.award.learner_id,
            module_id=badge.award.module_id,
            module_version=badge.award.module_version,
            status=status,
            position=badge.award_position,
        )

    def _differences(self, award: BadgeAwarded, private: PrivateParts) -> list[str]:
        """Pointers to the members that differ from the award as it was first stated and as it stands.

        Of the members that are compared, a correction changes the grade alone.
        """
        stated = self.stated.statement(self.module_id)
        excused = set(self.stated.not_compared)
        if stated.grade == private.grade:
            excused.add("/grade")
        differences = [
            pointer
            for pointer in differing(stated, _recorded_statement(award, private))
            if pointer not in excused
        ]
        return [self.stated.module_pointer if pointer == "/moduleId" else pointer for pointer in differences]


class ImportAward(AwardBadge, frozen=True):
    """An award of the past: recorded with findings where the API would refuse it."""

    stated: ImportedAward

    def fact(self, institution: Institution, module: Module, learner_id: str, known: Known) -> BadgeAwarded:
        return imports.award(
            institution,
            module,
            self.stated.terms,
            self.stated.source,
            self.stated.findings,
            learner_id,
            self.commitments,
            known.today,
            self.stated.origin,
            self.stated.module_pointer,
        )


class Preparation:
    """Prepares awards: draws and computes all that does not depend on what is recorded.

    It works in the caller's thread, one award after the other: its random bytes are for nobody else.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys, self._random = keys, RandomBytes()
        self._module_ids: dict[tuple[str, str | None], str] = {}

    def prepare(self, stated: StatedAward) -> AwardBadge:
        keys, random = self._keys, self._random
        badge_id = keys.made_id("badge", stated.brin, stated.reference)
        module_id = stated.module_id or self._module_id(stated.brin, stated.module_reference or "")
        commitments, private = commit_award(
            stated.recipient,
            stated.reference,
            stated.grade,
            stated.evidence,
            stated.terms.module_version,
            random.draw(4 * SALT),
        )
        subjects: tuple[str, ...] = (badge_id, stated.brin, module_id)
        if stated.terms.supersedes is not None:
            subjects = (*subjects, stated.terms.supersedes)
        kind = ImportAward if isinstance(stated, ImportedAward) else AwardBadge
        return kind(
            stated,  # type: ignore[arg-type] # an import's award by the line before
            badge_id,
            module_id,
            subjects,
            self._alias_key(stated),
            random_id(random),
            commitments,
            encoded(private),
        )

    def prepare_all(self, stated: Sequence[StatedAward]) -> list[AwardBadge]:
        return [self.prepare(award) for award in stated]

    def _module_id(self, brin: str, reference: str) -> str:
        """Most awards of a batch are for few modules."""
        module_id = self._module_ids.get((brin, reference))
        if module_id is None:
            if len(self._module_ids) >= MAX_MODULES:
                self._module_ids.clear()
            module_id = self._module_ids[brin, reference] = self._keys.made_id("module", brin, reference)
        return module_id

    def _alias_key(self, stated: StatedAward) -> bytes | None:
        recipient = stated.recipient
        if recipient.edu_id is not None:
            return self._keys.alias_key("eduId", EDUID_SCOPE, recipient.edu_id)
        if recipient.eppn is not None:
            return self._keys.alias_key("eppn", stated.brin, recipient.eppn)
        return None
