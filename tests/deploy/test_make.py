"""Every target of the Makefile brings what it needs, also on a clone in which nothing is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.processes import PROJECT, environment

RUNTIME, DEVELOPMENT = "-r requirements-embedded.lock", "-r requirements-dev.lock"
KAFKA = "-m deploy.kafka install"
NODE = ("/spectral && ", "/typescript && ")
NEEDS = {
    "help": (),
    "run": (RUNTIME,),
    "test": (RUNTIME, DEVELOPMENT, KAFKA, *NODE),
    "quick": (RUNTIME, DEVELOPMENT),
    "coverage": (RUNTIME, DEVELOPMENT),
    "lint": (RUNTIME, DEVELOPMENT),
    "check": (RUNTIME, DEVELOPMENT),
    "bench": (RUNTIME, DEVELOPMENT, KAFKA),
    "bench-against": (RUNTIME, DEVELOPMENT, KAFKA),
    "bench-large": (RUNTIME, DEVELOPMENT),
    "faults": (RUNTIME, DEVELOPMENT, KAFKA),
    "kafka-up": (RUNTIME, KAFKA),
    "kafka-down": (RUNTIME,),
    "lock": (RUNTIME, KAFKA),
    "install": (RUNTIME,),
    "audit": (RUNTIME, DEVELOPMENT),
    "sbom": (RUNTIME, DEVELOPMENT),
    "pin-images": (RUNTIME, DEVELOPMENT),
    "clean": (),
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make` reads in a new clone."""
    folder = tmp_path_factory.mktemp("clone")
    names = ("Makefile", "pyproject.toml", *(path.name for path in PROJECT.glob("requirements*.lock")))
    kept = (*PROJECT.glob("deploy/kafka/*"), *PROJECT.glob("tests/contracts/*/package*.json"))
    for path in (*(PROJECT / name for name in names), *(path for path in kept if path.is_file())):
        target = folder / path.relative_to(PROJECT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    return folder


def test_every_target_is_listed_here() -> None:
    assert set(re.findall(r"^([a-z][a-z-]*):", (PROJECT / "Makefile").read_text(), re.MULTILINE)) == set(
        NEEDS
    )


@pytest.mark.parametrize("target", NEEDS)
def test_a_target_installs_what_it_needs_before_it_begins(target: str, clone: Path) -> None:
    done = subprocess.run(
        ["make", "--dry-run", target, "OLD=../old"],
        check=True,
        capture_output=True,
        text=True,
        cwd=clone,
        env=environment(),
    )
    places = [done.stdout.find(need) for need in NEEDS[target]]
    assert -1 not in places, (target, done.stdout)
    # What is not installed here is what the target does.
    begins = done.stdout.rfind("touch .venv/")
    assert all(place < begins for place in places)
    for other in {RUNTIME, DEVELOPMENT, KAFKA, *NODE} - set(NEEDS[target]):
        assert other not in done.stdout, (target, other)
