"""What the relay and the consumers may do on brokers that ask who connects.

Where a topic has a rule, Kafka refuses everyone else but its superusers: rights are only given here.
"""

from __future__ import annotations

from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from registry.kafka.records import EVENTS, GROUP, STATUSES, TRANSACTIONAL_ID
from registry.kafka.settings import KafkaSettings
from registry.kafka.topics import TopicError, administering

Right = tuple[ResourceType, str, ACLOperation]
_TOPIC = ResourceType.TOPIC
# Both check how the topics are set up before they work, and read their ends: how far the relay has come.
_CHECKING = tuple((_TOPIC, topic, ACLOperation.DESCRIBE_CONFIGS) for topic in (EVENTS, STATUSES))
RELAY: tuple[Right, ...] = (
    *_CHECKING,
    *(
        (_TOPIC, topic, operation)
        for topic in (EVENTS, STATUSES)
        for operation in (ACLOperation.READ, ACLOperation.WRITE)
    ),
    (ResourceType.TRANSACTIONAL_ID, TRANSACTIONAL_ID, ACLOperation.WRITE),
)
CONSUMER: tuple[Right, ...] = (
    *_CHECKING,
    (_TOPIC, EVENTS, ACLOperation.READ),
    (_TOPIC, STATUSES, ACLOperation.DESCRIBE),
    (ResourceType.GROUP, GROUP, ACLOperation.READ),
)


def give_rights(kafka: KafkaSettings, relay: str | None, consumer: str | None) -> None:
    """Gives the users of Kafka that the relay and the consumers are what each needs, and nothing more."""
    users = [(user, rights) for user, rights in ((relay, RELAY), (consumer, CONSUMER)) if user]
    rules = [
        ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name))
        for user, rights in users
        for kind, name, operation in rights
    ]
    if not rules:
        return
    with administering(kafka) as client:
        failed = client.create_acls(rules)["failed"]
    if failed:
        raise TopicError(
            f"Kafka gave no rights ({failed[0].__name__}): is an authorizer set up on the brokers?"
        )
