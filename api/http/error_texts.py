"""The registry's own sentences for what pydantic and FastAPI find wrong: their texts are for programmers."""

from __future__ import annotations

from pydantic_core import ErrorDetails

from registry.domain.values import FORBIDDEN_CHARACTERS

_WHOLE_NUMBER = "must be a whole number"
_TRUE_OR_FALSE = "must be true or false"
UNKNOWN_FIELD = "unknown field; leave it out"
_SENTENCES = {
    "missing": "is missing; give it",
    "extra_forbidden": UNKNOWN_FIELD,
    "model_type": "must be a JSON object",
    "list_type": "must be a JSON array",
    "string_type": "must be a string",
    "string_unicode": FORBIDDEN_CHARACTERS,
    "int_type": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_parsing_size": "must have fewer digits",
    "bool_type": _TRUE_OR_FALSE,
    "bool_parsing": _TRUE_OR_FALSE,
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "string_too_short": "must be {min_length} or more characters",
    "string_too_long": "must be at most {max_length} characters",
    "too_short": "must have {min_length} or more items",
    "too_long": "must have at most {max_length} items",
    "value_error": "{error}",  # raised by `api.http.fields` or `registry.domain.values`
}


def sentence(error: ErrorDetails) -> str:
    """What the value must be. An error type without a sentence is a defect: a `KeyError`, answered as 500."""
    return _SENTENCES[error["type"]].format_map(error.get("ctx", {}))
