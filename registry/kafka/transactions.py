"""Kafka transactions that are whole: every record of one, in bounded time, or none.

The client commits a transaction also without the records on which it has given up, waits for the end of a
commit without a bound, and goes on sending after it was closed in a hurry. None of that may happen here: who
cannot commit in time abandons the producer and begins again, and the next one fences it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from registry.kafka.clients import connected
from registry.kafka.settings import KafkaSettings

COMMIT_SECONDS = 10
"""So long the brokers may take for a transaction."""
CLOSE_SECONDS = 1


@contextmanager
def producing(kafka: KafkaSettings, transactional_id: str) -> Iterator[KafkaProducer]:
    """A producer of transactions; afterwards nothing of it is sent any more."""
    producer = connected(
        KafkaProducer,
        **kafka.client(),
        transactional_id=transactional_id,
        enable_idempotence=True,
        acks="all",
        allow_auto_create_topics=False,
        batch_size=512 * 1024,
        linger_ms=5,
        max_block_ms=10_000,
        delivery_timeout_ms=30_000,
        request_timeout_ms=10_000,
        transaction_timeout_ms=30_000,
        metrics_enabled=False,
    )
    try:
        yield producer
    finally:
        _abandon(producer)


def commit(producer: KafkaProducer, sent: Sequence[Any]) -> None:
    """Commits the transaction with all that was sent in it, or raises `KafkaError`.

    Whether it was committed is unknown where that took too long; the topic says so after the next
    `init_transactions()`.
    """
    errors: list[BaseException] = []

    def work() -> None:
        try:
            _commit(producer, sent)
        except BaseException as error:
            errors.append(error)

    committing = threading.Thread(target=work, name="commit", daemon=True)
    committing.start()
    committing.join(COMMIT_SECONDS)
    if committing.is_alive():
        raise KafkaTimeoutError(f"a transaction was not committed within {COMMIT_SECONDS} s")
    if errors:
        raise errors[0]


def _commit(producer: KafkaProducer, sent: Sequence[Any]) -> None:
    producer.flush()
    for each in sent:
        if not each.succeeded():
            raise each.exception or KafkaError("a record was not sent")
    producer.commit_transaction()


def _abandon(producer: KafkaProducer) -> None:
    """Closing alone either waits for what is not sent yet, or raises and lets its thread send it."""
    producer._sender.force_close()
    producer._sender.join(CLOSE_SECONDS)
    with suppress(KafkaError):
        producer.close(timeout=0)
