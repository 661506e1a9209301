"""SECURITY.md says nothing that no test tries."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from tests.end_to_end.processes import PROJECT

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (PROJECT / "SECURITY.md").read_text().splitlines()
    if line.startswith("|") and not re.fullmatch(r"[|-]+|\| what \|.*", line)
]
TESTS = Counter(
    node.name
    for file in (PROJECT / "tests").rglob("test_*.py")
    for node in ast.walk(ast.parse(file.read_text()))
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_every_sentence_names_the_tests_that_try_it(row: list[str]) -> None:
    named = re.findall(r"`(\w+)`", row[-1])
    assert named
    assert re.sub(r"`\w+`|, ", "", row[-1]) == ""
    assert {name: TESTS[name] for name in named} == dict.fromkeys(named, 1)


def test_every_sentence_about_the_registry_is_in_a_table() -> None:
    """What stands outside the tables is about the page itself, or about how to report a weakness."""
    outside = [
        line
        for line in (PROJECT / "SECURITY.md").read_text().splitlines()
        if line and not line.startswith("|")
    ]
    assert [line.split()[0] for line in outside] == ["#", "Report", "Each", "##", "##"]
    assert len(ROWS) > 12
