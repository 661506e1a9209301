"""A writer in a process of its own that stops itself (SIGSTOP) at a step of its append.

Run as a program: connection string and step. When it goes on it ends its append, and prints the positions
that were acknowledged.
"""

from __future__ import annotations

import io
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from psycopg2.extensions import POLL_OK, set_wait_callback

from registry.event_store import append
from registry.postgres.binary_copy import copy_packed
from registry.postgres.connections import Connection, Cursor
from tests.postgres.writing import Writer, stream

SMALL, LARGE = 2, 4_000


@dataclass(frozen=True)
class Step:
    """How many events are appended, and what the server says of the session when its client has stopped."""

    size: int
    session: str
    recorded: bool = False


STEPS = {
    "before a small call": Step(SMALL, "idle"),
    "while a small call is on its way": Step(SMALL, "idle", recorded=True),
    "after a small call": Step(SMALL, "idle", recorded=True),
    "before BEGIN": Step(LARGE, "idle"),
    "during COPY": Step(LARGE, "active"),
    "after COPY": Step(LARGE, "idle in transaction"),
    "while the call is on its way": Step(LARGE, "idle", recorded=True),
    "after the call": Step(LARGE, "idle", recorded=True),
}


def stop() -> None:
    """Stops the whole process, and this thread at once: of a process' signal another might take care."""
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def stop_once_sent(connection: Connection) -> None:
    """A wait callback: the statement is with the server, its answer is not read yet."""
    set_wait_callback(None)
    stop()
    while connection.poll() != POLL_OK:
        pass


class StoppingFile(io.BytesIO):
    """Stops when about half of it is read."""

    stopped = False

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.stopped and self.tell() > len(self.getvalue()) // 2:
            self.stopped = True
            stop()
        return super().read(size)


class CopyingCursor:
    """Passes COPY on, from a file that stops."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def copy_expert(self, statement: str, file: io.BytesIO, _: int) -> None:
        self._cursor.copy_expert(statement, StoppingFile(file.getvalue()))


def then_stop(call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*arguments: Any) -> Any:
        answer = call(*arguments)
        stop()
        return answer

    return wrapped


def before(first: Callable[[], None], call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*arguments: Any) -> Any:
        first()
        return call(*arguments)

    return wrapped


def stop_at(step: str) -> None:
    """Puts the stop into the functions of an append."""
    functions = vars(append)
    small, large = functions["_call_with_literals"], functions["_call_with_copy"]

    def copy_and_wait(*arguments: Any) -> None:
        copy_packed(*arguments)
        set_wait_callback(stop_once_sent)

    def copy_by_half(cursor: Cursor, *arguments: Any) -> None:
        copy_packed(cast(Cursor, CopyingCursor(cursor)), *arguments)

    match step:
        case "before a small call":
            functions["_call_with_literals"] = before(stop, small)
        case "while a small call is on its way":
            functions["_call_with_literals"] = before(lambda: set_wait_callback(stop_once_sent), small)
        case "after a small call":
            functions["_call_with_literals"] = then_stop(small)
        case "before BEGIN":
            functions["_call_with_copy"] = before(stop, large)
        case "during COPY":
            functions["copy_packed"] = copy_by_half
        case "after COPY":
            functions["copy_packed"] = then_stop(copy_packed)
        case "while the call is on its way":
            functions["copy_packed"] = copy_and_wait
        case "after the call":
            functions["_call_with_copy"] = then_stop(large)


def main(url: str, step: str) -> None:
    opened = Writer(url)
    opened.append(stream(1))
    stop_at(step)
    print(*opened.append(stream(STEPS[step].size)))
    opened.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
