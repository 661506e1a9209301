"""`consume` answers a health check and a scraper on a port of its own, also while it is told to stop."""

from __future__ import annotations

import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from registry.cli import monitoring
from registry.release import RELEASE
from tests.end_to_end.client import free_port, until
from tests.end_to_end.processes import REGISTRY, Workshop, environment
from tests.support import PATIENCE_SECONDS, settings


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_consume_answers_on_its_own_port(workshop: Workshop) -> None:
    port = free_port()
    running = workshop.run(
        [REGISTRY, "consume"],
        environment(data_dir=workshop.data(), monitoring_port=port),
        workshop.folder,
    )
    running.line("^(following the log)")
    assert ask(port, "/health/live") == (200, "live\n")
    until(lambda: ask(port, "/health/ready") == (200, "ready\n"), PATIENCE_SECONDS, "a consumer that works")
    status, metrics = ask(port, "/metrics")
    assert status == 200
    assert f'registry_build_info{{release="{RELEASE}"}} 1.0' in metrics
    assert 'registry_loop_still_seconds{command="consume"}' in metrics
    assert ask(port, "/anything?else")[0] == 404
    assert running.stop() == 0


@pytest.mark.parametrize(("still", "status"), [(0.0, 200), (monitoring.MAX_STILL_SECONDS + 1, 503)])
def test_a_loop_that_stands_still_is_seen_from_outside(tmp_path: Path, still: float, status: int) -> None:
    port = free_port()
    with monitoring.monitored(
        settings(tmp_path, monitoring_port=port), "relay", lambda: time.monotonic() - still, str
    ):
        assert ask(port, "/health/live")[0] == status
        assert ask(port, "/metrics")[0] == 200
    with pytest.raises(urllib.error.URLError):
        ask(port, "/health/live")


def test_a_client_that_breaks_off_leaves_no_trace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    with monitoring.monitored(settings(tmp_path, monitoring_port=port), "relay", time.monotonic, str):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /health/live HTTP/1.1\r\n")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        assert ask(port, "/health/live")[0] == 200
    assert capfd.readouterr().err == ""
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


def test_idle_connections_take_no_threads_and_keep_no_health_check_out(tmp_path: Path) -> None:
    port = free_port()
    with monitoring.monitored(settings(tmp_path, monitoring_port=port), "relay", time.monotonic, str):
        threads = threading.active_count()
        with ExitStack() as stack:
            for number in range(5 * monitoring.MAX_CONNECTIONS):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                if number % 2:
                    client.sendall(b"GET /health/live HTTP/1.1\r\n")
            assert ask(port, "/health/live")[0] == 200
            assert threading.active_count() == threads
