"""Trajectories of a batch on one, two and eight simulated devices.

python devices.py OUT.npz
"""

import os
import sys
from pathlib import Path

os.environ["JAX_NUM_CPU_DEVICES"] = "8"
os.environ["JAX_PLATFORMS"] = "cpu"
sys.path.insert(0, str(Path(__file__).parents[3]))

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ldm_jax.diffusion import spacing
from ldm_jax.diffusion.samplers.churn import Churn
from ldm_jax.diffusion.samplers.loop import normal_like, sample
from ldm_jax.diffusion.samplers.names import SAMPLERS
from tests.diffusion.samplers import exact
from tests.support.every import PROCESSES

jax.config.update("jax_disable_most_optimizations", True)
OPTIONS = {
    "ddpm": {},
    "dpmpp_2m_sde": {},
    "heun": {"churn": Churn(0.2)},
    "plms": {},
    "lcm": {},
}


def main(out: str) -> None:
    assert jax.device_count() == 8
    process = PROCESSES["linear"]
    grid, seeds, found = spacing.times("trailing", process, 6), np.arange(8, dtype=np.uint32), {}
    for name, options in OPTIONS.items():

        @jax.jit
        def trajectory(seeds, name=name, options=options):
            keys = jax.vmap(jax.random.key)(seeds)
            z = normal_like(keys, jax.numpy.zeros((8, 4, 4, 2)))
            made, denoise = SAMPLERS[name].make(**options), exact.MIXTURE.denoiser(process)
            return z, sample(made, denoise, process, grid, z, keys)

        for count in (1, 2, 8):
            rows = NamedSharding(Mesh(jax.devices()[:count], "data"), PartitionSpec("data"))
            z, x = trajectory(jax.device_put(seeds, rows))
            assert len(x.sharding.device_set) == count
            found |= {f"noise {name} {count}": z, f"{name} {count}": x}
    np.savez(out, **found)


if __name__ == "__main__":
    main(sys.argv[1])
