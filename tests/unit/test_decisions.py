"""The decision pages are numbered one after the other, and nothing refers to a page that is not there."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PAGES = sorted((PROJECT / "docs" / "decisions").glob("*.md"))


def test_the_pages_are_numbered_one_after_the_other() -> None:
    assert [int(page.name[:4]) for page in PAGES] == list(range(1, len(PAGES) + 1))


def test_the_heading_of_a_page_has_the_number_of_the_file() -> None:
    for page in PAGES:
        assert page.read_text().startswith(f"# {int(page.name[:4])}. "), page.name


def test_whatever_names_a_page_names_one_that_is_there() -> None:
    names = {page.name for page in PAGES}
    folders = ["api", "consumers", "deploy", "docs", "projections", "registry", "tests"]
    files = [*PROJECT.glob("*.*"), *(file for folder in folders for file in (PROJECT / folder).rglob("*.*"))]
    for file in files:
        if file.suffix in {".md", ".py", ".sql", ".yaml", ".toml"} and "node_modules" not in file.parts:
            found = set(re.findall(r"\b00\d\d-[a-z][a-z-]*\.md\b", file.read_text()))
            assert found <= names, f"{file} names {found - names}"
