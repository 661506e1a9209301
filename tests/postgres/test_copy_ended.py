"""What psycopg2 prints by itself, where PostgreSQL ends a session in the middle of a COPY."""

from __future__ import annotations

import io
import sys
import threading

import psycopg2
import pytest

from registry import defects
from tests.postgres.log import connection, execute


class Ending(io.RawIOBase):
    """A file without an end, of which a part is read before the session that reads is ended."""

    def __init__(self, url: str, pid: int) -> None:
        self._url, self._pid, self._parts = url, pid, 0

    def read(self, size: int = -1) -> bytes:
        self._parts += 1
        if self._parts == 2:
            execute(self._url, "SELECT pg_terminate_backend(%s, 10000)", (self._pid,))
        return b"geheim\n" * 1000


def test_a_copy_that_postgresql_ends_prints_nothing_past_the_log(
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for module, hook in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, hook, getattr(module, hook))  # put back after the test
    defects.catch_all()
    with connection(url) as opened, opened.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE word (word text)")
        file = Ending(url, opened.get_backend_pid())
        with pytest.raises(psycopg2.Error):
            cursor.copy_expert("COPY word FROM STDIN", file)
    assert capfd.readouterr().err == ""
    assert "the process met" in caplog.text
    assert "geheim" not in caplog.text
