"""Awards as an institution states them, and all that follows from one alone, whatever is recorded."""

from __future__ import annotations

import datetime as dt
from typing import Generic, TypeVar

import msgspec

from registry.domain.badge import Award
from registry.domain.events import Commitments, canonical
from registry.domain.institution import Origin
from registry.domain.private_parts import Evidence, Recipient
from registry.keys import Chance
from registry.recording.commitments import commit_award
from registry.recording.decisions import RecordingApplication

EDUID_SCOPE = "eduid.nl"
MOST_MODULES = 1_000


class Statement(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """What makes two statements of one award the same (contract section 2): name and e-mail do not.

    Its canonical JSON stands behind what is recorded: it may never change for what could be stated before.
    """

    module_id: str
    learner: Recipient
    awarded_on: dt.date
    module_version: int | None = None
    valid_until: dt.date | None = None
    grade: str | None = None
    evidence: tuple[Evidence, ...] | None = None
    supersedes: str | None = None


class AwardCommand(msgspec.Struct, frozen=True, gc=False):
    """An award as an institution states it. `reference`, recipient, grade and evidence are private."""

    brin: str
    reference: str
    module_id: str | None
    module_reference: str | None
    recipient: Recipient
    award: Award
    origin: Origin
    grade: str | None = None
    evidence: tuple[Evidence, ...] | None = None

    def statement(self, module_id: str) -> Statement:
        """What is compared when the reference comes again."""
        recipient = self.recipient
        return Statement(
            module_id,
            Recipient(
                edu_id=recipient.edu_id and recipient.edu_id.lower(),
                eppn=recipient.eppn and recipient.eppn.lower(),
                edubadges=recipient.edubadges and recipient.edubadges.lower(),
            ),
            self.award.awarded_on,
            self.award.module_version,
            self.award.valid_until,
            self.grade,
            self.evidence,
            self.award.supersedes,
        )


CommandT = TypeVar("CommandT", bound=AwardCommand)


class PreparedAward(msgspec.Struct, Generic[CommandT], frozen=True, gc=False):
    """What follows from an award alone: its ids, its learner's alias, what is compared on a repeat, and
    its private parts, committed and sealed."""

    command: CommandT
    badge_id: str
    module_id: str
    alias: bytes | None
    sameness: bytes
    commitments: Commitments
    sealed: bytes


class Preparation:
    """Prepares awards, one after the other and by one thread: its chance is drawn for nobody else."""

    def __init__(self, recording: RecordingApplication) -> None:
        self._keys, self._vault, self._chance = recording.keys, recording.vault, Chance()
        self._module_ids: dict[tuple[str, str | None], str] = {}

    def prepare(self, command: CommandT) -> PreparedAward[CommandT]:
        keys, chance = self._keys, self._chance
        badge_id = keys.made_id("badge", command.brin, command.reference)
        module_id = command.module_id or self._module_id(command.brin, command.module_reference or "")
        sameness = keys.sameness(canonical(command.statement(module_id)))
        commitments, private = commit_award(
            command.recipient, command.reference, command.grade, command.evidence, sameness, chance
        )
        sealed = self._vault.seal(f"{badge_id}/1", private, chance)
        return PreparedAward(
            command, badge_id, module_id, self._alias(command), sameness, commitments, sealed
        )

    def _module_id(self, brin: str, reference: str) -> str:
        """Most awards of a batch are for few modules."""
        found = self._module_ids.get((brin, reference))
        if found is None:
            if len(self._module_ids) >= MOST_MODULES:
                self._module_ids.clear()
            found = self._module_ids[brin, reference] = self._keys.made_id("module", brin, reference)
        return found

    def _alias(self, command: AwardCommand) -> bytes | None:
        recipient = command.recipient
        if recipient.edu_id is not None:
            return self._keys.alias_key("eduId", EDUID_SCOPE, recipient.edu_id)
        if recipient.eppn is not None:
            return self._keys.alias_key("eppn", command.brin, recipient.eppn)
        return None
