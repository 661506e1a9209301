"""The packages that the locks name, with their versions."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from deploy.kafka import jars

PROJECT = Path(__file__).resolve().parents[2]
RUNTIME = PROJECT / "requirements.lock"
EMBEDDED = PROJECT / "requirements-embedded.lock"
DEVELOPMENT = PROJECT / "requirements-dev.lock"
BROKER = PROJECT / "deploy" / "kafka" / "requirements.lock"
PYTHON = (RUNTIME, EMBEDDED, DEVELOPMENT, BROKER)
NODE = tuple(sorted((PROJECT / "tests" / "contracts").glob("*/package-lock.json")))
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)

Kind = Literal["pypi", "maven", "npm"]
Scope = Literal["required", "optional", "excluded"]
"""Part of the image; of what an operator may install beside it; of the tests and tools alone."""


class Locked(NamedTuple):
    """A package in one version. `hashes` are hex digests of its only file, each with its algorithm's name."""

    kind: Kind
    group: str
    name: str
    version: str
    scope: Scope
    hashes: tuple[tuple[str, str], ...] = ()


def read_python(lock: Path) -> list[tuple[str, str]]:
    """Names and versions."""
    return _PINNED.findall(lock.read_text())


def read_locks() -> list[Locked]:
    """Every package of every lock once, in the narrowest scope in which it is installed."""
    found: dict[tuple[str, ...], Locked] = {}
    for locked in _all():
        found.setdefault(locked[:4], locked)
    return sorted(found.values())


def _all() -> Iterator[Locked]:
    scopes: tuple[tuple[Path, Scope], ...] = (
        (RUNTIME, "required"),
        (EMBEDDED, "optional"),
        (BROKER, "optional"),
        (DEVELOPMENT, "excluded"),
    )
    for lock, scope in scopes:
        for name, version in read_python(lock):
            yield Locked("pypi", "", name, version, scope)
    for coordinate, digest in jars.locked().items():
        group, name, version = coordinate.split(":")
        yield Locked("maven", group, name, version, "optional", (("SHA-256", digest),))
    for lock in NODE:
        for path, package in json.loads(lock.read_text())["packages"].items():
            if path:
                group, _, name = path.rpartition("node_modules/")[2].rpartition("/")
                algorithm, _, digest = package["integrity"].partition("-")
                hashes = ((f"SHA-{algorithm.removeprefix('sha')}", base64.b64decode(digest).hex()),)
                yield Locked("npm", group, name, package["version"], "excluded", hashes)
