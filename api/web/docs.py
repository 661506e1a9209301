"""The documentation of the API: Swagger UI on the OpenAPI document, without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

FILES = "/static-offline-docs"
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def add_docs(app: FastAPI, prefix: str) -> None:
    """Adds the page `/docs` and its files to the app, which is mounted at `prefix`."""
    page = str(
        get_swagger_ui_html(
            openapi_url=f"{prefix}/openapi.json",
            title=app.title,
            swagger_js_url=f"{prefix}{FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{prefix}{FILES}/swagger-ui.css",
            swagger_favicon_url=f"{prefix}{FILES}/favicon.png",
        ).body,
        "utf-8",
    )
    headers = {"Content-Security-Policy": _policy(page)}

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(page, headers=headers)

    folder = resources.files("fastapi_offline") / "static"
    app.mount(FILES, StaticFiles(directory=str(folder)), name="static-offline-docs")


def _policy(page: str) -> str:
    """Scripts: the files of this host, and those that the page itself contains. Nothing from elsewhere."""
    digests = [hashlib.sha256(script.encode()).digest() for script in _INLINE.findall(page)]
    own = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src 'self' {own}; style-src 'self' 'unsafe-inline';"
        " img-src 'self' data:; font-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
