"""Ctrl-C ends a tool, whatever it is doing.

Python's own handler raises KeyboardInterrupt where the interpreter happens to be. In a garbage
collection or a callback of a library it is printed and lost, and in a long call into a library it
waits. So a thread, to which the system's handler writes, ends the process where nothing else does.
"""

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED = 130  # exit status: 128 + the number of SIGINT
GRACE = 3.0  # seconds in which a tool closes its files
_grace: list[float] = []  # the seconds of this process, once it listens
_said: list[bool] = []  # one entry, once the message is printed


def end_on_interrupt() -> None:
    """From here on the first Ctrl-C ends the process; to be called before slow imports."""
    _grace[:] = [0.0]
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, _interrupted)
    sys.unraisablehook = _unless_interrupted
    threading.Thread(target=_watch, args=(read,), name="interrupt", daemon=True).start()


def give_grace(seconds: float = GRACE) -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, and ends the process `seconds` later at most.

    Without `end_on_interrupt` before it, as where a tool is called as a function, nothing changes.
    """
    if _grace:
        _grace[:] = [seconds]


def _interrupted(number: int, frame: FrameType | None) -> None:
    if not _grace[0]:
        _end()
    signal.signal(signal.SIGINT, lambda *_: _end())
    raise KeyboardInterrupt


def _unless_interrupted(lost: Any) -> None:
    """What Python does with an exception that nothing can catch, but for this one."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)


def _watch(read: int) -> None:
    while os.read(read, 1) != bytes([signal.SIGINT]):
        pass
    time.sleep(_grace[0] + 0.2)  # the handler is first, where it can be
    _end()


def _end() -> NoReturn:
    if not _said:
        os.write(2, b"error: interrupted\n")
    os._exit(INTERRUPTED)


def end() -> NoReturn:
    """Ends a tool that has caught KeyboardInterrupt."""
    print("error: interrupted", file=sys.stderr, flush=True)
    _said.append(True)
    sys.exit(INTERRUPTED)
