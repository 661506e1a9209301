"""What the commands share: the registry that records, and who may command it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from api.http.auth import Allow
from registry.recording.registry import Registry
from registry.tokens import Principal

Registrar = Annotated[Principal, Depends(Allow("registrar"))]
Institution = Annotated[Principal, Depends(Allow("institution"))]


def registry_of(request: Request) -> Registry:
    registry: Registry = request.app.state.registry
    return registry
