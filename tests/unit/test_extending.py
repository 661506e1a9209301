"""The page on extending the registry names files that exist, and no more of them than it promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs/extending.md").read_text()
FILE = re.compile(r"\b((?:api|projections|registry|tests)/[\w./-]+\.\w+)(`\*{0,2} \(new\))?")
SECTIONS = dict(re.findall(r"^## ([\w ]+): .*?\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
MAX_FILES = {"An event": 14, "A read model": 4, "A route": 3}


def test_every_file_that_the_page_names_exists_and_a_new_one_has_a_place() -> None:
    for name, new in FILE.findall(PAGE):
        path = PROJECT / name
        assert path.exists() != bool(new), name
        assert path.parent.parent.is_dir(), name


@pytest.mark.parametrize("section", MAX_FILES)
def test_an_extension_touches_few_files(section: str) -> None:
    assert len({name for name, _ in FILE.findall(SECTIONS[section])}) <= MAX_FILES[section]


def test_the_page_is_short() -> None:
    assert len(PAGE.splitlines()) < 120
