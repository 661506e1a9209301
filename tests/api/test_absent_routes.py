"""What is not there: calls that come with later releases, and paths that never will."""

from __future__ import annotations

import pytest

from registry.tokens import ROLES
from tests.api.asking import UNKNOWN_ID, refused, wrong
from tests.support import Service

LATER = """
GET /v1/open-statistics/x, GET /v1/status-lists/0, GET /v1/token-status-lists/0,
GET /v1/verifications, POST /v1/verifications, GET /v1/issuers, GET /log/checkpoint, GET /log/tile/0/000,
GET /v1/shares/x, POST /v1/badges/{id}/shares, GET /v1/learners/me/export,
POST /v1/learners/{id}/erasure, GET /v1/access-records, GET /problems/nothing, GET /nothing
"""


@pytest.mark.parametrize("route", [each.strip() for each in LATER.split(",")])
def test_what_is_not_built_yet_is_absent_for_everyone(shared_service: Service, route: str) -> None:
    method, _, path = route.replace("{id}", UNKNOWN_ID).partition(" ")
    for role in ROLES:
        answer = shared_service.as_(role, institution="27UM", learner_id=UNKNOWN_ID)(method, path)
        assert answer.status_code == 404, (role, answer.text)


def test_as_of_is_no_parameter_where_it_means_nothing(shared_service: Service) -> None:
    wrong(
        shared_service.as_("auditor")("GET", "/v1/events", params={"asOf": "2026-01-01T00:00:00Z"}), "/asOf"
    )


def test_an_unknown_path_is_a_problem_like_any_other(shared_service: Service) -> None:
    for path in (
        "/nothing",
        "/v1/nothing",
        "/v1/badges/a/b/c",
        "/v1/institutions//badges",
        "/v1/modules/",
        "/metrics/",
    ):
        refused(shared_service.client.get(path), 404, "not-found")
