"""Every read model of the registry, in one list."""

from __future__ import annotations

from projections.badges.projection import Badges
from projections.catalogue.projection import Catalogue
from projections.read_model import ReadModel
from projections.statistics.projection import Statistics


def read_models() -> list[ReadModel]:
    """Every read model of the registry."""
    return [Badges(), Catalogue(), Statistics()]
