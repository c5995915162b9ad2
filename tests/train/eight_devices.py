"""Trains the tiny models on eight simulated devices, in each way of using them.

python eight_devices.py FOLDER FIRST_STAGE_RUN OUT
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"
sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import tiny

from ldm_jax import training
from ldm_jax.train.diffusion_step import everyones

jax.config.update("jax_disable_most_optimizations", True)


def main(folder: str, first_stage: str, out: str) -> None:
    assert jax.device_count() == 8
    check_everyones()
    experiment = tiny.experiment(folder)
    given = replace(experiment.first_stage, run=first_stage)
    for kind, pictures in (("jit", 0), ("pmap", 2)):
        train = replace(experiment.train, steps=2, devices=kind, sample_every=pictures)
        training.train(replace(experiment, first_stage=given, train=train), Path(out) / kind)


def check_everyones() -> None:
    """Each device hears the numbers of all examples, in the order of the global batch."""
    x = jax.random.permutation(jax.random.key(0), 1000)[:16]

    def gather(x, position):
        return everyones(x, position, 16, lambda x: jax.lax.pmean(x, "i"))

    heard = jax.pmap(gather, "i")(x.reshape(8, 2), jax.numpy.arange(16).reshape(8, 2))
    assert (heard == x).all(), heard


if __name__ == "__main__":
    main(*sys.argv[1:])
