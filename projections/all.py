"""Every read model of the registry, in one list."""

from __future__ import annotations

from projections.badges import Badges
from projections.catalogue import Catalogue
from projections.read_model import ReadModel
from projections.statistics import Statistics


def read_models() -> list[ReadModel]:
    """Every read model of the registry."""
    return [Badges(), Catalogue(), Statistics()]
