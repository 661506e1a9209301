"""The command behind `make kafka-up`, `make kafka-down` and the installation."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from deploy.kafka import BrokerError, jars
from deploy.kafka.asking import alive
from deploy.kafka.broker import Broker
from registry.settings import SettingsError, read_settings

NAME = "REGISTRY_KAFKA_BOOTSTRAP_SERVERS"


def main() -> int:
    arguments = _parser().parse_args()
    try:
        _run(arguments)
    except (BrokerError, SettingsError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.kafka")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the broker, or find the running one")
    up.add_argument(
        "--nodes", type=int, choices=(1, 3), help="the number of brokers; default: as before, at first 1"
    )
    commands.add_parser("down", help="stop the broker")
    commands.add_parser("install", help="download the broker's jars")
    commands.add_parser("lock", help="resolve pom.xml again, and write the hashes of the jars")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    match arguments.command:
        case "up":
            _up(read_settings().data_dir, arguments.nodes)
        case "down":
            _down(read_settings().data_dir)
        case "install":
            jars.install()
        case "lock":
            jars.write_lock()


def _up(data_dir: Path, nodes: int | None) -> None:
    broker = Broker(data_dir)
    address = os.environ.get(NAME)
    if address and address != broker.bootstrap_servers:
        if not alive(address):
            raise BrokerError(f"no Kafka answers at {address}: start it, or unset {NAME} to start one here")
        print(f"{NAME}={address}")
        return
    broker.start(nodes)
    count = len(broker.pids)
    print(f"Kafka is running with {count} node{'' if count == 1 else 's'}, under {data_dir / 'kafka'}")
    print(f"{NAME}={broker.bootstrap_servers}")


def _down(data_dir: Path) -> None:
    stopped = Broker(data_dir).stop()
    print("Kafka was stopped." if stopped else f"No Kafka is running under {data_dir / 'kafka'}.")


if __name__ == "__main__":
    sys.exit(main())
