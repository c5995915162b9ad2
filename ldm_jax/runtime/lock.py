"""One process at a time writes to a run: a lock in its folder, which names its holder.

The lock is the system's (flock) and ends with the process, however that ends: what a process that
crashed has left in the file is no obstacle.
"""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ldm_jax.errors import InputError

FILE = "lock"


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """A context in which no other process holds this folder, which is made where it is missing.

    Raises:
        InputError: another one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("a+", encoding="utf-8") as file:
        if not _take(file):
            raise InputError(_held(folder, file))
        file.truncate(0)
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%F %T")}
        file.write(json.dumps(holder) + "\n")
        file.flush()
        yield


def check_free(folder: Path) -> None:
    """Raises InputError where another process holds a folder."""
    with contextlib.suppress(FileNotFoundError), (folder / FILE).open(encoding="utf-8") as file:
        if not _take(file):
            raise InputError(_held(folder, file))


def _take(file: IO) -> bool:
    """Whether no other process has the lock; closing the file gives it back."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _held(folder: Path, file: IO) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read())
        who = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        who = "another process"
    return (
        f"'{folder}' is in use by {who}: expected a folder that nothing else trains in; wait for "
        "it, stop it, or choose another --workdir"
    )
