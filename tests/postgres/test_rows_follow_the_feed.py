"""The rows of a read model are a function of its feed: of no other table, and not of how the feed is cut."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumers.applying import decoded
from projections.all import read_models
from projections.read_model import ReadModel
from registry.domain.errors import Refusal
from registry.event_store.log import LoggedEvent
from registry.recording.registry import Registry
from tests.postgres.log import connection, fresh, query, whole_log
from tests.postgres.test_projector import COMMANDS, act
from tests.support import Databases

PARTITIONS = 8


def feed(model: ReadModel, log: list[LoggedEvent], rng: random.Random) -> Iterator[list[LoggedEvent]]:
    """The log in pages, as Kafka may give it: in order, or each partition in order where that is enough."""
    if model.order == "total":
        queues = [list(log)]
    else:
        partitions: dict[int, list[LoggedEvent]] = defaultdict(list)
        for event in log:
            partitions[event.partition(PARTITIONS)].append(event)
        queues = list(partitions.values())
    while queues := [queue for queue in queues if queue]:
        queue, size = rng.choice(queues), rng.randint(1, 12)
        yield queue[:size]
        del queue[:size]


def rows(url: str, model: ReadModel) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the read model's tables, as text."""
    tables = query(
        url,
        "SELECT relname::text FROM read_model JOIN pg_class ON relname = ANY(relations)"
        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND name = %s",
        (model.name,),
    )
    return {table: query(url, f"SELECT t::text FROM {table} t ORDER BY 1") for (table,) in tables}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commands=st.lists(st.tuples(COMMANDS, st.integers(0, 5)), max_size=40), seed=st.integers(0, 2**32))
def test_a_log_in_pages_of_any_order_that_is_allowed_gives_the_same_rows_without_the_log(
    databases: Databases, url: str, registry: Registry, commands: list[tuple[str, int]], seed: int
) -> None:
    for command, number in [("award", 0), *commands]:
        with suppress(Refusal):
            act(registry, command, number)
    log, rng = whole_log(url), random.Random(seed)
    # Neither database holds the log beside the tables: nothing but the feed can make the rows.
    with fresh(databases) as one, fresh(databases) as other:
        for model in read_models():
            for target, pages in ((one, [log]), (other, feed(model, log, rng))):
                with connection(target, "registry_project") as opened, opened.cursor() as cursor:
                    for page in pages:
                        cursor.execute("BEGIN")
                        model.apply(cursor, decoded(model, page))
                        cursor.execute("COMMIT")
            assert rows(other, model) == rows(one, model)
            assert any(rows(one, model).values())
