"""kill -9 at random moments of everyone who works on one registry, with bulk and a rebuild under way."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections import Counter
from itertools import cycle

import pytest

from projections.all import read_models
from tests.end_to_end.client import free_port, until
from tests.end_to_end.processes import REGISTRY, Running, Serving, Workshop, environment, registry
from tests.end_to_end.servers import children, embedded_url, postmaster
from tests.faults.load import Load
from tests.faults.oracle import check_rows
from tests.faults.test_kill_under_load import kill_all
from tests.postgres.projecting import folded, held
from tests.postgres.test_statistics import check_figures
from tests.support import PATIENCE_SECONDS

ROUNDS = int(os.environ.get("FAULT_BULK_ROUNDS", "15"))
SEED = int(os.environ.get("FAULT_SEED", secrets.randbelow(10**6)))
VICTIMS = (
    {"serve"},
    {"consume"},
    {"rebuild"},
    {"postgres"},
    {"serve", "consume"},
    {"serve", "postgres"},
    {"serve", "consume", "rebuild", "postgres"},
)
NAMES = [model.name for model in read_models()]

pytestmark = pytest.mark.slow


class Everyone:
    """`serve`, `consume` and one `rebuild` after another, on one PostgreSQL."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop, self._port = workshop, free_port()
        self.data = workshop.data()
        self._names = cycle(NAMES)
        self.serving = self._serve()
        self.consuming = self._consume()
        self.rebuilding = self.rebuild()
        self.endings: Counter[str] = Counter()

    def _serve(self) -> Serving:
        return self._workshop.serve(self.data, port=self._port)

    def _consume(self) -> Running:
        return self._run("consume")

    def rebuild(self) -> Running:
        """The next read model's; the one before has ended by now, in whatever way."""
        self.rebuilding = self._run("rebuild", next(self._names))
        return self.rebuilding

    def _run(self, *words: str) -> Running:
        env = environment(data_dir=self.data)
        return self._workshop.run([REGISTRY, *words], env, self._workshop.folder)

    def kill(self, victims: set[str], rng: random.Random) -> None:
        server = postmaster(self.data)
        assert server is not None
        of = {"serve": self.serving, "consume": self.consuming, "rebuild": self.rebuilding}
        for name in rng.sample(sorted(victims), len(victims)):
            if name == "postgres":
                kill_all([server, *(children(server) if rng.random() < 0.5 else [])])
            else:
                of[name].kill()

    def start_again(self, victims: set[str]) -> None:
        if "serve" in victims:
            self.serving = self._serve()
        if "consume" in victims:
            self.consuming = self._consume()

    def end_of_rebuild(self, victims: set[str]) -> str:
        """A rebuild that nobody has killed ends well, or says in a sentence what it lost."""
        status = self.rebuilding.process.wait(PATIENCE_SECONDS)
        said = self.rebuilding.log.read_text()
        assert "Traceback" not in said, said
        if status not in (0, -9):
            assert (status, "postgres" in victims) == (1, True), said
        ending = {0: "ended well", -9: "killed"}.get(status, "lost PostgreSQL")
        self.endings[ending] += 1
        return ending


def victims_of(rng: random.Random) -> list[set[str]]:
    """Whom to kill in each round: each company in turn, in an order by chance."""
    found: list[set[str]] = []
    while len(found) < ROUNDS:
        found += rng.sample(VICTIMS, len(VICTIMS))
    return found[:ROUNDS]


def test_nothing_is_lost_or_doubled_though_bulk_consume_and_rebuild_are_killed(workshop: Workshop) -> None:
    rng = random.Random(SEED)
    print(f"FAULT_SEED={SEED} FAULT_BULK_ROUNDS={ROUNDS}")
    everyone = Everyone(workshop)
    url, began = embedded_url(everyone.data), time.monotonic()
    everyone.serving.settled()
    load = Load(everyone.serving.address, url, SEED, clients=2, bulk=2)
    for number, victims in enumerate(victims_of(rng), 1):
        print(f"round {number}: {fault_round(everyone, load, victims, rng)}")
    print(f"{ROUNDS} rounds in {time.monotonic() - began:.0f} s; rebuilds {dict(everyone.endings)}")
    check_everything(everyone, load, url, rng)


def wait_for_a_moment(everyone: Everyone, load: Load, rng: random.Random) -> None:
    """While the rebuild builds, while a batch is under way, or any moment."""
    match rng.randrange(3):
        case 0:
            everyone.rebuilding.line("building version ([0-9]+)")
        case 1:
            until(lambda: load.under_way, PATIENCE_SECONDS, "a batch under way")
        case _:
            time.sleep(rng.uniform(0, 1))
    time.sleep(rng.uniform(0, 0.3))


def fault_round(everyone: Everyone, load: Load, victims: set[str], rng: random.Random) -> str:
    load.start()
    everyone.rebuild()
    load.more(20)
    wait_for_a_moment(everyone, load, rng)
    began = time.monotonic()
    everyone.kill(victims, rng)
    everyone.start_again(victims)
    until(everyone.serving.ready, PATIENCE_SECONDS, "an answer from the service with its database")
    away = time.monotonic() - began
    ending = everyone.end_of_rebuild(victims)
    load.more(20)
    load.stop()
    return (
        f"{' and '.join(sorted(victims))} killed, ready after {away:.1f} s, the rebuild {ending},"
        f" batches {dict(load.oracle.batches)}, unclear {dict(load.oracle.unclear)}"
    )


def check_everything(everyone: Everyone, load: Load, url: str, rng: random.Random) -> None:
    events = load.check(rng)
    check_rows(url)
    assert held(url) == folded(url)
    check_figures(url)
    assert load.oracle.batches["sent again"] > 0, "no batch was cut off"
    print(f"{events} events, {load.oracle.acknowledged()} awards, {dict(load.oracle.batches)}")
    for name in NAMES:
        done = registry("rebuild", name, data_dir=everyone.data)
        assert done.status == 0, done.err
        assert "no difference" in done.out
    assert everyone.consuming.stop() == 0
    assert everyone.serving.stop() == 0
    assert postmaster(everyone.data) is None
