"""How a program ends that cannot go on: its exit status, one line, and a terminal that is gone."""

import contextlib
import errno
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

from ldm_jax.errors import InputError, StoppedError, reason

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # of a disk that takes no more
FULL_WORDS = re.compile(  # the last is of numpy
    "No space left on device|Disk quota exceeded|File too large|Not enough free space"
    r"|\d+ requested and \d+ written"
)
CLOSED = 128 + signal.SIGPIPE  # exit status where nobody reads what is printed


def status_of(error: Exception) -> int | None:
    """The exit status for what somebody must mend who is no developer; None: a defect."""
    if isinstance(error, StoppedError):
        return error.status
    if isinstance(error, InputError):
        return 2
    if isinstance(error, FloatingPointError) or _is_full(error) or _is_memory(error):
        return 1
    named = isinstance(error, OSError) and error.filename is not None
    return 2 if named or isinstance(error, UnicodeError) else None


def _is_full(error: BaseException | None) -> bool:
    """Whether a disk takes no more, also where a library says so in words of its own."""
    while error is not None:
        of_disk = isinstance(error, OSError) and error.errno in FULL
        if of_disk or FULL_WORDS.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def reason_of(error: Exception) -> str:
    """What stopped a tool, with a remedy."""
    if isinstance(error, InputError | StoppedError | FloatingPointError):
        return str(error)
    if _is_full(error):
        return f"nothing more can be written: {reason(error)}; free space, then the same command"
    if _is_memory(error):
        return f"out of memory: {reason(error)}; ask for less at once"
    if isinstance(error, UnicodeError):
        return f"text that is not UTF-8: {reason(error)}"
    return f"'{reason(OSError(error.filename))}': {error.strerror}, expected another path"


class Terminal:
    """A stream whose reader may go away, as head or a pager does, and whose encoding may be small.

    The first thing that cannot be printed asks the program to end, as SIGTERM does: training saves
    its state, all else ends at once. Characters that the encoding lacks are printed as their codes.
    """

    def __init__(self, stream: Any):
        self._stream = stream
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._read():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._read():
            self._stream.flush()

    @contextlib.contextmanager
    def _read(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), self._stream.fileno())
            note = signal.getsignal(signal.SIGTERM)
            if not callable(note):
                raise SystemExit(CLOSED) from None
            note(signal.SIGPIPE, None)
