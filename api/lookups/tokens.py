"""The tokens, for auditors: who the client of an event is, and until when it could act."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from api.http import cursors
from api.http.auth import Allow
from api.http.cursors import CursorParameter, Limit
from api.http.openapi import answers
from api.http.reading import reading_of
from api.http.responses import TokenAnswer, TokenList, answered
from registry import tokens

router = APIRouter(tags=["log"])


@router.get(
    "/tokens",
    operation_id="listTokens",
    summary="All tokens in the order of their ids, without their secrets",
    description=(
        "The `id` is the `client` of the events that the token's bearer recorded. Tokens that are expired or"
        " revoked stay in the list. A `name` is kept outside the log, and shown here alone."
    ),
    responses=answers(400, 401, 403, ok=TokenList),
    dependencies=[Depends(Allow("auditor"))],
)
def list_tokens(request: Request, limit: Limit = 50, cursor: CursorParameter = None) -> Response:
    after = "" if cursor is None else cursors.decode(cursors.list_of(request), cursor, tokens.TOKEN_ID)
    with reading_of(request).pool.cursor() as database:
        rows = tokens.list_tokens(database, after, limit + 1)
    shown, following = cursors.page(cursors.list_of(request), rows, limit, lambda row: row.id)
    items = [TokenAnswer.model_validate(token, from_attributes=True) for token in shown]
    return answered(TokenList(items=items, next=following))
