"""A rebuild makes a read model anew beside the one that answers, and swaps when both are the same."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumers import rebuild as rebuilding
from consumers.applying import decoded
from consumers.rebuild import RebuildError, rebuild
from projections.all import read_models
from projections.badges.projection import Badges
from projections.badges.queries import read_badge, read_statuses
from projections.catalogue.queries import ModuleFilter, list_modules
from projections.read_model import AUDITOR, NotRebuiltError, ReadModel, asking, check_versions
from registry.domain.errors import Refusal
from registry.domain.events import Event
from registry.domain.values import UUID
from registry.event_store.log import read_log
from registry.event_store.read_model_positions import positions_of, set_positions
from registry.postgres.connections import Cursor, Pool
from registry.recording.commands import RevokeBadge, SuspendBadge
from registry.recording.registry import Registry
from tests.postgres.commands import ORIGIN, award
from tests.postgres.log import connection, execute, later, query, until
from tests.postgres.projecting import folded, held, positions, projectors, settled, stopped
from tests.postgres.test_poison import REVOKED, insert
from tests.postgres.test_projector import COMMANDS, act

NAMES = [model.name for model in read_models()]


@pytest.fixture(autouse=True)
def _thirty_badges(registry: Registry) -> None:
    for number in range(30):
        badge = award(registry, "27UM", f"r-{number}", f"learner-{number % 7}").id
        if number % 3 == 0:
            registry.record(SuspendBadge("27UM", badge, "appeal", "note", ORIGIN))
        if number % 5 == 0:
            registry.record(RevokeBadge("27UM", badge, "fraud", None, None, ORIGIN))


def model_of(name: str) -> ReadModel:
    (found,) = (model for model in read_models() if model.name == name)
    return found


def relations_of(url: str) -> dict[str, int]:
    """Every table and view of the registry, with its identity."""
    return dict(
        query(
            url,
            "SELECT relnamespace::regnamespace || '.' || relname, oid::bigint FROM pg_class"
            " WHERE relkind IN ('r', 'v')"
            " AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)'",
        )
    )


def rights_of(url: str) -> list[tuple[str, ...]]:
    return query(
        url,
        "SELECT relname, relacl::text, relrowsecurity::text FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace ORDER BY relname",
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_rebuilt_read_model_is_the_same_and_goes_on(url: str, registry: Registry, name: str) -> None:
    said: list[str] = []
    with projectors(url, read_models()):
        settled(url)
        before, rights = relations_of(url), rights_of(url)
        assert rebuild(url, model_of(name), said.append) == positions(url)[name]
        after = relations_of(url)
        assert after.keys() == before.keys()
        assert {each for each in after if after[each] != before[each]}
        assert rights_of(url) == rights
        award(registry, "27UM", "after", "x")
        settled(url)
    assert held(url) == folded(url)
    assert stopped(url) == {}
    assert any("no difference" in line for line in said)


def test_awards_go_on_while_it_is_rebuilt_and_none_is_missing(
    url: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "PAGE", 7)
    done = threading.Event()

    def go_on() -> None:
        number = 0
        while not done.is_set():
            award(registry, "22OJ", f"meanwhile-{number}", "m")
            number += 1

    with projectors(url, read_models()):
        going_on = later(go_on)
        for name in (*NAMES, *NAMES):
            rebuild(url, model_of(name), lambda _: None)
        done.set()
        going_on.result(20)
        settled(url)
    assert held(url) == folded(url)
    for name in NAMES:
        rebuild(url, model_of(name), lambda _: None)


@pytest.mark.parametrize("name", NAMES)
def test_the_read_model_advances_while_its_copies_are_compared(
    url: str, registry: Registry, name: str
) -> None:
    said: list[str] = []

    def say(text: str) -> None:
        """Halfway through each comparison, an award and a revocation reach the read model in use."""
        said.append(text)
        if "comparing" in text:
            before = positions(url)[name]
            badge = award(registry, "27UM", f"meanwhile-{len(said)}", "learner-1").id
            registry.record(RevokeBadge("27UM", badge, "other", None, None, ORIGIN))
            settled(url, name)
            assert positions(url)[name] == before + 2

    with projectors(url, read_models()):
        settled(url)
        rebuild(url, model_of(name), say)
        assert len([line for line in said if "comparing" in line]) == rebuilding.COMPARISONS
        settled(url)
    assert held(url) == folded(url)
    rebuild(url, model_of(name), lambda _: None)


def test_rows_that_change_after_the_last_comparison_are_compared_before_the_swap(
    url: str, registry: Registry
) -> None:
    made: list[str] = []

    def say(text: str) -> None:
        """After both copies were compared, a row of the old copy comes to be wrong."""
        if "comparing" in text:
            made.append(award(registry, "27UM", f"meanwhile-{len(made)}", "learner-1").id)
            settled(url, "badges")
            if len(made) == rebuilding.COMPARISONS:
                execute(url, "UPDATE badge SET revoked_for = 'fraud' WHERE id = %s", (made[-1],))

    before = relations_of(url)
    with projectors(url, read_models()):
        settled(url)
        with pytest.raises(RebuildError, match=f"only in the new copy 1, the first of {UUID.pattern}") as why:
            rebuild(url, Badges(), say)
    assert made[-1] in str(why.value)
    assert relations_of(url) == before


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commands=st.lists(st.tuples(COMMANDS, st.integers(0, 3)), max_size=25), size=st.integers(1, 12))
def test_a_batch_changes_no_row_that_its_read_model_does_not_name(
    url: str, registry: Registry, commands: list[tuple[str, int]], size: int
) -> None:
    """A rebuild compares again what `touched` names, and nothing else."""
    for command, number in commands:
        with suppress(Refusal):
            act(registry, command, number)
    with connection(url) as owner, owner.cursor() as cursor:
        for model in read_models():
            while logged := read_log(cursor, min(positions_of(cursor, model.name).values()), size):
                cursor.execute("BEGIN")
                events = decoded(model, logged)
                model.apply(cursor, events)
                named = model.touched(events)
                for table in model_tables(url, model.name):
                    text, values = named.get(table, ("false", []))
                    cursor.execute(
                        f"SELECT count(*) FROM {table} WHERE xmin = pg_current_xact_id()::xid"
                        f" AND NOT coalesce({text}, false)",
                        values,
                    )
                    assert cursor.fetchone() == (0,), table
                set_positions(cursor, model.name, {0: logged[-1].position})
                cursor.execute("COMMIT")


def model_tables(url: str, name: str) -> list[str]:
    return [
        table
        for (table,) in query(
            url,
            "SELECT relname::text FROM read_model JOIN pg_class ON relname = ANY(relations)"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND name = %s",
            (name,),
        )
    ]


def test_one_that_differs_is_not_swapped_in_until_it_is_told_to(url: str, registry: Registry) -> None:
    with projectors(url, read_models()):
        settled(url)
    (lost, changed) = (badge for (badge,) in query(url, "SELECT id::text FROM badge ORDER BY id LIMIT 2"))
    execute(url, "DELETE FROM badge WHERE id = %s", (lost,))
    execute(url, "UPDATE badge SET revoked_since = now() WHERE id = %s", (changed,))
    before = relations_of(url)
    with pytest.raises(
        RebuildError, match="badge: rows only in the old copy 1, only in the new copy 2"
    ) as why:
        rebuild(url, Badges(), lambda _: None)
    assert f"the first of {lost}, {changed}" in str(why.value)
    assert relations_of(url) == before
    rebuild(url, Badges(), lambda _: None, force_because="a test")
    assert held(url) == folded(url)


def test_what_a_killed_rebuild_left_is_removed_by_the_next(
    url: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with projectors(url, read_models()):
        settled(url)

    def killed(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rebuilding._Rebuilding, "swap", killed)
        with pytest.raises(KeyboardInterrupt):
            rebuild(url, Badges(), lambda _: None)
    assert "rebuild_badges.badge" in relations_of(url)
    rebuild(url, Badges(), lambda _: None)
    assert "rebuild_badges.badge" not in relations_of(url)
    assert held(url) == folded(url)


def test_two_rebuilds_of_one_read_model_do_not_meet(url: str, registry: Registry) -> None:
    with projectors(url, read_models()):
        settled(url)
    with rebuilding._alone(url, "badges"), pytest.raises(RebuildError, match="another rebuild"):
        rebuild(url, Badges(), lambda _: None)
    rebuild(url, Badges(), lambda _: None)


def test_an_event_that_cannot_be_applied_ends_the_rebuild_and_names_it(url: str, registry: Registry) -> None:
    class Strict(Badges):
        def apply(self, cursor: Cursor, events: Sequence[Event]) -> None:
            if any(event.position == 9 for event in events):
                raise LookupError("not this one")
            super().apply(cursor, events)

    with projectors(url, read_models()):
        settled(url)
    with pytest.raises(RebuildError, match=r"event 9 \(.*\) cannot be applied: LookupError: not this one"):
        rebuild(url, Strict(), lambda _: None)


def test_a_stopped_read_model_is_rebuilt_as_far_as_it_has_come(url: str, registry: Registry) -> None:
    with projectors(url, read_models()):
        settled(url)
    poison = insert(url, "badge.revoked", 1, REVOKED)
    with projectors(url, [Badges()]):
        until(lambda: "badges" in stopped(url))
    assert rebuild(url, Badges(), lambda _: None) == poison - 1
    assert set(stopped(url)) == {"badges"}, "it stands before the same event still"


class Newer(Badges):
    """The next version: with a column more, and another table."""

    version = Badges.version + 1
    tables = Badges.tables + "ALTER TABLE badge ADD COLUMN extra text; CREATE TABLE badge_more (a int);"

    def apply(self, cursor: Cursor, events: Sequence[Event]) -> None:
        super().apply(cursor, events)
        cursor.execute("UPDATE badge SET extra = 'seen' WHERE extra IS NULL")


def test_a_new_version_is_built_while_the_old_answers_and_then_fences_it(
    url: str, registry: Registry
) -> None:
    with connection(url) as opened:
        check_versions(opened, [Badges()])
        with pytest.raises(NotRebuiltError, match="registry rebuild badges"):
            check_versions(opened, [Newer()])
    with projectors(url, [Badges()]):
        settled(url, "badges")
        at = rebuild(url, Newer(), lambda _: None)
        award(registry, "27UM", "after", "x")
        time.sleep(0.3)  # longer than a projector of the old version would need
        assert positions(url)["badges"] == at
        with projectors(url, [Newer()]):
            settled(url, "badges")
    assert query(url, "SELECT DISTINCT extra FROM badge") == [("seen",)]
    assert held(url).keys() >= {row[0] for row in query(url, "SELECT id::text FROM badge")}
    rebuild(url, Badges(), lambda _: None)
    assert "public.badge_more" not in relations_of(url)
    check = partial(query, url, "SELECT version, relations FROM read_model WHERE name = 'badges'")
    assert check() == [(Badges.version, ["badge", "badge_status"])]


def test_statements_prepared_before_a_swap_read_the_new_tables(url: str, registry: Registry) -> None:
    badge = award(registry, "27UM", "prepared", "x")
    with projectors(url, read_models()):
        settled(url)
    pool = Pool(url, "registry_read", 1)

    def look_up() -> tuple[object, ...]:
        with pool.cursor() as cursor:
            _, statuses = read_statuses(cursor, [badge.id])
            _, modules, _ = list_modules(cursor, ModuleFilter(), dt.datetime.now(dt.UTC), 0, 10)
        with asking(pool, AUDITOR) as cursor:
            return statuses, modules, read_badge(cursor, AUDITOR, badge.id)

    before = look_up()
    for model in read_models():
        rebuild(url, model, lambda _: None)
    assert look_up() == before
    pool.close()
