"""Parameters of path and query: the ids in a path, and the check of every query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Path, Request
from fastapi.dependencies.models import Dependant

from registry.domain import values
from registry.domain.errors import InvalidInput

NOT_A_LINE = "holds a control, bidirectional or surrogate character"
# Documented, not checked here: what cannot be an id is answered as unknown.
_UUID = {"format": "uuid"}
ModuleId = Annotated[str, Path(alias="moduleId", description="A module's id.", json_schema_extra=_UUID)]
BadgeId = Annotated[str, Path(alias="id", description="A badge's id.", json_schema_extra=_UUID)]
LearnerId = Annotated[str, Path(alias="learnerId", description="A learner's pseudonymous id.")]


async def only_known_parameters(request: Request) -> None:
    """A query parameter that the route does not have, or that comes twice, is refused, not passed over.

    So is a control character, in a path as in a query.
    """
    path = request.path_params.items()
    if hostile := [(f"/{name}", NOT_A_LINE) for name, value in path if not values.is_line(value)]:
        raise InvalidInput(*hostile)
    if not request.scope["query_string"]:
        return
    given = [name for name, _ in request.query_params.multi_items()]
    known = frozenset(_query_names(request.scope["route"].dependant))
    wrong = [(f"/{name[:64]}", "is no parameter of this call") for name in given if name not in known]
    wrong += [(f"/{name}", "stands twice") for name in sorted(known) if given.count(name) > 1]
    wrong += [
        (f"/{name}", NOT_A_LINE)
        for name, value in request.query_params.items()
        if name in known and not values.is_line(value)
    ]
    if wrong:
        raise InvalidInput(*wrong)


def _query_names(dependant: Dependant) -> Iterator[str]:
    """The query parameters of a route and of all that it depends on."""
    yield from (field.alias for field in dependant.query_params)
    for each in dependant.dependencies:
        yield from _query_names(each)
