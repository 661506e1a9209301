"""What decisions rely on: institutions and modules, kept in memory and checked by the append.

A kept state may be stale, and that does no harm: the append refuses a unit whose relied-on streams have
changed since the position at which they were read, and a refusal that was decided on a kept state is
decided again on a fresh one (see `registry.recording.pages`). Positions say nothing of a server that lacks
what another had acknowledged: what was read in one epoch of the writer stands for nothing in the next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from registry.domain import institution as institutions
from registry.domain import module as modules
from registry.domain.events import Event, Fact, InstitutionAdmitted, ModuleRegistered
from registry.domain.institution import Institution
from registry.domain.module import Module
from registry.event_store.recorder import EventRecorder

MOST_KEPT = 2_000
KEPT_SECONDS = 60.0

State = TypeVar("State")


@dataclass
class Kept(Generic[State]):
    """A state as it was at position `read_at`, when it was last seen to be so, and in which epoch."""

    state: State
    read_at: int
    seen: float
    epoch: int


class StreamCache:
    """States by subject. Only what exists is kept: what is not there is looked for each time."""

    def __init__(self, recorder: EventRecorder, load: Callable[[str], Iterable[Event]]) -> None:
        self._recorder, self._load = recorder, load
        self._institutions: dict[str, Kept[Institution]] = {}
        self._modules: dict[str, Kept[Module]] = {}
        self._lock = threading.Lock()

    def institution(self, brin: str, *, fresh: bool) -> Kept[Institution] | None:
        return self._get(self._institutions, brin, InstitutionAdmitted, institutions.fold, fresh)

    def module(self, module_id: str, *, fresh: bool) -> Kept[Module] | None:
        return self._get(self._modules, module_id, ModuleRegistered, modules.fold, fresh)

    def forget(self, subject: str) -> None:
        with self._lock:
            self._institutions.pop(subject, None)
            self._modules.pop(subject, None)

    @property
    def epoch(self) -> int:
        """The writer's."""
        return self._recorder.epoch

    def last_position(self) -> int:
        return self._recorder.max_notification_id() or 0

    def _get(
        self,
        kept: dict[str, Kept[State]],
        subject: str,
        first: type[Fact],
        fold: Callable[[Iterable[Event]], State],
        fresh: bool,
    ) -> Kept[State] | None:
        now, epoch = time.monotonic(), self.epoch
        found = None if fresh else kept.get(subject)
        if found is not None and found.epoch == epoch and now - found.seen < KEPT_SECONDS:
            return found
        # The position first: what the stream holds beyond it is found again by the append's check.
        read_at = self.last_position()
        events = list(self._load(subject))
        if not events or not isinstance(events[0].data, first):
            return None  # not there, or the id of something else
        state = fold(events)
        with self._lock:
            if len(kept) >= MOST_KEPT:
                kept.clear()
            kept[subject] = loaded = Kept(state, read_at, now, epoch)
        return loaded


class Loaded:
    """States as kept or, if `fresh`, as recorded by now: each is then loaded once."""

    def __init__(self, cache: StreamCache, *, fresh: bool) -> None:
        self._cache, self._fresh = cache, fresh
        self.epoch = cache.epoch
        """The writer's, from before anything is read."""
        self._institutions: dict[str, Kept[Institution] | None] = {}
        self._modules: dict[str, Kept[Module] | None] = {}

    def institution(self, brin: str) -> Kept[Institution] | None:
        if brin not in self._institutions:
            self._institutions[brin] = self._cache.institution(brin, fresh=self._fresh)
        return self._institutions[brin]

    def module(self, module_id: str) -> Kept[Module] | None:
        if module_id not in self._modules:
            self._modules[module_id] = self._cache.module(module_id, fresh=self._fresh)
        return self._modules[module_id]


class Reads:
    """What one decision has read: the append looks for changes since then."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._used: dict[str, Kept[Any]] = {}
        self._others: dict[str, int] = {}
        self._relied_on: dict[str, int] | None = None

    def institution(self, brin: str) -> Institution | None:
        kept = self._loaded.institution(brin)
        return None if kept is None else self._use(brin, kept)

    def module(self, module_id: str) -> Module | None:
        kept = self._loaded.module(module_id)
        return None if kept is None else self._use(module_id, kept)

    def _use(self, subject: str, kept: Kept[State]) -> State:
        if subject not in self._used:
            self._used[subject] = kept
            self._relied_on = None
        return kept.state

    def relies_on(self, subject: str, read_at: int) -> None:
        """Adds a stream that was read in another way, as it was at position `read_at`."""
        self._others[subject] = read_at
        self._relied_on = None

    def and_on(self, subject: str, read_at: int) -> Reads:
        """The same, and a stream that was read in another way, as it was at position `read_at`."""
        more = Reads(self._loaded)
        # Shared: what one append has found unchanged is so for all who read it.
        more._used, more._others = self._used, {**self._others, subject: read_at}
        return more

    @property
    def epoch(self) -> int:
        """The writer's, from before anything was read."""
        return self._loaded.epoch

    @property
    def relied_on(self) -> Mapping[str, int]:
        """The streams that were read, each with the position at which it was."""
        if self._relied_on is None:
            self._relied_on = {subject: kept.read_at for subject, kept in self._used.items()} | self._others
        return self._relied_on

    def held_until(self, position: int, written: str = "") -> None:
        """The append has found all of it unchanged just before `position`, and changed what was written."""
        now = time.monotonic()
        for subject, kept in self._used.items():
            if subject != written:
                kept.read_at, kept.seen = max(kept.read_at, position), now
