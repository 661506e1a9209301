"""Everyone on three brokers, under load, while anyone is killed, frozen or stopped: the oracle's verdict.

FAULT_FLEET_SECONDS and FAULT_FLEET_FAULTS bound the run, whichever is reached first; `make faults` runs the
long one. FAULT_SEED draws the same faults again.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.aftermath import check_read_models, check_topics, last_offsets, read_topic
from tests.faults.fleet import PARTITIONS, Fleet
from tests.faults.load import Load
from tests.faults.observer import Observer
from tests.faults.turmoil import Account, draw

SECONDS = float(os.environ.get("FAULT_FLEET_SECONDS", "45"))
FAULTS = int(os.environ.get("FAULT_FLEET_FAULTS", "1000"))
SEED = int(os.environ.get("FAULT_SEED", secrets.randbelow(10**6)))

pytestmark = pytest.mark.slow


def test_whoever_is_killed_or_frozen_the_topic_and_the_read_models_are_those_of_the_log(fleet: Fleet) -> None:
    print(f"FAULT_SEED={SEED} FAULT_FLEET_SECONDS={SECONDS:.0f} FAULT_FLEET_FAULTS={FAULTS}")
    load = Load(fleet.addresses[0], fleet.url, SEED, clients=4, bulk=2, also=fleet.addresses[1:], rest=0.05)
    account, began = Account(), time.monotonic()
    observer = Observer(fleet.kafka.bootstrap_servers, PARTITIONS)
    with at_work(load):
        turmoil(fleet, load, account)
        fleet.mend()
        load.more(20)
    took, mended = time.monotonic() - began, time.monotonic()
    fleet.settled()
    caught_up = time.monotonic() - mended
    events = load.check(random.Random(SEED))
    fleet.settled()
    observer.stop(last_offsets(read_topic(fleet)))
    intents = load.oracle.intents
    acknowledged = [at for each in intents for at in (each.position, each.revoked_at) if at]
    found = check_topics(fleet, observer.seen, acknowledged)
    check_read_models(fleet)
    print(
        f"{account.count} faults in {account.rounds} rounds and {took:.0f} s: {dict(account.faults)}\n"
        f"{events} events, {load.oracle.acknowledged()} awards, batches {dict(load.oracle.batches)},"
        f" unclear {dict(load.oracle.unclear)}\n"
        f"caught up in {caught_up:.1f} s; slowest end after SIGTERM {account.slowest_end:.1f} s;"
        f" processes ended with {fleet.endings()}\n"
        f"observer: {sum(map(len, observer.seen.values()))} records, begun again after"
        f" {dict(observer.errors)}\n" + "\n".join(f"{each}: {len(said)}" for each, said in found.items())
    )
    assert account.count > 0


@contextmanager
def at_work(load: Load) -> Iterator[None]:
    load.start()
    try:
        yield
    finally:
        load.stop()


def turmoil(fleet: Fleet, load: Load, account: Account) -> None:
    """Round after round, each with awards acknowledged before it."""
    rng = random.Random(SEED)
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and account.count < FAULTS:
        load.more(20)
        faults = draw(rng)
        print(f"{until - time.monotonic():.0f} s left: {', '.join(map(str, faults))}", flush=True)
        account.round(fleet, faults)
