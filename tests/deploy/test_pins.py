"""Everything that is installed comes from exact, hashed versions."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.dependencies import DependencyError
from deploy.dependencies.images import FILES, images, pin
from tests.end_to_end.processes import PROJECT

WITHOUT_DIGEST = dict.fromkeys(
    ("python:3.13.9-slim-bookworm", "postgres:18.4", "apache/kafka:4.3.1", "nginx:1.28.0"),
    "Its digest was not looked up yet: `make pin-images` puts it there. Then this line goes.",
)
"""Images that are named by their tag alone, and why; whoever holds the tag may exchange them."""
LOCKS = sorted([*PROJECT.glob("requirements*.lock"), *(PROJECT / "deploy").rglob("*.lock")])


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(PROJECT)))
def test_a_lock_names_one_version_of_each_package_with_its_hashes(lock: Path) -> None:
    entries = [entry for entry in re.split(r"\n(?=[a-z0-9])", lock.read_text()) if entry[0] not in "#\n"]
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z0-9,]+\])?==[^\s;]+", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_each_installation_demands_hashes_or_installs_this_project_alone() -> None:
    makefile = (PROJECT / "Makefile").read_text().replace("$(PIP)", "pip install --require-hashes")
    dockerfile = (PROJECT / "deploy" / "Dockerfile").read_text()
    commands = re.split(r"\n|&&", f"{makefile}\n{dockerfile}".replace("\\\n", " "))
    found = [command for command in commands if "pip install" in command]
    assert len(found) >= 5
    for command in found:
        alone = "--no-deps" in command and "--no-build-isolation" in command
        assert "--require-hashes" in command or alone, command


def test_the_project_is_built_by_what_the_lock_installed(tmp_path: Path) -> None:
    """Without any index: a build in isolation would fetch its backend from one, whatever version is there."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("registry", "projections", "api", "consumers"):
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", tmp_path / "wheels", source], check=True, capture_output=True)
    assert [wheel.suffix for wheel in (tmp_path / "wheels").iterdir()] == [".whl"]


def test_no_image_is_named_without_its_digest_but_those_whose_reason_stands_here() -> None:
    named = [image for file in FILES for image in images(file)]
    assert len(named) >= 5
    assert {image for image in named if "@sha256:" not in image} == set(WITHOUT_DIGEST)
    assert not [
        file for file in (PROJECT / "deploy").rglob("*Dockerfile*") if file not in FILES and images(file)
    ]


DOCKER = """#!/bin/sh
[ "$*" = "buildx imagetools inspect --format {{.Manifest.Digest}} $6" ] || exit 2
[ "$6" != "postgres:18.4" ] || [ ! -e "$0.fails" ] || exit 1
echo sha256:$(printf %s "$6" | sha256sum | cut -d " " -f 1)
"""


def test_pinning_puts_the_digest_behind_every_tag_or_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in for docker gives each image a digest of its own: a test asks no registry of images."""
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:/usr/bin:/bin")
    files = [Path(shutil.copy(file, tmp_path)) for file in FILES]
    before = [file.read_text() for file in files]

    Path(f"{docker}.fails").touch()
    with pytest.raises(DependencyError, match=r"^the digest of postgres:18\.4 cannot be had"):
        pin(files)
    assert [file.read_text() for file in files] == before

    Path(f"{docker}.fails").unlink()
    pinned = pin(files)
    assert {image.partition("@")[0] for image in pinned} == set(WITHOUT_DIGEST)
    for file, text in zip(files, before, strict=True):
        assert all(re.search(r"@sha256:[0-9a-f]{64}$", image) for image in images(file))
        assert re.sub(r"@sha256:[0-9a-f]{64}", "", file.read_text()) == text
    once_more = [file.read_text() for file in files]
    assert pin(files) == pinned
    assert [file.read_text() for file in files] == once_more
