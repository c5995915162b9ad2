"""Every process and every prediction, for laws that hold for all of them."""

import jax.numpy as jnp
import pytest

from ldm_jax.diffusion import prediction
from ldm_jax.diffusion.processes import betas, flow
from ldm_jax.diffusion.processes.betas import zero_terminal_snr
from ldm_jax.diffusion.processes.ddpm import ddpm
from ldm_jax.diffusion.processes.edm import EDM

T = 1000
PROCESSES = {
    "linear": ddpm(betas.linear(T)),
    "scaled_linear": ddpm(betas.scaled_linear(T)),
    "sqrt": ddpm(betas.sqrt(T, 1e-4, 0.02)),
    "cosine": ddpm(betas.cosine(T)),
    "zero_terminal_snr": ddpm(zero_terminal_snr(betas.scaled_linear(T))),
    "edm": EDM(T),
    "rectified_flow": flow.Flow(flow.rectified, T),
    "shifted_flow": flow.Flow(flow.rectified, T, 3.0),
    "cosine_flow": flow.Flow(flow.cosine, T),
}
PREDICTIONS = {
    "eps": prediction.eps,
    "x0": prediction.x0,
    "v": prediction.v,
    "velocity": prediction.velocity,
    "edm": prediction.edm(0.5),
}
PAIRS = {  # the noise says nothing of the data where none of them is left
    f"{name}-{kind}": (p, PREDICTIONS[kind])
    for name, p in PROCESSES.items()
    for kind in PREDICTIONS
    if kind != "eps" or p.alpha_sigma(jnp.array(T))[0] > 0
}

every_process = pytest.mark.parametrize("p", PROCESSES.values(), ids=PROCESSES)
every_pair = pytest.mark.parametrize(("p", "kind"), PAIRS.values(), ids=PAIRS)
