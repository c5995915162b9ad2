"""The samplers on this side: tables, grids and trajectories beside the stored reference.

python -m tests.parity.cases.samplers     prints how far they are apart
"""

import contextlib
import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion import prediction, spacing
from ldm_jax.diffusion.denoiser import denoiser
from ldm_jax.diffusion.processes import betas, flow
from ldm_jax.diffusion.processes.ddpm import ddpm as discrete
from ldm_jax.diffusion.processes.zero_terminal_snr import zero_terminal_snr
from ldm_jax.diffusion.samplers import churn, ddim, ddpm, dpmpp_2m_sde, lcm
from ldm_jax.diffusion.samplers.ddim_inversion import ddim_inversion
from ldm_jax.diffusion.samplers.names import SAMPLERS
from tests.parity import compare
from tests.parity.cases import walks
from tests.parity.folders import ARRAYS

DRAWING = (churn, ddim, ddpm, dpmpp_2m_sde, lcm)  # modules that draw noise


@functools.cache
def process(schedule: str):
    """Ours."""
    ends = walks.SCHEDULES.get(schedule)
    match schedule:
        case "linear":
            return discrete(betas.linear(walks.T, *ends))
        case "scaled_linear":
            return discrete(betas.scaled_linear(walks.T, *ends))
        case "cosine":
            return discrete(betas.cosine(walks.T))
        case "zero_terminal_snr":
            return discrete(zero_terminal_snr(betas.scaled_linear(walks.T, *ends)))
        case walks.FLOW:
            return flow.Flow(flow.rectified, walks.T)


def grid(walk: walks.Walk) -> np.ndarray:
    """The times of a walk."""
    p = process(walk.schedule)
    match walk.grid:
        case "lcm":
            return spacing.by_hand([step + 1 for step in walks.LCM_STEPS], walks.T)
        case "flow":
            return spacing.by_hand(walks.FLOW_TIMES, walks.T)
        case "pairs":
            return spacing.by_hand(spacing.exponential(p, walks.K + 1)[:-1:2], walks.T)
        case "from data":
            return spacing.times("leading", p, walks.K)[::-1]
        case name:
            return spacing.times(name, p, walks.K)


def sampler(walk: walks.Walk):
    """Ours; of third order as it is published, see `dpmpp_3m`."""
    if walk.sampler == "ddim_inversion":
        return ddim_inversion()
    made = SAMPLERS[walk.sampler].make
    if walk.sampler == "dpmpp_3m":
        return made(curvature=1.0)
    return made() if walk.eta is None else made(walk.eta)


def trajectory(walk: walks.Walk) -> np.ndarray:
    """z after each step, [K, ...]."""
    p, walking = process(walk.schedule), sampler(walk)

    def network(z, step):
        return walks.raw_output(z, step.reshape(-1, 1, 1, 1), jnp.cos)

    denoise = denoiser(network, p, getattr(prediction, walk.prediction)._replace(scale=one))
    visited, found = grid(walk), []
    z = jnp.asarray(walks.START)
    state = walking.init(z)
    with mock.patch.object(jax.lax, "cond", at_once):  # else it compiles, at every step
        for t, s, noise in zip(visited[:-1], visited[1:], walks.NOISE, strict=False):
            with contextlib.ExitStack() as patched:
                for module in DRAWING:
                    drawing = mock.patch.object(module, "normal_like", lambda keys, x, n=noise: n)
                    patched.enter_context(drawing)
                at = (jnp.full(len(z), t), jnp.full(len(z), s))
                z, state = walking.step(denoise, p, None, z, *at, state)
            found.append(z)
    return np.stack(found)


def at_once(condition, yes, no):
    """jax.lax.cond, outside of compiled functions."""
    return yes() if condition else no()


def one(alpha, sigma):
    """The formula takes z as it is."""
    return 1.0


def pairs() -> compare.Pairs:
    """Ours and the reference: alpha_bar, the network's steps, and every walk."""
    tables = {
        f"alpha_bar {schedule}": np.square(process(schedule).alphas[1:])
        for schedule in walks.SCHEDULES
    }
    linear = process("linear")
    grids = {
        f"steps {name}": linear.timestep(spacing.times(name, linear, walks.K)[:-1])
        for name in walks.GRIDS
    }
    found = tables | grids | {walk.name: trajectory(walk) for walk in walks.WALKS}
    with np.load(ARRAYS / "samplers.npz") as reference:
        return {name: (np.asarray(found[name]), reference[name]) for name in reference}


if __name__ == "__main__":
    print(compare.table("samplers", pairs()))
