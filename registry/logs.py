"""The log of a process, as text or as JSON: each line with its time, its level and the id of its request."""

from __future__ import annotations

import datetime as dt
import logging
import sys
from contextvars import ContextVar
from typing import Any, Literal, TextIO

import msgspec

from registry import defects

LogFormat = Literal["text", "json"]
request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being answered; it is made here, since a caller's could name a person."""


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return f"{line} [{current}]" if (current := request_id.get()) else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        members: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "members", {}),
        }
        if current := request_id.get():
            members["requestId"] = current
        return msgspec.json.encode(members).decode()


class Lines(logging.StreamHandler[TextIO]):
    """Writes lines; of one that cannot be formatted it says so, where Python prints the values."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as logging has it
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            line = f"a line could not be formatted: {defects.named(error)}"
            plain = logging.LogRecord(record.name, logging.ERROR, "", 0, line, (), None)
            self.stream.write(self.format(plain) + self.terminator)


class OncePerSecond(logging.Filter):
    """Drops a warning that was logged in the same second: an outage meets thousands of requests."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: set[str] = set()
        self._second = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        if (second := int(record.created)) != self._second:
            self._logged, self._second = set(), second
        try:
            message = record.getMessage()
        except Exception:
            return True  # `Lines` says that it cannot be formatted
        is_new = message not in self._logged
        self._logged.add(message)
        return is_new


def configure(level: str, form: LogFormat) -> None:
    """Sends this process's log to standard error, and there also what nothing has caught."""
    handler = Lines(sys.stderr)
    handler.setFormatter(
        JsonFormatter() if form == "json" else TextFormatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    )
    handler.addFilter(defects.WithoutTexts())
    handler.addFilter(OncePerSecond())
    logging.basicConfig(level=level, handlers=[handler])
    defects.catch_all()
    logging.getLogger("fastapi").setLevel(logging.ERROR)
    # The client of Kafka logs records, and hundreds of lines a minute while no broker answers. What it meets
    # is raised, and reported once for each state by the relay and the feeds.
    logging.getLogger("kafka").setLevel(logging.CRITICAL + 1)


def is_json() -> bool:
    """Whether this process's log is JSON."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)


class Troubles:
    """What hinders a loop: logged when it begins or changes, and not each time that it is met again.

    `now` is the trouble at this moment, empty where there is none, for those who ask from outside.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log, self._last = log, ""
        self.now = "it has only just started"

    def met(self, trouble: str) -> None:
        self.now = trouble
        if trouble != self._last:
            self._log.warning("%s", trouble)
            self._last = trouble

    def standing_by(self) -> None:
        """Nothing hinders: another has the work. When the same trouble is met next, it is no news."""
        self.now = ""

    def over(self) -> None:
        """From now on the same trouble is a new one."""
        self.now = self._last = ""
