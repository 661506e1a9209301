"""kill -9 while a registry is made, filled or started: the next start resumes, and nothing is there twice."""

from __future__ import annotations

import json
import os
import pwd
import random
import secrets
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from registry.postgres.connections import connect
from registry.postgres.embedded import EmbeddedPostgres
from tests.end_to_end.client import Client, until
from tests.end_to_end.processes import DEMO_EVENTS, REGISTRY, Workshop, environment, registry
from tests.end_to_end.servers import embedded_url, make_token, postmaster
from tests.support import PATIENCE_SECONDS

SEED = int(os.environ.get("FAULT_SEED", secrets.randbelow(10**6)))

pytestmark = pytest.mark.slow


def test_a_kill_while_the_cluster_is_made_leaves_nothing_in_the_way(workshop: Workshop) -> None:
    data = workshop.empty_data()
    folder = data / "postgres"
    making = workshop.run([REGISTRY, "migrate"], environment(data_dir=data), workshop.folder)
    until(lambda: any(folder.glob("data.new*")), PATIENCE_SECONDS, "a cluster in the making")
    making.kill()
    # What it had started may still be writing.
    done = registry("migrate", data_dir=data, seconds=PATIENCE_SECONDS)
    assert done.status == 0, done.err
    assert "migrated: 0001" in done.out


def test_a_kill_while_the_secrets_are_recorded_leaves_a_registry_that_starts(workshop: Workshop) -> None:
    """The fingerprints are recorded together: some of them alone would be another registry's for ever."""
    data = workshop.empty_data()
    assert registry("migrate", data_dir=data).status == 0
    with EmbeddedPostgres(data) as embedded:
        watching, holding = connect(embedded.url), connect(embedded.url)
        with watching.cursor() as watch, holding.cursor() as hold:
            # As after the first migration, before the secrets are made.
            watch.execute("DELETE FROM secret")
            (data / "keys.json").unlink()
            hold.execute("BEGIN")
            hold.execute("INSERT INTO secret (name, fingerprint) VALUES ('alias', 'held')")
            making = workshop.run([REGISTRY, "migrate"], environment(data_dir=data), workshop.folder)

            def held_up() -> bool:
                watch.execute("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
                return watch.rowcount > 0

            until(held_up, PATIENCE_SECONDS, "a command that records its secrets")
            making.kill()
            hold.execute("ROLLBACK")
        watching.close()
        holding.close()
        done = registry("migrate", data_dir=data)
        assert done.status == 0, done.err


def test_commands_that_are_killed_at_any_moment_are_finished_by_the_next(workshop: Workshop) -> None:
    rng = random.Random(SEED)
    print(f"FAULT_SEED={SEED}")
    data = workshop.empty_data()
    assert registry("migrate", data_dir=data).status == 0
    for command in ("demo-data", "serve", "demo-data"):
        moment, with_server = rng.uniform(0.4, 1.6), rng.random() < 0.5
        print(f"{command} is killed after {moment:.2f} s, PostgreSQL too: {with_server}")
        env = environment(data_dir=data, port=0)
        running = workshop.run([REGISTRY, command], env, workshop.folder)
        with suppress(subprocess.TimeoutExpired):
            running.process.wait(moment)
        running.kill()
        if with_server and (server := postmaster(data)) is not None:
            os.kill(server, signal.SIGKILL)
    done = registry("demo-data", data_dir=data, seconds=PATIENCE_SECONDS)
    assert done.status == 0, done.err
    serving = workshop.serve(data)
    serving.settled()
    with Client(serving.address, make_token(embedded_url(data), "auditor")) as client:
        lines = client.ask("GET", "/v1/events?limit=10000").body.splitlines()
        assert [json.loads(line)["position"] for line in lines] == list(range(1, DEMO_EVENTS + 1))
        assert len(client.items(f"/v1/institutions/27UM/badges?minPosition={DEMO_EVENTS}")) == 25


def test_a_number_that_is_another_process_by_now_is_not_taken_for_the_server(workshop: Workshop) -> None:
    """After a restart of the machine or its container, the number in postmaster.pid may be anyone's."""
    data = workshop.data()
    serving = workshop.serve(data)
    assert serving.address
    server = postmaster(data)
    assert server is not None
    serving.kill()
    os.kill(server, signal.SIGKILL)
    pid_file = data / "postgres" / "data" / "postmaster.pid"
    owner = pwd.getpwuid(pid_file.stat().st_uid)
    other = subprocess.Popen(["sleep", "120"], user=owner.pw_uid, group=owner.pw_gid, extra_groups=[])
    try:
        lines = pid_file.read_text().splitlines()
        with pid_file.open("r+") as file:
            file.write("\n".join([str(other.pid), *lines[1:]]) + "\n")
            file.truncate()
        began = time.monotonic()
        done = registry("migrate", data_dir=data, seconds=PATIENCE_SECONDS)
        assert done.status == 0, done.err
        print(f"started after {time.monotonic() - began:.1f} s")
        assert other.poll() is None, "the other process was ended"
    finally:
        other.kill()
        other.wait(10)
