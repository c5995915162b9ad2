"""What was freed goes back to the system."""

import ctypes
import sys
from pathlib import Path

import jax
import pytest

from ldm_jax import compilation, memory

BLOCK, COUNT = 2**16, 1000
COMPILED = "/jax/core/compile/backend_compile_duration"


def held() -> int:
    """Bytes of memory that this process holds."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in x)
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_holes_between_what_is_kept_are_given_back():
    c = ctypes.CDLL(None)
    c.malloc.restype, c.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    if not hasattr(c, "malloc_trim"):
        pytest.skip("not glibc")
    blocks = [c.malloc(BLOCK) for _ in range(COUNT)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    for i, block in enumerate(blocks):
        if i % 10:  # every tenth is kept
            c.free(block)
    before = held()
    memory.give_back()
    assert before - held() > 0.8 * BLOCK * COUNT
    for block in blocks[::10]:
        c.free(block)


def test_it_is_given_back_after_what_took_long_to_compile(monkeypatch):
    calls = []
    monkeypatch.setattr(compilation.memory, "give_back", lambda: calls.append(1))
    jax.monitoring.record_event_duration_secs(COMPILED, 0.1)
    assert not calls
    jax.monitoring.record_event_duration_secs(COMPILED, 2.0)
    assert calls


def test_jax_tells_of_what_it_compiles(monkeypatch):
    told = []
    monkeypatch.setattr(compilation.memory, "give_back", lambda: None)
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: told.append(event))
    jax.jit(lambda x: x + 12345).lower(1.0).compile()
    assert COMPILED in told
