"""The composition root: puts together all parts of a serving process."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio.to_thread
import msgspec
from fastapi import Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.telemetry import TelemetryConfig

from api.commands import badges as badge_commands
from api.commands import batches as batch_commands
from api.commands import institutions as institution_commands
from api.commands import modules as module_commands
from api.commands.common import Writing
from api.http import exchange, problems
from api.http.answer_headers import AnswerHeaders, is_public
from api.http.entity_tags import Tagged
from api.http.exchange import Exchanges
from api.http.fast_routes import FastRoutes
from api.http.min_position import Positions
from api.http.openapi import describe, routes
from api.http.parameters import only_known_parameters
from api.http.reading import Reading
from api.http.requests import long_bodies
from api.http.service import Service
from api.http.shared_reads import SharedReads
from api.lookups import badge_lists, learners
from api.lookups import badges as badge_lookups
from api.lookups import catalogue as catalogue_lookups
from api.lookups import log as event_lookups
from api.lookups import schemas as schema_lookups
from api.lookups import statistics as statistics_lookups
from api.lookups import tokens as token_lookups
from api.operations import health
from api.operations import metrics as metrics_
from api.operations.health import Operations
from api.operations.metrics import Metrics
from api.web import problem_pages
from api.web.docs import add_docs
from api.web.home import home
from consumers.feeds import StoreSource
from consumers.projector import Projector, projectors_of
from consumers.store_feed import Bell
from projections.all import read_models
from registry.kafka.brokers import Brokers
from registry.keys import Keys
from registry.postgres.clock import SystemTime, system_time
from registry.postgres.connections import Pool
from registry.recording.registry import Registry, utc_now
from registry.release import RELEASE
from registry.tokens import LastUses, TokenReader

# The number of requests handled at once. Commands that wait at the same moment are recorded in one page.
THREADS = 64
READ_CONNECTIONS = 16
# Parsing holds the interpreter: more threads would only take it from the event loop.
PARSING_THREADS = 2

# The framework's own telemetry would export the texts of errors, which may contain a member's value.
NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}

FAST = (
    badge_commands.award_badge,
    badge_lookups.get_status,
    badge_lookups.get_badge,
    badge_lists.list_learner_badges,
    badge_lists.get_me,
    catalogue_lookups.list_modules,
    health.live,
)
ROUTERS = (
    institution_commands.router,
    module_commands.router,
    badge_commands.router,
    batch_commands.router,
    catalogue_lookups.router,
    badge_lookups.router,
    badge_lists.router,
    learners.router,
    event_lookups.router,
    schema_lookups.router,
    statistics_lookups.router,
    token_lookups.router,
)


@dataclass
class Parts:
    """The parts of a serving process that are started and stopped."""

    registry: Registry
    reading: Pool
    feeding: Pool
    projectors: list[Projector]
    last_uses: LastUses
    parsing: ThreadPoolExecutor
    bell: Bell

    def start(self) -> None:
        self.last_uses.start()
        for projector in self.projectors:
            projector.start()

    def stop(self) -> None:
        """Stops writing first. Acknowledged writes are durable; read models later resume where they are."""
        self.parsing.shutdown(wait=False, cancel_futures=True)
        self.registry.close()
        self.last_uses.stop()
        for projector in self.projectors:
            projector.leave()
        self.bell.ring()
        for projector in self.projectors:
            projector.stop()
        self.reading.close()
        self.feeding.close()


def create_app(
    url: str,
    keys: Keys,
    clock: Callable[[], dt.datetime] = utc_now,
    *,
    projecting: bool = True,
    brokers: Brokers | None = None,
    metrics_need_token: bool = False,
    time: SystemTime = system_time,
    log_access: bool = False,
) -> FastAPI:
    """The whole service on the database at `url`, which runs for the length of its lifespan.

    `clock` decides which day it is; `time` is compared with the clock of PostgreSQL. With `projecting` the
    service keeps the read models up to date itself, from the event store. Where others do that from Kafka, it
    watches the `brokers`. With `metrics_need_token` the metrics are not open to the loopback.
    """
    bell = Bell()
    registry = Registry(url, keys, clock, bell.ring, time)
    # A statement ends before the request's deadline, so that its connection serves another request.
    pool = Pool(url, "registry_read", READ_CONNECTIONS, int(exchange.ANSWER_SECONDS * 1000) - 1000)
    feeding = Pool(url, "registry_project", 4)
    source = StoreSource(feeding, bell)
    projectors = projectors_of(url, source, read_models() if projecting else [])
    parsing = ThreadPoolExecutor(PARSING_THREADS, "parsing")
    parts = Parts(registry, pool, feeding, projectors, LastUses(url), parsing, bell)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        await anyio.to_thread.run_sync(parts.start)
        yield
        await anyio.to_thread.run_sync(parts.stop)

    outer = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    version_1 = _version_1()
    operations = Operations(
        registry.has_room,
        lambda: registry.works,
        lambda: all(projector.works for projector in projectors),
        brokers,
    )
    metrics = Metrics(pool, operations, time, need_token=metrics_need_token)
    outer.state.routes, version_1.state.routes = routes([health.router, metrics_.router]), routes(ROUTERS)
    service = Service(TokenReader(pool, parts.last_uses.note), clock, parsing, long_bodies())
    statuses = SharedReads(functools.partial(badge_lookups.statuses, pool))
    first_modules: SharedReads[None, Tagged] = SharedReads(catalogue_lookups.FirstModules(pool, clock))
    reading = Reading(pool, keys, registry.vault, Positions(pool), statuses, first_modules)
    writing = Writing(
        registry,
        registry.preparation(),
        batch_commands.places(),
        asyncio.Semaphore(batch_commands.PAGES_AT_ONCE),
    )
    for app in (outer, version_1):
        app.state.service, app.state.reading, app.state.writing = service, reading, writing
        app.state.operations, app.state.metrics = operations, metrics
        problems.add_handlers(app)
    outer.include_router(health.router)
    outer.include_router(metrics_.router)
    outer.include_router(problem_pages.router)
    outer.get("/", include_in_schema=False)(home)
    outer.mount("/v1", version_1)
    # Around the framework's own layers, which a fast route does not need.
    outer.middleware_stack = Exchanges(
        FastRoutes(outer.build_middleware_stack(), _fast(outer, version_1)),
        AnswerHeaders(_public_paths(outer, version_1)),
        metrics.answers.observe,
        batches=frozenset({"/v1/badge-batches", "/v1/badge-revocations"}),
        log_access=log_access,
    )
    return outer


def _fast(outer: FastAPI, version_1: FastAPI) -> list[tuple[str, APIRoute]]:
    """The fast routes, each with the prefix of its app."""
    return [
        (prefix, route)
        for app, prefix in ((outer, ""), (version_1, "/v1"))
        for route in app.state.routes
        if route.endpoint in FAST
    ]


def _public_paths(outer: FastAPI, version_1: FastAPI) -> list[str]:
    """The paths that anyone may GET."""
    return [
        f"{prefix}{context.path}"
        for app, prefix in ((outer, ""), (version_1, "/v1"))
        for context in iter_route_contexts(app.routes)
        if isinstance(context.original_route, APIRoute) and is_public(context.original_route)
    ]


def _version_1() -> FastAPI:
    app = FastAPI(
        title="Microcredential registry",
        version=RELEASE,
        description="A national register of microcredentials: their history, and a reliable status.",
        contact={
            "name": "Microcredential registry",
            "url": "https://registry.example.org",
            "email": "registry@example.org",
        },
        license_info={"name": "EUPL-1.2", "identifier": "EUPL-1.2"},
        servers=[{"url": "/v1", "description": "This registry"}],
        openapi_url=None,
        docs_url=None,
        dependencies=[Depends(only_known_parameters)],
        redoc_url=None,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    for router in ROUTERS:
        app.include_router(router)
    app.openapi = describe(app, ROUTERS)  # type: ignore[method-assign]

    @app.get("/openapi.json", include_in_schema=False)
    def document(request: Request) -> Response:
        return Tagged(msgspec.json.encode(app.openapi())).answer(request)

    add_docs(app, "/v1")
    return app
