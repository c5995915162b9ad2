"""The samplers from noise to data, by name."""

from collections.abc import Callable
from typing import NamedTuple

from ldm_jax.diffusion.samplers.ddim import ddim
from ldm_jax.diffusion.samplers.ddpm import ddpm
from ldm_jax.diffusion.samplers.dpmpp_2m import dpmpp_2m
from ldm_jax.diffusion.samplers.dpmpp_2m_sde import dpmpp_2m_sde
from ldm_jax.diffusion.samplers.dpmpp_2s import dpmpp_2s
from ldm_jax.diffusion.samplers.dpmpp_3m import dpmpp_3m
from ldm_jax.diffusion.samplers.euler import euler
from ldm_jax.diffusion.samplers.euler_ancestral import euler_ancestral
from ldm_jax.diffusion.samplers.heun import heun
from ldm_jax.diffusion.samplers.lcm import lcm
from ldm_jax.diffusion.samplers.lms import lms
from ldm_jax.diffusion.samplers.plms import plms
from ldm_jax.diffusion.samplers.unipc import unipc
from ldm_jax.errors import InputError
from ldm_jax.types import Sampler


class Kind(NamedTuple):
    """One sampler."""

    make: Callable[..., Sampler]  # eta or churn, where it has them, -> Sampler
    paper: str  # its source
    options: dict[str, float | None]  # fields of `Sampling` that it takes, with their defaults


CHURN = {"s_churn": 0.0, "s_tmin": 0.0, "s_tmax": None, "s_noise": 1.0}  # None: no limit

SAMPLERS = {
    "ddpm": Kind(ddpm, "Ho, Jain and Abbeel 2020", {}),
    "ddim": Kind(ddim, "Song, Meng and Ermon 2021", {"eta": 0.0}),
    "plms": Kind(plms, "Liu, Ren, Lin and Zhao 2022", {}),
    "euler": Kind(euler, "Karras et al. 2022, algorithm 2 without its correction", CHURN),
    "euler_ancestral": Kind(euler_ancestral, "Karras et al. 2022 and k-diffusion", {"eta": 1.0}),
    "heun": Kind(heun, "Karras et al. 2022, algorithm 2; two network calls a step", CHURN),
    "lms": Kind(lms, "Karras et al. 2022 and k-diffusion; linear multistep of order 4", {}),
    "dpmpp_2m": Kind(dpmpp_2m, "Lu et al. 2022, DPM-Solver++, multistep of order 2", {}),
    "dpmpp_2s": Kind(
        dpmpp_2s, "Lu et al. 2022, DPM-Solver++, order 2; two network calls a step", {}
    ),
    "dpmpp_3m": Kind(dpmpp_3m, "Lu et al. 2022, DPM-Solver++, multistep of order 3", {}),
    "dpmpp_2m_sde": Kind(
        dpmpp_2m_sde, "Lu et al. 2022, SDE-DPM-Solver++, multistep of order 2", {"eta": 1.0}
    ),
    "unipc": Kind(unipc, "Zhao, Bai, Rao, Zhou and Lu 2023, order 3", {}),
    "lcm": Kind(lcm, "Luo et al. 2023; for models distilled to consistency", {}),
}


def build_sampler(name: str) -> Callable[..., Sampler]:
    """What makes the sampler of that name, from its options (`sampling.arguments`)."""
    if name not in SAMPLERS:
        raise InputError(f"sampler '{name}' is unknown: choose one of {', '.join(SAMPLERS)}")
    return SAMPLERS[name].make
