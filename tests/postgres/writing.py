"""Appending to the log past the commands: small units, in sessions as a recorder's threads have."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Collection, Sequence
from typing import Any

from registry.event_store.append import ConflictError, Row, Unit
from registry.event_store.session import Session

AWARDED = "badge.awarded/1"
REGISTERED = "module.registered/1"


def stored(subject: str, version: int = 1, topic: str = AWARDED, **data: Any) -> Row:
    kind, _, schema = topic.partition("/")
    return Row(subject, version, kind, int(schema), json.dumps(data).encode())


def private(
    row: Row, institution: str = "27UM", learner_id: str | None = None, sealed: bytes = b"sealed"
) -> Row:
    """The row with private parts."""
    row.institution, row.sealed = institution, sealed
    row.learner_id = learner_id or str(uuid.uuid4())
    return row


def stream(count: int, subject: str | None = None, **data: Any) -> list[Row]:
    """A new stream of so many events."""
    name = subject or str(uuid.uuid4())
    return [stored(name, version, **data) for version in range(1, count + 1)]


class Writer:
    """One session, for as many threads as want to append."""

    def __init__(self, url: str) -> None:
        self.session = Session(url)
        self._lock = threading.Lock()

    def append(self, unit: Unit, relied_on: Collection[str] = (), read_at: int = 0) -> list[int]:
        """Records the unit and answers its positions; raises `ConflictError` where nothing of it is."""
        (positions,) = self.append_all([unit], relied_on, read_at)
        if positions is None:
            raise ConflictError("another writer was first")
        return positions

    def append_all(
        self, units: Sequence[Unit], relied_on: Collection[str] = (), read_at: int = 0
    ) -> list[list[int] | None]:
        """Records the units in one transaction; per unit its positions, or None for a conflict."""
        with self._lock:
            with self.session.cursor():
                pass  # it is connected
            answer = self.session.append(units, relied_on, read_at)
        if answer.changed is not None:
            return [None] * len(units)
        results: list[list[int] | None] = []
        last = answer.last
        for number, unit in enumerate(units):
            if number in answer.conflicts:
                results.append(None)
            else:
                results.append(list(range(last + 1, last + 1 + len(unit))))
                last += len(unit)
        return results

    def close(self) -> None:
        self.session.close()
