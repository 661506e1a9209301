"""Asks the advisories of PyPI about every Python package that a lock names.

A package that could not be asked about is an error: an audit that knows nothing must not pass.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from deploy.dependencies import DependencyError
from deploy.dependencies.locks import PROJECT, PYTHON

SECONDS = 600


class Weakness(msgspec.Struct):
    id: str
    fix_versions: list[str] = []


class Package(msgspec.Struct):
    name: str
    version: str = ""
    vulns: list[Weakness] = []
    skip_reason: str | None = None


class Report(msgspec.Struct):
    """What pip-audit reports as JSON, as far as it is read here."""

    dependencies: list[Package]


WHERE = "run `make audit` where PyPI's advisories can be reached"


def audit() -> int:
    """The number of packages asked about; raises `DependencyError` for a weakness, or without an answer."""
    return judge({lock: _asked(lock) for lock in PYTHON})


def judge(reports: Mapping[Path, Report]) -> int:
    packages = [(lock, package) for lock, report in reports.items() for package in report.dependencies]
    if unknown := {package.name for _, package in packages if package.skip_reason}:
        raise DependencyError(
            f"{len(unknown)} packages, {min(unknown)} among them, could not be audited, and nothing is known"
            f" of them: {WHERE}"
        )
    weak = [
        f"{lock.relative_to(PROJECT)}: {package.name} {package.version} has {weakness.id},"
        f" fixed in {', '.join(weakness.fix_versions) or 'no version yet'}"
        for lock, package in packages
        for weakness in package.vulns
    ]
    if weak:
        raise DependencyError("\n".join(weak))
    return len(packages)


def _asked(lock: Path) -> Report:
    words = ["--requirement", str(lock), "--disable-pip", "--require-hashes", "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", *words, "--progress-spinner", "off"],
        check=False,
        capture_output=True,
        timeout=SECONDS,
    )
    try:
        return msgspec.json.decode(done.stdout, type=Report)
    except msgspec.DecodeError as error:
        raise DependencyError(
            f"{lock.relative_to(PROJECT)} could not be audited, and nothing is known of its packages: {WHERE}"
        ) from error
