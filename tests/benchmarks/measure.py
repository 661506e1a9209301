"""Rounds, ratios and the table.

Ours and the peer take turns, so that whatever else the machine does hits both. A ratio is taken within
each round; the median and the spread over the rounds are what counts.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Goal:
    """What a ratio is to reach."""

    least: float
    aim: float


@dataclass
class Compared:
    """Ours beside a peer, round by round. `more` holds what else was seen, and is not judged."""

    what: str
    unit: str
    peer_is: str
    goal: Goal | None = None
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        return [ours / peer for ours, peer in zip(self.ours, self.peer, strict=True)]

    def as_json(self) -> dict[str, Any]:
        found = {**vars(self), "goal": vars(self.goal) if self.goal else None, "ratios": self.ratios}
        if self.ratios:
            found |= {
                "median": statistics.median(self.ratios),
                "spread": [min(self.ratios), max(self.ratios)],
            }
        return found


@dataclass
class Seen:
    """A figure without a peer, with a limit that it should stay under."""

    what: str
    unit: str
    value: float
    most: float | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


Result = Compared | Seen


def take_turns(into: Compared, rounds: int, ours: Callable[[], float], peer: Callable[[], float]) -> Compared:
    """Measures ours, the peer, ours, the peer, ..."""
    return measure_rounds(into, rounds, lambda: (ours(), peer()))


def measure_rounds(into: Compared, rounds: int, both: Callable[[], tuple[float, float]]) -> Compared:
    """Measures rounds, in each of which both take their turns."""
    for number in range(rounds):
        ours, peer = both()
        into.ours.append(ours)
        into.peer.append(peer)
        say(
            f"  {into.what}, round {number + 1} of {rounds}: ours {ours:,.0f}, peer {peer:,.0f}"
            f" {into.unit}, ratio {ours / peer:.2f}"
        )
    return into


def say(text: str) -> None:
    """Progress, beside the table."""
    print(text, file=sys.stderr, flush=True)


HEADS = ("what", "unit", "ours", "peer", "ratio", "min..max", "at least", "aim")


def table(results: Sequence[Result]) -> str:
    """Medians of ours and the peer, and the median and the spread of their ratios."""
    return show([HEADS, *(_row(result) for result in results)])


def show(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as a table; the first row is its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [text.ljust(widths[0]) if at == 0 else text.rjust(widths[at]) for at, text in enumerate(row)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _row(result: Result) -> tuple[str, ...]:
    if isinstance(result, Seen):
        most = "" if result.most is None else f"<= {_number(result.most)}"
        return (result.what, result.unit, _number(result.value), "", "", "", most, "")
    ratios = result.ratios
    goal = (f"{result.goal.least:g}", f"{result.goal.aim:g}") if result.goal else ("", "")
    return (
        f"{result.what} / {result.peer_is}",
        result.unit,
        _number(statistics.median(result.ours)),
        _number(statistics.median(result.peer)),
        f"{statistics.median(ratios):.2f}",
        f"{min(ratios):.2f}..{max(ratios):.2f}",
        *goal,
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
