"""The broker's jars: listed with their hashes in jars.sha256, downloaded once, checked at every use.

They come from the Maven repository through the package `jgo`, which needs neither Maven nor Java. Jars that
Maven has downloaded already are copied from its own folder: behind a mirror,
`mvn -f deploy/kafka dependency:resolve` puts them there.
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
"""How long one request may take."""


def locked(lock: Path = LOCK) -> dict[str, str]:
    """The SHA-256 of each jar by its coordinate, `group:artifact:version`."""
    lines = (line.split() for line in lock.read_text().splitlines())
    return {coordinate: digest for digest, coordinate in lines}


def installed(folder: Path = FOLDER, lock: Path = LOCK) -> Path:
    """The folder, if it holds exactly the jars of the lock; otherwise raises `BrokerError`."""
    expected = {_file_name(coordinate): digest for coordinate, digest in locked(lock).items()}
    actual = {jar.name: _digest(jar) for jar in folder.glob("*")}
    if actual != expected:
        raise BrokerError("the jars of Kafka are not installed as locked: run `make .venv/kafka`")
    return folder


def install(folder: Path = FOLDER, lock: Path = LOCK) -> None:
    """Installs the jars of the lock. Even after a kill the folder is complete or absent."""
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
    """Resolves pom.xml and writes the lock: the hash of every jar in the Maven repository."""
    with tempfile.TemporaryDirectory() as place, _fetching("the jars of pom.xml"):
        maven = importlib.import_module("jgo.maven")
        context = maven.MavenContext(repo_cache=Path(place), timeout=SECONDS)
        _, nodes = context.pom_dependency_list(maven.POM(HERE / "pom.xml"))
        artifacts = sorted((node.dep.artifact for node in nodes), key=_coordinate)
        lines = [f"{_digest(jar.resolve())}  {_coordinate(jar)}\n" for jar in artifacts]
    LOCK.write_text("".join(lines))


def _fill(draft: Path, fetched: Path, wanted: Mapping[str, str]) -> None:
    for coordinate, digest in wanted.items():
        jar = _from_maven(coordinate, digest) or _downloaded(coordinate, fetched)
        if _digest(jar) != digest:
            raise BrokerError(f"the jar {coordinate} is not the one in {LOCK.name}: nothing was installed")
        shutil.copyfile(jar, draft / _file_name(coordinate))


def _from_maven(coordinate: str, digest: str) -> Path | None:
    """The jar in Maven's own folder, if it is there with the right hash."""
    group, name, version = coordinate.split(":")
    repository = Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")
    path = repository.joinpath(*group.split("."), name, version, _file_name(coordinate))
    return path if path.is_file() and _digest(path) == digest else None


def _downloaded(coordinate: str, place: Path) -> Path:
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
    except (OSError, RuntimeError) as error:  # raised by jgo and requests
        raise BrokerError(f"{what} could not be downloaded: {error}") from error


def _coordinate(artifact: Any) -> str:
    return f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"


def _file_name(coordinate: str) -> str:
    _, name, version = coordinate.split(":")
    return f"{name}-{version}.jar"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
