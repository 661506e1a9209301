"""Faults by chance: who is killed, frozen or told to stop, for how long, and who at the same time."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.faults.fleet import ROLES, Fleet, mend_brokers

KINDS = ("kill", "freeze", "restart")
BROKERS = 3
MAX_SECONDS = 15.0
"""Longer than the session of a relay or a consumer: who wakes then is a zombie."""


@dataclass(frozen=True)
class Fault:
    """What happens to whom; `seconds` is how long who is frozen or away stays so."""

    role: str
    number: int
    kind: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.kind} {self.role} {self.number} for {self.seconds:.1f} s"


def draw(rng: random.Random, longest: float = MAX_SECONDS) -> list[Fault]:
    """One to three faults for the same time, of different victims; of the brokers at most one."""
    brokers = [("broker", rng.randint(1, BROKERS))]
    everyone = [(role, number) for role in ROLES for number in range(2)] + [("postgres", 0), *brokers * 2]
    victims = dict.fromkeys(rng.sample(everyone, rng.randint(1, 3)))
    return [Fault(*victim, rng.choice(KINDS), rng.uniform(1, longest)) for victim in victims]


def befall(fleet: Fleet, fault: Fault) -> float:
    """Does it, and undoes it; answers the seconds from SIGTERM to an end, where one was told to end."""
    match fault.role:
        case "postgres":
            return _befall_postgres(fleet, fault)
        case "broker":
            return _befall_broker(fleet, fault)
        case _:
            return _befall_process(fleet, fault)


def _befall_process(fleet: Fleet, fault: Fault) -> float:
    place = fleet.of(fault.role)[fault.number]
    match fault.kind:
        case "kill":
            place.send(signal.SIGKILL)
        case "freeze":
            place.send(signal.SIGSTOP)
            time.sleep(fault.seconds)
            place.send(signal.SIGCONT)
        case _:
            return place.stop()
    return 0.0


def _befall_postgres(fleet: Fleet, fault: Fault) -> float:
    if fault.kind == "freeze":
        fleet.server.freeze()
        time.sleep(fault.seconds)
        fleet.server.thaw()
        return 0.0
    if fault.kind == "kill":
        fleet.kill_postgres(everyone=fault.seconds < MAX_SECONDS / 2)
    else:
        fleet.server.stop("fast")
    time.sleep(fault.seconds / 5)
    fleet.start_postgres()
    return 0.0


def _befall_broker(fleet: Fleet, fault: Fault) -> float:
    match fault.kind:
        case "kill":
            fleet.broker.kill(fault.number)
            time.sleep(fault.seconds)
        case "freeze":
            fleet.broker.freeze(fault.number)
            time.sleep(fault.seconds)
            fleet.broker.thaw(fault.number)
        case _:
            fleet.broker.restart(fault.number)
    mend_brokers(fleet.broker)
    return 0.0


@dataclass
class Account:
    """What was done to a fleet, for the report."""

    faults: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    slowest_end: float = 0.0

    @property
    def count(self) -> int:
        return sum(self.faults.values())

    def round(self, fleet: Fleet, faults: Sequence[Fault]) -> None:
        """All of them at about the same time."""
        with ThreadPoolExecutor(len(faults)) as pool:
            under_way = [pool.submit(befall, fleet, fault) for fault in faults]
        self.slowest_end = max(self.slowest_end, *(each.result() for each in under_way))
        self.faults.update(f"{fault.role} {fault.kind}" for fault in faults)
        self.rounds += 1
