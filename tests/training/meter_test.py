"""Speed, and time that devices spend waiting for data."""

import time

import jax.numpy as jnp
import pytest

from ldm_jax.training.meter import Meter, peak


class Computed:
    """A result that is ready at a time."""

    def __init__(self, seconds):
        self.ready = time.monotonic() + seconds

    def block_until_ready(self):
        time.sleep(max(0.0, self.ready - time.monotonic()))


def slow(seconds):
    while True:
        time.sleep(seconds)
        yield {}


def run(data_seconds, step_seconds, steps=4):
    meter = Meter(flops=1e12)
    data = slow(data_seconds)
    for _ in range(steps):
        meter.next(data)
        result = Computed(step_seconds)
        meter.step([result], images=3)
    result.block_until_ready()
    found = meter.read()
    meter.close()
    return found


def test_waiting_while_devices_work_is_no_wait():
    assert run(0.02, 0.06)["data_wait"] < 0.25  # but for the first, before there was any work


def test_waiting_with_nothing_to_do_is_the_share_of_it():
    assert run(0.08, 0.02)["data_wait"] == pytest.approx(0.78, abs=0.12)


def test_rates_are_per_second():
    found = run(0.05, 0.0)
    assert found["images_per_second"] == pytest.approx(3 / 0.05, rel=0.3)
    ratio = found["teraflops_per_second"] / found["images_per_second"]
    assert ratio == pytest.approx(1 / 3)
    assert "share_of_peak" not in found  # a processor's is not known


def test_reading_starts_again():
    meter = Meter()
    meter.step(jnp.zeros(()), images=5)
    assert meter.read()["images_per_second"] > 0.0
    assert meter.read()["images_per_second"] == 0.0
    meter.close()


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H200", 989e12),
        ("TPU v5 lite", 197e12),
        ("TPU v4", 275e12),
        ("cpu", None),
        ("NVIDIA A1000", None),
    ],
)
def test_peaks_are_found_by_the_kind_of_device(kind, found):
    assert peak(kind) == found
