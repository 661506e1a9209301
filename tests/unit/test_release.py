"""One release number everywhere, and a command that starts soon."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from registry.release import RELEASE
from tests.end_to_end.processes import registry

PROJECT = Path(__file__).parents[2]


def test_the_command_the_package_and_the_catalogue_of_software_name_one_release() -> None:
    assert registry("--version").out == f"registry {RELEASE}\n"
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["version"]["path"] == "registry/release.py"
    assert "version" in project["project"]["dynamic"]
    assert yaml.safe_load((PROJECT / "publiccode.yml").read_text())["softwareVersion"] == RELEASE


def test_a_command_imports_the_web_framework_only_to_serve() -> None:
    """It takes longer to import than everything else: a command starts in less than half a second of CPU."""
    script = (
        "import sys; from registry.cli.main import _parser;"
        "_parser().parse_args(['token', 'list']);"
        "print(sorted({'fastapi', 'starlette', 'uvicorn', 'pydantic', 'api'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
