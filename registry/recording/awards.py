"""Awards, as pages: one that comes alone is a page of one."""

from __future__ import annotations

import hmac
from collections.abc import Sequence, Set
from typing import NamedTuple

from registry.domain import badge as badges
from registry.domain.badge import Badge
from registry.domain.errors import ModuleUnknown, ReferenceTaken
from registry.domain.events import BadgeAwarded, Commitments
from registry.domain.institution import Institution
from registry.domain.module import Module
from registry.domain.private_parts import PrivateParts
from registry.event_store.vault import PrivateRow
from registry.keys import random_id
from registry.postgres.connections import UnavailableError
from registry.recording.award_preparation import CommandT, PreparedAward
from registry.recording.decisions import BadgeOutcome, found
from registry.recording.pages import Entry, Page, Settled, Together
from registry.recording.stream_cache import Loaded, Reads


class _Basis(NamedTuple):
    """What awards for one module are decided on."""

    institution: Institution
    module: Module
    reads: Reads


class _Recorded(NamedTuple):
    """What is recorded of a page as of a position: badges, learners by alias, and what it supersedes."""

    badges: Set[str]
    learners: dict[bytes, str]
    read_at: int
    superseded: dict[str, Badge]


class Awards(Page[PreparedAward[CommandT]]):
    """Awards on their way; `fact` is what a kind of them decides.

    The same award again answers as it stands; another under its reference is refused.
    """

    def decide(self, waiting: Sequence[int], loaded: Loaded, *, final: bool) -> Sequence[Together]:
        made = [self.commands[line] for line in waiting]
        known, learners, read_at = self.recording.event_recorder.look_up(
            [each.badge_id for each in made], [each.alias for each in made if each.alias is not None]
        )
        self._settle_known([line for line in waiting if self.commands[line].badge_id in known])
        recorded = _Recorded(known, learners, read_at, self._superseded(waiting))
        return self._decide_on(waiting, loaded, recorded, final=final)

    def _decide_on(
        self, waiting: Sequence[int], loaded: Loaded, recorded: _Recorded, *, final: bool
    ) -> Sequence[Together]:
        known, learners, read_at, superseded = recorded
        taken: set[str] = set()
        decided: dict[bytes | str, Together] = {}
        bases: dict[tuple[str, str], _Basis] = {}
        for line in waiting:
            each = self.commands[line]
            if each.badge_id in known or each.badge_id in taken:
                continue  # settled; or the same reference earlier in the page: known in the next round
            # Without an alias nobody knows the learner: each such award has one of its own.
            learner_id = None if each.alias is None else learners.get(each.alias)
            key = each.badge_id if learner_id or each.alias is None else each.alias
            together = decided.get(key) or Together(alias=None if learner_id else each.alias)
            try:
                basis = self._basis(bases, loaded, each)
                if learner_id:
                    basis = basis._replace(reads=basis.reads.and_on(learner_id, read_at))
                elif together.entries:
                    learner_id = together.entries[0].outcome.learner_id
                self._award(together, line, each, basis, superseded, learner_id or random_id(self.chance))
            except UnavailableError:
                raise  # PostgreSQL is away: that would be waited for line by line
            except Exception as error:
                self.fail(line, error, final=final)
            else:
                decided[key] = together
            if line not in self.settled:
                taken.add(each.badge_id)  # who has the same reference waits for what becomes of this one
        return list(decided.values())

    def _basis(
        self, bases: dict[tuple[str, str], _Basis], loaded: Loaded, each: PreparedAward[CommandT]
    ) -> _Basis:
        key = each.command.brin, each.module_id
        if key not in bases:
            reads = Reads(loaded)
            institution = self.recording.admitted(reads, each.command.brin)
            bases[key] = _Basis(institution, found(reads.module(each.module_id), ModuleUnknown), reads)
        return bases[key]

    def _award(
        self,
        together: Together,
        line: int,
        made: PreparedAward[CommandT],
        basis: _Basis,
        superseded: dict[str, Badge],
        learner_id: str,
    ) -> None:
        """Decides one award that is not there yet."""
        fact = self.fact(
            made.command,
            basis.institution,
            basis.module,
            superseded.get(made.command.award.supersedes or ""),
            learner_id,
            made.commitments,
        )
        status, _ = badges.status(
            self.now,
            revoked_since=None,
            suspended_since=None,
            valid_until=fact.valid_until,
            active_since=self.now,
        )
        event = self.recording.stored(made.badge_id, 1, fact)
        private = PrivateRow(made.command.brin, learner_id, made.sealed)
        outcome = BadgeOutcome(
            made.badge_id, learner_id, made.module_id, fact.module_version, status, 0, created=True
        )
        together.entries.append(Entry(line, event, private, basis.reads, outcome))

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
        wanted = {self.commands[line].command.award.supersedes for line in waiting} - {None}
        return self.recording.badges_by_id([each for each in wanted if each])

    def _settle_known(self, lines: Sequence[int]) -> None:
        badge_ids = [self.commands[line].badge_id for line in lines]
        states = self.recording.badges_by_id(badge_ids)
        private = self.recording.private_parts(badge_ids)
        for line in lines:
            made = self.commands[line]
            self.settled[line] = self._known(states[made.badge_id], made.sameness, private.get(made.badge_id))

    def _known(self, state: Badge, sameness: bytes, private: PrivateParts | None) -> Settled:
        """The award as it stands. After the learner's erasure there is nothing left to compare."""
        if private is not None and not hmac.compare_digest(private.sameness or "", sameness.hex()):
            return ReferenceTaken("badge")
        status, _ = badges.status_of(state, self.now)
        award = state.award
        return BadgeOutcome(
            state.id, award.learner_id, award.module_id, award.module_version, status, state.award_position
        )
