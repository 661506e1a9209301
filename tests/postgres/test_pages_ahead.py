"""Pages that are decided ahead, as if none of them were recorded: the append says where that is wrong."""

from __future__ import annotations

import datetime as dt
import random
import threading

import pytest

from registry.domain.errors import ModuleIsWithdrawn, ModuleUnknown, ReferenceTaken
from registry.postgres.connections import UnavailableError
from registry.recording.award_preparation import AwardCommand
from registry.recording.awards import Awards
from registry.recording.decisions import BadgeOutcome
from registry.recording.pages import Settled
from registry.recording.registry import Registry
from tests.postgres.commands import CONTENT, ORIGIN, REFERENCE, admitted, award, command, registry_on
from tests.postgres.log import query, whole_log
from tests.postgres.test_pages import made
from tests.support import KEYS


def page_of(registry: Registry, page: list[AwardCommand], *, ahead: bool = True) -> Awards[AwardCommand]:
    prepare = registry.preparation().prepare
    awards = registry.awards([prepare(each) for each in page])
    if ahead:
        awards.expect_new()
    return awards


def test_a_page_that_is_expected_to_be_new_is_recorded_without_looking_up(
    url: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(registry.event_recorder.__class__, "look_up")
    page = page_of(
        registry, [command("27UM", "1", "a"), command("22OJ", "2", "b"), command("27UM", "3", "a")]
    )
    first, other, second = made(page.settle())
    assert first.learner_id == second.learner_id != other.learner_id
    assert [first.position, second.position, other.position] == [5, 6, 7]
    assert len(query(url, "SELECT FROM alias")) == 2
    assert page.all_new


def test_what_was_wrongly_expected_to_be_new_is_answered_as_it_stands(url: str, registry: Registry) -> None:
    known = award(registry, "27UM", "1", "a")
    page = page_of(
        registry, [command("27UM", "1", "a"), command("27UM", "2", "b"), command("27UM", "2", "b")]
    )
    same, new, again = made(page.settle())
    assert (same.created, same.id, same.position) == (False, known.id, known.position)
    assert (new.created, again.created) == (True, False)
    assert len(whole_log(url)) == 4 + 2
    assert not page.all_new


def test_a_known_learner_of_an_award_that_was_expected_to_be_new_stays_one(registry: Registry) -> None:
    known = award(registry, "27UM", "1", "a")
    page = page_of(registry, [command("27UM", "2", "a"), command("27UM", "3", "b")])
    first, second = made(page.settle())
    assert first.learner_id == known.learner_id != second.learner_id
    assert first.created
    assert not page.all_new


def test_a_refusal_of_a_page_decided_ahead_is_decided_on_what_is_recorded(
    url: str, registry: Registry
) -> None:
    page = [command("27UM", "1", "a"), command("27UM", "2", "b", "LATER")]
    assert isinstance(page_of(registry, page).settle()[1], ModuleUnknown)
    ahead = page_of(registry, [command("27UM", "3", "c"), command("27UM", "2", "b", "LATER")])
    with registry_on(url) as another:
        another.register_module("27UM", "LATER", CONTENT, ORIGIN)
    assert all(each.created for each in made(ahead.settle()))


def test_one_that_is_refused_makes_no_known_page_a_new_one(registry: Registry) -> None:
    """Who sends a batch again, because some of it was refused, is looked up."""
    page = [command("27UM", str(n), f"l{n}", "NOPE" if n == 5 else REFERENCE) for n in range(20)]
    for all_new in (True, False, False):
        sent = page_of(registry, page, ahead=False)
        assert isinstance(sent.settle()[5], ModuleUnknown)
        assert sent.all_new == all_new


def test_where_postgresql_is_away_while_a_page_is_decided_ahead_it_is_decided_in_its_turn(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register_module("27UM", "M2", CONTENT, ORIGIN)
    asked: list[str] = []

    def away(subject: str) -> None:
        asked.append(subject)
        raise UnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr(registry._cache, "_load", away)
        lines = [
            command("27UM", "A", "a", "M2"),
            command("27UM", "A", "other"),
            command("27UM", "B", "b", "M2"),
        ]
        page = page_of(registry, lines)
    assert len(asked) == 1, "it would be waited for line by line"
    first, second, third = page.settle()
    assert all(each.created for each in made([first, third]))
    assert isinstance(second, ReferenceTaken)


def test_a_page_decided_ahead_before_midnight_is_decided_again_after_it(url: str) -> None:
    now = dt.datetime(2026, 5, 1, 21, 59, 59, tzinfo=dt.UTC)
    with registry_on(url, lambda: now) as registry:
        admitted(registry, "27UM")
        award(registry, "27UM", "1", "a")
        module = KEYS.made_id("module", "27UM", REFERENCE)
        registry.withdraw_module("27UM", module, dt.date(2026, 5, 2), ORIGIN)
        page = page_of(registry, [command("27UM", "2", "b"), command("27UM", "3", "c")])
        assert page.ahead
        now += dt.timedelta(seconds=30)
        assert [type(each) for each in page.settle()] == [ModuleIsWithdrawn] * 2


@pytest.mark.parametrize("seed", range(3))
def test_pages_of_several_at_once_make_one_award_a_reference_and_one_learner_an_identifier(
    url: str, registry: Registry, seed: int
) -> None:
    with registry_on(url) as other:
        found: list[tuple[AwardCommand, Settled]] = []
        threads = [
            threading.Thread(target=_award_at_random, args=(where, random.Random(seed * 10 + number), found))
            for number, where in enumerate((registry, other, registry))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    one: dict[tuple[str, str], object] = {}
    for stated, settled in found:
        if isinstance(settled, BadgeOutcome):
            who = stated.recipient.edu_id or ""
            assert one.setdefault(("learner", who), settled.learner_id) == settled.learner_id
            award_ = (who, settled.id, settled.position)
            assert one.setdefault(("award", stated.reference), award_) == award_
        else:
            assert isinstance(settled, ReferenceTaken | ModuleUnknown), settled
    log = whole_log(url)
    awarded = [event.subject for event in log if event.type == "badge.awarded"]
    assert [event.position for event in log] == list(range(1, len(log) + 1))
    assert len(set(awarded)) == len(awarded)
    assert sum(isinstance(each, BadgeOutcome) and each.created for _, each in found) == len(awarded)
    assert query(url, "SELECT count(*) FROM vault") == [(len(awarded),)]


def at_random(rng: random.Random, references: int, learners: int) -> AwardCommand:
    module = rng.choice([REFERENCE] * 9 + ["NOPE"])
    return command("27UM", f"r{rng.randrange(references)}", f"l{rng.randrange(learners)}", module)


def _award_at_random(
    registry: Registry, rng: random.Random, found: list[tuple[AwardCommand, Settled]]
) -> None:
    for _ in range(12):
        page = [at_random(rng, 60, 25) for _ in range(rng.randrange(1, 25))]
        found += zip(page, page_of(registry, page, ahead=rng.random() < 0.6).settle(), strict=True)


def test_pages_of_one_after_the_other_are_settled_as_if_line_by_line(registry: Registry) -> None:
    rng = random.Random(1)
    known: dict[str, tuple[str | None, str | None]] = {}
    learners: dict[str | None, str] = {}
    for _ in range(60):
        page = [at_random(rng, 200, 60) for _ in range(rng.randrange(1, 20))]
        settled_page = page_of(registry, page, ahead=rng.random() < 0.7).settle()
        for stated, settled in zip(page, settled_page, strict=True):
            same = (stated.recipient.edu_id, stated.module_reference)
            if stated.reference in known and known[stated.reference] != same:
                assert isinstance(settled, ReferenceTaken)
            elif stated.module_reference == "NOPE":
                assert isinstance(settled, ModuleUnknown)
            else:
                (outcome,) = made([settled])
                assert outcome.created == (stated.reference not in known)
                known[stated.reference] = same
                assert learners.setdefault(same[0], outcome.learner_id) == outcome.learner_id
