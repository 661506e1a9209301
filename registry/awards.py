"""Awards, as pages: one that comes alone is a page of one."""

from __future__ import annotations

import hmac
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import msgspec

from registry.domain import badge as badges
from registry.domain.badge import Award, Badge
from registry.domain.errors import ModuleUnknown, ReferenceTaken
from registry.domain.institution import Institution, Origin
from registry.domain.module import Module
from registry.events import BadgeAwarded, Commitments, canonical
from registry.keys import Keys, random_id
from registry.pages import Page, Settled, Together
from registry.reads import Loaded, Reads
from registry.recording import BadgeOutcome, RecordingApplication, found
from registry.vault import Evidence, PrivateParts, Recipient, commit_award

EDUID_SCOPE = "eduid.nl"


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

    def compared(self) -> dict[str, object]:
        """What is compared when the reference comes again, beside module, learner and day."""
        return {
            "moduleVersion": self.award.module_version,
            "validUntil": self.award.valid_until,
            "grade": self.grade,
            "evidence": self.evidence,
            "supersedes": self.award.supersedes,
        }


CommandT = TypeVar("CommandT", bound=AwardCommand)


def settle_awards(recording: RecordingApplication, commands: Sequence[AwardCommand]) -> list[Settled]:
    """Awards; per command, in order, its outcome (`created` where it is new) or why it has none.

    The same award again answers as it stands; another under its reference is refused.
    """
    return Awards(recording, commands).settle()


class _Identified(NamedTuple):
    """What follows from an award alone: its ids, its learner's alias, and what is compared on a repeat."""

    badge_id: str
    module_id: str
    alias: bytes | None
    sameness: bytes


class Awards(Page[CommandT]):
    """Awards on their way; `fact` is what a kind of them decides."""

    def __init__(self, recording: RecordingApplication, commands: Sequence[CommandT]) -> None:
        super().__init__(recording, commands)
        self._made = [_identify(recording.keys, command) for command in commands]

    def decide(self, waiting: Sequence[int], loaded: Loaded, *, final: bool) -> Sequence[Together]:
        made = {line: self._made[line] for line in waiting}
        known, learners, read_at = self.recording.event_recorder.look_up(
            [each.badge_id for each in made.values()],
            [each.alias for each in made.values() if each.alias is not None],
        )
        self._settle_known([line for line, each in made.items() if each.badge_id in known])
        superseded = self._superseded(waiting)
        decided: dict[bytes | str, Together] = {}
        # Awards for one module to new learners rely on the same.
        shared: defaultdict[tuple[str, str], Reads] = defaultdict(lambda: Reads(loaded))
        for line, each in made.items():
            if each.badge_id in known:
                continue  # settled; or the same reference earlier in the page: known in the next round
            # Without an alias nobody knows the learner: each such award has one of its own.
            learner_id = None if each.alias is None else learners.get(each.alias)
            key = each.badge_id if learner_id or each.alias is None else each.alias
            together = decided.get(key) or Together(alias=None if learner_id else each.alias)
            reads = shared[self.commands[line].brin, each.module_id]
            if learner_id:
                reads = Reads(loaded)
                reads.relies_on(learner_id, read_at)
            elif together.outcomes:
                learner_id = together.outcomes[0].learner_id
            try:
                self._award(together, line, reads, superseded, learner_id or random_id(self.chance))
            except Exception as error:
                self.fail(line, error, final=final)
            else:
                decided[key] = together
            if line not in self.settled:
                known.add(each.badge_id)  # who has the same reference waits for what becomes of this one
        return list(decided.values())

    def _award(
        self, together: Together, line: int, reads: Reads, superseded: dict[str, Badge], learner_id: str
    ) -> None:
        """Decides one award that is not there yet."""
        command, made, recording = self.commands[line], self._made[line], self.recording
        institution = recording.admitted(reads, command.brin)
        module = found(reads.module(made.module_id), ModuleUnknown)
        commitments, private = commit_award(
            command.recipient,
            command.reference,
            command.grade,
            command.evidence,
            made.sameness,
            self.chance,
        )
        fact = self.fact(
            command,
            institution,
            module,
            superseded.get(command.award.supersedes or ""),
            learner_id,
            commitments,
        )
        status, _ = badges.status(
            self.now,
            revoked_since=None,
            suspended_since=None,
            valid_until=fact.valid_until,
            active_since=self.now,
        )
        outcome = BadgeOutcome(
            made.badge_id, learner_id, made.module_id, fact.module_version, status, 0, created=True
        )
        self.add(together, line, 1, fact, private, command.brin, outcome, reads)

    def fact(
        self,
        command: CommandT,
        institution: Institution,
        module: Module,
        superseded: Badge | None,
        learner_id: str,
        commitments: Commitments,
    ) -> BadgeAwarded:
        return badges.award(
            institution,
            module,
            superseded,
            command.award,
            learner_id,
            commitments,
            self.today,
            command.origin,
        )

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
        status, _ = badges.status_of(state, self.now)
        award = state.award
        return BadgeOutcome(
            state.id, award.learner_id, award.module_id, award.module_version, status, state.award_position
        )


def _identify(keys: Keys, command: AwardCommand) -> _Identified:
    module_id = command.module_id or keys.made_id("module", command.brin, command.module_reference or "")
    recipient = command.recipient
    alias = None
    if recipient.edu_id is not None:
        alias = keys.alias_key("eduId", EDUID_SCOPE, recipient.edu_id)
    elif recipient.eppn is not None:
        alias = keys.alias_key("eppn", command.brin, recipient.eppn)
    return _Identified(
        keys.made_id("badge", command.brin, command.reference),
        module_id,
        alias,
        keys.sameness(_statement(command, module_id)),
    )


def _statement(command: AwardCommand, module_id: str) -> bytes:
    """What is compared when a reference comes again (contract section 2); name and e-mail are not."""
    recipient = command.recipient
    identifiers = {"eduId": recipient.edu_id, "eppn": recipient.eppn, "edubadges": recipient.edubadges}
    stated = {
        "moduleId": module_id,
        "learner": {kind: value.lower() for kind, value in identifiers.items() if value is not None},
        "awardedOn": command.award.awarded_on,
        **command.compared(),
    }
    return canonical({name: value for name, value in stated.items() if value is not None})
