"""Fixtures: the same as of the tests from end to end."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.end_to_end.conftest import model, workshop
from tests.faults.disk import SmallDisk

__all__ = ["model", "workshop"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where no disk can be mounted, a quota alone stands for one that is full."""
    on_a_disk = [each for each in items if "disk" in getattr(each, "fixturenames", ())]
    if on_a_disk and not _can_mount():
        config.hook.pytest_deselected(items=on_a_disk)
        items[:] = [each for each in items if each not in on_a_disk]


def _can_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return SmallDisk.is_possible(Path(folder))
