"""The first page of modules is kept while the catalogue stands still, and read again once it may differ."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.requests import Request

from api.lookups.catalogue import FirstModules
from consumers.rebuild import rebuild
from projections.all import read_models
from projections.catalogue.projection import Catalogue
from projections.catalogue.queries import read_state
from registry.event_store.read_model_positions import source_of
from registry.postgres.connections import Pool
from registry.recording.registry import Registry, utc_now
from tests.postgres.commands import admitted, award
from tests.postgres.log import execute, query
from tests.postgres.projecting import projectors, settled


@pytest.fixture
def pool(url: str) -> Iterator[Pool]:
    opened = Pool(url, "registry_read", 1)
    yield opened
    opened.close()


def project(url: str) -> None:
    with projectors(url, read_models()):
        settled(url)


def shown(first: FirstModules) -> tuple[bytes, dict[bytes, bytes]]:
    answer = first(None).answer(Request({"type": "http", "headers": []}))
    return bytes(answer.body), dict(answer.raw_headers)


def test_a_kept_page_is_what_a_new_one_would_be_whatever_is_recorded(
    url: str, registry: Registry, pool: Pool
) -> None:
    kept, seen = FirstModules(pool, utc_now), set()
    for change in (
        lambda: None,
        lambda: award(registry, "27UM", "an award", "x"),
        lambda: admitted(registry, "30XX"),
        lambda: award(registry, "27UM", "another", "x"),
    ):
        change()
        project(url)
        for _ in range(2):
            assert shown(kept) == shown(FirstModules(pool, utc_now))
        seen.add(shown(kept)[0])
    assert len(seen) == 2


def test_rows_that_a_rebuild_has_mended_are_shown_at_the_same_position(
    url: str, registry: Registry, pool: Pool
) -> None:
    project(url)
    right = shown(FirstModules(pool, utc_now))
    execute(url, "UPDATE module_version SET content = replace(content, 'Klinisch', 'Vals')")
    kept = FirstModules(pool, utc_now)
    wrong = shown(kept)
    assert wrong[0] != right[0]
    held = query(url, "SELECT * FROM read_model_position WHERE name = 'catalogue'")
    rebuild(url, Catalogue(), lambda _: None, force_because="a test")
    assert query(url, "SELECT * FROM read_model_position WHERE name = 'catalogue'") == held
    assert shown(kept) == right


def test_each_partition_moves_the_state_of_the_catalogue(url: str, registry: Registry, pool: Pool) -> None:
    project(url)

    def state() -> tuple[object, str]:
        with pool.cursor() as cursor:
            return read_state(cursor)

    states = [state()]
    for position in (1_000, 1_001):
        execute(
            url,
            "INSERT INTO read_model_position (name, source, position) VALUES ('catalogue', %s, %s)"
            " ON CONFLICT (name, source) DO UPDATE SET position = excluded.position",
            (source_of(1), position),
        )
        states.append(state())
    assert len({held for held, _ in states}) == 1
    assert len({text for _, text in states}) == 3
