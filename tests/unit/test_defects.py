"""What a defect leaves in a log, and the end of a process that cannot end by itself."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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


UNCAUGHT = f"""
import asyncio, ctypes, gc, logging, sys, threading
import uvloop
from registry import logs

logs.configure("INFO", "json")

def fails(*_):
    raise LookupError("{MARK}")

class Closing:
    def __del__(self):
        fails()

async def failing(value):
    fails()

async def main():
    loop = asyncio.get_running_loop()
    task = loop.create_task(failing("{MARK}"))
    loop.call_soon(fails, "{MARK}")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()

thread = threading.Thread(target=fails, name="worker")
thread.start()
thread.join()
Closing()
asyncio.run(main())
uvloop.run(main())
logging.getLogger("registry").warning("%d", "{MARK}")

@ctypes.CFUNCTYPE(None)
def called_from_c():
    fails()

called_from_c()
fails("{MARK}")
"""


def test_whatever_nothing_has_caught_is_a_line_of_the_log_and_its_text_is_not() -> None:
    """In threads, tasks, callbacks, finalizers, calls from C, and lines that cannot be formatted."""
    done = subprocess.run(
        [sys.executable, "-c", UNCAUGHT], check=False, capture_output=True, text=True, timeout=60
    )
    assert MARK not in done.stdout + done.stderr
    messages = [json.loads(line)["message"].partition(" at ")[0] for line in done.stderr.splitlines()]
    assert messages == [
        "the thread worker met LookupError",
        "a finalizer or a callback met LookupError",
        "Exception in callback fails: LookupError",
        "Task exception was never retrieved: LookupError",
        "Exception in callback <function fails",  # as uvloop names it
        "Task exception was never retrieved: LookupError",
        "a line could not be formatted: TypeError",
        "a finalizer or a callback met LookupError",
        "the process met LookupError",
    ]


LIFESPAN = f"""
import contextlib, sys, uvicorn
from starlette.applications import Starlette
from registry import logs

logs.configure("INFO", "json")

@contextlib.asynccontextmanager
async def lifespan(_):
    if sys.argv[1] == "start":
        raise LookupError("{MARK}")
    server.should_exit = True
    yield
    raise LookupError("{MARK}")

server = uvicorn.Server(
    uvicorn.Config(Starlette(lifespan=lifespan), port=0, log_config=None, lifespan="on")
)
server.run()
"""


@pytest.mark.parametrize("moment", ["start", "end"])
def test_an_error_at_the_start_or_the_end_of_the_service_is_named_without_its_text(moment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIFESPAN, moment], check=False, capture_output=True, text=True, timeout=60
    )
    assert MARK not in done.stdout + done.stderr
    messages = [json.loads(line)["message"] for line in done.stderr.splitlines()]
    assert [
        message for message in messages if "the service did not start or end well: LookupError at" in message
    ]
