"""Writes the golden files that are missing: `python -m tests.contracts`."""

from __future__ import annotations

from tests.contracts.test_golden_files import write_missing

for path in write_missing():
    print(path.name)
