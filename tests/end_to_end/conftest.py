"""Fixtures: a place in which a test starts real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.processes import Workshop, prepared
from tests.end_to_end.servers import end_server


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with the pilot's data, to be copied."""
    folder = tmp_path_factory.getbasetemp() / "model"
    yield prepared(folder)
    end_server(folder / "postgres" / "data")


@pytest.fixture
def workshop(tmp_path: Path, model: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path, model)
    yield made
    made.close()
