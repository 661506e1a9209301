"""What a log says of a defect: its kind and its place, never its text, which may hold a member's value."""

from __future__ import annotations

import logging
import sys
import threading
import traceback

MAX_FRAMES = 8

log = logging.getLogger("registry.defects")


def named(error: BaseException) -> str:
    """The class of an error and where it was raised, innermost first: `KeyError at a.py:1 f < b.py:2 g`."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
    return f"{type(error).__name__} at {' < '.join(places[:MAX_FRAMES])}"


class WithoutTexts(logging.Filter):
    """Names the exception of a record as `named` does, whichever library logs it."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if str(record.msg).startswith("Traceback (most recent call last)"):
            # uvicorn logs so what starlette met at the start or the end, while starlette still handles it.
            record.msg, record.args, error = "the service did not start or end well", (), sys.exc_info()[1]
        if record.name == "asyncio":
            # After the first line, or in brackets, come tasks with their errors and calls with their values.
            record.msg, record.args = record.getMessage().partition("\n")[0].partition("(")[0], ()
        if error is not None:
            record.msg, record.args = f"{record.getMessage().strip()}: {named(error)}", ()
            record.exc_info = record.exc_text = None
        return True


def report(error: BaseException | None, place: str) -> None:
    """Logs an error that nothing has caught, and that Python itself would print with its text."""
    log.error("%s met %s", place, "an error" if error is None else named(error))


def catch_all() -> None:
    """Reports what Python would print: errors that end a thread, or that nobody can catch."""

    def of_a_thread(ended: threading.ExceptHookArgs) -> None:
        report(ended.exc_value, f"the thread {ended.thread.name}" if ended.thread else "a thread")

    # Extensions in C, such as psycopg2 in a COPY that PostgreSQL leaves, print errors by this one.
    sys.excepthook = lambda _, error, __: report(error, "the process")
    sys.unraisablehook = lambda unraisable: report(unraisable.exc_value, "a finalizer or a callback")
    threading.excepthook = of_a_thread
