"""The commands between log and read models: `relay`, `topics`, `consume`, `rebuild`, `retry`, `skip`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext

from consumers.feeds import StoreSource
from consumers.interventions import Action, intervene
from consumers.kafka_feed import KafkaSource
from consumers.projector import Projector, at_work, projectors_of
from consumers.rebuild import level, rebuild
from projections.all import read_models
from projections.read_model import ReadModel
from registry import defects
from registry.cli import database
from registry.cli.common import UsageError, check_read_models, end_in_time, say, tune_gc
from registry.kafka.brokers import Brokers
from registry.kafka.relay import Relay
from registry.kafka.rights import give_rights
from registry.kafka.settings import KafkaSettings
from registry.kafka.topic_ends import events_beyond
from registry.kafka.topics import administering, counted, make_first_topics, make_topics
from registry.logs import Troubles
from registry.postgres.connections import Login, Pool, connect
from registry.settings import Settings

log = logging.getLogger("registry")
CHECK_SECONDS = 1.0
PAGE_SECONDS = 1.0
"""How long `consume` waits for each page in progress when it is told to stop."""


def _kafka(settings: Settings) -> KafkaSettings:
    if settings.kafka is None:
        raise UsageError("REGISTRY_KAFKA_BOOTSTRAP_SERVERS must be set; `make kafka-up` starts a broker")
    return settings.kafka


def _on_stop_signal(leave: Callable[[], None]) -> None:
    """At SIGTERM or SIGINT calls `leave`, and makes sure that the process ends in time."""

    def handle(*_: object) -> None:
        leave()
        end_in_time()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def _monitored(
    settings: Settings, command: str, turned: Callable[[], float], trouble: Callable[[], str]
) -> AbstractContextManager[None]:
    if settings.monitoring_port is None:
        return nullcontext()
    # The web framework takes longer to import than everything else.
    from registry.cli.monitoring import monitored  # noqa: PLC0415

    return monitored(settings, command, turned, trouble)


def _troubles_of(loops: Sequence[Troubles], kafka: KafkaSettings | None) -> Callable[[], str]:
    """Says what hinders the loops of this process now, empty where nothing does.

    A loop that has nothing to carry does not notice that the brokers are away, so they are asked too.
    """
    brokers = None if kafka is None else Brokers(kafka)

    def troubles() -> str:
        away = brokers is not None and not brokers.answer()
        found = [loop.now for loop in loops] + ["no broker of Kafka can be reached"] * away
        return "; ".join(filter(None, found))

    return troubles


def run_topics(settings: Settings, arguments: argparse.Namespace) -> int:
    kafka = _kafka(settings)
    if arguments.print_after is not None:
        if any((arguments.partitions, arguments.relay_user, arguments.consumer_user, arguments.repartition)):
            raise UsageError("--print-after cannot be combined with another option")
        return _print_topic(kafka, arguments.print_after)
    because = _because(arguments, "repartition")
    # Another division is recorded in the log, for which the login of a relay has no right.
    login: Login = "registry_owner" if because else "registry_stream"
    with database.started(settings, login) as url:
        if because is None:
            check_read_models(url, login)
        else:
            with database.owner(url) as owner:
                database.check_migrated(owner)
            for model in read_models():
                level(url, model)
        with closing(connect(url, None if because else "registry_project")) as connection:
            count = make_topics(connection, kafka, arguments.partitions, repartition_because=because)
    give_rights(kafka, arguments.relay_user, arguments.consumer_user)
    say(f"the log is divided into {counted(count)}")
    return 0


def _print_topic(kafka: KafkaSettings, position: int) -> int:
    """Needs no database: the log may have lost what the topic holds."""
    with administering(kafka):
        for event in events_beyond(kafka, position):
            sys.stdout.buffer.write(event.line())
    sys.stdout.buffer.flush()
    return 0


def run_relay(settings: Settings, _: argparse.Namespace) -> int:
    kafka = _kafka(settings)
    with database.started(settings, "registry_stream") as url:
        check_read_models(url, "registry_stream")
        with closing(connect(url, "registry_project")) as connection:
            make_first_topics(connection, kafka)
        relay = Relay(url, kafka, say)
        _on_stop_signal(relay.leave)
        say("standing by")
        tune_gc()
        # The relay has its own thread, so that this one can react to a signal while PostgreSQL hangs.
        with (
            _monitored(settings, "relay", lambda: relay.turned, _troubles_of([relay.troubles], kafka)),
            ThreadPoolExecutor(1, "relay") as pool,
        ):
            ended = pool.submit(relay.run).exception()
    if isinstance(ended, Exception):
        raise ended
    if ended is not None:  # such as SystemExit, which would end this process as if nothing had happened
        log.critical("the relay has ended after %s", defects.named(ended))
        return 1
    return 0


def run_consume(settings: Settings, _: argparse.Namespace) -> int:
    with database.started(settings, "registry_stream") as url:
        check_read_models(url, "registry_stream")
        pool = Pool(url, "registry_project", 4)
        stopping = threading.Event()
        _on_stop_signal(stopping.set)
        working = projectors(url, pool, settings.kafka)

        def turned() -> float:
            return min(projector.turned for projector in working)

        with (
            closing(pool),
            at_work(working, PAGE_SECONDS),
            _monitored(
                settings,
                "consume",
                turned,
                _troubles_of([projector.troubles for projector in working], settings.kafka),
            ),
        ):
            names = ", ".join(model.name for model in read_models())
            say(f"following {'Kafka' if settings.kafka else 'the log'}: {names}")
            tune_gc()
            while not stopping.wait(CHECK_SECONDS):
                if not all(projector.works for projector in working):
                    return 1  # the log says why; whatever runs this process starts it again
    return 0


def projectors(url: str, pool: Pool, kafka: KafkaSettings | None) -> list[Projector]:
    """Projectors that follow Kafka for read models that need order by key, and the store for the others."""
    if kafka is None:
        return projectors_of(url, StoreSource(pool), read_models())
    by_key = [model for model in read_models() if model.order == "by key"]
    total = [model for model in read_models() if model.order == "total"]
    return projectors_of(url, KafkaSource(kafka), by_key) + projectors_of(url, StoreSource(pool), total)


def _model(name: str) -> ReadModel:
    (model,) = (model for model in read_models() if model.name == name)
    return model


def _because(arguments: argparse.Namespace, option: str) -> str | None:
    """The reason of an option that is recorded; None where it is not given."""
    if getattr(arguments, option) != (arguments.because is not None):
        raise UsageError(f"--{option} and --because must be given together")
    because: str | None = arguments.because
    return because


def run_rebuild(settings: Settings, arguments: argparse.Namespace) -> int:
    because = _because(arguments, "force")
    with database.started(settings, "registry_owner") as url:
        with database.owner(url) as connection:
            database.check_migrated(connection)
        rebuild(url, _model(arguments.name), say, force_because=because)
    return 0


def run_retry(settings: Settings, arguments: argparse.Namespace) -> int:
    return _intervene(settings, "retry", arguments.name, None, arguments.because)


def run_skip(settings: Settings, arguments: argparse.Namespace) -> int:
    return _intervene(settings, "skip", arguments.name, arguments.position, arguments.because)


def _intervene(settings: Settings, action: Action, name: str, position: int | None, because: str) -> int:
    with database.started(settings, "registry_owner") as url, database.owner(url) as connection:
        database.check_migrated(connection)
        at = intervene(connection, name, action, position, because)
    say(f"recorded: {name} will {action} the event at position {at}")
    return 0
