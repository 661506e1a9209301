"""Places for costly requests: what is over the bound is refused before its body is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from api.http.problems import NotReady, TooManyRequests


class Places:
    """At most `total` requests at once, and at most `each` of one owner. Belongs to the event loop."""

    def __init__(self, what: str, total: int, each: int) -> None:
        self._what, self._total, self._each = what, total, each
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """The number of places that are held now."""
        return self._taken.total()

    @contextmanager
    def place(self, owner: str) -> Iterator[None]:
        """Holds a place; raises `TooManyRequests` or `NotReady` where there is none."""
        if self._taken[owner] >= self._each:
            raise TooManyRequests(f"A token may send {self._each} {self._what} at once; send the next later.")
        if self.taken >= self._total:
            raise NotReady(f"The registry reads {self._total} {self._what} at once; send this again soon.")
        self._taken[owner] += 1
        try:
            yield
        finally:
            self._taken[owner] -= 1
            if not self._taken[owner]:
                del self._taken[owner]  # else every token ever seen would be remembered
