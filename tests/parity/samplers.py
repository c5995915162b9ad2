"""The samplers on this side: tables, grids and trajectories beside the stored reference.

python tests/parity/samplers.py     prints how far they are apart
"""

from pathlib import Path
from unittest import mock

import compare
import jax
import jax.numpy as jnp
import numpy as np
import walks

from ldm_jax.diffusion import prediction, times
from ldm_jax.diffusion.denoiser import denoiser
from ldm_jax.diffusion.processes import betas
from ldm_jax.diffusion.processes.ddpm import ddpm as discrete
from ldm_jax.diffusion.samplers import ddim, ddpm

HERE = Path(__file__).parent


def table(schedule: str) -> np.ndarray:
    """Ours: beta_1 ... beta_T."""
    match schedule:
        case "linear":
            return betas.linear(walks.T, *walks.SCHEDULES[schedule])
        case "scaled_linear":
            return betas.scaled_linear(walks.T, *walks.SCHEDULES[schedule])
        case "cosine":
            return betas.cosine(walks.T)


def trajectory(walk: walks.Walk) -> np.ndarray:
    """z after each step, [K, ...]."""
    steps = discrete(table(walk.schedule))
    module, sampler = {
        "ddim": (ddim, ddim.ddim(walk.eta)),
        "ddpm": (ddpm, ddpm.ddpm()),
    }[walk.sampler]

    def network(z, step):
        return walks.raw_output(z, step.reshape(-1, 1, 1, 1), jnp.cos)

    denoise = denoiser(network, steps, getattr(prediction, walk.prediction))

    @jax.jit
    def step(z, t, s, noise):
        with mock.patch.object(module, "normal_like", lambda keys, x: noise):
            return sampler.step(denoise, steps, None, z, t, s, sampler.init(z))[0]

    z, found = walks.START, []
    grid = np.repeat(times.grid(walk.grid, walks.T, walks.K)[:, None], len(z), axis=1)
    for t, s, noise in zip(grid[:-1], grid[1:], walks.NOISE, strict=True):
        z = step(z, t, s, noise)
        found.append(z)
    return np.stack(found)


def pairs() -> compare.Pairs:
    """Ours and the reference: alpha_bar, the network's steps, and every walk."""
    steps = discrete(table("linear"))
    tables = {
        f"alpha_bar {schedule}": np.square(discrete(table(schedule)).alphas[1:])
        for schedule in walks.SCHEDULES
    }
    grids = {
        f"steps {name}": steps.network_time(times.grid(name, walks.T, walks.K)[:-1])
        for name in times.GRIDS
    }
    found = tables | grids | {walk.name: trajectory(walk) for walk in walks.WALKS}
    with np.load(HERE / "samplers.npz") as reference:
        return {name: (np.asarray(found[name]), reference[name]) for name in reference}


if __name__ == "__main__":
    print(compare.table("samplers", pairs()))
