"""Ahead-of-time compilation, the cache of compiled programs, and where CPU steps compute.

Compiled programs are kept in a folder, the persistent compilation cache of JAX: $LDM_JAX_CACHE or
~/.cache/ldm_jax, and within it `compiled`. JAX's own settings of its cache take precedence
(JAX_COMPILATION_CACHE_DIR, JAX_ENABLE_COMPILATION_CACHE=false).
"""

import hashlib
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from ldm_jax.errors import InputError, reason
from ldm_jax.runtime import memory

_hits: list[str] = []  # one entry a program that was found in the cache


def cache_folder() -> Path:
    """Where this project keeps what it can make or fetch again.

    Raises:
        InputError: there is no home folder, nor LDM_JAX_CACHE.
    """
    try:
        return Path(os.environ.get("LDM_JAX_CACHE") or "~/.cache/ldm_jax").expanduser()
    except RuntimeError as error:
        raise InputError(
            "nothing can be kept without a home folder: expected HOME, or LDM_JAX_CACHE=FOLDER"
        ) from error


def use_cache() -> None:
    """Keeps compiled programs for later launches, unless JAX's own settings differ, or they cannot
    be written, which is said.

    Programs for processors are kept apart by the processor's instruction set, since machines that
    share a home may have different ones.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return
    try:
        folder = cache_folder() / "compiled" / _processor()
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise InputError(f"'{folder}' may not be written: expected LDM_JAX_CACHE=FOLDER")
    except (InputError, OSError) as error:
        print(f"warning: compiled programs are not kept: {reason(error)}", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))


def use_first_thread() -> None:
    """Has a single CPU compute in the calling thread, whose memory is kept for the next step.

    In a thread of XLA's the pages of the activations would be mapped and cleared at each step,
    which takes a sixth of its time. For programs that repeat steps; has to be called before JAX
    looks for its devices.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if jax.default_backend() == "cpu" and jax.local_device_count() == 1:
        memory.keep()


def _processor() -> str:
    """The processor's architecture and a digest of its instruction set."""
    info = Path("/proc/cpuinfo")
    lines = (
        info.read_text("utf-8", "replace").splitlines() if info.exists() else [platform.version()]
    )
    able = next((line for line in lines if line.startswith(("flags", "Features"))), "".join(lines))
    return f"{platform.machine()}-{hashlib.sha256(able.encode()).hexdigest()[:8]}"


class Compiled(NamedTuple):
    """A compiled program and its costs.

    call:    the program; takes arguments placed as those that it was compiled for
    seconds: of tracing and compilation
    cached:  whether the compiled program was in the cache
    trace:   its jaxpr; None where it cannot be had (pmap)
    """

    call: Callable[..., Any]
    seconds: float
    cached: bool
    trace: Any


def compile_ahead(function: Callable, *arguments: Any) -> Compiled:
    """Compiles a function made by `jit` or `pmap` for arguments of these shapes and shardings.

    Args:
        arguments: arrays, or jax.ShapeDtypeStruct instead: nothing is computed.
    """
    began, hits = time.monotonic(), len(_hits)
    traced = function.trace(*arguments) if hasattr(function, "trace") else None
    lowered = traced.lower() if traced else function.lower(*arguments)
    call = lowered.compile()
    seconds = time.monotonic() - began
    planned = getattr(call.memory_analysis(), "temp_size_in_bytes", 0)
    memory.enlarge_pages(2 * planned)  # two, where one is freed after the next is allocated
    return Compiled(call, seconds, len(_hits) > hits, traced and traced.jaxpr)


def _listen(event: str, **_: Any) -> None:
    if event == "/jax/compilation_cache/cache_hits":
        _hits.append(event)


def _listen_to_times(event: str, seconds: float, **_: Any) -> None:
    if event == "/jax/core/compile/backend_compile_duration" and seconds > 1.0:
        memory.give_back()


jax.monitoring.register_event_listener(_listen)
jax.monitoring.register_event_duration_secs_listener(_listen_to_times)
