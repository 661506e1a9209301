"""Random plans of what several writers record at once, and what must be true of the log afterwards."""

from __future__ import annotations

import itertools
import json
import threading
import uuid
from collections import Counter
from dataclasses import dataclass
from functools import partial

from hypothesis import strategies as st

from registry.event_store.append import COPY_FROM_ROWS, ConflictError, Unit
from registry.event_store.group_commit import Writer
from registry.event_store.log import LoggedEvent
from tests.postgres.log import AWARDED, REGISTERED, check_order, identities, later, private, stored

_runs = itertools.count()


@dataclass(frozen=True)
class Planned:
    """A unit to record: `streams` are (subject, first version, events), subjects and aliases numbers."""

    streams: tuple[tuple[int, int, int], ...]
    topic: str
    alias: int | None
    relied_on: dict[int, int]
    """Each subject with the position, of this run, at which it was read."""


sizes = st.one_of(st.integers(1, 3), st.integers(COPY_FROM_ROWS - 1, COPY_FROM_ROWS + 12))
units = st.builds(
    Planned,
    streams=st.lists(st.tuples(st.integers(0, 7), st.integers(1, 3), sizes), min_size=1, max_size=2).map(
        tuple
    ),
    topic=st.sampled_from([AWARDED, REGISTERED]),
    alias=st.one_of(st.none(), st.integers(0, 3)),
    relied_on=st.dictionaries(st.integers(0, 7), st.integers(0, 20), max_size=2),
)
plans = st.lists(st.lists(units, min_size=1, max_size=4), min_size=2, max_size=6)


@dataclass
class Tried:
    """A unit as it was handed to a writer, and the positions that were acknowledged; None for a conflict."""

    unit: Unit
    positions: list[int] | None = None
    error: Exception | None = None


class Run:
    """Hands each thread's units, in turn, to one of the writers, all at once."""

    def __init__(self, writers: list[Writer], after: int) -> None:
        self._writers, self._after = writers, after
        self._name = f"run-{next(_runs)}"
        self.tried: list[Tried] = []

    def subject(self, number: int) -> str:
        return f"{self._name}-{number}"

    def go(self, plan: list[list[Planned]]) -> None:
        begin = threading.Barrier(len(plan))
        working = [
            later(partial(self._work, begin, self._writers[place % len(self._writers)], units_))
            for place, units_ in enumerate(plan)
        ]
        for each in working:
            each.result(30)

    def _work(self, begin: threading.Barrier, writer: Writer, planned: list[Planned]) -> None:
        begin.wait()
        for each in planned:
            tried = Tried(self._unit(each))
            self.tried.append(tried)
            try:
                tried.positions = writer.append(tried.unit)
            except ConflictError:
                pass
            except Exception as error:
                tried.error = error

    def _unit(self, planned: Planned) -> Unit:
        mark = str(uuid.uuid4())
        events = [
            stored(self.subject(number), first + place, planned.topic, unit=mark)
            for number, first, count in planned.streams
            for place in range(count)
        ]
        return Unit(
            events,
            private={0: private(sealed=mark.encode())},
            aliases={} if planned.alias is None else {0: self.alias(planned.alias)},
            relied_on={self.subject(n): self._after + read_at for n, read_at in planned.relied_on.items()},
        )

    def alias(self, number: int) -> bytes:
        return f"{self._name}-alias-{number}".encode()

    def check(self, log: list[LoggedEvent]) -> None:
        check_order(log, self._after)
        assert [tried.error for tried in self.tried if tried.error is not None] == []
        recorded = [tried for tried in self.tried if tried.positions is not None]
        assert sum(len(tried.unit.events) for tried in recorded) == len(log)
        for tried in recorded:
            self._check_recorded(tried, log)
        for tried in self.tried:
            if tried.positions is None:
                self._check_conflict(tried.unit, recorded, log)
        taken = Counter(key for tried in recorded for key in tried.unit.aliases.values())
        assert set(taken.values()) <= {1}
        assert max(Counter(identities(log)).values(), default=1) == 1

    def _check_recorded(self, tried: Tried, log: list[LoggedEvent]) -> None:
        """It is there whole, in order, in one piece, and nothing that it relied on changed before it."""
        assert tried.positions is not None
        first = tried.positions[0]
        assert tried.positions == list(range(first, first + len(tried.unit.events)))
        mine = log[first - self._after - 1 : first - self._after - 1 + len(tried.positions)]
        assert identities(mine) == _wanted(tried.unit)
        assert {json.loads(event.data)["unit"] for event in mine} == {_mark(tried.unit)}
        assert not [event for event in log if event.position < first and _changes(event, tried.unit)]

    def _check_conflict(self, unit: Unit, recorded: list[Tried], log: list[LoggedEvent]) -> None:
        """Nothing of it is there, and there was a cause."""
        assert not [event for event in log if json.loads(event.data)["unit"] == _mark(unit)]
        wanted, aliases = _wanted(unit), set(unit.aliases.values())
        others = {identity for tried in recorded for identity in _wanted(tried.unit)}
        assert (
            len(set(wanted)) < len(wanted)
            or others & set(wanted)
            or any(aliases & set(tried.unit.aliases.values()) for tried in recorded)
            or any(_changes(event, unit) for event in log)
        )


def _changes(event: LoggedEvent, unit: Unit) -> bool:
    """Whether the event came to a stream after the unit's decision had read it."""
    read_at = unit.relied_on.get(event.subject, event.position)
    return event.position > read_at and not event.type.startswith("badge.")


def _wanted(unit: Unit) -> list[tuple[str, int]]:
    return [(str(event.originator_id), event.originator_version) for event in unit.events]


def _mark(unit: Unit) -> str:
    return str(json.loads(unit.events[0].state)["unit"])
