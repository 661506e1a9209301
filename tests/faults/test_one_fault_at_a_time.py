"""One fault after another to a fleet under load: who takes over, who waits, and who refuses to go on."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from projections.all import read_models
from tests.end_to_end.client import Client, until
from tests.end_to_end.processes import registry
from tests.faults.aftermath import check_read_models, check_topics, last_offsets, read_topic
from tests.faults.fleet import PARTITIONS, Fleet, Place
from tests.faults.load import Load
from tests.faults.turmoil import BROKERS
from tests.kafka.streaming import Streaming
from tests.support import PATIENCE_SECONDS

AWAY_SECONDS = float(os.environ.get("FAULT_AWAY_SECONDS", "20"))
"""So long all brokers are away; ten minutes are 600."""
SESSION_SECONDS = 10
SEED = 11
RELAYING = "^relaying from position ([0-9]+)"

pytestmark = pytest.mark.slow


@contextmanager
def under_load(fleet: Fleet) -> Iterator[Load]:
    """Awards all the time; at the end each that was acknowledged is there, once, wherever one may look."""
    load = Load(fleet.addresses[0], fleet.url, SEED, clients=3, bulk=1, also=fleet.addresses[1:], rest=0.05)
    load.start()
    load.more(20)
    try:
        yield load
        load.more(20)
    finally:
        load.stop()
    fleet.ready()
    fleet.settled()
    load.check(random.Random(SEED))
    fleet.settled()
    positions = [intent.position for intent in load.oracle.intents]
    check_topics(fleet, acknowledged=positions)


def at_work(fleet: Fleet) -> Place:
    """The relay that carries; the other stands by."""

    def found() -> Place | None:
        for place in fleet.of("relay"):
            with suppress(AssertionError):
                place.running.line(RELAYING, 0.2)
                return place
        return None

    return until(found, PATIENCE_SECONDS, "a relay at work")


def test_a_relay_that_is_frozen_for_longer_than_its_session_is_replaced_and_does_no_harm_when_it_wakes(
    fleet: Fleet,
) -> None:
    with under_load(fleet) as load:
        frozen = at_work(fleet)
        (other,) = (place for place in fleet.of("relay") if place is not frozen)
        frozen.send(signal.SIGSTOP)
        began = time.monotonic()
        other.running.line(RELAYING)
        print(f"another relay carries after {time.monotonic() - began:.1f} s")
        load.more(20)
        frozen.send(signal.SIGCONT)
        load.more(100)
    assert not fleet.endings()["relay"]


def test_a_consumer_that_is_frozen_for_longer_than_its_session_loses_its_partitions_and_doubles_nothing(
    fleet: Fleet,
) -> None:
    with under_load(fleet) as load:
        frozen = fleet.of("consume")[0]
        frozen.send(signal.SIGSTOP)
        began = time.monotonic()
        time.sleep(SESSION_SECONDS)
        goes_on(fleet, load)
        print(f"the other consumer holds all after {time.monotonic() - began:.1f} s")
        frozen.send(signal.SIGCONT)
        load.more(100)
    check_read_models(fleet)
    assert not fleet.endings()["consume"]


def goes_on(fleet: Fleet, load: Load) -> None:
    """Waits until every read model holds the last award that was acknowledged by now."""
    wanted = max(intent.position for intent in load.oracle.intents)
    until(lambda: held(fleet) >= wanted, PATIENCE_SECONDS, f"read models that hold {wanted}")


def held(fleet: Fleet) -> int:
    with Client(fleet.addresses[0]) as client:
        models = client.ask("GET", "/health/ready").json["readModels"]
    return min(int(model["position"]) for model in models)


@pytest.mark.long
def test_while_the_brokers_are_away_awards_go_on_and_all_is_caught_up_with_in_order(fleet: Fleet) -> None:
    with under_load(fleet) as load:
        for node in range(1, BROKERS + 1):
            fleet.broker.kill(node)
        until_back = time.monotonic() + AWAY_SECONDS
        while time.monotonic() < until_back:
            load.more(20)
        behind = lag(fleet)
        assert set(behind) == {model.name for model in read_models()}
        assert min(behind.values()) > 0
        fleet.broker.start()
        back = time.monotonic()
        until(lambda: max(lag(fleet).values()) < 50, PATIENCE_SECONDS, "read models that catch up")
        print(f"{behind} behind after {AWAY_SECONDS:.0f} s; caught up {time.monotonic() - back:.1f} s later")
    check_read_models(fleet)
    assert not fleet.endings()["relay"]
    assert not fleet.endings()["consume"]


def lag(fleet: Fleet) -> dict[str, float]:
    """How many events each read model is behind, as a monitor reads it."""
    with Client(fleet.addresses[0]) as client:
        said = client.ask("GET", "/metrics").body.decode()
    found = re.findall(r'^registry_read_model_behind_events\{read_model="(\w+)"\} (\S+)$', said, re.M)
    return {name: float(value) for name, value in found}


@pytest.mark.long
def test_when_postgresql_was_away_relay_and_consumers_go_on_by_themselves(fleet: Fleet) -> None:
    with under_load(fleet) as load:
        for mode in ("immediate", "fast"):
            fleet.server.stop(mode)
            time.sleep(3)
            fleet.server.start()
            load.more(20)
        fleet.server.freeze()
        time.sleep(SESSION_SECONDS + 2)
        fleet.server.thaw()
        load.more(20)
    check_read_models(fleet)
    assert not fleet.endings()["relay"]
    assert not fleet.endings()["consume"]


@pytest.mark.long
def test_topics_that_were_deleted_are_missed_and_filled_again_when_told_while_awards_go_on(
    fleet: Fleet,
) -> None:
    with under_load(fleet) as load:
        Streaming(fleet.url, fleet.kafka.bootstrap_servers).delete_topics()
        refused = until(
            lambda: [each for each in fleet.of("relay") if each.endings[1]],
            PATIENCE_SECONDS,
            "a relay that refuses",
        )
        assert "does not exist; was it deleted? See docs/runbooks/topic-lost.md" in refused[0].last_words
        load.more(20)
        # Each relay that starts again to look for the topics is at work for a moment.
        until(lambda: fleet.registry("topics").status == 0, PATIENCE_SECONDS, "topics that are made anew")
        began = time.monotonic()
        until(
            lambda: max(lag(fleet).values()) < 50, PATIENCE_SECONDS, f"read models that go on; {fleet.said()}"
        )
        print(f"read models have caught up {time.monotonic() - began:.1f} s after the topics were made")
    check_read_models(fleet)


def test_a_relay_on_a_store_that_was_restored_from_an_older_backup_refuses_and_sends_nothing(
    fleet: Fleet,
) -> None:
    """The backup is what all of them began with."""
    with under_load(fleet):
        pass
    fleet.close()
    for place in fleet.of("relay"):
        place.stop()
    before = read_topic(fleet)
    restored = fleet.streaming(fleet.server.copy())
    assert registry("topics", "--partitions", str(PARTITIONS), **restored).status == 0
    done = registry("relay", **restored)
    assert done.status == 1
    ahead = max(int(dict(records[-1].headers)["ce_position"]) for records in before.values())
    assert f"holds events through position {ahead}, and the log ends at " in done.err
    assert "was the store restored from a backup? See docs/runbooks/relay-ahead.md" in done.err
    assert last_offsets(read_topic(fleet)) == last_offsets(before)


@pytest.mark.long
def test_a_broker_of_three_is_killed_in_the_middle_of_transactions(fleet: Fleet) -> None:
    with under_load(fleet) as load:
        for node in range(1, BROKERS + 1):
            until(lambda: load.under_way, PATIENCE_SECONDS, "a batch under way")
            fleet.broker.kill(node)
            began = time.monotonic()
            load.more(20)
            goes_on(fleet, load)
            print(f"without node {node} it went on after {time.monotonic() - began:.1f} s")
            fleet.broker.restart(node)
    check_read_models(fleet)


@pytest.mark.long
def test_sigterm_ends_relay_and_consumers_in_time_whatever_stands_still(fleet: Fleet) -> None:
    with under_load(fleet):
        for halt, wake in (
            (fleet.server.freeze, fleet.server.thaw),
            (partial(_each, fleet.broker.freeze), partial(_each, fleet.broker.thaw)),
        ):
            at_work(fleet)
            halt()
            try:
                time.sleep(1)
                took = [place.stop() for place in fleet.of("relay") + fleet.of("consume")]
            finally:
                wake()
            print(f"ended after {', '.join(f'{each:.1f}' for each in took)} s")


def _each(do: Callable[[int], None]) -> None:
    for node in range(1, BROKERS + 1):
        do(node)
