"""Brokers as separate processes, under `kafka/` in a data folder.

Each node has a folder with its configuration, data, log and process id. Nodes outlive the process that
started them, and the next one adopts them. A killed node is started again on its data.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from deploy.kafka import BrokerError
from deploy.kafka.asking import alive
from deploy.kafka.cluster import (
    Cluster,
    Node,
    is_free,
    new_cluster,
    read_cluster,
    with_free_ports,
    write_cluster,
)
from deploy.kafka.jars import HERE, installed
from deploy.kafka.java import java

START_SECONDS = 60
STOP_SECONDS = 30
PORT_SECONDS = 5
"""How long a killed process may still hold its ports."""
OPTIONS = (
    "-Xmx256m",
    # These start in less time and memory; nobody measures such a broker.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+IgnoreUnrecognizedVMOptions",
    # From Java 24 on, this avoids warnings about Kafka's own libraries.
    "--sun-misc-unsafe-memory-access=allow",
)


class Broker:
    """A broker, or several that form a cluster; nodes are numbered from 1."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir.absolute() / "kafka"

    @property
    def bootstrap_servers(self) -> str:
        """The addresses, separated by commas; empty where none was ever started."""
        cluster = self._cluster()
        return cluster.bootstrap_servers if cluster else ""

    @property
    def pids(self) -> dict[int, int]:
        """The running processes by node number."""
        cluster = self._cluster()
        pids = {node.number: self._pid(node.number) for node in cluster.nodes} if cluster else {}
        return {number: pid for number, pid in pids.items() if pid}

    def log(self, node: int = 1) -> Path:
        """The log of a node."""
        return self._place(node) / "server.log"

    def start(self, nodes: int | None = None) -> None:
        """Starts every node that is not running, by default as many as before; waits until all answer."""
        with self._alone():
            cluster = self._prepared(nodes)
            for node in cluster.nodes:
                if not self._pid(node.number):
                    self._launch(cluster, node)
            self._await(cluster)

    def stop(self) -> bool:
        """Ends every node, with its data written; returns whether one was running."""
        if not self._folder.exists():
            return False
        with self._alone():
            running = self.pids
            for number in running:
                self._signal(number, signal.SIGTERM)
                self._signal(number, signal.SIGCONT)
            for number in running:
                self._await_end(number, STOP_SECONDS)
            return bool(running)

    def kill(self, node: int = 1) -> None:
        """Kills a node with SIGKILL, which is like a power cut."""
        self._signal(node, signal.SIGKILL)
        self._await_end(node, STOP_SECONDS)

    def freeze(self, node: int = 1) -> None:
        """Stops a node with SIGSTOP: connections stay open, and nothing answers."""
        self._signal(node, signal.SIGSTOP)

    def thaw(self, node: int = 1) -> None:
        self._signal(node, signal.SIGCONT)

    def restart(self, node: int = 1) -> None:
        """Ends a node if it is running, and starts it again on its data and ports."""
        with self._alone():
            self._signal(node, signal.SIGTERM)
            self._signal(node, signal.SIGCONT)
            self._await_end(node, STOP_SECONDS)
            cluster = self._prepared(None)
            self._launch(cluster, cluster.node(node))
            self._await(cluster)

    # Files under the data folder.

    def _place(self, node: int) -> Path:
        return self._folder / f"node-{node}"

    def _config(self, node: int) -> Path:
        return self._place(node) / "server.properties"

    def _cluster(self) -> Cluster | None:
        return read_cluster(self._folder / "cluster.json")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Lets one process at a time start or stop brokers."""
        self._folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        with (self._folder / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _prepared(self, nodes: int | None) -> Cluster:
        """The cluster that is to run, with its configuration written."""
        cluster = self._cluster() or new_cluster(nodes or 1)
        if nodes not in (None, len(cluster.nodes)):
            raise BrokerError(
                f"the number of nodes under {self._folder} is {len(cluster.nodes)}, not {nodes}: to change"
                " it, stop Kafka with `make kafka-down` and remove that folder"
            )
        cluster = self._on_free_ports(cluster)
        for node in cluster.nodes:
            self._place(node.number).mkdir(exist_ok=True)
            self._config(node.number).write_text(cluster.properties(node))
        write_cluster(self._folder / "cluster.json", cluster)
        return cluster

    def _on_free_ports(self, cluster: Cluster) -> Cluster:
        """Keeps the ports; where another process has taken one, takes other ports if no node is running."""
        resting = [node for node in cluster.nodes if not self._pid(node.number)]
        taken = [port for node in resting for port in node.ports if not _until(partial(is_free, port))]
        if not taken:
            return cluster
        if len(resting) < len(cluster.nodes):
            raise BrokerError(
                f"port {taken[0]} is taken by another process: end it, or run `make kafka-down` first"
            )
        return with_free_ports(cluster, [node.number for node in cluster.nodes])

    # Processes.

    def _launch(self, cluster: Cluster, node: Node) -> None:
        place = self._place(node.number)
        if not (place / "data" / "meta.properties").exists():
            self._format(cluster, node)
        words = [*self._java("kafka.Kafka"), str(self._config(node.number))]
        with self.log(node.number).open("ab") as log:
            # The shell ends at once: the broker is then nobody's child, and its process id is written down.
            subprocess.run(
                ["/bin/sh", "-c", '"$@" & echo "$!" >pid', "sh", *words],
                check=True, cwd=place, env=_environment(), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def _format(self, cluster: Cluster, node: Node) -> None:
        """Makes the data folder; the tool writes meta.properties last, so a kill halfway is repeated."""
        config = str(self._config(node.number))
        tool = [*self._java("kafka.tools.StorageTool"), "format", "--ignore-formatted"]
        with self.log(node.number).open("ab") as log:
            done = subprocess.run(
                [*tool, "-t", cluster.id, "-c", config],
                check=False, cwd=self._place(node.number), env=_environment(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        if done.returncode != 0:
            raise BrokerError(f"Kafka's data folder could not be created; see {self.log(node.number)}")

    def _java(self, main: str) -> list[str]:
        return [java(), *OPTIONS, "-cp", f"{HERE}:{installed()}/*", main]

    def _pid(self, node: int) -> int | None:
        """The node's process; None where it is not running, or its id belongs to another process by now."""
        try:
            pid = int((self._place(node) / "pid").read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self._config(node)) in words else None

    def _signal(self, node: int, number: signal.Signals) -> None:
        if pid := self._pid(node):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _await_end(self, node: int, seconds: float) -> None:
        if not _until(lambda: self._pid(node) is None, seconds):
            self._signal(node, signal.SIGKILL)
            if not _until(lambda: self._pid(node) is None, seconds):
                raise BrokerError(f"node {node}, process {self._pid(node)}, could not be ended")
        # The system removes a dead process's command line before it frees the ports.
        if cluster := self._cluster():
            ports = cluster.node(node).ports
            _until(lambda: all(is_free(port) for port in ports))

    def _await(self, cluster: Cluster) -> None:
        """Waits until every running node says that all running nodes work."""
        deadline = time.monotonic() + START_SECONDS
        running = set(self.pids)
        for node in cluster.nodes:
            while node.number in running and not alive(node.address) >= running:
                if not self._pid(node.number) or time.monotonic() > deadline:
                    raise BrokerError(self._why(node))
                time.sleep(0.05)

    def _why(self, node: Node) -> str:
        log = self.log(node.number)
        if b"Address already in use" in log.read_bytes()[-20_000:]:
            return f"a port of {node.ports} was taken by another process while Kafka started: start it again"
        return f"node {node.number} of Kafka did not start; see {log}"


def _environment() -> dict[str, str]:
    """Java decodes file names by the locale: without UTF-8, a path with an accent is not found."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}


def _until(condition: Callable[[], bool], seconds: float = PORT_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
