"""Memory: freed pages are returned to the system, or kept for the next allocation.

Reading a checkpoint and compiling leave holes between allocations, which the C library keeps for
the
process: for Stable Diffusion 1 in float32 about a tenth of the weights' bytes. It has an arena for
each of a few threads and never returns an arena's end. Large allocations it returns at once, though
a training step allocates its activations again and again.
"""

import ctypes
import functools
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

LARGE = 2**31  # bytes of a model
_M_ARENA_MAX, ARENAS = -8, 2  # malloc.h
_M_TRIM_THRESHOLD, NEVER = -1, -1
_M_MMAP_MAX, NONE = -4, 0
_keeping: list[bool] = []  # one entry, once the first thread's memory is kept


@functools.cache
def _glibc(name: str):
    """A function of glibc; None with another C library."""
    library = ctypes.CDLL(None)
    return getattr(library, name) if hasattr(library, "malloc_trim") else None


def share_arenas(model: Iterable[Path]) -> None:
    """New threads share arenas, unless $MALLOC_ARENA_MAX is set.

    By default there may be eight arenas a processor: hundreds of megabytes, which matter with few
    large computations. In an arena of its own a thread is given memory that is still in its core's
    cache: sharing costs small models a tenth of the time of sampling and a fifth of training's. So
    it is done for `LARGE` models only.

    Args:
        model: files of the model that is to be loaded; those that do not exist are ignored.
    """
    if sum(file.stat().st_size for file in model if file.is_file()) < LARGE:
        return
    if (mallopt := _glibc("mallopt")) and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Returns unused pages to the system, where the C library can."""
    if trim := _glibc("malloc_trim"):
        trim(0)


def keep() -> None:
    """What the first thread frees is kept for its next allocation, even if it is large.

    Everything is allocated from its own heap, which does not shrink. Other threads' heaps have at
    most 64 MiB, and larger allocations are mapped as before. For programs that repeat large steps;
    $MALLOC_MMAP_MAX_ and $MALLOC_TRIM_THRESHOLD_ take precedence.
    """
    is_set = {"MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_"} & set(os.environ)
    if (mallopt := _glibc("mallopt")) and not is_set:
        mallopt(_M_MMAP_MAX, NONE)
        mallopt(_M_TRIM_THRESHOLD, NEVER)
        _keeping.append(True)


def enlarge_pages(size: int) -> None:
    """The next `size` bytes that the first thread allocates are pages of 2 MiB.

    Needs `keep`, and a system that gives such pages on request. None is taken before it is used.
    Memory that is kept already is unchanged; `give_back` ends it.
    """
    if not _keeping or not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    malloc, free, madvise = (_glibc(name) for name in ("malloc", "free", "madvise"))
    malloc.argtypes, malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    free.argtypes = [ctypes.c_void_p]
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if block := malloc(size):
        start = -(-block // mmap.PAGESIZE) * mmap.PAGESIZE
        madvise(start, (block + size - start) // mmap.PAGESIZE * mmap.PAGESIZE, mmap.MADV_HUGEPAGE)
        free(block)
