"""NDJSON as it comes in: its lines in pages, with flat memory whatever is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import Request

LONGEST_LINE = 64 * 1024
MOST_LINES = 100_000
LARGEST_BATCH = 256 * 1024 * 1024
PAGE = 1_000


@dataclass(frozen=True)
class Line:
    """A line by its number from 1; `text` is None where it was too long to keep."""

    number: int
    text: bytes | None


class Lines:
    """The lines of a request's body, in pages; `complete` is False when there were too many of them."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._rest = bytearray()
        self._too_long = False
        self._number = 0
        self.complete = True

    async def pages(self) -> AsyncIterator[list[Line]]:
        """Reads on only when the page before was taken; ends where the limits of a batch are passed."""
        page: list[Line] = []
        size = 0
        async for chunk in self._request.stream():
            size += len(chunk)
            page += self._ended(chunk)
            while len(page) >= PAGE:
                yield page[:PAGE]
                page = page[PAGE:]
            if size > LARGEST_BATCH or not self.complete:
                self.complete = False
                break
        if self.complete and (self._rest or self._too_long):
            page += self._ended(b"\n")
        if page:
            yield page

    def _ended(self, chunk: bytes) -> list[Line]:
        """The lines that end in this chunk; what follows is kept, unless it is too long."""
        *parts, rest = chunk.split(b"\n")
        lines: list[Line] = []
        for part in parts:
            if self._number == MOST_LINES:
                self.complete = False
                return lines
            self._keep(part)
            self._number += 1
            lines.append(Line(self._number, None if self._too_long else bytes(self._rest)))
            self._rest.clear()
            self._too_long = False
        self._keep(rest)
        if rest and self._number == MOST_LINES:
            self.complete = False
        return lines

    def _keep(self, part: bytes) -> None:
        if self._too_long or len(self._rest) + len(part) > LONGEST_LINE:
            self._too_long = True
            self._rest.clear()
        else:
            self._rest += part
