"""Memory that was freed goes back to the system.

Reading a checkpoint and compiling leave holes between what is kept, which the C library holds back
for the process: of Stable Diffusion 1 in float32 about a tenth of the weights' bytes.
"""

import ctypes
import functools


@functools.cache
def _trim():
    """glibc's malloc_trim; None where there is another C library."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """Hands pages that hold nothing to the system, where the C library can."""
    if trim := _trim():
        trim(0)
