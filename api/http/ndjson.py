"""Reads NDJSON as it arrives: its lines in pages, in bounded memory whatever is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import Request

from api.http.problems import TooLarge

MAX_LINE = 64 * 1024
MAX_LINES = 100_000
MAX_BATCH = 256 * 1024 * 1024
PAGE = 2_000
PAGE_BYTES = 4 * 1024 * 1024


Line = tuple[int, bytes | None]
"""A line's number, from 1, and its text: None if it was too long to keep."""


class Lines:
    """The lines of a request's body, in pages; `too_large` holds the limit that ended the reading, if any."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._rest = bytearray()
        self._too_long = False
        self._number = 0
        self.too_large: TooLarge | None = None

    async def pages(self) -> AsyncIterator[list[Line]]:
        """Reads on only once the page before has been used; ends where a limit of a batch is exceeded."""
        page: list[Line] = []
        size = held = 0
        async for chunk in self._request.stream():
            size += len(chunk)
            for line in self._ended(chunk):
                page.append(line)
                held += len(line[1] or b"")
                if len(page) == PAGE or held >= PAGE_BYTES:
                    yield page
                    page, held = [], 0
            if size > MAX_BATCH:
                self.too_large = TooLarge(MAX_BATCH)
            if self.too_large:
                break
        if not self.too_large and (self._rest or self._too_long):
            page += self._ended(b"\n")
        if page:
            yield page

    def _ended(self, chunk: bytes) -> list[Line]:
        """The lines that end in this chunk; the rest is kept, unless it is too long."""
        *parts, rest = chunk.split(b"\n")
        if parts:
            self._keep(parts[0])
            parts[0] = b"" if self._too_long else bytes(self._rest)
        lines: list[Line] = [
            (number, part if len(part) <= MAX_LINE else None)
            for number, part in enumerate(parts, self._number + 1)
        ]
        if lines:
            if self._too_long:
                lines[0] = (self._number + 1, None)
            self._rest.clear()
            self._too_long = False
        self._number += len(lines)
        if self._number > MAX_LINES or (rest and self._number == MAX_LINES):
            self.too_large = TooLarge(MAX_LINES, "lines")
            return lines[: len(lines) - (self._number - MAX_LINES)]
        self._keep(rest)
        return lines

    def _keep(self, part: bytes) -> None:
        if self._too_long or len(self._rest) + len(part) > MAX_LINE:
            self._too_long = True
            self._rest.clear()
        else:
            self._rest += part
