"""The commands: each loads, decides, and saves once. What they share is in `registry.recording`."""

from __future__ import annotations

import datetime as dt
import hmac
import uuid
from dataclasses import dataclass
from typing import Literal

from registry.domain import badge as badges
from registry.domain import institution as institutions
from registry.domain import module as modules
from registry.domain.badge import Award
from registry.domain.errors import BadgeUnknown, InstitutionUnknown, ModuleUnknown, ReferenceTaken
from registry.domain.institution import Origin, Particulars
from registry.events import (
    BadgeSuspensionReason,
    ModuleContent,
    RevocationReason,
    SuspensionReason,
    canonical,
)
from registry.reads import Reads
from registry.recording import BadgeOutcome, Outcome, RecordingApplication, found
from registry.vault import Evidence, Recipient, commit_award, commit_note, new_salt

EDUID_SCOPE = "eduid.nl"


@dataclass(frozen=True)
class AwardCommand:
    """An award as an institution states it. `reference`, recipient, grade and evidence are private."""

    reference: str
    module_id: str | None
    module_reference: str | None
    recipient: Recipient
    award: Award
    grade: str | None = None
    evidence: tuple[Evidence, ...] | None = None


class Registry(RecordingApplication):
    """The one place where facts are recorded."""

    # Institutions: the registrar's commands.

    def admit_institution(self, brin: str, stated: Particulars, origin: Origin) -> Outcome:
        def decide(reads: Reads) -> Outcome:
            state = reads.institution(brin)
            fact = institutions.admit(state, stated, origin)
            return self._save(reads, brin, state, fact)

        return self._decide(decide)

    def suspend_institution(
        self, brin: str, reason: SuspensionReason, note: str | None, origin: Origin
    ) -> Outcome:
        def decide(reads: Reads) -> Outcome:
            state = found(reads.institution(brin), InstitutionUnknown)
            committed, private = commit_note(note)
            fact = institutions.suspend(state, reason, committed, origin)
            return self._save(reads, brin, state, fact, private, brin)

        return self._decide(decide)

    def reinstate_institution(self, brin: str, origin: Origin) -> Outcome:
        def decide(reads: Reads) -> Outcome:
            state = found(reads.institution(brin), InstitutionUnknown)
            return self._save(reads, brin, state, institutions.reinstate(state, origin))

        return self._decide(decide)

    # Modules: an institution's commands.

    def register_module(self, brin: str, reference: str, content: ModuleContent, origin: Origin) -> Outcome:
        module_id = self._keys.made_id("module", brin, reference)

        def decide(reads: Reads) -> Outcome:
            institution = self._admitted(reads, brin)
            state = reads.module(module_id)
            fact = modules.register(state, institution, reference, content, self._today(), origin)
            number = (state.version_of(content) if state else None) or 1
            return self._save(reads, module_id, state, fact, version=number)

        return self._decide(decide)

    def revise_module(
        self, brin: str, module_id: str, reference: str, content: ModuleContent, origin: Origin
    ) -> Outcome:
        def decide(reads: Reads) -> Outcome:
            institution = self._admitted(reads, brin)
            state = self._own_module(reads, brin, module_id)
            fact = modules.revise(state, institution, reference, content, self._today(), origin)
            number = state.latest + 1 if fact else state.latest
            return self._save(reads, module_id, state, fact, version=number, created=fact is not None)

        return self._decide(decide)

    def withdraw_module(self, brin: str, module_id: str, from_: dt.date | None, origin: Origin) -> Outcome:
        def decide(reads: Reads) -> Outcome:
            state = self._own_module(reads, brin, module_id)
            fact = modules.withdraw(state, from_, self._today(), origin)
            return self._save(reads, module_id, state, fact, version=state.latest)

        return self._decide(decide)

    # Badges: an institution's commands.

    def award_badge(self, brin: str, command: AwardCommand, origin: Origin) -> BadgeOutcome:
        """Awards; the same award again answers as it stands, another under its reference is refused."""
        badge_id = self._keys.made_id("badge", brin, command.reference)
        module_id = command.module_id or self._keys.made_id("module", brin, command.module_reference or "")
        alias = self._alias(brin, command.recipient)
        sameness = self._keys.sameness(_statement(command, module_id))

        def decide(reads: Reads) -> BadgeOutcome:
            known, learner_id, read_at = self.event_recorder.look_up(badge_id, alias)
            if known:
                return self._known_award(badge_id, sameness)
            institution = self._admitted(reads, brin)
            module = found(reads.module(module_id), ModuleUnknown)
            superseded = self._badge(command.award.supersedes) if command.award.supersedes else None
            commitments, private = commit_award(
                command.recipient, command.reference, command.grade, command.evidence, sameness
            )
            learner = learner_id or str(uuid.uuid4())
            fact = badges.award(
                institution, module, superseded, command.award, learner, commitments, self._today(), origin
            )
            if learner_id is not None:
                reads.relies_on(learner_id, read_at)
            position = self._append(
                reads, badge_id, 1, fact, private, brin, learner, None if learner_id else alias
            )
            status, _ = badges.status(
                self._clock(),
                revoked_since=None,
                suspended_since=None,
                valid_until=fact.valid_until,
                active_since=self._clock(),
            )
            return BadgeOutcome(
                badge_id, learner, module_id, fact.module_version, status, position, created=True
            )

        return self._decide(decide, on_kept=True)

    def revoke_badge(
        self,
        brin: str,
        badge_id: str,
        reason: RevocationReason,
        effective_on: dt.date | None,
        note: str | None,
        origin: Origin,
    ) -> BadgeOutcome:
        def decide(reads: Reads) -> BadgeOutcome:
            state = self._own_badge(reads, brin, badge_id)
            committed, private = commit_note(note)
            fact = badges.revoke(state, reason, effective_on, new_salt(), committed, self._today(), origin)
            return self._save_badge(reads, state, fact, private, "revoked")

        return self._decide(decide)

    def suspend_badge(
        self, brin: str, badge_id: str, reason: BadgeSuspensionReason, note: str | None, origin: Origin
    ) -> BadgeOutcome:
        def decide(reads: Reads) -> BadgeOutcome:
            state = self._own_badge(reads, brin, badge_id)
            committed, private = commit_note(note)
            fact = badges.suspend(state, reason, new_salt(), committed, origin)
            return self._save_badge(reads, state, fact, private, "suspended")

        return self._decide(decide)

    def reinstate_badge(self, brin: str, badge_id: str, origin: Origin) -> BadgeOutcome:
        def decide(reads: Reads) -> BadgeOutcome:
            state = self._own_badge(reads, brin, badge_id)
            fact = badges.reinstate(state, new_salt(), origin)
            now = self._clock()
            status, _ = badges.status(
                now,
                revoked_since=None,
                suspended_since=None,
                valid_until=state.award.valid_until,
                active_since=now,
            )
            return self._save_badge(reads, state, fact, None, status)

        return self._decide(decide)

    def _known_award(self, badge_id: str, sameness: bytes) -> BadgeOutcome:
        state = found(self._badge(badge_id), BadgeUnknown)
        private = self.event_recorder.private_parts(self._vault, badge_id)
        if private is not None and not hmac.compare_digest(private.sameness or "", sameness.hex()):
            raise ReferenceTaken("badge")
        status, _ = badges.status_of(state, self._clock())
        award = state.award
        return BadgeOutcome(
            badge_id, award.learner_id, award.module_id, award.module_version, status, state.award_position
        )

    def _alias(self, brin: str, recipient: Recipient) -> bytes:
        if recipient.edu_id is not None:
            return self._keys.alias_key("eduId", EDUID_SCOPE, recipient.edu_id)
        return self._keys.alias_key("eppn", brin, recipient.eppn or "")


def _statement(command: AwardCommand, module_id: str) -> bytes:
    """What is compared when a reference comes again (contract section 2); name and e-mail are not."""
    kind: Literal["eduId", "eppn"] = "eduId" if command.recipient.edu_id is not None else "eppn"
    identifier = command.recipient.edu_id or command.recipient.eppn or ""
    stated = {
        "moduleId": module_id,
        "moduleVersion": command.award.module_version,
        "learner": {kind: identifier.lower()},
        "awardedOn": command.award.awarded_on,
        "validUntil": command.award.valid_until,
        "grade": command.grade,
        "evidence": command.evidence,
        "supersedes": command.award.supersedes,
    }
    return canonical({name: value for name, value in stated.items() if value is not None})
