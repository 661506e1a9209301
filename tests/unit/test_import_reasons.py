"""docs/operating.md has each refusal and finding of an import, in the words of the report."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from registry.edubadges import badge_classes

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*sorted((ROOT / "registry" / "edubadges").glob("*.py")), ROOT / "registry/domain/imports.py"]
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")
# Words of the registry's own for what a badge class states.
WORDS = {
    *badge_classes._PARTICIPATION.values(),
    *badge_classes._ASSESSMENT.values(),
    *badge_classes._TYPES.values(),
}
# What the report says of a revocation that was recorded.
NO_REFUSAL = {"revoked, as observed"}


def texts(tree: ast.AST) -> Iterator[str]:
    """The texts in the code that are no docstrings, keys or patterns; `…` stands for what is put in."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Expr(value=ast.Constant()):
                continue
            case ast.Constant(value=str(text)):
                yield text
            case ast.JoinedStr(values=parts):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
            case ast.Dict(values=values):
                for value in values:
                    yield from texts(ast.Tuple([value]))
            case ast.Call(func=ast.Attribute(value=ast.Name("re")) | ast.Name("ValueError")):
                continue  # a pattern; or why a member is not taken, which becomes a finding
            case _:
                yield from texts(node)


def listed(title: str) -> set[str]:
    """The code spans in the first column of a table of the documentation."""
    rows = (ROOT / "docs" / "operating.md").read_text().partition(f"| {title} |")[2].partition("\n\n")[0]
    cells = [row.split(" | ")[0] for row in rows.splitlines() if row.startswith("| `")]
    return {span for cell in cells for span in re.findall("`([^`]+)`", cell)}


def test_each_finding_of_an_import_is_in_the_documentation_and_no_other() -> None:
    found = {text for file in SOURCES for text in texts(ast.parse(file.read_text())) if CODE.fullmatch(text)}
    assert listed("finding") == found - WORDS
    assert {"no-level", "members-not-taken", "before-2018", "recipient-hashed"} <= found


def test_each_refusal_of_an_import_is_in_the_documentation_and_no_other() -> None:
    found = {
        text
        for file in SOURCES[:-1]
        for text in texts(ast.parse(file.read_text()))
        if text.count(" ") >= 2 or text.startswith("…;") or text == "recipient …"
    }
    assert listed("refused, since it") == found - NO_REFUSAL
    assert len(found) > 30
