"""The objects that both doors of a running service share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from fastapi import Request

from api.http.places import Places
from registry.domain.values import day_in_amsterdam
from registry.tokens import TokenReader


@dataclass(frozen=True)
class Service:
    """`parsing` are the threads that parse what is too long for the event loop."""

    tokens: TokenReader
    clock: Callable[[], dt.datetime]
    parsing: Executor
    long_bodies: Places

    def now(self) -> dt.datetime:
        return self.clock()

    def today(self) -> dt.date:
        """The calendar day in Amsterdam."""
        return day_in_amsterdam(self.clock())


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
