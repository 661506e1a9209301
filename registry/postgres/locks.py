"""The advisory locks of a registry's database: one list, so that no two uses share a number."""

from __future__ import annotations

from enum import IntEnum


class Lock(IntEnum):
    """The key of an advisory lock, or the first of its two keys where it says "per read model".

    Running processes of another release hold the same locks: a number never changes its meaning.
    """

    APPEND = 4201
    """Orders all writers: held by an append until it is committed. The SQL function `append` takes it."""
    MIGRATE = 4202
    """One process migrates; the others wait for it."""
    PROJECT = 4203
    """Per read model: one projector applies events to it, the others stand by."""
    KEYS = 4204
    """One process makes the secrets of an empty database; the others wait and read them."""
    REBUILD = 4205
    """Per read model: one process rebuilds it."""
    RELAY = 4207
    """The session of the relay at work holds it; other relays stand by."""
