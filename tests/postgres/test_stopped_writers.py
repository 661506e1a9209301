"""A writer that is stopped at any step of its append holds up nobody for more than 5 seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry.event_store.append import COPY_FROM_ROWS
from tests.postgres.log import check_order, query, until, whole_log
from tests.postgres.stopping_writer import STEPS
from tests.postgres.writing import Writer, stream

ROOT = Path(__file__).parents[2]


@contextmanager
def stopped(url: str, step: str) -> Iterator[subprocess.Popen[str]]:
    """A writer's process that has stopped at this step."""
    command = [sys.executable, "-m", "tests.postgres.stopping_writer", url, step]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status), "it did not come to this step"
            yield process
        finally:
            if process.returncode is None:
                process.kill()


def session_of_the_stopped(url: str) -> str:
    """What the server says of the one writer's session that there is."""
    rows = query(
        url,
        "SELECT state FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'registry_write'",
    )
    return " and ".join(state for (state,) in rows)


@pytest.mark.parametrize("name", STEPS)
def test_others_go_on_while_a_writer_is_stopped(url: str, name: str) -> None:
    step = STEPS[name]
    with stopped(url, name) as process:
        until(lambda: session_of_the_stopped(url) == step.session)
        assert len(whole_log(url)) == 1 + (step.size if step.recorded else 0)
        began, other = time.monotonic(), Writer(url)
        positions = other.append(stream(1)) + other.append(stream(COPY_FROM_ROWS)) + other.append(stream(1))
        assert time.monotonic() - began < 5
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=20)
        other.close()
    assert process.returncode == 0
    acknowledged = [int(position) for position in said.split()]
    assert len(acknowledged) == step.size
    log = whole_log(url)
    check_order(log)
    assert sorted([1, *positions, *acknowledged]) == [event.position for event in log]
