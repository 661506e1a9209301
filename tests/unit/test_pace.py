"""A reader of the log asks often while it grows, and seldom while it stands still."""

from __future__ import annotations

import time

import pytest

from registry.event_store.log import MAX_PAUSE_SECONDS, Pace


def test_the_pause_grows_with_the_silence_within_bounds_and_ends_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pace, began = Pace(0.02), time.monotonic()
    pauses = []
    for silence in (0.0, 0.1, 1.0, 5.0, 1_000.0):
        monkeypatch.setattr(
            "registry.event_store.log.time.monotonic", lambda silence=silence: began + silence
        )
        pauses.append(pace.pause())
    assert pauses == pytest.approx([0.02, 0.02, 0.1, 0.5, MAX_PAUSE_SECONDS], abs=0.01)
    pace.came()
    assert pace.pause() == 0.02


def test_a_reader_that_may_be_slow_is_never_faster() -> None:
    assert Pace(60.0).pause() == 60.0
