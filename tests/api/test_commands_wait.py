"""Commands that wait to be recorded take no thread that a look-up needs."""

from __future__ import annotations

import inspect

from fastapi.routing import iter_route_contexts

from api.app import ROUTERS


def test_every_command_waits_on_the_event_loop() -> None:
    commands = [
        context
        for router in ROUTERS
        for context in iter_route_contexts(router.routes)
        if context.endpoint.__module__.startswith("api.commands.")
    ]
    assert len(commands) > 10
    assert [each.path for each in commands if not inspect.iscoroutinefunction(each.endpoint)] == []
