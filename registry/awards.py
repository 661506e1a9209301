"""Awards, as pages: one that comes alone is a page of one."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from registry.domain import badge as badges
from registry.domain.badge import Award, Badge
from registry.domain.errors import ModuleUnknown, ReferenceTaken
from registry.domain.institution import Origin
from registry.events import canonical
from registry.keys import Keys
from registry.pages import Page, Settled, Together
from registry.reads import Loaded, Reads
from registry.recording import BadgeOutcome, RecordingApplication, found
from registry.vault import Evidence, PrivateParts, Recipient, commit_award

EDUID_SCOPE = "eduid.nl"


@dataclass(frozen=True)
class AwardCommand:
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


def settle_awards(recording: RecordingApplication, commands: Sequence[AwardCommand]) -> list[Settled]:
    """Awards; per command, in order, its outcome (`created` where it is new) or why it has none.

    The same award again answers as it stands; another under its reference is refused.
    """
    return _Awards(recording, commands).settle()


class _Identified(NamedTuple):
    """What follows from an award alone: its ids, its learner's alias, and what is compared on a repeat."""

    badge_id: str
    module_id: str
    alias: bytes
    sameness: bytes


class _Awards(Page[AwardCommand]):
    def __init__(self, recording: RecordingApplication, commands: Sequence[AwardCommand]) -> None:
        super().__init__(recording, commands)
        self._made = [_identify(recording.keys, command) for command in commands]

    def decide(self, waiting: Sequence[int], loaded: Loaded, *, final: bool) -> Sequence[Together]:
        made = {line: self._made[line] for line in waiting}
        known, learners, read_at = self.recording.event_recorder.look_up(
            [each.badge_id for each in made.values()], [each.alias for each in made.values()]
        )
        self._settle_known([line for line, each in made.items() if each.badge_id in known])
        superseded = self._superseded(waiting)
        decided: dict[bytes | str, Together] = {}
        for line, each in made.items():
            if each.badge_id in known:
                continue  # settled; or the same reference earlier in the page: known in the next round
            reads = Reads(loaded)
            learner_id = learners.get(each.alias)
            key = each.badge_id if learner_id else each.alias
            together = decided.get(key) or Together(alias=None if learner_id else each.alias)
            if learner_id:
                reads.relies_on(learner_id, read_at)
            elif together.outcomes:
                learner_id = together.outcomes[0].learner_id
            try:
                self._award(together, line, reads, superseded, learner_id or str(uuid.uuid4()))
            except Exception as error:
                self.fail(line, error, final=final)
            else:
                known.add(each.badge_id)
                decided[key] = together
        return list(decided.values())

    def _award(
        self, together: Together, line: int, reads: Reads, superseded: dict[str, Badge], learner_id: str
    ) -> None:
        """Decides one award that is not there yet."""
        command, made, recording = self.commands[line], self._made[line], self.recording
        institution = recording.admitted(reads, command.brin)
        module = found(reads.module(made.module_id), ModuleUnknown)
        commitments, private = commit_award(
            command.recipient, command.reference, command.grade, command.evidence, made.sameness
        )
        fact = badges.award(
            institution,
            module,
            superseded.get(command.award.supersedes or ""),
            command.award,
            learner_id,
            commitments,
            recording.today(),
            command.origin,
        )
        now = recording.clock()
        status, _ = badges.status(
            now, revoked_since=None, suspended_since=None, valid_until=fact.valid_until, active_since=now
        )
        outcome = BadgeOutcome(
            made.badge_id, learner_id, made.module_id, fact.module_version, status, 0, created=True
        )
        self.add(together, line, 1, fact, private, command.brin, outcome, reads)

    def _superseded(self, waiting: Sequence[int]) -> dict[str, Badge]:
        """The badges that awards of this page name as superseded, those that are recorded."""
        wanted = {self.commands[line].award.supersedes for line in waiting} - {None}
        return self.recording.badges_by_id([each for each in wanted if each])

    def _settle_known(self, lines: Sequence[int]) -> None:
        badge_ids = [self._made[line].badge_id for line in lines]
        states = self.recording.badges_by_id(badge_ids)
        private = self.recording.private_parts(badge_ids)
        for line in lines:
            made = self._made[line]
            self.settled[line] = self._known(states[made.badge_id], made, private.get(made.badge_id))

    def _known(self, state: Badge, made: _Identified, private: PrivateParts | None) -> Settled:
        """The award as it stands. After the learner's erasure there is nothing left to compare."""
        if private is not None and not hmac.compare_digest(private.sameness or "", made.sameness.hex()):
            return ReferenceTaken("badge")
        status, _ = badges.status_of(state, self.recording.clock())
        award = state.award
        return BadgeOutcome(
            state.id, award.learner_id, award.module_id, award.module_version, status, state.award_position
        )


def _identify(keys: Keys, command: AwardCommand) -> _Identified:
    module_id = command.module_id or keys.made_id("module", command.brin, command.module_reference or "")
    recipient = command.recipient
    if recipient.edu_id is not None:
        alias = keys.alias_key("eduId", EDUID_SCOPE, recipient.edu_id)
    else:
        alias = keys.alias_key("eppn", command.brin, recipient.eppn or "")
    return _Identified(
        keys.made_id("badge", command.brin, command.reference),
        module_id,
        alias,
        keys.sameness(_statement(command, module_id)),
    )


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
