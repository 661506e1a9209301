"""The page behind each problem's `type`: what it means, and how to mend it."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from api.http.problems import BY_FRAMEWORK, INTERNAL, PROBLEMS, NotFound

router = APIRouter(include_in_schema=False)

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:1.1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}}</style>
</head><body><h1>{title}</h1>{content}<p><a href="/problems/">All problems</a></p></body></html>"""

MEND = {
    "invalid-input": "Each entry of <code>errors</code> names a member by its JSON pointer (or a parameter by"
    " its name) and says what is wrong with it. All that is wrong is said at once: mend all, and send again.",
    "unauthenticated": "Send the header <code>Authorization: Bearer</code> with a token that has not expired"
    " and is not revoked. The registry's operator makes tokens.",
    "forbidden": "The token is good, but its role may not do this, or not for this institution or learner."
    " The OpenAPI document says for whom each call is.",
    "module-of-another": "Only the institution that registered a module revises it, withdraws it, awards for"
    " it, or lists its badges. Use your own module.",
    "not-found": "The path or the thing that it names is not there. Check the id, and whether the read model"
    " holds it yet: <code>minPosition</code> waits for what you wrote.",
    "method-not-allowed": "The header <code>Allow</code> says which methods the path has.",
    "institution-unknown": "No institution with this BRIN was admitted. The registrar admits institutions.",
    "module-not-found": "No module has this id. <code>GET /v1/modules</code> lists them.",
    "badge-unknown": "No badge with this id is known to the asker. Another institution's badge is as unknown"
    " as one that does not exist.",
    "institution-not-admitted": "Ask the registrar to admit the institution; then send the same again.",
    "outside-admission": "<code>awardedOn</code> lies from <code>admittedFrom</code> through"
    " <code>admittedUntil</code>. Check the day, or ask the registrar whether the admission is right.",
    "admission-ended": "The institution may revoke and look up, but not award. The registrar can extend it.",
    "institution-suspended": "While it lasts the institution may revoke and look up, but not award. The"
    " registrar lifts it; send the award again after that.",
    "suspended-on-that-day": "<code>awardedOn</code> lies on a day of a suspension, which counts for ever.",
    "already-suspended": "Reinstate first, then suspend for the other reason.",
    "module-unknown": "Register it, or correct <code>moduleId</code> or <code>moduleReference</code>.",
    "module-version-unknown": "Leave <code>moduleVersion</code> out for the latest, or name one that is.",
    "module-withdrawn": "A withdrawn module takes no award, whatever its <code>awardedOn</code>. Register a"
    " new module.",
    "module-already-withdrawn": "A withdrawal stands. Send no <code>from</code>, or the same, to be told so.",
    "reference-taken": "Retrying: send exactly what was sent first. Something else: use a new reference. A"
    " wrong award is revoked, and awarded anew with <code>supersedes</code>; a wrong grade or spelling is"
    " corrected.",
    "reference-fixed": "Send the module's own reference with a new version.",
    "study-load": "The policy in force on the day of registration bounds the study load by sector. The"
    " registrar may exempt a module's reference; then send it again.",
    "target-group": "Leave <code>targetGroup</code> out, or send <code>professionals</code>.",
    "event-too-large": "What is recorded for ever has at most 60 KiB. Shorten the texts.",
    "badge-revoked": "Nothing brings a revoked badge back. Award anew, with <code>supersedes</code>.",
    "private-parts-erased": "The learner's private parts were erased, for ever; there is nothing to correct.",
    "revoked-for-another-reason": "The first revocation stands, with its reason.",
    "superseded-unknown": "<code>supersedes</code> is the id of a badge that the same institution awarded.",
    "superseded-not-revoked": "Revoke the wrong badge first; then award anew.",
    "too-large": "A body has at most 1 MiB, a batch 256 MiB and 100,000 lines. Of a batch, what was read"
    " before the limit stands; send the rest as another batch.",
    "media-type": "Set <code>Content-Type: application/json</code>, or <code>application/x-ndjson</code> for"
    " a batch.",
    "too-many-requests": "So many requests a second are taken from one address. Wait for the seconds in"
    " <code>Retry-After</code>; send many awards as one batch.",
    "not-ready": "Nothing is wrong with the request. Send it again after the seconds in"
    " <code>Retry-After</code>; an award may be sent again without harm.",
    "internal": "A defect of the registry. Nothing of the request is half-recorded; it may be sent again."
    " The registry's operator finds the place in the log.",
}


BY_PROXY = {"too-many-requests": (429, "Too many requests")}
"""What is answered before the service: see deploy/nginx."""


def kinds() -> dict[str, tuple[int, str]]:
    """Status and title of every problem, by the last part of its `type`."""
    found = {kind.slug: (kind.status, kind.title) for kind in (*PROBLEMS.values(), INTERNAL)}
    found |= BY_PROXY
    return found | {slug: (status, title) for status, (slug, title, _) in BY_FRAMEWORK.items()}


@router.get("/problems/")
def list_problems() -> HTMLResponse:
    items = "".join(
        f'<li><a href="/problems/{slug}">{escape(title)}</a> ({status})</li>'
        for slug, (status, title) in sorted(kinds().items())
    )
    return HTMLResponse(PAGE.format(title="Problems", content=f"<ul>{items}</ul>"))


@router.get("/problems/{slug}")
def show_problem(slug: str) -> HTMLResponse:
    found = kinds().get(slug)
    if found is None:
        raise NotFound("problem")
    status, title = found
    return HTMLResponse(
        PAGE.format(title=escape(title), content=f"<p>HTTP status {status}.</p><p>{MEND[slug]}</p>")
    )
