"""Prometheus metrics of one process and its database."""

from __future__ import annotations

import ipaddress
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from starlette.concurrency import run_in_threadpool

from api.http.auth import authenticate
from api.http.problems import Forbidden
from api.http.responses import RelayHealth
from api.operations.health import Operations, read_health, read_relay, read_writers
from registry.postgres.clock import SystemTime, compare_clocks
from registry.postgres.connections import Pool, UnavailableError
from registry.release import RELEASE
from registry.tokens import count_expiring

router = APIRouter(include_in_schema=False)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """For a scraper on this host, or with an operator's token."""
    measured: Metrics = request.app.state.metrics
    if measured.need_token or not _from_here(request):
        principal = await authenticate(request)
        if principal.role != "operator":
            raise Forbidden
    return Response(await measured.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _relay_gauges(relay: RelayHealth | None) -> list[GaugeMetricFamily]:
    """Gauges of how far the relay has come; none if no topic carries the log."""
    texts = {
        "active": "1 while a relay is running",
        "position": "Position of the last event in the topic",
        "behind_events": "Events that the topic does not have yet",
        "behind_seconds": "Age in seconds of the first event that the topic does not have yet",
    }
    return [
        GaugeMetricFamily(f"registry_relay_{name}", text, float(getattr(relay, name)))
        for name, text in texts.items()
        if relay is not None
    ]


def _from_here(request: Request) -> bool:
    """Whether the request comes from the loopback, and not through a proxy on this host."""
    if request.client is None or not _SCRAPERS_HEADERS.issuperset(request.headers):
        return False
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


# A proxy adds headers of its own choice, so only a request without any other header is the scraper's own.
_SCRAPERS_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "host",
        "user-agent",
        "x-prometheus-scrape-timeout-seconds",
    }
)


class _DatabaseCollector(Collector):
    """Gauges that are read from the database at each scrape."""

    def __init__(self, pool: Pool, operations: Operations, time: SystemTime) -> None:
        self._pool, self._operations, self._time = pool, operations, time

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("registry_database_up", "1 while PostgreSQL answers")
        try:
            with self._pool.cursor() as cursor:
                last, models = read_health(cursor)
                relay = read_relay(cursor, last)
                waits = read_writers(cursor)
                expiring = count_expiring(cursor)
                clocks = compare_clocks(cursor, self._time)
        except UnavailableError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield GaugeMetricFamily(
            "registry_database_room",
            "1 while the disk of PostgreSQL has room",
            float(self._operations.has_room()),
        )
        yield GaugeMetricFamily("registry_log_position", "Position of the last event", last)
        yield GaugeMetricFamily(
            "registry_writers_waiting_seconds",
            "How long a writer has waited for the lock that orders all writers; after 5 seconds it gives up",
            max(waits.values(), default=0.0),
        )
        yield GaugeMetricFamily(
            "registry_clock_difference_seconds",
            "Clock of PostgreSQL less that of this process; nothing is recorded beyond 5 seconds",
            clocks.difference,
        )
        yield GaugeMetricFamily(
            "registry_log_ahead_seconds",
            "Seconds by which the last event lies in the future; nothing is recorded beyond 5",
            clocks.log_ahead,
        )
        yield from _relay_gauges(relay)
        if self._operations.brokers is not None:
            yield GaugeMetricFamily(
                "registry_kafka_up",
                "1 while a broker accepts connections",
                float(self._operations.brokers.answer()),
            )
        yield GaugeMetricFamily(
            "registry_tokens_expiring",
            "Tokens in use that expire within 14 days, of those made for longer",
            expiring,
        )
        gauges = {
            "position": "Position of the last event in the read model",
            "behind_events": "Events that the read model does not have yet",
            "behind_seconds": "Age in seconds of the first event that the read model does not have yet",
            "stopped": "1 while the read model is stopped at an event that it cannot apply",
        }
        for name, text in gauges.items():
            gauge = GaugeMetricFamily(f"registry_read_model_{name}", text, labels=["read_model"])
            for model in models:
                value = model.stopped_at is not None if name == "stopped" else getattr(model, name)
                gauge.add_metric([model.name], float(value))
            yield gauge


class AnswerCollector(Collector):
    """Answers, counted and timed by the event loop alone.

    The library's counters take a lock at each step, and took a quarter of the time that every request needs.
    """

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._buckets: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * len(_BOUNDS))

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self._counts[method, route, status] += 1
        self._seconds[method, route] += seconds
        self._buckets[method, route][bisect_left(_BOUNDS, seconds)] += 1

    def collect(self) -> Iterator[Metric]:
        """Runs in a thread, while the event loop goes on counting."""
        counts = CounterMetricFamily(
            "registry_http_requests", "Answers by route and status", labels=["method", "route", "status"]
        )
        for (method, route, status), count in list(self._counts.items()):
            counts.add_metric([method, route, str(status)], count)
        yield counts
        times = HistogramMetricFamily(
            "registry_http_request_seconds", "Time to answer", labels=["method", "route"]
        )
        for (method, route), buckets in list(self._buckets.items()):
            upper = zip(map(floatToGoString, _BOUNDS), accumulate(buckets), strict=True)
            times.add_metric([method, route], list(upper), self._seconds[method, route])
        yield times


_BOUNDS = Histogram.DEFAULT_BUCKETS


class Metrics:
    """This process's Prometheus metrics."""

    def __init__(
        self, pool: Pool, operations: Operations, time: SystemTime, *, need_token: bool = False
    ) -> None:
        self.need_token = need_token
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        Gauge(
            "registry_build_info", "The release of this process", ["release"], registry=self._registry
        ).labels(RELEASE).set(1)
        self._registry.register(_DatabaseCollector(pool, operations, time))
        self.answers = AnswerCollector()
        self._registry.register(self.answers)

    async def render(self) -> bytes:
        return await run_in_threadpool(generate_latest, self._registry)
