"""The noising process and what the network predicts, as a config says it."""

from dataclasses import dataclass
from typing import Literal

from ldm_jax.settings import AtLeast1, OpenFraction, Positive


@dataclass(frozen=True)
class Diffusion:
    """The noising process and what the network predicts."""

    schedule: Literal["linear", "scaled_linear", "cosine", "sqrt", "edm", "flow", "cosine_flow"] = (
        "scaled_linear"
    )
    steps: AtLeast1 = 1000  # T; continuous processes have times between, too
    beta_start: OpenFraction = 0.0015  # of the linear, scaled-linear and sqrt schedules
    beta_end: OpenFraction = 0.0195
    zero_terminal_snr: bool = False  # leave nothing of the data at T; not with eps
    sigma_min: Positive = 0.002  # of edm, as the next two
    sigma_max: Positive = 80.0
    rho: Positive = 7.0
    shift: Positive = 1.0  # of the flows: more time in noise, for larger images
    prediction: Literal["eps", "x0", "v", "velocity", "edm"] = "eps"
    data_std: Positive = 1.0  # that the edm prediction expects of latents
    learned_variance: bool = False  # of the reverse steps; needs a loss of kind hybrid or vlb
