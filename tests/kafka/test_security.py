"""A broker that wants a name and a password over TLS: everyone reaches it by the settings alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from deploy.kafka import cluster
from deploy.kafka.broker import Broker
from registry.kafka.settings import MECHANISMS, KafkaSettings
from registry.kafka.topics import TopicError, administering
from tests.certificates import certificate
from tests.kafka.conftest import ended
from tests.kafka.streaming import Streaming
from tests.postgres.commands import admitted, award, registry_on
from tests.postgres.projecting import folded, held

PASSWORD = "gezouten haring"
SECURE = f"""
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL
sasl.enabled.mechanisms={",".join(MECHANISMS)}
listener.name.secure.plain.sasl.jaas.config=\\
  org.apache.kafka.common.security.plain.PlainLoginModule required user_registry="{PASSWORD}";
listener.name.secure.scram-sha-256.sasl.jaas.config=\\
  org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.scram-sha-512.sasl.jaas.config=\\
  org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location=broker.pem
listener.name.secure.ssl.truststore.type=PEM
listener.name.secure.ssl.truststore.location=certificate.pem
listener.name.secure.ssl.client.auth=required
"""


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, KafkaSettings]]:
    """A broker with a listener for SASL over TLS that wants a certificate too, and how to reach it."""
    data = tmp_path_factory.mktemp("secure")
    broker, (port,) = Broker(data), cluster._free_ports(1)
    place = data / "kafka" / "node-1"
    place.mkdir(parents=True)
    certificate_file, key_file = certificate(place)
    (place / "broker.pem").write_bytes(key_file.read_bytes() + certificate_file.read_bytes())
    plain = "listeners=PLAINTEXT://{host}:{port}"
    files = (str(certificate_file), str(certificate_file), str(key_file))
    settings = KafkaSettings(f"localhost:{port}", "SASL_SSL", *files, None, "registry", PASSWORD)
    for _ in ended(broker):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(
                cluster,
                "PROPERTIES",
                cluster.PROPERTIES.replace(plain, f"{plain},SECURE://localhost:{port}") + SECURE,
            )
            broker.start()
        with KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as client:
            for kind in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
                # One at a time: Kafka alters a user once in a request.
                stated = [UserScramCredentialUpsertion("registry", kind, PASSWORD)]
                assert client.alter_user_scram_credentials(stated) == {"registry": None}
        yield broker, settings


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_log_reaches_the_read_models_with_each_mechanism(
    url: str, secure: tuple[Broker, KafkaSettings], mechanism: str
) -> None:
    broker, settings = secure
    streaming = Streaming(url, broker.bootstrap_servers, replace(settings, mechanism=mechanism))
    streaming.delete_topics()
    streaming.make_topics(2)
    with registry_on(url) as registry, streaming.relaying(), streaming.consuming():
        admitted(registry, "27UM")
        for number in range(20):
            award(registry, "27UM", str(number), f"learner {number % 7}")
        streaming.settled()
        streaming.projected()
    assert held(url) == folded(url)


def test_who_is_not_known_is_refused_and_its_password_is_not_said(
    secure: tuple[Broker, KafkaSettings],
) -> None:
    _, settings = secure
    wrong = replace(settings, mechanism="SCRAM-SHA-512", password="zoute drop")
    with pytest.raises(TopicError) as refusal, administering(wrong):
        pass
    assert "zoute drop" not in str(refusal.value)
