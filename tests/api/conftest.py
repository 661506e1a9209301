"""Fixtures of the tests of the HTTP border."""

from __future__ import annotations

import pytest

from tests.api.asking import Ask, admitted
from tests.support import Service


@pytest.fixture(scope="module")
def hbo(shared_service: Service) -> Ask:
    """An institution (hbo) with the module `KLINRED`, for tests that do not mind each other's awards."""
    _, institution = admitted(shared_service)
    return institution
