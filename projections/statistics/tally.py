"""Counts a batch of events: collects the changes that they make to the sums, without the database."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, assert_never

import msgspec

from projections.statistics.tables import ALL_DIMENSIONS, SUMS, Cell, ChangeRow, block_of
from registry.domain.events import (
    BadgeAwarded,
    BadgeCorrected,
    BadgeFact,
    BadgeReinstated,
    BadgeRevoked,
    BadgeSuspended,
    Event,
)
from registry.domain.values import day_in_amsterdam


@dataclass
class Badge:
    """The facts about a badge that are needed to count the changes after its award.

    The numbers are what was counted so far: so the figures are the same whatever the batches were, also where
    an event was skipped.
    """

    learner: str
    cell: int
    day: dt.date
    half_credits: int
    sbu: int
    revoked: int = 0
    suspended: int = 0
    superseded: int = 0


@dataclass
class Learners:
    """The learners who have an award: where, and how many badges they hold.

    In dictionaries of plain values: the garbage collector would walk through an object for each learner.
    """

    cells: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """The cells in which a learner has an award."""
    held: dict[str, int] = field(default_factory=dict)
    """The number of badges of a learner that are not revoked."""
    held_there: dict[str, int] = field(default_factory=dict)
    """The same of one institution alone, by the BRIN followed by the learner."""


Move = tuple[int, int, int, str, int]
"""A learner holds a badge more or less: block, 1 or -1, how many then, and of which institution how many."""


@dataclass
class Tally:
    """The changes of a batch, counted event by event."""

    awarded: Iterator[int]
    """The cells of the awards, in the order of the awards."""
    cells: Mapping[int, Cell]
    """Those cells, and every other in which one of these learners has an award."""
    later: Set[str]
    """The badges that the batch changes after their award."""
    badges: dict[str, Badge]
    """Those of these badges that are already awarded, before the batch or in it."""
    learners: Learners
    """The learners of the batch as they were before it."""
    overlap: Callable[[tuple[int, ...]], int]
    """The number of an overlap."""
    changes: list[ChangeRow] = field(default_factory=list)
    moves: Counter[Move] = field(default_factory=Counter)
    _alone: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def add(self, event: Event, fact: BadgeFact) -> None:
        if isinstance(fact, BadgeAwarded):
            self._award(event, fact)
            return
        badge = self.badges.get(event.originator_id)
        if badge is None:
            raise LookupError(f"badge {event.originator_id} was never awarded")
        match fact:
            case BadgeCorrected():
                pass
            case BadgeSuspended():
                self._change(event, event.originator_id, suspended=1 - badge.suspended)
            case BadgeReinstated():
                self._change(event, event.originator_id, suspended=-badge.suspended)
            case BadgeRevoked():
                held, held_there = self._move(event, fact, -1)
                self._change(
                    event,
                    event.originator_id,
                    revoked=1,
                    suspended=-badge.suspended,
                    half_credits=-badge.half_credits,
                    sbu=-badge.sbu,
                    held=held,
                    held_there=held_there,
                    reason=fact.reason,
                    recorded_on=day_in_amsterdam(event.recorded_at),
                )
            case _:
                assert_never(fact)

    def _award(self, event: Event, fact: BadgeAwarded) -> None:
        load, cell, learner_id = fact.study_load, next(self.awarded), fact.learner_id
        half_credits = round((load.ects or 0) * 2) if load else 0
        sbu = (load.sbu or 0) if load else 0
        overlap = None
        earlier = self.learners.cells.get(learner_id)
        if earlier is None:
            # Most learners have one cell, and those of the same cell share its tuple.
            self.learners.cells[learner_id] = self._alone.setdefault(cell, (cell,))
        elif cell in earlier:
            overlap = self.overlap((ALL_DIMENSIONS,))
        else:
            overlap = self.overlap(self._shared(cell, earlier))
            self.learners.cells[learner_id] = (*earlier, cell)
        held, held_there = self._move(event, fact, 1)
        self.changes.append(
            ChangeRow(
                event.position,
                cell,
                fact.awarded_on,
                learner_id,
                event.originator_id,
                awarded=1,
                half_credits=half_credits,
                sbu=sbu,
                overlap=overlap,
                held=held,
                held_there=held_there,
            )
        )
        if event.originator_id in self.later:
            self.badges[event.originator_id] = Badge(learner_id, cell, fact.awarded_on, half_credits, sbu)
        if fact.supersedes is not None:
            old = self.badges.get(fact.supersedes)
            # Its revocation may have been skipped: what is not revoked is not counted as superseded.
            if old is not None and old.revoked and not old.superseded:
                self._change(event, fact.supersedes, superseded=1)

    def _shared(self, cell: int, earlier: tuple[int, ...]) -> tuple[int, ...]:
        """The largest sets of dimensions in which a cell agrees with one of the earlier cells."""
        sets = {_agreement(self.cells[cell], self.cells[other]) for other in earlier}
        return tuple(
            sorted(one for one in sets if not any(one != other and one & other == one for other in sets))
        )

    def _move(self, event: Event, fact: BadgeFact, step: int) -> tuple[int, int]:
        """Counts a badge more or less of a learner: how many are held then, and how many of these there."""
        learners, learner_id, institution = self.learners, fact.learner_id, fact.institution
        at = institution + learner_id
        held = learners.held[learner_id] = learners.held.get(learner_id, 0) + step
        held_there = learners.held_there[at] = learners.held_there.get(at, 0) + step
        # Most learners of a batch come to hold the same number.
        self.moves[block_of(event.position), step, held, institution, held_there] += 1
        return held, held_there

    def _change(self, event: Event, badge_id: str, **values: Any) -> None:
        """Adds a change after an award, where it changes a figure."""
        badge = self.badges[badge_id]
        counted = {name: values[name] for name in SUMS if values.get(name)}
        if counted:
            self.changes.append(
                ChangeRow(event.position, badge.cell, badge.day, badge.learner, badge_id, **values)
            )
            for name, number in counted.items():
                setattr(badge, name, getattr(badge, name) + number)


def _agreement(one: Cell, other: Cell) -> int:
    """The dimensions in which two cells agree, as bits."""
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return sum(1 << place for place, (left, right) in enumerate(pairs) if left == right)
