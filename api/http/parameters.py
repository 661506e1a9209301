"""Parameters: the ids in a path, and the check of every query."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, get_args

from fastapi import Path, Request
from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from pydantic import AfterValidator

from api.http.fields import Form
from registry.domain.errors import InvalidInput
from registry.domain.values import FORBIDDEN_CHARACTERS, is_line, lower_uuid

_HEX = "[0-9A-Fa-f]"
_PATTERN = f"^{_HEX}{{8}}(-{_HEX}{{4}}){{3}}-{_HEX}{{12}}$"
# The form is documented but not checked here: a text that cannot be an id is answered as unknown.
_UUID = {"format": "uuid", "pattern": _PATTERN}
_Id = Annotated[str, AfterValidator(lower_uuid)]
ModuleId = Annotated[_Id, Path(alias="moduleId", description="A module's id.", json_schema_extra=_UUID)]
BadgeId = Annotated[_Id, Path(alias="id", description="A badge's id.", json_schema_extra=_UUID)]
# An unknown learner has an empty list, so another form must not pass for one.
LearnerId = Annotated[
    _Id,
    Path(alias="learnerId", description="A learner's pseudonymous id."),
    Form(_PATTERN, "must be a learner's id, a UUID; an institution finds it by POST /v1/learner-lookups", 36),
]


async def only_known_parameters(request: Request) -> None:
    """Refuses query parameters that the route does not have, that are given twice or have another form."""
    dependant: Dependant = request.scope["route"].dependant
    errors = [
        error for field in dependant.path_params for error in _form(field, request.path_params[field.alias])
    ]
    if errors:
        raise InvalidInput(*errors)
    if not request.scope["query_string"]:
        return
    given = [name for name, _ in request.query_params.multi_items()]
    known = {field.alias: field for field in _query_fields(dependant)}
    errors = [(f"/{name[:64]}", "unknown parameter; leave it out") for name in given if name not in known]
    errors += [
        (f"/{name}", "is given twice; give it once") for name in sorted(known) if given.count(name) > 1
    ]
    errors += [
        (f"/{name}", FORBIDDEN_CHARACTERS)
        for name, value in request.query_params.items()
        if name in known and not is_line(value)
    ]
    errors += [
        error
        for name, value in request.query_params.items()
        if name in known
        for error in _form(known[name], value)
    ]
    if errors:
        raise InvalidInput(*errors)


def _query_fields(dependant: Dependant) -> Iterator[ModelField]:
    """The query parameters of a route and of all its dependencies."""
    yield from dependant.query_params
    for dependency in dependant.dependencies:
        yield from _query_fields(dependency)


# The framework also reads `1.0`, `1_0`, `+5`, `yes` and `on`, each in a way of its own.
_FORMS = {
    int: (re.compile("[0-9]+|-[1-9][0-9]*"), "must be a whole number"),
    bool: (re.compile("true|false"), "must be true or false"),
}


def _form(field: ModelField, value: str) -> Iterator[tuple[str, str]]:
    """The error of a number or a truth value that is written in another way than in JSON."""
    annotation = field.field_info.annotation
    for kind in (annotation, *get_args(annotation)):
        if kind in _FORMS:
            pattern, sentence = _FORMS[kind]
            if not pattern.fullmatch(value):
                yield f"/{field.alias}", sentence
