"""`make bench` writes each figure as it comes, and a part that fails leaves the others standing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.__main__ import measure_parts
from tests.benchmarks.measure import Seen


def test_each_figure_is_in_the_file_before_the_next_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"

    def written() -> list[str]:
        return [each["what"] for each in json.loads(file.read_text())["results"]]

    def first() -> Iterator[Seen]:
        yield Seen("a", "s", 1)
        assert written() == ["a"]
        yield Seen("b", "s", 2)

    def second() -> list[Seen]:
        assert written() == ["a", "b"]
        return [Seen("c", "s", 3)]

    results, failed = measure_parts({"first": first, "second": second}, {"rounds": 1}, file)
    assert ([each.what for each in results], failed) == (["a", "b", "c"], [])
    assert written() == ["a", "b", "c"]


def test_a_part_that_fails_is_named_and_keeps_what_it_had_measured(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"

    def broken() -> Iterator[Seen]:
        yield Seen("before", "s", 1)
        raise RuntimeError("the broker does not start")

    def whole() -> list[Seen]:
        return [Seen("after", "s", 2)]

    _, failed = measure_parts({"broken": broken, "whole": whole}, {"rounds": 1}, file)
    assert failed == ["broken"]
    found = json.loads(file.read_text())
    assert found["failed"] == ["broken"]
    assert found["rounds"] == 1
    assert [each["what"] for each in found["results"]] == ["before", "after"]
