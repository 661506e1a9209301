"""What a log says of a defect: its kind and its place, never its text, which may hold a member's value."""

from __future__ import annotations

import logging
import traceback

MAX_FRAMES = 8


def named(error: BaseException) -> str:
    """The class of an error and where it was raised, innermost first: `KeyError at a.py:1 f < b.py:2 g`."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
    return f"{type(error).__name__} at {' < '.join(places[:MAX_FRAMES])}"


class WithoutTexts(logging.Filter):
    """Names the exception of a record as `named` does, whichever library logs it."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            record.msg, record.args = f"{record.getMessage().strip()}: {named(error)}", ()
            record.exc_info = record.exc_text = None
        return True
