"""The three secrets of a registry, and the ids and keys that are derived from them.

`id` makes the ids of modules and badges (it is never rotated), `alias` finds a learner by an identifier,
`vault` encrypts private parts. The secrets are in the key file, outside PostgreSQL; the database holds the
fingerprint of each, so that a process with another registry's file refuses to start.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from registry.domain.private_parts import SALT
from registry.failures import Failure

NAMES = ("id", "alias", "vault")
SIZE = 32
MIN_DRAW, MAX_DRAW = 128, 16_384
EDUID_SCOPE = "eduid.nl"
"""The scope of every eduID; that of an eppn is the awarding institution's BRIN."""


class KeyFileError(Failure):
    """The key file is missing, unreadable, open to others or another registry's."""


@dataclass(frozen=True, repr=False)
class Keys:
    """The secrets, 32 bytes each."""

    id: bytes
    alias: bytes
    vault: bytes

    def fingerprints(self) -> dict[str, str]:
        """The fingerprint (32 hex digits) of each secret by name; it reveals nothing about the secret."""
        return {name: _digest(_keyed(getattr(self, name)), b"fingerprint")[:16].hex() for name in NAMES}

    def made_id(self, kind: Literal["module", "badge"], brin: str, reference: str) -> str:
        """The id that follows from an institution's reference: HMAC-SHA-256 as a UUID of version 8.

        A repeated award has the same id, so that retries are safe; and an id cannot be guessed.
        """
        return _uuid(_digest(self._by_id, f"{kind}\n{brin}\n{reference}".encode()), "8")

    def alias_key(self, kind: Literal["eduId", "eppn"], scope: str, value: str) -> bytes:
        """The key under which an identifier finds its learner; the identifier is compared in lower case."""
        return _digest(self._by_alias, f"{kind}\n{scope}\n{value.lower()}".encode())

    @cached_property
    def _by_id(self) -> HMAC:
        return _keyed(self.id)

    @cached_property
    def _by_alias(self) -> HMAC:
        return _keyed(self.alias)


def _keyed(key: bytes) -> HMAC:
    return HMAC(key, SHA256())


def _digest(keyed: HMAC, message: bytes) -> bytes:
    """The HMAC of a message; copying a keyed HMAC saves half the time of a short message."""
    copied = keyed.copy()
    copied.update(message)
    return copied.finalize()


class RandomBytes:
    """The system's random bytes, drawn in bulk: a system call for each use took as long as a signature."""

    def __init__(self) -> None:
        self._drawn, self._at = b"", 0

    def draw(self, size: int) -> bytes:
        if self._at + size > len(self._drawn):
            # A single award needs few bytes, a page many.
            more = max(MIN_DRAW, size, min(2 * len(self._drawn), MAX_DRAW))
            self._drawn, self._at = os.urandom(more), 0
        self._at += size
        return self._drawn[self._at - size : self._at]


def read_key_file(path: Path) -> Keys:
    """The secrets in a key file that only its owner may read."""
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path} can be read by others; give it mode 0600.")
        encoded = json.loads(path.read_text())
        keys = Keys(**{name: base64.b64decode(encoded[name], validate=True) for name in NAMES})
    except FileNotFoundError:
        raise KeyFileError(
            f"{path} is missing. This registry has data made with its secrets; put the key file back."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KeyFileError(f"{path} is not a key file of a registry ({type(error).__name__}).") from None
    if any(len(getattr(keys, name)) != SIZE for name in NAMES):
        raise KeyFileError(f"{path} holds a secret that is not {SIZE} bytes long.")
    return keys


def create_key_file(path: Path) -> Keys:
    """Makes the secrets, and writes them durably to a new file of mode 0600.

    The file is written under another name and linked into place: a process that is killed halfway leaves no
    half key file.
    """
    keys = Keys(**{name: secrets.token_bytes(SIZE) for name in NAMES})
    encoded = {name: base64.b64encode(getattr(keys, name)).decode() for name in NAMES}
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(encoded, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return keys


def new_salt() -> str:
    """The random bytes of one salt, as hex."""
    return os.urandom(SALT).hex()


def random_id(random: RandomBytes) -> str:
    """A UUID of version 4."""
    return _uuid(random.draw(16), "4")


def _uuid(data: bytes, version: str) -> str:
    """A UUID of the first 16 bytes, formatted here at a third of the cost of the library's class."""
    text, variant = data.hex(), "89ab"[data[8] >> 4 & 3]
    return f"{text[:8]}-{text[8:12]}-{version}{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"
