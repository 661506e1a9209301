"""The broker of `make kafka-up`, as processes and as a client sees it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from kafka.errors import ProducerFencedError

from deploy.kafka import BrokerError
from deploy.kafka.asking import alive
from deploy.kafka.broker import Broker
from tests.end_to_end.client import until
from tests.end_to_end.processes import PROJECT, Done, environment
from tests.kafka.topics import Topics
from tests.support import PATIENCE_SECONDS

NAME = "REGISTRY_KAFKA_BOOTSTRAP_SERVERS"


def kafka(*words: str, **settings: object) -> Done:
    """What `make` calls."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.kafka", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=PROJECT,
        env=environment(**settings),
    )
    return Done(done.returncode, done.stdout, done.stderr)


def await_alive(broker: Broker, nodes: set[int]) -> None:
    """Waits until node 1 counts these as working.

    Until then a new producer may be sent to a dead coordinator, for which the client waits half a minute.
    """
    first = broker.bootstrap_servers.split(",")[0]
    until(lambda: alive(first) == nodes, PATIENCE_SECONDS, f"a Kafka of the nodes {nodes}")


def test_what_a_transaction_committed_is_read_and_what_it_aborted_is_not(topics: Topics) -> None:
    topic = topics.create(partitions=2)
    with topics.producer("relay") as producer:
        producer.begin_transaction()
        producer.send(topic, b"one", key=b"k", headers=[("ce_position", b"1")], partition=0)
        producer.send(topic, None, key=b"", headers=[("ce_type", b"registry.progress")], partition=1)
        producer.commit_transaction()
        producer.begin_transaction()
        producer.send(topic, b"two", partition=0).get(timeout=10)
        producer.abort_transaction()

    first, marker = sorted(topics.records(topic, (0, 1)), key=lambda record: record.partition)

    assert (first.key, first.value, list(first.headers)) == (b"k", b"one", [("ce_position", b"1")])
    assert (marker.key, marker.value, list(marker.headers)) == (
        b"",
        None,
        [("ce_type", b"registry.progress")],
    )


def test_a_producer_is_fenced_by_the_next_of_its_name(topics: Topics) -> None:
    topic = topics.create()
    with topics.producer("fenced") as old:
        old.begin_transaction()
        old.send(topic, b"of the old one").get(timeout=10)
        with topics.producer("fenced") as new:
            with pytest.raises(ProducerFencedError):
                old.commit_transaction()
            new.begin_transaction()
            new.send(topic, b"of the new one")
            new.commit_transaction()

    assert topics.values(topic) == [b"of the new one"]


def test_a_topic_that_nobody_made_is_not_there(topics: Topics) -> None:
    assert not topics.partitions("nobody-made-this")
    assert not topics.partitions("nobody-made-this")


def test_starting_it_again_starts_nothing(broker: Broker) -> None:
    before = broker.pids, broker.bootstrap_servers

    broker.start()

    assert (broker.pids, broker.bootstrap_servers) == before


def test_another_number_of_nodes_is_refused(broker: Broker) -> None:
    with pytest.raises(BrokerError, match=r"^the number of nodes .* is 1, not 3"):
        broker.start(nodes=3)


@pytest.mark.slow
def test_a_broker_that_was_killed_goes_on_with_its_data_at_its_address(own_broker: Broker) -> None:
    own_broker.start()
    address = own_broker.bootstrap_servers
    topic = Topics(address).create()
    Topics(address).send(topic, b"kept")
    own_broker.kill()
    assert own_broker.pids == {}

    own_broker.start()

    assert own_broker.bootstrap_servers == address
    # What was committed may be marked so only now: who sends next under the name waits for that.
    Topics(address).send(topic, b"and more")
    assert Topics(address).values(topic) == [b"kept", b"and more"]


@pytest.mark.long
@pytest.mark.slow
def test_the_port_that_another_process_took_meanwhile_is_given_up(own_broker: Broker) -> None:
    own_broker.start()
    address = own_broker.bootstrap_servers
    topic = Topics(address).create()
    Topics(address).send(topic, b"kept")
    own_broker.kill()
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        own_broker.start()

    assert own_broker.bootstrap_servers != address
    assert Topics(own_broker.bootstrap_servers).values(topic) == [b"kept"]


@pytest.mark.slow
def test_a_frozen_broker_answers_nothing_until_it_is_thawed_and_can_be_stopped(own_broker: Broker) -> None:
    own_broker.start()
    own_broker.freeze()
    assert alive(own_broker.bootstrap_servers, seconds=1) == set()
    own_broker.thaw()
    own_broker.start()
    assert alive(own_broker.bootstrap_servers) == {1}
    own_broker.freeze()

    assert own_broker.stop()

    assert own_broker.pids == {}


@pytest.mark.slow
def test_up_prints_the_address_and_down_stops_it_in_a_path_with_spaces_and_accents(tmp_path: Path) -> None:
    data = tmp_path / "dépôt, une copie"
    try:
        up = kafka("up", data_dir=data)
        again = kafka("up", data_dir=data)
        (pid,) = Broker(data).pids.values()
        down = kafka("down", data_dir=data)
    finally:
        Broker(data).stop()

    assert up.status == 0, up.err
    assert up.last_line.startswith(f"{NAME}=127.0.0.1:")
    assert again.last_line == up.last_line
    assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
    assert (down.status, down.last_line) == (0, "Kafka was stopped.")


def test_down_where_nothing_runs_says_so(tmp_path: Path) -> None:
    down = kafka("down", data_dir=tmp_path / "nothing")

    assert (down.status, down.last_line) == (0, f"No Kafka is running under {tmp_path}/nothing/kafka.")
    assert not (tmp_path / "nothing").exists()


def test_a_broker_that_is_there_already_is_used(broker: Broker, tmp_path: Path) -> None:
    up = kafka("up", data_dir=tmp_path / "data", kafka_bootstrap_servers=broker.bootstrap_servers)

    assert up.last_line == f"{NAME}={broker.bootstrap_servers}"
    assert not (tmp_path / "data").exists()


def test_an_address_at_which_no_broker_answers_is_refused(tmp_path: Path) -> None:
    up = kafka("up", data_dir=tmp_path / "data", kafka_bootstrap_servers="127.0.0.1:1")

    assert (up.status, up.out) == (1, "")
    assert up.err.startswith("no Kafka answers at 127.0.0.1:1: ")


def test_the_number_of_another_process_is_not_taken_for_the_broker(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        place = tmp_path / "kafka" / "node-1"
        place.mkdir(parents=True)
        cluster = '{"id": "R", "nodes": [{"number": 1, "port": 15001, "controller_port": 15002}]}'
        (tmp_path / "kafka" / "cluster.json").write_text(cluster)
        (place / "pid").write_text(str(stranger.pid))

        stopped = Broker(tmp_path).stop()

        assert not stopped
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.long
@pytest.mark.slow
def test_three_nodes_go_on_while_one_is_killed_and_another_time_all_are_stopped(own_broker: Broker) -> None:
    own_broker.start(nodes=3)
    topics = Topics(own_broker.bootstrap_servers)
    topic = topics.create(replicas=3)
    topics.send(topic, b"with three")

    own_broker.kill(2)
    await_alive(own_broker, {1, 3})
    topics.send(topic, b"with two")
    assert topics.values(topic) == [b"with three", b"with two"]

    own_broker.restart(2)
    assert sorted(own_broker.pids) == [1, 2, 3]
    own_broker.kill(3)
    await_alive(own_broker, {1, 2})
    topics.send(topic, b"with the one that was away")
    assert topics.values(topic)[2:] == [b"with the one that was away"]
    assert own_broker.stop()
    assert own_broker.pids == {}
