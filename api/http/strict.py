"""Reads every request in one way: what two readers could take differently is refused before routing.

A proxy in front checks a request by its own reading of it. The forms that RFC 9110, 9112 and 3986 do not
have, or that a proxy may read in another way, are therefore refused here: for every path, also for those
that do not exist.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from api.http.problems import WrongCoding
from registry.domain.errors import InvalidInput, Refusal
from registry.domain.values import FORBIDDEN_CHARACTERS, is_line

# Headers that have one value (RFC 9110). Of two values, one reader takes the first and another the last.
_SINGLE = frozenset({b"authorization", b"content-length", b"content-type", b"host"})
MAX_PARAMETERS = 100
"""Parameters in a query: several times what any route has."""
_CODING = frozenset({b"content-encoding", b"content-type", b"transfer-encoding"})
_PLAIN = re.compile(rb"[!-$&-~]*")
_ESCAPED = re.compile(rb"(?:[!-$&-~]|%[0-9A-Fa-f]{2})*")
_ESCAPED_SLASH = re.compile(rb"%2f", re.IGNORECASE)


def objection(scope: Scope) -> Refusal | None:
    """Why the request has more than one meaning; None for one that has one."""
    errors: list[tuple[str, str]] = []
    if not _PLAIN.fullmatch(scope["raw_path"]):  # most paths have nothing that could be read in two ways
        errors += _of_path(scope["raw_path"])
    if not _PLAIN.fullmatch(scope["query_string"]):
        errors += _of_query(scope["query_string"])
    coded = False
    given: set[bytes] = set()
    for name, value in scope["headers"]:
        if name in given and name in _SINGLE:
            errors.append(("", f"the header {name.decode()} is given twice; give it once"))
        given.add(name)
        coded = coded or (name in _CODING and _is_coded(name, value))
    if b"host" not in given and scope["http_version"] == "1.1":
        errors.append(("", "the header host is missing; give it"))
    if errors:
        return InvalidInput(*errors)
    return WrongCoding() if coded else None


def _of_path(raw: bytes) -> list[tuple[str, str]]:
    text = _decoded(raw)
    if text is None:
        return [("", "the path must be percent-encoded UTF-8")]
    if not is_line(text):
        return [("", f"the path {FORBIDDEN_CHARACTERS}")]
    if _ESCAPED_SLASH.search(raw):
        return [("", "the path must not contain an encoded slash")]
    return []


def _of_query(raw: bytes) -> list[tuple[str, str]]:
    if raw.count(b"&") >= MAX_PARAMETERS:
        return [("", f"the query must have at most {MAX_PARAMETERS} parameters")]
    return [("", "the query must be percent-encoded UTF-8")] if _decoded(raw) is None else []


def _decoded(raw: bytes) -> str | None:
    """The text of a percent-encoded part of an address; None if it is not UTF-8."""
    if not _ESCAPED.fullmatch(raw):
        return None
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        return None


def _is_coded(name: bytes, value: bytes) -> bool:
    """Whether a header says that the body is not plain UTF-8: nothing here decodes such a body."""
    value = value.strip().lower()
    if name == b"content-encoding":
        return value not in (b"", b"identity")
    if name == b"transfer-encoding":
        return value != b"chunked"
    return name == b"content-type" and any(
        part.strip().startswith(b"charset=")
        and part.partition(b"=")[2].strip(b' "') not in (b"utf-8", b"utf8")
        for part in value.split(b";")[1:]
    )
