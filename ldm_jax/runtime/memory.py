"""Memory that was freed goes back to the system, or stays for what asks for as much again.

Reading a checkpoint and compiling leave holes between what is kept, which the C library holds back
for the process: of Stable Diffusion 1 in float32 about a tenth of the weights' bytes. And of each
arena, which it keeps for a few threads, it never gives back the end. What is large it gives back at
once, though a training step asks for its activations again and again.
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
    """A function of glibc; None where there is another C library."""
    library = ctypes.CDLL(None)
    return getattr(library, name) if hasattr(library, "malloc_trim") else None


def share_arenas(model: Iterable[Path]) -> None:
    """Threads that begin from now on share arenas, where $MALLOC_ARENA_MAX says nothing else.

    By default there may be eight for each processor, hundreds of megabytes, which count beside few
    large computations. In an arena of its own a thread finds what it gave back where its core has
    it in a cache: to share them costs small models a tenth of sampling's time, and of training's a
    fifth. So it is for `LARGE` ones.

    Args:
        model: files of the model that is to be loaded; what is no file does not count.
    """
    if sum(file.stat().st_size for file in model if file.is_file()) < LARGE:
        return
    if (mallopt := _glibc("mallopt")) and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Hands pages that hold nothing to the system, where the C library can."""
    if trim := _glibc("malloc_trim"):
        trim(0)


def keep() -> None:
    """What the first thread frees stays for what it asks for next, also where that is large.

    It takes all from its own heap, which does not shrink. Other threads' heaps hold 64 MiB at most,
    and what is larger they map as before. For programs that repeat large steps;
    $MALLOC_MMAP_MAX_ and $MALLOC_TRIM_THRESHOLD_ count first.
    """
    told = {"MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_"} & set(os.environ)
    if (mallopt := _glibc("mallopt")) and not told:
        mallopt(_M_MMAP_MAX, NONE)
        mallopt(_M_TRIM_THRESHOLD, NEVER)
        _keeping.append(True)


def enlarge_pages(size: int) -> None:
    """The next bytes that the first thread asks for, so many, come as pages of 2 MiB.

    Where they are kept and the system gives such pages to who asks. None is taken before it is
    used. What is kept already stays as it is, and `give_back` ends it.
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
