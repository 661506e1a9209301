"""What a defect leaves in a log, and the end of a process that cannot end by itself."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from pathlib import Path

from registry import defects

MARK = "Zq7Xw"
HELD_UP = """
import threading
from registry.cli import common

def no_thread(*_):
    raise RuntimeError("can't start new thread")

common.LAST_RESORT_SECONDS = 1
held = threading.Lock()
held.acquire()
threading.Thread.start = no_thread
common.end_in_time()
print("waiting", flush=True)
held.acquire()
"""


def test_an_error_that_a_library_logs_is_named_without_its_text() -> None:
    given = None
    try:
        int(MARK)
    except ValueError as error:
        given = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "Exception in %s\n", ("x",), given)
    assert defects.WithoutTexts().filter(record)
    said = logging.Formatter().format(record)
    assert said.startswith("Exception in x: ValueError at ")
    assert f"{Path(__file__).name}:" in said
    assert MARK not in said
    assert "\n" not in said


def test_a_process_ends_in_time_though_it_can_start_no_thread_and_its_main_thread_waits() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELD_UP], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "waiting\n"
    assert done.returncode == -signal.SIGALRM
