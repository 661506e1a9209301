"""Rebuilds a read model: builds a new copy beside the one in use, and swaps them in one transaction.

The new copy is built from the log in its own schema, by the read model's own `apply`. A killed rebuild leaves
only that schema, which the next rebuild removes. Both copies are compared at one position while projectors
and look-ups continue. At the end the projectors wait while the rows that have changed since are compared and
the copies are swapped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress

import psycopg2.errors

from consumers.applying import apply_page, decoded, reason_of
from consumers.comparison import compared
from consumers.feeds import PoisonError
from consumers.interventions import skipped_positions
from consumers.store_feed import LogEnd, StoreFeed, page_of
from projections.read_model import (
    KINDS,
    Condition,
    ReadModel,
    active_version,
    create_relations,
    move_relations,
    position,
    relations,
)
from registry.domain.events import Event, ReadModelReplaced
from registry.event_store.log import LoggedEvent, read_log
from registry.event_store.read_model_positions import OvertakenError, positions_of
from registry.failures import Failure
from registry.postgres.connections import Connection, Cursor, Pool, connect, is_lost
from registry.postgres.disk_space import Room
from registry.postgres.locks import Lock
from registry.recording.operators import ORIGIN, record_act

PAGE = 10_000
PROGRESS = 100_000
COMPARISONS = 2
"""The number of comparisons while projectors continue; the last is made while they wait."""
MAX_SWAPS = 10
# A reader delays a swap, and a swap delays later readers, no longer than this; then the swap is retried.
LOCK_TIMEOUT_MS = 2_000

Say = Callable[[str], None]


class RebuildError(Failure):
    """The rebuild failed; the read model in use is unchanged."""


def rebuild(url: str, model: ReadModel, say: Say, *, force_because: str | None = None) -> int:
    """Rebuilds the read model and swaps in the new copy; returns the position at which it was swapped.

    `url` is the owner's. Raises `RebuildError` when another rebuild is running, an event cannot be applied,
    or the new copy differs from the old one. With `force_because`, an operator's reason, it is not compared.
    """
    began = time.monotonic()
    with _alone(url, model.name) as owner:
        rebuilding = _Rebuilding(url, owner, model, say)
        active = rebuilding.prepare()
        say(f"{model.name}: building version {model.version} beside version {active}, which stays in use")
        try:
            if active == model.version and force_because is None:
                # The second comparison takes a fraction of the first, so little is left for the last.
                for _ in range(COMPARISONS):
                    rebuilding.build()
                    rebuilding.compare()
            rebuilding.build()
            at = rebuilding.swap(force_because)
        except RebuildError:
            with owner.cursor() as cursor:
                cursor.execute(f"DROP SCHEMA {rebuilding.schema} CASCADE")
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


class _Rebuilding:
    """The new copy of a read model: how far it is, and through where it was compared with the one in use."""

    def __init__(self, url: str, owner: Connection, model: ReadModel, say: Say) -> None:
        self._url, self._owner, self._model, self._say = url, owner, model, say
        self.schema = f"rebuild_{model.name}"
        self._built: dict[int, int] = {}
        self._compared: dict[int, int] | None = None

    def prepare(self) -> int:
        """Makes the new tables, empty; returns the version in use."""
        model = self._model
        with self._owner.cursor() as cursor:
            active = active_version(cursor, model.name)
            if active is None:
                raise RebuildError(f"{model.name} does not exist yet; run `registry migrate`")
            cursor.execute("BEGIN")
            create_relations(cursor, model, self.schema)
            cursor.execute("COMMIT")
            self._built = dict.fromkeys(positions_of(cursor, model.name), 0)
        return active

    def build(self) -> None:
        """Applies the log as far as the old copy has come, while the disk has room."""
        model, room = self._model, Room(self._url)
        builder = connect(
            self._url,
            "registry_project",
            search_path=f"{self.schema},public",
            synchronous_commit="off",
            jit="off",
        )
        with closing(builder), builder.cursor() as cursor:
            while (built := min(self._built.values())) < (goal := position(cursor, model.name)):
                room.check()
                page = page_of(read_log(cursor, built, PAGE, until=goal), self._built)
                _apply(cursor, model, page.events)
                self._built = dict(page.to)
                if min(page.to.values()) // PROGRESS > built // PROGRESS:
                    self._say(f"{model.name}: {min(page.to.values()):,} of {goal:,} events")

    def compare(self) -> None:
        """Compares both copies at one position, while projectors and look-ups continue."""
        with self._at_one_position(lock=False) as (cursor, at):
            what = "all rows" if self._compared is None else "the rows that may have changed since"
            self._say(f"{self._model.name}: comparing {what}, at position {min(at.values())}")
            self._compare(cursor, at)
        self._built = self._compared = at

    def swap(self, because: str | None) -> int:
        """Swaps the copies while projectors wait; returns the position.

        Where the copies were compared, the rows that have changed since are compared first.
        """
        model = self._model
        with self._at_one_position(lock=True) as (cursor, at):
            if self._compared is not None:
                self._compare(cursor, at)
            _swap_with_retries(cursor, model, self.schema, self._say)
            if because is not None:
                record_act(
                    cursor,
                    ReadModelReplaced(**ORIGIN, read_model=model.name, version=model.version, reason=because),
                )
        return min(at.values())

    @contextmanager
    def _at_one_position(self, *, lock: bool) -> Iterator[tuple[Cursor, dict[int, int]]]:
        """A transaction that sees both copies at the same positions, by partition.

        With `lock`, projectors wait until it ends. Otherwise they continue, and the transaction goes on
        seeing the old copy as it was.
        """
        with self._owner.cursor() as cursor:
            cursor.execute("BEGIN" if lock else "BEGIN ISOLATION LEVEL REPEATABLE READ")
            try:
                at = self._positions(cursor, lock=lock)
                cursor.execute(f"SET LOCAL search_path = {self.schema}, public")
                # Events since the build are one batch, since a read model applies only one per transaction.
                missing = [event for page in _pages(cursor, self._built, at) for event in page]
                self._model.apply(cursor, self._decoded(cursor, missing))
                yield cursor, at
            except BaseException:
                if not self._owner.closed:
                    cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    def _positions(self, cursor: Cursor, *, lock: bool) -> dict[int, int]:
        at = positions_of(cursor, self._model.name, lock=lock)
        if len(at) != len(self._built):
            raise RebuildError("the log was divided anew meanwhile; run it again")
        return at

    def _compare(self, cursor: Cursor, at: dict[int, int]) -> None:
        """Compares all rows, or those that may have changed since the last comparison."""
        if self._compared is None:
            tables = [name for name, kind in relations(cursor, self.schema).items() if kind == "r"]
            parts: Iterable[Mapping[str, Condition]] = [{table: ("true", []) for table in tables}]
        else:
            pages = _pages(cursor, self._compared, at)
            parts = (self._model.touched(self._decoded(cursor, page)) for page in pages)
        rows, differences = compared(cursor, self.schema, parts)
        name = self._model.name
        if differences:
            counts = "; ".join(map(str, differences))
            raise RebuildError(f"the new copy of {name} differs ({counts}); --force swaps it in anyway")
        if rows or self._compared is None:
            self._say(f"{name}: compared {rows:,} rows with those in use: no difference")

    def _decoded(self, cursor: Cursor, page: Sequence[LoggedEvent]) -> list[Event]:
        return decoded(self._model, page, skipped_positions(cursor, self._model.name))


def _pages(cursor: Cursor, since: Mapping[int, int], until: Mapping[int, int]) -> Iterator[list[LoggedEvent]]:
    """The events between two positions, given by partition, in pages."""
    after, last = min(since.values()), max(until.values())
    while page := read_log(cursor, after, PAGE, until=last):
        after = page[-1].position
        yield [
            event
            for event in page
            if since[number := event.partition(len(since))] < event.position <= until[number]
        ]


def _apply(cursor: Cursor, model: ReadModel, page: Sequence[LoggedEvent]) -> None:
    """Applies a page in one transaction."""
    cursor.execute("BEGIN")
    try:
        model.apply(cursor, decoded(model, page, skipped_positions(cursor, model.name)))
    except Exception as error:
        if is_lost(cursor.connection, error):
            raise
        cursor.execute("ROLLBACK")
        if len(page) > 1:
            for event in page:
                _apply(cursor, model, [event])
            return
        at, kind = page[0].position, page[0].type
        raise RebuildError(f"event {at} ({kind}) cannot be applied: {reason_of(error)}") from error
    cursor.execute("COMMIT")


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
