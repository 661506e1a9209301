"""systemd's units as these tests read them: sections, keys and words."""

from __future__ import annotations

import shlex
from collections import defaultdict
from pathlib import Path

from tests.end_to_end.processes import PROJECT

SYSTEMD = PROJECT / "deploy" / "systemd"
DROP_IN = "registry-.service.d/hardened.conf"
"""systemd reads it with every unit whose name begins with `registry-`."""

Unit = dict[str, list[str]]


def read_unit(name: str, folder: Path = SYSTEMD) -> Unit:
    """The values of each key of a unit with its drop-in, in order: `Section.Key` to values."""
    files = [folder / name]
    if name.startswith("registry-") and name.endswith(".service"):
        files.append(folder / DROP_IN)
    found: Unit = defaultdict(list)
    section = ""
    for file in files:
        for line in file.read_text().splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif line and not line.startswith("#"):
                key, _, value = line.partition("=")
                found[f"{section}.{key}"].append(value)
    return found


def commands(unit: Unit) -> list[list[str]]:
    """The words of each command that a unit starts."""
    return [shlex.split(line.replace("$$", "$")) for line in unit["Service.ExecStart"]]


def environment_of(unit: Unit) -> dict[str, str]:
    """The variables that a unit gives by itself."""
    words = [word for line in unit["Service.Environment"] for word in shlex.split(line)]
    return dict(word.split("=", 1) for word in words)
