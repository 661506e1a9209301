"""The commands as processes: `serve`, `relay` and `consume` each apart, on a real broker."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from deploy.kafka.broker import Broker
from projections.all import read_models
from registry.domain.events import Fact, LogRepartitioned
from registry.postgres.embedded import EmbeddedPostgres
from registry.recording.operators import ORIGIN
from tests.end_to_end.conftest import model, workshop
from tests.end_to_end.processes import (
    DEMO_EVENTS,
    PROJECT,
    REGISTRY,
    Running,
    Workshop,
    environment,
    registry,
    with_an_ending_thread,
)
from tests.end_to_end.servers import embedded_url, make_token
from tests.faults.oracle import award_body
from tests.kafka.streaming import Streaming
from tests.kafka.topics import EVENTS
from tests.postgres.log import query, whole_log

__all__ = ["model", "workshop"]

SERVERS = "kafka_bootstrap_servers"


@pytest.fixture
def data(workshop: Workshop, broker: Broker) -> Path:
    """A data folder with the pilot's data, and no topics yet."""
    found = workshop.data()
    Streaming("", broker.bootstrap_servers).delete_topics()
    return found


def started(workshop: Workshop, word: str, data: Path, broker: Broker) -> Running:
    settings = environment(data_dir=data, **{SERVERS: broker.bootstrap_servers})
    return workshop.run([REGISTRY, word], settings, workshop.folder)


def test_an_award_is_visible_through_relay_and_consumer_and_each_ends_when_told(
    workshop: Workshop, data: Path, broker: Broker
) -> None:
    serving = workshop.serve(data, **{SERVERS: broker.bootstrap_servers})
    url = serving.address and embedded_url(data)
    relays = [started(workshop, "relay", data, broker) for _ in range(2)]
    consumers = [started(workshop, "consume", data, broker) for _ in range(2)]
    for relay in relays:
        relay.line("^(standing by)$")
    for consumer in consumers:
        names = ", ".join(model.name for model in read_models())
        assert consumer.line(r"^following Kafka: (.*)$") == names
    with serving.client(make_token(url, "institution", institution="27UM"), seconds=60) as client:
        serving.settled()
        answer = client.ask("POST", "/v1/badges", award_body("27UM", "through Kafka"))
        assert answer.status == 201
        badge, position = answer.json["id"], answer.json["position"]
        status = client.ask("GET", f"/v1/badges/{badge}/status?minPosition={position}")
        assert (status.status, status.json["status"]) == (200, "active")
    for process in (*relays, *consumers, serving):
        assert process.stop() == 0, process.said()


def test_without_consumers_nothing_is_visible_and_awards_go_on(
    workshop: Workshop, data: Path, broker: Broker
) -> None:
    serving = workshop.serve(data, **{SERVERS: broker.bootstrap_servers})
    url = serving.address and embedded_url(data)
    with serving.client(make_token(url, "institution", institution="27UM")) as client:
        answer = client.ask("POST", "/v1/badges", award_body("27UM", "nobody consumes"))
        assert answer.status == 201
        health = client.ask("GET", "/health/ready").json
        assert all(each["behindEvents"] > 0 for each in health["readModels"])


def test_the_commands_of_kafka_need_a_broker(data: Path) -> None:
    for word in ("relay", "topics"):
        done = registry(word, data_dir=data)
        assert done.status == 2
        assert "REGISTRY_KAFKA_BOOTSTRAP_SERVERS must be set" in done.err


def recorded(data: Path) -> list[Fact]:
    """What operators did to this registry."""
    with EmbeddedPostgres(data) as embedded:
        return [event.event().data for event in whole_log(embedded.url) if event.type.startswith("registry.")]


def test_topics_are_made_once_and_divided_anew_only_when_told(data: Path, broker: Broker) -> None:
    settings: dict[str, Any] = {"data_dir": data, SERVERS: broker.bootstrap_servers}
    for words in (["--partitions", "3"], [], ["--partitions", "3"]):
        done = registry("topics", *words, **settings)
        assert (done.status, done.out) == (0, "the log is divided into 3 partitions\n"), done.err
    refused = registry("topics", "--partitions", "8", **settings)
    assert refused.status == 1
    assert "divided into 3 partitions; --repartition changes that to 8" in refused.err
    divided = registry("topics", "--partitions", "8", "--repartition", "--because", "more", **settings)
    assert recorded(data) == [LogRepartitioned(**ORIGIN, partitions=8, reason="more")]
    assert (divided.status, divided.out) == (0, "the log is divided into 8 partitions\n"), divided.err
    wrong = registry("topics", "--partitions", "0", **settings)
    assert (wrong.status, "must be a number from 1 to 256" in wrong.err) == (2, True)


@pytest.mark.parametrize(
    ("word", "thread", "error"),
    [
        ("relay", "relay", "KeyError"),
        ("relay", "relay", "SystemExit"),
        ("consume", "projector-", "SystemExit"),
    ],
)
def test_a_thread_that_ends_ends_the_process_with_status_1_and_a_reason_on_one_line(
    word: str, thread: str, error: str, workshop: Workshop, data: Path, broker: Broker
) -> None:
    settings = environment(data_dir=data, **{SERVERS: broker.bootstrap_servers})
    relay = started(workshop, "relay", data, broker)
    relay.line("^(relaying from position 0)")
    if word == "relay":
        assert relay.stop() == 0
    running = workshop.run(with_an_ending_thread(thread, error, word), settings, PROJECT)
    running.line("^(relaying from|following Kafka)")
    running.process.send_signal(signal.SIGUSR1)
    assert running.process.wait(60) == 1
    reasons = [line for line in running.log.read_text().splitlines() if "CRITICAL" in line]
    assert reasons
    assert all(re.search(rf"(ended after|unexpected) {error} at \S+:\d+ ", line) for line in reasons)
    assert "Traceback" not in running.log.read_text()


def test_topics_are_not_divided_anew_while_a_relay_is_at_work(
    workshop: Workshop, data: Path, broker: Broker
) -> None:
    started(workshop, "relay", data, broker).line("^(relaying from position 0)")
    settings: dict[str, Any] = {"data_dir": data, SERVERS: broker.bootstrap_servers}
    refused = registry("topics", "--partitions", "8", "--repartition", "--because", "more", **settings)
    assert recorded(data) == []
    assert (refused.status, "stop every `registry relay` first" in refused.err) == (1, True)


def test_a_broker_that_is_not_there_is_said_in_a_sentence(data: Path) -> None:
    done = registry("relay", data_dir=data, kafka_bootstrap_servers="127.0.0.1:1")
    assert done.status == 1
    assert done.err.splitlines()[-1] == (
        "registry: Kafka at 127.0.0.1:1 cannot be reached (KafkaTimeoutError)"
    )


def test_an_operators_word_to_a_read_model_that_has_not_stopped_is_refused(data: Path) -> None:
    for words in (["retry", "badges"], ["skip", "badges", "7"]):
        done = registry(*words, "--because", "it was mended", data_dir=data)
        assert (done.status, "badges is not stopped at an event" in done.err) == (1, True)
        assert registry(*words, data_dir=data).status == 2
        assert registry(*words, "--because", "\n", data_dir=data).status == 2


def test_the_topic_is_readable_by_anyone_who_knows_cloudevents(
    workshop: Workshop, data: Path, broker: Broker
) -> None:
    """By its headers and value alone, with no code of ours."""
    started(workshop, "relay", data, broker).line("^(relaying from position 0)")
    streaming = Streaming(embedded_url(data), broker.bootstrap_servers)
    streaming.settled()
    events = []
    for record in streaming.topics.records(EVENTS):
        headers = {name: value.decode() for name, value in record.headers}
        if headers["ce_type"] != "registry.progress":
            assert headers["content-type"] == "application/json"
            events.append((int(headers["ce_position"]), headers["ce_type"], json.loads(record.value)))
    assert [position for position, _, _ in events] == list(range(1, DEMO_EVENTS + 1))
    awards = [data for _, kind, data in events if kind == "badge.awarded" and data["institution"] == "27UM"]
    assert [data["studyLoad"] for data in awards] == [{"ects": 5}] * 25


def test_what_the_topic_holds_beyond_a_position_is_printed_as_the_log_is_without_a_database(
    workshop: Workshop, data: Path, broker: Broker
) -> None:
    """With records of another program among them, which are named and left out."""
    servers: dict[str, Any] = {SERVERS: broker.bootstrap_servers}
    missing = registry("topics", "--print-after", "0", **servers)
    assert (missing.status, missing.err.splitlines()[-1]) == (
        1,
        "registry: the topic registry.events.v1 does not exist",
    )
    assert registry("topics", "--partitions", "3", data_dir=data, **servers).status == 0
    relay = started(workshop, "relay", data, broker)
    relay.line("^(relaying from position 0)")
    Streaming(embedded_url(data), broker.bootstrap_servers).settled()
    assert relay.stop() == 0
    Streaming("", broker.bootstrap_servers).topics.send(EVENTS, b"forged")

    logged = registry("replay", data_dir=data).out.splitlines()
    for position in (0, 30):
        printed = registry(
            "topics", "--print-after", str(position), database_url="postgresql://127.0.0.1:1/none", **servers
        )
        assert printed.status == 0, printed.err
        assert sorted(printed.out.splitlines()) == sorted(logged[position:])
        assert "a record that is not the relay's" in printed.err
        assert "forged" not in printed.err
    both = registry("topics", "--print-after", "0", "--partitions", "3", **servers)
    assert (both.status, "cannot be combined" in both.err) == (2, True)


def test_a_relay_needs_no_key_file_and_is_logged_in_as_nobody_but_its_login(
    workshop: Workshop, data: Path, broker: Broker
) -> None:
    (data / "keys.json").rename(workshop.folder / "keys.json")
    relay = started(workshop, "relay", data, broker)
    relay.line("^(relaying from position 0)")
    rows = query(
        embedded_url(data),
        "SELECT DISTINCT usename::text FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    assert rows == [("registry_stream",)]
    assert relay.stop() == 0, relay.said()
