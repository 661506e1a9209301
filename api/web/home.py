"""The home page, with links."""

from __future__ import annotations

from fastapi.responses import HTMLResponse

HOME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Microcredential registry</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{font:1.1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}</style>
</head><body><h1>Microcredential registry</h1>
<p>The national register of microcredentials: their history, and a reliable status.</p>
<ul>
<li><a href="/v1/docs">API documentation</a> (<a href="/v1/openapi.json">OpenAPI</a>)</li>
<li><a href="/v1/institutions">Institutions</a> and <a href="/v1/modules">modules</a></li>
<li><a href="/problems/">Problems</a> and how to fix them</li>
<li><a href="/health/ready">Health</a></li>
</ul></body></html>"""


def home() -> HTMLResponse:
    return HTMLResponse(HOME)
