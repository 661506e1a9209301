"""Paths and queries that name nothing, or another kind of thing: refused or not found, never a defect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.domain.values import BRIN
from tests import support
from tests.api.asking import (
    UNKNOWN_ID,
    admitted,
    award_body,
    awarded,
    module_body,
    nothing_recorded,
    refused,
)
from tests.support import INSTITUTION, Databases, Service

# Thousands of requests: measuring their coverage costs a minute and adds hardly a line.
pytestmark = pytest.mark.no_cover


@dataclass
class Kinds:
    """A registry in which something of each kind has an id."""

    service: Service
    ids: dict[str, str]

    def calls(self, name: str, but: str = "none") -> Iterator[tuple[int, Any]]:
        """Every call with `name` where an id of another kind than `but` belongs: status and answer."""
        brin = self.ids["institution"]
        institution, registrar = self.service.institution(brin), self.service.as_("registrar")
        auditor, reason = self.service.as_("auditor"), {"reason": "other"}
        for method, path, body in (
            ("POST", f"modules/{name}/versions", module_body(name="Other")),
            ("POST", f"modules/{name}/withdrawal", {}),
            ("POST", f"badges/{name}/revocation", reason),
            ("POST", f"badges/{name}/suspension", reason),
            ("DELETE", f"badges/{name}/suspension", None),
        ):
            if not path.startswith(but):
                yield _status(institution, method, path, body)
        for method, path, body in (
            ("PUT", f"institutions/{name}", INSTITUTION),
            ("POST", f"institutions/{name}/suspension", reason),
            ("DELETE", f"institutions/{name}/suspension", None),
        ):
            if not path.startswith(but):
                yield _status(registrar, method, path, body)
        for path in (
            f"institutions/{name}",
            f"institutions/{name}/badges",
            f"modules/{name}",
            f"modules/{name}/versions/1",
            f"modules/{name}/badges",
            f"badges/{name}",
            f"badges/{name}/status",
            f"learners/{name}/badges",
        ):
            if not path.startswith(but):
                yield _status(auditor, "GET", path, None)


def _status(ask: Any, method: str, path: str, body: Any) -> tuple[int, Any]:
    answer = ask(method, f"/v1/{path}", body)
    return answer.status_code, answer


@pytest.fixture(scope="module")
def kinds(databases: Databases) -> Iterator[Kinds]:
    url = databases.fresh()
    with support.service(url) as service:
        brin, institution = admitted(service)
        badge = awarded(institution)
        service.settle()
        yield Kinds(
            service,
            {
                "institution": brin,
                "module": badge["moduleId"],
                "badge": badge["id"],
                "learner": badge["learnerId"],
            },
        )
    databases.drop(url)


@pytest.mark.parametrize(
    "name", ["%00", "a%00b", "%E2%80%AE", "%FF", "%C0%AF", "%0A", "'", "%25", "..", "%2E"]
)
def test_a_hostile_name_in_a_path_names_nothing(kinds: Kinds, name: str) -> None:
    with nothing_recorded(kinds.service):
        for status, answer in kinds.calls(name):
            assert status in {200, 400, 404, 405}, (answer.request.url, answer.text)
            assert status != 200 or answer.json() == {"items": [], "next": None} or name in "..%2E"


# A text that is a BRIN names an institution to admit.
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=300).filter(
    lambda text: not BRIN.fullmatch(text)
)


@settings(max_examples=40, deadline=None)
@given(text=names)
def test_any_text_in_a_path_names_nothing(kinds: Kinds, text: str) -> None:
    with nothing_recorded(kinds.service):
        for status, answer in kinds.calls(quote(text, safe="")):
            assert status in {200, 307, 400, 404, 405}, (answer.request.url, answer.text)


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.characters(codec="utf-8"), max_size=300))
def test_any_text_in_a_query_is_taken_or_refused(kinds: Kinds, text: str) -> None:
    auditor, institution = kinds.service.as_("auditor"), kinds.service.institution(kinds.ids["institution"])
    badges = f"/v1/institutions/{kinds.ids['institution']}/badges"
    for ask, path, names in (
        (auditor, "/v1/events", ("after", "limit", "type", "subject", text)),
        (auditor, "/v1/modules", ("institution", "reference", "withdrawn", "cursor", "limit", "minPosition")),
        (auditor, "/v1/institutions", ("cursor", "limit", text)),
        (institution, badges, ("reference", "status", "awardedFrom", "awardedUntil", "cursor", text)),
    ):
        for name in names:
            answer = ask("GET", path, params={name: text})
            assert answer.status_code in {200, 400}, (path, name, answer.text)


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/v1/modules", "reference"),
        ("/v1/modules", "institution"),
        ("/v1/events", "subject"),
        ("/v1/events", "type"),
        ("/v1/institutions", "cursor"),
        ("/v1/modules", "cursor"),
    ],
)
def test_nul_in_a_query_finds_nothing_or_is_refused(kinds: Kinds, path: str, parameter: str) -> None:
    auditor = kinds.service.as_("auditor")
    for text in ("\x00", "27\x00", "aW5zdGl0dXRpb25zOgA"):
        answer = auditor("GET", path, params={parameter: text})
        assert answer.status_code in {200, 400}, answer.text
        if answer.status_code == 200:
            assert answer.text in {"", '{"items":[],"next":null}'}


@pytest.mark.parametrize("kind", ["institution", "module", "badge", "learner"])
def test_an_id_of_another_kind_is_unknown(kinds: Kinds, kind: str) -> None:
    """The log has one name space of subjects; a badge's id names no module, and so on."""
    for status, answer in kinds.calls(kinds.ids[kind], but=f"{kind}s"):
        assert status in {200, 400, 404}, (answer.request.url, answer.text)
        if status == 200:
            assert answer.json() == {"items": [], "next": None}
        elif status == 404:
            refused(answer, 404, answer.json()["type"].removeprefix("/problems/"))


@pytest.mark.parametrize("kind", ["badge", "learner"])
def test_an_award_names_a_module_by_a_modules_id(kinds: Kinds, kind: str) -> None:
    institution = kinds.service.institution(kinds.ids["institution"])
    body = award_body(moduleReference=..., moduleId=kinds.ids[kind])
    with nothing_recorded(kinds.service):
        refused(institution("POST", "/v1/badges", body), 409, "module-unknown")


@pytest.mark.parametrize("kind", ["module", "learner", "unknown"])
def test_an_award_supersedes_a_badge_by_a_badges_id(kinds: Kinds, kind: str) -> None:
    institution = kinds.service.institution(kinds.ids["institution"])
    superseded = kinds.ids.get(kind, UNKNOWN_ID)
    with nothing_recorded(kinds.service):
        answer = institution("POST", "/v1/badges", award_body(supersedes=superseded))
        refused(answer, 409, "superseded-unknown")
