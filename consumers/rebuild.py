"""Rebuilds a read model: builds a new copy beside the one in use, and swaps them in one transaction.

The new copy is built from the log in its own schema, by the read model's own `apply`. A killed rebuild leaves
only that schema, which the next rebuild removes. At the end both copies are brought to one position,
compared, and swapped. Look-ups continue until then, and the projector continues afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg2.errors

from consumers.applying import apply_page, decoded, reason_of
from consumers.feeds import PoisonError
from consumers.interventions import skipped_positions
from consumers.store_feed import LogEnd, StoreFeed
from projections.read_model import KINDS, ReadModel, create_relations, move_relations, position, relations
from registry.domain.events import ReadModelReplaced
from registry.event_store.log import LoggedEvent, read_log
from registry.event_store.read_model_positions import OvertakenError, positions_of
from registry.postgres.connections import Connection, Cursor, Pool, connect, is_lost
from registry.postgres.disk_space import Room
from registry.postgres.locks import Lock
from registry.recording.operators import ORIGIN, record_act

PAGE = 10_000
PROGRESS = 100_000
MAX_SWAPS = 10
MAX_NAMED = 5
"""The number of rows that are named where the copies of a table differ."""
# A reader delays a swap, and a swap delays later readers, no longer than this; then the swap is retried.
LOCK_TIMEOUT_MS = 2_000

Say = Callable[[str], None]


class RebuildError(Exception):
    """The rebuild failed; the read model in use is unchanged."""


@dataclass(frozen=True)
class Difference:
    """How the copies of a table differ: the number of rows that only one of them has, and the first keys."""

    table: str
    only_old: int
    only_new: int
    keys: list[str]


def rebuild(url: str, model: ReadModel, say: Say, *, force_because: str | None = None) -> int:
    """Rebuilds the read model and swaps in the new copy; returns the position at which it was swapped.

    `url` is the owner's. Raises `RebuildError` when another rebuild is running, an event cannot be applied,
    or the new copy differs from the old one. With `force_because`, an operator's reason, it is not compared.
    """
    began = time.monotonic()
    schema = f"rebuild_{model.name}"
    with _alone(url, model.name) as owner:
        active = _prepare(owner, model, schema)
        say(f"{model.name}: building version {model.version} beside version {active}, which stays in use")
        compare = active == model.version and force_because is None
        try:
            built = _build(url, model, schema, say)
            at = _swap(owner, model, schema, built, say, force_because, compare=compare)
        except RebuildError:
            with owner.cursor() as cursor:
                cursor.execute(f"DROP SCHEMA {schema} CASCADE")
            raise
    seconds = time.monotonic() - began
    say(f"{model.name}: version {model.version} is in use from position {at}; it took {seconds:.1f} s")
    return at


def level(url: str, model: ReadModel) -> None:
    """Brings a read model to one position on all partitions from the log itself, beside other projectors."""
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
    """A connection of the owner, which keeps other rebuilds of this read model out."""
    owner = connect(url)
    try:
        with owner.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", (Lock.REBUILD, name))
            (alone,) = cursor.fetchone() or (False,)
        if not alone:
            raise RebuildError(f"another rebuild of {name} is running")
        yield owner
    finally:
        owner.close()


def _prepare(owner: Connection, model: ReadModel, schema: str) -> int:
    """Makes the new tables, empty; returns the version in use."""
    with owner.cursor() as cursor:
        cursor.execute("SELECT version FROM read_model WHERE name = %s", (model.name,))
        row = cursor.fetchone()
        if row is None:
            raise RebuildError(f"{model.name} does not exist yet; run `registry migrate`")
        cursor.execute("BEGIN")
        create_relations(cursor, model, schema)
        cursor.execute("COMMIT")
        version: int = row[0]
        return version


def _build(url: str, model: ReadModel, schema: str, say: Say) -> int:
    """Applies the log as far as the old copy has come, while the disk has room; returns the position."""
    room = Room(url)
    builder = connect(
        url, "registry_project", search_path=f"{schema},public", synchronous_commit="off", jit="off"
    )
    try:
        with builder.cursor() as cursor:
            built, skipped = 0, skipped_positions(cursor, model.name)
            while built < (goal := position(cursor, model.name)):
                room.check()
                before, page = built, read_log(cursor, built, PAGE, until=goal)
                built = _apply(cursor, model, page, skipped)
                if built // PROGRESS > before // PROGRESS:
                    say(f"{model.name}: {built:,} of {goal:,} events")
            return built
    finally:
        builder.close()


def _apply(cursor: Cursor, model: ReadModel, page: Sequence[LoggedEvent], skipped: frozenset[int]) -> int:
    """Applies a page in one transaction; returns its last position."""
    cursor.execute("BEGIN")
    try:
        model.apply(cursor, decoded(model, page, skipped))
    except Exception as error:
        if is_lost(cursor.connection, error):
            raise
        cursor.execute("ROLLBACK")
        if len(page) > 1:
            return max(_apply(cursor, model, [event], skipped) for event in page)
        at, kind = page[0].position, page[0].type
        raise RebuildError(f"event {at} ({kind}) cannot be applied: {reason_of(error)}") from error
    cursor.execute("COMMIT")
    return page[-1].position


def _swap(
    owner: Connection,
    model: ReadModel,
    schema: str,
    built: int,
    say: Say,
    because: str | None,
    *,
    compare: bool,
) -> int:
    with owner.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            # The projectors wait for this lock, so that the positions of both copies stay the same.
            at = positions_of(cursor, model.name, lock=True)
            goal = max(at.values())
            later = read_log(cursor, built, goal - built)
            cursor.execute(f"SET LOCAL search_path = {schema}, public")
            # Events since the build are one batch, since a read model applies only one per transaction.
            missing = [event for event in later if event.position <= at[event.partition(len(at))]]
            model.apply(cursor, decoded(model, missing, skipped_positions(cursor, model.name)))
            if compare:
                _compare(cursor, model, schema, say)
            _swap_with_retries(cursor, model, schema, say)
            if because is not None:
                record_act(
                    cursor,
                    ReadModelReplaced(**ORIGIN, read_model=model.name, version=model.version, reason=because),
                )
        except BaseException:
            if not owner.closed:
                cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")
        return min(at.values())


def _swap_with_retries(cursor: Cursor, model: ReadModel, schema: str, say: Say) -> None:
    """Swaps the copies, and retries while a look-up holds that up; the comparison stays valid."""
    cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
    for _ in range(MAX_SWAPS):
        cursor.execute("SAVEPOINT swap")
        try:
            _swap_relations(cursor, model, schema)
        except psycopg2.errors.LockNotAvailable:
            cursor.execute("ROLLBACK TO SAVEPOINT swap")
            say(f"{model.name}: a look-up holds up the swap; trying again")
        else:
            return
    raise RebuildError("look-ups held up the swap each time; try again when there are fewer long look-ups")


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
        counts = "; ".join(
            f"{d.table}: rows only in the old copy {d.only_old}, only in the new copy {d.only_new},"
            f" the first of {', '.join(d.keys)}"
            for d in differences
        )
        raise RebuildError(f"the new copy of {model.name} differs ({counts}); --force swaps it in anyway")
    say(f"{model.name}: compared {rows:,} rows with those in use: no difference")


def _difference(cursor: Cursor, table: str, schema: str) -> Difference:
    counts, keys = [], set[str]()
    # The first column is that of the key: an id or a position, never personal data.
    cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 1", (table,))
    (key,) = cursor.fetchone() or ("",)
    for one, other in ((f"public.{table}", f"{schema}.{table}"), (f"{schema}.{table}", f"public.{table}")):
        cursor.execute(
            f"SELECT count(*), (array_agg(d.key ORDER BY d.key))[:{MAX_NAMED}] FROM"
            f" (SELECT t.{key}::text AS key, t::text FROM {one} t"
            f" EXCEPT ALL SELECT t.{key}::text, t::text FROM {other} t) d"
        )
        count, first = cursor.fetchone() or (0, None)
        counts.append(count)
        keys.update(first or ())
    return Difference(table, counts[0], counts[1], sorted(keys)[:MAX_NAMED])


def _swap_relations(cursor: Cursor, model: ReadModel, schema: str) -> None:
    """Replaces the old relations by the new ones; waiting readers read the new ones."""
    cursor.execute("SELECT relations FROM read_model WHERE name = %s", (model.name,))
    (old,) = cursor.fetchone() or ([],)
    existing = relations(cursor, "public")
    # Views first: nothing else depends on what is dropped.
    for name in sorted(set(old) & set(existing), key=lambda name: existing[name] == "r"):
        cursor.execute(f"DROP {KINDS[existing[name]]} public.{name} CASCADE")
    cursor.execute(
        "UPDATE read_model SET version = %s, relations = %s WHERE name = %s",
        (model.version, move_relations(cursor, schema), model.name),
    )
