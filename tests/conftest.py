"""Fixtures: a real PostgreSQL for the whole run, and a registry of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.recording.registry import Registry
from tests import support
from tests.postgres.commands import admitted, registry_on
from tests.postgres.log import fresh
from tests.support import Databases, Service

# What a running Edubadges answers lies beside the project or is not there: the project carries none of it.
_ANSWERS = Path(__file__).parents[2] / "shared" / "standards" / "edubadges"
collect_ignore = [] if _ANSWERS.is_dir() else ["postgres/test_edubadges_answers.py"]


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    folder = tmp_path_factory.mktemp("postgres")
    with support.databases(folder) as found:
        yield found


@pytest.fixture
def url(databases: Databases) -> Iterator[str]:
    """The database of a new, empty registry."""
    with fresh(databases) as found:
        yield found


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    """A new registry with the institutions 27UM and 22OJ, each with a module: a log of four events."""
    with registry_on(url) as found:
        admitted(found, "27UM", "22OJ")
        yield found


@pytest.fixture
def service(url: str) -> Iterator[Service]:
    """The service on a new, empty registry."""
    with support.service(url) as found:
        yield found


@pytest.fixture(scope="module")
def shared_url(databases: Databases) -> Iterator[str]:
    """One database for the tests of a file that do not mind each other's data."""
    with fresh(databases) as found:
        yield found


@pytest.fixture(scope="module")
def shared_service(shared_url: str) -> Iterator[Service]:
    """One service for the tests of a file that do not mind each other's data."""
    with support.service(shared_url) as found:
        yield found
