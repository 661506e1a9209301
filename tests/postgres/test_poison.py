"""An event that a read model cannot apply stops it there, with the reason; it is never skipped."""

from __future__ import annotations

import secrets

import pytest

from projections.all import read_models
from registry.domain.events import ModuleRegistered, canonical
from registry.recording.commands import SuspendInstitution
from registry.recording.registry import Registry
from tests.postgres.commands import CONTENT, ORIGIN, award
from tests.postgres.log import execute, query, until, whole_log
from tests.postgres.projecting import folded, held, positions, projectors, settled, stopped

REVOKED = (
    '{"awardedOn":"2023-04-19","channel":"api","client":"c","institution":"27UM","learnerId":"l",'
    '"moduleId":"m","moduleVersion":1,"reason":"fraud","salt":"00"}'
)
WITHDRAWN = '{"channel":"api","client":"c","from":"2024-01-01","institution":"27UM"}'
NOBODYS = "33333333-3333-8333-8333-333333333333"


@pytest.fixture(autouse=True)
def _award_before(registry: Registry) -> None:
    award(registry, "27UM", "before", "a")


def insert(url: str, kind: str, schema: int, data: str) -> int:
    """Puts an event straight into the log; answers its position."""
    execute(
        url,
        "INSERT INTO event (position, subject, version, type, schema_version, time, data)"
        " SELECT max(position) + 1, %s, 1, %s, %s, clock_timestamp(), %s FROM event",
        (NOBODYS, kind, schema, data.encode()),
    )
    return len(whole_log(url))


def go_on(registry: Registry) -> None:
    """What comes after the poison."""
    award(registry, "27UM", "after", "b")
    registry.record(SuspendInstitution("27UM", "quality", None, ORIGIN))


@pytest.mark.parametrize(
    ("kind", "data", "stops", "because"),
    [
        ("badge.revoked", REVOKED, {"badges", "statistics"}, "was never awarded"),
        ("module.withdrawn", WITHDRAWN, {"catalogue"}, "is not in the catalogue"),
    ],
)
def test_a_poison_event_stops_its_read_models_and_the_others_go_on(
    url: str, registry: Registry, kind: str, data: str, stops: set[str], because: str
) -> None:
    poison = insert(url, kind, 1, data)
    go_on(registry)
    others = set(positions(url)) - stops
    with projectors(url, read_models()):
        until(lambda: stops <= set(stopped(url)))
        until(lambda: all(name in stopped(url) or positions(url)[name] == poison + 2 for name in others))
    assert set(stopped(url)) == stops
    for at, reason in stopped(url).values():
        assert at == poison
        assert kind in reason
        assert because in reason
    assert positions(url) == dict.fromkeys(stops, poison - 1) | dict.fromkeys(others, poison + 2)


@pytest.mark.parametrize(("kind", "schema"), [("badge.awarded", 2), ("learner.joined", 1), ("x.y", 7)])
def test_an_event_that_this_release_does_not_know_stops_every_read_model(
    url: str, registry: Registry, kind: str, schema: int
) -> None:
    unknown = insert(url, kind, schema, "{}")
    go_on(registry)
    with projectors(url, read_models()):
        until(lambda: set(stopped(url)) == set(positions(url)))
    for at, reason in stopped(url).values():
        assert at == unknown
        assert f"{kind}/{schema}" in reason


@pytest.mark.parametrize(
    ("kind", "data"), [("badge.renewed", "{}"), ("badge.revoked", "no JSON"), ("module.withdrawn", "{}")]
)
def test_what_comes_before_a_poison_event_is_applied_and_what_comes_after_is_not(
    url: str, registry: Registry, kind: str, data: str
) -> None:
    before = folded(url)
    poison = insert(url, kind, 1, data)
    go_on(registry)
    with projectors(url, read_models()):
        until(lambda: stopped(url) != {})
        until(lambda: all(at in (poison - 1, poison + 2) for at in positions(url).values()))
    newest = {
        "badges": "SELECT max(last_position) FROM badge",
        "catalogue": "SELECT max(last_position) FROM institution",
        "statistics": "SELECT max(position) FROM statistics_change",
    }
    for name in stopped(url):
        assert positions(url)[name] == poison - 1
        if name in newest:
            assert query(url, newest[name])[0][0] < poison
    assert held(url).keys() >= before.keys()


def test_an_event_that_is_too_large_for_an_index_stops_its_read_model_like_any_other(
    url: str, registry: Registry
) -> None:
    fact = ModuleRegistered(
        channel="import",
        client="cli",
        institution=secrets.token_urlsafe(8_000),
        reference="KLINRED",
        version=1,
        content_hash="00" * 32,
        content=CONTENT,
    )
    poison = insert(url, fact.TYPE, 1, canonical(fact).decode())
    go_on(registry)
    with projectors(url, read_models()):
        until(lambda: "catalogue" in stopped(url))
        until(lambda: positions(url)["badges"] == poison + 2)
    assert stopped(url)["catalogue"][0] == poison


def test_a_stopped_read_model_stays_stopped_when_it_starts_again(url: str, registry: Registry) -> None:
    poison = insert(url, "badge.revoked", 1, REVOKED)
    for _ in range(2):
        with projectors(url, read_models()):
            until(lambda: "badges" in stopped(url))
    assert positions(url)["badges"] == poison - 1


def test_a_read_model_goes_on_and_says_so_when_the_cause_was_mended(url: str, registry: Registry) -> None:
    insert(url, "badge.revoked", 1, REVOKED)
    with projectors(url, read_models()):
        until(lambda: "badges" in stopped(url))
    execute(url, "ALTER TABLE event DISABLE TRIGGER event_is_append_only")
    execute(url, "DELETE FROM event WHERE subject = %s", (NOBODYS,))
    execute(url, "ALTER TABLE event ENABLE TRIGGER event_is_append_only")
    go_on(registry)
    with projectors(url, read_models()):
        settled(url)
        until(lambda: stopped(url) == {})
    assert held(url) == folded(url)


def test_the_reason_of_a_stop_holds_no_value_of_a_row(url: str, registry: Registry) -> None:
    insert(url, "badge.revoked", 1, REVOKED.replace('"l"', '"geheim"'))
    with projectors(url, read_models()):
        until(lambda: "badges" in stopped(url))
    assert "geheim" not in stopped(url)["badges"][1]
