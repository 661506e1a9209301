"""Clients that award, repeat, revoke and look up, whatever happens to the service."""

from __future__ import annotations

import http.client
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import cycle

from tests.end_to_end.client import Answer, Client, until
from tests.end_to_end.servers import make_token
from tests.faults.oracle import (
    MODULES,
    REVOCATION,
    Batch,
    Intent,
    Oracle,
    Tail,
    award_body,
    check_log,
    check_private_parts,
    check_read_models,
    closing,
    settle,
)
from tests.support import PATIENCE_SECONDS

CLIENTS = 6
BATCHES = (30, 100, 1_050)
"""Lines of a batch: a small part of a page, and more than one page."""
BETWEEN_BATCHES_SECONDS = 2.0
PAUSE_SECONDS = 0.08
"""After an answer that settled nothing, as `Retry-After` would have it, but sooner."""


class Load:
    """Several client threads and one auditor who follows the log; each draw follows from the seed."""

    def __init__(
        self,
        address: str,
        url: str,
        seed: int,
        others: int = 0,
        clients: int = CLIENTS,
        bulk: int = 0,
        also: Sequence[str] = (),
        rest: float = 0.0,
    ) -> None:
        """`others` are the awards before it, without demo data; `bulk` the clients that send batches.

        `also` are other services of the same registry, for some of the clients; `rest` are the seconds
        that each takes between two requests, and a hundred times that between batches.
        """
        self.oracle, self.tail = Oracle(), Tail()
        self.under_way: Batch | None = None
        self._clients, self._bulk, self._unfinished = clients, bulk, list[Batch]()
        self._others = others
        self._address, self._seed, self._rounds = address, seed, 0
        self._addresses, self._rest = cycle([address, *also]), rest
        self.tokens = {brin: make_token(url, "institution", institution=brin) for brin in MODULES}
        self._auditor = make_token(url, "auditor")
        self._leaving = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self) -> None:
        self._leaving.clear()
        self._rounds += 1
        names = [f"{self._rounds}-{number}" for number in range(self._clients)]
        bulk = [f"{self._rounds}-bulk-{number}" for number in range(self._bulk)]
        work: list[Callable[[], None]] = [partial(self._award, name) for name in names]
        work += [partial(self._send_batches, name) for name in bulk]
        self._threads = [
            threading.Thread(target=self._guarded, args=(each,), daemon=True)
            for each in (*work, self._follow)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._leaving.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client still waits for its answer"
        self._threads = []
        if self._errors:
            raise self._errors[0]

    def more(self, awards: int) -> None:
        """Waits until so many more awards were acknowledged."""
        wanted = self.oracle.acknowledged() + awards
        until(
            lambda: self.oracle.acknowledged() >= wanted,
            PATIENCE_SECONDS,
            f"{awards} more acknowledged awards",
        )

    def check(self, rng: random.Random) -> int:
        """Settles what is unclear; then log, vault and read models agree with all that was acknowledged."""
        clients = {brin: Client(self._address, token) for brin, token in self.tokens.items()}
        with closing(clients), Client(self._address, self._auditor, 30) as auditor:
            for batch in self._unfinished:
                # What is left of an earlier try may still hold the token's place for batches.
                sent = partial(self._send, clients[batch.institution], batch)
                until(sent, PATIENCE_SECONDS, "a batch that is complete")
            self._unfinished.clear()
            last = len(self.tail.to_the_end(auditor))
            settle(self.oracle, clients, last)
            events = self.tail.to_the_end(auditor)
            check_log(events, self.oracle, self._others)
            _wait_for(auditor, len(events))
            intents = self.oracle.intents
            check_private_parts(rng.sample(intents, min(len(intents), 25)), clients)
            check_read_models(events, auditor)
            again = Tail()
            again.to_the_end(auditor)
            assert again.lines == self.tail.lines, "the log has changed since it was read"
            return len(events)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._errors.append(error)

    def _follow(self) -> None:
        with Client(self._address, self._auditor) as auditor:
            while not self._leaving.is_set():
                with suppress(OSError, http.client.HTTPException):
                    self.tail.follow(auditor)
                self._leaving.wait(PAUSE_SECONDS)

    def _award(self, name: str) -> None:
        rng = random.Random(f"{self._seed} {name}")
        brin = rng.choice(list(MODULES))
        mine: list[Intent] = []
        with Client(next(self._addresses), self.tokens[brin]) as client:
            while not self._leaving.wait(self._rest):
                draw = rng.random()
                if mine and draw < 0.1:
                    self._try_award(client, rng.choice(mine))
                elif mine and draw < 0.25:
                    self._try_revocation(client, rng.choice(mine))
                else:
                    mine.append(self._new(rng, brin, f"{name}-{len(mine)}"))
                    for _ in range(2):  # an unclear answer is tried again at once, often into the fault
                        if self._leaving.is_set() or self._try_award(client, mine[-1]):
                            break
                if mine and rng.random() < 0.3:
                    self._try_status(client, rng.choice(mine[-8:]))

    def _send_batches(self, name: str) -> None:
        """Awards in batches, and takes some of them back in others; each is sent until it is complete."""
        rng = random.Random(f"{self._seed} {name}")
        brin = rng.choice(list(MODULES))
        number = 0
        with Client(next(self._addresses), self.tokens[brin], 30) as client:
            while not self._leaving.is_set():
                size, number = rng.choice(BATCHES), number + 1
                awards = Batch(
                    brin, [self._new(rng, brin, f"{name}-{number}-{line}") for line in range(size)]
                )
                if self._until_complete(client, awards) and rng.random() < 0.4:
                    taken_back = Batch(brin, rng.sample(awards.intents, size // 10), revokes=True)
                    self._until_complete(client, taken_back)
                self._leaving.wait(rng.uniform(0, BETWEEN_BATCHES_SECONDS) + 100 * self._rest)

    def _until_complete(self, client: Client, batch: Batch) -> bool:
        while not self._leaving.is_set():
            if self._send(client, batch):
                return True
            self._leaving.wait(PAUSE_SECONDS)
        if batch.sent:
            self._unfinished.append(batch)
        return False

    def _send(self, client: Client, batch: Batch) -> bool:
        """Sends it whole; whether it is complete now."""
        batch.sent, self.under_way = batch.sent + 1, batch
        if batch.revokes:
            for intent in batch.intents:
                intent.revocation_asked = True
        try:
            answer = client.stream(
                "POST", batch.path, batch.parts(), **{"Content-Type": "application/x-ndjson"}
            )
        except (OSError, http.client.HTTPException) as error:
            self.oracle.unclear[f"batch {type(error).__name__}"] += 1
            return False
        finally:
            self.under_way = None
        return self.oracle.settled_lines(batch, answer)

    def _new(self, rng: random.Random, brin: str, reference: str) -> Intent:
        learner = rng.randrange(30) if rng.random() < 0.9 else rng.randrange(1_000, 9_999)
        body = award_body(brin, reference, learner, grade=str(rng.randrange(6, 11)))
        return self.oracle.intend(Intent(brin, body))

    def _try_award(self, client: Client, intent: Intent) -> bool:
        answer = self._ask(client, "POST", "/v1/badges", intent.body)
        return answer is not None and self.oracle.awarded(intent, answer)

    def _try_revocation(self, client: Client, intent: Intent) -> None:
        if intent.acknowledged:
            intent.revocation_asked = True
            path = f"/v1/badges/{intent.badge_id}/revocation"
            if (answer := self._ask(client, "POST", path, REVOCATION)) is not None:
                self.oracle.revoked(intent, answer)

    def _try_status(self, client: Client, intent: Intent) -> None:
        """A client reads its own writes, also after the fault."""
        if intent.acknowledged:
            least = intent.revoked_at or intent.position
            must_be = "revoked" if intent.revoked_at else None if intent.revocation_asked else "active"
            path = f"/v1/badges/{intent.badge_id}/status?minPosition={least}"
            if (answer := self._ask(client, "GET", path)) is not None:
                self.oracle.looked_up(intent, least, must_be, answer)

    def _ask(self, client: Client, method: str, path: str, body: object = None) -> Answer | None:
        """The answer, None where none came: then nobody knows what happened."""
        try:
            answer = client.ask(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self.oracle.unclear[type(error).__name__] += 1
            self._leaving.wait(PAUSE_SECONDS)
            return None
        if answer.status == 503:
            self._leaving.wait(PAUSE_SECONDS)
        return answer


def _wait_for(client: Client, position: int) -> None:
    """Until every read model holds the position."""

    def reached() -> bool:
        models = client.ask("GET", "/health/ready").json["readModels"]
        return all(model["position"] == position for model in models)

    until(reached, PATIENCE_SECONDS, "read models that hold the whole log")
