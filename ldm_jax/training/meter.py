"""How fast a run is, and what it waits for."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

# dense matrix products in bfloat16, FLOP/s a device, as published; by jax's device_kind
PEAKS = {
    "TPU v2": 22.5e12,
    "TPU v3": 61.5e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
    "V100": 125e12,
    "T4": 65e12,
    "A10G": 70e12,
    "A100": 312e12,
    "L4": 121e12,
    "L40S": 362e12,
    "H100": 989e12,
    "H200": 989e12,
    "GH200": 989e12,
    "B200": 2250e12,
}


def peak(kind: str) -> float | None:
    """Peak FLOP/s of one device of that kind; None where it is not known."""
    if kind in PEAKS:
        return PEAKS[kind]
    words = kind.replace("-", " ").split()
    return next((PEAKS[word] for word in words if word in PEAKS), None)


def memory_bytes() -> int | None:
    """The most that a device of this host has held so far; None where it is not known."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    most = [s["peak_bytes_in_use"] for s in stats if "peak_bytes_in_use" in s]
    return max(most, default=None)


class Meter:
    """Measures the steps since it was last read.

    Devices work while the host goes on, so a wait for data costs only the part of it in which they
    were idle; a thread notes when they finish.

    Args:
        flops: of one step, over all devices; None where it is not known. Set again before a step of
            another size.
    """

    def __init__(self, flops: float | None = None):
        self.flops = flops
        kind = jax.devices()[0].device_kind
        self.peak = peak(kind) and peak(kind) * jax.device_count()
        self._watch = ThreadPoolExecutor(1, "meter")
        self._done = None
        self.restart()

    def restart(self) -> None:
        """Forgets what was measured."""
        self._since, self._idle, self._flops, self._images = time.monotonic(), 0.0, 0.0, 0

    def next(self, data: Iterator[dict]) -> dict:
        """The next batch."""
        asked = time.monotonic()
        batch = next(data)
        if self._done is None:
            self._idle += time.monotonic() - asked
        elif self._done.done():
            self._idle += time.monotonic() - max(asked, self._done.result())
        return batch

    def step(self, results: Any, images: int) -> None:
        """A step was started that ends with these arrays."""
        self._done = self._watch.submit(_ready_at, results)
        self._flops += self.flops or 0.0
        self._images += images

    def read(self) -> dict[str, float]:
        """What was measured, once the last step's results have been waited for; begins again."""
        seconds = time.monotonic() - self._since
        found = {
            "images_per_second": self._images / seconds,
            "data_wait": min(1.0, self._idle / seconds),  # share of the time
        }
        if self.flops:
            rate = self._flops / seconds
            found["teraflops_per_second"] = rate / 1e12
            if self.peak:
                found["share_of_peak"] = rate / self.peak
        most = memory_bytes()
        if most:
            found["memory_gib"] = most / 2**30
        self.restart()
        return found

    def close(self) -> None:
        """Lets the thread go."""
        self._watch.shutdown(wait=False)


def _ready_at(results: Any) -> float:
    with contextlib.suppress(Exception):  # it is raised where the results are read
        jax.block_until_ready(results)
    return time.monotonic()
