"""Entity tags: a client that holds an answer already gets 304 in place of the body (RFC 9110, 13.1.2)."""

from __future__ import annotations

import hashlib

from fastapi import Request, Response

from api.http.responses import Answer, extent_headers
from registry.event_store.log import Extent


class Tagged:
    """An answer with its entity tag, which several requests may get."""

    def __init__(
        self,
        body: bytes,
        extent: Extent | None = None,
        media_type: str = "application/json",
        tag: str | None = None,
    ) -> None:
        self._body, self._media_type = body, media_type
        self._tag = tag or f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": self._tag} | ({} if extent is None else extent_headers(extent))
        self._whole = Response(body, 200, headers, media_type)
        self._unchanged = Response(None, 304, headers)

    def through(self, extent: Extent) -> Tagged:
        """The same answer where it is complete through another extent."""
        return Tagged(self._body, extent, self._media_type, self._tag)

    def answer(self, request: Request) -> Response:
        """The answer, or 304 without a body where `If-None-Match` has its tag."""
        held = [value for name, value in request.scope["headers"] if name == b"if-none-match"]
        return self._unchanged if held and self._is_among(held) else self._whole

    def _is_among(self, held: list[bytes]) -> bool:
        """Whether a header names the tag; a weak one counts too, from a proxy that packed the answer."""
        tags = b",".join(held).decode("latin-1").split(",")
        return any(tag.strip().removeprefix("W/") in (self._tag, "*") for tag in tags)


def tagged(request: Request, answer: Answer, extent: Extent) -> Response:
    """The answer of a look-up to one request."""
    return Tagged(answer.json_bytes(), extent).answer(request)
