"""A thread that meets a defect says where, and others learn of a thread that has ended."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from api.http.min_position import Positions
from api.http.shared_reads import SharedReads
from api.lookups.badges import statuses
from consumers import projector as projecting
from projections.all import read_models
from registry.event_store.log import read_pages
from registry.postgres.connections import Pool, UnavailableError
from registry.recording import pages
from registry.recording.registry import Registry
from tests.postgres.commands import admitted
from tests.postgres.log import execute, until, whole_log
from tests.postgres.projecting import projectors, settled
from tests.support import Service

MARK = "Zq7Xw"
"""Stands in the text of each defect, as a member's value would."""
STEPS = ["connect", "closing", "_try_lock", "check_version", "apply_page"]


def failing_once(step: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
    """The step, which raises the error the first time."""
    errors = [error]

    def fails(*arguments: Any, **named: Any) -> Any:
        if errors:
            raise errors.pop()
        return step(*arguments, **named)

    return fails


@pytest.mark.parametrize("step", STEPS)
def test_a_projector_that_meets_a_defect_names_its_place_and_begins_again(
    step: str, registry: Registry, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(projecting, step, failing_once(getattr(projecting, step), KeyError(MARK)))
    with projectors(url, read_models()[:1]) as (working,):
        settled(url, read_models()[0].name)
        assert working.works
    lines = [record.getMessage() for record in caplog.records if "begins again" in record.getMessage()]
    assert any("KeyError at " in line and f"{Path(__file__).name}:" in line for line in lines), lines
    assert MARK not in caplog.text


@pytest.mark.parametrize("step", STEPS)
def test_readiness_tells_of_a_projector_that_has_ended(
    step: str, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert service.client.get("/health/ready").status_code == 200
    monkeypatch.setattr(projecting, step, failing_once(getattr(projecting, step), SystemExit(MARK)))
    monkeypatch.setattr(projecting, "ALIVE_SECONDS", 0)
    service.admitted()
    if step != "apply_page":
        # The projectors are at work: let them begin again, where the step comes.
        end_sessions(service.url)
    until(lambda: service.client.get("/health/ready").status_code == 503)
    answer = service.client.get("/health/ready").json()
    assert answer["detail"].startswith("A thread that keeps the read models up to date has ended")


def end_sessions(url: str) -> None:
    execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'registry_project'",
    )


@pytest.mark.parametrize("step", ["load", "decide", "_append"])
def test_a_defect_in_a_page_names_its_place_and_no_text(
    step: str, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> Any:
        raise KeyError(MARK)

    monkeypatch.setattr(pages, step, fails)
    with pytest.raises(KeyError):
        admitted(registry, "30XX")
    (line,) = {record.getMessage() for record in caplog.records if record.levelno == logging.ERROR}
    assert "KeyError at " in line
    assert f"{Path(__file__).name}:" in line
    assert MARK not in line


def test_a_log_that_has_lost_its_end_is_read_as_far_as_it_goes(registry: Registry, url: str) -> None:
    """As after a standby server took over that lacks the last events."""
    pool = Pool(url, "registry_read", 1)
    read = [event.position for page in read_pages(pool, 0, 1_000_000) for event in page]
    pool.close()
    assert read == [event.position for event in whole_log(url)]


NOWHERE = Pool("host=/nowhere", "registry_read", 1)
SHARED: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
    "a poll": functools.partial(Positions(NOWHERE).wait, ["badges"], 1),
    "a statement": functools.partial(
        SharedReads(functools.partial(statuses, NOWHERE)).find, "11111111-1111-8111-8111-111111111111"
    ),
}


@pytest.mark.parametrize("what", SHARED)
def test_each_request_that_waits_for_what_others_wait_for_has_an_exception_of_its_own(what: str) -> None:
    async def wait() -> list[object]:
        return await asyncio.gather(*[SHARED[what]() for _ in range(20)], return_exceptions=True)

    errors = asyncio.run(wait())
    assert all(isinstance(error, UnavailableError) for error in errors)
    assert len({id(error) for error in errors}) == len(errors)


@pytest.mark.parametrize("what", SHARED)
def test_a_failure_for_which_nobody_waits_any_more_is_no_defect(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def give_up() -> None:
        asked = asyncio.create_task(SHARED[what]())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait([asked])
        assert asked.cancelled()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert len(others) == 1
        await asyncio.wait(others)

    asyncio.run(give_up())
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []
