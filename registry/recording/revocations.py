"""Revocations in bulk, as pages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from registry.domain import badge as badges
from registry.domain import imports
from registry.domain.badge import Badge
from registry.domain.errors import BadgeUnknown
from registry.domain.events import RevocationReason
from registry.domain.institution import Origin
from registry.recording.commitments import commit_note, new_salt
from registry.recording.decisions import BadgeOutcome
from registry.recording.pages import Entry, Page, Together
from registry.recording.stream_cache import Loaded, Reads


@dataclass(frozen=True)
class RevocationCommand:
    """A revocation of an institution's own badge; `note` is private."""

    brin: str
    badge_id: str
    reason: RevocationReason
    origin: Origin
    effective_on: dt.date | None = None
    note: str | None = None
    observed: bool = False
    """Seen in an import: it was made elsewhere, on a day that is not known."""


class Revocations(Page[RevocationCommand]):
    """Revocations on their way.

    A badge that is revoked for the same reason answers as it stands; for another it is refused.
    """

    def decide(self, waiting: Sequence[int], loaded: Loaded, *, final: bool) -> Sequence[Together]:
        read_at = self.recording.last_position()
        states = self.recording.badges_by_id([self.commands[line].badge_id for line in waiting])
        decided: dict[str, Together] = {}
        for line in waiting:
            badge_id = self.commands[line].badge_id
            if badge_id in decided:
                continue  # twice in a page: revoked already in the next round
            reads, together = Reads(loaded), Together()
            try:
                self._revoke(together, line, reads, read_at, states.get(badge_id))
            except Exception as error:
                # Badges are never kept: a refusal is decided on what is recorded, in any round.
                self.fail(line, error, final=True)
            else:
                if together.entries:
                    decided[badge_id] = together
        return list(decided.values())

    def _revoke(self, together: Together, line: int, reads: Reads, read_at: int, state: Badge | None) -> None:
        command = self.commands[line]
        if state is None or state.award.institution != command.brin:
            raise BadgeUnknown
        award = state.award
        reads.relies_on(award.learner_id, read_at)
        committed, private = commit_note(command.note)
        salt, reason, origin = new_salt(), command.reason, command.origin
        if command.observed:
            fact = imports.revocation(state, reason, salt, committed, origin)
        else:
            today = self.today
            fact = badges.revoke(state, reason, command.effective_on, salt, committed, today, origin)
        outcome = BadgeOutcome(
            state.id,
            award.learner_id,
            award.module_id,
            award.module_version,
            "revoked",
            state.position,
            created=fact is not None,
        )
        if fact is None:
            self.settled[line] = outcome
        else:
            version, row = state.version + 1, None
            if private is not None:
                row = self.recording.private_row(state.id, version, command.brin, award.learner_id, private)
            event = self.recording.stored(state.id, version, fact)
            together.entries.append(Entry(line, event, row, reads, outcome))
