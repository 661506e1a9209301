"""The commands: each loads, decides, and saves once. What they share is in `registry.recording.decisions`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from registry.domain import badge as badges
from registry.domain import imports
from registry.domain import institution as institutions
from registry.domain import module as modules
from registry.domain.errors import InstitutionUnknown, PrivatePartsErased
from registry.domain.events import (
    BadgeSuspensionReason,
    ExemptionRule,
    ModuleContent,
    RevocationReason,
    SuspensionReason,
)
from registry.domain.imports import ImportedModule
from registry.domain.institution import Origin, Particulars
from registry.recording.award_preparation import AwardCommand, Preparation, PreparedAward
from registry.recording.awards import Awards
from registry.recording.commitments import commit_correction, commit_note, new_salt
from registry.recording.decisions import BadgeOutcome, Outcome, RecordingApplication, found
from registry.recording.imported_awards import ImportedAward, settle_imported
from registry.recording.pages import Settled
from registry.recording.revocations import RevocationCommand, Revocations
from registry.recording.stream_cache import Reads


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


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

    def exempt(
        self, brin: str, module_reference: str, rule: ExemptionRule, reason: str, origin: Origin
    ) -> Outcome:
        def decide(reads: Reads) -> Outcome:
            state = found(reads.institution(brin), InstitutionUnknown)
            fact = institutions.exempt(state, module_reference, rule, reason, origin)
            return self._save(reads, brin, state, fact, created=fact is not None)

        return self._decide(decide)

    # Modules: an institution's commands.

    def register_module(self, brin: str, reference: str, content: ModuleContent, origin: Origin) -> Outcome:
        module_id = self.keys.made_id("module", brin, reference)

        def decide(reads: Reads) -> Outcome:
            institution = self.admitted(reads, brin)
            state = reads.module(module_id)
            fact = modules.register(state, institution, reference, content, self.today(), origin)
            number = (state.version_of(content) if state else None) or 1
            return self._save(reads, module_id, state, fact, version=number)

        return self._decide(decide)

    def revise_module(
        self, brin: str, module_id: str, reference: str, content: ModuleContent, origin: Origin
    ) -> Outcome:
        def decide(reads: Reads) -> Outcome:
            institution = self.admitted(reads, brin)
            state = self._own_module(reads, brin, module_id)
            fact = modules.revise(state, institution, reference, content, self.today(), origin)
            number = state.latest + 1 if fact else state.latest
            return self._save(reads, module_id, state, fact, version=number, created=fact is not None)

        return self._decide(decide)

    def import_module(self, brin: str, stated: ImportedModule, origin: Origin) -> Outcome:
        """Registers a module of the past, or completes it, where the source says more than is recorded."""
        module_id = self.keys.made_id("module", brin, stated.reference)

        def decide(reads: Reads) -> Outcome:
            institution = self.admitted(reads, brin)
            state = reads.module(module_id)
            fact = imports.module(state, institution, stated, self.today(), origin)
            return self._save(reads, module_id, state, fact, created=fact is not None)

        return self._decide(decide)

    def withdraw_module(self, brin: str, module_id: str, from_: dt.date | None, origin: Origin) -> Outcome:
        def decide(reads: Reads) -> Outcome:
            state = self._own_module(reads, brin, module_id)
            fact = modules.withdraw(state, from_, self.today(), origin)
            return self._save(reads, module_id, state, fact, version=state.latest)

        return self._decide(decide)

    # Badges: an institution's commands.

    def award_badges(self, commands: Sequence[AwardCommand]) -> list[Settled]:
        """Awards; per command, in order, its outcome (`created` where it is new) or why it has none."""
        prepare = self.preparation().prepare
        return self.awards([prepare(command) for command in commands]).settle()

    def preparation(self) -> Preparation:
        """For the awards of one caller."""
        return Preparation(self)

    def awards(self, prepared: Sequence[PreparedAward[AwardCommand]]) -> Awards[AwardCommand]:
        """A page of awards, to be settled."""
        return Awards(self, prepared)

    def award_badge(self, command: AwardCommand) -> BadgeOutcome:
        """Awards; the same award again answers as it stands, another under its reference is refused."""
        (settled,) = self.award_badges([command])
        if isinstance(settled, Exception):
            raise settled
        return settled

    def revoke_badge(
        self,
        brin: str,
        badge_id: str,
        reason: RevocationReason,
        effective_on: dt.date | None,
        note: str | None,
        origin: Origin,
    ) -> BadgeOutcome:
        command = RevocationCommand(brin, badge_id, reason, origin, effective_on, note)
        (settled,) = self.revocations([command]).settle()
        if isinstance(settled, Exception):
            raise settled
        return settled

    def revocations(self, commands: Sequence[RevocationCommand]) -> Revocations:
        """A page of revocations, to be settled."""
        return Revocations(self, commands)

    def import_awards(self, commands: Sequence[ImportedAward]) -> list[Settled]:
        """Records a page of awards of the past, as `registry.recording.imported_awards.settle_imported`."""
        return settle_imported(self, commands)

    def badge_id(self, brin: str, reference: str) -> str:
        """The id of the award that this institution made, or would make, under a reference."""
        return self.keys.made_id("badge", brin, reference)

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
            now = self.clock()
            status, _ = badges.status(
                now,
                revoked_since=None,
                suspended_since=None,
                valid_until=state.award.valid_until,
                active_since=now,
            )
            return self._save_badge(reads, state, fact, None, status)

        return self._decide(decide)

    def correct_badge(
        self, brin: str, badge_id: str, grade: str | None, name: str | None, origin: Origin
    ) -> BadgeOutcome:
        """Corrects a wrong grade or the spelling of a name; anything else is awarded anew."""

        def decide(reads: Reads) -> BadgeOutcome:
            state = self._own_badge(reads, brin, badge_id)
            current = found(self.private_parts([badge_id]).get(badge_id), PrivatePartsErased)
            commitments, private = commit_correction(current, grade, name)
            fact = badges.correct(state, commitments, new_salt(), origin)
            status, _ = badges.status_of(state, self.clock())
            return self._save_badge(reads, state, fact, private, status)

        return self._decide(decide)
