"""Settings of the noising process and of the prediction."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ldm_jax.diffusion import prediction as predictions
from ldm_jax.diffusion.processes import betas, flow
from ldm_jax.diffusion.processes.ddpm import ddpm
from ldm_jax.diffusion.processes.edm import EDM
from ldm_jax.errors import InputError
from ldm_jax.settings import AtLeast1, OpenFraction, Positive
from ldm_jax.types import Process

TABLES = {"linear": betas.linear, "scaled_linear": betas.scaled_linear, "sqrt": betas.sqrt}
FLOWS = {"flow": flow.rectified, "cosine_flow": flow.cosine}
PREDICTIONS = {
    "eps": predictions.eps,
    "x0": predictions.x0,
    "v": predictions.v,
    "velocity": predictions.velocity,
}


@dataclass(frozen=True)
class Diffusion:
    """The noising process and what the network predicts."""

    # of the noise
    schedule: Literal["linear", "scaled_linear", "cosine", "sqrt", "edm", "flow", "cosine_flow"] = (
        "scaled_linear"
    )
    steps: AtLeast1 = 1000  # T; continuous processes have times between, too
    beta_start: OpenFraction = 0.0015  # of the linear, scaled-linear and sqrt schedules
    beta_end: OpenFraction = 0.0195  # of the same schedules
    zero_terminal_snr: bool = False  # leave nothing of the data at T; not with eps
    sigma_min: Positive = 0.002  # of edm, as the next two
    sigma_max: Positive = 80.0  # largest sigma
    rho: Positive = 7.0  # spacing of its times (Karras et al. 2022)
    shift: Positive = 1.0  # of the flows: more time in noise, for larger images
    prediction: Literal["eps", "x0", "v", "velocity", "edm"] = "eps"  # what the network predicts
    data_std: Positive = 1.0  # that the edm prediction expects of latents
    learned_variance: bool = False  # of the reverse steps; needs a loss of kind hybrid or vlb

    def check(self, prefix: str) -> None:
        """Raises InputError where the process cannot be, or a network cannot learn it."""
        tables = (*TABLES, "cosine")
        if self.zero_terminal_snr and self.schedule not in tables:
            raise InputError(
                f"{prefix}zero_terminal_snr is True: expected False with the {self.schedule} "
                f"schedule, since it rescales {', '.join(tables)}"
            )
        if self.zero_terminal_snr and self.steps < 2:
            raise InputError(
                f"{prefix}steps is {self.steps}: expected at least 2 with "
                f"{prefix}zero_terminal_snr, which keeps the first and empties the last"
            )
        if self.prediction == "eps" and (self.zero_terminal_snr or self.schedule in FLOWS):
            raise InputError(
                f"{prefix}prediction is eps: expected x0, v, velocity or edm, since the noise at T "
                "says nothing of the data where nothing is left of them"
            )
        if self.schedule == "edm" and self.sigma_min >= self.sigma_max:
            raise InputError(
                f"{prefix}sigma_min is {self.sigma_min}: expected less than {prefix}sigma_max, "
                f"which is {self.sigma_max}"
            )

    def build_betas(self) -> np.ndarray | None:
        """The step variances of a discrete process, [T] float64; None for the continuous ones."""
        if self.schedule == "cosine":
            table = betas.cosine(self.steps)
        elif self.schedule in TABLES:
            table = TABLES[self.schedule](self.steps, self.beta_start, self.beta_end)
        else:
            return None
        return betas.zero_terminal_snr(table) if self.zero_terminal_snr else table

    def build_process(self) -> Process:
        """The noising process."""
        if self.schedule == "edm":
            return EDM(self.steps, self.sigma_min, self.sigma_max, self.rho)
        if self.schedule in FLOWS:
            return flow.Flow(FLOWS[self.schedule], self.steps, self.shift)
        return ddpm(self.build_betas())

    def build_prediction(self) -> predictions.Prediction:
        """What the network predicts."""
        return PREDICTIONS.get(self.prediction) or predictions.edm(self.data_std)
