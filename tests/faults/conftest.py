"""Fixtures: the same as of the tests from end to end."""

from tests.end_to_end.conftest import model, workshop

__all__ = ["model", "workshop"]
