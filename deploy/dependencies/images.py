"""The images of others in deploy/: which they are, and the command that pins each to its digest.

`docker buildx imagetools` asks the registry of the image, and pulls nothing.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deploy.dependencies import DependencyError
from deploy.dependencies.locks import PROJECT

OWN = "microcredential-registry"
"""The image of deploy/Dockerfile."""
FILES = (PROJECT / "deploy" / "Dockerfile", PROJECT / "deploy" / "compose.yaml")
SECONDS = 60
_NAMED = re.compile(r"^(?:FROM| *image:) +([\w./-]+(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?)", re.MULTILINE)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def images(file: Path) -> list[str]:
    """The images that a file names, but for our own."""
    return [image for image in _NAMED.findall(file.read_text()) if image != OWN]


def pin(files: Sequence[Path] = FILES) -> list[str]:
    """Puts behind each tag the digest that it has now, in all files or in none; answers the pinned images."""
    named = sorted({image for file in files for image in images(file)})
    pinned = {image: f"{(tagged := image.partition('@')[0])}@{_digest(tagged)}" for image in named}
    for file in files:
        text = file.read_text()
        for image, whole in pinned.items():
            text = re.sub(rf"(?<![\w./-]){re.escape(image)}(?![\w@.:-])", whole, text)
        file.write_text(text)
    return list(pinned.values())


def _digest(image: str) -> str:
    try:
        done = subprocess.run(
            ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", image],  # noqa: S607
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DependencyError(
            f"docker does not answer ({type(error).__name__}): nothing was changed"
        ) from error
    digest = done.stdout.strip()
    if done.returncode or not _DIGEST.fullmatch(digest):
        raise DependencyError(
            f"the digest of {image} cannot be had: can docker reach the registry of the image?"
        )
    return digest
