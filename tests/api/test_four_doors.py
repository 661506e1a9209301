"""A text means one thing at every door: single awards, batches, the bulk CSV and hosted assertions.

The same generated texts go through all four into one registry: each is accepted at every door that has a
place for it or refused at every one, and what was accepted is the same text in every badge.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.edubadges.bulk import read_bulk
from registry.edubadges.files import read_documents
from registry.edubadges.importer import ReportLine, import_bulk, import_hosted
from registry.recording.registry import Registry
from tests.api.asking import Ask
from tests.hosted import TITLES, assertion, assertion_url, badge_class, folder, issuer
from tests.postgres.commands import registry_on
from tests.support import KEYS, Service, award

BRIN = "27UM"
DAY = dt.date(2024, 6, 1)
MODULE = KEYS.made_id("module", BRIN, "KLINRED")
_numbers = itertools.count()

MEMBERS = ("grade", "url", "name", "narrative", "description", "learner", "email")
HOSTED = {"grade", "url", "name", "narrative", "description"}
BEFORE = {"url": "https://example.org/", "email": "a@"}
"""What stands before the text, so that it can be accepted."""

odd = st.characters(categories=["Z", "M", "Cc", "Cf", "Cn", "Co"]) | st.sampled_from(
    "\u034f\u115f\u2800\u3164\ufe0f\uffa0\u0301\u0316\u212b\ufb1d\u0344\u202e\u200e\u2028\r\n\t\x00\x7f\x85\ufeff"
)
texts = st.text(st.characters(codec="utf-8") | odd | st.sampled_from("aé 😀8,;\"'=@"), max_size=40) | st.text(
    odd, max_size=3
)


class Case(NamedTuple):
    member: str
    text: str

    @property
    def trimmed(self) -> str:
        """The text as the API gets it: the CSV and imports cut off ordinary spaces and tabs round it."""
        return (BEFORE.get(self.member, "") + self.text).strip(" \t")

    @property
    def raw(self) -> str:
        """The text as the files have it."""
        return " \t" + self.trimmed + "\t "

    def placed(self, text: str) -> dict[str, Any]:
        """The members of an award with this text; `learner` and `email` are the learner's."""
        match self.member:
            case "grade":
                return {"grade": text}
            case "learner":
                return {"learner": {"name": text}}
            case "email":
                return {"learner": {"email": text}}
        return {"evidence": [{self.member: text}]}


cases = st.builds(Case, st.sampled_from(MEMBERS), texts).filter(lambda case: case.trimmed)


def body(reference: str, number: int, case: Case) -> dict[str, Any]:
    learner = {"eduId": f"learner-{number}", **case.placed(case.trimmed).pop("learner", {})}
    bare = {name: value for name, value in award(reference).items() if name not in ("grade", "evidence")}
    return {**bare, **case.placed(case.trimmed), "learner": learner}


def by_single(ask: Ask, at: list[int], drawn: list[Case]) -> Iterator[str | None]:
    for number, case in zip(at, drawn, strict=True):
        answer = ask("POST", "/v1/badges", body(f"s-{number}", number, case))
        assert answer.status_code in (201, 400), answer.text
        yield answer.json()["id"] if answer.status_code == 201 else None


def by_batch(ask: Ask, at: list[int], drawn: list[Case]) -> list[str | None]:
    bodies = [body(f"b-{number}", number, case) for number, case in zip(at, drawn, strict=True)]
    lines = b"".join(json.dumps(each).encode() + b"\n" for each in bodies)
    answer = ask("POST", "/v1/badge-batches", content=lines, headers={"Content-Type": "application/x-ndjson"})
    return [json.loads(line).get("id") for line in answer.text.splitlines()]


def by_csv(registry: Registry, path: Path, at: list[int], drawn: list[Case]) -> list[str | None]:
    columns = ["email", "eppn", "narrative", "url", "name", "description", "grade", "learner"]
    text = io.StringIO()
    rows = csv.writer(text, delimiter=";", quoting=csv.QUOTE_ALL)
    rows.writerow([*TITLES.split(";"), "First name"])
    for number, case in zip(at, drawn, strict=True):
        row = dict.fromkeys(columns, "") | {"eppn": f"l{number}@hhs.nl", case.member: case.raw}
        rows.writerow(row.values())
    (path / "bulk.csv").write_bytes(text.getvalue().encode())
    lines = list(import_bulk(registry, read_bulk(path / "bulk.csv", MODULE, DAY), MODULE, None))
    references = [f"{MODULE}/{DAY}/l{number}@hhs.nl" for number in at]
    return ids(lines, references)


def by_import(registry: Registry, path: Path, at: list[int], drawn: list[Case]) -> list[str | None]:
    """The answers, each by itself: a refused one has no other place in the report than its file."""
    found: list[str | None] = []
    for number, case in zip(at, drawn, strict=True):
        if case.member not in HOSTED:
            found.append("no place")
            continue
        members = case.placed(case.raw)
        if "evidence" in members:
            members["evidence"] = [
                {"id": value} if name == "url" else {name: value}
                for name, value in members["evidence"][0].items()
            ]
        stated = assertion(
            f"h{number}", badge=badge_class(issuer=issuer()), grade_achieved=members.pop("grade", None)
        )
        items = read_documents(folder(path / f"h{number}", it={**stated, **members}), registry.today())
        lines = list(import_hosted(registry, items, None, all_types=False))
        found += ids(lines, [assertion_url(f"h{number}")])
    return found


def ids(lines: list[ReportLine], references: list[str]) -> list[str | None]:
    """The badges' ids; None for what was refused, or had something left out that is noted."""
    assert {line.outcome for line in lines} <= {"imported", "refused"}
    return [
        KEYS.made_id("badge", BRIN, reference)
        if line.outcome == "imported" and "evidence-not-taken" not in line.reason
        else None
        for line, reference in zip(lines, references, strict=True)
    ]


def stored(ask: Ask, badge_id: str, case: Case) -> Any:
    """The text in the badge."""
    badge = ask("GET", f"/v1/badges/{badge_id}").json()
    match case.member:
        case "grade":
            return badge["grade"]
        case "learner":
            return badge["learner"]["name"]
        case "email":
            return badge["learner"]["email"]
    (evidence,) = badge["evidence"]
    return evidence[case.member]


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=st.lists(cases, min_size=10, max_size=25))
def test_a_text_is_accepted_at_every_door_or_at_none_and_stored_the_same(
    service: Service, tmp_path: Path, drawn: list[Case]
) -> None:
    ask = service.institution(BRIN)
    if ask("GET", f"/v1/institutions/{BRIN}").status_code == 404:
        service.admitted(BRIN)
    at = [next(_numbers) for _ in drawn]
    with registry_on(service.url) as registry:
        doors = list(
            zip(
                by_single(ask, at, drawn),
                by_batch(ask, at, drawn),
                by_csv(registry, tmp_path, at, drawn),
                by_import(registry, tmp_path, at, drawn),
                strict=True,
            )
        )
    service.settle()
    for case, badges in zip(drawn, doors, strict=True):
        with_place = [badge for badge in badges if badge != "no place"]
        assert len({badge is None for badge in with_place}) == 1, (case, badges)
        texts = {stored(ask, badge, case) for badge in with_place if badge is not None}
        assert len(texts) <= 1, (case, texts)
