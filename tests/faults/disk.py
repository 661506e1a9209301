"""A small disk of its own, which a test fills and enlarges."""

from __future__ import annotations

import ctypes
import os
import time
from contextlib import suppress
from pathlib import Path

MIB = 1024 * 1024
_libc = ctypes.CDLL(None, use_errno=True)
_REMOUNT, _DETACH = 32, 2


class SmallDisk:
    """A file system in memory, mounted on a folder."""

    def __init__(self, folder: Path, mib: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._filler = folder, folder / "filler"
        self._mount(mib, 0)

    def _mount(self, mib: int, flags: int) -> None:
        given = f"size={mib}m,mode=755".encode()
        where = str(self.folder).encode()
        if _libc.mount(b"tmpfs", where, b"tmpfs", ctypes.c_ulong(flags), given) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"cannot mount on {self.folder}: {os.strerror(number)}")

    @staticmethod
    def is_possible(folder: Path) -> bool:
        """Whether this process may mount one."""
        try:
            SmallDisk(folder, 1).end()
        except OSError:
            return False
        return True

    def enlarge(self, mib: int) -> None:
        self._mount(mib, _REMOUNT)

    @property
    def free(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Another's file takes what is free, but for so many bytes."""
        descriptor = os.open(self._filler, os.O_CREAT | os.O_WRONLY)
        try:
            with suppress(OSError):  # meanwhile the server may have taken some
                while (size := self.free - leave) > 0:
                    os.write(descriptor, bytes(min(size, MIB)))
        finally:
            os.close(descriptor)

    def clear(self) -> None:
        self._filler.unlink()

    def end(self) -> None:
        deadline = time.monotonic() + 10
        while _libc.umount2(str(self.folder).encode(), 0) != 0:
            if time.monotonic() > deadline:
                _libc.umount2(str(self.folder).encode(), _DETACH)
                return
            time.sleep(0.1)
