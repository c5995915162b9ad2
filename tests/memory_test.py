"""What was freed goes back to the system."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from ldm_jax import compilation, memory

ROOT = Path(__file__).parents[1]
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


SHARED = """
import sys, threading, ctypes
from ldm_jax import memory
if sys.argv[1:]:
    memory.share_arenas()
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
arenas, meet = set(), threading.Barrier(8)
def work():
    arenas.add(c.malloc(64) // 2**26)  # an arena is of 64 MiB, and begins at a multiple of it
    meet.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(arenas))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_threads_share_two_arenas():
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("not glibc")

    def arenas(*asked, **environment):
        command = [sys.executable, "-c", SHARED, *asked]
        outside = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
        environment = {**outside, "PYTHONPATH": str(ROOT), **environment}
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return int(told.stdout)

    assert arenas() > memory.ARENAS
    assert arenas("share") <= memory.ARENAS
    assert arenas("share", MALLOC_ARENA_MAX="6") > memory.ARENAS  # who says so, has it so


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
