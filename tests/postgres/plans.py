"""Random plans of what several writers record at once, and what must be true of the log afterwards."""

from __future__ import annotations

import itertools
import json
import threading
import uuid
from collections import Counter
from dataclasses import dataclass
from functools import partial

import psycopg2.errors
from hypothesis import strategies as st

from registry.event_store.append import COPY_FROM_ROWS, ConflictError, Unit
from registry.event_store.log import LoggedEvent
from tests.postgres.log import check_order, identities, later
from tests.postgres.writing import AWARDED, REGISTERED, Writer, private, stored

_runs = itertools.count()


@dataclass(frozen=True)
class Planned:
    """A unit to record: `streams` are (subject, first version, events), subjects and aliases numbers."""

    streams: tuple[tuple[int, int, int], ...]
    topic: str
    alias: int | None
    relied_on: frozenset[int]
    read_at: int
    """The position, of this run, at which the subjects were read that it relies on."""


sizes = st.one_of(st.integers(1, 3), st.integers(COPY_FROM_ROWS - 1, COPY_FROM_ROWS + 12))
units = st.builds(
    Planned,
    streams=st.lists(st.tuples(st.integers(0, 7), st.integers(1, 3), sizes), min_size=1, max_size=2).map(
        tuple
    ),
    topic=st.sampled_from([AWARDED, REGISTERED]),
    alias=st.one_of(st.none(), st.integers(0, 3)),
    relied_on=st.frozensets(st.integers(0, 7), max_size=2),
    read_at=st.integers(0, 20),
)
plans = st.lists(st.lists(units, min_size=1, max_size=4), min_size=2, max_size=6)


@dataclass
class Tried:
    """A unit as it was handed to a writer, and the positions that were acknowledged; None for a conflict."""

    unit: Unit
    relied_on: frozenset[str] = frozenset()
    read_at: int = 0
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
            relied_on = frozenset(self.subject(number) for number in each.relied_on)
            tried = Tried(self._unit(each), relied_on, self._after + each.read_at)
            self.tried.append(tried)
            try:
                tried.positions = writer.append(tried.unit, tried.relied_on, tried.read_at)
            except (ConflictError, psycopg2.errors.UniqueViolation):
                pass  # the second where a unit names a version twice
            except Exception as error:
                tried.error = error

    def _unit(self, planned: Planned) -> Unit:
        mark = str(uuid.uuid4())
        events = [
            stored(self.subject(number), first + place, planned.topic, unit=mark)
            for number, first, count in planned.streams
            for place in range(count)
        ]
        private(events[0], sealed=mark.encode())
        if planned.alias is not None:
            events[0].alias_key = self.alias(planned.alias)
        return events

    def alias(self, number: int) -> bytes:
        return f"{self._name}-alias-{number}".encode()

    def check(self, log: list[LoggedEvent]) -> None:
        check_order(log, self._after)
        assert [tried.error for tried in self.tried if tried.error is not None] == []
        recorded = [tried for tried in self.tried if tried.positions is not None]
        assert sum(len(tried.unit) for tried in recorded) == len(log)
        for tried in recorded:
            self._check_recorded(tried, log)
        for tried in self.tried:
            if tried.positions is None:
                self._check_conflict(tried, recorded, log)
        taken = Counter(key for tried in recorded for key in aliases_of(tried.unit))
        assert set(taken.values()) <= {1}
        assert max(Counter(identities(log)).values(), default=1) == 1

    def _check_recorded(self, tried: Tried, log: list[LoggedEvent]) -> None:
        """It is there whole, in order, in one piece, and nothing that it relied on changed before it."""
        assert tried.positions is not None
        first = tried.positions[0]
        assert tried.positions == list(range(first, first + len(tried.unit)))
        mine = log[first - self._after - 1 : first - self._after - 1 + len(tried.positions)]
        assert identities(mine) == _wanted(tried.unit)
        assert {json.loads(event.data)["unit"] for event in mine} == {_mark(tried.unit)}
        assert not [event for event in log if event.position < first and _changes(event, tried)]

    def _check_conflict(self, tried: Tried, recorded: list[Tried], log: list[LoggedEvent]) -> None:
        """Nothing of it is there, and there was a cause."""
        assert not [event for event in log if json.loads(event.data)["unit"] == _mark(tried.unit)]
        wanted, aliases = _wanted(tried.unit), set(aliases_of(tried.unit))
        others = {identity for each in recorded for identity in _wanted(each.unit)}
        assert (
            len(set(wanted)) < len(wanted)
            or others & set(wanted)
            or any(aliases & set(aliases_of(each.unit)) for each in recorded)
            or any(_changes(event, tried) for event in log)
        )


def aliases_of(unit: Unit) -> list[bytes]:
    return [row.alias_key for row in unit if row.alias_key is not None]


def _changes(event: LoggedEvent, tried: Tried) -> bool:
    """Whether the event came to a stream after the unit's decision had read it."""
    relied_on = event.subject in tried.relied_on
    return relied_on and event.position > tried.read_at and not event.type.startswith("badge.")


def _wanted(unit: Unit) -> list[tuple[str, int]]:
    return [(row.subject, row.version) for row in unit]


def _mark(unit: Unit) -> str:
    return str(json.loads(unit[0].data)["unit"])
