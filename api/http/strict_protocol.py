"""HTTP/1.1 on the socket, read as strictly as the requests themselves (`api.http.strict`)."""

from __future__ import annotations

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http.problems import MEDIA_TYPE, PROBLEMS
from registry.domain.errors import InvalidInput
from registry.release import RELEASE

_KIND = PROBLEMS[InvalidInput]
_PROBLEM = msgspec.json.encode(
    {
        "type": f"/problems/{_KIND.slug}",
        "title": _KIND.title,
        "status": _KIND.status,
        "detail": "This is not a valid HTTP/1.1 request.",
        "instance": "/",
    }
)
_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: %s\r\ncontent-length: %d\r\ncache-control: no-store\r\n"
    b"api-version: %s\r\nconnection: close\r\n\r\n%s"
) % (MEDIA_TYPE.encode(), len(_PROBLEM), RELEASE.encode(), _PROBLEM)


class StrictProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with trailers kept apart and a problem for what is not HTTP."""

    def on_url(self, url: bytes) -> None:
        if b"#" in url:
            raise ValueError("a request's address has no fragment")  # answered by `send_400_response`
        super().on_url(url)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        # Trailers are not headers (RFC 9110, 6.5.1). The parser reports both alike, so from here on it
        # fills a list that nobody reads.
        self.headers = []

    def send_400_response(self, msg: str) -> None:
        del msg  # the library's words
        self.transport.write(_ANSWER)
        self.transport.close()
