"""`registry rebuild`: a new copy of a read model beside the one that answers, and a swap in one transaction.

The new one is built from the log in a schema of its own, by the read model's own `apply`. A rebuild that
was killed leaves that schema only, and the next one begins by removing it. In the end both stand at one
position, are compared, and change places; look-ups go on until then, and the projector after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg2.errors

from consumers.applying import apply_page, decoded, reason_of
from consumers.feeds import PoisonError
from consumers.interventions import skipped
from consumers.store_feed import LogEnd, StoreFeed
from projections.read_model import KINDS, ReadModel, create_relations, move_relations, position, relations
from registry.event_store.log import LoggedEvent, read_log
from registry.event_store.read_model_positions import OvertakenError, positions_of
from registry.postgres.connections import Connection, Cursor, Pool, connect, is_lost
from registry.postgres.disk_space import Room
from registry.postgres.locks import Lock

PAGE = 10_000
PROGRESS = 100_000
SWAPS = 10
# Who reads holds up a swap no longer than this, nor the swap who comes after; then it is tried again.
LOCK_TIMEOUT_MS = 2_000

Say = Callable[[str], None]


class RebuildError(Exception):
    """The rebuild did not come to its end; what answered before answers still."""


@dataclass(frozen=True)
class Difference:
    """How a table differs: rows that only one of the two has."""

    table: str
    only_old: int
    only_new: int


def rebuild(url: str, model: ReadModel, say: Say, *, although_it_differs: bool = False) -> int:
    """Rebuilds the read model and swaps it in; answers the position at which it was swapped.

    `url` is the owner's. Raises `RebuildError` when another rebuild is at work, an event cannot be
    applied, or the new one differs from the old and that was not asked for.
    """
    began = time.monotonic()
    schema = f"rebuild_{model.name}"
    with _alone(url, model.name) as owner:
        active = _prepare(owner, model, schema)
        say(f"{model.name}: building version {model.version} beside version {active}, which answers")
        compare = active == model.version and not although_it_differs
        try:
            built = _build(url, model, schema, say)
            at = _swap(owner, model, schema, built, say, compare=compare)
        except RebuildError:
            with owner.cursor() as cursor:
                cursor.execute(f"DROP SCHEMA {schema} CASCADE")
            raise
    seconds = time.monotonic() - began
    say(f"{model.name}: version {model.version} answers, from position {at} on; it took {seconds:.1f} s")
    return at


def level(url: str, model: ReadModel) -> None:
    """Brings a read model to one position on all partitions, by the log itself; others may be at work."""
    pool, connection = Pool(url, "registry_project", 1), connect(url, "registry_project")
    try:
        with connection.cursor() as cursor:
            while len(set((at := positions_of(cursor, model.name)).values())) > 1:
                page = StoreFeed(LogEnd(pool), at).read(PAGE)
                with suppress(OvertakenError):
                    if page is not None:
                        apply_page(cursor, model, page)
    except PoisonError as poison:
        raise RebuildError(
            f"{model.name} has stopped: {poison}; see docs/runbooks/poison-event.md"
        ) from poison
    finally:
        connection.close()
        pool.close()


@contextmanager
def _alone(url: str, name: str) -> Iterator[Connection]:
    """A connection of the owner, while no other rebuild of this read model is at work."""
    owner = connect(url)
    try:
        with owner.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", (Lock.REBUILD, name))
            (alone,) = cursor.fetchone() or (False,)
        if not alone:
            raise RebuildError(f"another rebuild of {name} is at work")
        yield owner
    finally:
        owner.close()


def _prepare(owner: Connection, model: ReadModel, schema: str) -> int:
    """Makes the new tables, empty; answers the version that answers now."""
    with owner.cursor() as cursor:
        cursor.execute("SELECT version FROM read_model WHERE name = %s", (model.name,))
        found = cursor.fetchone()
        if found is None:
            raise RebuildError(f"{model.name} is not there yet; run `registry migrate`")
        cursor.execute("BEGIN")
        create_relations(cursor, model, schema)
        cursor.execute("COMMIT")
        version: int = found[0]
        return version


def _build(url: str, model: ReadModel, schema: str, say: Say) -> int:
    """Applies the log as far as the old one has come, while the disk has room; answers the position."""
    room = Room(url)
    builder = connect(
        url, "registry_project", search_path=f"{schema},public", synchronous_commit="off", jit="off"
    )
    try:
        with builder.cursor() as cursor:
            built, passed_over = 0, skipped(cursor, model.name)
            while built < (goal := position(cursor, model.name)):
                room.check()
                before, page = built, read_log(cursor, built, PAGE, until=goal)
                built = _apply(cursor, model, page, passed_over)
                if built // PROGRESS > before // PROGRESS:
                    say(f"{model.name}: {built:,} of {goal:,} events")
            return built
    finally:
        builder.close()


def _apply(cursor: Cursor, model: ReadModel, page: Sequence[LoggedEvent], passed_over: frozenset[int]) -> int:
    """Applies a page in one transaction; answers its last position."""
    cursor.execute("BEGIN")
    try:
        model.apply(cursor, decoded(model, page, passed_over))
    except Exception as error:
        if is_lost(cursor.connection, error):
            raise
        cursor.execute("ROLLBACK")
        if len(page) > 1:
            return max(_apply(cursor, model, [event], passed_over) for event in page)
        at, kind = page[0].position, page[0].type
        raise RebuildError(f"event {at} ({kind}) cannot be applied: {reason_of(error)}") from error
    cursor.execute("COMMIT")
    return page[-1].position


def _swap(owner: Connection, model: ReadModel, schema: str, built: int, say: Say, *, compare: bool) -> int:
    with owner.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            # The projectors wait here, so that both stand still at the same positions.
            at = positions_of(cursor, model.name, lock=True)
            goal = max(at.values())
            later = read_log(cursor, built, goal - built)
            cursor.execute(f"SET LOCAL search_path = {schema}, public")
            # What came since it was built, as one batch: a read model takes one in a transaction.
            held = [each for each in later if each.position <= at[each.partition(len(at))]]
            model.apply(cursor, decoded(model, held, skipped(cursor, model.name)))
            if compare:
                _compare(cursor, model, schema, say)
            _change_places_in_time(cursor, model, schema, say)
        except BaseException:
            if not owner.closed:
                cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")
        return min(at.values())


def _change_places_in_time(cursor: Cursor, model: ReadModel, schema: str, say: Say) -> None:
    """Tries again while a look-up holds up the swap; what was compared stays so."""
    cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
    for _ in range(SWAPS):
        cursor.execute("SAVEPOINT swap")
        try:
            _change_places(cursor, model, schema)
        except psycopg2.errors.LockNotAvailable:
            cursor.execute("ROLLBACK TO SAVEPOINT swap")
            say(f"{model.name}: a look-up holds up the swap; trying again")
        else:
            return
    raise RebuildError("look-ups held up the swap each time; try again when fewer of them are long")


def _compare(cursor: Cursor, model: ReadModel, schema: str, say: Say) -> None:
    rows, differences = 0, []
    for table in (name for name, kind in relations(cursor, schema).items() if kind == "r"):
        cursor.execute(f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {schema}.{table} t")
        new = cursor.fetchone() or (0, None)
        cursor.execute(f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM public.{table} t")
        rows += new[0]
        if cursor.fetchone() != new:
            differences.append(_difference(cursor, table, schema))
    if differences:
        said = "; ".join(
            f"{d.table}: {d.only_old} rows of the old alone, {d.only_new} of the new" for d in differences
        )
        raise RebuildError(f"the new {model.name} differs ({said}); give --force to swap it in all the same")
    say(f"{model.name}: compared {rows:,} rows with those that answer: the same")


def _difference(cursor: Cursor, table: str, schema: str) -> Difference:
    counts = []
    for one, other in ((f"public.{table}", f"{schema}.{table}"), (f"{schema}.{table}", f"public.{table}")):
        cursor.execute(
            f"SELECT count(*) FROM (SELECT t::text FROM {one} t EXCEPT ALL SELECT t::text FROM {other} t) d"
        )
        counts.append((cursor.fetchone() or (0,))[0])
    return Difference(table, *counts)


def _change_places(cursor: Cursor, model: ReadModel, schema: str) -> None:
    """The old relations go, the new ones take their names; who waits for them reads the new ones."""
    cursor.execute("SELECT relations FROM read_model WHERE name = %s", (model.name,))
    (old,) = cursor.fetchone() or ([],)
    there = relations(cursor, "public")
    # Views first: nothing else depends on what is dropped.
    for name in sorted(set(old) & set(there), key=lambda name: there[name] == "r"):
        cursor.execute(f"DROP {KINDS[there[name]]} public.{name} CASCADE")
    cursor.execute(
        "UPDATE read_model SET version = %s, relations = %s WHERE name = %s",
        (model.version, move_relations(cursor, schema), model.name),
    )
