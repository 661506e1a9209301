"""No test fails because the machine is busy: what waits for a condition ends generously, in one constant."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]


def calls(name: str) -> list[tuple[Path, ast.Call]]:
    return [
        (file, node)
        for file in TESTS.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "id", None) == name or getattr(node.func, "attr", None) == name)
    ]


def test_no_wait_for_a_condition_has_an_end_of_its_own_in_seconds() -> None:
    found = 0
    for name in ("until", "more", "settled"):
        for file, call in calls(name):
            ends = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "seconds")]
            if name == "settled":
                ends += call.args[:1]
            found += 1
            for end in ends:
                assert not (isinstance(end, ast.Constant) and isinstance(end.value, int | float)), (
                    f"{file.relative_to(TESTS)}:{call.lineno} ends after {ast.unparse(end)} s"
                )
    assert found > 100
