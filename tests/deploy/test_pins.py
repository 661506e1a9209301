"""Everything that is installed comes from exact, hashed versions."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.processes import PROJECT

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
