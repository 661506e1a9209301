"""Awards of the past, as pages: recorded with findings where the API would refuse."""

from __future__ import annotations

from collections.abc import Sequence

from registry.domain import imports
from registry.domain.badge import Badge
from registry.domain.events import BadgeAwarded, Commitments
from registry.domain.imports import ImportedModule
from registry.domain.institution import Institution
from registry.domain.module import Module
from registry.recording.award_preparation import AwardCommand, Preparation, Statement
from registry.recording.awards import Awards
from registry.recording.decisions import RecordingApplication
from registry.recording.pages import Settled


class ImportedAward(AwardCommand, frozen=True):
    """An award of the past, with what was noted on reading it."""

    source: ImportedModule | None = None
    """Its module as the source states it; None where the registry's own is meant."""
    findings: tuple[str, ...] = ()
    hosted: bool = False
    """Whether it is an assertion at its address. What its learner shows there of grade and evidence may
    change from day to day, and makes no other award of it."""

    def statement(self, module_id: str) -> Statement:
        stated = super().statement(module_id)
        if not self.hosted:
            return stated
        return Statement(stated.module_id, stated.learner, stated.awarded_on, valid_until=stated.valid_until)


def settle_imported(recording: RecordingApplication, commands: Sequence[ImportedAward]) -> list[Settled]:
    """Records; per command, in order, its outcome (`created` where it is new) or why it has none."""
    prepare = Preparation(recording).prepare
    return _ImportedAwards(recording, [prepare(command) for command in commands]).settle()


class _ImportedAwards(Awards[ImportedAward]):
    def fact(
        self,
        command: ImportedAward,
        institution: Institution,
        module: Module,
        superseded: Badge | None,
        learner_id: str,
        commitments: Commitments,
    ) -> BadgeAwarded:
        return imports.award(
            institution,
            module,
            command.award,
            command.source,
            command.findings,
            learner_id,
            commitments,
            self.today,
            command.origin,
        )
