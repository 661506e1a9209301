"""The brokers under a data folder: their ports, and the configuration that follows from them."""

from __future__ import annotations

import base64
import random
import socket
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from deploy.kafka import BrokerError

HOST = "127.0.0.1"
PROPERTIES = """\
process.roles=broker,controller
node.id={number}
# Static voters: their ports may change while all are down.
controller.quorum.voters={voters}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
# Relative to the process's own folder: an absolute path may hold a comma, which this file cannot.
log.dirs=data
# A topic that is created by accident would have the wrong number of partitions.
auto.create.topics.enable=false
# The log is kept permanently.
log.retention.ms=-1
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.num.partitions=1
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=3
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
# A killed broker is known to be dead after 3 seconds, not 9.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# The first reader of a group need not wait for others.
group.initial.rebalance.delay.ms=0
# The default, 128 MiB, is half of the heap.
log.cleaner.dedupe.buffer.size=16777216
"""


class Node(msgspec.Struct, frozen=True):
    """A broker, which is also a controller."""

    number: int
    port: int
    controller_port: int

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def ports(self) -> tuple[int, int]:
        return self.port, self.controller_port


class Cluster(msgspec.Struct, frozen=True):
    """The brokers that form a cluster."""

    id: str
    nodes: tuple[Node, ...]

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(node.address for node in self.nodes)

    def node(self, number: int) -> Node:
        for node in self.nodes:
            if node.number == number:
                return node
        raise BrokerError(f"node {number} does not exist: the number of nodes is {len(self.nodes)}")

    def properties(self, node: Node) -> str:
        """The configuration file of one node."""
        return PROPERTIES.format(
            host=HOST,
            number=node.number,
            port=node.port,
            controller_port=node.controller_port,
            voters=",".join(f"{voter.number}@{HOST}:{voter.controller_port}" for voter in self.nodes),
            replicas=min(3, len(self.nodes)),
            in_sync=min(2, len(self.nodes)),
        )


def new_cluster(nodes: int) -> Cluster:
    name = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    # The format tool would read a name with a leading dash as an option.
    return with_free_ports(Cluster(f"R{name[1:]}", ()), range(1, nodes + 1))


def with_free_ports(cluster: Cluster, numbers: Iterable[int]) -> Cluster:
    """The same brokers on other ports."""
    wanted = list(numbers)
    ports = _free_ports(2 * len(wanted))
    nodes = tuple(Node(number, ports.pop(), ports.pop()) for number in wanted)
    return Cluster(cluster.id, nodes)


def read_cluster(file: Path) -> Cluster | None:
    """The cluster in a file; None where no broker was ever started."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Cluster)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise BrokerError(f"{file} is damaged; remove its folder to start afresh") from error


def write_cluster(file: Path, cluster: Cluster) -> None:
    draft = file.with_suffix(".new")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(cluster)))
    draft.rename(file)


def is_free(port: int) -> bool:
    with socket.socket() as tried, suppress(OSError):
        # As in Java: leftovers of closed connections do not keep a new server from using the port.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tried.bind((HOST, port))
        return True
    return False


def _free_ports(count: int) -> list[int]:
    """Free ports below those that the system lends to clients.

    A client on such a port that tries to reach a dead broker again and again would at last connect to itself.
    """
    candidates = random.sample(range(15_000, 30_000), 500)
    ports = [port for port in candidates if is_free(port)][:count]
    if len(ports) < count:
        raise BrokerError(f"fewer than {count} ports between 15000 and 30000 are free")
    return ports
