"""The command `registry`, in which SIGUSR1 ends a thread by an exception, as an unforeseen defect would.

Run as a program: how the thread's name begins, the exception, and the words of the command.
"""

from __future__ import annotations

import builtins
import ctypes
import signal
import sys
import threading
import time

from registry.cli.main import main


def end(name: str, error: type[BaseException]) -> None:
    """Raises the error in each thread of that name until all of them have ended."""
    while found := [thread for thread in threading.enumerate() if thread.name.startswith(name)]:
        for thread in found:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident or 0), ctypes.py_object(error)
            )
        time.sleep(1)


if __name__ == "__main__":
    name, error = sys.argv[1], getattr(builtins, sys.argv[2])
    del sys.argv[1:3]
    signal.signal(
        signal.SIGUSR1, lambda *_: threading.Thread(target=end, args=(name, error), daemon=True).start()
    )
    sys.exit(main())
