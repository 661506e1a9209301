"""The code blocks of the documents: where they stand, what is typed in them, and what they show."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_UUID = re.compile(r"\b[0-9a-f]{8}-(?:(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b|\.\.\.)")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, without its indentation; `language` is what follows the fence."""

    page: str
    language: str
    text: str

    @property
    def first_line(self) -> str:
        return self.text.splitlines()[0]

    def __str__(self) -> str:
        return f"{self.page}: {self.first_line}"


@dataclass(frozen=True)
class Typed:
    """A command of a `console` block, and the answer that the page shows to it."""

    command: str
    shown: str


def blocks(page: str, language: str | None = None) -> list[Block]:
    text = (PROJECT / page).read_text()
    found = [Block(page, kind, textwrap.dedent(code)) for _, kind, code in _BLOCK.findall(text)]
    return [block for block in found if language in (None, block.language)]


def typed(block: Block) -> Iterator[Typed]:
    """Each command of a `console` block, which stands behind `$ `, with the lines up to the next."""
    before, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not before, f"{block} begins with no command"
    for part in parts:
        command, _, shown = part.partition("\n")
        yield Typed(command, shown.rstrip("\n"))


def comes_out(shown: str, answer: str) -> bool:
    """Whether a page shows this answer.

    Ids, also shortened ones, and times may be others, and `...` stands for anything.
    """
    parts = _masked(shown.rstrip("\n")).split("...")
    return (
        re.fullmatch(".*?".join(map(re.escape, parts)), _masked(answer.rstrip("\n")), re.DOTALL) is not None
    )


def _masked(text: str) -> str:
    return _TIME.sub("<time>", _UUID.sub("<id>", text))
