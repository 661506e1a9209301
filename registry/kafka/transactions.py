"""Kafka transactions that hold every record or none, and end within a limited time.

The client commits a transaction even without records that it has given up on, waits for a commit without a
limit, and continues to send after a quick close. Here none of that may happen: a producer that cannot commit
in time is abandoned, and the next one fences it.
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
"""The time that the brokers have for a transaction."""
CLOSE_SECONDS = 1


@contextmanager
def producing(kafka: KafkaSettings, transactional_id: str) -> Iterator[KafkaProducer]:
    """A producer of transactions, which sends nothing after the block ends."""
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
    """Commits the transaction with everything that was sent in it, or raises `KafkaError`.

    After a timeout it is unknown whether the transaction was committed: after the next `init_transactions()`
    the topic says.
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
    for record in sent:
        if not record.succeeded():
            raise record.exception or KafkaError("a record was not sent")
    producer.commit_transaction()


def _abandon(producer: KafkaProducer) -> None:
    """Stops the sender first: `close` alone waits for unsent records, or raises and still sends them."""
    producer._sender.force_close()
    producer._sender.join(CLOSE_SECONDS)
    with suppress(KafkaError):
        producer.close(timeout=0)
