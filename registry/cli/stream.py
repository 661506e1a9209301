"""The commands of the way from the log to the read models: `relay`, `topics`, `consume` and their mending."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from consumers.feeds import StoreSource
from consumers.interventions import Action, intervene
from consumers.kafka_feed import KafkaSource
from consumers.projector import Projector, at_work, projectors_of
from consumers.rebuild import level, rebuild
from projections.all import read_models
from projections.read_model import ReadModel
from registry.cli import database
from registry.cli.common import UsageError, end_in_time, opened, say, tune_gc
from registry.kafka.relay import Relay
from registry.kafka.settings import KafkaSettings
from registry.kafka.topics import make_first_topics, make_topics
from registry.postgres.connections import Pool
from registry.settings import Settings

BATCH_SECONDS = 1.0
"""So long `consume` waits for each batch under way when it is told to stop."""


def _kafka(settings: Settings) -> KafkaSettings:
    if settings.kafka is None:
        raise UsageError("set REGISTRY_KAFKA_BOOTSTRAP_SERVERS; `make kafka-up` starts a broker")
    return settings.kafka


def _when_told(leave: Callable[[], None]) -> None:
    """Ends what is under way at SIGTERM or SIGINT, and the process in time."""

    def told(*_: object) -> None:
        end_in_time()
        leave()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)


def run_topics(settings: Settings, arguments: argparse.Namespace) -> int:
    kafka = _kafka(settings)
    with database.started(settings) as url:
        opened(url, settings)
        if arguments.repartition:
            for model in read_models():
                level(url, model)
        with database.owner(url) as connection:
            count = make_topics(connection, kafka, arguments.partitions, repartition=arguments.repartition)
    say(f"the log is divided into {count} partition{'s' if count > 1 else ''}")
    return 0


def run_relay(settings: Settings, _: argparse.Namespace) -> int:
    kafka = _kafka(settings)
    with database.started(settings) as url:
        opened(url, settings)
        with database.owner(url) as connection:
            make_first_topics(connection, kafka)
        relaying = Relay(url, kafka, say)
        _when_told(relaying.leave)
        say("standing by")
        tune_gc()
        # In another thread: this one hears that it is to stop also while PostgreSQL stands still.
        with ThreadPoolExecutor(1, "relay") as pool:
            pool.submit(relaying.run).result()
    return 0


def run_consume(settings: Settings, _: argparse.Namespace) -> int:
    with database.started(settings) as url:
        opened(url, settings)
        pool = Pool(url, "registry_project", 4)
        told = threading.Event()
        _when_told(told.set)
        with closing(pool), at_work(projectors(url, pool, settings.kafka), BATCH_SECONDS):
            names = ", ".join(model.name for model in read_models())
            say(f"following {'Kafka' if settings.kafka else 'the log'}: {names}")
            tune_gc()
            told.wait()
    return 0


def projectors(url: str, pool: Pool, kafka: KafkaSettings | None) -> list[Projector]:
    """From Kafka the read models that its order by key is enough for, from the store those in total order."""
    if kafka is None:
        return projectors_of(url, StoreSource(pool), read_models())
    by_key = [model for model in read_models() if model.order == "by key"]
    total = [model for model in read_models() if model.order == "total"]
    return projectors_of(url, KafkaSource(kafka), by_key) + projectors_of(url, StoreSource(pool), total)


def _model(name: str) -> ReadModel:
    (model,) = (model for model in read_models() if model.name == name)
    return model


def run_rebuild(settings: Settings, arguments: argparse.Namespace) -> int:
    with database.started(settings) as url:
        with database.owner(url) as connection:
            database.check_migrated(connection)
        rebuild(url, _model(arguments.name), say, although_it_differs=arguments.force)
    return 0


def run_retry(settings: Settings, arguments: argparse.Namespace) -> int:
    return _intervene(settings, "retry", arguments.name, None, arguments.because)


def run_skip(settings: Settings, arguments: argparse.Namespace) -> int:
    return _intervene(settings, "skip", arguments.name, arguments.position, arguments.because)


def _intervene(settings: Settings, action: Action, name: str, position: int | None, because: str) -> int:
    if not 1 <= len(because) <= 500 or not because.isprintable():
        raise UsageError("--because is a line of 1 to 500 characters; it names no person")
    with database.started(settings) as url, database.owner(url) as connection:
        database.check_migrated(connection)
        at = intervene(connection, name, action, position, because)
    say(f"recorded: {name} is to {action} the event at position {at}")
    return 0
