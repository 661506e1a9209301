"""`registry consume` and `registry rebuild`, as an operator types them."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from projections.all import read_models
from registry.keys import read_key_file
from registry.postgres.connections import connect
from registry.recording.registry import Registry, utc_now
from tests.end_to_end.client import until
from tests.end_to_end.processes import (
    PROJECT,
    REGISTRY,
    STOP_SECONDS,
    Running,
    Workshop,
    environment,
    registry,
    with_an_ending_thread,
)
from tests.end_to_end.servers import embedded_url, postmaster
from tests.postgres.commands import award_badge, command
from tests.postgres.log import execute, query
from tests.postgres.projecting import folded, held, positions
from tests.support import PATIENCE_SECONDS

pytestmark = pytest.mark.slow
SAID = re.compile(
    r"badges: building version (\d+) beside version \1, which stays in use\n"
    r"badges: comparing all rows, at position \d+\n"
    r"badges: compared \d+ rows with those in use: no difference\n"
    r"badges: comparing the rows that may have changed since, at position \d+\n"
    r"badges: version \1 is in use from position \d+; it took \d+\.\d s\n"
)


@pytest.fixture
def data(workshop: Workshop) -> Path:
    """The pilot's data, with its PostgreSQL kept running by a service that answers."""
    folder = workshop.data()
    workshop.serve(folder).settled()
    return folder


def consuming(workshop: Workshop, data: Path, words: Sequence[str] = (REGISTRY, "consume")) -> Running:
    running = workshop.run(words, environment(data_dir=data), PROJECT)
    assert running.line("^following the log: (.*)") == ", ".join(model.name for model in read_models())
    return running


@contextmanager
def recording(data: Path) -> Iterator[Registry]:
    """What records and projects nothing."""
    found = Registry(embedded_url(data), read_key_file(data / "keys.json"), utc_now)
    try:
        yield found
    finally:
        found.close()


def badge_table(url: str) -> int:
    """Which table it is that answers."""
    ((found,),) = query(url, "SELECT 'badge'::regclass::oid::bigint")
    return int(found)


def waits_for_a_lock(url: str) -> bool:
    return query(url, "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'") != []


def holds_all(url: str) -> bool:
    ((last,),) = query(url, "SELECT max(position) FROM event")
    return set(positions(url).values()) == {last}


def test_consume_keeps_the_read_models_up_to_date_apart_from_serving(workshop: Workshop) -> None:
    """Two at once do no harm, and the one that is left goes on when the other is killed."""
    data = workshop.empty_data()
    assert registry("migrate", data_dir=data).status == 0
    both = [consuming(workshop, data), consuming(workshop, data)]
    url = embedded_url(data)
    assert registry("demo-data", data_dir=data).status == 0
    until(lambda: holds_all(url), PATIENCE_SECONDS, "read models that hold the pilot's data")
    assert held(url) == folded(url)

    both[0].kill()
    with recording(data) as found:
        for number in range(50):
            award_badge(found, command("27UM", f"later-{number}", "l-1", "KLINRED"))
    until(lambda: holds_all(url), PATIENCE_SECONDS, "read models that hold what came later")
    assert held(url) == folded(url)
    third = consuming(workshop, data)
    for each in (third, both[1]):
        assert each.stop(seconds=STOP_SECONDS) == 0
        assert "Traceback" not in each.log.read_text()
    assert postmaster(data) is None


def test_sigterm_ends_consume_in_time_though_its_batch_is_held_up(workshop: Workshop) -> None:
    data = workshop.data()
    running = consuming(workshop, data)
    url = embedded_url(data)
    until(lambda: holds_all(url), PATIENCE_SECONDS, "read models that hold the pilot's data")
    with closing(connect(url)) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE badge IN ACCESS EXCLUSIVE MODE")
        with recording(data) as found:
            award_badge(found, command("27UM", "held-up", "l-1", "KLINRED"))
        until(lambda: waits_for_a_lock(url), PATIENCE_SECONDS, "a batch that is held up")
        assert running.stop(seconds=STOP_SECONDS) == 0
    following = consuming(workshop, data)
    until(lambda: holds_all(url), PATIENCE_SECONDS, "read models that go on")
    assert held(url) == folded(url)
    assert following.stop() == 0


@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt"])
def test_consume_ends_with_status_1_and_a_reason_when_a_thread_of_it_ends(
    error: str, workshop: Workshop, data: Path
) -> None:
    words = with_an_ending_thread("projector-", error, "consume")
    running = consuming(workshop, data, words)
    running.process.send_signal(signal.SIGUSR1)
    assert running.process.wait(PATIENCE_SECONDS) == 1
    reasons = [line for line in running.log.read_text().splitlines() if "CRITICAL" in line]
    assert reasons
    assert all(
        re.search(rf"the projector of [a-z ]+ has ended after {error} at \S+:\d+ ", line) for line in reasons
    )
    assert "Traceback" not in running.log.read_text()


def test_a_rebuild_says_what_it_did_and_swaps(data: Path) -> None:
    url = embedded_url(data)
    before = badge_table(url)
    done = registry("rebuild", "badges", data_dir=data)
    assert (done.status, done.err) == (0, "")
    assert SAID.fullmatch(done.out), done.out
    assert badge_table(url) != before
    assert held(url) == folded(url)


def test_a_rebuild_that_differs_swaps_nothing_until_it_is_told_to(data: Path) -> None:
    url = embedded_url(data)
    before = badge_table(url)
    execute(url, "DELETE FROM badge WHERE id = (SELECT min(id::text)::uuid FROM badge)")
    done = registry("rebuild", "badges", data_dir=data)
    assert done.status == 1
    assert done.err.count("\n") == 1, done.err
    assert "rows only in the old copy 0, only in the new copy 1" in done.err
    assert "--force" in done.err
    assert badge_table(url) == before
    forced = registry("rebuild", "badges", "--force", "--because", "rows were lost", data_dir=data)
    assert (forced.status, forced.err) == (0, "")
    assert badge_table(url) != before
    assert held(url) == folded(url)


@pytest.mark.parametrize("moment", ["building (version)", "holds up the (swap)"])
def test_a_rebuild_that_is_killed_leaves_what_answers_and_can_be_started_again(
    moment: str, workshop: Workshop, data: Path
) -> None:
    url = embedded_url(data)
    before = badge_table(url)
    with closing(connect(url)) as reader, reader.cursor() as cursor:
        # A long look-up: it holds up the swap.
        cursor.execute("BEGIN; SELECT FROM badge")
        words, env = [REGISTRY, "rebuild", "badges"], environment(data_dir=data)
        running = workshop.run(words, env, workshop.folder)
        running.line(moment)
        running.kill()
        cursor.execute("ROLLBACK")
    assert badge_table(url) == before
    assert held(url) == folded(url)

    done = registry("rebuild", "badges", data_dir=data)
    assert (done.status, done.err) == (0, "")
    assert badge_table(url) != before
    assert held(url) == folded(url)
    assert query(url, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'rebuild%%'") == []


def test_a_rebuild_that_loses_its_database_says_so_in_a_sentence(workshop: Workshop, data: Path) -> None:
    url = embedded_url(data)
    with closing(connect(url)) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN; SELECT FROM badge")
        words, env = [REGISTRY, "rebuild", "badges"], environment(data_dir=data)
        running = workshop.run(words, env, workshop.folder)
        running.line("compared (.*)")
        execute(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'registry'"
            " AND pid <> pg_backend_pid() AND pid <> %s",
            (reader.info.backend_pid,),
        )
        assert running.process.wait(STOP_SECONDS) == 1
    said = running.log.read_text()
    assert said.startswith("registry: "), said
    assert said.count("\n") == 1, said
