"""The broker's jars: named with their hashes in jars.sha256, fetched once, checked whenever they are used.

They come from the Maven repository through the package `jgo`, which needs no Maven and no Java. What Maven
has fetched already is taken from its own folder: behind a mirror, `mvn -f deploy/kafka dependency:resolve`
brings them there.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.kafka import BrokerError

HERE = Path(__file__).resolve().parent
LOCK = HERE / "jars.sha256"
FOLDER = HERE.parents[1] / ".venv" / "kafka-jars"
SECONDS = 60
"""So long one request may take."""


def locked(lock: Path = LOCK) -> dict[str, str]:
    """The SHA-256 of each jar by its coordinate, `group:artifact:version`."""
    lines = (line.split() for line in lock.read_text().splitlines())
    return {coordinate: digest for digest, coordinate in lines}


def installed(folder: Path = FOLDER, lock: Path = LOCK) -> Path:
    """The folder with exactly the jars of the lock; raises `BrokerError` where it is not that."""
    expected = {_file_name(coordinate): digest for coordinate, digest in locked(lock).items()}
    found = {each.name: _digest(each) for each in folder.glob("*")}
    if found != expected:
        raise BrokerError("the jars of Kafka are not installed as locked: run `make .venv/kafka`")
    return folder


def install(folder: Path = FOLDER, lock: Path = LOCK) -> None:
    """Fetches what is missing. The folder is complete or absent, wherever this is killed."""
    try:
        installed(folder, lock)
    except BrokerError:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="kafka-jars.new-", dir=folder.parent) as place:
            draft = Path(place) / "jars"
            draft.mkdir()
            _fill(draft, Path(place) / "fetched", locked(lock))
            shutil.rmtree(folder, ignore_errors=True)
            draft.rename(folder)


def write_lock() -> None:
    """Resolves pom.xml anew and writes the lock: every jar's hash, as the Maven repository has it now."""
    with tempfile.TemporaryDirectory() as place, _fetching("the jars of pom.xml"):
        maven = importlib.import_module("jgo.maven")
        context = maven.MavenContext(repo_cache=Path(place), timeout=SECONDS)
        _, nodes = context.pom_dependency_list(maven.POM(HERE / "pom.xml"))
        artifacts = sorted((node.dep.artifact for node in nodes), key=_coordinate)
        lines = [f"{_digest(each.resolve())}  {_coordinate(each)}\n" for each in artifacts]
    LOCK.write_text("".join(lines))


def _fill(draft: Path, fetched: Path, wanted: Mapping[str, str]) -> None:
    for coordinate, digest in wanted.items():
        found = _found(coordinate, digest) or _fetched(coordinate, fetched)
        if _digest(found) != digest:
            raise BrokerError(f"the jar {coordinate} is not the one in {LOCK.name}: nothing was installed")
        shutil.copyfile(found, draft / _file_name(coordinate))


def _found(coordinate: str, digest: str) -> Path | None:
    """The jar in Maven's own folder, if it is the one that we want."""
    group, name, version = coordinate.split(":")
    repository = Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")
    path = repository.joinpath(*group.split("."), name, version, _file_name(coordinate))
    return path if path.is_file() and _digest(path) == digest else None


def _fetched(coordinate: str, place: Path) -> Path:
    group, name, version = coordinate.split(":")
    with _fetching(f"the jar {coordinate}"):
        maven = importlib.import_module("jgo.maven")
        context = maven.MavenContext(repo_cache=place, timeout=SECONDS)
        return Path(context.project(group, name).at_version(version).artifact().resolve())


@contextmanager
def _fetching(what: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise BrokerError("the package jgo is not installed: run `make .venv/kafka`") from error
    except (OSError, RuntimeError) as error:  # what jgo and requests raise
        raise BrokerError(f"{what} could not be fetched: {error}") from error


def _coordinate(artifact: Any) -> str:
    return f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"


def _file_name(coordinate: str) -> str:
    _, name, version = coordinate.split(":")
    return f"{name}-{version}.jar"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
