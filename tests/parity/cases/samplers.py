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
from ldm_jax.diffusion.processes.betas import zero_terminal_snr
from ldm_jax.diffusion.processes.ddpm import ddpm as discrete
from ldm_jax.diffusion.samplers import churn, ddim, ddpm, dpmpp_2m_sde, lcm
from ldm_jax.diffusion.samplers.ddim_inversion import ddim_inversion
from ldm_jax.diffusion.samplers.names import SAMPLERS
from tests.parity import compare
from tests.parity.cases import sampler_cases as cases
from tests.parity.folders import ARRAYS

DRAWING = (churn, ddim, ddpm, dpmpp_2m_sde, lcm)  # modules that draw noise


@functools.cache
def process(schedule: str):
    """Ours."""
    ends = cases.SCHEDULES.get(schedule)
    match schedule:
        case "linear":
            return discrete(betas.linear(cases.T, *ends))
        case "scaled_linear":
            return discrete(betas.scaled_linear(cases.T, *ends))
        case "cosine":
            return discrete(betas.cosine(cases.T))
        case "zero_terminal_snr":
            return discrete(zero_terminal_snr(betas.scaled_linear(cases.T, *ends)))
        case cases.FLOW:
            return flow.Flow(flow.rectified, cases.T)


def grid(case: cases.Case) -> np.ndarray:
    """The times of a trajectory."""
    p = process(case.schedule)
    match case.grid:
        case "lcm":
            return spacing.by_hand([step + 1 for step in cases.LCM_STEPS], cases.T)
        case "flow":
            return spacing.by_hand(cases.FLOW_TIMES, cases.T)
        case "pairs":
            return spacing.by_hand(spacing.exponential(p, cases.K + 1)[:-1:2], cases.T)
        case "from data":
            return spacing.times("leading", p, cases.K)[::-1]
        case name:
            return spacing.times(name, p, cases.K)


def sampler(case: cases.Case):
    """Ours; of third order as it is published, see `dpmpp_3m`."""
    if case.sampler == "ddim_inversion":
        return ddim_inversion()
    made = SAMPLERS[case.sampler].make
    if case.sampler == "dpmpp_3m":
        return made(curvature=1.0)
    return made() if case.eta is None else made(case.eta)


def trajectory(case: cases.Case) -> np.ndarray:
    """z after each step, [K, ...]."""
    p, walking = process(case.schedule), sampler(case)

    def network(z, step):
        return cases.raw_output(z, step.reshape(-1, 1, 1, 1), jnp.cos)

    denoise = denoiser(network, p, getattr(prediction, case.prediction)._replace(scale=one))
    visited, found = grid(case), []
    z = jnp.asarray(cases.START)
    state = walking.init(z)
    with mock.patch.object(jax.lax, "cond", at_once):  # else it compiles, at every step
        for t, s, noise in zip(visited[:-1], visited[1:], cases.NOISE, strict=False):
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
    """Ours and the reference: alpha_bar, timesteps, and every trajectory."""
    tables = {
        f"alpha_bar {schedule}": np.square(process(schedule).alphas[1:])
        for schedule in cases.SCHEDULES
    }
    linear = process("linear")
    grids = {
        f"steps {name}": linear.timestep(spacing.times(name, linear, cases.K)[:-1])
        for name in cases.GRIDS
    }
    found = tables | grids | {case.name: trajectory(case) for case in cases.CASES}
    with np.load(ARRAYS / "samplers.npz") as reference:
        return {name: (np.asarray(found[name]), reference[name]) for name in reference}


if __name__ == "__main__":
    print(compare.table("samplers", pairs()))
