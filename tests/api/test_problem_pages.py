"""The page behind each problem's `type`: what it means, and how to fix it."""

from __future__ import annotations

import re

import pytest

from api.web.problem_pages import REMEDIES, kinds
from tests.api.asking import API_VERSION, UNKNOWN_ID, Ask, award_body, refused
from tests.support import Service


def text_of(service: Service, path: str) -> str:
    """What a reader of the page sees."""
    page = service.client.get(path)
    assert page.status_code == 200, path
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["API-Version"] == API_VERSION
    assert re.findall(r"(?:src|href)=[\"'](?!/problems/)", page.text) == [], "it needs nothing from elsewhere"
    return re.sub(r"<style>.*?</style>|<[^>]+>", " ", page.text, flags=re.DOTALL)


@pytest.mark.parametrize("slug", sorted(kinds()))
def test_a_page_names_its_problem_and_says_how_to_fix_it(shared_service: Service, slug: str) -> None:
    status, title = kinds()[slug]
    text = " ".join(text_of(shared_service, f"/problems/{slug}").split())
    assert title in text.replace("&#x27;", "'")
    assert f"HTTP status {status}" in text
    assert len(re.sub(r"<[^>]+>", "", REMEDIES[slug])) > 40


def test_no_page_is_without_a_problem() -> None:
    assert set(REMEDIES) == set(kinds())


def test_the_list_leads_to_every_page(shared_service: Service) -> None:
    page = shared_service.client.get("/problems/").text
    assert sorted(re.findall(r'href="/problems/([a-z-]+)"', page)) == sorted(kinds())


def test_the_type_of_a_problem_leads_to_its_page(shared_service: Service, hbo: Ask) -> None:
    client = shared_service.client
    problems = [
        client.get("/v1/nothing"),
        client.delete("/v1/modules"),
        client.get("/v1/events"),
        hbo("GET", "/v1/events"),
        hbo("POST", "/v1/badges", {}),
        hbo("POST", "/v1/badges", award_body(moduleReference="nope")),
        hbo("POST", f"/v1/badges/{UNKNOWN_ID}/revocation", {"reason": "other"}),
        hbo("POST", "/v1/badge-batches", content=b"{}"),
    ]
    for answer in problems:
        problem = answer.json()
        text = text_of(shared_service, problem["type"])
        assert problem["title"] in text.replace("&#x27;", "'")
        assert f"HTTP status {problem['status']}" in text


@pytest.mark.parametrize("slug", ["nothing", "Invalid-Input", "%3Cb%3E", "invalid-input%20"])
def test_another_page_is_not_found_and_its_name_is_not_told_back(shared_service: Service, slug: str) -> None:
    answer = shared_service.client.get(f"/problems/{slug}")
    assert answer.status_code == 404
    problem = answer.json()
    assert (problem["type"], problem["status"]) == ("/problems/not-found", 404)
    refused(shared_service.client.get("/problems/none"), 404, "not-found")
