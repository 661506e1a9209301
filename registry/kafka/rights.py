"""What the relay and the consumers may do on brokers that ask who connects.

Where a topic has a rule, Kafka refuses everyone else but its superusers: rights are only given here.
"""

from __future__ import annotations

from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from registry.kafka.settings import KafkaSettings
from registry.kafka.topics import TopicError, administering

Right = tuple[ResourceType, str, ACLOperation]
_TOPIC = ResourceType.TOPIC


def _checking(kafka: KafkaSettings) -> list[Right]:
    """Both check how the topics are set up, and read their ends, which say how far the relay has come."""
    return [(_TOPIC, topic, ACLOperation.DESCRIBE_CONFIGS) for topic in (kafka.events, kafka.statuses)]


def relay_rights(kafka: KafkaSettings) -> list[Right]:
    return [
        *_checking(kafka),
        *(
            (_TOPIC, topic, operation)
            for topic in (kafka.events, kafka.statuses)
            for operation in (ACLOperation.READ, ACLOperation.WRITE)
        ),
        (ResourceType.TRANSACTIONAL_ID, kafka.transactional_id, ACLOperation.WRITE),
    ]


def consumer_rights(kafka: KafkaSettings) -> list[Right]:
    return [
        *_checking(kafka),
        (_TOPIC, kafka.events, ACLOperation.READ),
        (_TOPIC, kafka.statuses, ACLOperation.DESCRIBE),
        (ResourceType.GROUP, kafka.group, ACLOperation.READ),
    ]


def give_rights(kafka: KafkaSettings, relay: str | None, consumer: str | None) -> None:
    """Gives the users of Kafka that the relay and the consumers are what each needs, and nothing more."""
    users = [(user, rights) for user, rights in ((relay, relay_rights), (consumer, consumer_rights)) if user]
    rules = [
        ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name))
        for user, rights in users
        for kind, name, operation in rights(kafka)
    ]
    if not rules:
        return
    with administering(kafka) as client:
        failed = client.create_acls(rules)["failed"]
    if failed:
        raise TopicError(
            f"Kafka gave no rights ({failed[0].__name__}): is an authorizer set up on the brokers?"
        )
