"""FastAPI before it, served by uvicorn with one worker."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal
from uuid import UUID

import uvicorn
from eventsourcing.application import AggregateNotFoundError
from fastapi import Depends, FastAPI, Header, HTTPException, Response
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from starlette.concurrency import run_in_threadpool

from tests.benchmarks.stock.application import Recorder, RefusedError
from tests.benchmarks.stock.bodies import AwardBody
from tests.benchmarks.stock.projection import runner

TOKEN_SECONDS = 1.0


class Awarded(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    id: UUID
    learner_id: UUID
    module_id: UUID
    module_version: int
    status: Literal["active"]
    position: int


class Tokens:
    """Finds the institution of a bearer token in its table; trusts what it read for a second."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._kept: dict[bytes, tuple[float, tuple[str, str]]] = {}

    async def __call__(self, authorization: Annotated[str, Header()] = "") -> tuple[str, str]:
        digest = hashlib.sha256(authorization.removeprefix("Bearer ").encode()).digest()
        found = self._kept.get(digest)
        if found is not None and found[0] > time.monotonic():
            return found[1]
        return await run_in_threadpool(self._read, digest)

    def _read(self, digest: bytes) -> tuple[str, str]:
        row = self._recorder.one(
            "SELECT institution, client FROM token WHERE hash = %s AND revoked_at IS NULL"
            " AND expires_at > now()",
            digest,
        )
        if row is None:
            raise HTTPException(401)
        self._kept[digest] = (time.monotonic() + TOKEN_SECONDS, (row["institution"], row["client"]))
        return row["institution"], row["client"]


def create_app(env: dict[str, str]) -> FastAPI:
    running = runner(env)
    registry, view = running.app, running.view

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with running:
            yield

    app = FastAPI(lifespan=lifespan)
    institution = Tokens(registry.rows)

    @app.post("/v1/badges", status_code=201)
    def award(body: AwardBody, response: Response, asking: tuple[str, str] = Depends(institution)) -> Awarded:
        try:
            badge, learner, module, position, new = registry.award(*asking, body)
        except (RefusedError, AggregateNotFoundError) as error:
            raise HTTPException(409, str(error)) from error
        if not new:
            response.status_code = 200
        return Awarded(
            id=badge,
            learner_id=learner,
            module_id=module,
            module_version=1,
            status="active",
            position=position,
        )

    @app.get("/position")
    def position() -> dict[str, int | None]:
        return {
            "position": registry.recorder.max_notification_id(),
            "projected": view.max_tracking_id(registry.name),
        }

    return app


def main() -> None:
    """Serves on a free port of the loopback, with the library's settings from the environment."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    port = listening.getsockname()[1]
    app = create_app(dict(os.environ))
    print(f"stock: http://127.0.0.1:{port}", flush=True)
    config = uvicorn.Config(app, access_log=False, log_level="warning", loop="uvloop", http="httptools")
    uvicorn.Server(config).run(sockets=[listening])
