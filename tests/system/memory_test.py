"""What was freed goes back to the system, or is kept for the next step."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from ldm_jax.runtime import compilation, memory

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
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
from pathlib import Path
from ldm_jax.runtime import memory
memory.share_arenas(map(Path, sys.argv[1:]))
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
def test_threads_share_two_arenas_beside_a_large_model(tmp_path):
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("not glibc")

    def arenas(*asked, **environment):
        command = [sys.executable, "-c", SHARED, *asked]
        outside = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
        environment = {**outside, "PYTHONPATH": str(ROOT), **environment}
        given = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return int(given.stdout)

    halves = [tmp_path / name for name in ("one", "other")]
    for half in halves:
        with open(half, "wb") as file:
            file.truncate(memory.LARGE // 2)
    assert arenas() > memory.ARENAS
    assert arenas(halves[0]) > memory.ARENAS
    assert arenas(*halves, tmp_path) <= memory.ARENAS
    assert arenas(*halves, MALLOC_ARENA_MAX="6") > memory.ARENAS  # who says so, has it so


def test_it_is_given_back_after_what_took_long_to_compile(monkeypatch):
    calls = []
    monkeypatch.setattr(compilation.memory, "give_back", lambda: calls.append(1))
    jax.monitoring.record_event_duration_secs(COMPILED, 0.1)
    assert not calls
    jax.monitoring.record_event_duration_secs(COMPILED, 2.0)
    assert calls


def test_jax_tells_of_what_it_compiles(monkeypatch):
    given = []
    monkeypatch.setattr(compilation.memory, "give_back", lambda: None)
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: given.append(event)
    )
    jax.jit(lambda x: x + 12345).lower(1.0).compile()
    assert COMPILED in given


STEPS = """
import resource, sys, jax, jax.numpy as jnp
from ldm_jax.runtime.compilation import use_first_thread
if sys.argv[1:]:
    use_first_thread()

@jax.jit
def step(x):  # has an array of 64 MiB
    return jnp.sum(jax.lax.fori_loop(0, 2, lambda i, y: y * y[i], jnp.full(2**24, x)))

def mapped(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        step(jnp.ones(())).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

mapped(5)
print(mapped(10))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_a_step_has_the_pages_of_the_one_before():
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("not glibc")

    def mapped(*asked, **environment):
        command = [sys.executable, "-c", STEPS, *asked]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": "", **environment}
        given = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return int(given.stdout)

    each_time = 10 * 2**26 // os.sysconf("SC_PAGE_SIZE")
    assert mapped() > each_time
    assert mapped("keep") < each_time / 2  # where one is freed after the next began, both are kept
    assert mapped("keep", MALLOC_TRIM_THRESHOLD_="131072") > each_time  # who says so, has it so


ENLARGED = """
import ctypes, re, sys
from ldm_jax.runtime import memory
memory.keep()
if sys.argv[1:]:
    memory.enlarge_pages(2**27)
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
c.memset(c.malloc(2**26), 1, 2**26)
heap = open("/proc/self/smaps").read()
print(sum(int(x) for x in re.findall(r"AnonHugePages: *([0-9]+) kB", heap)) * 1024)
"""
LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(
    not LARGE_PAGES.exists() or "[madvise]" not in LARGE_PAGES.read_text(),
    reason="the system gives large pages to all or to none",
)
def test_what_is_kept_has_large_pages_if_asked():
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("not glibc")

    def of_large_pages(*asked):
        command = [sys.executable, "-c", ENLARGED, *asked]
        outside = {k: v for k, v in os.environ.items() if "MALLOC" not in k and "GLIBC" not in k}
        environment = {**outside, "PYTHONPATH": str(ROOT)}
        given = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return int(given.stdout)

    assert of_large_pages("ask") >= 2**25 > of_large_pages()
