"""Units that wait for the writer, and which of them may go together in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from registry.event_store.append import ConflictError, Unit, since


class Waiting(msgspec.Struct):  # seen by the collector: an error that it is given holds it in turn
    """A unit on its way; `settled` is called when it has its positions, or the error that kept it out."""

    unit: Unit
    settled: Callable[[], None]
    result: list[int] | Exception = []

    def settle(self, result: list[int] | Exception) -> None:
        self.result = result
        self.settled()


def without_rivals(waiting: list[Waiting]) -> tuple[list[Waiting], list[Waiting]]:
    """Splits off the units that want a stream's version or an alias that an earlier one wants too, or
    that rely on a stream that an earlier one writes.

    They are tried after it, and so find the conflict in the database, like any other.
    """
    if _are_apart([item.unit for item in waiting]):
        return waiting, []
    taken: set[object] = set()
    written: set[object] = set()
    batch: list[Waiting] = []
    later: list[Waiting] = []
    for item in waiting:
        unit = item.unit
        wanted: set[object] = {(event.originator_id, event.originator_version) for event in unit.events}
        wanted.update(unit.aliases.values())
        if len(wanted) < len(unit.events) + len(unit.aliases):
            item.settle(ConflictError("the unit holds the same version or alias twice"))
        elif wanted & taken or not written.isdisjoint(unit.relied_on):
            later.append(item)
        else:
            batch.append(item)
            taken |= wanted
            written.update(event.originator_id for event in unit.events)
    return batch, later


def _are_apart(units: Sequence[Unit]) -> bool:
    """Whether no two of them want the same, and none writes what one relies on: found for all at once."""
    versions = [(event.originator_id, event.originator_version) for unit in units for event in unit.events]
    aliases = [alias for unit in units for alias in unit.aliases.values()]
    if len(set(versions)) < len(versions) or len(set(aliases)) < len(aliases):
        return False
    return {subject for subject, _ in versions}.isdisjoint(since([unit.relied_on for unit in units]))
