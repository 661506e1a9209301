"""The recorder of a process: who hands a command over has an answer in the end, whatever happens."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import pytest

from registry.postgres.connections import UnavailableError
from registry.recording import page_recorder, pages
from registry.recording.awards import AwardBadge
from registry.recording.decisions import Settled
from registry.recording.registry import Registry
from tests.postgres.commands import admitted, command, registry_on
from tests.postgres.log import check_order, holding_the_lock, later, until, waiting_writers, whole_log

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test knows what is in a page."""
    monkeypatch.setattr(page_recorder, "THREADS", 1)


def prepared(registry: Registry, count: int = 1) -> list[AwardBadge]:
    """Awards that nobody has made yet."""
    stated = [command("27UM", f"r-{number}", "a1b2") for number in itertools.islice(_numbers, count)]
    return registry.preparation().prepare_all(stated)


def submit(registry: Registry, commands: Sequence[AwardBadge]) -> Future[list[Settled]]:
    future: Future[list[Settled]] = Future()
    registry.submit(commands, future.set_result)
    return future


def unavailable(settled: list[Settled]) -> bool:
    return all(isinstance(each, UnavailableError) for each in settled)


def record_until_closed(registry: Registry) -> int:
    """How many awards were acknowledged."""
    acknowledged = 0
    while True:
        try:
            settled = registry.settle(prepared(registry, 2))
        except UnavailableError:
            return acknowledged
        assert not [each for each in settled if isinstance(each, Exception)]
        acknowledged += len(settled)


def test_closing_settles_every_command_that_was_handed_over(url: str) -> None:
    with registry_on(url) as registry:
        admitted(registry, "27UM")
    for _ in range(3):
        after = len(whole_log(url))
        with registry_on(url) as registry:
            workers = [later(partial(record_until_closed, registry)) for _ in range(8)]
            while len(whole_log(url, after)) < 20:
                time.sleep(0.001)
        assert sum(worker.result(20) for worker in workers) == len(whole_log(url, after))
    check_order(whole_log(url))


def test_a_registry_that_is_closed_takes_no_command(url: str) -> None:
    with registry_on(url) as registry:
        admitted(registry, "27UM")
    with pytest.raises(UnavailableError, match="stopping"):
        submit(registry, prepared(registry))


def test_what_waits_while_a_page_is_recorded_is_one_page(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    settle = pages.settle

    def watched(*arguments: Any) -> Any:
        sizes.append(len(arguments[-1]))
        return settle(*arguments)

    with registry_on(url) as registry:
        admitted(registry, "27UM")
        monkeypatch.setattr(page_recorder, "settle", watched)
        with holding_the_lock(url):
            first = submit(registry, prepared(registry))
            until(lambda: waiting_writers(url) == 1)
            waiting = [submit(registry, prepared(registry)) for _ in range(10)]
        assert [len(each.result(20)) for each in (first, *waiting)] == [1] * 11
    assert sizes == [1, 10]


def test_too_many_that_wait_are_refused_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with registry_on(url) as registry:
        admitted(registry, "27UM")
        monkeypatch.setattr(page_recorder, "MAX_WAITING", 2)
        with holding_the_lock(url):
            first = submit(registry, prepared(registry))
            until(lambda: waiting_writers(url) == 1)
            waiting = [submit(registry, prepared(registry, 50)) for _ in range(2)]
            with pytest.raises(UnavailableError, match="too many"):
                submit(registry, prepared(registry))
        assert [len(each.result(20)) for each in (first, *waiting)] == [1, 50, 50]


def test_a_page_that_takes_too_long_is_told_by_readiness(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_recorder, "MAX_PAGE_SECONDS", 0.2)
    with registry_on(url) as registry:
        admitted(registry, "27UM")
        with holding_the_lock(url):
            waiting = submit(registry, prepared(registry))
            until(lambda: not registry.works)
        assert len(waiting.result(20)) == 1
        until(lambda: registry.works)


def test_commands_that_are_given_up_while_they_wait_are_not_recorded(url: str) -> None:
    answers: list[list[Settled]] = []
    with registry_on(url) as registry:
        admitted(registry, "27UM")
        before = len(whole_log(url))
        with holding_the_lock(url):
            first = registry.submit(prepared(registry), answers.append)
            until(lambda: waiting_writers(url) == 1)
            waiting = [registry.submit(prepared(registry), answers.append) for _ in range(2)]
            waiting[0].given_up = first.given_up = True
    assert len(answers) == 2
    assert len(whole_log(url)) == before + 2


@pytest.mark.parametrize("step", ["settle", "_take"])
def test_nobody_waits_for_a_thread_that_has_ended(
    url: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: Any) -> Sequence[Any]:
        raise KeyError(step)

    with registry_on(url) as registry:
        admitted(registry, "27UM")
        assert registry.works
        with holding_the_lock(url):
            first = submit(registry, prepared(registry))
            until(lambda: waiting_writers(url) == 1)
            waiting = submit(registry, prepared(registry))
            if step == "settle":
                monkeypatch.setattr(page_recorder, "settle", defect)
            else:
                monkeypatch.setattr(page_recorder.PageRecorder, "_take", defect)
        assert len(first.result(20)) == 1
        assert unavailable(waiting.result(20))
        until(lambda: not registry.works)
        with pytest.raises(UnavailableError):
            submit(registry, prepared(registry))
