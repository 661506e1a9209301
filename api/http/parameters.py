"""Parameters: the ids in a path, and the check of every query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Path, Request
from fastapi.dependencies.models import Dependant
from pydantic import AfterValidator

from registry.domain.errors import InvalidInput
from registry.domain.values import FORBIDDEN_CHARACTERS, is_line, lower_uuid

# The form is documented but not checked here: a text that cannot be an id is answered as unknown.
_UUID = {"format": "uuid"}
_Id = Annotated[str, AfterValidator(lower_uuid)]
ModuleId = Annotated[_Id, Path(alias="moduleId", description="A module's id.", json_schema_extra=_UUID)]
BadgeId = Annotated[_Id, Path(alias="id", description="A badge's id.", json_schema_extra=_UUID)]
LearnerId = Annotated[_Id, Path(alias="learnerId", description="A learner's pseudonymous id.")]


async def only_known_parameters(request: Request) -> None:
    """Refuses query parameters that the route does not have or that are given twice.

    It also refuses control characters, in the path and in the query.
    """
    path = request.path_params.items()
    if errors := [(f"/{name}", FORBIDDEN_CHARACTERS) for name, value in path if not is_line(value)]:
        raise InvalidInput(*errors)
    if not request.scope["query_string"]:
        return
    given = [name for name, _ in request.query_params.multi_items()]
    known = frozenset(_query_names(request.scope["route"].dependant))
    errors = [(f"/{name[:64]}", "unknown parameter; leave it out") for name in given if name not in known]
    errors += [
        (f"/{name}", "is given twice; give it once") for name in sorted(known) if given.count(name) > 1
    ]
    errors += [
        (f"/{name}", FORBIDDEN_CHARACTERS)
        for name, value in request.query_params.items()
        if name in known and not is_line(value)
    ]
    if errors:
        raise InvalidInput(*errors)


def _query_names(dependant: Dependant) -> Iterator[str]:
    """The query parameters of a route and of all its dependencies."""
    yield from (field.alias for field in dependant.query_params)
    for dependency in dependant.dependencies:
        yield from _query_names(dependency)
