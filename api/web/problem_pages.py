"""The page behind each problem's `type`: its meaning, and how to fix it."""

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

REMEDIES = {
    "invalid-input": "Each entry of <code>errors</code> points to a member by its JSON pointer, or to a"
    " parameter by its name, and says what it must be. All errors are listed at once: fix them all, then"
    " send the request again.",
    "unauthenticated": "Send the header <code>Authorization: Bearer</code> with a token that is neither"
    " expired nor revoked. The registry's operator creates tokens.",
    "forbidden": "The token is valid, but its role may not do this, or not for this institution or learner."
    " The OpenAPI document lists the roles of each call.",
    "module-of-another": "Only the institution that registered a module may revise it, withdraw it, award it"
    " or list its badges. Use a module of your own.",
    "not-found": "The path, or the thing that it names, is unknown. Check the id, and whether the read model"
    " is up to date: <code>minPosition</code> waits for what you wrote.",
    "method-not-allowed": "Use one of the methods in the header <code>Allow</code>.",
    "institution-unknown": "No institution with this BRIN was admitted. The registrar admits institutions.",
    "module-not-found": "No module has this id. <code>GET /v1/modules</code> lists the modules.",
    "badge-unknown": "No badge with this id or reference is known to your institution. The badges of other"
    " institutions are unknown to it, just as badges that do not exist.",
    "institution-not-admitted": "Ask the registrar to admit the institution, then send the request again.",
    "outside-admission": "<code>awardedOn</code> must be a day from <code>admittedFrom</code> through"
    " <code>admittedUntil</code>. Check the day, or ask the registrar to check the admission.",
    "admission-ended": "The institution may revoke badges and look them up, but not award them. The"
    " registrar can extend the admission.",
    "institution-suspended": "During the suspension the institution may revoke badges and look them up, but"
    " not award them. Send the award again once the registrar has ended the suspension.",
    "suspended-on-that-day": "<code>awardedOn</code> is a day of a suspension, on which no award is valid,"
    " even after the suspension has ended. Check the day.",
    "too-many-changes": "<code>detail</code> names the maximum, and what to do. A module with too many"
    " versions still takes awards.",
    "already-suspended": "Reinstate first, then suspend for the other reason.",
    "module-unknown": "Register the module, or correct <code>moduleId</code> or"
    " <code>moduleReference</code>.",
    "module-version-unknown": "Omit <code>moduleVersion</code> to use the latest, or name a version that"
    " exists.",
    "module-withdrawn": "A withdrawn module accepts no awards, whatever their <code>awardedOn</code>."
    " Register a new module.",
    "module-already-withdrawn": "A withdrawal cannot be changed. Omit <code>from</code>, or send the day"
    " that was sent first, to have it confirmed.",
    "reference-taken": "<code>errors</code> points to the members that differ. To retry, send the same"
    " content as before, or as it is after corrections. For something else, use a new"
    " reference. To replace a wrong award, revoke it and award it again with <code>supersedes</code>; a"
    " wrong grade or spelling can be corrected.",
    "reference-fixed": "Send the module's own reference with a new version.",
    "study-load": "The policy on the day of registration limits the study load by sector. The registrar may"
    " exempt a module's reference; after that, send the request again.",
    "target-group": "Omit <code>targetGroup</code>, or send <code>professionals</code>, which is always"
    " allowed.",
    "event-too-large": "An event is recorded permanently and must be at most 60 KiB. Shorten the texts.",
    "badge-revoked": "A revocation is permanent. Award the badge again with <code>supersedes</code>.",
    "private-parts-erased": "The learner's private parts were erased permanently; there is nothing to"
    " correct.",
    "revoked-for-another-reason": "A revocation is permanent, and so is its reason.",
    "superseded-unknown": "<code>supersedes</code> must be the id of a badge that the same institution"
    " awarded.",
    "superseded-not-revoked": "Revoke the wrong badge first, then send the award again.",
    "too-large": "A body must be at most 1 MiB, a batch at most 256 MiB and 100,000 lines. The lines of a"
    " batch before the limit are recorded; send the rest as another batch.",
    "media-type": "Set <code>Content-Type: application/json</code>, or <code>application/x-ndjson</code> for"
    " a batch.",
    "coding": "Send the body as it is, in UTF-8. A body may come in chunks, but not compressed, and"
    " <code>Content-Type</code> may name no charset but <code>utf-8</code>.",
    "too-many-requests": "Your token or your address sends too many requests. Wait for the number of seconds"
    " in <code>Retry-After</code>, and send many awards as one batch.",
    "not-ready": "The request is valid. Send it again after the number of seconds in"
    " <code>Retry-After</code>; it is safe to send an award again.",
    "internal": "The registry has a defect. Nothing of the request is half-recorded, and it is safe to send"
    " it again. The registry's operator finds the cause in the log.",
}


def kinds() -> dict[str, tuple[int, str]]:
    """Status and title of every problem, by the last part of its `type`."""
    answered = {kind.slug: (kind.status, kind.title) for kind in (*PROBLEMS.values(), INTERNAL)}
    return answered | {slug: (status, title) for status, (slug, title, _) in BY_FRAMEWORK.items()}


@router.get("/problems/")
def list_problems() -> HTMLResponse:
    items = "".join(
        f'<li><a href="/problems/{slug}">{escape(title)}</a> ({status})</li>'
        for slug, (status, title) in sorted(kinds().items())
    )
    return HTMLResponse(PAGE.format(title="Problems", content=f"<ul>{items}</ul>"))


@router.get("/problems/{slug}")
def show_problem(slug: str) -> HTMLResponse:
    kind = kinds().get(slug)
    if kind is None:
        raise NotFound("problem")
    status, title = kind
    return HTMLResponse(
        PAGE.format(title=escape(title), content=f"<p>HTTP status {status}.</p><p>{REMEDIES[slug]}</p>")
    )
