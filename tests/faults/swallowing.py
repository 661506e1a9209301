"""A peer between a process and PostgreSQL that can swallow everything: it accepts and never answers."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Swallower:
    """Carries bytes to the port of a PostgreSQL and back, on a port of its own."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=500)
        self.port: int = self._listening.getsockname()[1]
        self._swallows = False
        self._lost: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="swallower", daemon=True).start()

    def swallow(self) -> None:
        """From now on nothing passes, on any connection."""
        self._swallows = True
        self._lost |= self._open

    def carry(self) -> None:
        """New connections are carried again. Those from before stay swallowed for ever."""
        self._swallows = False

    def close(self) -> None:
        self._listening.close()
        for each in list(self._open):
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours, _ = self._listening.accept()
                self._open.add(ours)
                if self._swallows:
                    self._lost.add(ours)
                    there = ours
                else:
                    there = socket.create_connection(("127.0.0.1", self._to))
                    self._open.add(there)
                    self._start(there, ours)
                self._start(ours, there)

    def _start(self, source: socket.socket, sink: socket.socket) -> None:
        threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(65536):
                if source not in self._lost:
                    sink.sendall(part)
            if source not in self._lost:
                sink.shutdown(socket.SHUT_WR)
