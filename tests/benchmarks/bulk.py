"""Bulk append of prebuilt awards, 1,000 at a time; beside binary COPY of the same rows.

The peer writes into tables of the same definition, with the same indexes, as their owner: no lock, no
position to give out, no conflict to find, no stream to check; a transaction per batch as ours.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from registry.event_store.append import Row
from registry.postgres.binary_copy import copy_rows
from registry.postgres.connections import Connection, connect
from tests.benchmarks import material
from tests.benchmarks.measure import Compared, Goal, measure_rounds
from tests.benchmarks.servers import Server
from tests.postgres.writing import Writer

BATCH = 1_000
BATCHES = 25
_EVENT = {
    "position": "int8",
    "subject": "text",
    "version": "int4",
    "type": "text",
    "schema_version": "int2",
    "time": "timestamptz",
    "data": "bytea",
}
_VAULT = {"position": "int8", "institution": "text", "learner_id": "uuid", "sealed": "bytea"}


def measure(server: Server, folder: Path, rounds: int) -> Iterator[Compared]:
    del folder
    for vault in (True, False):
        what = "bulk append, 1,000 a batch" + (", with vault rows" if vault else ", events alone")
        compared = Compared(what, "events/s", "binary COPY", Goal(0.65, 0.8))
        url, plain = server.registry(), server.registry()
        writer, connection, copier = Writer(url), connect(plain), _Copier(vault)
        try:
            maker = material.Maker()
            ours, peer = partial(_append, writer, vault), partial(copier.copy, connection)
            _rates(maker, ours, peer)
            yield measure_rounds(compared, rounds, partial(_rates, maker, ours, peer))
        finally:
            writer.close()
            connection.close()


def _rates(
    maker: material.Maker, ours: Callable[[list[Row]], None], peer: Callable[[list[Row]], None]
) -> tuple[float, float]:
    """They take turns batch by batch, since the disk's pace changes within a round."""
    spent = [0.0, 0.0]
    for _ in range(BATCHES):
        for place, write in enumerate((ours, peer)):
            batch = maker.alike(BATCH)
            began = time.perf_counter()
            write(batch)
            spent[place] += time.perf_counter() - began
    return BATCH * BATCHES / spent[0], BATCH * BATCHES / spent[1]


def _append(writer: Writer, vault: bool, batch: list[Row]) -> None:
    writer.append(batch if vault else material.without_vault(batch))


class _Copier:
    """Binary COPY straight into the tables; positions are counted here."""

    def __init__(self, vault: bool) -> None:
        self._vault, self._position = vault, 0

    def copy(self, connection: Connection, batch: list[Row]) -> None:
        now = dt.datetime.now(dt.UTC)
        first = self._position + 1
        self._position += len(batch)
        events = [
            (at, each.subject, 1, "badge.awarded", 1, now, each.data) for at, each in enumerate(batch, first)
        ]
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            copy_rows(cursor, "event", _EVENT, events)
            if self._vault:
                rows = [
                    (at, each.institution, each.learner_id, each.sealed)
                    for at, each in enumerate(batch, first)
                ]
                copy_rows(cursor, "vault", _VAULT, rows)
            cursor.execute("COMMIT")
